// Package trail keeps the audit trail and how it names people.
package trail

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type store struct{ db *sqldb.DB }

// New is the store of the audit trail.
func New(db *sqldb.DB) audit.Store { return store{db} }

func (s store) Append(ctx context.Context, seal func(audit.Head) (audit.Entry, audit.Record, error)) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		// Written before it is read: that locks the head until the end of the transaction, on both.
		if _, err := s.db.Exec(ctx, `UPDATE audit_head SET seq = seq + 1 WHERE id = 1`); err != nil {
			return err
		}
		h, err := s.Head(ctx)
		if err != nil {
			return err
		}
		h.Seq--
		e, r, err := seal(h)
		if err != nil {
			return err
		}
		if _, err := s.db.Exec(ctx, `INSERT INTO audit_entry (seq, at, kind, actor, operation, object, entry, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			e.Seq, rows.Millis(e.At), string(e.Kind), e.Actor.ID, e.Operation, e.Object, string(r.Entry), r.Hash); err != nil {
			return err
		}
		people := e.About
		if e.Actor.Party == audit.Owner && e.Actor.ID != "" {
			people = append([]string{e.Actor.ID}, people...)
		}
		seen, about := map[string]bool{}, [][]any(nil)
		for _, alias := range people {
			if !seen[alias] {
				seen[alias], about = true, append(about, []any{alias, e.Seq})
			}
		}
		if err := s.db.InsertRows(ctx, `INSERT INTO audit_about (alias, seq)`, ``, about); err != nil {
			return err
		}
		_, err = s.db.Exec(ctx, `UPDATE audit_head SET hash = ? WHERE id = 1`, r.Hash)
		return err
	})
}

func (s store) Head(ctx context.Context) (h audit.Head, err error) {
	err = s.db.QueryRow(ctx, `SELECT seq, hash FROM audit_head WHERE id = 1`).Scan(&h.Seq, &h.Hash)
	return h, rows.Missing(err, "the audit trail has no head")
}

func (s store) Start(ctx context.Context) (h audit.Head, err error) {
	err = s.db.QueryRow(ctx, `SELECT start_seq, start_hash FROM audit_head WHERE id = 1`).Scan(&h.Seq, &h.Hash)
	return h, rows.Missing(err, "the audit trail has no head")
}

func (s store) Records(ctx context.Context, f audit.Filter) ([]audit.Record, error) {
	where, args := []string{"1 = 1"}, []any(nil)
	add := func(set bool, text string, values ...any) {
		if set {
			where, args = append(where, text), append(args, values...)
		}
	}
	if len(f.About) > 0 {
		var aliases []any
		for _, a := range f.About {
			aliases = append(aliases, a)
		}
		add(true, "e.seq IN (SELECT seq FROM audit_about WHERE alias IN (?"+strings.Repeat(", ?", len(aliases)-1)+"))", aliases...)
	}
	add(f.Not != "", "e.actor <> ?", f.Not)
	add(!f.From.IsZero(), "e.at >= ?", rows.Millis(f.From))
	add(!f.To.IsZero(), "e.at < ?", rows.Millis(f.To))
	add(f.Kind != "", "e.kind = ?", string(f.Kind))
	add(f.Actor != "", "e.actor = ?", f.Actor)
	add(f.Operation != "", "e.operation = ?", f.Operation)
	// "0" comes next after "/": all that begin with the object and a /.
	add(f.Object != "", "(e.object = ? OR (e.object > ? AND e.object < ?))", f.Object, f.Object+"/", f.Object+"0")
	add(f.After > 0, "e.seq > ?", f.After)
	add(f.Before > 0, "e.seq < ?", f.Before)
	query := `SELECT e.entry, e.hash FROM audit_entry e WHERE ` + strings.Join(where, " AND ") + ` ORDER BY e.seq`
	if f.Newest {
		query += ` DESC`
	}
	if f.Limit > 0 {
		query, args = query+` LIMIT ?`, append(args, f.Limit)
	}
	found, err := s.db.Query(ctx, query, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (out audit.Record, err error) {
		var entry string
		err = r.Scan(&entry, &out.Hash)
		out.Entry = json.RawMessage(entry)
		return out, err
	})
}

func (s store) Filings(ctx context.Context, from, to int64) ([]audit.Filing, error) {
	type link struct {
		seq   int64
		alias string
	}
	found, err := s.db.Query(ctx, `SELECT seq, alias FROM audit_about WHERE seq BETWEEN ? AND ?`, from, to)
	links, err := rows.Collect(found, err, func(r *sql.Rows) (l link, err error) { return l, r.Scan(&l.seq, &l.alias) })
	if err != nil {
		return nil, err
	}
	about := map[int64][]string{}
	for _, l := range links {
		about[l.seq] = append(about[l.seq], l.alias)
	}
	found, err = s.db.Query(ctx, `SELECT seq, at, kind, actor, operation, object FROM audit_entry WHERE seq BETWEEN ? AND ? ORDER BY seq`, from, to)
	return rows.Collect(found, err, func(r *sql.Rows) (f audit.Filing, err error) {
		var at int64
		err = r.Scan(&f.Seq, &at, &f.Kind, &f.Actor, &f.Operation, &f.Object)
		f.At, f.About = rows.Time(at), about[f.Seq]
		slices.Sort(f.About)
		return f, err
	})
}

func (s store) Drop(ctx context.Context, before time.Time, limit int) (last audit.Head, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		// From the chain's beginning on, without a gap: a clock that was set back keeps what follows.
		var next sql.NullInt64
		if err := s.db.QueryRow(ctx, `SELECT MIN(seq) FROM audit_entry WHERE at >= ?`, rows.Millis(before)).Scan(&next); err != nil {
			return err
		}
		if !next.Valid {
			if err := s.db.QueryRow(ctx, `SELECT seq + 1 FROM audit_head WHERE id = 1`).Scan(&next); err != nil {
				return err
			}
		}
		start, err := s.Start(ctx)
		if err != nil {
			return err
		}
		until := min(next.Int64-1, start.Seq+int64(limit))
		if until <= start.Seq {
			return nil
		}
		last.Seq = until
		if err := s.db.QueryRow(ctx, `SELECT hash FROM audit_entry WHERE seq = ?`, until).Scan(&last.Hash); err != nil {
			return rows.Missing(err, "entry %d of the audit trail is missing", until)
		}
		if _, err := s.db.Exec(ctx, `DELETE FROM audit_entry WHERE seq <= ?`, until); err != nil {
			return err
		}
		_, err = s.db.Exec(ctx, `UPDATE audit_head SET start_seq = ?, start_hash = ? WHERE id = 1`, last.Seq, last.Hash)
		return err
	})
	if err != nil {
		return audit.Head{}, fmt.Errorf("expire the audit trail: %w", err)
	}
	return last, nil
}

func (s store) Person(ctx context.Context, ownerID string, fresh func() audit.Person) (p audit.Person, err error) {
	const query = `SELECT owner_id, alias, sealing FROM audit_person WHERE owner_id = ?`
	read := func() error { return s.db.QueryRow(ctx, query, ownerID).Scan(&p.OwnerID, &p.Alias, &p.Key) }
	if err = rows.Missing(read(), "no person"); fault.KindOf(err) == fault.NotFound {
		n := fresh()
		_, err = s.db.Exec(fleet.WithCommit(ctx, nil), `INSERT INTO audit_person (owner_id, alias, sealing) VALUES (?, ?, ?) ON CONFLICT (owner_id) DO NOTHING`, ownerID, n.Alias, n.Key)
		if err == nil {
			err = read()
		}
	}
	return p, err
}

func (s store) PersonOf(ctx context.Context, alias string) (p audit.Person, err error) {
	err = s.db.QueryRow(ctx, `SELECT owner_id, alias, sealing FROM audit_person WHERE alias = ?`, alias).Scan(&p.OwnerID, &p.Alias, &p.Key)
	return p, rows.Missing(err, "nobody is named %q", alias)
}

func (s store) Forget(ctx context.Context, ownerID string) error {
	_, err := s.db.Exec(ctx, `DELETE FROM audit_person WHERE owner_id = ?`, ownerID)
	return err
}
