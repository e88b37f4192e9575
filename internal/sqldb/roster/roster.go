// Package roster reads which units may poll, and keeps when each last did.
package roster

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// Roll is what the gateway reads before its doors open. It implements
// device.Roll.
type Roll struct{ db *sqldb.DB }

// New makes a Roll on the records.
func New(db *sqldb.DB) Roll { return Roll{db} }

// Members calls fn for each active unit that has a token.
func (r Roll) Members(ctx context.Context, fn func(unitID string, key int64, product string, tokenHash []byte)) (err error) {
	found, err := r.db.Query(ctx, `SELECT u.id, u.unit_key, u.product, t.hash FROM fleet_unit_token AS t JOIN fleet_unit AS u ON u.id = t.unit_id WHERE u.state = 'active'`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	var id, product string
	var key int64
	var text []byte
	var hash [32]byte
	for found.Next() {
		if err := found.Scan(&id, &key, &product, &text); err != nil {
			return err
		}
		if n, err := hex.Decode(hash[:], text[:min(len(text), 64)]); err != nil || n != len(hash) {
			return fmt.Errorf("token of unit %s in the records is not a SHA-256", id)
		}
		fn(id, key, product, hash[:])
	}
	return found.Err()
}

// Offered calls fn for each unit whose owner has an offer open, once for each.
func (r Roll) Offered(ctx context.Context, fn func(unitID string)) (err error) {
	found, err := r.db.Query(ctx, `SELECT unit_id FROM campaign_task WHERE state IN ('offered', 'snoozed', 'scheduled', 'accepted')`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	var id sql.RawBytes
	for found.Next() {
		if err := found.Scan(&id); err != nil {
			return err
		}
		fn(string(id))
	}
	return found.Err()
}

// PutSeen keeps a part of when units last polled.
func (r Roll) PutSeen(ctx context.Context, part int, body []byte, at time.Time) error {
	_, err := r.db.Exec(ctx, `INSERT INTO device_seen (part, at, body) VALUES (?, ?, ?)
		ON CONFLICT (part) DO UPDATE SET at = excluded.at, body = excluded.body`, part, rows.Millis(at), body)
	if err != nil {
		return fmt.Errorf("keep when units last polled: %w", err)
	}
	return nil
}

// Seen gives what was kept of each part.
func (r Roll) Seen(ctx context.Context, fn func(part int, body []byte) error) (err error) {
	found, err := r.db.Query(ctx, `SELECT part, body FROM device_seen ORDER BY part`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var part int
		var body []byte
		if err := found.Scan(&part, &body); err != nil {
			return err
		}
		if err := fn(part, body); err != nil {
			return err
		}
	}
	return found.Err()
}
