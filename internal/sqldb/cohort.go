package sqldb

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/failure"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type cohortStore struct{ db *DB }

// Cohort is the store of cohorts.
func (db *DB) Cohort() cohort.Store { return cohortStore{db} }

func (s cohortStore) PutSnapshot(ctx context.Context, c cohort.Snapshot) error {
	definition, err := json.Marshal(c.Definition)
	if err != nil {
		return fmt.Errorf("keep cohort: %w", err)
	}
	_, err = s.db.exec(ctx, `INSERT INTO cohort_snapshot (id, name, product, definition, position, at, n_in, n_out, n_not, state, done, error, by_whom)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET n_in = excluded.n_in, n_out = excluded.n_out, n_not = excluded.n_not,
		state = excluded.state, done = excluded.done, error = excluded.error`,
		c.ID, c.Definition.Name, c.Definition.Product, string(definition), int64(c.Position), millis(c.At), c.In, c.Out, c.NotJudgeable, c.State, c.Done, c.Error, c.By)
	if err != nil {
		return fmt.Errorf("keep cohort: %w", err)
	}
	return nil
}

func (s cohortStore) PutMembers(ctx context.Context, snapshotID string, members []cohort.Member) error {
	rows := make([][]any, len(members))
	for i, m := range members {
		rows[i] = []any{snapshotID, m.UnitID, m.UnitKey, string(m.List), m.Code, m.Reason, m.Exposure.Milliseconds()}
	}
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.insertRows(ctx, `INSERT INTO cohort_member (snapshot, unit_id, unit_key, list, code, reason, exposure)`,
			` ON CONFLICT (snapshot, unit_id) DO UPDATE SET list = excluded.list, code = excluded.code, reason = excluded.reason, exposure = excluded.exposure`, rows)
	})
	if failure.Foreign(err) {
		return fault.New(fault.NotFound, "no cohort snapshot %q", snapshotID)
	} else if err != nil {
		return fmt.Errorf("keep members: %w", err)
	}
	return nil
}

const snapshotColumns = `SELECT id, definition, position, at, n_in, n_out, n_not, state, done, error, by_whom FROM cohort_snapshot`

func scanSnapshot(scan func(...any) error) (cohort.Snapshot, error) {
	var c cohort.Snapshot
	var definition string
	var position, at int64
	if err := scan(&c.ID, &definition, &position, &at, &c.In, &c.Out, &c.NotJudgeable, &c.State, &c.Done, &c.Error, &c.By); err != nil {
		return c, err
	}
	c.Position, c.At = uint64(position), fromMillis(at)
	if err := json.Unmarshal([]byte(definition), &c.Definition); err != nil {
		return c, fmt.Errorf("cohort %s in the records: %w", c.ID, err)
	}
	return c, nil
}

func (s cohortStore) Snapshot(ctx context.Context, id string) (cohort.Snapshot, error) {
	seen, args := rows.InSight(ctx, "product", "")
	c, err := scanSnapshot(s.db.queryRow(ctx, snapshotColumns+` WHERE id = ?`+seen, append([]any{id}, args...)...).Scan)
	return c, missing(err, "no cohort snapshot %q", id)
}

func (s cohortStore) Snapshots(ctx context.Context, product string) ([]cohort.Snapshot, error) {
	seen, args := rows.InSight(ctx, "product", "")
	found, err := s.db.query(ctx, snapshotColumns+` WHERE (product = ? OR ? = '')`+seen+` ORDER BY at DESC, id DESC`, append([]any{product, product}, args...)...)
	return collect(found, err, func(r *sql.Rows) (cohort.Snapshot, error) { return scanSnapshot(r.Scan) })
}

func (s cohortStore) SnapshotByName(ctx context.Context, name string) (cohort.Snapshot, error) {
	seen, args := rows.InSight(ctx, "product", "")
	c, err := scanSnapshot(s.db.queryRow(ctx, snapshotColumns+` WHERE name = ?`+seen+` ORDER BY at DESC, id DESC LIMIT 1`, append([]any{name}, args...)...).Scan)
	return c, missing(err, "no cohort %q", name)
}

func (s cohortStore) Members(ctx context.Context, snapshotID string, list cohort.List, after string, limit int) ([]cohort.Member, error) {
	query, args := `SELECT unit_id, unit_key, list, code, reason, exposure FROM cohort_member WHERE snapshot = ? AND unit_id > ?`, []any{snapshotID, after}
	if list != "" {
		query, args = query+` AND list = ?`, append(args, string(list))
	}
	seen, more := rows.UnitInSight(ctx, "unit_id")
	query, args = query+seen+` ORDER BY unit_id`, append(args, more...)
	if limit > 0 {
		query, args = query+` LIMIT ?`, append(args, limit)
	}
	found, err := s.db.query(ctx, query, args...)
	return collect(found, err, func(r *sql.Rows) (cohort.Member, error) {
		var m cohort.Member
		var exposure int64
		err := r.Scan(&m.UnitID, &m.UnitKey, &m.List, &m.Code, &m.Reason, &exposure)
		m.Exposure = time.Duration(exposure) * time.Millisecond
		return m, err
	})
}

func (s cohortStore) DeleteSnapshot(ctx context.Context, id string) error {
	seen, args := rows.InSight(ctx, "product", "")
	r, err := s.db.exec(ctx, `DELETE FROM cohort_snapshot WHERE id = ?`+seen, append([]any{id}, args...)...)
	if err != nil {
		return fmt.Errorf("delete cohort: %w", err)
	}
	if n, err := r.RowsAffected(); err == nil && n == 0 {
		return fault.New(fault.NotFound, "no cohort snapshot %q", id)
	}
	return nil
}
