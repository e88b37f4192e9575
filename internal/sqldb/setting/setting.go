// Package setting is the store of what units are told to be set to.
package setting

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/update"
)

type store struct{ db *sqldb.DB }

// New is the store of settings in the records.
func New(db *sqldb.DB) update.SettingStore { return store{db} }

const list = `SELECT s.unit_id, s.component, s.value, s.before, s.release, s.assignment_id, s.at, u.versions, u.version_at
	FROM update_setting s JOIN fleet_unit u ON u.id = s.unit_id `

func scan(r *sql.Rows) (update.Setting, error) {
	var x update.Setting
	var at, reported int64
	var doc string
	if err := r.Scan(&x.UnitID, &x.Component, &x.Value, &x.Before, &x.Release, &x.Assignment, &at, &doc, &reported); err != nil {
		return x, err
	}
	var versions map[string]string
	if doc != "" {
		if err := json.Unmarshal([]byte(doc), &versions); err != nil {
			return x, fmt.Errorf("versions of unit %s: %w", x.UnitID, err)
		}
	}
	x.At, x.Reported = rows.Time(at), versions[x.Component]
	if x.Reported != "" {
		x.ReportedAt = rows.Time(reported)
	}
	return x, nil
}

func (s store) Settings(ctx context.Context, unitID string) ([]update.Setting, error) {
	q, err := s.db.Query(ctx, list+`WHERE s.unit_id = ? ORDER BY s.component`, unitID)
	return rows.Collect(q, err, scan)
}

func (s store) PutSettings(ctx context.Context, settings []update.Setting) error {
	for _, x := range settings {
		_, err := s.db.Exec(ctx, `INSERT INTO update_setting (unit_id, component, value, before, release, assignment_id, at) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (unit_id, component) DO UPDATE SET value = excluded.value, before = excluded.before, release = excluded.release, assignment_id = excluded.assignment_id, at = excluded.at`,
			x.UnitID, x.Component, x.Value, x.Before, x.Release, x.Assignment, rows.Millis(x.At))
		if err != nil {
			return fmt.Errorf("keep settings of %s: %w", x.UnitID, err)
		}
	}
	return nil
}

func (s store) Unset(ctx context.Context, assignment int64) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, statement := range []string{
			`DELETE FROM update_setting WHERE assignment_id = ? AND before = ''`,
			`UPDATE update_setting SET value = before, before = '' WHERE assignment_id = ? AND before <> ''`,
		} {
			if _, err := s.db.Exec(ctx, statement, assignment); err != nil {
				return fmt.Errorf("take back settings of assignment %d: %w", assignment, err)
			}
		}
		return nil
	})
}

// pageOf is how many units' settings are read at once: which drifted is told
// from what the units report, and that is not in the database's words.
const pageOf = 1000

func (s store) Drifted(ctx context.Context, product, afterUnit, afterComponent string, limit int) ([]update.Setting, error) {
	var out []update.Setting
	for {
		seen, args := rows.InSight(ctx, "u.product", "u.region")
		args = append(append([]any{product, product, afterUnit, afterUnit, afterComponent}, args...), pageOf)
		q, err := s.db.Query(ctx, list+`WHERE (? = '' OR u.product = ?) AND (s.unit_id > ? OR s.unit_id = ? AND s.component > ?)`+seen+`
			ORDER BY s.unit_id, s.component LIMIT ?`, args...)
		page, err := rows.Collect(q, err, scan)
		if err != nil {
			return nil, fmt.Errorf("list drift: %w", err)
		}
		for _, x := range page {
			if x.Drifted() {
				if out = append(out, x); len(out) == limit {
					return out, nil
				}
			}
		}
		if len(page) < pageOf {
			return out, nil
		}
		afterUnit, afterComponent = page[len(page)-1].UnitID, page[len(page)-1].Component
	}
}
