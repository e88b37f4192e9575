// Package tips keeps tips, to whom they were given, and where their evaluation
// stands, in the records.
package tips

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/tip"
)

type store struct{ db *sqldb.DB }

// New is the store of tips in the records.
func New(db *sqldb.DB) tip.Store { return store{db} }

func (s store) PutTip(ctx context.Context, t tip.Tip) error {
	doc, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO tip_tip (name, product, version, doc) VALUES (?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET product = excluded.product, version = excluded.version, doc = excluded.doc`, t.Name, t.Product, t.Version, string(doc))
	if err != nil {
		return fmt.Errorf("keep tip %s: %w", t.Name, err)
	}
	return nil
}

const tipColumns = `SELECT name, version, doc FROM tip_tip `

func scanTip(r *sql.Rows) (tip.Tip, error) {
	var name, doc string
	var version int
	if err := r.Scan(&name, &version, &doc); err != nil {
		return tip.Tip{}, err
	}
	var t tip.Tip
	err := json.Unmarshal([]byte(doc), &t)
	t.Name, t.Version = name, version
	return t, err
}

func (s store) Tips(ctx context.Context, product string) ([]tip.Tip, error) {
	q, err := s.db.Query(ctx, tipColumns+`WHERE product = ? OR ? = '' ORDER BY name`, product, product)
	return rows.Collect(q, err, scanTip)
}

func (s store) Tip(ctx context.Context, name string) (tip.Tip, error) {
	q, err := s.db.Query(ctx, tipColumns+`WHERE name = ?`, name)
	return rows.One(rows.Collect(q, err, scanTip))("no tip %q", name)
}

func (s store) DeleteTip(ctx context.Context, name string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, `DELETE FROM tip_off WHERE tip = ?`, name); err != nil {
			return err
		}
		res, err := s.db.Exec(ctx, `DELETE FROM tip_tip WHERE name = ?`, name)
		return rows.Gone(res, err, "no tip %q", name)
	})
}

func (s store) Commit(ctx context.Context, position uint64, states []tip.State, observed []tip.Observation) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if position > 0 {
			states = append(states, tip.State{Seq: position, Data: []byte("{}")})
		}
		var put [][]any
		for _, x := range states {
			if x.Data != nil {
				put = append(put, []any{x.Key, int64(x.Seq), string(x.Data)})
			} else if _, err := s.db.Exec(ctx, `DELETE FROM tip_state WHERE unit_key = ?`, x.Key); err != nil {
				return err
			}
		}
		if err := s.db.InsertRows(ctx, `INSERT INTO tip_state (unit_key, seq, data)`, ` ON CONFLICT (unit_key) DO UPDATE SET seq = excluded.seq, data = excluded.data`, put); err != nil {
			return err
		}
		put = nil
		for _, o := range observed {
			doc, err := json.Marshal(o)
			if err != nil {
				return err
			}
			put = append(put, []any{o.Product, o.Feed, o.Place, o.At, string(doc)})
		}
		return s.db.InsertRows(ctx, `INSERT INTO tip_context (product, feed, place, at, doc)`, ` ON CONFLICT (product, feed, place) DO UPDATE SET at = excluded.at, doc = excluded.doc`, put)
	})
}

func (s store) Load(ctx context.Context) (position uint64, states []tip.State, observed []tip.Observation, err error) {
	q, err := s.db.Query(ctx, `SELECT unit_key, seq, data FROM tip_state ORDER BY unit_key`)
	states, err = rows.Collect(q, err, func(r *sql.Rows) (tip.State, error) {
		var x tip.State
		var seq int64
		err := r.Scan(&x.Key, &seq, &x.Data)
		if x.Seq = uint64(seq); x.Key == 0 {
			position = x.Seq
		}
		return x, err
	})
	if err != nil {
		return 0, nil, nil, fmt.Errorf("load states of tips: %w", err)
	}
	q, err = s.db.Query(ctx, `SELECT doc FROM tip_context ORDER BY product, feed, place`)
	observed, err = rows.Collect(q, err, func(r *sql.Rows) (o tip.Observation, err error) {
		var doc string
		if err := r.Scan(&doc); err != nil {
			return o, err
		}
		return o, json.Unmarshal([]byte(doc), &o)
	})
	return position, states, observed, err
}

const givenColumns = `id, tip, version, product, unit_id, unit_key, owner_id, at, until_at, held, first, vals, push_at, shown_at, shown_via, dismissed_at, acted_at, used_at, ended_at, why, changed_at`

func (s store) Give(ctx context.Context, g tip.Given) (bool, error) {
	vals, err := json.Marshal(g.Values)
	if err != nil {
		return false, err
	}
	n, err := s.db.InsertCounted(ctx, `INSERT INTO tip_given (`+givenColumns+`)`, ` ON CONFLICT (unit_key, tip, at) DO NOTHING`, [][]any{{
		g.ID, g.Tip, g.Version, g.Product, g.UnitID, g.UnitKey, g.OwnerID, rows.Millis(g.At), rows.Millis(g.Until), g.Held, g.First, string(vals), rows.Millis(g.TurnAt),
		rows.Millis(g.ShownAt), string(g.ShownVia), rows.Millis(g.DismissedAt), rows.Millis(g.ActedAt), rows.Millis(g.UsedAt), rows.Millis(g.EndedAt), g.Why, rows.Millis(g.ChangedAt),
	}})
	if err != nil {
		return false, fmt.Errorf("keep that tip %s was given: %w", g.Tip, err)
	}
	return n == 1, nil
}

func scanGiven(r *sql.Rows) (g tip.Given, err error) {
	var vals, via string
	var at, until, push, shown, dismissed, acted, used, ended, changed int64
	err = r.Scan(&g.ID, &g.Tip, &g.Version, &g.Product, &g.UnitID, &g.UnitKey, &g.OwnerID, &at, &until, &g.Held, &g.First, &vals, &push, &shown, &via, &dismissed, &acted, &used, &ended, &g.Why, &changed)
	if err != nil {
		return g, err
	}
	g.At, g.Until, g.TurnAt, g.ShownAt, g.ShownVia = rows.Time(at), rows.Time(until), rows.Time(push), rows.Time(shown), tip.Channel(via)
	g.DismissedAt, g.ActedAt, g.UsedAt, g.EndedAt, g.ChangedAt = rows.Time(dismissed), rows.Time(acted), rows.Time(used), rows.Time(ended), rows.Time(changed)
	return g, json.Unmarshal([]byte(vals), &g.Values)
}

func (s store) Update(ctx context.Context, g tip.Given) error {
	_, err := s.db.Exec(ctx, `UPDATE tip_given SET push_at = ?, shown_at = ?, shown_via = ?, dismissed_at = ?, acted_at = ?, ended_at = ?, why = ?, changed_at = ? WHERE id = ?`,
		rows.Millis(g.TurnAt), rows.Millis(g.ShownAt), string(g.ShownVia), rows.Millis(g.DismissedAt), rows.Millis(g.ActedAt), rows.Millis(g.EndedAt), g.Why, rows.Millis(g.ChangedAt), g.ID)
	return err
}

func (s store) GivenByID(ctx context.Context, id string) (tip.Given, error) {
	q, err := s.db.Query(ctx, `SELECT `+givenColumns+` FROM tip_given WHERE id = ?`+s.db.ForUpdate(), id)
	return rows.One(rows.Collect(q, err, scanGiven))("no tip %q", id)
}

func (s store) Given(ctx context.Context, f tip.Filter) ([]tip.Given, error) {
	where, args := []string{"held = ?"}, []any{false}
	if f.UnitIDs != nil {
		if len(f.UnitIDs) == 0 {
			return nil, nil
		}
		where = append(where, "unit_id IN ("+strings.TrimSuffix(strings.Repeat("?,", len(f.UnitIDs)), ",")+")")
		for _, id := range f.UnitIDs {
			args = append(args, id)
		}
	}
	add := func(set bool, text string, values ...any) {
		if set {
			where, args = append(where, text), append(args, values...)
		}
	}
	add(f.Tip != "", "tip = ?", f.Tip)
	add(!f.Open.IsZero(), "ended_at = 0 AND until_at > ?", rows.Millis(f.Open))
	add(!f.Since.IsZero(), "at >= ?", rows.Millis(f.Since))
	limit := f.Limit
	if limit <= 0 {
		limit = 1000
	}
	q, err := s.db.Query(ctx, `SELECT `+givenColumns+` FROM tip_given WHERE `+strings.Join(where, " AND ")+` ORDER BY at DESC, id DESC LIMIT ?`, append(args, limit)...)
	return rows.Collect(q, err, scanGiven)
}

func (s store) End(ctx context.Context, unitKey int64, name, why string, at, real time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE tip_given SET ended_at = ?, why = ?, push_at = 0, changed_at = ? WHERE unit_key = ? AND tip = ? AND ended_at = 0 AND held = ?`,
		rows.Millis(at), why, rows.Millis(real), unitKey, name, false)
	return err
}

func (s store) Used(ctx context.Context, unitKey int64, name string, given, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE tip_given SET used_at = ? WHERE unit_key = ? AND tip = ? AND at = ? AND used_at = 0`, rows.Millis(at), unitKey, name, rows.Millis(given))
	return err
}

func (s store) Forget(ctx context.Context, unitKey int64, names []string) error {
	if names == nil {
		_, err := s.db.Exec(ctx, `DELETE FROM tip_given WHERE unit_key = ?`, unitKey)
		return err
	}
	for _, name := range names {
		if _, err := s.db.Exec(ctx, `DELETE FROM tip_given WHERE unit_key = ? AND tip = ?`, unitKey, name); err != nil {
			return err
		}
	}
	return nil
}

func (s store) ForgetOwner(ctx context.Context, ownerID string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, statement := range []string{
			`DELETE FROM tip_state WHERE unit_key IN (SELECT unit_key FROM tip_given WHERE owner_id = ?)`,
			`DELETE FROM tip_given WHERE owner_id = ?`, `DELETE FROM tip_off WHERE owner_id = ?`,
		} {
			if _, err := s.db.Exec(ctx, statement, ownerID); err != nil {
				return fmt.Errorf("forget an owner's tips: %w", err)
			}
		}
		return nil
	})
}

func (s store) GivenSince(ctx context.Context, ownerID, name string, since time.Time) (n int, err error) {
	where, args := "held = ? AND at >= ?", []any{false, rows.Millis(since)}
	if ownerID != "" {
		where, args = where+" AND owner_id = ?", append(args, ownerID)
	}
	if name != "" {
		where, args = where+" AND tip = ?", append(args, name)
	}
	err = s.db.QueryRow(ctx, `SELECT count(*) FROM tip_given WHERE `+where, args...).Scan(&n)
	return n, err
}

func (s store) GivenBetween(ctx context.Context, from, to time.Time, but string, fn func(ownerID string, at time.Time)) error {
	found, err := s.db.Query(ctx, `SELECT owner_id, at FROM tip_given WHERE held = ? AND at >= ? AND at < ? AND tip <> ?`, false, rows.Millis(from), rows.Millis(to), but)
	_, err = rows.Collect(found, err, func(r *sql.Rows) (struct{}, error) {
		var owner string
		var at int64
		err := r.Scan(&owner, &at)
		if err == nil {
			fn(owner, rows.Time(at))
		}
		return struct{}{}, err
	})
	return err
}

func (s store) TurnDue(ctx context.Context, now time.Time, limit int) ([]tip.Given, error) {
	q, err := s.db.Query(ctx, `SELECT `+givenColumns+` FROM tip_given WHERE push_at > 0 AND push_at <= ? ORDER BY push_at LIMIT ?`, rows.Millis(now), limit)
	return rows.Collect(q, err, scanGiven)
}

func (s store) ChangedSince(ctx context.Context, real time.Time, limit int) (ids []string, newest time.Time, err error) {
	newest = real
	q, err := s.db.Query(ctx, `SELECT unit_id, changed_at FROM tip_given WHERE changed_at > ? ORDER BY changed_at LIMIT ?`, rows.Millis(real), limit)
	ids, err = rows.Collect(q, err, func(r *sql.Rows) (id string, err error) {
		var at int64
		err = r.Scan(&id, &at)
		if t := rows.Time(at); t.After(newest) {
			newest = t
		}
		return id, err
	})
	return ids, newest, err
}

func (s store) Measure(ctx context.Context, name string, version int, before time.Time) (shown, held tip.Count, err error) {
	q, err := s.db.Query(ctx, `SELECT held, count(*), sum(CASE WHEN shown_at > 0 THEN 1 ELSE 0 END), sum(CASE WHEN dismissed_at > 0 THEN 1 ELSE 0 END),
		sum(CASE WHEN acted_at > 0 THEN 1 ELSE 0 END), sum(CASE WHEN used_at > 0 THEN 1 ELSE 0 END)
		FROM tip_given WHERE tip = ? AND version = ? AND first = ? AND at <= ? GROUP BY held`, name, version, true, rows.Millis(before))
	_, err = rows.Collect(q, err, func(r *sql.Rows) (struct{}, error) {
		var isHeld bool
		var c tip.Count
		if err := r.Scan(&isHeld, &c.Units, &c.Shown, &c.Dismissed, &c.Acted, &c.Used); err != nil {
			return struct{}{}, err
		}
		if isHeld {
			held = c
		} else {
			shown = c
		}
		return struct{}{}, nil
	})
	return shown, held, err
}

func (s store) Expire(ctx context.Context, before time.Time) error {
	if _, err := s.db.Exec(ctx, `DELETE FROM tip_given WHERE at < ?`, rows.Millis(before)); err != nil {
		return err
	}
	_, err := s.db.Exec(ctx, `DELETE FROM tip_context WHERE at < ?`, rows.Millis(before))
	return err
}

func (s store) Switches(ctx context.Context, ownerID string) ([]string, error) {
	q, err := s.db.Query(ctx, `SELECT tip FROM tip_off WHERE owner_id = ? ORDER BY tip`, ownerID)
	return rows.Collect(q, err, func(r *sql.Rows) (name string, err error) { return name, r.Scan(&name) })
}

func (s store) SetSwitch(ctx context.Context, ownerID, name string, off bool) error {
	statement := `DELETE FROM tip_off WHERE owner_id = ? AND tip = ?`
	if off {
		statement = `INSERT INTO tip_off (owner_id, tip) VALUES (?, ?) ON CONFLICT (owner_id, tip) DO NOTHING`
	}
	_, err := s.db.Exec(ctx, statement, ownerID, name)
	return err
}
