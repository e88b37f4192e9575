// Package peers compares units that should behave alike: how far each lies from
// the middle of its cohort, period by period, against how far the others do.
//
// Within a period each unit counts with its mean. Its deviation is taken from
// the cohort's median, so that what moves them all (weather, season, an update)
// moves nobody; the deviations are smoothed over Memory periods, so that a
// finding takes more than one bad day. Two figures of each unit are compared
// with those of its peers in the same period:
//
//   - its level: the smoothed deviation. It shows units that are unlike from
//     the start.
//   - its change: the level against the mean of the unit's own first Memory
//     periods. It shows units that were always a little different, and have begun
//     to differ otherwise.
//
// Both are judged by the modified z-score, the distance from the median over
// the median absolute deviation (Iglewicz and Hoaglin, "How to Detect and
// Handle Outliers", ASQC 1993; where more than half are alike, by the mean
// absolute deviation, as they advise). Half of the cohort may be faulty before
// the scale breaks down (Rousseeuw and Croux, "Alternatives to the Median
// Absolute Deviation", JASA 88, 1993). Because scale and middle are the peers' own
// at the time, natural differences between units, and the pace at which they
// wander apart, are in it: nothing has to be assumed of them but that the middle
// of the cohort is sound and its figures are about normally distributed.
//
// How far is too far follows from the false alarms allowed (threshold).
package peers

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

const (
	// Memory is over how many periods deviations are smoothed.
	Memory = 12
	// DefaultMinimum is the smallest cohort: with fewer peers the scale of a
	// normal cohort is off by a third or more, half of the time.
	DefaultMinimum = 8
	// DefaultBudget is the false alarms a unit and year: one in ten unit-years.
	DefaultBudget = 0.1

	warm     = Memory / 2 // periods of a unit before it is judged
	clip     = 10         // scales that one period's deviation counts for at most
	leastFar = 3.5        // modified z-scores: nothing nearer is an outlier (Iglewicz and Hoaglin)
	year     = 365.25 * 24 * 3_600_000
)

// Config says how a cohort is judged. The zero value has the defaults.
type Config struct {
	Period  int64   // ms (default a day)
	Minimum int     // members with data in the period, before anybody is judged (default 8)
	Budget  float64 // false alarms a unit and year (default 0.1)
	Matters float64 // a smaller deviation is never an alarm
}

// With fills in the defaults.
func (c Config) With() Config {
	if c.Period <= 0 {
		c.Period = 24 * 3_600_000
	}
	if c.Minimum <= 0 {
		c.Minimum = DefaultMinimum
	}
	if c.Budget <= 0 {
		c.Budget = DefaultBudget
	}
	return c
}

// Unit is what is kept of a member of a cohort. The zero value has seen nothing.
type Unit struct {
	seen  int64   // periods judged from
	level float64 // smoothed deviation
	first float64 // mean of the deviations of the first Memory periods
}

// Means are a unit's of the period that is under way, and of the one before or
// after it. The zero value has seen nothing.
type Means struct{ open [2]mean } // by parity

type mean struct {
	period int64
	n      int64
	v      float64
}

// Add takes a sample of a period. Periods may overlap by one: samples of the
// period before count until that is judged. NaN and infinities are skipped.
func (u *Means) Add(period int64, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	m := &u.open[period&1]
	if m.n == 0 || m.period < period {
		*m = mean{period: period}
	} else if m.period > period {
		return
	}
	m.n++
	m.v += (v - m.v) / float64(m.n)
}

// Value is the unit's mean in a period.
func (u *Means) Value(period int64) (v float64, ok bool) {
	m := &u.open[period&1]
	return m.v, m.n > 0 && m.period == period
}

// Seen is from how many periods the unit has been judged.
func (u *Unit) Seen() int { return int(u.seen) }

// Verdict is what a period says of a unit.
type Verdict struct {
	// Score is how far the unit is from its peers, in terms of how far is too
	// far: above 1 is outside the budget. 0: not judged.
	Score float64
	// Changed says that it is the change that scores, not the level.
	Changed bool
	Value   float64 // the unit's mean in the period
	Middle  float64 // the cohort's median in the period
	Off     float64 // how far it lies off: the smoothed deviation, or its change
	Now     float64 // the same in this period alone
	Spread  float64 // of the peers, in that figure: 1.4826 times the median absolute deviation
	Peers   int     // members judged with it, itself included
}

// Judge takes the members of a cohort with their means in a period, and says of
// each where it stands. Their order is of no importance. Fewer than the
// minimum are not judged, and nothing is learned of them.
func (c Config) Judge(members []*Unit, means []float64) []Verdict {
	c = c.With()
	out := make([]Verdict, len(members))
	if len(members) < c.Minimum {
		return out
	}
	n := len(members)
	middle, spread := scale(means)
	var levels, changes []int
	for i, u := range members {
		d := means[i] - middle
		if spread > 0 {
			d = math.Max(-clip*spread, math.Min(clip*spread, d))
		}
		u.seen++
		u.level += (d - u.level) / float64(min(u.seen, Memory))
		if u.seen <= Memory {
			u.first += (d - u.first) / float64(u.seen)
		}
		out[i] = Verdict{Value: means[i], Middle: middle, Now: means[i] - middle, Peers: n}
		if u.seen >= warm {
			levels = append(levels, i)
		}
		if u.seen >= 2*Memory {
			changes = append(changes, i)
		}
	}
	c.compare(out, levels, false, func(i int) (figure, base float64) { return members[i].level, 0 })
	c.compare(out, changes, true, func(i int) (figure, base float64) { return members[i].level - members[i].first, members[i].first })
	return out
}

// compare scores one figure of those members that have it; base is what it is
// taken from.
func (c Config) compare(out []Verdict, of []int, changed bool, figure func(i int) (figure, base float64)) {
	if len(of) < c.Minimum {
		return
	}
	figures := make([]float64, len(of))
	for j, i := range of {
		figures[j], _ = figure(i)
	}
	middle, spread := scale(figures)
	if spread == 0 {
		return
	}
	far := c.threshold(len(of))
	for j, i := range of {
		v := &out[i]
		off := figures[j] - middle
		score := math.Abs(off) / spread / far
		if math.Abs(off) < c.Matters {
			score = math.Min(score, 1)
		}
		if score > v.Score {
			_, base := figure(i)
			v.Score, v.Changed, v.Off, v.Spread, v.Peers = score, changed, off, spread, len(of)
			v.Now = v.Value - v.Middle - base - middle
		}
	}
}

// Outside reports whether the unit is outside the budget, and was in this period
// too: one bad period counts on for some, but does not last.
func (v *Verdict) Outside() bool { return v.Score > 1 && !v.Back() }

// Back reports whether the unit was back in this period, whatever it was before:
// less than half as far off.
func (v *Verdict) Back() bool { return v.Now*math.Copysign(1, v.Off) < math.Abs(v.Off)/2 }

// scale is the median, and the spread around it that is the standard deviation
// of normally distributed figures. It reorders a copy.
func scale(figures []float64) (middle, spread float64) {
	v := slices.Clone(figures)
	middle = median(v)
	sum := 0.0
	for i := range v {
		v[i] = math.Abs(v[i] - middle)
		sum += v[i]
	}
	if spread = 1.4826 * median(v); spread == 0 {
		spread = 1.2533 * sum / float64(len(v))
	}
	return middle, spread
}

func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// threshold is how many spreads are too far among n: as far as chance takes a
// member of a normal cohort once in the time that the budget allows, were each
// of the two figures drawn anew each period. (They are smoothed, and so cross
// it less often: the budget is kept with some room.) The spread of few is itself
// a guess: its error is about that of a variance on 0.37 n + 1 degrees of freedom
// (0.37 is the efficiency of the median absolute deviation; Rousseeuw and
// Croux), so that the z-score is about Student's.
func (c Config) threshold(n int) float64 {
	tests := 2 * year / float64(c.Period)
	p := math.Min(c.Budget/tests, 0.5)
	t := distuv.StudentsT{Sigma: 1, Nu: freedom(n)}
	return math.Max(t.Quantile(1-p/2), leastFar)
}

func freedom(n int) float64 { return 0.37*float64(n) + 1 }
