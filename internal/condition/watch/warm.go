package watch

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// A detector that is switched on doesn't start blind: it learns from history
// first, as a backtest would, by an evaluator of its own beside the live one.
// What arrives meanwhile it takes from the stream; when it has seen what the
// live one has, the live one adopts its states. From there on it finds what it
// would have found had it always watched, and what it has open stands open; what
// was over before is not told. Until then the version before goes on.

// warming is detectors of one product and purpose that learn from history.
type warming struct {
	definition condition.Definition
	purpose    string
	e          *condition.Evaluator
}

// cold splits definitions into those that the evaluator goes on with and those
// that have to learn first. Of a cold detector the versions that run stay.
func (r *watching) cold(ctx context.Context, wanted []condition.Definition, running []condition.Ref) (now []condition.Definition, learn []*warming, err error) {
	if r.c.Lessons == nil || r.seq == 0 {
		return wanted, nil, nil
	}
	for _, def := range wanted {
		stay := condition.Definition{Product: def.Product}
		for _, d := range def.Detectors {
			if slices.Contains(running, d.Ref()) {
				stay.Detectors = append(stay.Detectors, d)
				continue
			}
			i := slices.IndexFunc(learn, func(w *warming) bool { return w.definition.Product.Name == d.Product && w.purpose == d.Purpose })
			if i < 0 {
				i, learn = len(learn), append(learn, &warming{condition.Definition{Product: def.Product}, d.Purpose, nil})
			}
			learn[i].definition.Detectors = append(learn[i].definition.Detectors, d)
			for _, ref := range running {
				if ref.Name != d.Name || slices.ContainsFunc(def.Detectors, func(d condition.Detector) bool { return d.Ref() == ref }) {
					continue
				}
				before, err := r.c.Store.Detector(ctx, ref.Name, ref.Version)
				if fault.KindOf(err) == fault.NotFound || err == nil && len(condition.Validate(&def.Product, &before)) > 0 {
					continue
				} else if err != nil {
					return nil, nil, err
				}
				stay.Detectors = append(stay.Detectors, before)
			}
		}
		now = append(now, stay)
	}
	return now, learn, nil
}

// heat lets detectors learn in the background.
func (r *watching) heat(wanted []condition.Definition, learn []*warming) {
	var ctx context.Context
	ctx, r.cool = context.WithCancel(r.running)
	r.warmers.Add(1)
	go r.warm(ctx, wanted, learn)
}

// warm lets detectors learn, and hands them over; if they can't, they start
// blind.
func (r *watching) warm(ctx context.Context, wanted []condition.Definition, learn []*warming) {
	defer r.warmers.Done()
	err := r.learn(ctx, wanted, learn)
	if ctx.Err() != nil {
		return // they are no longer wanted, or begun anew after a restart
	}
	if err != nil {
		r.c.Log.Error("detectors could not learn from history and start without", "error", err)
		r.mu.Lock()
		defer r.mu.Unlock()
		if ctx.Err() == nil {
			err = r.e.Redefine(wanted)
		}
		if err != nil {
			r.c.Log.Error("take up detectors", "error", err)
		}
	}
}

var errHandedOver = errors.New("handed over")

// closeBy is how many entries of the stream may lie between what learns and the
// live evaluator for the latter to wait.
const closeBy = 256

func (r *watching) learn(ctx context.Context, wanted []condition.Definition, learn []*warming) error {
	began := time.Now() //nolint:forbidigo // for the log
	at, err := r.c.Lessons.Applied(ctx)
	if err != nil {
		return err
	}
	sides := make([]*condition.Evaluator, 0, len(learn))
	side := &watching{Watcher: r.Watcher} // for its directory
	rows := 0
	for _, l := range learn {
		n, err := r.recall(ctx, l, side, at)
		if err != nil {
			return err
		}
		rows += n
		sides = append(sides, l.e)
	}
	side.identity = nil
	waits := false // the live evaluator does, for us
	defer func() {
		if waits {
			r.mu.Unlock()
		}
	}()
	meet := func() error {
		for {
			if !waits {
				r.mu.Lock()
			}
			waits = true
			if ctx.Err() != nil {
				return ctx.Err()
			}
			switch {
			case r.broken:
				return errors.New("the live evaluator has failed")
			case r.seq == at:
				if err := r.e.Adopt(wanted, sides); err != nil {
					return err
				}
				return errHandedOver
			case r.seq > at && r.seq-at <= closeBy:
				return nil
			}
			behind := r.seq < at
			r.mu.Unlock()
			waits = false
			if !behind {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	if err = meet(); err == nil {
		err = r.c.Stream.Consume(ctx, at, closeBy, func(ctx context.Context, batches []telemetry.Sequenced) error {
			for _, b := range batches {
				for _, e := range sides {
					if err := e.Batch(ctx, b.Batch); err != nil {
						return err
					}
				}
				at = b.Seq
				if err := meet(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if !errors.Is(err, errHandedOver) {
		return err
	}
	r.c.Log.Info("detectors have learned from history", "detectors", names(learn), "messages", rows, "took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// recall has detectors learn what history holds up to a position.
func (r *watching) recall(ctx context.Context, l *warming, side *watching, upTo uint64) (rows int, err error) {
	units, err := r.c.Fleet.Units(ctx, fleet.Filter{Product: l.definition.Product.Name})
	if err == nil && r.c.Permitted != nil {
		units, err = r.c.Permitted(ctx, &l.definition.Product, l.purpose, units)
	}
	if err != nil {
		return 0, err
	}
	side.identity = make(map[int64]condition.Identity, len(units))
	for i := range units {
		side.identity[units[i].Key] = condition.IdentityOf(&units[i])
	}
	known := side.identity
	directory := func(ctx context.Context, key int64) (condition.Identity, bool, error) {
		if side.identity == nil {
			return side.lookUp(ctx, key)
		}
		id, ok := known[key]
		return id, ok, nil
	}
	if l.e, err = condition.NewEvaluator(directory, []condition.Definition{l.definition}); err != nil {
		return 0, err
	}
	if upTo == 0 || len(units) == 0 {
		return 0, nil
	}
	q := telemetry.Query{Product: l.definition.Product.Name, Units: slices.Sorted(maps.Keys(known)), Signals: l.e.Signals(l.definition.Product.Name), UpTo: upTo}
	err = r.c.Lessons.Replay(consent.For(ctx, l.purpose), q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
		if mark != nil {
			return l.e.Mark(ctx, &mark.Mark)
		}
		if rows++; rows%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := known[row.Unit]; !ok {
			return nil
		}
		return l.e.Row(ctx, &row.Row)
	})
	l.e.Drain(func(*condition.Finding) {}) // what was over before is not told
	return rows, err
}

func names(learn []*warming) (out []string) {
	for _, l := range learn {
		for i := range l.definition.Detectors {
			out = append(out, l.definition.Detectors[i].Name)
		}
	}
	return out
}
