// Package delta is the store of deltas: which there are, and how far those are
// that are being made.
package delta

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/update/delta"
)

type store struct{ db *sqldb.DB }

// New is the store of deltas in the records.
func New(db *sqldb.DB) delta.Store { return store{db} }

func (s store) Put(ctx context.Context, d delta.Delta) error {
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keep delta: %w", err)
	}
	_, err = s.db.Exec(ctx, `INSERT INTO update_delta (to_sha256, from_sha256, state, sha256, doc) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (to_sha256, from_sha256) DO UPDATE SET state = excluded.state, sha256 = excluded.sha256, doc = excluded.doc`,
		d.To, d.From, string(d.State), d.SHA256, string(text))
	if err != nil {
		return fmt.Errorf("keep delta: %w", err)
	}
	return nil
}

func scan(scan func(...any) error) (delta.Delta, error) {
	var d delta.Delta
	var text string
	if err := scan(&text); err != nil {
		return d, err
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return d, fmt.Errorf("delta in the records: %w", err)
	}
	return d, nil
}

func (s store) Delta(ctx context.Context, to, from string) (delta.Delta, error) {
	d, err := scan(s.db.QueryRow(ctx, `SELECT doc FROM update_delta WHERE to_sha256 = ? AND from_sha256 = ?`, to, from).Scan)
	return d, rows.Missing(err, "no delta from %q to %q", from, to)
}

func (s store) BySHA256(ctx context.Context, sha256 string) (delta.Delta, error) {
	d, err := scan(s.db.QueryRow(ctx, `SELECT doc FROM update_delta WHERE sha256 = ? AND state = ? LIMIT 1`, sha256, string(delta.Ready)).Scan)
	return d, rows.Missing(err, "no delta sha256:%s", sha256)
}

func (s store) Of(ctx context.Context, to string) ([]delta.Delta, error) {
	found, err := s.db.Query(ctx, `SELECT doc FROM update_delta WHERE to_sha256 = ? ORDER BY from_sha256`, to)
	return rows.Collect(found, err, func(r *sql.Rows) (delta.Delta, error) { return scan(r.Scan) })
}

// InField counts what the product's active units have reported: there are far
// fewer sets of versions than units.
func (s store) InField(ctx context.Context, product string) ([]delta.InField, error) {
	found, err := s.db.Query(ctx, `SELECT versions, COUNT(*) FROM fleet_unit WHERE product = ? AND state = ? GROUP BY versions`, product, string(fleet.UnitActive))
	return rows.Collect(found, err, func(r *sql.Rows) (f delta.InField, err error) {
		var text string
		if err := r.Scan(&text, &f.Units); err != nil {
			return f, err
		}
		if err := json.Unmarshal([]byte(text), &f.Versions); err != nil {
			return f, fmt.Errorf("versions in the records: %w", err)
		}
		return f, nil
	})
}
