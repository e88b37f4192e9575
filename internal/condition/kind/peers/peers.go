// Package peers is the kind of detector that compares a unit with units like
// it, once a period: a finding opens on a unit that lies, or has moved, further
// off than the budget of false alarms allows, in two periods in a row; it clears
// after three back among its peers. What moves all of them is nobody's finding.
//
// Periods are of receive time by the unit's own clock set right (event time plus
// the least time that its rows took), and are judged when a 24th of the next one
// has passed: what comes later is left out. Peers have attributes and software
// version in common; where they are too few the cohort is widened, attribute by
// attribute. A unit is compared within cohorts of each width all the time, so
// that one that leaves a narrow cohort is known in the wider one.
//
// A version report, maintenance and a change of owner begin a unit anew.
package peers

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect/peers"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Kind is this kind's entry in the table of kinds.
var Kind = kind.Kind{Compile: compile, Rows: true}

// rule is a detector version ready to run. It keeps which units there are, and
// which period was judged last.
type rule struct {
	kind.Base
	signal  string
	measure string // the signal's unit
	index   int
	when    *expression.Expression
	gap     int64
	by      []string
	config  peers.Config

	members map[*kind.Watch]struct{}
	judged  int64 // the newest period judged
	begun   bool  // judged counts
}

// state is one unit's under the rule.
type state struct {
	newest  int64 // event time of the newest reading; 0: none
	means   peers.Means
	units   []peers.Unit // against cohorts of each width, the narrowest first
	first   int64        // receive time of the first period in a row outside
	outside uint8        // periods in a row
	inside  uint8        // periods in a row well within
}

const (
	toOpen  = 2 // periods in a row
	toClear = 3
	well    = 0.75 // of what is outside
	mostBy  = 4
)

// Version stands for the version of a unit's software in spec.Peers.By.
const Version = "version"

func compile(c *kind.Checks, p *fleet.Product, d *kind.Detector, b kind.Basis) kind.Rule {
	r := &rule{gap: time.Duration(b.Gap).Milliseconds(), members: map[*kind.Watch]struct{}{}}
	s := d.Peers
	if s == nil {
		c.Add("spec.peers", "what is compared: a signal", "nothing")
		return r
	}
	if sig, ok := p.Signal(s.Signal); !ok || sig.Type != fleet.Number {
		c.Add("spec.peers.signal", "a numeric signal of product "+p.Name+kind.List(kind.Numeric(p, d.Purpose)), s.Signal)
	} else {
		c.Purpose(p, d, &sig, "spec.peers.signal", fmt.Sprintf("a signal that is collected for purpose %q", d.Purpose), sig.Name)
		r.signal, r.measure = sig.Name, sig.Unit
	}
	for i, name := range s.By {
		if name == "" || slices.Contains(s.By[:i], name) {
			c.Add(fmt.Sprintf("spec.peers.by[%d]", i), "version, hardware, batch, region or another attribute of units, each once", name)
		}
	}
	if len(s.By) > mostBy {
		c.Add("spec.peers.by", fmt.Sprintf("at most %d attributes", mostBy), fmt.Sprint(len(s.By)))
	}
	r.by = s.By
	r.when = c.Expression(p, d, s.When, "spec.peers.when", "spec.peers.when")
	period := time.Duration(s.Period)
	if period == 0 {
		period = spec.DefaultPeriod
	}
	if period < spec.LeastPeriod {
		c.Add("spec.peers.period", "a time of 1m or more", s.Period.String())
		period = spec.DefaultPeriod
	}
	if s.Minimum != 0 && s.Minimum < spec.LeastMinimum {
		c.Add("spec.peers.minimum", fmt.Sprintf("%d or more units: fewer have no middle to rely on", spec.LeastMinimum), fmt.Sprint(s.Minimum))
	}
	budget, err := s.Budget.Rate()
	if err != nil {
		c.Add("spec.peers.budget", err.Error(), string(s.Budget))
	}
	c.Number("spec.peers.matters", s.Matters, 0, math.Inf(1))
	r.config = peers.Config{Period: period.Milliseconds(), Minimum: s.Minimum, Budget: budget, Matters: s.Matters}.With()
	return r
}

// Bind looks up where the signals stand.
func (r *rule) Bind(b *kind.Binder) {
	r.index = b.Index(r.signal)
	r.when = b.Share(r.when, r.gap)
}

// New is a unit of which nothing has been seen.
func (r *rule) New() kind.State { return &state{units: make([]peers.Unit, len(r.by)+1)} }

// Join takes a unit in.
func (r *rule) Join(_ *kind.Desk, w *kind.Watch) { r.members[w] = struct{}{} }

// Leave lets it go.
func (r *rule) Leave(_ *kind.Desk, w *kind.Watch) { delete(r.members, w) }

// Row takes a reading.
func (r *rule) Row(d *kind.Desk, w *kind.Watch, row *telemetry.Row) (judged bool) {
	s, v := w.State.(*state), &w.Unit.Values[r.index]
	if v.At != row.Event || math.IsNaN(v.Number) || s.newest == row.Event && row.Event != 0 {
		return false
	}
	if holds, known := r.when.Eval(w.Unit.Values, row.Event, r.gap, d.Turn); !holds || !known {
		return known
	}
	s.newest = row.Event
	if period := r.period(row.Event + w.Unit.Lag); !r.begun || period > r.judged {
		s.means.Add(period, v.Number)
	}
	return true
}

func (r *rule) period(at int64) int64 {
	p := at / r.config.Period
	if at%r.config.Period < 0 {
		p--
	}
	return p
}

// Tick judges the periods that are over.
func (r *rule) Tick(d *kind.Desk, at int64) {
	over := r.period(at-r.config.Period/24) - 1
	if !r.begun {
		r.begun, r.judged = true, over-1
	}
	// Means hold two periods: of those before, in a time without ticks, nothing
	// is known.
	for p := max(r.judged+1, over-1); p <= over; p++ {
		r.judge(d, p, at)
	}
	r.judged = max(r.judged, over)
}

// member is a unit with a mean in the period.
type member struct {
	watch *kind.Watch
	state *state
	mean  float64
	keys  []string // of its cohorts, the narrowest first
}

// judge compares all units in one period.
func (r *rule) judge(d *kind.Desk, period, at int64) {
	var all []member
	for w := range r.members {
		s := w.State.(*state)
		if mean, ok := s.means.Value(period); ok {
			all = append(all, member{w, s, mean, r.cohorts(w.Unit)})
		}
	}
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(a.watch.Unit.Key, b.watch.Unit.Key) })
	verdicts, widths := make([]peers.Verdict, len(all)), make([]int, len(all))
	for width := len(r.by); width >= 0; width-- { // narrower ones count more: they come last
		cohorts := map[string][]int{}
		for i := range all {
			cohorts[all[i].keys[width]] = append(cohorts[all[i].keys[width]], i)
		}
		for _, of := range cohorts {
			units, means := make([]*peers.Unit, len(of)), make([]float64, len(of))
			for j, i := range of {
				units[j], means[j] = &all[i].state.units[width], all[i].mean
			}
			for j, v := range r.config.Judge(units, means) {
				if v.Score > 0 {
					verdicts[of[j]], widths[of[j]] = v, width
				}
			}
		}
	}
	for i := range all {
		r.found(d, &all[i], &verdicts[i], widths[i], period, at)
		d.Touch(all[i].watch.Unit)
	}
}

// cohorts are the keys of a unit's cohorts, as Cohorts has them.
func (r *rule) cohorts(u *kind.Unit) []string {
	return Cohorts(r.by, func(name string) string { return common(u, name) })
}

// Cohorts are the keys of a unit's cohorts: by all attributes, then by one less
// each time, down to none.
func Cohorts(by []string, value func(name string) string) []string {
	keys := make([]string, len(by)+1)
	var b strings.Builder
	for i, name := range by {
		fmt.Fprintf(&b, "%q,", value(name))
		keys[len(by)-1-i] = b.String()
	}
	return keys
}

// common is what a unit has in common with its peers by an attribute.
func common(u *kind.Unit, name string) string {
	if name == Version {
		return u.Versions[fleet.MainComponent]
	}
	return u.Attributes[name]
}

// found opens and closes a unit's finding by what a period says.
func (r *rule) found(d *kind.Desk, m *member, v *peers.Verdict, width int, period, at int64) {
	s, w := m.state, m.watch
	begin, end := period*r.config.Period-w.Unit.Lag, (period+1)*r.config.Period-w.Unit.Lag
	switch {
	case v.Outside():
		if s.outside == 0 {
			s.first = begin
		}
		s.outside, s.inside = min(s.outside+1, toOpen), 0
	case v.Score > 0 && (v.Score < well || v.Back()):
		s.outside, s.inside = 0, min(s.inside+1, toClear)
	default:
		s.outside, s.inside = 0, 0
	}
	switch {
	case w.Finding == nil && s.outside >= toOpen:
		f := d.Open(w, s.first, end, at)
		f.Peak, f.Why = v.Off, r.why(w.Unit, v, width)
	case w.Finding != nil && s.outside > 0:
		peak := w.Finding.Peak
		if math.Abs(v.Off) > math.Abs(peak) {
			peak = v.Off
		}
		d.Continue(w, end, peak)
	case w.Finding != nil && s.inside >= toClear:
		d.Close(w, end, "among its peers again for "+words.Span(toClear*time.Duration(r.config.Period)*time.Millisecond))
	}
}

// why tells the evidence.
func (r *rule) why(u *kind.Unit, v *peers.Verdict, width int) string {
	way := "above"
	if v.Off < 0 {
		way = "below"
	}
	off, spread := r.figure(math.Abs(v.Off), v.Spread), r.figure(v.Spread, v.Spread)
	of := fmt.Sprintf("%d other %s", v.Peers-1, r.like(u, width))
	span := words.Span(time.Duration(peers.Memory*r.config.Period) * time.Millisecond)
	if v.Changed {
		verb := "risen"
		if v.Off < 0 {
			verb = "fallen"
		}
		return fmt.Sprintf("%s has %s by %s against the middle of %s, since its first %s: %.1f times as much as they usually differ by (%s); now %s, the middle %s",
			r.signal, verb, off, of, span, math.Abs(v.Off)/v.Spread, spread, r.figure(v.Value, v.Spread), r.figure(v.Middle, v.Spread))
	}
	return fmt.Sprintf("%s lies %s %s the middle of %s, over up to %s: %.1f times as much as they usually differ by (%s); now %s, the middle %s",
		r.signal, off, way, of, span, math.Abs(v.Off)/v.Spread, spread, r.figure(v.Value, v.Spread), r.figure(v.Middle, v.Spread))
}

// like says which units the peers are.
func (r *rule) like(u *kind.Unit, width int) string {
	var same []string
	for _, name := range r.by[:len(r.by)-width] {
		if value := common(u, name); value != "" {
			same = append(same, name+" "+value)
		} else {
			same = append(same, "no known "+name)
		}
	}
	switch {
	case len(same) == 0 && len(r.by) == 0:
		return "units of the product"
	case len(same) == 0:
		return "units of the product (too few are alike)"
	case width > 0:
		return "units of " + strings.Join(same, ", ") + " (too few are like it in " + strings.Join(r.by[len(r.by)-width:], ", ") + " too)"
	}
	return "units of " + strings.Join(same, ", ")
}

// figure writes a value to about a tenth of the spread.
func (r *rule) figure(v, spread float64) string {
	return words.Measured(words.Round(v, spread), r.measure)
}
