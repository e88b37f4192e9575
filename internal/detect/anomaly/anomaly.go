// Package anomaly watches the readings of one unit, row by row, and says when
// they leave what the unit itself has shown to be usual. One signal is judged
// by the univariate engine here, several together by package multivariate.
// What either finds is measured by a budget of false alarms, so that a score
// means the same on every unit: 1 is what a unit that behaves as ever shows as
// often as the budget allows.
//
// The univariate engine takes out what hour and weekday explain, looks at the
// rest in several ways (views), and gives each view the probability that its
// own past gives to so much or more. The least probable view decides, and is
// measured by the most surprising rows of usual days. Hyndman
// and Athanasopoulos, "Forecasting: Principles and Practice", chapters 2 and
// 9, is for the first part; Siffer, Fouque, Termier and Largouët 2017, "Anomaly
// Detection in Streams with Extreme Value Theory", for the second; Ahmad,
// Lavin, Purdy and Agha 2017, "Unsupervised real-time anomaly detection for
// streaming data", for marking onsets and for how it is measured.
//
// The detector sees each row once, in order, and keeps a bounded state: the
// same rows give the same scores, live or replayed, and what comes later
// changes none of them.
package anomaly

import (
	"math"

	"fettle.dev/fettle/internal/detect/multivariate"
)

// DefaultBudget is how many episodes a year a detector may raise unless it is
// told: two a week.
const DefaultBudget = 104

// A Config is what a detector may be told. The zero value is the default.
type Config struct {
	// Budget is how many episodes a year the detector may raise on a unit that
	// behaves as it always did. 0 is DefaultBudget.
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
	Update                    // other software: levels may move, habits stay
	Ownership                 // another owner: everything is learned anew
)

// NoTime is the time of a row that has none.
const NoTime = math.MinInt64

const (
	untimed = 60_000                  // milliseconds that a row without a time stands for
	year    = 365.25 * 24 * 3600_000. // milliseconds
)

// A Detector watches the signals of one unit. It is not safe for concurrent use.
type Detector struct {
	cfg     Config
	signals int
	clock   clock
	rows    uint64 // seen since all was learned anew
	one     *univariate
	several *multivariate.Detector
	hold    hold
	alone   [1]float64 // the contributions of a single signal
}

// New returns a detector of so many signals, at least one.
func New(signals int, cfg Config) *Detector {
	if signals < 1 {
		panic("anomaly: a detector needs a signal")
	}
	if !(cfg.Budget > 0) {
		cfg.Budget = DefaultBudget
	}
	d := &Detector{cfg: cfg, signals: signals}
	d.anew()
	return d
}

// anew forgets everything.
func (d *Detector) anew() {
	d.rows, d.clock, d.hold = 0, clock{}, hold{}
	if d.signals == 1 {
		d.one = new(univariate)
	} else {
		d.several = multivariate.New(d.signals, d.cfg.Warmup)
	}
}

// Signals is how many values a row has.
func (d *Detector) Signals() int { return d.signals }

// Learned says that enough has been seen to judge rows.
func (d *Detector) Learned() bool {
	switch {
	case d.learning():
		return false
	case d.one != nil:
		return d.one.judges()
	}
	return d.several.Judges()
}

// Step takes a row: its time in Unix milliseconds (NoTime if it has none) and
// a value for each signal, NaN or an infinity where there is a gap. Rows come in
// the order of their arrival; a time before the newest counts as the newest.
func (d *Detector) Step(at int64, values []float64) Result {
	if d.several != nil && d.clock.missed(at) {
		d.several.Miss()
	}
	at = d.clock.step(at)
	d.rows++
	var res Result
	if d.signals > 1 {
		perRow := min(d.cfg.Budget*d.clock.interval()/year, 0.1) // episodes
		r := d.several.StepAt(at, values, perRow)
		res = Result{Level: r.Level, Alarm: r.Alarm, Top: r.Top, Contributions: r.Contributions}
		if d.learning() {
			res.Level, res.Alarm = 0, false
		}
		res.Onset = res.Alarm && !d.hold.Open
		d.hold.Open = res.Alarm
		if res.Onset {
			d.hold.Floor = 0 // an onset is marked, whatever was before
		}
		res.Score = d.hold.mark(res.Level, &d.clock)
		return res
	}
	d.alone[0] = 0
	res = Result{Top: -1, Contributions: d.alone[:]}
	if v := values[0]; v-v == 0 {
		surprise := d.one.step(at, v, d.clock.perHour())
		if d.one.judges() {
			res.Level = d.one.Peaks.level(surprise, d.cfg.Budget, &d.clock)
		}
		if d.learning() {
			res.Level = 0
		}
		if res.Level > 0 {
			res.Top, d.alone[0] = 0, 1
		}
		res.Score = d.hold.mark(res.Level, &d.clock)
		res.Onset = d.hold.judge(res.Score, res.Level)
	}
	res.Alarm = d.hold.Open
	return res
}

// learning says whether the newest row belongs to the warm-up.
func (d *Detector) learning() bool { return d.rows <= uint64(max(0, d.cfg.Warmup)) }

// Reset tells the detector of a change: it forgets what need not hold any more.
func (d *Detector) Reset(c Change) {
	switch c {
	case Maintenance, Update:
		d.hold = hold{}
		if d.one != nil {
			d.one.relevel()
		} else {
			d.several.Relevel()
		}
	default:
		d.anew()
	}
}

// clock orders the rows' times and learns how far apart they are.
type clock struct {
	Last  int64   // the newest time
	Timed bool    // Last has been set
	Mean  float64 // milliseconds between rows
	N     float64 // times that Mean is of
	Same  float64 // rows that came since and had no later time
}

// paceRows is over how many times the interval is averaged.
const paceRows = 200

// missedRows is how many intervals without a row say that some are missing; one
// or two that are late or lost are part of how the signals move.
const missedRows = 4

// missed says that rows are missing before one that comes at a time.
func (c *clock) missed(at int64) bool {
	return at != NoTime && c.N >= 3 && float64(at)-float64(c.Last) > missedRows*c.Mean
}

func (c *clock) step(at int64) int64 {
	if at == NoTime {
		return NoTime
	}
	if !c.Timed {
		c.Last, c.Timed = at, true
		return at
	}
	if at <= c.Last { // rows may be nearer to each other than their times tell apart
		c.Same++
		return c.Last
	}
	elapsed := (float64(at) - float64(c.Last)) / (c.Same + 1)
	c.Last, c.Same = at, 0
	// A gap says nothing about the pace.
	if c.N < 3 || elapsed < 20*c.Mean {
		c.N = min(c.N+1, paceRows)
		c.Mean += (elapsed - c.Mean) / c.N
	}
	return c.Last
}

// interval is how many milliseconds a row stands for.
func (c *clock) interval() float64 {
	if c.N == 0 {
		return untimed
	}
	return max(c.Mean, 1)
}

// perHour is how many rows an hour has, one at least.
func (c *clock) perHour() float64 { return max(1, hour/c.interval()) }
