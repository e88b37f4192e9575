package condition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Trial runs one detector over history. Units are those that may be looked at
// for the detector's purpose: nothing of any other is read.
type Trial struct {
	History  telemetry.History
	Product  fleet.Product
	Detector Detector
	Units    []fleet.Unit
	UpTo     uint64 // highest stream sequence; 0: all

	// Fresh begins at From without knowledge of what was before and ends at
	// To; units are taken to permit the purpose unless a mark within says
	// otherwise. Without it all that history holds is run through, as it was
	// live, and From and To pick from the findings.
	Fresh    bool
	From, To time.Time

	Rows func(n int) // told of progress, now and then; may be nil

	// Enough, if given, says when nothing more needs to be known of a unit. The
	// trial ends when all units have enough, after MostRows, or, once nearly all
	// have, after as many rows again; verdicts and findings are then those so far.
	Enough   func(v Verdict) bool
	MostRows int
}

// errEnough ends a replay of which no more is needed.
var errEnough = errors.New("enough")

// NewReplay makes an evaluator for a run over history of which no state is
// kept; it is told by Drain what it finds. Fresh takes units to permit
// everything unless a mark says otherwise.
func NewReplay(directory Directory, definitions []Definition, fresh bool) (*Evaluator, error) {
	e, err := NewEvaluator(directory, definitions)
	if err == nil {
		e.permitted = fresh
	}
	return e, err
}

// Signals are those of a product that some detector reads; never nil.
func (e *Evaluator) Signals(product string) []string {
	if p := e.products[product]; p != nil && p.signals != nil {
		return p.signals
	}
	return []string{}
}

// Drain calls fn for each finding that has changed since the last Drain, in no
// order, and forgets what else has changed. The finding is valid during the call.
func (e *Evaluator) Drain(fn func(f *Finding)) {
	for _, f := range e.desk.Findings {
		fn(f)
	}
	e.desk.Take(len(e.desk.Dirty))
	e.ticked = false
}

// Judged reports whether some row of a unit was judged.
func (e *Evaluator) Judged(unit int64) bool {
	var v Verdict
	e.verdict(unit, &v)
	return v.Judged
}

// Verdict is what a trial says of one unit.
type Verdict struct {
	Judged   bool          // some row of it was judged
	Exposure time.Duration // in the whole trial
	Rows     int
	LastAt   time.Time // event time of its newest row
	Open     bool      // a finding is open at the end
}

// TrialResult is what a trial gave.
type TrialResult struct {
	Findings []Finding // by OpenedAt, then id
	Units    map[int64]Verdict
	Cut      bool // ended by Enough or MostRows, before the last row
}

// Judged counts the units of which some row was judged.
func (r *TrialResult) Judged() int {
	n := 0
	for _, v := range r.Units {
		if v.Judged {
			n++
		}
	}
	return n
}

// tried is a unit in a trial, and what its rows alone tell.
type tried struct {
	unit   *fleet.Unit
	rows   int
	last   int64 // event time of its newest row
	enough bool
}

func (u *tried) verdict() Verdict {
	v := Verdict{Rows: u.rows}
	if u.rows > 0 {
		v.LastAt = moment(u.last)
	}
	return v
}

// progressEvery is the number of rows between reports of progress.
const progressEvery = 100_000

// Run runs the trial.
func (t *Trial) Run(ctx context.Context) (*TrialResult, error) {
	units := make(map[int64]*tried, len(t.Units))
	for i := range t.Units {
		if u := &t.Units[i]; u.Product == t.Product.Name {
			units[u.Key] = &tried{unit: u}
		}
	}
	directory := func(_ context.Context, key int64) (Identity, bool, error) {
		u, ok := units[key]
		if !ok {
			return Identity{}, false, nil
		}
		return IdentityOf(u.unit), true, nil
	}
	e, err := NewEvaluator(directory, []Definition{{Product: t.Product, Detectors: []Detector{t.Detector}}})
	if err != nil {
		return nil, err
	}
	e.permitted, e.spent = t.Fresh, map[int64]int64{}
	q := telemetry.Query{Product: t.Product.Name, Units: slices.Sorted(maps.Keys(units)), Signals: e.products[t.Product.Name].signals, UpTo: t.UpTo}
	if q.Signals == nil {
		q.Signals = []string{} // silence reads none
	}
	if t.Fresh {
		q.From, q.To = t.From, t.To
	}
	out := &TrialResult{Units: make(map[int64]Verdict, len(units))}
	rows, most, enough := 0, t.MostRows, 0
	var u *tried // of the row before: rows of a unit may follow one another
	err = t.History.Replay(consent.For(ctx, t.Detector.Purpose), q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
		if mark != nil {
			if t.Fresh && !t.To.IsZero() && mark.At >= t.To.UnixMilli() {
				return nil
			}
			return e.Mark(ctx, &mark.Mark)
		}
		if u == nil || u.unit.Key != row.Unit {
			if u = units[row.Unit]; u == nil {
				return nil
			}
		}
		if u.rows++; u.rows == 1 || row.Event > u.last {
			u.last = row.Event
		}
		if rows++; rows%progressEvery == 0 && t.Rows != nil {
			t.Rows(rows)
		}
		if err := e.Row(ctx, &row.Row); err != nil || t.Enough == nil || u.enough {
			return err
		}
		v := u.verdict()
		if e.verdict(row.Unit, &v); t.Enough(v) {
			u.enough = true
			enough++
		}
		if most == t.MostRows && 50*enough >= 49*len(units) {
			most = min(most, 2*rows) // as much again for the last ones
		}
		if enough == len(units) || rows >= most {
			return errEnough
		}
		return nil
	})
	out.Cut = errors.Is(err, errEnough)
	if err != nil && !out.Cut {
		return nil, fmt.Errorf("run detector %s over history: %w", t.Detector.Name, err)
	}
	for key, u := range units {
		if u.rows == 0 && e.units[key] == nil {
			continue // nothing is known of it
		}
		v := u.verdict()
		e.verdict(key, &v)
		out.Units[key] = v
	}
	for _, f := range e.desk.Findings {
		if (t.To.IsZero() || f.Onset.Before(t.To)) && (t.From.IsZero() || !f.LastAt.Before(t.From)) {
			out.Findings = append(out.Findings, *f)
		}
	}
	slices.SortFunc(out.Findings, func(a, b Finding) int {
		if c := a.OpenedAt.Compare(b.OpenedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// verdict says what a unit has come to so far.
func (e *Evaluator) verdict(key int64, v *Verdict) {
	u := e.last
	if u == nil || u.Key != key {
		u = e.units[key]
	}
	v.Exposure = 0
	if len(e.spent) > 0 {
		v.Exposure = millis(e.spent[key])
	}
	if u == nil {
		return
	}
	for _, w := range u.watches {
		if w == nil {
			continue
		}
		v.Exposure += millis(w.Exposure.Total)
		v.Judged = v.Judged || w.Newest != 0
		v.Open = w.Finding != nil
	}
}

// Permitted is those units whose owners permit a purpose.
func (s *Service) Permitted(ctx context.Context, p *fleet.Product, purpose string, units []fleet.Unit) ([]fleet.Unit, error) {
	masks, err := s.c.Consents.Masks(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	out := make([]fleet.Unit, 0, len(units))
	for _, u := range units {
		if masks[u.ID].PermitsPurpose(p, purpose) {
			out = append(out, u)
		}
	}
	return out, nil
}

// VersionOf is the version that d has, or would get if it were kept.
func (s *Service) VersionOf(ctx context.Context, p *fleet.Product, d *Detector) (int, error) {
	kept, err := s.c.Store.Detector(ctx, d.Name, 0)
	if fault.KindOf(err) == fault.NotFound {
		return 1, nil
	} else if err != nil {
		return 0, err
	}
	same, err := sameDefinition(&kept, d, BasisOf(p, d))
	if err != nil || same {
		return kept.Version, err
	}
	return kept.Version + 1, nil
}

// Watch is a unit under a detector version; nil where it is not watched. It must
// not be changed.
func (e *Evaluator) Watch(unit int64, of Ref) *kind.Watch {
	u := e.units[unit]
	if u == nil || u.product == nil {
		return nil
	}
	for i, r := range u.product.rules {
		if r.Ref() == of {
			return u.watches[i]
		}
	}
	return nil
}
