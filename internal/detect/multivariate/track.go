package multivariate

import "math"

// signal is one signal's two channels.
type signal struct {
	level, motion track
	last          float64
	fresh         bool // last is of the previous row
}

// take learns or judges a reading.
func (s *signal) take(t *tuning, warmup int, v float64) {
	s.level.take(t, warmup, v)
	if s.fresh {
		if m := math.Abs(v - s.last); !math.IsInf(m, 0) {
			s.motion.take(t, warmup, m)
		}
	}
	s.last, s.fresh = v, true
}

// miss says that there was no reading.
func (s *signal) miss(t *tuning, warmup int) {
	s.fresh = false
	s.level.miss(t, warmup)
	s.motion.miss(t, warmup)
}

// excess is by how much the signal is out, beyond what counts as nothing.
func (s *signal) excess(t *tuning, open bool) float64 {
	return s.level.excess(t, open, 0) + s.motion.excess(t, open, t.Motion)
}

// A track follows one channel of one signal.
type track struct {
	past history // while learning

	known  bool
	clip   float64         // the furthest a row may pull
	noise  float64         // variance of the reference's innovations, a row
	spread float64         // furthest deviation of a row while learning
	s2     [scales]float64 // variance of each average about the reference
	nu     [scales]float64 // its degrees of freedom
	gain   [scales]float64

	mean   [scales]float64
	ref    float64
	unsure float64 // variance of ref
	out    float64 // newest deviation, on the normal scale
	peak   float64 // furthest displacement of the episode
	alarms float64 // episodes it took part in, fading
	missed int     // rows since the newest reading
}

// take learns from or judges v.
func (c *track) take(t *tuning, warmup int, v float64) {
	if !c.known {
		c.past.add(v)
		if c.past.count >= warmup {
			c.learn(t, float64(warmup))
		}
		return
	}
	if float64(c.missed) > t.Lengths[scales-1]*float64(warmup) {
		c.mean = [scales]float64{c.ref, c.ref, c.ref} // stale: only news moves it
	}
	c.missed = 0
	single := math.Abs(v-c.mean[1]) / c.spread
	v = min(max(v, c.mean[0]-c.clip), c.mean[0]+c.clip)
	c.out = 0
	if t.Spike > 0 {
		c.out = wallace(single*single, t.Spike)
	}
	for k := range c.mean {
		c.mean[k] += c.gain[k] * (v - c.mean[k])
		e := c.mean[k] - c.ref
		c.out = max(c.out, wallace(e*e/(c.s2[k]+c.unsure), c.nu[k]))
	}
}

// wallace brings the square of a Student's t to the normal scale.
func wallace(t2, freedom float64) float64 {
	return math.Sqrt(freedom * math.Log1p(min(t2, 1e12)/freedom))
}

// miss forgets the newest deviation when there has been no reading for long.
func (c *track) miss(t *tuning, warmup int) {
	c.missed++
	if float64(c.missed) > t.Lengths[scales-1]*float64(warmup) {
		c.out = 0
	}
}

// excess is the deviation beyond what counts as nothing. In an episode a
// channel that is back counts as nothing.
func (c *track) excess(t *tuning, open bool, discount float64) float64 {
	if !c.known {
		return 0
	}
	if !open {
		c.peak = 0
	} else {
		e := math.Abs(c.mean[1] - c.ref)
		c.peak = max(c.peak, e)
		if e < t.Back*c.peak {
			return 0
		}
	}
	return max(0, c.out-t.Soft-discount-t.Wary*c.alarms)
}

// follow moves the reference towards the middle average.
func (c *track) follow(t *tuning, warmup float64) {
	if c.missed > 0 {
		return
	}
	k := max(c.unsure/(c.unsure+c.noise), 1/(t.Memory*warmup))
	c.unsure += k * (k*c.noise - c.unsure)
	c.ref += k * (c.mean[1] - c.ref)
}

// doubt makes the reference unsure by a share of the furthest displacement.
func (c *track) doubt(share float64) {
	c.unsure += share * share * c.peak * c.peak
	c.peak = 0
}

// accept takes the newest level for the usual one.
func (c *track) accept(_ *tuning, _ float64) { c.doubt(1) }

// forget finds the reference anew.
func (c *track) forget() {
	if !c.known {
		return
	}
	e := c.mean[1] - c.ref
	c.unsure += e*e + 1e4*c.noise
}
