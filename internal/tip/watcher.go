package tip

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/tip/limit"
)

// WatcherConfig is what a Watcher is made of.
type WatcherConfig struct {
	Stream   telemetry.Stream
	Store    Store
	Fleet    fleet.Store
	Consents consent.Store
	History  History
	Tx       fleet.Transactor
	Clock    clock.Clock
	Wall     clock.Clock // the machine's
	IDs      clock.IDs
	Log      *slog.Logger

	// Condition tells a unit's condition in a word, "" where it is not known; nil: never.
	Condition func(ctx context.Context, unitID string) string
	// Quiet tells until when an owner is not to be disturbed, zero if they may be now; nil: 22 to 7 in their zone.
	Quiet func(ctx context.Context, o fleet.Owner, now time.Time) (until time.Time, err error)
	// Told is called with units that have another tip to show, or none any more. May be nil.
	Told func(unitIDs ...string)

	PerDay int           // most tips that an owner is given in a day of theirs, over all units: 3
	Prompt time.Duration // real time within which a wish is decided: 200 ms
	Idle   time.Duration // real time within which other changes are kept: 10 s; longer while that takes long
}

// Watcher runs the Evaluator on the stream and decides what it asks for. What
// was given, the state of the unit and the place in the stream that it is of
// are kept in one transaction: after a crash nothing is given twice.
type Watcher struct {
	c      WatcherConfig
	reload atomic.Bool
	kept   atomic.Uint64
	now    atomic.Pointer[watching]

	awaited atomic.Bool // somebody waits for kept
}

// NewWatcher makes a Watcher.
func NewWatcher(c WatcherConfig) *Watcher {
	c.PerDay = cmp.Or(c.PerDay, defaultPerDay)
	c.Prompt = cmp.Or(c.Prompt, 200*time.Millisecond)
	c.Idle = cmp.Or(c.Idle, 10*time.Second)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	if c.Quiet == nil {
		c.Quiet = atNight
	}
	return &Watcher{c: c}
}

// atNight is quiet from 22 to 7 in the owner's zone.
func atNight(_ context.Context, o fleet.Owner, now time.Time) (time.Time, error) {
	local := now.In(o.Location())
	until := time.Date(local.Year(), local.Month(), local.Day(), 7, 0, 0, 0, local.Location())
	if local.Hour() >= 22 {
		return until.AddDate(0, 0, 1), nil
	} else if local.Hour() < 7 {
		return until, nil
	}
	return time.Time{}, nil
}

// Reload makes the Watcher look at once for changed tips and products; by
// itself it looks every ten seconds.
func (w *Watcher) Reload() { w.reload.Store(true) }

// Position is the stream sequence up to which everything is kept.
func (w *Watcher) Position() uint64 { return w.kept.Load() }

// Awaited is the Position, for whoever waits until it is far enough: what has
// changed is kept soon and not when it is worth its cost.
func (w *Watcher) Awaited() uint64 {
	w.awaited.Store(true)
	return w.kept.Load()
}

// Places are where a feed is to be asked now.
func (w *Watcher) Places(product, feed string) []fleet.Place {
	if r := w.now.Load(); r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.e.Places(product, feed)
	}
	return nil
}

// Run watches until ctx ends. After a failure it starts again from what was kept.
func (w *Watcher) Run(ctx context.Context) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := w.watch(ctx)
		if ctx.Err() != nil {
			if err == nil || errors.Is(err, ctx.Err()) {
				return nil
			}
			return err
		}
		w.c.Log.Error("tips stopped; they start again from what was kept", "error", err, "position", w.kept.Load())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// watching is one run between two failures.
type watching struct {
	*Watcher
	mu      sync.Mutex
	e       *Evaluator
	seq     uint64
	broken  bool
	defined string
	took    time.Duration // by the last commit of everything
}

func (w *Watcher) watch(ctx context.Context) error {
	r := &watching{Watcher: w}
	if err := r.start(ctx); err != nil {
		return err
	}
	w.now.Store(r)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	keeping := make(chan error, 1)
	go func() {
		err := r.keep(ctx)
		if err != nil {
			cancel(err)
		}
		keeping <- err
	}()
	err := w.c.Stream.Consume(ctx, r.seq, 256, r.feed)
	if gap, ok := errors.AsType[*telemetry.GapError](err); ok { // a tip about what is long past is worth nothing
		w.c.Log.Warn("tips go on without entries that the stream no longer holds", "first", gap.Position+1, "last", gap.First-1)
		r.mu.Lock()
		r.seq = gap.First - 1
		r.mu.Unlock()
		err = w.c.Stream.Consume(ctx, r.seq, 256, r.feed)
	}
	cancel(err)
	if kept := <-keeping; kept != nil {
		return kept
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.commit(last, true)
}

func (r *watching) start(ctx context.Context) error {
	definitions, err := r.definitions(ctx)
	if err != nil {
		return err
	}
	if r.e, err = NewEvaluator(r.lookUp, definitions); err != nil {
		return err
	}
	if r.c.Condition != nil {
		r.e.Condition = func(unitID string) string { return r.c.Condition(ctx, unitID) }
	}
	seq, states, observed, err := r.c.Store.Load(ctx)
	if err != nil {
		return err
	}
	r.kept.Store(seq)
	if seq == 0 { // nothing was ever kept: what went before is history's to tell, and this place is kept at once
		if seq, err = r.c.Stream.Last(ctx); err != nil {
			return err
		}
	}
	r.seq = seq
	if err := r.e.Load(ctx, states, observed); err != nil {
		return err
	}
	return r.seed(ctx, definitions)
}

// seed tells the evaluator how often features were used before, by history up
// to the place in the stream that the evaluator stands at.
func (r *watching) seed(ctx context.Context, definitions []Definition) error {
	for i := range definitions {
		d := &definitions[i]
		if p := r.e.products[d.Product.Name]; p == nil || len(d.Product.Features) == 0 || p.seeded {
			continue
		}
		for {
			applied, err := r.c.History.Applied(ctx)
			if err != nil {
				return err
			}
			if applied >= r.seq {
				break
			}
			select { // history is behind; it takes what the stream has
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
		err := r.c.History.FeatureUse(ctx, d.Product.Name, r.seq, time.Time{}, func(unit int64, feature string, count, last int64) error {
			return r.e.Seed(ctx, unit, feature, count, last)
		})
		if err != nil {
			return fmt.Errorf("what was used before: %w", err)
		}
		r.e.Seeded(d.Product.Name)
	}
	return nil
}

// lookUp is the evaluator's Directory.
func (r *watching) lookUp(ctx context.Context, key int64) (Facts, bool, error) {
	u, err := r.c.Fleet.UnitByKey(ctx, key)
	if fault.KindOf(err) == fault.NotFound {
		return Facts{}, false, nil
	} else if err != nil {
		return Facts{}, false, err
	}
	f := FactsOf(&u)
	if r.e == nil || r.e.products[u.Product] == nil {
		return f, true, nil
	}
	mask, err := r.c.Consents.Mask(ctx, u.ID)
	if err != nil {
		return Facts{}, false, err
	}
	for purpose, given := range mask {
		if given {
			f.Given = append(f.Given, purpose)
		}
	}
	slices.Sort(f.Given)
	if u.OwnerID != "" {
		o, err := r.c.Fleet.Owner(ctx, u.OwnerID)
		if err != nil {
			return Facts{}, false, err
		}
		f.Zone = o.Location()
	}
	return f, true, nil
}

// FactsOf is what the record of a unit says.
func FactsOf(u *fleet.Unit) Facts {
	return Facts{
		ID: u.ID, Product: u.Product, OwnerID: u.OwnerID, Region: u.Region, Hardware: u.Hardware,
		Version: u.Versions[fleet.MainComponent], Active: u.State == fleet.UnitActive,
	}
}

// definitions loads tips with their products. One that no longer fits its
// product is left out: it must not stop the rest.
func (r *watching) definitions(ctx context.Context) ([]Definition, error) {
	tips, err := r.c.Store.Tips(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("load tips: %w", err)
	}
	by := map[string]*Definition{}
	var seen []byte
	for _, t := range tips {
		d := by[t.Product]
		if d == nil {
			p, err := r.c.Fleet.Product(ctx, t.Product)
			if fault.KindOf(err) == fault.NotFound {
				continue
			} else if err != nil {
				return nil, fmt.Errorf("load product: %w", err)
			}
			d = &Definition{Product: p}
			by[t.Product] = d
			text, err := json.Marshal([]any{p.Name, p.Signals, p.Features, p.Purposes, p.Feeds, p.SampleGap})
			if err != nil {
				return nil, err
			}
			seen = append(seen, text...)
		}
		if wrong := Validate(&d.Product, &t); len(wrong) > 0 {
			r.c.Log.Error("a tip no longer fits its product and is given to nobody", "tip", t.Name, "error", fault.Fields("", wrong))
			continue
		}
		text, err := json.Marshal([]any{t.Name, t.Version, t})
		if err != nil {
			return nil, err
		}
		seen = append(seen, text...)
		d.Tips = append(d.Tips, t)
	}
	r.defined = string(seen)
	var out []Definition
	for _, name := range slices.Sorted(maps.Keys(by)) {
		out = append(out, *by[name])
	}
	return out, nil
}

// redefine takes up changed tips and products.
func (r *watching) redefine(ctx context.Context) error {
	before := r.defined
	definitions, err := r.definitions(ctx)
	if err != nil || r.defined == before {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.commit(ctx, false); err != nil { // what is asked for is of the rules as they were
		return err
	}
	r.broken = true
	if err := r.e.Redefine(definitions); err != nil {
		return err
	}
	if err := r.seed(ctx, definitions); err != nil {
		return err
	}
	r.broken = false
	return nil
}

func (r *watching) feed(ctx context.Context, batches []telemetry.Sequenced) error {
	for _, b := range batches {
		if err := r.take(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (r *watching) take(ctx context.Context, b telemetry.Sequenced) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = true
	if err := r.e.Batch(ctx, b); err != nil {
		return err
	}
	r.broken = false
	r.seq = b.Seq
	return nil
}

// Batch takes in a batch of the stream.
func (e *Evaluator) Batch(ctx context.Context, b telemetry.Sequenced) error {
	for i := range b.Batch.Rows {
		if err := e.Row(ctx, b.Seq, b.Batch.Product, &b.Batch.Rows[i]); err != nil {
			return err
		}
	}
	for i := range b.Batch.Events {
		if err := e.Event(ctx, b.Seq, b.Batch.Product, &b.Batch.Events[i]); err != nil {
			return err
		}
	}
	for i := range b.Batch.Marks {
		if err := e.Mark(ctx, b.Seq, &b.Batch.Marks[i]); err != nil {
			return err
		}
	}
	return nil
}

// keep decides wishes and commits when it is time to, until ctx ends.
func (r *watching) keep(ctx context.Context) error {
	beat := time.NewTicker(r.c.Prompt)
	defer beat.Stop()
	var now, last, looked time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case now = <-beat.C:
		}
		if r.reload.Swap(false) || now.Sub(looked) >= 10*time.Second {
			looked = now
			if err := r.redefine(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
		all := r.awaited.Swap(false) || now.Sub(last) >= max(r.c.Idle, min(40*r.took, time.Minute))
		r.mu.Lock()
		var err error
		if !r.broken && (all || len(r.e.asked) > 0) {
			err = r.commit(context.WithoutCancel(ctx), all)
		}
		r.mu.Unlock()
		if err != nil {
			return err
		}
		if all {
			last = now
		}
	}
}

// commit decides what is asked for and keeps the states it concerns; with all,
// every state that has changed, and the place in the stream. With mu held.
// After a failure nothing more may be kept.
func (r *watching) commit(ctx context.Context, all bool) error {
	e := r.e
	changed := all && (len(e.dirty) > 0 || len(e.news) > 0 || r.seq != r.kept.Load())
	if r.broken || len(e.asked) == 0 && !changed {
		return nil
	}
	begun := r.c.Wall.Now()
	r.broken = true
	told := map[string]struct{}{}
	err := r.c.Tx.InTx(ctx, func(ctx context.Context) error {
		touched := map[*unit]struct{}{}
		for _, w := range e.asked {
			touched[w.unit] = struct{}{}
			shows, err := r.decide(ctx, w)
			if err != nil {
				return err
			}
			if shows {
				told[w.unit.ID] = struct{}{}
			}
		}
		position := uint64(0)
		var observed []Observation
		if all {
			touched, position = e.dirty, r.seq
			for at := range e.news {
				observed = append(observed, e.feeds[at])
			}
		}
		states := make([]State, 0, len(touched))
		for _, u := range sorted(touched) {
			s := State{Key: u.key, Seq: r.seq}
			if !u.gone {
				data, err := json.Marshal(u.save())
				if err != nil {
					return err
				}
				s.Data = data
			}
			states = append(states, s)
		}
		return r.c.Store.Commit(ctx, position, states, observed)
	})
	if err != nil {
		return fmt.Errorf("keep tips: %w", err)
	}
	r.broken = false
	e.asked = nil
	if all {
		clear(e.dirty)
		clear(e.news)
		r.kept.Store(r.seq)
		r.took = r.c.Wall.Now().Sub(begun)
	}
	if r.c.Told != nil && len(told) > 0 {
		r.c.Told(slices.Sorted(maps.Keys(told))...)
	}
	return nil
}

// decide does what a wish asks for, or puts it off. Shows is whether the unit
// has something else to show than before.
func (r *watching) decide(ctx context.Context, w *Wish) (shows bool, err error) {
	switch w.kind {
	case end:
		return true, r.c.Store.End(ctx, w.unit.key, w.rule.Name, w.why, moment(w.at), r.c.Wall.Now())
	case used:
		return false, r.c.Store.Used(ctx, w.unit.key, w.rule.Name, moment(w.unit.tips[w.place].First), moment(w.at))
	case forget:
		return true, r.c.Store.Forget(ctx, w.unit.key, w.names)
	case give:
	}
	if w.unit.gone || w.unit.tips[w.place].First == 0 && w.version != w.rule.Version {
		return false, nil
	}
	until, err := r.against(ctx, w)
	if err != nil {
		return false, err
	}
	if until != 0 {
		r.e.refused(w, until)
		return false, nil
	}
	held := Held(w.rule.Tip, w.unit.key)
	first := r.e.given(w, held)
	at := moment(w.at)
	g := Given{
		ID: r.c.IDs.ID(), Tip: w.rule.Name, Version: w.rule.Version, Product: w.unit.Product, UnitID: w.unit.ID, UnitKey: w.unit.key,
		OwnerID: w.unit.OwnerID, At: at, Until: at.Add(or(w.rule.Valid, defaultValid)), Held: held, First: first, Values: w.values, ChangedAt: r.c.Wall.Now(),
	}
	if !held {
		g.TurnAt = g.turn(w.rule.Tip, at)
	}
	fresh, err := r.c.Store.Give(ctx, g)
	return fresh && !held, err
}

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// against says until when there is something against giving a tip, Unix ms; 0
// if there is nothing. Everything is looked up anew: the evaluator may be
// behind the records.
func (r *watching) against(ctx context.Context, w *Wish) (until int64, err error) {
	now := r.c.Clock.Now()
	later := func(d time.Duration) int64 { return now.Add(d).UnixMilli() }
	if now.Sub(moment(w.at)) >= or(w.rule.Valid, defaultValid) {
		return w.at + 1, nil // the moment has passed while we were away
	}
	u, err := r.c.Fleet.UnitByKey(ctx, w.unit.key)
	if fault.KindOf(err) == fault.NotFound {
		return later(24 * time.Hour), nil
	} else if err != nil {
		return 0, err
	}
	if u.State != fleet.UnitActive || u.OwnerID == "" || u.OwnerID != w.unit.OwnerID {
		return later(24 * time.Hour), nil
	}
	mask, err := r.c.Consents.Mask(ctx, u.ID)
	if err != nil {
		return 0, err
	}
	if !mask.PermitsPurpose(&w.unit.product.Product, w.rule.Purpose) {
		return later(24 * time.Hour), nil
	}
	off, err := r.c.Store.Switches(ctx, u.OwnerID)
	if err != nil {
		return 0, err
	}
	if slices.Contains(off, "") || slices.Contains(off, w.rule.Name) {
		return later(time.Hour), nil
	}
	o, err := r.c.Fleet.Owner(ctx, u.OwnerID)
	if err != nil {
		return 0, err
	}
	if quiet, err := r.c.Quiet(ctx, o, now); err != nil {
		return 0, err
	} else if quiet.After(now) {
		return quiet.UnixMilli(), nil
	}
	today := limit.Midnight(now, o.Location())
	if n, err := r.c.Store.GivenSince(ctx, o.ID, "", today); err != nil {
		return 0, err
	} else if n >= r.c.PerDay {
		return today.AddDate(0, 0, 1).UnixMilli(), nil
	}
	if w.rule.PerHour > 0 {
		n, err := r.c.Store.GivenSince(ctx, "", w.rule.Name, now.Add(-time.Hour))
		if err != nil {
			return 0, err
		}
		if n >= w.rule.PerHour {
			return later(10 * time.Minute), nil
		}
	}
	return 0, nil
}
