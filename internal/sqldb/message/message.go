package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/notify"
)

type notifyStore struct{ db *DB }

// Notify is the store of messages, routes and news.
func (db *DB) Notify() notify.Store { return notifyStore{db} }

const messageColumns = `id, msg_key, channel, recipient, owner_id, subject, body, created_at, sent_at, attempts, last_error, next_at, expires_at`

func (s notifyStore) Enqueue(ctx context.Context, m notify.Message) (fresh bool, err error) {
	next := max(millis(m.NextAt), 1) // at once, by any clock
	res, err := s.db.exec(ctx, `INSERT INTO notify_message (`+messageColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, '', ?, ?) ON CONFLICT (msg_key) DO NOTHING`,
		m.ID, m.Key, string(m.Channel), m.To, m.OwnerID, m.Subject, m.Body, millis(m.CreatedAt), next, millis(m.ExpiresAt))
	if err != nil {
		return false, fmt.Errorf("keep message: %w", err)
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func (s notifyStore) messages(ctx context.Context, rest string, args ...any) ([]notify.Message, error) {
	rows, err := s.db.query(ctx, `SELECT `+messageColumns+` FROM notify_message `+rest, args...)
	out, err := collect(rows, err, func(r *sql.Rows) (m notify.Message, err error) {
		var created, sent, next, expires int64
		err = r.Scan(&m.ID, &m.Key, &m.Channel, &m.To, &m.OwnerID, &m.Subject, &m.Body, &created, &sent, &m.Attempts, &m.LastError, &next, &expires)
		m.CreatedAt, m.SentAt, m.NextAt, m.ExpiresAt = fromMillis(created), fromMillis(sent), fromMillis(next), fromMillis(expires)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	return out, nil
}

func (s notifyStore) Due(ctx context.Context, ch notify.Channel, now time.Time, limit int) ([]notify.Message, error) {
	return s.messages(ctx, `WHERE channel = ? AND next_at > 0 AND next_at <= ? ORDER BY next_at, id LIMIT ?`, string(ch), millis(now), limit)
}

func (s notifyStore) Sent(ctx context.Context, key string) (bool, error) {
	var n int
	err := s.db.queryRow(ctx, `SELECT count(*) FROM notify_message WHERE msg_key = ? AND sent_at > 0`, key).Scan(&n)
	return n > 0, err
}

func (s notifyStore) SaveAttempts(ctx context.Context, all []notify.Message) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, m := range all {
			// A body that expires holds a secret: it is forgotten when done with.
			_, err := s.db.exec(ctx, `UPDATE notify_message SET sent_at = ?, attempts = ?, last_error = ?, next_at = ?,
				body = CASE WHEN expires_at > 0 AND CAST(? AS BIGINT) = 0 THEN '' ELSE body END WHERE id = ?`,
				millis(m.SentAt), m.Attempts, m.LastError, millis(m.NextAt), millis(m.NextAt), m.ID)
			if err != nil {
				return fmt.Errorf("keep attempts: %w", err)
			}
		}
		return nil
	})
}

func (s notifyStore) UpdateMessage(ctx context.Context, id string, change func(*notify.Message) error) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		m, err := one(s.messages(ctx, `WHERE id = ?`+s.db.forUpdate(), id))("no message %q", id)
		if err != nil {
			return err
		}
		if err := change(&m); err != nil {
			return err
		}
		return s.SaveAttempts(ctx, []notify.Message{m})
	})
}

func (s notifyStore) Messages(ctx context.Context, ownerID string, limit int) ([]notify.Message, error) {
	return s.messages(ctx, `WHERE owner_id = ? ORDER BY created_at DESC, id DESC LIMIT ?`, ownerID, limit)
}

func (s notifyStore) PutRoute(ctx context.Context, r notify.Route) error {
	doc, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep route %s: %w", r.Name, err)
	}
	_, err = s.db.exec(ctx, `INSERT INTO notify_route (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc`, r.Name, string(doc))
	return err
}

func (s notifyStore) Routes(ctx context.Context) ([]notify.Route, error) {
	rows, err := s.db.query(ctx, `SELECT doc FROM notify_route ORDER BY name`)
	return collect(rows, err, func(r *sql.Rows) (v notify.Route, err error) {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return v, err
		}
		err = json.Unmarshal([]byte(doc), &v)
		return v, err
	})
}

func (s notifyStore) DeleteRoute(ctx context.Context, name string) error {
	res, err := s.db.exec(ctx, `DELETE FROM notify_route WHERE name = ?`, name)
	return gone(res, err, "no route %q", name)
}

const newsColumns = `route, finding_id, product, detector, severity, unit_id, why, opened_at, added_at, message_key`

func (s notifyStore) AddNews(ctx context.Context, all []notify.News) error {
	rows := make([][]any, len(all))
	for i, n := range all {
		rows[i] = []any{n.Route, n.FindingID, n.Product, n.Detector, n.Severity, n.UnitID, n.Why, millis(n.OpenedAt), millis(n.AddedAt), ""}
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.insertRows(ctx, `INSERT INTO notify_news (`+newsColumns+`)`, ` ON CONFLICT (finding_id, route) DO NOTHING`, rows)
	})
	if err != nil {
		return fmt.Errorf("keep news: %w", err)
	}
	return nil
}

func (s notifyStore) UntoldNews(ctx context.Context, addedBy time.Time, limit int) ([]notify.News, error) {
	rows, err := s.db.query(ctx, `SELECT `+newsColumns+` FROM notify_news WHERE message_key = ''
		AND EXISTS (SELECT 1 FROM notify_news WHERE message_key = '' AND added_at <= ?) ORDER BY added_at, finding_id, route LIMIT ?`, millis(addedBy), limit)
	out, err := collect(rows, err, func(r *sql.Rows) (n notify.News, err error) {
		var opened, added int64
		err = r.Scan(&n.Route, &n.FindingID, &n.Product, &n.Detector, &n.Severity, &n.UnitID, &n.Why, &opened, &added, &n.MessageKey)
		n.OpenedAt, n.AddedAt = fromMillis(opened), fromMillis(added)
		return n, err
	})
	if err != nil {
		return nil, fmt.Errorf("untold news: %w", err)
	}
	return out, nil
}

func (s notifyStore) MarkNews(ctx context.Context, all []notify.News) error {
	byMark := map[[2]string][]string{} // route and key to findings
	for _, n := range all {
		k := [2]string{n.Route, n.MessageKey}
		byMark[k] = append(byMark[k], n.FindingID)
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		for k, ids := range byMark {
			for part := range slices.Chunk(ids, maxParameters-2) {
				list, args := in("finding_id", part)
				args = append([]any{k[1], k[0]}, args...)
				if _, err := s.db.exec(ctx, `UPDATE notify_news SET message_key = ? WHERE route = ? AND message_key = '' AND `+list, args...); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark news: %w", err)
	}
	return nil
}
