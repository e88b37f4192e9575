// Package trend tells how long a signal takes to reach a limit, with an
// interval, or that its past does not support saying so.
//
// The past is kept as means over buckets whose length grows with their age (an
// exponential histogram: Datar, Gionis, Indyk, Motwani, "Maintaining Stream
// Statistics over Sliding Windows", SIAM J. Computing 31(6), 2002), so that
// memory is bounded and both a year's creep and today's onset are seen. The
// daily and weekly cycle is learned and taken out (season.go).
//
// A bank of dynamic linear models is run over those means (bank.go): each has a
// level and a slope that grows or decays at its own rate (Gardner and McKenzie,
// "Forecasting Trends in Time Series", Management Science 31(10), 1985: the
// damped trend; here also the rate 0, a straight line, and rates above 0, an
// accelerating one) and wanders at its own pace (West and Harrison, "Bayesian
// Forecasting and Dynamic Models", 2nd ed. 1997, ch. 4.5 unknown variance, ch.
// 12.2 multi-process models, class I). What the data say decides between
// them; where they say little, what is left is the uncertainty of the curvature,
// and the interval shows it. A straight line fitted to a curve would not.
//
// The time to the limit is the first passage of paths drawn from the models'
// posterior (passage.go). The draws are fixed: the same past gives the same
// forecast.
//
// Times are Unix milliseconds, values in any unit: scaling or shifting values
// and limit together changes nothing.
package trend

import (
	"math"
	"slices"
	"time"
)

// Season is the longest cycle that a signal follows by itself.
type Season uint8

// The seasons: with None every rise counts as a trend. With Daily nothing is
// said before three days have been seen, so that a morning is no trend.
const (
	None   Season = iota
	Daily         // hour of day
	Weekly        // hour of day and day of week
)

// Config says what is watched.
type Config struct {
	// Bucket is the finest resolution in ms: samples within it are averaged.
	// A 64th of the horizon that matters is fine enough.
	Bucket int64
	Season Season
}

// Support says why there is a forecast, or none.
type Support uint8

// The reasons. Only Supported has times.
const (
	Supported Support = iota
	TooShort          // too few buckets to tell a trend from noise
	Learning          // the cycle is not known yet
	Constant          // the signal has not changed
	NoTrend           // not surely moving towards the limit
	TooFar            // may cross only beyond the reach, or not at all
	Beyond            // the level is beyond the limit already
)

// String is the reason in words.
func (s Support) String() string {
	switch s {
	case Supported:
		return "supported"
	case TooShort:
		return "too little has been seen to tell a trend from noise"
	case Learning:
		return "its cycle is not known yet"
	case Constant:
		return "it has not changed"
	case NoTrend:
		return "it does not surely move towards the limit"
	case TooFar:
		return "it may reach the limit only later than can be told from what was seen, or never"
	case Beyond:
		return "its level is beyond the limit"
	}
	return "unknown"
}

// Limit is the value that should not be reached.
type Limit struct {
	Value float64
	Upper bool // reached from below
}

// Forecast is the time to a limit: with 80 % probability between Low and High,
// as likely before Median as after. The times count from the newest bucket's
// end, At.
type Forecast struct {
	Support           Support
	At                int64 // Unix ms; 0 before the first bucket
	Low, Median, High time.Duration
	Level             float64 // now, without its cycle
	Slope             float64 // now, per hour; the mean of the models
	Noise             float64 // standard deviation of a bucket around the level
}

// Coverage is the probability that the interval of a Forecast is made for.
const Coverage = 0.8

const (
	leastBuckets = 12   // below it there is no forecast
	leastCycles  = 3    // days before a daily cycle is known, weeks before a weekly one
	reach        = 2    // how many times the time seen a forecast may reach
	sure         = 0.95 // probability of moving towards the limit that is asked for
	lowest       = (1 - Coverage) / 2
)

// Tracker follows one signal. The zero value is not ready: use New.
type Tracker struct {
	c     Config
	past  history
	day   cycle
	week  cycle
	last  float64 // newest sample
	any   bool
	grain float64 // smallest step seen between two samples; 0: none yet
}

// New makes a tracker that has seen nothing.
func New(c Config) *Tracker {
	c.Bucket = max(c.Bucket, 1)
	return &Tracker{c: c, day: newDay(), week: newWeek()}
}

// Add takes a sample; samples older than the newest, NaN and infinities are
// skipped. It reports whether a bucket has been closed: a Forecast may differ
// from the one before only then.
func (t *Tracker) Add(at int64, v float64) bool {
	if math.IsNaN(v) || math.IsInf(v, 0) || (t.any && at < t.past.newest()) {
		return false
	}
	if step := math.Abs(v - t.last); t.any && step > 0 && (t.grain == 0 || step < t.grain) {
		t.grain = step
	}
	t.last, t.any = v, true
	if t.c.Season >= Daily {
		t.day.add(at, v)
	}
	if t.c.Season >= Weekly {
		t.week.add(at, v)
	}
	return t.past.add(at, v, t.c.Bucket)
}

// Len is the number of buckets kept.
func (t *Tracker) Len() int { return len(t.past.closed) }

// Forecasts gives the time to each limit, as of the newest closed bucket.
func (t *Tracker) Forecasts(limits ...Limit) []Forecast {
	out := make([]Forecast, len(limits))
	m, why := t.fit()
	for i, l := range limits {
		if m == nil {
			out[i] = Forecast{Support: why}
			if n := len(t.past.closed); n > 0 {
				out[i].At = t.past.closed[n-1].to
			}
			continue
		}
		out[i] = m.passage(l)
	}
	return out
}

// Same says that two trackers forecast the same: they have seen the same, in
// the same buckets, as those do whose buckets are shorter than the time between
// two samples.
func (t *Tracker) Same(as *Tracker) bool {
	return t.c.Season == as.c.Season && t.grain == as.grain && slices.Equal(t.past.closed, as.past.closed) &&
		(t.c.Season < Daily || t.day == as.day) && (t.c.Season < Weekly || t.week == as.week)
}

// Forecast gives the time to one limit.
func (t *Tracker) Forecast(l Limit) Forecast { return t.Forecasts(l)[0] }

// fit runs the bank over the past; nil with the reason where nothing can be said.
func (t *Tracker) fit() (*model, Support) {
	b := t.past.closed
	if len(b) < leastBuckets {
		return nil, TooShort
	}
	if t.c.Season >= Daily && t.day.whole < leastCycles {
		return nil, Learning
	}
	s := series{unit: hour, at: b[len(b)-1].to, grain: t.grain}
	daily, weekly := t.day.shrunk(), t.week.shrunk()
	s.points = make([]point, len(b))
	for i := range b {
		p := &b[i]
		y := p.mean - daily.over(p.from, p.to) - weekly.over(p.from, p.to)
		middle := float64(p.from+p.to-2*s.at) / 2 // relative, so that no digits are lost
		s.points[i] = point{t: middle / s.unit, y: y, k: p.count}
	}
	s.high, s.low = daily.high+weekly.high, daily.low+weekly.low
	return s.run()
}
