package message

import (
	"context"
	"database/sql"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify/push"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type pushes struct{ db *sqldb.DB }

// Pushes is the store of browsers' subscriptions.
func Pushes(db *sqldb.DB) push.Store { return pushes{db} }

const pushColumns = `id, owner_id, endpoint, p256dh, auth, device, created_at, used_at`

func scanPush(scan func(...any) error) (s push.Subscription, err error) {
	var created, used int64
	err = scan(&s.ID, &s.OwnerID, &s.Endpoint, &s.P256DH, &s.Auth, &s.Device, &created, &used)
	s.CreatedAt, s.UsedAt = rows.Time(created), rows.Time(used)
	return s, err
}

func (s pushes) AddSubscription(ctx context.Context, p push.Subscription) (out push.Subscription, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, `DELETE FROM notify_push WHERE endpoint = ? AND owner_id <> ?`, p.Endpoint, p.OwnerID); err != nil {
			return err
		}
		var n int
		if err := s.db.QueryRow(ctx, `SELECT count(*) FROM notify_push WHERE owner_id = ? AND endpoint <> ?`, p.OwnerID, p.Endpoint).Scan(&n); err != nil {
			return err
		}
		if n >= push.MaxPerOwner {
			return fault.New(fault.Conflict, "%d browsers are subscribed: remove one first", n)
		}
		if _, err := s.db.Exec(ctx, `INSERT INTO notify_push (`+pushColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, 0)
			ON CONFLICT (endpoint) DO UPDATE SET p256dh = excluded.p256dh, auth = excluded.auth, device = excluded.device`,
			p.ID, p.OwnerID, p.Endpoint, p.P256DH, p.Auth, p.Device, rows.Millis(p.CreatedAt)); err != nil {
			return err
		}
		out, err = scanPush(s.db.QueryRow(ctx, `SELECT `+pushColumns+` FROM notify_push WHERE endpoint = ?`, p.Endpoint).Scan)
		return err
	})
	return out, err
}

func (s pushes) Subscription(ctx context.Context, id string) (push.Subscription, error) {
	p, err := scanPush(s.db.QueryRow(ctx, `SELECT `+pushColumns+` FROM notify_push WHERE id = ?`, id).Scan)
	return p, rows.Missing(err, "no push subscription %q", id)
}

func (s pushes) Subscriptions(ctx context.Context, ownerID string) ([]push.Subscription, error) {
	found, err := s.db.Query(ctx, `SELECT `+pushColumns+` FROM notify_push WHERE owner_id = ? ORDER BY created_at, id`, ownerID)
	return rows.Collect(found, err, func(r *sql.Rows) (push.Subscription, error) { return scanPush(r.Scan) })
}

func (s pushes) RemoveSubscription(ctx context.Context, ownerID, id string) error {
	res, err := s.db.Exec(ctx, `DELETE FROM notify_push WHERE id = ? AND (CAST(? AS TEXT) = '' OR owner_id = ?)`, id, ownerID, ownerID)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return fault.New(fault.NotFound, "no push subscription %q", id)
	}
	return nil
}

func (s pushes) UsedSubscription(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE notify_push SET used_at = ? WHERE id = ?`, rows.Millis(at), id)
	return err
}

func (s pushes) Key(ctx context.Context, name string, fresh func() (string, error)) (value string, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		found, err := s.db.Query(ctx, `SELECT value FROM notify_key WHERE name = ?`, name)
		values, err := rows.Collect(found, err, func(r *sql.Rows) (v string, err error) { return v, r.Scan(&v) })
		if err != nil {
			return err
		}
		if len(values) > 0 {
			value = values[0]
			return nil
		}
		if value, err = fresh(); err != nil {
			return err
		}
		return s.PutKey(ctx, name, value)
	})
	return value, err
}

func (s pushes) PutKey(ctx context.Context, name, value string) error {
	_, err := s.db.Exec(ctx, `INSERT INTO notify_key (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
