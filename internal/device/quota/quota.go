// Package quota limits how many samples a second are taken (token buckets).
package quota

import (
	"time"

	"golang.org/x/time/rate"
)

// burstOf is how many seconds of its rate may come at once, where the product
// does not say.
const burstOf = 5

// Fit gives a limiter its rate; one that stands goes on with what it has left.
func Fit(l *rate.Limiter, perSecond float64, burst int) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	if burst <= 0 {
		burst = max(int(perSecond*burstOf), 1)
	}
	if l == nil {
		return rate.NewLimiter(rate.Limit(perSecond), burst)
	}
	if l.Limit() != rate.Limit(perSecond) || l.Burst() != burst {
		l.SetLimit(rate.Limit(perSecond))
		l.SetBurst(burst)
	}
	return l
}

// Take takes n samples, at most a whole burst, and says how long to wait for
// it. What is taken alone is not given back, which costs nothing.
func Take(l *rate.Limiter, at time.Time, n int, alone bool) (*rate.Reservation, time.Duration) {
	if l == nil {
		return nil, 0
	}
	n = min(n, l.Burst())
	if alone && l.AllowN(at, n) {
		return nil, 0
	}
	r := l.ReserveN(at, n)
	return r, r.DelayFrom(at)
}
