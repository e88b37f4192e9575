// Package privacy keeps requests about people's rights, and takes people out of
// the records: a rule for each table (Plan) says how.
package privacy

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type store struct{ db *sqldb.DB }

// New is the store of requests, restrictions and erasures.
func New(db *sqldb.DB) privacy.Store { return store{db} }

// most is how many values a statement is given at once.
const most = 500

// Sharing is how many units of a product must share the value of a declared
// attribute for it to be kept: fewer could name the person (the k).
const Sharing = 10

func (s store) Subject(ctx context.Context, ownerID string) (privacy.Subject, error) {
	sub := privacy.Subject{OwnerID: ownerID}
	err := s.db.QueryRow(ctx, `SELECT email FROM fleet_owner WHERE id = ?`, ownerID).Scan(&sub.Email)
	if err != nil {
		return sub, rows.Missing(err, "no owner %q", ownerID)
	}
	found, err := s.db.Query(ctx, `SELECT id, unit_key, product FROM fleet_unit WHERE owner_id = ? ORDER BY id`, ownerID)
	_, err = rows.Collect(found, err, func(r *sql.Rows) (struct{}, error) {
		var id, product string
		var key int64
		err := r.Scan(&id, &key, &product)
		sub.Units, sub.Keys = append(sub.Units, id), append(sub.Keys, key)
		if !slices.Contains(sub.Products, product) {
			sub.Products = append(sub.Products, product)
		}
		return struct{}{}, err
	})
	if err != nil {
		return sub, err
	}
	sub.Spans, err = s.spans(ctx, ownerID)
	return sub, err
}

// spans are a person's times with units that others have had, too.
func (s store) spans(ctx context.Context, ownerID string) (out []privacy.Span, err error) {
	type period struct {
		unit, owner string
		key         int64
		from, to    int64
	}
	found, err := s.db.Query(ctx, `SELECT p.unit_id, u.unit_key, p.owner_id, p.from_at, p.to_at FROM people_period p JOIN fleet_unit u ON u.id = p.unit_id
		WHERE p.unit_id IN (SELECT unit_id FROM people_period WHERE owner_id = ?) ORDER BY p.unit_id, p.from_at, p.id`, ownerID)
	all, err := rows.Collect(found, err, func(r *sql.Rows) (p period, err error) {
		return p, r.Scan(&p.unit, &p.key, &p.owner, &p.from, &p.to)
	})
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.owner != ownerID {
			continue
		}
		// What was before them and nobody's goes with theirs.
		v := privacy.Span{UnitID: p.unit, UnitKey: p.key, To: rows.Time(p.to)}
		for _, before := range all {
			if before.unit == p.unit && before.owner != ownerID && before.owner != "" && before.to > 0 && before.to <= p.from && before.to > rows.Millis(v.From) {
				v.From = rows.Time(before.to)
			}
		}
		if v.From.IsZero() && v.To.IsZero() { // theirs alone
			continue
		}
		out = append(out, v)
	}
	return out, nil
}

func (s store) Owners(ctx context.Context) ([]string, error) {
	found, err := s.db.Query(ctx, `SELECT id FROM fleet_owner`)
	return rows.Collect(found, err, func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) })
}

// where are the conditions that pick a person's rows by a link, each with its
// arguments; more than one where there are many units.
func (l *link) where(sub *privacy.Subject) (texts []string, args [][]any) {
	add := func(text string, values ...any) { texts, args = append(texts, text), append(args, values) }
	in := func(values []any) {
		for part := range slices.Chunk(values, most) {
			add(l.column+" IN (?"+strings.Repeat(", ?", len(part)-1)+")", part...)
		}
	}
	switch l.of {
	case nobody:
	case owner:
		add(l.column+" = ?", sub.OwnerID)
	case byOwner:
		add(l.column+" = ?", "owner:"+sub.OwnerID)
	case email:
		if sub.Email != "" {
			add(l.column+" = ?", sub.Email)
		}
	case unit:
		if l.at == "" {
			in(anys(sub.Units))
			break
		}
		in(anys(slices.DeleteFunc(slices.Clone(sub.Units), func(id string) bool { return !sub.Whole(id) })))
		for _, v := range sub.Spans {
			during, values := l.during(&v)
			add(l.column+" = ?"+during, append([]any{v.UnitID}, values...)...)
		}
	case wasUnit:
		for _, v := range sub.Spans {
			if !v.To.IsZero() {
				add(l.column+" = ?", v.UnitID)
			}
		}
	case unitKey:
		in(anys(sub.Keys))
	case detectors:
		if len(sub.Products) > 0 {
			in := "IN (?" + strings.Repeat(", ?", len(sub.Products)-1) + ")"
			add("state <> 'waiting' AND (product "+in+" OR "+l.column+" IN (SELECT name FROM condition_detector WHERE product "+in+"))", append(anys(sub.Products), anys(sub.Products)...)...)
		}
	case inText:
		const names = ` LIKE ? ESCAPE '\'`
		for _, id := range sub.Units {
			if sub.Whole(id) {
				add("owner_id = '' AND "+l.column+names, "%"+likely(id)+"%")
			}
		}
		for _, v := range sub.Spans {
			during, values := l.during(&v)
			add("owner_id = '' AND "+l.column+names+during, append([]any{"%" + likely(v.UnitID) + "%"}, values...)...)
		}
	case through:
		below, values := l.via.where(sub)
		for i, text := range below {
			add(l.column+" IN (SELECT "+l.key+" FROM "+l.table+" WHERE "+text+")", values[i]...)
		}
	}
	return texts, args
}

// during is the condition that a row is of a span's time.
func (l *link) during(v *privacy.Span) (text string, values []any) {
	if !v.From.IsZero() {
		text, values = " AND "+l.at+" >= ?", append(values, rows.Millis(v.From))
	}
	if !v.To.IsZero() {
		text, values = text+" AND "+l.at+" < ?", append(values, rows.Millis(v.To))
	}
	return text, values
}

func anys[T any](values []T) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

func likely(s string) string { return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(s) }

func (s store) Erase(ctx context.Context, sub privacy.Subject) (counts []privacy.Count, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.blankAttributes(ctx, &sub); err != nil {
			return err
		}
		for _, r := range Plan() {
			if r.None != "" {
				continue
			}
			n, err := s.apply(ctx, &r, &sub)
			if err != nil {
				return fmt.Errorf("erase from %s: %w", r.Table, err)
			}
			if n == 0 {
				continue
			}
			c := privacy.Count{Place: r.Table, Kept: r.Kept}
			if r.Set == nil && r.Scrub == nil {
				c.Deleted = n
			} else {
				c.Blanked = n
			}
			counts = append(counts, c)
		}
		return nil
	})
	return counts, err
}

// found are the tables of what was found of a unit: they go when the unit is
// deleted.
var found = []string{"condition_comment", "condition_finding", "condition_risk", "condition_prediction", "notify_news", "condition_state", "condition_exposure", "update_attributes"}

func (s store) EraseUnit(ctx context.Context, unitID string, key int64) error {
	return s.EraseFound(ctx, privacy.Subject{Units: []string{unitID}, Keys: []int64{key}})
}

func (s store) EraseFound(ctx context.Context, sub privacy.Subject) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, r := range Plan() {
			if !slices.Contains(found, r.Table) {
				continue
			}
			if _, err := s.apply(ctx, &r, &sub); err != nil {
				return fmt.Errorf("erase unit from %s: %w", r.Table, err)
			}
		}
		return nil
	})
}

func (s store) apply(ctx context.Context, r *Rule, sub *privacy.Subject) (n int64, err error) {
	for _, l := range r.Links {
		texts, args := l.where(sub)
		for i, where := range texts {
			var res sql.Result
			switch {
			case r.Scrub != nil:
				m, err := s.scrub(ctx, r, where, args[i])
				if err != nil {
					return n, err
				}
				n += m
				continue
			case r.Set != nil:
				res, err = s.db.Exec(ctx, `UPDATE `+r.Table+` SET `+sets(r.Set)+` WHERE `+where, args[i]...)
			default:
				res, err = s.db.Exec(ctx, `DELETE FROM `+r.Table+` WHERE `+where, args[i]...)
			}
			if err != nil {
				return n, err
			}
			m, err := res.RowsAffected()
			if err != nil {
				return n, err
			}
			n += m
		}
	}
	return n, nil
}

func sets(set map[string]string) string {
	var out []string
	for _, column := range slices.Sorted(maps.Keys(set)) {
		out = append(out, column+" = "+set[column])
	}
	return strings.Join(out, ", ")
}

// scrub takes fields out of the documents of rows, whose key is id.
func (s store) scrub(ctx context.Context, r *Rule, where string, args []any) (int64, error) {
	type row struct{ id, doc string }
	q, err := s.db.Query(ctx, `SELECT CAST(id AS TEXT), doc FROM `+r.Table+` WHERE `+where, args...)
	list, err := rows.Collect(q, err, func(q *sql.Rows) (v row, err error) { return v, q.Scan(&v.id, &v.doc) })
	if err != nil {
		return 0, err
	}
	set := "doc = ?"
	if r.Set != nil {
		set += ", " + sets(r.Set)
	}
	for _, v := range list {
		var doc map[string]json.RawMessage
		if err := json.Unmarshal([]byte(v.doc), &doc); err != nil {
			return 0, fmt.Errorf("row %s: %w", v.id, err)
		}
		for _, field := range r.Scrub {
			delete(doc, field)
		}
		text, err := json.Marshal(doc)
		if err != nil {
			return 0, err
		}
		if _, err := s.db.Exec(ctx, `UPDATE `+r.Table+` SET `+set+` WHERE CAST(id AS TEXT) = ?`, string(text), v.id); err != nil {
			return 0, err
		}
	}
	return int64(len(list)), nil
}

// blankAttributes takes declared attributes off the units whose value fewer
// than Sharing units of the product share.
func (s store) blankAttributes(ctx context.Context, sub *privacy.Subject) error {
	for _, id := range sub.Units {
		var product, text string
		if err := s.db.QueryRow(ctx, `SELECT product, attributes FROM fleet_unit WHERE id = ?`, id).Scan(&product, &text); err != nil {
			return rows.Missing(err, "no unit %q", id)
		}
		attributes, err := rows.ReadMap(text)
		if err != nil {
			return fmt.Errorf("attributes of unit %s: %w", id, err)
		}
		left := map[string]string{}
		for name, value := range attributes {
			pair, err := json.Marshal(map[string]string{name: value})
			if err != nil {
				return err
			}
			var n int
			err = s.db.QueryRow(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM fleet_unit WHERE product = ? AND attributes LIKE ? ESCAPE '\' LIMIT ?) shared`,
				product, "%"+likely(strings.Trim(string(pair), "{}"))+"%", Sharing).Scan(&n)
			if err != nil {
				return err
			}
			if n >= Sharing {
				left[name] = value
			}
		}
		if len(left) == len(attributes) {
			continue
		}
		kept, err := json.Marshal(left)
		if err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, `UPDATE fleet_unit SET attributes = ? WHERE id = ?`, string(kept), id); err != nil {
			return err
		}
	}
	return nil
}
