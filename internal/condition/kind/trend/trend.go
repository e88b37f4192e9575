// Package trend is the kind of detector that foresees when a signal will reach
// a limit: a finding opens when that is within the horizon, and says when, with
// an 80 % interval; where the past does not support a forecast it keeps quiet.
// What lies beyond the limit already is a tolerance's to find.
//
// A forecast is made each time that two buckets (each a 64th of the horizon)
// are full; of a short past, and once one would change the finding's state, with
// each bucket.
// Two in a row must be within the horizon before a finding opens, and three in a
// row without before it clears. A version report, maintenance and a change of
// owner begin it anew.
package trend

import (
	"fmt"
	"math"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/detect/trend"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Kind is this kind's entry in the table of kinds.
var Kind = kind.Kind{Compile: compile, Basis: basis, Rows: true, Apart: true}

// Rule is a detector version ready to run.
type Rule struct {
	kind.Base
	Signal  string
	measure string // the signal's unit
	index   int    // of the signal among the product's watched ones
	bands   []band
	when    *expression.Expression
	gap     int64
	horizon time.Duration
	by      spec.Bound
	config  trend.Config
	looks   bool // see LookOnly
}

type band struct {
	when   *expression.Expression
	limits detect.Limits
}

// state is one unit's under the rule.
type state struct {
	tracker *trend.Tracker
	limits  detect.Limits // that applied at the newest reading
	newest  int64         // event time of the newest reading; 0: none
	first   int64         // event time of the first forecast in a row within the horizon
	within  uint8         // forecasts in a row within the horizon
	without uint8         // forecasts in a row without
}

const (
	toOpen  = 2 // forecasts in a row
	toClear = 3
	buckets = 64 // in a horizon
	patient = 2  // buckets from forecast to forecast while nothing changes
	young   = 32 // buckets kept of a past that is so short that each one more tells much

	leastHorizon = time.Minute
)

func basis(p *fleet.Product, d *kind.Detector, b *kind.Basis) {
	if d.Trend != nil && d.Trend.Tolerance != "" {
		b.Tolerance, _ = p.Tolerance(d.Trend.Tolerance)
	}
}

func compile(c *kind.Checks, p *fleet.Product, d *kind.Detector, b kind.Basis) kind.Rule {
	r := &Rule{gap: time.Duration(b.Gap).Milliseconds()}
	t := d.Trend
	if t == nil {
		c.Add("spec.trend", "what it foresees: a tolerance, or a signal with min or max, and a horizon", "nothing")
		return r
	}
	switch {
	case t.Tolerance != "" && (t.Signal != "" || t.Min != nil || t.Max != nil):
		c.Add("spec.trend.tolerance", "a tolerance, or a signal with min or max, not both", t.Tolerance)
	case t.Tolerance != "":
		r.tolerance(c, p, d, b.Tolerance)
	default:
		r.limits(c, p, d)
	}
	r.when = c.Expression(p, d, t.When, "spec.trend.when", "spec.trend.when")
	r.horizon = time.Duration(t.Horizon)
	if r.horizon < leastHorizon {
		c.Add("spec.trend.horizon", "how long before the limit to warn, at least 1m", t.Horizon.String())
	}
	switch r.by = t.By; r.by {
	case "":
		r.by = spec.ByMedian
	case spec.ByMedian, spec.ByEarliest:
	default:
		c.Add("spec.trend.by", "median or earliest", string(t.By))
	}
	r.config.Bucket = r.horizon.Milliseconds() / buckets
	switch t.Cycle {
	case "", spec.CycleDaily:
		r.config.Season = trend.Daily
	case spec.CycleWeekly:
		r.config.Season = trend.Weekly
	case spec.CycleNone:
	default:
		c.Add("spec.trend.cycle", "daily, weekly or none", string(t.Cycle))
	}
	return r
}

func (r *Rule) tolerance(c *kind.Checks, p *fleet.Product, d *kind.Detector, t fleet.Tolerance) {
	if t.Signal == "" || t.Rate != 0 || t.Breach != "" {
		var names []string
		for _, t := range p.Tolerances {
			if t.Signal != "" && t.Rate == 0 && t.Breach == "" {
				names = append(names, t.Name)
			}
		}
		c.Add("spec.trend.tolerance", "a tolerance of product "+p.Name+" with limits for a signal"+kind.List(names), d.Trend.Tolerance)
		return
	}
	r.signal(c, p, d, t.Signal, "spec.trend.tolerance")
	for i, b := range t.Bands {
		path := fmt.Sprintf("product %s: spec.tolerances[%s].bands[%d].when", p.Name, t.Name, i)
		r.bands = append(r.bands, band{c.Expression(p, d, b.When, path, "spec.trend.tolerance"), between(b.Min, b.Max)})
	}
}

func (r *Rule) limits(c *kind.Checks, p *fleet.Product, d *kind.Detector) {
	t := d.Trend
	if t.Min == nil && t.Max == nil {
		c.Add("spec.trend.max", "a limit: min, max or both, or a tolerance in place of signal", "nothing")
	}
	l := between(t.Min, t.Max)
	if l.Min >= l.Max {
		c.Add("spec.trend.max", "more than min, "+words.Number(l.Min), words.Number(l.Max))
	}
	r.signal(c, p, d, t.Signal, "spec.trend.signal")
	r.bands = []band{{nil, l}}
}

func (r *Rule) signal(c *kind.Checks, p *fleet.Product, d *kind.Detector, name, path string) {
	s, ok := p.Signal(name)
	if !ok || s.Type != fleet.Number {
		c.Add(path, "a numeric signal of product "+p.Name+kind.List(kind.Numeric(p, d.Purpose)), name)
		return
	}
	c.Purpose(p, d, &s, path, fmt.Sprintf("a signal that is collected for purpose %q", d.Purpose), s.Name)
	r.Signal, r.measure = s.Name, s.Unit
}

func between(low, high *float64) detect.Limits {
	l := detect.Limits{Min: math.Inf(-1), Max: math.Inf(1)}
	if low != nil {
		l.Min = *low
	}
	if high != nil {
		l.Max = *high
	}
	return l
}

// Bind looks up where the signals stand.
func (r *Rule) Bind(b *kind.Binder) {
	r.index = b.Index(r.Signal)
	r.when = b.Share(r.when, r.gap)
	for i := range r.bands {
		r.bands[i].when = b.Share(r.bands[i].when, r.gap)
	}
}

// New is a unit of which nothing has been seen.
func (r *Rule) New() kind.State { return &state{tracker: trend.New(r.config)} }

// Row takes a reading; when a bucket is full it forecasts.
func (r *Rule) Row(d *kind.Desk, w *kind.Watch, row *telemetry.Row) (judged bool) {
	s, v := w.State.(*state), &w.Unit.Values[r.index]
	if v.At != row.Event || math.IsNaN(v.Number) || s.newest == row.Event && row.Event != 0 {
		return false
	}
	if holds, known := r.when.Eval(w.Unit.Values, row.Event, r.gap, d.Turn); !holds || !known {
		return known
	}
	limits, applies, known := r.band(w.Unit.Values, row.Event, d.Turn)
	if !applies {
		return known
	}
	due := s.changing(w) || s.tracker.Len() < young || s.newest/(patient*r.config.Bucket) != row.Event/(patient*r.config.Bucket)
	s.newest, s.limits = row.Event, limits
	if s.tracker.Add(row.Event, v.Number) && due && !r.looks {
		r.judge(d, w, s, row)
	}
	return true
}

// changing says that the newest forecast spoke against the finding's state:
// whether it opens or clears is to be known soon. Otherwise a forecast costs too
// much (as ten thousand rows) to be made as often.
func (s *state) changing(w *kind.Watch) bool {
	if w.Finding != nil {
		return s.without > 0
	}
	return s.within > 0
}

// shared is what rules have foreseen of one unit within a turn. Thresholds that
// are tried side by side, and detectors of one signal, mostly ask the same.
type shared struct {
	turn uint64
	made []foreseen
}

type foreseen struct {
	by     *trend.Tracker
	limits detect.Limits
	out    Outlook
}

// outlook is the forecast now, if need be made by another rule.
func (s *state) outlook(d *kind.Desk) Outlook {
	m, ok := d.Shared.(*shared)
	if !ok {
		m = new(shared)
		d.Shared = m
	}
	if m.turn != d.Turn {
		m.turn, m.made = d.Turn, m.made[:0]
	}
	for i := range m.made {
		if f := &m.made[i]; f.limits == s.limits && f.by.Same(s.tracker) {
			return f.out
		}
	}
	out := outlook(s.tracker, s.limits)
	m.made = append(m.made, foreseen{s.tracker, s.limits, out})
	return out
}

// band is the first one whose context holds. It is not known which applies when
// a context before it is unknown.
func (r *Rule) band(values []expression.Reading, at int64, turn uint64) (l detect.Limits, applies, known bool) {
	for i := range r.bands {
		holds, known := r.bands[i].when.Eval(values, at, r.gap, turn)
		if !known {
			return l, false, false
		}
		if holds {
			return r.bands[i].limits, true, true
		}
	}
	return l, false, true
}

// Outlook is the forecast for the limit that will be reached first.
type Outlook struct {
	trend.Forecast
	Limit trend.Limit
}

// outlook forecasts both limits; without support for either it gives the reason
// of the nearer one.
func outlook(t *trend.Tracker, l detect.Limits) Outlook {
	var limits []trend.Limit
	if !math.IsInf(l.Max, 1) {
		limits = append(limits, trend.Limit{Value: l.Max, Upper: true})
	}
	if !math.IsInf(l.Min, -1) {
		limits = append(limits, trend.Limit{Value: l.Min})
	}
	var out Outlook
	for i, f := range t.Forecasts(limits...) {
		next := Outlook{f, limits[i]}
		if i == 0 || next.sooner(&out) {
			out = next
		}
	}
	return out
}

func (o *Outlook) sooner(than *Outlook) bool {
	if (o.Support == trend.Supported) != (than.Support == trend.Supported) {
		return o.Support == trend.Supported
	}
	if o.Support == trend.Supported {
		return o.Median < than.Median
	}
	return math.Abs(o.Limit.Value-o.Level) < math.Abs(than.Limit.Value-than.Level)
}

func (r *Rule) judge(d *kind.Desk, w *kind.Watch, s *state, row *telemetry.Row) {
	o := s.outlook(d)
	counts := o.Median
	if r.by == spec.ByEarliest {
		counts = o.Low
	}
	if o.Support == trend.Supported && counts <= r.horizon || o.Support == trend.Beyond && w.Finding != nil {
		if s.within == 0 {
			s.first = o.At
		}
		s.within, s.without = min(s.within+1, toOpen), 0
	} else {
		s.within, s.without = 0, min(s.without+1, toClear)
	}
	switch {
	case w.Finding != nil && s.without >= toClear:
		d.Close(w, row.Event, r.cleared(&o, counts))
	case w.Finding != nil && s.within > 0:
		d.Continue(w, o.At, nearer(o.Limit, o.Level, w.Finding.Peak))
	case w.Finding == nil && s.within >= toOpen:
		f := d.Open(w, s.first, row.Event, row.Received)
		f.Peak, f.LastAt = o.Level, kind.Moment(o.At)
		f.Why = r.why(&o)
	}
}

// nearer is the value that is nearer to a limit, or further beyond it.
func nearer(l trend.Limit, a, b float64) float64 {
	if l.Upper {
		return math.Max(a, b)
	}
	return math.Min(a, b)
}

func (r *Rule) why(o *Outlook) string {
	verb, gone := "rise", "rising"
	if !o.Limit.Upper {
		verb, gone = "fall", "falling"
	}
	at := func(d time.Duration) string { return words.Instant(kind.Moment(o.At).Add(d)) }
	why := fmt.Sprintf("%s will probably %s to %s in %s, about %s; with 80 %% probability in %s to %s (%s to %s)",
		r.Signal, verb, words.Measured(o.Limit.Value, r.measure), words.Span(o.Median), at(o.Median),
		words.Span(o.Low), words.Span(o.High), at(o.Low), at(o.High))
	now := fmt.Sprintf("; it is at %s", words.Measured(words.Round(o.Level, o.Noise), r.measure))
	if per, unit := pace(o); per != 0 && (per > 0) == o.Limit.Upper {
		now += fmt.Sprintf(" and %s by %s %s", gone, words.Measured(math.Abs(per), r.measure), unit)
	}
	return why + now
}

// pace is the slope in the unit of time that suits the forecast.
func pace(o *Outlook) (v float64, unit string) {
	switch {
	case o.Median > 4*24*time.Hour:
		return round(o.Slope * 24), "a day"
	case o.Median > 4*time.Hour:
		return round(o.Slope), "an hour"
	default:
		return round(o.Slope / 60), "a minute"
	}
}

// round keeps two digits.
func round(v float64) float64 { return words.Round(v, math.Abs(v)/2) }

func (r *Rule) cleared(o *Outlook, counts time.Duration) string {
	if o.Support == trend.Supported {
		return fmt.Sprintf("the limit is now expected to be reached in %s only, later than the horizon of %s", words.Span(counts), words.Span(r.horizon))
	}
	return r.Signal + ": " + o.Support.String()
}

// LookOnly says that nothing is to be found, and only Look will be asked: a
// forecast costs as much as ten thousand rows.
func (r *Rule) LookOnly() { r.looks = true }

// Look is what the rule foresees of a watch now, without changing it; ok is
// false before the first reading.
func (r *Rule) Look(w *kind.Watch) (o Outlook, ok bool) {
	s := w.State.(*state)
	if s.newest == 0 {
		return Outlook{}, false
	}
	return outlook(s.tracker, s.limits), true
}
