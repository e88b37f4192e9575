// Package watch runs a condition.Evaluator on the stream: live, from what was
// kept, with history where the stream no longer reaches and for detectors that
// are new.
package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Config is what a Watcher is made of.
type Config struct {
	Stream telemetry.Stream
	Store  condition.Store
	Fleet  fleet.Store
	Tx     fleet.Transactor
	Log    *slog.Logger

	// History tells what the stream no longer holds; nil: nobody does.
	History Past

	// Lessons is history as it may be read for a purpose: what a new detector
	// learns from before it judges; nil: it starts without knowledge.
	Lessons Past
	// Permitted is those of the units whose owners permit a purpose: nothing of
	// others is learned from. Nil: all.
	Permitted func(ctx context.Context, p *fleet.Product, purpose string, units []fleet.Unit) ([]fleet.Unit, error)

	// Frozen says which detector versions still run besides the newest ones:
	// those that campaigns have frozen. May be nil.
	Frozen func(ctx context.Context) ([]condition.Ref, error)
	// Told takes in findings that have opened and cleared, in the transaction
	// that keeps them: what it writes stands exactly if they do. A finding may
	// be in both. May be nil.
	Told func(ctx context.Context, opened, cleared []condition.Finding) error

	Partition string        // name of its state in the store (default "all")
	Prompt    time.Duration // real time within which an opened or cleared finding is kept (default 200ms)
	Idle      time.Duration // real time within which other changes are kept (default 2s; longer where they are of many units)
	Memory    int           // bytes of what detectors have learned of units, as encoded, that stay in memory (default 256 MiB)
	Unkept    int           // bytes of it that have changed after which they are kept in any case, as far as can be told (default as Memory, 64 MiB at least)
	MaxRows   int           // rows after which they are kept in any case (default 1,000,000: about two seconds of judging after a crash)
}

// Watcher runs the Evaluator on the stream. Findings, the evaluator's state
// and the position in the stream are kept in one transaction: after a crash it
// goes on from there, and nothing is lost or repeated.
type Watcher struct {
	c      Config
	reload atomic.Bool
	kept   atomic.Uint64 // position of the last commit
	judged atomic.Uint64 // rows taken in

	awaited atomic.Bool // somebody waits for kept
	run     atomic.Pointer[watching]

	fromHistory atomic.Uint64 // entries that the stream no longer held
	missed      atomic.Uint64 // entries that nobody held any more

	forget  sync.Mutex // forgets, stop
	forgets []forgetting
	stop    context.CancelCauseFunc // of the run under way; nil: none
}

// New makes a Watcher.
func New(c Config) *Watcher {
	if c.Partition == "" {
		c.Partition = "all"
	}
	if c.Prompt <= 0 {
		c.Prompt = 200 * time.Millisecond
	}
	if c.Idle <= 0 {
		c.Idle = 2 * time.Second
	}
	if c.MaxRows <= 0 {
		c.MaxRows = 1_000_000
	}
	if c.Memory <= 0 {
		c.Memory = 256 << 20
	}
	if c.Unkept <= 0 {
		c.Unkept = max(c.Memory, 64<<20)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{c: c}
}

// Reload makes the Watcher look at once for changed detectors and products. It
// looks by itself every ten seconds.
func (w *Watcher) Reload() { w.reload.Store(true) }

// Position is the stream sequence up to which findings are kept.
func (w *Watcher) Position() uint64 { return w.kept.Load() }

// Awaited is the Position, for whoever waits until it is far enough: what has
// changed is kept soon and not when it is worth its cost.
func (w *Watcher) Awaited() uint64 {
	w.awaited.Store(true)
	return w.kept.Load()
}

// Exposures are those of units under a detector version as they now are, which
// may be half a minute ahead of what is kept. False while some finding up to now
// is not kept yet, and while nothing runs: then the store's are as new as can be
// said.
func (w *Watcher) Exposures(d condition.Ref, units []int64) ([]condition.Exposure, bool) {
	r := w.run.Load()
	if r == nil {
		return nil, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken || r.telling || r.e.Urgent() {
		return nil, false
	}
	out := make([]condition.Exposure, 0, len(units))
	for _, key := range units {
		if x, ok := r.e.Exposure(d, key); ok {
			out = append(out, x)
		}
	}
	return out, true
}

// Rows is how many rows were taken in since the Watcher was made.
func (w *Watcher) Rows() uint64 { return w.judged.Load() }

// Bridged is how many entries of the stream were taken from history since the
// Watcher was made, because the stream no longer held them, and how many nobody
// held: of those no finding tells.
func (w *Watcher) Bridged() (fromHistory, missed uint64) {
	return w.fromHistory.Load(), w.missed.Load()
}

// Run watches until ctx ends; then what has changed is kept. After a failure
// it starts again from what was kept.
func (w *Watcher) Run(ctx context.Context) error {
	defer w.forgetAll(context.WithoutCancel(ctx), nil)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		before := w.kept.Load()
		running, stop := context.WithCancelCause(ctx)
		w.forgetAll(ctx, stop)
		err := w.watch(running)
		stop(nil)
		if errors.Is(err, errForget) && ctx.Err() == nil {
			pause = 50 * time.Millisecond
			continue
		}
		if ctx.Err() != nil {
			if err == nil || errors.Is(err, ctx.Err()) {
				return nil
			}
			return err
		}
		if w.kept.Load() > before {
			pause = 100 * time.Millisecond
		}
		w.c.Log.Error("watching stopped; it starts again from what was kept", "error", err, "position", w.kept.Load())
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// watching is one run of the watcher between two failures.
type watching struct {
	*Watcher
	keeping  sync.Mutex // held by a commit; before mu
	mu       sync.Mutex // evaluator, seq, rows, broken, failed, telling
	broken   bool       // the evaluator no longer agrees with seq: nothing of it may be kept
	failed   bool       // what was taken of the evaluator could not be kept: nothing more may be
	telling  bool       // a finding that has opened or cleared is being kept
	e        *condition.Evaluator
	seq      uint64
	rows     int
	full     chan struct{}                // enough rows for a commit
	defining sync.Mutex                   // held while changed definitions are taken up; before mu
	defined  string                       // the definitions in force, to see changes
	identity map[int64]condition.Identity // of units while states are loaded; the evaluator keeps what it takes up
	gone     map[int64]struct{}           // keys of units that were deleted; they are not given twice

	running context.Context    // of the run, for what learns from history
	cool    context.CancelFunc // ends what learns; nil: nothing does
	warmers sync.WaitGroup
}

// maxGone bounds the keys that are known to be of no unit.
const maxGone = 100_000

func (w *Watcher) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &watching{Watcher: w, full: make(chan struct{}, 1), running: ctx}
	defer r.warmers.Wait()
	defer cancel(nil)
	if err := r.start(ctx); err != nil {
		return err
	}
	w.run.Store(r)
	defer w.run.Store(nil)
	keeping := make(chan error, 1)
	go func() {
		err := r.keep(ctx)
		if err != nil {
			cancel(err)
		}
		keeping <- err
	}()
	err := r.consume(ctx)
	cancel(err)
	if kept := <-keeping; kept != nil {
		return kept
	}
	if errors.Is(context.Cause(ctx), errForget) {
		return errForget // what is not kept is judged again
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	_, err = r.commit(last)
	return err
}

// start makes an evaluator of what was kept.
func (r *watching) start(ctx context.Context) error {
	definitions, err := r.definitions(ctx)
	if err != nil {
		return err
	}
	defer func() { r.identity = nil }()
	if err := r.load(ctx, definitions); err != nil {
		return err
	}
	now, learn, err := r.cold(ctx, definitions, r.e.Met())
	if err != nil || len(learn) == 0 {
		return err
	}
	if err := r.load(ctx, now); err != nil {
		return err
	}
	r.heat(definitions, learn) // it runs for as long as the run does
	return nil
}

// load makes an evaluator of definitions that goes on from what was kept.
func (r *watching) load(ctx context.Context, definitions []condition.Definition) (err error) {
	if r.e, err = condition.NewEvaluator(r.lookUp, definitions); err != nil {
		return err
	}
	r.e.Evict(func(ctx context.Context, units []int64) (map[int64][]byte, error) {
		return r.c.Store.Kept(ctx, r.c.Partition, units)
	}, r.c.Memory, r.c.Unkept)
	r.seq, err = r.c.Store.Load(ctx, r.c.Partition, func(ctx context.Context, states []condition.State) error {
		if r.identity == nil { // in one read, not in one for each
			units, err := r.c.Fleet.Units(ctx, fleet.Filter{})
			if err != nil {
				return fmt.Errorf("load units: %w", err)
			}
			r.identity = make(map[int64]condition.Identity, len(units))
			for i := range units {
				r.identity[units[i].Key] = condition.IdentityOf(&units[i])
			}
		}
		return r.e.Load(ctx, states)
	})
	r.kept.Store(r.seq)
	return err
}

// lookUp is the evaluator's Directory.
func (r *watching) lookUp(ctx context.Context, key int64) (condition.Identity, bool, error) {
	if id, ok := r.identity[key]; ok {
		return id, true, nil
	}
	if _, ok := r.gone[key]; ok {
		return condition.Identity{}, false, nil
	}
	u, err := r.c.Fleet.UnitByKey(ctx, key)
	if fault.KindOf(err) == fault.NotFound {
		if r.gone == nil || len(r.gone) >= maxGone {
			r.gone = map[int64]struct{}{}
		}
		r.gone[key] = struct{}{}
		return condition.Identity{}, false, nil
	} else if err != nil {
		return condition.Identity{}, false, err
	}
	return condition.IdentityOf(&u), true, nil
}

// definitions loads the newest version of each detector, and the frozen ones.
// One that no longer fits its product is left out: it must not stop the rest.
func (r *watching) definitions(ctx context.Context) ([]condition.Definition, error) {
	products, err := r.c.Fleet.Products(ctx)
	if err != nil {
		return nil, fmt.Errorf("load products: %w", err)
	}
	detectors, err := r.c.Store.Detectors(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("load detectors: %w", err)
	}
	var frozen []condition.Ref
	if r.c.Frozen != nil {
		if frozen, err = r.c.Frozen(ctx); err != nil {
			return nil, fmt.Errorf("load frozen detectors: %w", err)
		}
	}
	running := map[condition.Ref]bool{}
	for i := range detectors {
		running[detectors[i].Ref()] = true
	}
	for _, ref := range frozen {
		if running[ref] || ref.Version == 0 {
			continue
		}
		running[ref] = true
		d, err := r.c.Store.Detector(ctx, ref.Name, ref.Version)
		if fault.KindOf(err) == fault.NotFound {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("load frozen detector %s: %w", ref.Name, err)
		}
		detectors = append(detectors, d)
	}
	var out []condition.Definition
	var seen []byte
	for _, p := range products {
		def := condition.Definition{Product: p}
		for _, d := range detectors {
			if d.Product != p.Name || d.Type == condition.TypePrognosis {
				continue
			}
			if mistakes := condition.Validate(&p, &d); len(mistakes) > 0 {
				r.c.Log.Error("a detector no longer fits its product and is not run", "detector", d.Name, "version", d.Version, "error", fault.Fields("", mistakes))
				continue
			}
			def.Detectors = append(def.Detectors, d)
			text, err := json.Marshal([]any{d.Ref(), d, d.Basis})
			if err != nil {
				return nil, err
			}
			seen = append(seen, text...)
		}
		text, err := json.Marshal([]any{p.Name, p.Signals, p.Purposes})
		if err != nil {
			return nil, err
		}
		seen = append(seen, text...)
		out = append(out, def)
	}
	r.defined = string(seen)
	return out, nil
}

// redefine takes up changed detectors, between two batches: when a change was
// told, or if it is to look anyway.
func (r *watching) redefine(ctx context.Context, look bool) error {
	r.defining.Lock()
	defer r.defining.Unlock()
	if !r.reload.Swap(false) && !look {
		return nil
	}
	before := r.defined
	definitions, err := r.definitions(ctx)
	if err != nil || r.defined == before {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cool != nil {
		r.cool()
		r.cool = nil
	}
	now, learn, err := r.cold(ctx, definitions, r.e.Running())
	if err != nil {
		return err
	}
	if err := r.e.Redefine(now); err != nil {
		return err
	}
	if len(learn) > 0 {
		r.heat(definitions, learn) // it runs for as long as the run does
	}
	return nil
}

// feed hands batches to the evaluator. A change of the detectors that was told
// before a batch was stored is taken up before the batch is judged.
func (r *watching) feed(ctx context.Context, batches []telemetry.Sequenced) error {
	for _, b := range batches {
		if err := r.redefine(ctx, false); err != nil {
			return err
		}
		if err := r.take(ctx, b); err != nil {
			return err
		}
		if err := r.relieve(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *watching) take(ctx context.Context, b telemetry.Sequenced) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = true // until the batch is taken in whole
	if err := r.e.Batch(ctx, b.Batch); err != nil {
		return err
	}
	r.broken = false
	r.seq = b.Seq
	r.count(len(b.Batch.Rows))
	return nil
}

// count notes rows that were taken in. With mu held.
func (r *watching) count(rows int) {
	r.judged.Add(uint64(rows))
	if r.rows += rows; r.rows >= r.c.MaxRows {
		select {
		case r.full <- struct{}{}:
		default:
		}
	}
}

// lookAgain is the real time between two looks for changed detectors.
const lookAgain = 10 * time.Second

// After a commit as long as it took passes before the next. Changes that a crash
// only makes the stream tell again wait longer the more units the last commit
// kept: Idle for each calmUnits of them, and maxIdles times that at most. So
// the state of ten times the units costs a message about as much.
const (
	calmUnits = 2000
	maxIdles  = 15
)

func (w *Watcher) idle(units int) time.Duration {
	return min(max(w.c.Idle, w.c.Idle*time.Duration(units)/calmUnits), maxIdles*w.c.Idle)
}

// keep commits when it is time to, until ctx ends.
func (r *watching) keep(ctx context.Context) error {
	beat := time.NewTicker(20 * time.Millisecond)
	defer beat.Stop()
	var now, last, looked, rest time.Time
	idle := r.c.Idle
	for {
		full := false
		select {
		case <-ctx.Done():
			return nil
		case now = <-beat.C:
		case <-r.full:
			full = true
		}
		if last.IsZero() {
			last, looked = now, now
		}
		look := now.Sub(looked) >= lookAgain
		if err := r.redefine(ctx, look); err != nil && ctx.Err() == nil {
			return err
		}
		if look {
			looked = now
		}
		r.mu.Lock()
		urgent, changed := r.e.Urgent(), r.e.Changed() || r.seq != r.kept.Load()
		r.mu.Unlock()
		wait := idle
		if urgent || r.awaited.Load() {
			wait = r.c.Prompt
		}
		due := (urgent || changed) && now.Sub(last) >= wait
		if !full && (!due || now.Before(rest)) {
			continue
		}
		r.awaited.Store(false)
		begun := clock.Real{}.Now() // a tick tells when it was due: long ago, after a commit that took long
		units, err := r.commit(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		now = clock.Real{}.Now()
		last, rest, idle = now, now.Add(now.Sub(begun)), r.idle(units)
	}
}

// relieve keeps what has changed if it is more than is to stay in memory; what
// comes waits for it.
func (r *watching) relieve(ctx context.Context) error {
	r.mu.Lock()
	full := r.e.Full()
	r.mu.Unlock()
	if !full {
		return nil
	}
	_, err := r.commit(context.WithoutCancel(ctx))
	return err
}

// commit keeps what has changed, with the position it is of, and tells of how
// many units. After a failure nothing more may be kept: what was taken from the
// evaluator is gone.
func (r *watching) commit(ctx context.Context) (units int, err error) {
	r.keeping.Lock()
	defer r.keeping.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed || r.broken || !r.e.Changed() && r.seq == r.kept.Load() {
		return 0, nil
	}
	r.failed = true // until it is kept
	seq := r.seq
	changes, err := r.e.Take(ctx)
	if err != nil {
		return 0, err
	}
	r.rows, r.telling = 0, len(changes.Opened)+len(changes.Cleared) > 0
	if changes.More { // nothing is taken in until it is taken, too
		units, err = r.store(ctx, seq, changes)
	} else {
		r.mu.Unlock()
		units, err = r.store(ctx, seq, changes)
		r.mu.Lock()
	}
	if err != nil {
		return 0, fmt.Errorf("keep findings: %w", err)
	}
	r.kept.Store(seq)
	r.failed, r.telling = false, false
	r.e.Keeps()
	return units, nil
}

// store keeps changes and what is to be taken with them, in one transaction.
func (r *watching) store(ctx context.Context, seq uint64, c condition.Changes) (units int, err error) {
	err = r.c.Tx.InTx(ctx, func(ctx context.Context) error {
		for {
			units += len(c.States)
			if err := r.c.Store.Commit(ctx, r.c.Partition, seq, c.Findings, c.States); err != nil {
				return err
			}
			if r.c.Told != nil && len(c.Opened)+len(c.Cleared) > 0 {
				if err := r.c.Told(ctx, c.Opened, c.Cleared); err != nil {
					return err
				}
			}
			if !c.More {
				return nil
			}
			if c, err = r.e.Take(ctx); err != nil {
				return err
			}
		}
	})
	return units, err
}
