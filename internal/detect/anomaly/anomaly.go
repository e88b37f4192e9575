// Package anomaly watches the readings of one unit, row by row, and says when
// they leave what the unit itself has shown to be usual. One signal is judged
// by the univariate engine, several by package multivariate. What either finds
// is calibrated to a budget of false alarms, so that a score means the same on
// every unit: 1 is what the unit shows as often as the budget allows.
//
// The detector sees each row once, in order, and keeps a bounded state: the
// same rows give the same scores, live or replayed, and what comes later
// changes none of them.
package anomaly

import (
	"math"
)

// Defaults of a Config.
const (
	DefaultBudget = 52 // episodes a unit-year: one a week
	DefaultWarmup = 0  // the detector itself finds when it has seen enough
)

// A Config is what a detector may be told. The zero value is the default.
type Config struct {
	// Budget is how many episodes a year the detector may raise on a unit
	// that behaves as it always did. 0 is DefaultBudget.
	Budget float64
	// Warmup is how many rows are learned from and score 0. At 0 the detector
	// waits until it has seen enough.
	Warmup int
}

// A Result is what one row brought.
type Result struct {
	// Score is the row's score if it is an onset: 1 is at the budget, more is
	// rarer. The rows that follow score 0 unless they outdo it, so that any
	// threshold upon the score alarms once for an episode.
	Score float64
	// Level is the score before that: how far out this row is, onset or not.
	Level float64
	// Onset says that an episode began with this row.
	Onset bool
	// Alarm is the state: true from the onset until the readings are usual again,
	// or the detector has learned that this is how it is now.
	Alarm bool
	// Top is the signal that contributed most, -1 if there is none.
	Top int
	// Contributions are the shares of the signals in Level, summing to 1; all
	// zero if there is none. They are valid until the next Step.
	Contributions []float64
}

// A Change is something done to a unit after which it need not behave as before.
type Change uint8

// The changes.
const (
	Maintenance Change = iota // serviced: levels may move, habits stay
	Replacement               // of a part: everything is learned anew
	Update                    // other software: levels and shapes may move, habits stay
	Ownership                 // another owner: habits are learned anew
)

// untimed is the time that a row stands for when rows have no time.
const untimed = 60_000

// NoTime is the time of a row that has none.
const NoTime = math.MinInt64

// A Detector watches the signals of one unit.
type Detector struct {
	cfg     Config
	signals int
	rows    int64 // seen since the newest Replacement
	last    int64 // time of the newest row
	engines []univariate
	tail    tail
	hold    hold
	shares  []float64
}

// New returns a detector of so many signals, at least one.
func New(signals int, cfg Config) *Detector {
	if signals < 1 {
		panic("anomaly: a detector needs a signal")
	}
	if cfg.Budget <= 0 {
		cfg.Budget = DefaultBudget
	}
	return &Detector{cfg: cfg, signals: signals, last: NoTime, engines: make([]univariate, signals), shares: make([]float64, signals)}
}

// Signals is how many values a row has.
func (d *Detector) Signals() int { return d.signals }

// Step takes a row: its time in Unix milliseconds (NoTime if it has none) and
// a value for each signal, NaN or an infinity where there is a gap. Rows come in
// the order of their arrival; a time before the newest counts as the newest.
func (d *Detector) Step(at int64, values []float64) Result {
	at, elapsed := d.advance(at)
	d.rows++
	res := Result{Top: -1, Contributions: d.shares}
	stat, sum := 0.0, 0.0
	for i := range d.engines {
		d.shares[i] = 0
		v := values[i]
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		s := d.engines[i].step(at, v)
		d.shares[i], sum = s, sum+s
		if s > stat {
			stat, res.Top = s, i
		}
	}
	if sum > 0 {
		for i := range d.shares {
			d.shares[i] /= sum
		}
	}
	res.Level = d.tail.step(stat, elapsed, d.cfg.Budget)
	if d.rows <= int64(d.cfg.Warmup) {
		res.Level = 0
	}
	res.Score, res.Onset, res.Alarm = d.hold.step(res.Level)
	return res
}

// advance orders the times and says how much passed since the newest row.
func (d *Detector) advance(at int64) (now, elapsed int64) {
	switch {
	case at == NoTime && d.last == NoTime:
		at, elapsed = 0, 0
	case at == NoTime:
		at, elapsed = d.last+untimed, untimed
	case d.last == NoTime || at < d.last:
		at, elapsed = max(at, d.last), 0
	default:
		elapsed = at - d.last
	}
	d.last = at
	return at, elapsed
}

// Reset tells the detector of a change: it forgets what need not hold any more.
func (d *Detector) Reset(c Change) {
	d.hold = hold{}
	switch c {
	case Replacement, Ownership:
		d.engines = make([]univariate, d.signals)
		d.tail = tail{}
		d.rows = 0
	case Maintenance, Update:
		for i := range d.engines {
			d.engines[i].relevel()
		}
	}
}
