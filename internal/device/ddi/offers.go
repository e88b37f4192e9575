package ddi

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/internal/clock"
)

// Offers are the units whose owners have an offer open: offered, put off, set
// for a time or accepted. They are read anew every few seconds, so that a poll
// looks nowhere else; a read takes at most a hundredth of the time.
type Offers struct {
	read func(ctx context.Context, fn func(unitID string)) error
	log  *slog.Logger
	seed maphash.Seed
	open atomic.Pointer[map[uint64]struct{}] // by a keyed hash of the id: one of 2^64 taken for another polls more often
}

// NewOffers makes Offers that are read by read, which gives a unit once or more.
func NewOffers(read func(ctx context.Context, fn func(unitID string)) error, log *slog.Logger) *Offers {
	o := &Offers{read: read, log: log, seed: maphash.MakeSeed()}
	o.open.Store(&map[uint64]struct{}{})
	return o
}

// Open reports whether a unit's owner has an offer open, and of how many units.
func (o *Offers) Open(unitID string) (open bool, units int) {
	if o == nil {
		return false, 0
	}
	all := *o.open.Load()
	if len(all) == 0 {
		return false, 0
	}
	_, open = all[maphash.String(o.seed, unitID)]
	return open, len(all)
}

// Refresh reads them once.
func (o *Offers) Refresh(ctx context.Context) error {
	next := make(map[uint64]struct{}, len(*o.open.Load()))
	if err := o.read(ctx, func(unitID string) { next[maphash.String(o.seed, unitID)] = struct{}{} }); err != nil {
		return err
	}
	o.open.Store(&next)
	return nil
}

// Between two reads, at least; the machine's time.
const refreshEvery = 2 * time.Second

// Run reads them again and again until ctx ends.
func (o *Offers) Run(ctx context.Context) error {
	for {
		began := clock.Real{}.Now()
		if err := o.Refresh(ctx); err != nil && ctx.Err() == nil {
			o.log.Warn("open offers could not be read; units poll as before", "error", err)
		}
		t := time.NewTimer(max(refreshEvery, 100*clock.Real{}.Now().Sub(began)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}
