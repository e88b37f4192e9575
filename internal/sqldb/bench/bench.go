// Package bench is the store of what tools written for hawkBit work with.
package bench

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/update/bench"
)

type store struct{ db *sqldb.DB }

// New is the store in the records.
func New(db *sqldb.DB) bench.Store { return store{db} }

func (s store) Next(ctx context.Context, kind bench.Kind) (n int64, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.db.Exec(ctx, `INSERT INTO update_bench_next (kind, nr) VALUES (?, 1)
			ON CONFLICT (kind) DO UPDATE SET nr = update_bench_next.nr + 1`, string(kind)); err != nil {
			return err
		}
		return s.db.QueryRow(ctx, `SELECT nr FROM update_bench_next WHERE kind = ?`, string(kind)).Scan(&n)
	})
	return n, err
}

func (s store) Put(ctx context.Context, kind bench.Kind, name string, doc []byte) error {
	nr, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		nr = 0 // it is named
	}
	_, err = s.db.Exec(ctx, `INSERT INTO update_bench (kind, name, nr, doc) VALUES (?, ?, ?, ?)
		ON CONFLICT (kind, name) DO UPDATE SET doc = excluded.doc`, string(kind), name, nr, doc)
	if err != nil {
		return fmt.Errorf("keep %s %s: %w", kind, name, err)
	}
	return nil
}

func (s store) Get(ctx context.Context, kind bench.Kind, name string) (doc []byte, err error) {
	err = s.db.QueryRow(ctx, `SELECT doc FROM update_bench WHERE kind = ? AND name = ?`, string(kind), name).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fault.New(fault.NotFound, "no %s %s", kind, name)
	}
	return doc, err
}

func (s store) Drop(ctx context.Context, kind bench.Kind, name string) error {
	if _, err := s.Get(ctx, kind, name); err != nil {
		return err
	}
	_, err := s.db.Exec(ctx, `DELETE FROM update_bench WHERE kind = ? AND name = ?`, string(kind), name)
	return err
}

func (s store) Each(ctx context.Context, kind bench.Kind, fn func(name string, doc []byte) error) error {
	type one struct {
		name string
		doc  []byte
	}
	found, err := s.db.Query(ctx, `SELECT name, doc FROM update_bench WHERE kind = ? ORDER BY nr, name`, string(kind))
	all, err := rows.Collect(found, err, func(r *sql.Rows) (o one, err error) {
		err = r.Scan(&o.name, &o.doc)
		return o, err
	})
	if err != nil {
		return err
	}
	for _, o := range all {
		if err := fn(o.name, o.doc); err != nil {
			return err
		}
	}
	return nil
}
