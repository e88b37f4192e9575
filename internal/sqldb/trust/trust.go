// Package trust is the store of signed update metadata, of the keys and of the
// units that sign their version reports.
package trust

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/update/trust"
)

type store struct{ db *sqldb.DB }

// New is the store of trust in the records.
func New(db *sqldb.DB) trust.Store { return store{db} }

func (s store) exec(ctx context.Context, what, query string, args ...any) error {
	if _, err := s.db.Exec(ctx, query, args...); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (s store) PutMetadata(ctx context.Context, repository, role string, version int64, body []byte, at time.Time) error {
	return s.exec(ctx, "keep metadata", `INSERT INTO trust_metadata (repository, role, version, at, body) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (repository, role, version) DO UPDATE SET at = excluded.at, body = excluded.body`, repository, role, version, rows.Millis(at), body)
}

func (s store) Metadata(ctx context.Context, repository, role string, version int64) ([]byte, error) {
	var body []byte
	err := s.db.QueryRow(ctx, `SELECT body FROM trust_metadata WHERE repository = ? AND role = ? AND (version = ? OR ? = 0) ORDER BY version DESC LIMIT 1`,
		repository, role, version, version).Scan(&body)
	return body, rows.Missing(err, "no %s %s %d", repository, role, version)
}

func (s store) TrimMetadata(ctx context.Context, repository, role string, below int64) error {
	return s.exec(ctx, "trim metadata", `DELETE FROM trust_metadata WHERE repository = ? AND role = ? AND version < ?`, repository, role, below)
}

func (s store) PutKey(ctx context.Context, k trust.SealedKey) error {
	return s.exec(ctx, "keep key", `INSERT INTO trust_key (name, next, sealed, at) VALUES (?, ?, ?, ?)
		ON CONFLICT (name, next) DO UPDATE SET sealed = excluded.sealed, at = excluded.at`, k.Name, flag(k.Next), k.Sealed, rows.Millis(k.At))
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (s store) Keys(ctx context.Context) ([]trust.SealedKey, error) {
	r, err := s.db.Query(ctx, `SELECT name, next, sealed, at FROM trust_key ORDER BY name, next`)
	out, err := rows.Collect(r, err, func(r *sql.Rows) (k trust.SealedKey, err error) {
		var next, at int64
		err = r.Scan(&k.Name, &next, &k.Sealed, &at)
		k.Next, k.At = next == 1, rows.Time(at)
		return k, err
	})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return out, nil
}

func (s store) Promote(ctx context.Context, name string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.exec(ctx, "promote key", `DELETE FROM trust_key WHERE name = ? AND next = 0`, name); err != nil {
			return err
		}
		return s.exec(ctx, "promote key", `UPDATE trust_key SET next = 0 WHERE name = ?`, name)
	})
}

func (s store) Require(ctx context.Context, r trust.Requirement) error {
	return s.exec(ctx, "require signatures", `INSERT INTO trust_product (product, at, by_whom) VALUES (?, ?, ?) ON CONFLICT (product) DO NOTHING`,
		r.Product, rows.Millis(r.At), r.By)
}

func (s store) Release(ctx context.Context, product string) error {
	return s.exec(ctx, "require no signatures", `DELETE FROM trust_product WHERE product = ?`, product)
}

func (s store) Required(ctx context.Context) ([]trust.Requirement, error) {
	r, err := s.db.Query(ctx, `SELECT product, at, by_whom FROM trust_product ORDER BY product`)
	out, err := rows.Collect(r, err, func(r *sql.Rows) (q trust.Requirement, err error) {
		var at int64
		err = r.Scan(&q.Product, &at, &q.By)
		q.At = rows.Time(at)
		return q, err
	})
	if err != nil {
		return nil, fmt.Errorf("list products: %w", err)
	}
	return out, nil
}

func (s store) Reporter(ctx context.Context, unitID string) (trust.Reporter, error) {
	r := trust.Reporter{Unit: unitID}
	var sequence, at int64
	err := s.db.QueryRow(ctx, `SELECT public, sequence, at, report FROM trust_reporter WHERE unit_id = ?`, unitID).Scan(&r.Key, &sequence, &at, &r.Report)
	r.Sequence, r.At = uint64(sequence), rows.Time(at) // PutReporter takes none that is larger
	return r, rows.Missing(err, "unit %s has sent no signed report", unitID)
}

func (s store) PutReporter(ctx context.Context, r trust.Reporter) error {
	if r.Sequence > math.MaxInt64 {
		return fault.New(fault.Invalid, "a report's number is at most %d", int64(math.MaxInt64))
	}
	return s.exec(ctx, "keep version report", `INSERT INTO trust_reporter (unit_id, public, sequence, at, report) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (unit_id) DO UPDATE SET public = excluded.public, sequence = excluded.sequence, at = excluded.at, report = excluded.report`,
		r.Unit, r.Key, int64(r.Sequence), rows.Millis(r.At), r.Report)
}

func (s store) ForgetReporter(ctx context.Context, unitID string) error {
	return s.exec(ctx, "forget unit's key", `DELETE FROM trust_reporter WHERE unit_id = ?`, unitID)
}

func (s store) Ceiling(ctx context.Context) (int64, error) {
	var n int64
	err := rows.Missing(s.db.QueryRow(ctx, `SELECT version FROM trust_ceiling WHERE one = 1`).Scan(&n), "no ceiling")
	if fault.KindOf(err) == fault.NotFound {
		return 0, nil
	}
	return n, err
}

func (s store) PutCeiling(ctx context.Context, n int64) error {
	return s.exec(ctx, "keep ceiling", `INSERT INTO trust_ceiling (one, version) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET version = excluded.version`, n)
}
