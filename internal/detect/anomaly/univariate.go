package anomaly

import "math"

// hour and day in milliseconds.
const (
	hour = 3600_000
	day  = 24 * hour
)

// univariate follows one signal.
type univariate struct {
	Season   season
	N        float64 // readings
	Last     float64 // the newest reading
	Recent   float64 // mean of the newest readings
	Block    float64 // mean of the newest residuals
	Activity float64 // mean of the newest movements' logarithms
	Usual    mean    // of Activity
	Views    [views]view
	Settle   float64 // rows for which the level is still being found
	Offset   float64 // what has to be added to the season since
	Peaks    peaks
}

// The views.
const (
	residual   = iota // from what hour and weekday let expect
	block             // mean of the residuals
	innovation        // from the mean of the newest readings
	activity          // how much the signal moves
	views
)

const (
	blockHours    = 2  // over which residuals and readings are averaged,
	blockRows     = 12 // rows at least,
	blockMost     = 60
	activityHours = 6 // over which movements are averaged,
	activityRows  = 24
	activityMost  = 400
	still         = 0.3   // usual movements that a movement is told from
	settleRows    = 50    // rows in which a new level is found
	roundOff      = 1e-12 // share of a reading that is an error of rounding
	limit         = 1e150 // readings beyond are taken for this, so that differences are numbers
)

// step learns v and says how surprising it is: -ln of its probability.
func (u *univariate) step(at int64, v, perHour float64) float64 {
	v = max(-limit, min(limit, v))
	if u.N == 0 {
		u.Last, u.Recent = v, v
	}
	u.N = min(u.N+1, 1e6)
	tiny := roundOff * math.Abs(v)
	zero := func(x float64) float64 {
		if math.Abs(x) < tiny {
			return 0
		}
		return x
	}
	rows := min(max(blockRows, blockHours*perHour), blockMost, u.N)

	outside, res := u.Season.step(at, v-u.Offset, perHour, u.Settle == 0)
	outside, res = zero(outside), zero(res)
	u.Block += (res - u.Block) / rows
	inn := zero(v - u.Recent)
	u.Recent += inn / rows
	move := zero(v - u.Last)
	u.Last = v

	if u.Settle > 0 {
		return u.settle(res)
	}
	s := u.Views[residual].step(outside)
	s = max(s, u.Views[block].step(u.Block))
	s = max(s, u.Views[innovation].step(inn))
	if size := u.Views[innovation].size(); size > 0 {
		move /= size
	}
	long := min(max(activityRows, activityHours*perHour), activityMost, u.N)
	u.Activity += (math.Log(math.Abs(move)+still) - u.Activity) / long
	u.Usual.add(u.Activity, scaleRows)
	return max(s, u.Views[activity].step(3*(u.Activity-u.Usual.M)))
}

// judges says that enough has been seen for a surprise to mean something.
func (u *univariate) judges() bool { return u.Views[innovation].Size.N > burnIn }

// relevel says that the level may have moved for a known reason.
func (u *univariate) relevel() {
	if u.N > 0 {
		u.Settle = settleRows
	}
}

// settle finds the level that the season is at now.
func (u *univariate) settle(res float64) float64 {
	u.Offset += res / (settleRows - u.Settle + 1)
	u.Block, u.Recent = 0, u.Last
	u.Settle--
	return 0
}

// season learns what to expect by the hour of the day and, as days are seen
// again, by the hour of the week. Hours are those of UTC: any zone's, moved.
type season struct {
	Day   [24]float64 // means
	DayN  [24]uint16  // of so many readings
	Week  [7 * 24]float64
	WeekN [7 * 24]uint16
}

const (
	seasonDays = 14     // visits to an hour that are remembered,
	seasonRows = 50     // readings at least
	weekPrior  = 1. / 3 // visits that an hour of the week must outweigh
	envelope   = 0.7    // of the way to the neighbouring hours is within expectation
)

// expect is the expectation for an hour; known: it has been seen.
func (s *season) expect(wd, h int, perHour float64) (want float64, known bool) {
	w := wd*24 + h
	n := float64(s.WeekN[w])
	return s.Day[h] + s.Week[w]*n/(n+weekPrior*perHour), s.DayN[h] > 0
}

// step returns how far v lies outside what the hour and its neighbours let
// expect, and its residual from the hour's own expectation, and may learn it.
// Without a time there is one hour.
func (s *season) step(at int64, v, perHour float64, learn bool) (outside, res float64) {
	wd, h := 0, 0
	if at != NoTime {
		h = int(((at/hour)%24 + 24) % 24)
		wd = int(((at/day)%7 + 7) % 7)
	}
	if s.DayN[h] == 0 {
		s.Day[h] = v
	}
	want, _ := s.expect(wd, h, perHour)
	low, high := want, want
	for _, n := range [...]int{(h + 23) % 24, (h + 1) % 24} {
		if m, known := s.expect(wd, n, perHour); known {
			m = want + (m-want)*envelope
			low, high = min(low, m), max(high, m)
		}
	}
	if learn {
		rows := uint16(min(max(seasonRows, seasonDays*perHour), 60_000))
		average(&s.Week[wd*24+h], &s.WeekN[wd*24+h], v-s.Day[h], rows)
		average(&s.Day[h], &s.DayN[h], v, rows)
	}
	return v - max(low, min(high, v)), v - want
}

func average(m *float64, n *uint16, x float64, rows uint16) {
	*n = min(*n+1, rows)
	*m += (x - *m) / float64(*n)
}
