// Package anomaly is the kind of detector that finds a unit that behaves as it
// never did: one signal or several together, learned from the unit itself, to a
// budget of false alarms (package detect/anomaly).
//
// A version report or maintenance lets its levels move and keeps its habits; the
// replacement of a part begins it anew, as a change of owner does. Rows out of order are not
// judged: what is learned rests on order.
package anomaly

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/detect/code"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect/anomaly"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Kind is this kind's entry in the table of kinds.
var Kind = kind.Kind{Compile: compile, Basis: basis, Rows: true, Apart: true}

const (
	// mostSignals bounds what one detector watches together.
	mostSignals = 64
	// mostModes bounds the modes that are learned by themselves; all others are
	// learned as one.
	mostModes = 8
	// others is the mode of all beyond.
	others = "\x00others"
	// usualRows is about how many rows what is usual is averaged over.
	usualRows = 500
)

// Rule is a detector version ready to run.
type Rule struct {
	kind.Base
	signals []signal
	config  anomaly.Config
	warmup  int64
	gap     int64
	when    *expression.Expression
	mode    int // place of the signal, -1: none
	text    bool

	values []float64 // scratch of a row
}

type signal struct {
	name, measure string
	index         int
}

// state is one unit's under the rule.
type state struct {
	first int64 // event time of the first row learned from; 0: none
	last  int64 // of the newest
	modes []mode
}

// mode is what is learned of one operating mode.
type mode struct {
	name   string
	engine *anomaly.Detector
	usual  []usual
}

// usual is about where a signal was, in words: a mean and a mean distance from
// it, of rows that were not anomalous.
type usual struct{ n, mean, away float64 }

func basis(p *fleet.Product, d *kind.Detector, b *kind.Basis) {
	if d.Anomaly == nil || len(d.Anomaly.Signals) == 0 {
		b.Signals = kind.Numeric(p, d.Purpose)
	}
}

func compile(c *kind.Checks, p *fleet.Product, d *kind.Detector, basis kind.Basis) kind.Rule {
	declared := d.Anomaly
	if declared == nil {
		declared = &spec.Anomaly{}
	}
	r := &Rule{mode: -1, gap: time.Duration(basis.Gap).Milliseconds(), warmup: time.Duration(declared.Warmup).Milliseconds()}
	if declared.Warmup == 0 {
		r.warmup = spec.DefaultWarmup.Milliseconds()
	}
	if declared.Warmup < 0 {
		c.Add("spec.anomaly.warmup", "a duration, as 7d", declared.Warmup.String())
	}
	names := declared.Signals
	if len(names) == 0 {
		names = basis.Signals
		if len(names) == 0 {
			c.Add("spec.anomaly.signals", "numeric signals of product "+p.Name+" that are collected for purpose "+d.Purpose, "none")
		}
	} else {
		c.Signals(p, d, names, "spec.anomaly.signals")
	}
	if len(names) > mostSignals {
		c.Add("spec.anomaly.signals", fmt.Sprintf("at most %d signals watched together", mostSignals), fmt.Sprint(len(names)))
	}
	for _, name := range names {
		if s, ok := p.Signal(name); ok {
			r.signals = append(r.signals, signal{name: name, measure: s.Unit})
		}
	}
	budget, err := declared.Budget.Rate()
	if err != nil {
		c.Add("spec.anomaly.budget", err.Error(), string(declared.Budget))
	}
	if budget == 0 {
		budget = spec.DefaultAlarms
	}
	r.config.Budget = budget
	r.when = c.Expression(p, d, declared.When, "spec.anomaly.when", "spec.anomaly.when")
	if declared.Mode != "" {
		s, ok := p.Signal(declared.Mode)
		if !ok {
			c.Add("spec.anomaly.mode", "a signal of product "+p.Name+kind.List(kind.Each(p.Signals, func(s fleet.Signal) string { return s.Name })), declared.Mode)
			return r
		}
		c.Purpose(p, d, &s, "spec.anomaly.mode", fmt.Sprintf("a signal that is collected for purpose %q", d.Purpose), fmt.Sprintf("%s, collected for %s", s.Name, strings.Join(s.Purposes, ", ")))
		r.mode, r.text = 0, s.Type == fleet.Text
		r.signals = append(r.signals, signal{name: s.Name}) // taken out again by Bind
	}
	return r
}

// Bind looks up where the signals stand.
func (r *Rule) Bind(b *kind.Binder) {
	r.when = b.Share(r.when, r.gap)
	for i := range r.signals {
		r.signals[i].index = b.Index(r.signals[i].name)
	}
	if r.mode >= 0 {
		n := len(r.signals) - 1
		r.mode, r.signals = r.signals[n].index, r.signals[:n]
	}
	r.values = make([]float64, len(r.signals))
}

// New is a unit of which nothing is known.
func (r *Rule) New() kind.State { return &state{} }

// Inherit keeps the habits of a unit that was updated or serviced.
func (r *Rule) Inherit(old kind.State, m *telemetry.Mark) kind.State {
	change := anomaly.Update
	if m.Kind == telemetry.MarkMaintained {
		change = anomaly.Maintenance
		if _, done, _ := strings.Cut(m.Text, "="); done == "replacement" || done == "installation" {
			return r.New()
		}
	}
	s := old.(*state)
	s.first = 0 // it is learned from for a while before anything is found
	for i := range s.modes {
		s.modes[i].engine.Reset(change)
		clear(s.modes[i].usual)
	}
	return s
}

// Row learns from a row, and judges it.
func (r *Rule) Row(d *kind.Desk, w *kind.Watch, row *telemetry.Row) (judged bool) {
	s, values := w.State.(*state), w.Unit.Values
	if s.last == row.Event && s.first != 0 {
		return false // the rest of a row that came in parts
	}
	news := false
	for i := range r.signals {
		v := &values[r.signals[i].index]
		r.values[i] = math.NaN()
		if v.At != math.MinInt64 && row.Event-v.At <= r.gap && (len(r.signals) > 1 || v.At == row.Event) {
			r.values[i] = v.Number
			news = news || v.At == row.Event
		}
	}
	if !news {
		return false
	}
	if holds, known := r.when.Eval(values, row.Event, r.gap, d.Turn); !holds || !known {
		return known
	}
	m := r.in(s, values, row.Event)
	if m == nil {
		return false
	}
	if s.first == 0 {
		s.first = row.Event
	}
	s.last = row.Event
	res := m.engine.Step(row.Event, r.values)
	r.judge(d, w, s, m, row, &res)
	if !res.Alarm {
		m.learn(r.values)
	}
	return true
}

// in is the mode that a row is of; nil while that is unknown.
func (r *Rule) in(s *state, values []expression.Reading, at int64) *mode {
	name := ""
	if r.mode >= 0 {
		v := &values[r.mode]
		if v.At == expression.Never || at-v.At > r.gap {
			return nil
		}
		if name = v.Text; !r.text {
			name = words.Number(math.Round(v.Number))
		}
	}
	for i := range s.modes {
		if s.modes[i].name == name || s.modes[i].name == others {
			return &s.modes[i]
		}
	}
	if len(s.modes) == mostModes-1 {
		name = others
	}
	s.modes = append(s.modes, mode{name, anomaly.New(len(r.signals), r.config), make([]usual, len(r.signals))})
	return &s.modes[len(s.modes)-1]
}

// judge says what the engine has found.
func (r *Rule) judge(d *kind.Desk, w *kind.Watch, s *state, m *mode, row *telemetry.Row, res *anomaly.Result) {
	f := w.Finding
	switch {
	case f == nil && res.Onset && row.Event-s.first >= r.warmup:
		f = d.Open(w, row.Event, row.Event, row.Received)
		f.Peak = res.Score
		f.Why = r.why(m, res)
	case f != nil && !res.Alarm:
		d.Close(w, row.Event, "as usual again, or for so long that this is usual now")
	case f != nil:
		d.Continue(w, row.Event, max(f.Peak, res.Level))
	}
}

// told is how many signals evidence names.
const told = 3

// why names the signals that contributed most, with where they usually are.
func (r *Rule) why(m *mode, res *anomaly.Result) string {
	order := make([]int, 0, len(r.signals))
	for i := range r.signals {
		if i < len(res.Contributions) && res.Contributions[i] > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case res.Contributions[a] > res.Contributions[b]:
			return -1
		case res.Contributions[a] < res.Contributions[b]:
			return 1
		}
		return 0
	})
	if len(order) == 0 && res.Top >= 0 {
		order = append(order, res.Top)
	}
	parts := make([]string, 0, told)
	for _, i := range order[:min(told, len(order))] {
		x := &r.signals[i]
		part := x.name + " " + words.Measured(r.values[i], x.measure)
		if math.IsNaN(r.values[i]) {
			part = x.name + " missing"
		}
		if u := m.usual[i]; u.n > 1 {
			part += u.beside(r.values[i], x.measure)
		}
		if len(r.signals) > 1 && res.Contributions[i] > 0 {
			part += fmt.Sprintf(", %.0f %% of it", 100*res.Contributions[i])
		}
		parts = append(parts, part)
	}
	in := ""
	if m.name == others {
		in = " in a mode that is rare"
	} else if m.name != "" {
		in = " in mode " + m.name
	}
	return fmt.Sprintf("unusual for this unit%s: %s; score %s (above 1 is beyond the budget)", in, strings.Join(parts, "; "), words.Number(math.Round(100*res.Score)/100))
}

// beside says where a signal usually is, after its value. A value that lies
// within was found by how it moved, or by where it lies within its season.
func (u *usual) beside(v float64, measure string) string {
	low, high := u.mean-2*u.away, u.mean+2*u.away
	usually := words.Number(round(low)) + " to " + words.Measured(round(high), measure)
	if low <= v && v <= high {
		return " (within the usual " + usually + ", but not at such a time or after such a change)"
	}
	return " (usually " + usually + ")"
}

// round keeps three figures: what is usual is known no better.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	unit := math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
	return math.Round(v/unit) * unit
}

// learn takes note of where the signals are.
func (m *mode) learn(values []float64) {
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		u := &m.usual[i]
		u.n = min(u.n+1, usualRows)
		u.mean += (v - u.mean) / u.n
		if u.n > 1 {
			u.away += (math.Abs(v-u.mean) - u.away) / (u.n - 1)
		}
	}
}

// The encoding of a state, version 1: first, last, modes: count, then
// name, usual of each signal (n, mean, away), state of the engine.
const version = 1

// Encode appends the state.
func (s *state) Encode(b []byte) []byte {
	b = code.AppendInt(append(b, version), s.first, s.last)
	b = code.AppendCount(b, len(s.modes))
	for i := range s.modes {
		m := &s.modes[i]
		b = code.AppendString(b, m.name)
		for _, u := range m.usual {
			b = code.AppendFloat(code.AppendFloat(code.AppendFloat(b, u.n), u.mean), u.away)
		}
		b = code.AppendBytes(b, func(b []byte) []byte {
			b, err := m.engine.AppendBinary(b)
			if err != nil {
				panic(fmt.Sprintf("encode an anomaly detector: %v", err)) // of numbers: it cannot fail
			}
			return b
		})
	}
	return b
}

// Decode reads a state. What an earlier engine had learned cannot be read by a
// later one: it is learned anew.
func (r *Rule) Decode(data []byte) (kind.State, error) {
	in, _, err := kind.ReadState(data, version)
	if err != nil {
		return nil, err
	}
	s := &state{first: in.Int(), last: in.Int()}
	newest, err := anomaly.New(len(r.signals), r.config).MarshalBinary()
	if err != nil {
		return nil, err
	}
	for range in.Count(5, mostModes) {
		m := mode{name: in.String(), engine: anomaly.New(len(r.signals), r.config), usual: make([]usual, len(r.signals))}
		for i := range m.usual {
			m.usual[i] = usual{in.Finite(), in.Finite(), in.Finite()}
		}
		raw := in.Bytes()
		if in.Bad() || len(raw) == 0 {
			return nil, kind.ErrState
		}
		switch err := m.engine.UnmarshalBinary(raw); {
		case err != nil && raw[0] > newest[0]:
			return nil, fmt.Errorf("%w: engine version %d, this one reads %d", kind.ErrNewer, raw[0], newest[0])
		case err != nil && raw[0] == newest[0], err == nil && m.engine.Signals() != len(r.signals):
			return nil, errors.Join(kind.ErrState, err)
		case err != nil:
			s.first = 0
		}
		s.modes = append(s.modes, m)
	}
	return s, kind.End(in)
}
