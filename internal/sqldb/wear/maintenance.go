// Package wear keeps maintenance records and what is foreseen from them.
package wear

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type maintenanceStore struct{ db *sqldb.DB }

// Maintenance is the store of maintenance records.
func Maintenance(db *sqldb.DB) maintenance.Store { return maintenanceStore{db} }

// most is how many values a statement is given at once.
const most = 1000

func (s maintenanceStore) Add(ctx context.Context, records []maintenance.Record) (added int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		var before, after int
		const count = `SELECT COUNT(*) FROM fleet_maintenance`
		if err := s.db.QueryRow(ctx, count).Scan(&before); err != nil {
			return err
		}
		values := make([][]any, len(records))
		for i, r := range records {
			values[i] = []any{
				r.ID, r.UnitID, rows.Millis(r.At), r.Part, string(r.Kind), string(r.Reason), r.Batch, r.Serial, r.Version, r.Note,
				r.By, rows.Millis(r.EnteredAt), false,
			}
		}
		if err := s.db.InsertRows(ctx, `INSERT INTO fleet_maintenance
			(id, unit_id, at, part, kind, reason, batch, serial, version, note, made_by, entered_at, told)`,
			` ON CONFLICT (unit_id, part, kind, at) DO NOTHING`, values); err != nil {
			return err
		}
		err := s.db.QueryRow(ctx, count).Scan(&after)
		added = after - before
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("keep maintenance records: %w", err)
	}
	return added, nil
}

const recordColumns = `r.id, r.unit_id, r.at, r.part, r.kind, r.reason, r.batch, r.serial, r.version, r.note, r.made_by, r.entered_at`

func scanRecord(scan func(...any) error, more ...any) (r maintenance.Record, err error) {
	var at, entered int64
	err = scan(append([]any{&r.ID, &r.UnitID, &at, &r.Part, &r.Kind, &r.Reason, &r.Batch, &r.Serial, &r.Version, &r.Note, &r.By, &entered}, more...)...)
	r.At, r.EnteredAt = rows.Time(at), rows.Time(entered)
	return r, err
}

func (s maintenanceStore) Record(ctx context.Context, id string) (maintenance.Record, error) {
	seen, args := rows.UnitInSight(ctx, "r.unit_id")
	r, err := scanRecord(s.db.QueryRow(ctx, `SELECT `+recordColumns+` FROM fleet_maintenance r WHERE r.id = ?`+seen, append([]any{id}, args...)...).Scan)
	return r, rows.Missing(err, "no maintenance record %q", id)
}

func (s maintenanceStore) Records(ctx context.Context, f maintenance.Filter) ([]maintenance.Record, error) {
	seen, args := rows.InSight(ctx, "u.product", "u.region")
	where := []string{"1 = 1" + seen}
	add := func(set bool, text string, values ...any) {
		if set {
			where, args = append(where, text), append(args, values...)
		}
	}
	add(f.Product != "", "u.product = ?", f.Product)
	add(f.UnitID != "", "r.unit_id = ?", f.UnitID)
	if f.Part != nil {
		add(true, "r.part = ?", *f.Part)
	}
	add(f.Kind != "", "r.kind = ?", string(f.Kind))
	add(f.Before != "", "(r.at, r.id) < (SELECT at, id FROM fleet_maintenance WHERE id = ?)", f.Before)
	query := `SELECT ` + recordColumns + ` FROM fleet_maintenance r JOIN fleet_unit u ON u.id = r.unit_id WHERE ` +
		strings.Join(where, " AND ") + ` ORDER BY r.at DESC, r.id DESC`
	if f.Limit > 0 {
		query += ` LIMIT ?`
		args = append(args, f.Limit)
	}
	found, err := s.db.Query(ctx, query, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (maintenance.Record, error) { return scanRecord(r.Scan) })
}

func (s maintenanceStore) Delete(ctx context.Context, id string) error {
	seen, args := rows.UnitInSight(ctx, "unit_id")
	res, err := s.db.Exec(ctx, `DELETE FROM fleet_maintenance WHERE id = ?`+seen, append([]any{id}, args...)...)
	if err != nil {
		return fmt.Errorf("delete maintenance record: %w", err)
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return fault.New(fault.NotFound, "no maintenance record %q", id)
	}
	return nil
}

func (s maintenanceStore) Parts(ctx context.Context, product string) ([]maintenance.PartCount, error) {
	seen, args := rows.InSight(ctx, "u.product", "u.region")
	found, err := s.db.Query(ctx, `SELECT r.part, COUNT(*), SUM(CASE WHEN r.kind = 'failure' OR r.reason = 'failed' THEN 1 ELSE 0 END)
		FROM fleet_maintenance r JOIN fleet_unit u ON u.id = r.unit_id WHERE u.product = ?`+seen+` GROUP BY r.part ORDER BY r.part`, append([]any{product}, args...)...)
	return rows.Collect(found, err, func(r *sql.Rows) (p maintenance.PartCount, err error) {
		return p, r.Scan(&p.Part, &p.Records, &p.Failures)
	})
}

func (s maintenanceStore) Untold(ctx context.Context, limit int) ([]maintenance.Entered, error) {
	found, err := s.db.Query(ctx, `SELECT `+recordColumns+`, u.unit_key FROM fleet_maintenance r JOIN fleet_unit u ON u.id = r.unit_id
		WHERE NOT r.told ORDER BY r.seq LIMIT ?`, limit)
	return rows.Collect(found, err, func(r *sql.Rows) (e maintenance.Entered, err error) {
		e.Record, err = scanRecord(r.Scan, &e.UnitKey)
		return e, err
	})
}

func (s maintenanceStore) Told(ctx context.Context, ids []string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for part := range slices.Chunk(ids, most) {
			where, args := in("id", part)
			if _, err := s.db.Exec(ctx, `UPDATE fleet_maintenance SET told = TRUE WHERE `+where, args...); err != nil {
				return fmt.Errorf("told maintenance records: %w", err)
			}
		}
		return nil
	})
}

// in writes "column IN (?,?,…)".
func in(column string, values []string) (text string, args []any) {
	args = make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	return column + " IN (" + strings.TrimSuffix(strings.Repeat("?,", len(values)), ",") + ")", args
}
