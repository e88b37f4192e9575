package anomaly

import "math"

// hour in milliseconds.
const hour = 3600 * 1000

// univariate follows one signal.
type univariate struct {
	n     float64
	scale float64
	level [24]float64 // by hour of the day
	count [24]float64
}

// step learns v and says how far it is from what was expected.
func (u *univariate) step(at int64, v float64) float64 {
	h := int(((at/hour)%24 + 24) % 24)
	res := 0.0
	if u.count[h] > 0 {
		res = v - u.level[h]
	}
	u.count[h]++
	u.level[h] += (v - u.level[h]) / min(u.count[h], 500)
	stat := 0.0
	if u.scale > 0 {
		stat = math.Abs(res) / u.scale
	}
	u.n++
	u.scale += (math.Abs(res) - u.scale) / min(u.n, 2000)
	return stat
}

// relevel forgets where the signal is, not how it moves with the day.
func (u *univariate) relevel() { u.count = [24]float64{} }
