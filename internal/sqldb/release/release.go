// Package release is the store of what has become of releases on units: their
// withdrawal, the counters that units have confirmed, how long installations
// took, who has a release, and the register of versions.
package release

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/register"
)

type store struct{ db *sqldb.DB }

// New is the ledger of releases in the records.
func New(db *sqldb.DB) update.Ledger { return store{db} }

func (s store) Withdraw(ctx context.Context, name string, w update.Withdrawal) error {
	doc, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("withdraw release %s: %w", name, err)
	}
	res, err := s.db.Exec(ctx, `UPDATE update_release SET withdrawn = ? WHERE name = ?`, string(doc), name)
	if err != nil {
		return fmt.Errorf("withdraw release %s: %w", name, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(fault.New(fault.NotFound, "no release %q", name), err)
	}
	return nil
}

func (s store) RaiseCounter(ctx context.Context, c update.Counter) error {
	_, err := s.db.Exec(ctx, `INSERT INTO update_counter (unit_id, component, product, counter, release, at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (unit_id, component) DO UPDATE SET product = excluded.product, counter = excluded.counter, release = excluded.release, at = excluded.at
		WHERE excluded.counter > update_counter.counter`, c.UnitID, c.Component, c.Product, c.Counter, c.Release, rows.Millis(c.At))
	if err != nil {
		return fmt.Errorf("keep counter of %s: %w", c.UnitID, err)
	}
	return nil
}

func (s store) Counters(ctx context.Context, unitID string) (map[string]int64, error) {
	out := map[string]int64{}
	q, err := s.db.Query(ctx, `SELECT component, counter FROM update_counter WHERE unit_id = ?`, unitID)
	_, err = rows.Collect(q, err, func(r *sql.Rows) (struct{}, error) {
		var component string
		var counter int64
		err := r.Scan(&component, &counter)
		out[component] = counter
		return struct{}{}, err
	})
	return out, err
}

func (s store) CountersAbove(ctx context.Context, product, component string, counter int64, fn func(string, int64)) error {
	q, err := s.db.Query(ctx, `SELECT unit_id, counter FROM update_counter WHERE product = ? AND component = ? AND counter > ?`, product, component, counter)
	_, err = rows.Collect(q, err, func(r *sql.Rows) (struct{}, error) {
		var id string
		var n int64
		if err := r.Scan(&id, &n); err != nil {
			return struct{}{}, err
		}
		fn(id, n)
		return struct{}{}, nil
	})
	return err
}

func (s store) AddTaking(ctx context.Context, t update.Taking) error {
	_, err := s.db.Exec(ctx, `INSERT INTO update_duration (assignment_id, release, family, seconds, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (assignment_id) DO NOTHING`,
		t.Assignment, t.Release, t.Family, int64(t.Took/time.Second), rows.Millis(t.At))
	if err != nil {
		return fmt.Errorf("keep how long assignment %d took: %w", t.Assignment, err)
	}
	return nil
}

func (s store) Takings(ctx context.Context, release, family string, q float64) (n int, quantile time.Duration, err error) {
	where, of := `release = ?`, release
	if release == "" {
		where, of = `family = ?`, family
	}
	if err := s.db.QueryRow(ctx, `SELECT count(*) FROM update_duration WHERE `+where, of).Scan(&n); err != nil || n == 0 {
		return 0, 0, rows.Missing(err, "none")
	}
	rank := max(0, int(math.Ceil(q*float64(n)))-1)
	var seconds int64
	err = s.db.QueryRow(ctx, `SELECT seconds FROM update_duration WHERE `+where+` ORDER BY seconds LIMIT 1 OFFSET ?`, of, rank).Scan(&seconds)
	return n, time.Duration(seconds) * time.Second, rows.Missing(err, "none")
}

// like is a pattern that finds a component's version in the versions of a
// unit, which the records keep as JSON.
func like(component, version string) (string, error) {
	c, err := json.Marshal(component)
	if err != nil {
		return "", err
	}
	v, err := json.Marshal(version)
	if err != nil {
		return "", err
	}
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(string(c)+":"+string(v)) + "%", nil
}

func (s store) Holders(ctx context.Context, r *update.Release, after string, limit int) ([]update.Holder, error) {
	var has []string
	args := []any{r.Name, r.Name, r.Product, after}
	for _, p := range r.Images() {
		pattern, err := like(p.Component, p.Version)
		if err != nil {
			return nil, err
		}
		has = append(has, `u.versions LIKE ? ESCAPE '\'`)
		args = append(args, pattern)
	}
	seen, more := rows.InSight(ctx, "u.product", "u.region")
	q, err := s.db.Query(ctx, `SELECT u.id, u.versions, a.id, a.state, a.updated FROM fleet_unit u
		LEFT JOIN update_assignment a ON a.unit_id = u.id AND a.release = ? AND a.id = (SELECT MAX(b.id) FROM update_assignment b WHERE b.unit_id = u.id AND b.release = ?)
		WHERE u.product = ? AND u.id > ? AND (a.id IS NOT NULL OR (`+strings.Join(has, " AND ")+`))`+seen+` ORDER BY u.id LIMIT ?`, append(append(args, more...), limit)...)
	return rows.Collect(q, err, func(q *sql.Rows) (update.Holder, error) {
		var h update.Holder
		var versions string
		var id, at sql.NullInt64
		var state sql.NullString
		if err := q.Scan(&h.UnitID, &versions, &id, &state, &at); err != nil {
			return h, err
		}
		if err := json.Unmarshal([]byte(versions), &h.Versions); err != nil {
			return h, fmt.Errorf("versions of unit %s in the records: %w", h.UnitID, err)
		}
		h.Assignment, h.State, h.At = id.Int64, update.AssignmentState(state.String), rows.Time(at.Int64)
		return h, nil
	})
}

func (s store) UnendedOf(ctx context.Context, name string, after int64, limit int) ([]update.Assignment, error) {
	q, err := s.db.Query(ctx, `SELECT id, unit_id, state FROM update_assignment WHERE release = ? AND state NOT IN (?, ?, ?) AND id > ? ORDER BY id LIMIT ?`,
		name, string(update.Installed), string(update.Failed), string(update.Canceled), after, limit)
	return rows.Collect(q, err, func(r *sql.Rows) (update.Assignment, error) {
		var a update.Assignment
		err := r.Scan(&a.ID, &a.UnitID, &a.State)
		a.Release = name
		return a, err
	})
}

func (s store) Append(ctx context.Context, seal func(int64, string) (register.Entry, register.Record, error)) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		// Written before it is read: that locks the head until the end of the transaction, on both.
		if _, err := s.db.Exec(ctx, `UPDATE update_register_head SET seq = seq + 1 WHERE id = 1`); err != nil {
			return err
		}
		seq, previous, err := s.Head(ctx)
		if err != nil {
			return err
		}
		e, r, err := seal(seq-1, previous)
		if err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, `INSERT INTO update_register (seq, unit_key, assignment_id, at, entry, hash) VALUES (?, ?, ?, ?, ?, ?)`,
			e.Seq, e.Unit, e.Assignment, rows.Millis(e.At), string(r.Entry), r.Hash); err != nil {
			return err
		}
		_, err = s.db.Exec(ctx, `UPDATE update_register_head SET hash = ? WHERE id = 1`, r.Hash)
		return err
	})
}

func (s store) Head(ctx context.Context) (seq int64, hash string, err error) {
	err = s.db.QueryRow(ctx, `SELECT seq, hash FROM update_register_head WHERE id = 1`).Scan(&seq, &hash)
	return seq, hash, rows.Missing(err, "the register has no head")
}

func (s store) Records(ctx context.Context, unit, after int64, limit int) ([]register.Record, error) {
	query, args := `SELECT entry, hash FROM update_register WHERE seq > ? ORDER BY seq LIMIT ?`, []any{after, limit}
	if unit != 0 {
		query, args = `SELECT entry, hash FROM update_register WHERE unit_key = ? AND seq > ? ORDER BY seq LIMIT ?`, []any{unit, after, limit}
	}
	q, err := s.db.Query(ctx, query, args...)
	return rows.Collect(q, err, func(q *sql.Rows) (register.Record, error) {
		var r register.Record
		var entry string
		err := q.Scan(&entry, &r.Hash)
		r.Entry = json.RawMessage(entry)
		return r, err
	})
}

func (s store) Last(ctx context.Context, unit int64) (register.Record, error) {
	var r register.Record
	var entry string
	err := s.db.QueryRow(ctx, `SELECT entry, hash FROM update_register WHERE unit_key = ? ORDER BY seq DESC LIMIT 1`, unit).Scan(&entry, &r.Hash)
	r.Entry = json.RawMessage(entry)
	return r, rows.Missing(err, "no entry of unit %d", unit)
}
