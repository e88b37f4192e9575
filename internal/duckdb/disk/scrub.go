package disk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
)

// Scrub overwrites the blocks of a database that are free: DuckDB leaves what
// they held. It fills them with a table of numbers that do not compress, and
// drops it.
func Scrub(ctx context.Context, c *sql.Conn) error {
	ctx = context.WithoutCancel(ctx) // DuckDB's interrupts come late
	exec := func(texts ...string) (err error) {
		for _, text := range texts {
			_, failed := c.ExecContext(ctx, text)
			err = errors.Join(err, failed)
		}
		return err
	}
	const drop = "DROP TABLE IF EXISTS scrub_free"
	// What a checkpoint frees can be used from the next one on.
	if err := exec(drop, "CHECKPOINT", "CHECKPOINT"); err != nil {
		return fmt.Errorf("overwrite free blocks: %w", err)
	}
	var free, size int64
	if err := c.QueryRowContext(ctx, "SELECT free_blocks, block_size FROM pragma_database_size()").Scan(&free, &size); err != nil {
		return fmt.Errorf("overwrite free blocks: %w", err)
	}
	rows := (free + 2) * size / 8
	err := exec(fmt.Sprintf("CREATE TABLE scrub_free AS SELECT hash(range + %d) AS n FROM range(%d)", rand.Int64N(1<<40), rows), "CHECKPOINT")
	if err := errors.Join(err, exec(drop, "CHECKPOINT")); err != nil {
		return fmt.Errorf("overwrite free blocks: %w", err)
	}
	return nil
}
