package multivariate

import (
	"math"
	"slices"
)

// NoTime is the time of a row that has none.
const NoTime = math.MinInt64

const (
	hour     = 3_600_000 // milliseconds
	day      = 24        // hours
	week     = 7 * day
	verdicts = week // hours over which it is judged how much a cycle explains

	explained, forgotten = 0.5, 0.8 // shares of the deviations' mean square that are left
	better               = 0.7      // of what the day leaves, that the week must leave no more than
	beyond               = 1e30     // nothing is counted
)

// season learns how a signal moves with the hour of the day and of the week.
// One of the two cycles is taken out when it has lately explained more than half
// of how far the hours' means were apart, and until it explains next to
// nothing; the week's if it explains more than the day's.
type season struct {
	hour  int64   // since 1970, of the newest reading; hours are those of UTC
	sum   float64 // mean of its readings
	n     int     // of so many
	base  float64 // the first hour's mean: what the cycles count from
	based bool
	daily cycle
	weeks cycle
	use   uint8 // the cycle that is taken out: none, the day, the week
}

const (
	none uint8 = iota
	byDay
	byWeek
)

// A cycle holds, for each hour of it, the median over its newest rounds of how
// far the hour's mean was from that of the round up to it. (Classical
// decomposition, with medians for robustness as in Cleveland, Cleveland, McRae
// and Terpenning 1990, "STL"; Hyndman and Athanasopoulos, "Forecasting:
// Principles and Practice", section 3.4.)
type cycle struct {
	newest   []float32 // each hour's newest mean
	profile  []float32 // each hour's median deviation
	deviated []float32 // each hour's newest deviations
	seen     []uint8   // in how many rounds, up to 2*keep
	with     float64   // mean square of deviations from the profile,
	without  float64   // and of deviations,
	judged   int       // of so many hours
}

// A round is how long a cycle is, of how many of it the median is taken, and
// before how many nothing is said.
type round struct{ hours, keep, few int }

var (
	dailyRound  = round{day, 7, 3}
	weeklyRound = round{week, 3, 2}
)

func newSeason() *season {
	return &season{daily: newCycle(dailyRound), weeks: newCycle(weeklyRound)}
}

func newCycle(r round) cycle {
	return cycle{
		newest: make([]float32, r.hours), profile: make([]float32, r.hours),
		deviated: make([]float32, r.hours*r.keep), seen: make([]uint8, r.hours),
	}
}

// residual learns v and gives what the hour doesn't explain of it; anew: what
// it gave before was something else.
func (s *season) residual(at int64, v float64) (rest float64, anew bool) {
	now := at / hour
	if at < 0 && at%hour != 0 {
		now--
	}
	was := s.use
	if now > s.hour || s.n == 0 {
		s.close()
		s.hour = now
	}
	if now == s.hour {
		s.n++
		s.sum += v/float64(s.n) - s.sum/float64(s.n)
	}
	// Between the middles of the hours the profile is a straight line.
	part := float64(at-now*hour)/hour - 0.5
	switch s.use {
	case byDay:
		v -= s.daily.at(now, part)
	case byWeek:
		v -= s.weeks.at(now, part)
	}
	return v, was != s.use
}

// close learns from the hour that is over.
func (s *season) close() {
	if s.n == 0 {
		return
	}
	if !s.based {
		s.base, s.based = s.sum, true
	}
	mean := s.sum - s.base
	s.sum, s.n = 0, 0
	if math.Abs(mean) > beyond {
		return
	}
	s.daily.learn(dailyRound, s.hour, mean)
	s.weeks.learn(weeklyRound, s.hour, mean)
	switch d, w := &s.daily, &s.weeks; {
	case w.explains(s.use == byWeek, week/2) && (w.with < better*d.with || s.use == byWeek && w.with < d.with):
		s.use = byWeek
	case d.explains(s.use == byDay, day):
		s.use = byDay
	default:
		s.use = none
	}
}

// slot is an hour's place in a cycle of n.
func slot(hour int64, n int) int { return int((hour%int64(n) + int64(n)) % int64(n)) }

// at is the profile at a part of an hour before or after its middle.
func (c *cycle) at(hour int64, part float64) float64 {
	n := len(c.profile)
	here := slot(hour, n)
	there := (here + 1) % n
	if part < 0 {
		there, part = (here+n-1)%n, -part
	}
	a, b := float64(c.profile[here]), float64(c.profile[there])
	return a + part*(b-a)
}

// learn takes an hour's mean.
func (c *cycle) learn(r round, hour int64, m float64) {
	h := slot(hour, r.hours)
	first := c.seen[h] == 0
	c.newest[h] = float32(m)
	mean, hours := 0.0, 0.0
	for i, x := range c.newest {
		if c.seen[i] > 0 || i == h && first {
			hours++
			mean += float64(x)
		}
	}
	deviation := m - mean/hours
	if int(c.seen[h]) >= r.few {
		e := deviation - float64(c.profile[h])
		c.judged = min(c.judged+1, verdicts)
		weight := 1 / float64(c.judged)
		c.with += weight * (e*e - c.with)
		c.without += weight * (deviation*deviation - c.without)
	}
	mine := c.deviated[h*r.keep : (h+1)*r.keep]
	mine[int(c.seen[h])%r.keep] = float32(deviation)
	if c.seen[h]++; int(c.seen[h]) == 2*r.keep {
		c.seen[h] = uint8(r.keep) // which of the rounds is next stays the same
	}
	c.settle(r, h)
}

// settle finds the median of an hour's deviations.
func (c *cycle) settle(r round, h int) {
	if int(c.seen[h]) < r.few {
		return
	}
	sorted := slices.Clone(c.deviated[h*r.keep:][:min(int(c.seen[h]), r.keep)])
	slices.Sort(sorted)
	n := len(sorted)
	c.profile[h] = sorted[(n-1)/2]/2 + sorted[n/2]/2
}

// explains says whether the cycle is worth taking out, or still is.
func (c *cycle) explains(already bool, enough int) bool {
	if already {
		return c.with < forgotten*c.without
	}
	return c.judged >= enough && c.with < explained*c.without
}
