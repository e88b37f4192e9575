package detect

import "math"

// Interval learns how long a source usually stays away, from the times between
// its contacts. It follows the upper envelope of those times: contacts come in
// bursts, and the short times within a burst say nothing about the pauses.
// Short times lower the estimate only as the time they cover passes; one long
// pause raises it by no more than a quarter of that pause or to twice its
// value, so that one holiday doesn't make a source unwatchable, and a source
// that has slowed down for good is learned within two pauses.
type Interval struct {
	Estimate float64 // milliseconds
	Count    int     // contacts learned from
	Span     int64   // time they cover, while not learned
	Learned  bool    // the estimate can be relied on
}

// forget is over how many estimates' worth of time a longer pause is forgotten.
const forget = 8

// Learn takes the time since the previous contact.
func (v *Interval) Learn(gap int64, p Patience) {
	if gap < 0 {
		return
	}
	g := float64(gap)
	switch {
	case g > v.Estimate && v.Learned:
		v.Estimate = min(g, max(2*v.Estimate, g/4))
	case g > v.Estimate:
		v.Estimate = g
	case v.Estimate > 0:
		v.Estimate -= (v.Estimate - g) * -math.Expm1(-g/(forget*v.Estimate))
	}
	if v.Learned {
		return
	}
	v.Span += gap
	v.Count++
	v.Learned = v.Count >= 3 && float64(v.Span) >= 10*v.Estimate && v.Span >= 3*p.Minimum
}

// Patience bounds how long a source may stay away, in milliseconds.
type Patience struct {
	Factor           float64
	Minimum, Maximum int64
}

// Allowed is how long the source may stay away before it is silent: Factor
// times the estimate within the bounds; Maximum until contacts have covered
// ten estimates and three times Minimum.
func (v *Interval) Allowed(p Patience) int64 {
	if !v.Learned {
		return p.Maximum
	}
	return min(max(int64(p.Factor*v.Estimate), p.Minimum), p.Maximum)
}
