// Package backtest tries a detector on history before it is switched on: which
// units it would have flagged, how many alarms a unit-month, how many of the
// known failures it foresaw and how long before, and what each threshold would
// have cost. The detectors that are tried are run by the condition package's
// Evaluator, as live ones are: what is found for the threshold as declared is
// what live found, or would have.
package backtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Source gives rows and marks in the order in which they arrived; a
// telemetry.History is one.
type Source interface {
	Replay(ctx context.Context, q telemetry.Query, fn func(row *telemetry.Stored, mark *telemetry.StoredMark) error) error
}

// Plan is what to run, over what.
type Plan struct {
	Product  fleet.Product
	Detector condition.Detector // with the version that it has, or would get
	Units    []fleet.Unit       // those that may be looked at for its purpose; no other is read
	From, To time.Time          // findings that overlap [From, To) count; zero bounds are open
	UpTo     uint64             // the stream sequence to end with; 0: all
	Fresh    bool               // units permit everything unless a mark says otherwise

	Sweep    Sweep
	Failures []Failure
	Complete bool // Failures are all that there were: an alarm without one is false
	Match    Match
	Cost     Cost

	MostFindings int // of the detector as declared that are given with their evidence; 0: none
	Limits       Limits
	Progress     func(done float64, rows int) // now and then, done from 0 to 1; may be nil
}

// Limits bounds what one run may cost.
type Limits struct {
	Judgements int64 // rows times thresholds (default 2,000,000,000)
	Episodes   int   // alarms kept over all thresholds (default 1,000,000)
	Watches    int   // units times thresholds held in memory at once (default 10,000)
}

func (l *Limits) fill() {
	if l.Judgements <= 0 {
		l.Judgements = 2_000_000_000
	}
	if l.Episodes <= 0 {
		l.Episodes = 1_000_000
	}
	if l.Watches <= 0 {
		l.Watches = 10_000
	}
}

// Result is what a run gave.
type Result struct {
	Detector condition.Ref `json:"detector"`
	Field    string        `json:"field,omitempty" doc:"The setting that was moved."`
	Unit     string        `json:"unit,omitempty" doc:"Its unit: s for durations."`
	From     time.Time     `json:"from,omitzero" doc:"Event time of the first row that counted."`
	To       time.Time     `json:"to,omitzero" doc:"Event time of the last."`

	Judged     int     `json:"judged" doc:"Units of which data could be judged."`
	NoData     int     `json:"noData" doc:"Units of which there was nothing to judge."`
	UnitMonths float64 `json:"unitMonths" doc:"Time watched, each unit from its first to its last message in the period, in months of 30.4375 days."`
	Rows       int64   `json:"rows" doc:"Messages read."`
	Failures   int     `json:"failures" doc:"Known failures of units while they were watched."`
	Outside    int     `json:"failuresOutside" doc:"Known failures that could not be seen: of units not judged, or when they were not watched."`
	Complete   bool    `json:"complete" doc:"All failures are known: an alarm without one is false. Otherwise it is not judged."`
	Match      Match   `json:"match"`
	Cost       Cost    `json:"cost"`

	Thresholds []Threshold `json:"thresholds" doc:"By value, ascending."`
	Declared   int         `json:"declared" doc:"Place of the threshold as declared."`
	Best       int         `json:"best" doc:"Place of the one that costs least, nearest to the one declared; -1 when no failure is known."`

	Findings []condition.Finding `json:"-"` // of the detector as declared, by OpenedAt then id
	Total    int                 `json:"total" doc:"Findings of the detector as declared."`
	Keys     []int64             `json:"-"` // units by Episode.Unit
}

// month is the mean month of the Julian year.
const month = 43_830 * time.Minute

// independent says which kinds judge each unit by itself alone, so that a
// fleet may be run in parts.
func independent(t condition.DetectorType) bool {
	return t != condition.TypeSilence && t != condition.TypePeers
}

// run is one run in progress.
type run struct {
	*Plan
	variants []condition.Detector
	place    map[int]int // of a variant by its version
	declared int
	units    map[int64]*watched
	keys     []int64
	episodes [][]Episode // by variant
	index    map[episodeKey]int
	findings map[string]condition.Finding
	rows     int64
	kept     int
}

// watched is what a run keeps of a unit.
type watched struct {
	at          int32 // among run.keys
	identity    condition.Identity
	first, last int64 // event times of its rows in the period
	begun       bool
	judged      bool
}

type episodeKey struct {
	variant int32
	unit    int32
	onset   int64
	late    bool
}

// Run runs a plan.
func Run(ctx context.Context, src Source, p Plan) (*Result, error) {
	p.Limits.fill()
	p.Match.fill()
	p.Cost.fill()
	r := &run{
		Plan: &p, place: map[int]int{}, units: make(map[int64]*watched, len(p.Units)),
		index: map[episodeKey]int{}, findings: map[string]condition.Finding{},
	}
	values, err := p.Sweep.values(&p.Product, &p.Detector)
	if err != nil {
		return nil, err
	}
	if r.variants, r.declared, err = p.Sweep.variants(&p.Product, &p.Detector, values); err != nil {
		return nil, err
	}
	for i, d := range r.variants {
		r.place[d.Version] = i
	}
	r.episodes = make([][]Episode, len(r.variants))
	slices.SortFunc(p.Units, func(a, b fleet.Unit) int { return int(max(-1, min(1, a.Key-b.Key))) })
	for _, u := range p.Units {
		if u.Product == p.Product.Name && r.units[u.Key] == nil {
			r.units[u.Key] = &watched{at: int32(len(r.keys)), identity: condition.IdentityOf(&u)}
			r.keys = append(r.keys, u.Key)
		}
	}
	part := max(1, p.Limits.Watches/len(r.variants))
	if !independent(p.Detector.Type) {
		if part = max(1, len(r.keys)); part*len(r.variants) > 50*p.Limits.Watches {
			return nil, fault.New(fault.Invalid, "%d units times %d thresholds is more than the %d that a detector of type %s may be tried on at once: give fewer thresholds, or fewer units",
				part, len(r.variants), 50*p.Limits.Watches, p.Detector.Type)
		}
	}
	for i := 0; i < len(r.keys); i += part {
		if err := r.part(ctx, src, i, min(i+part, len(r.keys))); err != nil {
			return nil, fmt.Errorf("backtest of %s: %w", p.Detector.Name, err)
		}
	}
	return r.result(values), nil
}

// drainEvery is the number of rows between two looks at what was found, and
// progressEvery between two reports of progress.
const (
	drainEvery    = 4096
	progressEvery = 65536
)

// part runs the units with keys[from:to].
func (r *run) part(ctx context.Context, src Source, from, to int) error {
	keys := r.keys[from:to]
	directory := func(_ context.Context, key int64) (condition.Identity, bool, error) {
		w := r.units[key]
		if w == nil || int(w.at) < from || int(w.at) >= to {
			return condition.Identity{}, false, nil
		}
		return w.identity, true, nil
	}
	e, err := condition.NewReplay(directory, []condition.Definition{{Product: r.Product, Detectors: r.variants}}, r.Fresh)
	if err != nil {
		return err
	}
	q := telemetry.Query{Product: r.Product.Name, Units: keys, Signals: e.Signals(r.Product.Name), UpTo: r.UpTo}
	if r.Fresh {
		q.From, q.To = r.From, r.To
	}
	began, ended := r.bounds()
	n := 0
	err = src.Replay(consent.For(ctx, r.Detector.Purpose), q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
		if mark != nil {
			if r.Fresh && mark.At >= ended {
				return nil
			}
			if w := r.units[mark.Unit]; w != nil && !w.judged {
				w.judged = e.Judged(mark.Unit) // the mark may make it begin anew
			}
			return e.Mark(ctx, &mark.Mark)
		}
		w := r.units[row.Unit]
		if w == nil {
			return nil
		}
		if row.Event >= began && row.Event < ended {
			if !w.begun {
				w.begun, w.first, w.last = true, row.Event, row.Event
			}
			w.first, w.last = min(w.first, row.Event), max(w.last, row.Event)
		}
		if err := e.Row(ctx, &row.Row); err != nil {
			return err
		}
		r.rows++
		if n++; n%drainEvery == 0 {
			if err := r.drain(ctx, e); err != nil {
				return err
			}
		}
		if n%progressEvery == 0 && r.Progress != nil {
			share := 0.0
			if r.UpTo > 0 {
				share = min(1, float64(row.Seq)/float64(r.UpTo))
			}
			r.Progress((float64(from)+share*float64(to-from))/float64(len(r.keys)), int(r.rows))
		}
		return nil
	})
	if err == nil {
		err = r.drain(ctx, e)
	}
	if err != nil {
		return err
	}
	silence := r.Detector.Type == condition.TypeSilence
	for _, key := range keys {
		w := r.units[key]
		w.judged = (w.judged || e.Judged(key)) && w.begun
		if silence && w.begun { // what is not heard of is still watched
			w.last = max(w.last, min(e.Now(), ended-1))
		}
	}
	if r.Progress != nil {
		r.Progress(float64(to)/float64(len(r.keys)), int(r.rows))
	}
	return nil
}

// bounds are the period in Unix ms.
func (r *run) bounds() (from, to int64) {
	from, to = minTime, maxTime
	if !r.From.IsZero() {
		from = r.From.UnixMilli()
	}
	if !r.To.IsZero() {
		to = r.To.UnixMilli()
	}
	return from, to
}

const (
	minTime = -1 << 62
	maxTime = 1 << 62
)

// errLimit is what a run may not cost.
func errLimit(format string, args ...any) error {
	return fault.Wrap(fault.Invalid, "", fmt.Errorf(format, args...))
}

// drain takes in what was found since the last time.
func (r *run) drain(ctx context.Context, e *condition.Evaluator) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.rows*int64(len(r.variants)) > r.Limits.Judgements {
		return errLimit("more than %d rows times thresholds: give a shorter period, fewer units or fewer thresholds", r.Limits.Judgements)
	}
	var told []condition.Finding // of the detector as declared
	e.Drain(func(f *condition.Finding) {
		i := r.place[f.Detector.Version]
		unit := int32(-1) // of no unit alone
		if w := r.units[f.UnitKey]; w != nil {
			unit = w.at
		}
		if !r.counts(f) {
			return // it may yet, when it goes on
		}
		k := episodeKey{int32(i), unit, f.Onset.UnixMilli(), f.Late}
		at, known := r.index[k]
		if !known {
			at = len(r.episodes[i])
			r.index[k] = at
			r.episodes[i] = append(r.episodes[i], Episode{Unit: unit, Onset: f.Onset.UnixMilli(), Opened: f.OpenedAt.UnixMilli()})
			r.kept++
		}
		ep := &r.episodes[i][at]
		ep.Peak = f.Peak
		if ep.Until = 0; f.State == condition.Cleared {
			ep.Until = f.Cleared.UnixMilli()
		}
		if i == r.declared && r.MostFindings > 0 {
			told = append(told, *f)
		}
	})
	slices.SortFunc(told, byOpening)
	for _, f := range told {
		if _, ok := r.findings[f.ID]; ok || len(r.findings) < r.MostFindings {
			r.findings[f.ID] = f
		}
	}
	if r.kept > r.Limits.Episodes {
		return errLimit("more than %d alarms over all thresholds: give a shorter period, fewer units, or thresholds further out", r.Limits.Episodes)
	}
	return nil
}

// counts reports whether a finding overlaps the period.
func (r *run) counts(f *condition.Finding) bool {
	return (r.To.IsZero() || f.Onset.Before(r.To)) && (r.From.IsZero() || !f.LastAt.Before(r.From))
}

func (r *run) result(values []float64) *Result {
	out := &Result{
		Detector: r.Detector.Ref(), Field: r.Sweep.Field, Unit: r.Sweep.unit(&r.Product, &r.Detector), Rows: r.rows,
		Complete: r.Complete, Match: r.Match, Cost: r.Cost, Declared: r.declared, Keys: r.keys,
	}
	spans := make([]span, len(r.keys))
	first, last := int64(maxTime), int64(minTime)
	var spent int64
	for key, w := range r.units {
		_ = key
		spans[w.at] = span{w.first, w.last, w.judged}
		if !w.judged {
			out.NoData++
			continue
		}
		out.Judged++
		spent += w.last - w.first
		first, last = min(first, w.first), max(last, w.last)
	}
	for _, episodes := range r.episodes {
		for i := range episodes { // those of timers come after the last row
			last = max(last, episodes[i].Opened)
		}
	}
	if out.Judged > 0 {
		out.From, out.To = time.UnixMilli(first).UTC(), time.UnixMilli(last).UTC()
	}
	out.UnitMonths = float64(spent) / float64(month.Milliseconds())
	byUnit := make(map[string]int32, len(r.units))
	for _, w := range r.units {
		byUnit[w.identity.ID] = w.at
	}
	known := place(r.Failures, byUnit, spans, r.Match)
	out.Failures, out.Outside = known.seen, known.outside
	for i := range r.variants {
		value := 0.0
		if len(values) > 0 {
			value = values[i]
		}
		t := known.judge(r.episodes[i], spans, r.Match, r.Complete)
		t.Value, t.Text = value, r.Sweep.text(&r.Product, &r.variants[i], value)
		t.finish(out.UnitMonths, spent, known.seen, r.Cost, len(r.Failures) > 0)
		out.Thresholds = append(out.Thresholds, t)
	}
	out.Best = best(out.Thresholds, r.declared)
	out.Total = out.Thresholds[r.declared].Alarms
	for _, f := range r.findings {
		out.Findings = append(out.Findings, f)
	}
	slices.SortFunc(out.Findings, byOpening)
	return out
}

func byOpening(a, b condition.Finding) int {
	return cmp.Or(a.OpenedAt.Compare(b.OpenedAt), strings.Compare(a.ID, b.ID))
}
