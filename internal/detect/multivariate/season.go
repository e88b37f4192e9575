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
	days     = 7         // that an hour's deviation is the median of
	fewDays  = 3         // before which nothing is said of an hour
	verdicts = 48        // hours over which it is judged whether the hours explain anything

	explained, forgotten = 0.5, 0.8 // shares of the deviations' mean square that are left
)

// season learns how a signal moves with the hour of the day: for each hour the
// median, over the newest days, of how far the hour's mean was from that of the
// 24 hours up to it. It is taken out when it has lately explained more than half
// of such deviations, and until it explains next to nothing. (The classical decomposition with
// medians for robustness: Cleveland, Cleveland, McRae and Terpenning 1990,
// "STL", has the idea; Hyndman and Athanasopoulos, "Forecasting: Principles and
// Practice", section 3.4.)
type season struct {
	hour     int64   // since 1970, of the newest reading; hours are those of UTC
	sum      float64 // of its readings
	n        int
	newest   [day]float64       // each hour's newest mean
	deviated [day][days]float32 // each hour's newest deviations
	seen     [day]int           // on how many days
	profile  [day]float64       // the medians
	with     float64            // mean square of deviations from the profile
	without  float64            // and of deviations,
	judged   int                // of so many hours
	explains bool
}

// residual learns v and gives what the hour doesn't explain of it; anew: what
// it gave before was something else.
func (s *season) residual(at int64, v float64) (rest float64, anew bool) {
	now := at / hour
	if at < 0 && at%hour != 0 {
		now--
	}
	if now > s.hour || s.n == 0 {
		s.close()
		s.hour = now
	}
	if now == s.hour {
		s.n++
		s.sum += v/float64(s.n) - s.sum/float64(s.n)
	}
	was := s.explains
	if s.judged >= day {
		s.explains = s.with < explained*s.without || was && s.with < forgotten*s.without
	}
	if !s.explains {
		return v, was
	}
	// Between the middles of the hours the profile is a straight line.
	part := float64(at-now*hour)/hour - 0.5
	h := int((now%day + day) % day)
	next := (h + 1) % day
	if part < 0 {
		next, part = (h+day-1)%day, -part
	}
	return v - (s.profile[h] + part*(s.profile[next]-s.profile[h])), !was
}

// close learns from the hour that is over.
func (s *season) close() {
	if s.n == 0 {
		return
	}
	h := int((s.hour%day + day) % day)
	s.newest[h], s.sum, s.n = s.sum, 0, 0
	mean, hours := 0.0, 0.0
	for i, m := range s.newest {
		if s.seen[i] > 0 || i == h {
			hours++
			mean += m/hours - mean/hours
		}
	}
	deviation := s.newest[h] - mean
	if math.Abs(deviation) > beyond {
		return
	}
	if s.seen[h] >= fewDays {
		e := deviation - s.profile[h]
		s.judged++
		weight := 1 / float64(min(s.judged, verdicts))
		s.with += weight * (e*e - s.with)
		s.without += weight * (deviation*deviation - s.without)
	}
	s.deviated[h][s.seen[h]%days] = float32(deviation)
	if s.seen[h]++; s.seen[h] >= fewDays {
		known := s.deviated[h]
		sorted := known[:min(s.seen[h], days)]
		slices.Sort(sorted)
		n := len(sorted)
		s.profile[h] = float64(sorted[(n-1)/2]/2 + sorted[n/2]/2)
	}
}

// beyond this nothing is counted.
const beyond = 1e30
