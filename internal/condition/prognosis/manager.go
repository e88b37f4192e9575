package prognosis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/telemetry"
)

// Findings is what a Manager needs of the store of detectors and findings.
type Findings interface {
	Detectors(ctx context.Context, product string) ([]condition.Detector, error)
	Findings(ctx context.Context, f condition.FindingFilter) ([]condition.Finding, error)
	PutFindings(ctx context.Context, findings []condition.Finding) error
}

// Permits says who permits a purpose, see consent.Service.
type Permits interface {
	Permitted(ctx context.Context, product, purpose string) (map[int64]bool, error)
	Mask(ctx context.Context, unitID string) (consent.Mask, error)
}

// Windows is what a Manager needs of history.
type Windows interface {
	Windows(ctx context.Context, q telemetry.WindowQuery, fn func(w *telemetry.Window) error) error
}

// Config is what a Manager is made of.
type Config struct {
	Store    Store
	Findings Findings
	Lives    LivesOf
	Fleet    fleet.Store
	Consents Permits
	History  Windows
	Learner  Learner
	Tx       fleet.Transactor
	Clock    clock.Clock
	Log      *slog.Logger

	// Told takes in findings that have opened and cleared, in the transaction
	// that keeps them. May be nil.
	Told func(ctx context.Context, opened, cleared []condition.Finding) error
}

// Manager learns and predicts when it is due. What it does is a function of
// records, history and the time that was due; each step is one transaction, so
// that after a crash it goes on where it was.
type Manager struct {
	c    Config
	wake atomic.Bool
}

// NewManager makes a Manager.
func NewManager(c Config) *Manager {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Manager{c: c}
}

// Wake tells that maintenance records or owners' choices have changed:
// findings about parts that are no longer in use, or on units that may no
// longer be looked at, are cleared at once, not when units are next judged.
func (m *Manager) Wake() { m.wake.Store(true) }

// keepPredictions is how long units' histories of predictions are kept.
const keepPredictions = 400 * 24 * time.Hour

// Run does what is due until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	pause, failures := 0, 0
	for {
		if pause > 0 {
			pause--
		} else if err := m.Step(ctx); err != nil && ctx.Err() == nil {
			m.c.Log.ErrorContext(ctx, "prognosis failed; it is tried again", "error", err)
			failures++
			pause = min(1<<min(failures, 10), 600)
		} else {
			failures = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Step does everything that is due now. One detector's failure does not hold
// up the others.
func (m *Manager) Step(ctx context.Context) error {
	detectors, err := m.c.Findings.Detectors(ctx, "")
	if err != nil {
		return err
	}
	statuses, err := m.c.Store.Statuses(ctx)
	if err != nil {
		return err
	}
	stands := make(map[string]Status, len(statuses))
	for _, s := range statuses {
		stands[s.Detector] = s
	}
	woken := m.wake.Swap(false)
	var failed []error
	for i := range detectors {
		d := &detectors[i]
		if d.Type != condition.TypePrognosis || d.Prognosis == nil {
			continue
		}
		s, known := stands[d.Name]
		delete(stands, d.Name)
		if at := m.due(d); !known || s.Product != d.Product || !s.RanAt.Equal(at) && !at.Before(s.RanAt) || s.Version != d.Version {
			if err := m.judgeUnits(ctx, d, s, at); err != nil {
				failed = append(failed, fmt.Errorf("prognosis %s: %w", d.Name, err))
				continue
			}
		}
		if woken { // also after judging, which is as of a while ago
			if err := m.release(ctx, d); err != nil {
				m.wake.Store(true)
				failed = append(failed, fmt.Errorf("prognosis %s: %w", d.Name, err))
			}
		}
	}
	for name := range stands {
		if err := m.end(ctx, name); err != nil {
			failed = append(failed, fmt.Errorf("end prognosis %s: %w", name, err))
		}
	}
	return errors.Join(failed...)
}

// due is the newest time at which units are to be judged: a while after a
// period's end, when history holds what they sent until then.
func (m *Manager) due(d *condition.Detector) time.Time {
	settle := min(d.Prognosis.Width()/10, 10*time.Minute)
	return m.c.Clock.Now().Add(-settle).Truncate(d.Prognosis.Period())
}

// judgeUnits learns a new model if that is due at a time, and predicts.
func (m *Manager) judgeUnits(ctx context.Context, d *condition.Detector, s Status, at time.Time) error {
	lives, unknown, err := m.c.Lives.Lives(ctx, d.Product, d.Prognosis.Part, at)
	if err != nil {
		return err
	}
	permitted, err := m.c.Consents.Permitted(ctx, d.Product, d.Purpose)
	if err != nil {
		return err
	}
	s = Status{
		Detector: d.Name, Version: d.Version, Product: d.Product, Part: d.Prognosis.Part, TrainAt: s.TrainAt,
		RanAt: at, NextAt: at.Add(d.Prognosis.Period()), Needed: d.Prognosis.Needed(), Unknown: unknown,
	}
	withheld := map[int64]bool{}
	var allowed []maintenance.Life
	for _, l := range lives {
		if !permitted[l.UnitKey] {
			withheld[l.UnitKey] = true
			continue
		}
		allowed = append(allowed, l)
		if l.Failed {
			s.Failures++
		} else {
			s.Censored++
		}
	}
	s.Withheld = len(withheld)
	champion, s, err := m.train(ctx, d, s, allowed)
	if err != nil {
		return err
	}
	predictions := []Prediction{}
	if champion != nil {
		s.Model = champion.Number
		if predictions, err = m.predict(ctx, d, champion, allowed, at); err != nil {
			return err
		}
	}
	for _, p := range predictions {
		s.Counts.add(p.State)
	}
	changes, err := m.findings(ctx, d, predictions, lives, permitted, at)
	if err != nil {
		return err
	}
	return m.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := m.c.Store.PutPredictions(ctx, d.Name, predictions, at.Add(-keepPredictions)); err != nil {
			return err
		}
		if err := m.keep(ctx, changes); err != nil {
			return err
		}
		return m.c.Store.PutStatus(ctx, s)
	})
}

func (c *Counts) add(s State) {
	switch s {
	case Heading:
		c.Heading++
	case Watch:
		c.Watch++
	case OK:
		c.OK++
	default:
		c.Unknown++
	}
}

// predict tells the remaining life of every unit whose part is in use.
func (m *Manager) predict(ctx context.Context, d *condition.Detector, champion *Model, lives []maintenance.Life, at time.Time) ([]Prediction, error) {
	data, err := m.c.Store.ModelData(ctx, d.Name, champion.Number)
	if err != nil {
		return nil, err
	}
	foresight, err := m.c.Learner.Open(data)
	if err != nil {
		return nil, fmt.Errorf("model %d: %w", champion.Number, err)
	}
	var alive []maintenance.Life
	for _, l := range lives {
		if l.Alive {
			alive = append(alive, l)
		}
	}
	step := d.Prognosis.Width()
	names, horizon := columns(d.Prognosis.Signals), days(time.Duration(d.Prognosis.Horizon))
	out := make([]Prediction, 0, len(alive))
	err = m.read(ctx, d, alive, at, func(l *LifeSeries) error {
		p := Prediction{
			Detector: d.Name, Version: d.Version, Model: champion.Number, UnitID: l.UnitID, UnitKey: l.UnitKey, Product: d.Product,
			Part: d.Prognosis.Part, At: at, Since: l.From, State: Unknown, Horizon: horizon, Reasons: []Reason{},
		}
		switch n := len(l.Ages); {
		case n == 0:
			p.Why = "no data of it since " + l.From.Format(time.DateOnly)
		case at.Sub(l.Last) > stale*step:
			p.Why = "no data of it since " + l.Last.Format("2006-01-02 15:04 UTC")
		case n < atLeast:
			p.Why = fmt.Sprintf("%d steps with data; %d are needed", n, atLeast)
		default:
			r, err := foresight.Predict(&l.Series, n)
			if err != nil {
				return err
			}
			r = r.widened(champion.Widening)
			drift, err := foresight.Drift(&l.Series, n)
			if err != nil {
				return err
			}
			// What was foreseen at the last reading, seen from now.
			gone := float64(at.Sub(l.Last)) / float64(step)
			unit := days(step)
			p.Low, p.Median, p.High = max(0, r.Low-gone)*unit, max(0, r.Median-gone)*unit, max(0, r.High-gone)*unit
			p.State = stateOf(p.Low, p.Median, horizon)
			p.Reasons = reasons(names, drift)
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// stale is how many steps without data leave a prediction standing.
const stale = 3

func stateOf(low, median, horizon float64) State {
	switch {
	case median < horizon:
		return Heading
	case low < horizon:
		return Watch
	default:
		return OK
	}
}

// Status is where the prognoses of a product ("": all) stand, by detector.
func (m *Manager) Status(ctx context.Context, product string) ([]Status, error) {
	all, err := m.c.Store.Statuses(ctx)
	out := []Status{}
	for _, s := range all {
		if product == "" || s.Product == product {
			out = append(out, s)
		}
	}
	return out, err
}

// Models lists a detector's models, newest first.
func (m *Manager) Models(ctx context.Context, detector string) ([]Model, error) {
	models, err := m.c.Store.Models(ctx, detector)
	if err == nil && len(models) == 0 {
		statuses, err := m.c.Store.Statuses(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range statuses {
			if s.Detector == detector {
				return []Model{}, nil
			}
		}
		return nil, fault.New(fault.NotFound, "no prognosis %q", detector)
	}
	return models, err
}

// Risks lists the newest predictions, shortest remaining life first.
func (m *Manager) Risks(ctx context.Context, f RiskFilter) ([]Prediction, error) {
	return m.c.Store.Risks(ctx, f)
}

// Cursor is the place of a prediction in a list of risks.
func (p *Prediction) Cursor() string { return p.Detector + "/" + p.UnitID }

// Predictions is a unit's history, newest first, as far as its owner permits
// it now.
func (m *Manager) Predictions(ctx context.Context, unitID, detector string, limit int) ([]Prediction, error) {
	u, err := m.c.Fleet.Unit(ctx, unitID)
	if err != nil {
		return nil, err
	}
	p, err := m.c.Fleet.Product(ctx, u.Product)
	if err != nil {
		return nil, err
	}
	mask, err := m.c.Consents.Mask(ctx, unitID)
	if err != nil {
		return nil, err
	}
	detectors, err := m.c.Findings.Detectors(ctx, u.Product)
	if err != nil {
		return nil, err
	}
	permitted := map[string]bool{}
	for _, d := range detectors {
		permitted[d.Name] = mask.PermitsPurpose(&p, d.Purpose)
	}
	all, err := m.c.Store.Predictions(ctx, unitID, detector, limit)
	return slices.DeleteFunc(all, func(p Prediction) bool { return !permitted[p.Detector] }), err
}
