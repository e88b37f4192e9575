package backtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// Config is what a Manager is made of.
type Config struct {
	Store       Store
	History     Source
	Fleet       fleet.Store
	Conditions  *condition.Service
	Maintenance maintenance.Store // failures on record; may be nil
	// Applied is the newest stream sequence that history holds: a job ends there.
	Applied func(ctx context.Context) (uint64, error)
	Clock   clock.Clock
	Wall    clock.Clock // the machine's: how long a job takes
	IDs     clock.IDs
	Log     *slog.Logger
	Limits  Limits
	Longest time.Duration // a job may take (default 30 min)
}

// Bounds of the queue and of what is kept.
const (
	mostWaiting  = 20
	mostBegun    = 3 // a job that was begun so often and never ended is given up
	keepFor      = 30 * 24 * time.Hour
	keepNewest   = 100
	mostFindings = 10_000
	mostFailures = 100_000
)

// Manager runs jobs, one after another. A job that the process did not live to
// end is begun again from its start.
type Manager struct {
	c    Config
	wake chan struct{}

	mu      sync.Mutex
	running string // id
	cancel  context.CancelCauseFunc
	done    float64
	rows    int
}

// NewManager makes a Manager.
func NewManager(c Config) *Manager {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Longest <= 0 {
		c.Longest = 30 * time.Minute
	}
	return &Manager{c: c, wake: make(chan struct{}, 1)}
}

// Create checks what is asked for and puts it in the queue.
func (m *Manager) Create(ctx context.Context, q Request, by string) (Job, error) {
	if err := m.complete(ctx, &q); err != nil {
		return Job{}, err
	}
	waiting, err := m.c.Store.Unended(ctx)
	if err != nil {
		return Job{}, err
	}
	if len(waiting) >= mostWaiting {
		return Job{}, fault.New(fault.Unavailable, "%d backtests wait already: ask again when one has ended, or cancel one", len(waiting))
	}
	j := Job{ID: m.c.IDs.ID(), Request: q, By: by, At: m.c.Clock.Now(), State: Waiting}
	if err := m.c.Store.PutJob(ctx, j); err != nil {
		return Job{}, err
	}
	m.poke()
	return j, nil
}

func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// complete checks a request and fills in the version.
func (m *Manager) complete(ctx context.Context, q *Request) error {
	var fields []fault.Field
	add := func(path, expected, got string) {
		fields = append(fields, fault.Field{Path: path, Expected: expected, Got: got})
	}
	d := q.detector()
	p, err := m.c.Fleet.Product(ctx, d.Product)
	if fault.KindOf(err) == fault.NotFound {
		return fault.Fields("detector "+d.Name, []fault.Field{{Path: "spec.product", Expected: "the name of a product", Got: d.Product}})
	} else if err != nil {
		return err
	}
	if d.Type == condition.TypePrognosis {
		return fault.Fields("detector "+d.Name, []fault.Field{{Path: "spec.type", Expected: "a kind that judges data as it comes: a prognosis is tried on units held out whenever it learns", Got: string(d.Type)}})
	}
	if d.Version == 0 {
		if d.Version, err = m.c.Conditions.VersionOf(ctx, &p, &d); err != nil {
			return err
		}
		q.Detector.Version = d.Version
	}
	if err := fault.Fields("detector "+d.Name, condition.Validate(&p, &d)); err != nil {
		return err
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		add("to", "a time after from, "+words.Instant(q.From), words.Instant(q.To))
	}
	if q.Match.Horizon < 0 {
		add("horizon", "a duration, 0 or more", q.Match.Horizon.String())
	}
	if !(q.Cost.False >= 0 && q.Cost.Missed >= 0 && q.Cost.False <= 1e12 && q.Cost.Missed <= 1e12) {
		add("cost", "numbers, 0 or more", fmt.Sprintf("%v and %v", q.Cost.False, q.Cost.Missed))
	}
	if len(q.Failures) > mostFailures {
		add("failures", fmt.Sprintf("at most %d", mostFailures), fmt.Sprint(len(q.Failures)))
	}
	known := map[string]bool{}
	if len(q.Units)+len(q.Failures) > 0 {
		units, err := m.c.Fleet.Units(ctx, fleet.Filter{Product: p.Name})
		if err != nil {
			return err
		}
		for _, u := range units {
			known[u.ID] = true
		}
	}
	for i, id := range q.Units {
		if !known[id] && q.Cohort == "" { // of a cohort: the unit may be gone by now
			add(fmt.Sprintf("units[%d]", i), "a unit of product "+p.Name, id)
		}
	}
	for i, f := range q.Failures {
		if !known[f.Unit] {
			add(fmt.Sprintf("failures[%d].unit", i), "a unit of product "+p.Name, f.Unit)
		}
		if f.At.IsZero() || !f.Until.IsZero() && f.Until.Before(f.At) {
			add(fmt.Sprintf("failures[%d].at", i), "a time, not after until", words.Instant(f.At))
		}
		if len(fields) > 20 {
			break
		}
	}
	if len(fields) == 0 {
		values, err := q.Sweep.values(&p, &d)
		if err == nil {
			_, _, err = q.Sweep.variants(&p, &d, values)
		}
		if err != nil {
			return err
		}
	}
	if q.MostFindings <= 0 || q.MostFindings > mostFindings {
		q.MostFindings = mostFindings
	}
	return fault.Fields("backtest", fields)
}

func (q *Request) detector() condition.Detector {
	d := q.Spec
	d.Name, d.Version, d.Basis = q.Detector.Name, q.Detector.Version, q.Basis
	return d
}

// Job is one job, with how far it is.
func (m *Manager) Job(ctx context.Context, id string) (Job, error) {
	j, err := m.c.Store.Job(ctx, id)
	if err == nil {
		m.fill(&j)
	}
	return j, err
}

// Jobs are the newest jobs of a detector's name ("": all).
func (m *Manager) Jobs(ctx context.Context, detector string, limit int) ([]Job, error) {
	all, err := m.c.Store.Jobs(ctx, detector, limit)
	for i := range all {
		m.fill(&all[i])
	}
	return all, err
}

func (m *Manager) fill(j *Job) {
	if j.State == Stopping {
		j.State = Running
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if j.ID == m.running && j.State == Running {
		j.Done, j.Rows = m.done, m.rows
	}
}

// Result is what a job gave, and the failures that it knew of.
func (m *Manager) Result(ctx context.Context, id string) (*Result, []Failure, error) {
	j, err := m.c.Store.Job(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if j.State != Done {
		return nil, nil, fault.New(fault.Conflict, "backtest %s is %s: it has no result", id, j.State)
	}
	raw, err := m.c.Store.Result(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	return Decode(raw)
}

// Cancel ends a job that waits or runs; one that has ended is deleted.
func (m *Manager) Cancel(ctx context.Context, id, by string) error {
	j, err := m.c.Store.Job(ctx, id)
	if err != nil {
		return err
	}
	if j.State.Ended() {
		return m.c.Store.DeleteJob(ctx, id)
	}
	m.mu.Lock()
	if m.running == id {
		m.cancel(cancelledError{by})
		m.mu.Unlock()
		return nil
	}
	m.mu.Unlock()
	j.State, j.Why, j.EndedAt = Cancelled, "cancelled by "+by, m.c.Clock.Now()
	return m.c.Store.Finish(ctx, j, nil)
}

type cancelledError struct{ by string }

func (e cancelledError) Error() string { return "cancelled by " + e.by }

// Run runs what waits until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	look := time.NewTicker(5 * time.Second)
	defer look.Stop()
	for {
		if err := m.pending(ctx); err != nil && ctx.Err() == nil {
			m.c.Log.Error("backtests", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-look.C:
		}
	}
}

// pending runs all that wait, oldest first, and what a process before this one
// did not live to end.
func (m *Manager) pending(ctx context.Context) error {
	for ctx.Err() == nil {
		all, err := m.c.Store.Unended(ctx)
		if err != nil || len(all) == 0 {
			return err
		}
		if err := m.one(ctx, all[0]); err != nil {
			return err
		}
		if err := m.c.Store.Trim(ctx, m.c.Clock.Now().Add(-keepFor), keepNewest); err != nil {
			return err
		}
	}
	return nil
}

// one runs a job to its end.
func (m *Manager) one(ctx context.Context, j Job) error {
	if j.Begun >= mostBegun {
		j.State, j.EndedAt = Failed, m.c.Clock.Now()
		j.Why = fmt.Sprintf("the service ended %d times while this ran: give a shorter period, or fewer units or thresholds", j.Begun)
		return m.c.Store.Finish(ctx, j, nil)
	}
	j.State, j.BegunAt = Running, m.c.Clock.Now()
	j.Begun++
	switch err := m.c.Store.PutJob(ctx, j); {
	case fault.KindOf(err) == fault.Conflict:
		return nil // it was deleted a moment ago
	case err != nil:
		return err
	}
	began := m.c.Wall.Now()
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m.mu.Lock()
	m.running, m.cancel, m.done, m.rows = j.ID, cancel, 0, 0
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.running, m.cancel = "", nil
		m.mu.Unlock()
	}()
	go m.heed(run, j.ID, cancel)
	result, err := m.work(run, &j, func(done float64, rows int) {
		m.mu.Lock()
		m.done, m.rows = done, rows
		m.mu.Unlock()
		if m.c.Wall.Now().Sub(began) > m.c.Longest {
			cancel(fault.New(fault.Invalid, "it took longer than %s: give a shorter period, or fewer units or thresholds", m.c.Longest))
		}
	})
	if ctx.Err() != nil {
		return nil // the process ends: it stays running, and is begun again
	}
	j.EndedAt = m.c.Clock.Now()
	cause := context.Cause(run)
	var by cancelledError
	switch {
	case errors.Is(cause, errWithdrawn):
		j.State, j.Why = Cancelled, errWithdrawn.Error()
	case err == nil:
		j.State, j.Done = Done, 1
	case errors.As(cause, &by):
		j.State, j.Why = Cancelled, by.Error()
	case cause != nil && errors.Is(err, context.Canceled):
		j.State, j.Why = Failed, cause.Error()
	case fault.KindOf(err) == fault.Unavailable:
		return err // it stays running, and is begun again
	case fault.KindOf(err) == fault.Internal:
		m.c.Log.Error("backtest failed", "id", j.ID, "detector", j.Request.Detector.Name, "error", err)
		j.State, j.Why = Failed, "something went wrong on our side; the log says what"
	default:
		j.State, j.Why = Failed, err.Error()
	}
	err = m.c.Store.Finish(ctx, j, result)
	if fault.KindOf(err) == fault.Conflict { // between the last look and now
		j.State, j.Why = Cancelled, errWithdrawn.Error()
		err = m.c.Store.Finish(ctx, j, nil)
	}
	if fault.KindOf(err) == fault.Conflict {
		return nil // it is gone
	}
	return err
}

// errWithdrawn is why a job ends whose figures would rest on units that must
// not be judged any more.
var errWithdrawn = errors.New("stopped: while it ran, an owner withdrew what it was run for, or was erased; run it again and it leaves their units out")

// heedEvery is how often a running job looks whether its result may still be
// kept; whatever process it runs in, the records say so.
const heedEvery = 500 * time.Millisecond

// heed ends a run whose result may not be kept.
func (m *Manager) heed(run context.Context, id string, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(heedEvery)
	defer tick.Stop()
	for {
		select {
		case <-run.Done():
			return
		case <-tick.C:
		}
		j, err := m.c.Store.Job(run, id)
		if fault.KindOf(err) == fault.NotFound || err == nil && j.State == Stopping {
			cancel(errWithdrawn)
			return
		}
	}
}

// work makes the plan as things stand now and runs it.
func (m *Manager) work(ctx context.Context, j *Job, progress func(float64, int)) ([]byte, error) {
	q := j.Request
	d := q.detector()
	p, err := m.c.Fleet.Product(ctx, d.Product)
	if err != nil {
		return nil, err
	}
	units, err := m.c.Fleet.Units(ctx, fleet.Filter{Product: p.Name})
	if err != nil {
		return nil, err
	}
	if q.Units != nil {
		asked := make(map[string]bool, len(q.Units))
		for _, id := range q.Units {
			asked[id] = true
		}
		units = slices.DeleteFunc(units, func(u fleet.Unit) bool { return !asked[u.ID] })
	}
	permitted, err := m.c.Conditions.Permitted(ctx, &p, d.Purpose, units)
	if err != nil {
		return nil, err
	}
	j.Withheld = len(units) - len(permitted)
	upTo, err := m.c.Applied(ctx)
	if err != nil {
		return nil, err
	}
	failures, complete, err := m.known(ctx, &q, d.Name, permitted)
	if err != nil {
		return nil, err
	}
	j.Sources = map[string]int{}
	for _, f := range failures {
		if f.Sound {
			j.Sources["no fault found"]++
		} else {
			j.Sources[f.Source]++
		}
	}
	r, err := Run(ctx, m.c.History, Plan{
		Product: p, Detector: d, Units: permitted, From: q.From, To: q.To, UpTo: upTo, Sweep: q.Sweep,
		Failures: failures, Complete: complete && !q.Partial, Match: q.Match, Cost: q.Cost,
		MostFindings: q.MostFindings, Limits: m.c.Limits, Progress: progress,
	})
	if err != nil {
		return nil, err
	}
	j.Rows = int(r.Rows)
	return Encode(r, failures)
}

// known are the failures that are known of units that may be looked at: those
// given, those on record, and what findings of the detector were assessed as.
// They are complete where failures were given or are on record.
func (m *Manager) known(ctx context.Context, q *Request, detector string, units []fleet.Unit) (out []Failure, complete bool, err error) {
	may := make(map[string]bool, len(units))
	for _, u := range units {
		may[u.ID] = true
	}
	for _, f := range q.Failures {
		f.Source = "given"
		out = append(out, f)
	}
	if !q.Unrecorded {
		if m.c.Maintenance != nil {
			records, err := m.c.Maintenance.Records(ctx, maintenance.Filter{Product: q.Spec.Product})
			if err != nil {
				return nil, false, err
			}
			out = append(out, Recorded(records)...)
		}
		complete = len(out) > 0
		assessed, err := m.assessed(ctx, detector)
		if err != nil {
			return nil, false, err
		}
		out = append(out, assessed...)
	}
	complete = complete || len(q.Failures) > 0
	return slices.DeleteFunc(out, func(f Failure) bool {
		return !may[f.Unit] || q.Component != "" && f.Component != "" && f.Component != q.Component
	}), complete, nil
}

// Recorded are the failures that maintenance records tell of. A replacement
// because of a failure that is on record itself is the same one.
func Recorded(records []maintenance.Record) []Failure {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b maintenance.Record) int { return a.At.Compare(b.At) })
	type part struct{ unit, name string }
	down := map[part]bool{}
	var out []Failure
	for i := range records {
		r := &records[i]
		k := part{r.UnitID, r.Part}
		if _, failed := r.Ends(); failed && !down[k] {
			out = append(out, Failure{Unit: r.UnitID, At: r.At, Component: r.Part, Source: string(r.Kind)})
		}
		down[k] = r.Kind == maintenance.Failure
	}
	return out
}

// assessed are the findings of a detector of which somebody has said what was found.
func (m *Manager) assessed(ctx context.Context, detector string) (out []Failure, err error) {
	const page = 1000
	for _, said := range []condition.Assessment{condition.Confirmed, condition.NoFaultFound} {
		f := condition.FindingFilter{Detector: detector, Assessment: said, Limit: page}
		for {
			all, err := m.c.Conditions.Findings(ctx, f)
			if err != nil {
				return nil, err
			}
			for _, v := range all {
				until := v.LastAt
				if v.Cleared.After(until) {
					until = v.Cleared
				}
				out = append(out, Failure{Unit: v.UnitID, At: v.Onset, Until: until, Source: "assessment", Sound: said == condition.NoFaultFound})
			}
			if len(all) < page {
				break
			}
			f.Before = all[len(all)-1].ID
		}
	}
	return out, nil
}
