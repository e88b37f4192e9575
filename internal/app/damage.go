package app

import (
	"context"
	"errors"
	"fmt"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
)

// consumed looks whether the stream holds what history and the detectors have
// yet to take, and has not fallen behind what they took.
func (e *engines) consumed(ctx context.Context) error {
	history, err := e.history.Applied(ctx)
	if err != nil {
		return err
	}
	first, last, err := e.records.EvaluatorPositions(ctx)
	if err != nil {
		return err
	}
	end, err := e.stream.Last(ctx)
	if err != nil {
		return err
	}
	if taken := max(history, last); taken > end {
		return fmt.Errorf("%w: its entries up to %d were taken, it ends with entry %d", bus.ErrDamaged, taken, end)
	}
	return e.stream.Holds(ctx, min(history, first))
}

// received is the newest receive time that the stream has, Unix ms. The clock
// may have been set back while nothing ran.
func (e *engines) received(ctx context.Context) (int64, error) {
	newest, err := e.stream.Newest(ctx)
	if err != nil || newest == nil {
		return 0, err
	}
	var at int64
	for i := range newest.Rows {
		at = max(at, newest.Rows[i].Received)
	}
	for i := range newest.Events {
		at = max(at, newest.Events[i].Received)
	}
	for i := range newest.Marks {
		at = max(at, newest.Marks[i].At)
	}
	return at, nil
}

// damage makes of a store's finding what an operator can act on.
func (c *Config) damage(err error) error {
	what := ""
	switch {
	case errors.Is(err, bus.ErrDamaged):
		what = c.path("stream")
	case errors.Is(err, sqldb.ErrDamaged):
		what = c.recordsFile()
	case errors.Is(err, duckdb.ErrDamaged):
		what = c.path("history")
	default:
		return err
	}
	return fault.New(fault.Internal, "%w (in %s). Fettle does not go on with what is left, since units were told that the rest is safe. "+
		"Restore a backup into a new directory with \"fettle restore --data NEW FILE\" and start on that; what to look at first: docs/operations.md, \"When a disk lies\"", err, what)
}
