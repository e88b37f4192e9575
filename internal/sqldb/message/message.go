// Package message keeps messages with their deliveries, the routes of new
// findings, and what else the room notify remembers.
package message

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type store struct{ db *sqldb.DB }

// New is the store of messages, routes and news.
func New(db *sqldb.DB) notify.Store { return store{db} }

const columns = `id, msg_key, channel, recipient, owner_id, unit_id, kind, urgency, language, about, subject, body, html, link, acknowledge, secret,
	created_at, state, sent_at, delivered_at, acked_at, acked_via, attempts, last_error, remote_id, next_at, expires_at`

func (s store) Enqueue(ctx context.Context, all ...notify.Message) (fresh int, err error) {
	values := make([][]any, len(all))
	for i, m := range all {
		next := max(rows.Millis(m.NextAt), 1) // at once, by any clock
		values[i] = []any{
			m.ID, m.Key, string(m.Channel), m.To, m.OwnerID, m.UnitID, string(m.Kind), m.Kind.Urgency(), m.Language, m.About,
			m.Subject, m.Body, m.HTML, m.Link, m.Acknowledge, m.Secret,
			rows.Millis(m.CreatedAt), string(notify.Queued), 0, 0, 0, "", 0, "", "", next, rows.Millis(m.ExpiresAt),
		}
	}
	if len(values) == 0 {
		return 0, nil
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		fresh, err = s.db.InsertCounted(ctx, `INSERT INTO notify_message (`+columns+`)`, ` ON CONFLICT (msg_key) DO NOTHING`, values)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("keep messages: %w", err)
	}
	return fresh, nil
}

func scan(r *sql.Rows) (m notify.Message, err error) {
	var urgency int
	var created, sent, delivered, acked, next, expires int64
	err = r.Scan(&m.ID, &m.Key, &m.Channel, &m.To, &m.OwnerID, &m.UnitID, &m.Kind, &urgency, &m.Language, &m.About,
		&m.Subject, &m.Body, &m.HTML, &m.Link, &m.Acknowledge, &m.Secret,
		&created, &m.State, &sent, &delivered, &acked, &m.AckedVia, &m.Attempts, &m.LastError, &m.RemoteID, &next, &expires)
	m.CreatedAt, m.SentAt, m.DeliveredAt, m.AckedAt = rows.Time(created), rows.Time(sent), rows.Time(delivered), rows.Time(acked)
	m.NextAt, m.ExpiresAt = rows.Time(next), rows.Time(expires)
	return m, err
}

func (s store) messages(ctx context.Context, rest string, args ...any) ([]notify.Message, error) {
	found, err := s.db.Query(ctx, `SELECT `+columns+` FROM notify_message `+rest, args...)
	out, err := rows.Collect(found, err, scan)
	if err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	return out, nil
}

func (s store) Due(ctx context.Context, ch notify.Channel, now time.Time, limit int) ([]notify.Message, error) {
	var out []notify.Message
	for u := range notify.Urgencies {
		if len(out) >= limit {
			break
		}
		part, err := s.DueAfter(ctx, ch, u, now, notify.Place{}, limit-len(out))
		if err != nil {
			return nil, err
		}
		out = append(out, part...)
	}
	return out, nil
}

// DueAfter goes along the index of the queue: what it costs does not grow with
// what waits.
func (s store) DueAfter(ctx context.Context, ch notify.Channel, urgency int, now time.Time, after notify.Place, limit int) ([]notify.Message, error) {
	return s.messages(ctx, `WHERE channel = ? AND urgency = ? AND next_at > 0 AND next_at <= ? AND (next_at, id) > (?, ?) ORDER BY next_at, id LIMIT ?`,
		string(ch), urgency, rows.Millis(now), rows.Millis(after.NextAt), after.ID, limit)
}

func (s store) SaveAttempts(ctx context.Context, all []notify.Message, deliveries []notify.Delivery) error {
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		rest, err := s.saveSent(ctx, all)
		if err != nil {
			return err
		}
		for _, m := range rest {
			if err := s.save(ctx, m); err != nil {
				return err
			}
		}
		return s.addDeliveries(ctx, deliveries)
	})
	if err != nil {
		return fmt.Errorf("keep attempts: %w", err)
	}
	return nil
}

// mostSent is how many messages one statement keeps as sent.
const mostSent = 256

// saveSent keeps those that were just sent, which in bulk nearly all are, by few
// statements, and gives the others. What was heard of one meanwhile stays: a
// bounce may come before it is noted that the message was taken.
func (s store) saveSent(ctx context.Context, all []notify.Message) (rest []notify.Message, err error) {
	var sent []notify.Message
	for _, m := range all {
		if m.State == notify.Sent && m.NextAt.IsZero() && !m.Secret && m.LastError == "" {
			sent = append(sent, m)
		} else {
			rest = append(rest, m)
		}
	}
	for part := range slices.Chunk(sent, mostSent) {
		args := make([]any, 0, len(part)*4)
		for _, m := range part {
			args = append(args, m.ID, rows.Millis(m.SentAt), m.Attempts, m.RemoteID)
		}
		_, err := s.db.Exec(ctx, `WITH v (id, sent, tries, remote) AS (VALUES (CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS TEXT))`+
			strings.Repeat(`, (?, ?, ?, ?)`, len(part)-1)+`) UPDATE notify_message SET sent_at = v.sent, attempts = v.tries, remote_id = v.remote, next_at = 0,
			last_error = CASE WHEN state = 'queued' THEN '' ELSE last_error END, state = CASE WHEN state = 'queued' THEN 'sent' ELSE state END
			FROM v WHERE notify_message.id = v.id`, args...)
		if err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// save keeps what changes of a message. What holds a secret is forgotten when
// done with.
func (s store) save(ctx context.Context, m notify.Message) error {
	query := `UPDATE notify_message SET state = ?, sent_at = ?, delivered_at = ?, acked_at = ?, acked_via = ?, attempts = ?, last_error = ?, remote_id = ?, next_at = ?`
	if m.Secret && m.NextAt.IsZero() {
		query += `, body = '', html = '', link = ''`
	}
	_, err := s.db.Exec(ctx, query+` WHERE id = ?`, string(m.State), rows.Millis(m.SentAt), rows.Millis(m.DeliveredAt), rows.Millis(m.AckedAt), string(m.AckedVia),
		m.Attempts, m.LastError, m.RemoteID, rows.Millis(m.NextAt), m.ID)
	return err
}

func (s store) addDeliveries(ctx context.Context, all []notify.Delivery) error {
	_, err := s.insertDeliveries(ctx, all)
	return err
}

func (s store) insertDeliveries(ctx context.Context, all []notify.Delivery) (fresh int, err error) {
	values := make([][]any, len(all))
	for i, d := range all {
		values[i] = []any{d.MessageID, d.Attempt, string(d.Result), rows.Millis(d.At), string(d.Channel), d.Detail, d.RemoteID}
	}
	if len(values) == 0 {
		return 0, nil
	}
	return s.db.InsertCounted(ctx, `INSERT INTO notify_delivery (message_id, attempt, result, at, channel, detail, remote_id)`,
		` ON CONFLICT (message_id, attempt, result) DO NOTHING`, values)
}

func (s store) Heard(ctx context.Context, d notify.Delivery, change func(*notify.Message) error) (fresh bool, err error) {
	err = s.update(ctx, d.MessageID, func(ctx context.Context, m *notify.Message) error {
		n, err := s.insertDeliveries(ctx, []notify.Delivery{d})
		if fresh = n > 0; err != nil || !fresh {
			return err
		}
		return change(m)
	})
	return fresh, err
}

func (s store) UpdateMessage(ctx context.Context, id string, change func(*notify.Message) error) error {
	return s.update(ctx, id, func(_ context.Context, m *notify.Message) error { return change(m) })
}

func (s store) update(ctx context.Context, id string, change func(context.Context, *notify.Message) error) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		found, err := s.messages(ctx, `WHERE id = ?`+s.db.ForUpdate(), id)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fault.New(fault.NotFound, "no message %q", id)
		}
		m := found[0]
		if err := change(ctx, &m); err != nil {
			return err
		}
		return s.save(ctx, m)
	})
}

func (s store) Message(ctx context.Context, id string) (notify.Message, error) {
	found, err := s.messages(ctx, `WHERE id = ?`, id)
	if err != nil {
		return notify.Message{}, err
	}
	if len(found) == 0 {
		return notify.Message{}, fault.New(fault.NotFound, "no message %q", id)
	}
	return found[0], nil
}

// Messages come newest first: ids are made in the order of time (clock.IDs).
func (s store) Messages(ctx context.Context, f notify.Filter) ([]notify.Message, error) {
	where, args := []string{"1 = 1"}, []any(nil)
	add := func(set bool, text string, values ...any) {
		if set {
			where, args = append(where, text), append(args, values...)
		}
	}
	add(f.OwnerID != "", "owner_id = ?", f.OwnerID)
	add(f.UnitID != "", "unit_id = ?", f.UnitID)
	add(f.About != "", "about = ?", f.About)
	add(f.Channel != "", "channel = ?", string(f.Channel))
	add(f.Kind != "", "kind = ?", string(f.Kind))
	add(f.State != "", "state = ?", string(f.State))
	add(f.To != "", "recipient = ?", f.To)
	add(f.Unread, "acknowledge AND acked_at = 0")
	add(f.Before != "", "id < ?", f.Before)
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	return s.messages(ctx, `WHERE `+strings.Join(where, " AND ")+` ORDER BY id DESC LIMIT ?`, append(args, limit)...)
}

func (s store) Deliveries(ctx context.Context, messageID string) ([]notify.Delivery, error) {
	found, err := s.db.Query(ctx, `SELECT message_id, attempt, result, at, channel, detail, remote_id FROM notify_delivery WHERE message_id = ? ORDER BY at, attempt, result`, messageID)
	out, err := rows.Collect(found, err, func(r *sql.Rows) (d notify.Delivery, err error) {
		var at int64
		err = r.Scan(&d.MessageID, &d.Attempt, &d.Result, &at, &d.Channel, &d.Detail, &d.RemoteID)
		d.At = rows.Time(at)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("deliveries: %w", err)
	}
	return out, nil
}
