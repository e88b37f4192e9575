package sqldb

import (
	"context"
	"database/sql"
	"fmt"

	"fettle.dev/fettle/internal/sqldb/failure"
)

// ErrDamaged says that the file of the records is not as it was written; kind
// Internal, since nothing but a restore helps.
var ErrDamaged = failure.ErrDamaged

// When SQLite's log (records.db-wal) is damaged in its middle, SQLite takes the
// transactions before and drops those behind without a word: to it they look
// as if they had never been finished. So every transaction that writes carries
// a number, in the header's user_version, which is part of the transaction, and
// whoever keeps the newest number elsewhere can tell.

// transaction is one under way.
type transaction struct {
	*sql.Tx
	wrote bool
}

// numbers is how many there are; after the last comes 1 again. user_version has
// 31 bits.
const numbers = 1<<31 - 1

// count gives a transaction that writes its number; 0 to others and on PostgreSQL.
func (db *DB) count(ctx context.Context, tx *transaction) (uint32, error) {
	if db.postgres || !tx.wrote {
		return 0, nil
	}
	var number uint32
	if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&number); err != nil {
		return 0, fmt.Errorf("number a transaction: %w", failure.Away(err))
	}
	number = number%numbers + 1
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`PRAGMA user_version = %d`, number)); err != nil {
		return 0, fmt.Errorf("number a transaction: %w", failure.Away(err))
	}
	return number, nil
}

// Committed has f told of the number of each transaction that is durable, on
// SQLite. Call it before the records are in use.
func (db *DB) Committed(f func(number uint32)) { db.committed = f }

// Check looks whether the records are whole, on SQLite: in structure, and up to
// the transaction with number reached (0: not known). ErrDamaged names what is
// wrong.
func (db *DB) Check(ctx context.Context, reached uint32) error {
	if db.postgres {
		return nil
	}
	var verdict string
	if err := db.queryRow(ctx, `PRAGMA quick_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check records: %w", failure.Damaged(err))
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s", ErrDamaged, verdict)
	}
	var number uint32
	if err := db.queryRow(ctx, `PRAGMA user_version`).Scan(&number); err != nil {
		return fmt.Errorf("check records: %w", failure.Damaged(err))
	}
	if reached != 0 && Before(number, reached) {
		return fmt.Errorf("%w: transaction %d was durable, the file ends with transaction %d", ErrDamaged, reached, number)
	}
	return nil
}

// EvaluatorPositions is how far the evaluator has come in the part that is furthest
// behind, and in the one that is furthest; 0 when nothing was ever kept.
func (db *DB) EvaluatorPositions(ctx context.Context) (first, last uint64, err error) {
	err = db.queryRow(ctx, `SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM condition_position`).Scan(&first, &last)
	if err != nil {
		return 0, 0, fmt.Errorf("positions of the evaluator: %w", failure.Away(err))
	}
	return first, last, nil
}

// Before reports whether a transaction's number is of an earlier one.
func Before(a, b uint32) bool {
	behind := (int64(b) - int64(a) + numbers) % numbers
	return behind != 0 && behind < numbers/2
}
