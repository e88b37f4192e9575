package device

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/device/quota"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// SlowError asks a unit that sends more than it may to come again. Nothing of
// what it sent was taken. It is an ErrBusy.
type SlowError struct {
	After time.Duration // until there is room for it
	By    string        // "unit" or "product": whose limit it is
}

func (e *SlowError) Error() string {
	return "more than the " + e.By + "'s limit of samples a second; come again in " + e.After.Round(time.Millisecond).String()
}

// Unwrap makes it a want of room.
func (e *SlowError) Unwrap() error { return fault.Wrap(fault.Unavailable, "", ErrBusy) }

// limits are the rates at which samples of a unit are taken; nil: any.
type limits struct{ unit, product *rate.Limiter }

// limit gives a unit that was loaded its limiters. The caller holds r.mu.
func (r *registry) limit(u *unit, p *fleet.Product) {
	of := p.Limits
	if of == nil {
		of = &fleet.Limits{}
	}
	perSecond, burst := of.UnitRate, of.UnitBurst
	if perSecond == 0 {
		perSecond = r.unitRate
	}
	u.times.limit = quota.Fit(u.times.limit, perSecond, burst)
	r.rates[p.Name] = quota.Fit(r.rates[p.Name], of.ProductRate, of.ProductBurst)
	u.limits = limits{u.times.limit, r.rates[p.Name]}
}

// Yielder is a Receipt that is told before its submission waits for the limits
// of its own unit or product: what it keeps others waiting for it should let go.
type Yielder interface{ Yield() }

// slow waits until n samples of a unit may be taken: a door that waits reads no
// further. When ctx ends before that, it is a SlowError at once.
func (g *Gateway) slow(ctx context.Context, u *unit, n int, receipt Receipt) error {
	if u.limits.unit == nil && u.limits.product == nil {
		return nil
	}
	at := now()
	n = max(n, 1)
	alone := u.limits.product == nil
	mine, wait := quota.Take(u.limits.unit, at, n, alone)
	all, longer := quota.Take(u.limits.product, at, n, false)
	if wait == 0 && longer == 0 {
		return nil
	}
	by := "unit"
	if longer > wait {
		by, wait = "product", longer
	}
	g.metrics.limited.WithLabelValues(by).Inc()
	giveBack := func() {
		for _, r := range []*rate.Reservation{mine, all} {
			if r != nil {
				r.CancelAt(at)
			}
		}
	}
	if deadline, ok := ctx.Deadline(); ok && at.Add(wait).After(deadline) {
		giveBack()
		return &SlowError{wait, by}
	}
	if y, ok := receipt.(Yielder); ok {
		y.Yield()
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		giveBack()
		return &SlowError{wait, by}
	}
}
