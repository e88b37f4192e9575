// Package multivariate watches several signals of one unit together, row by
// row, and says when they leave what the unit has shown to be usual.
//
// Each signal is followed on up to three channels: its level, how much it moves
// from one row to the next, and, where others explain most of its movements,
// what they don't explain. On each channel means over a short, a middle and a
// longer time (EWMA charts: Roberts 1959, "Control Chart Tests Based on
// Geometric Moving Averages"; Lucas and Saccucci 1990) are compared with a
// reference. What a mean is measured by is learned from the unit's first rows:
// the variance between neighbouring stretches of the same length, which says
// what noise does whatever its correlation, and the variance of such stretches
// about the middle of all, which says how far the signal wanders when nothing
// is wrong. A signal that does nothing but wander has shown few independent
// values, so its deviations are read as Student's t of few degrees of freedom
// (to the normal scale by Wallace 1959, "Bounds on Normal Approximations to
// Student's and the Chi-Square Distributions"): a drifting temperature has to
// go much further than a steady flow.
//
// The reference is the state of a local level model, followed by a Kalman
// filter (Harvey 1989, "Forecasting, Structural Time Series Models and the
// Kalman Filter", section 2.3): it stands still in an alarm and while one is
// in doubt, and is unsure of itself after one, so that a repaired unit need not
// come back to the very level it left. What exceeds a soft threshold on any
// channel is squared and summed over the signals, as few signals move in most
// faults (Xie and Siegmund 2013, "Sequential multi-sensor change-point
// detection", has the idea).
//
// What the hour of the day or of the week explains of a signal is taken out
// first, as soon as some days or weeks have shown it to explain something.
//
// All lengths are shares of the warm-up, so that a recording sampled twice as
// often, learned from for as long a time, is judged alike. Nothing depends on
// a signal's unit of measure, sign, zero, name or place.
package multivariate

import (
	"math"
	"slices"
)

// DefaultWarmup is how many rows are learned from unless it is said.
const DefaultWarmup = 400

// Fewer rows teach too little; of more, the first are enough.
const leastWarmup, mostWarmup = 40, 2000

// A Result is what one row brought.
type Result struct {
	// Level is how far out the row is: 1 is at the budget, 0 is usual.
	Level float64
	// Alarm is the state: true from the row on which Level reached 1 until what
	// moved is back, or until the new level is the usual one.
	Alarm bool
	// Top is the signal that contributed most to Level, -1 if there is none.
	Top int
	// Contributions are the signals' shares in Level, summing to 1; all zero if
	// there is none. They are valid until the next Step.
	Contributions []float64
}

// A Detector watches the signals of one unit.
type Detector struct {
	t       tuning
	warmup  int
	signals []signal
	shares  []float64
	state   state
	mutual  relations
	waited  int // rows since the first signal was known, until mutual begins
}

// New returns a detector of so many signals, at least one, that learns from
// the first warmup readings of each, from 40 at least and 2,000 at most; 0 is
// DefaultWarmup.
func New(signals, warmup int) *Detector {
	if signals < 1 {
		panic("multivariate: a detector needs a signal")
	}
	if warmup <= 0 {
		warmup = DefaultWarmup
	}
	warmup = min(max(warmup, leastWarmup), mostWarmup)
	return &Detector{t: standard, warmup: warmup, signals: make([]signal, signals), shares: make([]float64, signals)}
}

// Signals is how many values a row has.
func (d *Detector) Signals() int { return len(d.signals) }

// Judges says that rows are judged: a signal has been learned, or has kept to
// one value for so long that its first change is told.
func (d *Detector) Judges() bool {
	return d.Learned() || slices.ContainsFunc(d.signals, func(s signal) bool { return s.level.past.count == d.warmup })
}

// Learned says that a signal has been learned.
func (d *Detector) Learned() bool {
	return slices.ContainsFunc(d.signals, func(s signal) bool { return s.level.known })
}

// Step is StepAt for a row without a time.
func (d *Detector) Step(values []float64, rate float64) Result {
	return d.StepAt(NoTime, values, rate)
}

// limit is what readings beyond are taken for, so that squares of differences are numbers.
const limit = 1e100

// reading is a value as it is counted; not ok: a gap.
func reading(v float64) (f float64, ok bool) {
	return max(-limit, min(limit, v)), !math.IsNaN(v) && !math.IsInf(v, 0)
}

// StepAt takes a row: its time in Unix milliseconds, a value for each signal,
// NaN or an infinity where there is a gap, and how many false episodes a row the
// budget allows.
func (d *Detector) StepAt(at int64, values []float64, rate float64) Result {
	res := Result{Top: -1, Contributions: d.shares, Alarm: d.state.open}
	sum, known, seen := 0.0, 0, false
	for i := range d.signals {
		if v, ok := reading(values[i]); !ok {
			d.signals[i].miss(&d.t, d.warmup)
		} else {
			d.signals[i].take(&d.t, d.warmup, at, v)
			seen = true
		}
	}
	whole := d.relate(values)
	for i := range d.signals {
		s := &d.signals[i]
		excess := s.excess(&d.t, d.state.open)
		d.shares[i] = excess * excess
		sum += d.shares[i]
		if d.shares[i] > 0 && (res.Top < 0 || d.shares[i] > d.shares[res.Top]) {
			res.Top = i
		}
		if s.level.known {
			known++
		}
	}
	if !seen {
		res.Top = -1
		clear(d.shares)
		return res
	}
	res.Level = math.Sqrt(sum) / d.t.bar(rate, d.warmup, max(known, 1))
	if sum > 0 {
		for i := range d.shares {
			d.shares[i] /= sum
		}
	}
	switch d.state.step(&d.t, d.warmup, res.Level) {
	case calm:
		d.each(func(c *track) { c.follow(&d.t, d.warmup) })
		if whole && d.mutual.sums != nil {
			d.mutual.learn(d.warmup)
		}
	case back:
		d.each(func(c *track) { c.returned(&d.t) })
	case accepted:
		d.each(func(c *track) { c.accept() })
		for i := range d.signals {
			d.signals[i].longest = max(d.signals[i].longest, d.signals[i].alike)
		}
	case waiting:
	}
	began := d.state.open && !res.Alarm
	res.Alarm = d.state.open
	for i := range d.signals {
		s := &d.signals[i]
		s.blame = max(0, s.blame-rate/float64(max(known, 1)))
		if began {
			s.blame += d.shares[i]
		}
	}
	return res
}

// Miss says that rows are missing before the next: how the signals moved until
// then is not how they move from row to row.
func (d *Detector) Miss() {
	for i := range d.signals {
		d.signals[i].fresh = false
	}
}

// Relevel says that the levels may have moved for a known reason, such as
// maintenance: what is open closes, and the references are found anew. What was
// learned of the signals' noise stays.
func (d *Detector) Relevel() {
	d.state = state{}
	d.each(func(c *track) { c.relevel() })
	for i := range d.signals {
		d.signals[i].fresh = false
		if c := d.signals[i].season; c != nil {
			c.sum, c.n = 0, 0 // the hour is of two levels
		}
	}
}

// relate judges how the signals moved together, if the row is whole.
func (d *Detector) relate(values []float64) (whole bool) {
	r := &d.mutual
	if d.waited <= d.warmup/4 { // for those that have missed some rows
		if d.waited > 0 || d.Learned() {
			d.waited++
		}
		if d.waited > d.warmup/4 {
			r.begin(d.signals)
		}
		return false
	}
	if r.members == nil {
		return false
	}
	for k, i := range r.members {
		if _, ok := reading(values[i]); !ok {
			return false
		}
		r.moved[k] = d.signals[i].moved
	}
	for k, i := range r.members {
		if r.own != nil && r.own[k] {
			s := &d.signals[i]
			s.rest.take(&d.t, d.warmup, math.Abs(r.residual(k)), 1+d.t.Wary*s.blame*s.blame)
		}
	}
	return true
}

// each calls f for the channels that have learned.
func (d *Detector) each(f func(*track)) {
	for i := range d.signals {
		for _, c := range [...]*track{&d.signals[i].level, &d.signals[i].motion, &d.signals[i].rest} {
			if c.known {
				f(c)
			}
		}
	}
}
