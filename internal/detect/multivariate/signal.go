package multivariate

import "math"

// signal is one signal's channels.
type signal struct {
	level, motion track
	rest          track   // what the others don't explain of its movements
	moved         float64 // newest movement
	season        *season // nil without times
	last          float64 // newest reading
	fresh         bool    // it is of the previous row
	blame         float64 // episodes that began with it, beyond the budget
	alike         int     // newest readings that are like the one before
	longest       int     // and the most of those that is usual
}

// take learns from a reading or judges it.
func (s *signal) take(t *tuning, warmup int, at int64, v float64) {
	wary := 1 + t.Wary*s.blame*s.blame
	left := v
	if at != NoTime {
		if s.season == nil {
			s.season = newSeason()
		}
		var anew bool
		if left, anew = s.season.residual(at, v); anew {
			s.level = track{}
		}
	}
	s.moved = s.level.distance(left, t.Clip)
	s.level.take(t, warmup, left, wary)
	if s.fresh {
		move := math.Abs(v - s.last)
		if !math.IsInf(move, 0) {
			s.motion.take(t, warmup, move, wary)
		}
		if s.alike++; move > 0 {
			s.alike = 0
		}
		if !s.level.known {
			s.longest = max(s.longest, s.alike)
		} else if s.stuck(t, warmup) {
			s.motion.out = max(s.motion.out, t.Jump/math.Sqrt(wary))
		}
	}
	s.last, s.fresh = v, true
}

// stuck says that the signal has shown one value for long.
func (s *signal) stuck(t *tuning, warmup int) bool {
	return float64(s.alike) > max(t.Lengths[1]*float64(warmup), t.Stuck*float64(s.longest))
}

// miss says that there was no reading.
func (s *signal) miss(t *tuning, warmup int) {
	s.fresh = false
	s.level.miss(t, warmup)
	s.motion.miss(t, warmup)
	s.rest.miss(t, warmup)
}

// excess is by how much the signal is out, beyond what counts as nothing.
func (s *signal) excess(t *tuning, open bool) float64 {
	return max(s.level.excess(t, open, 0), s.motion.excess(t, open, t.Motion), s.rest.excess(t, open, t.Motion))
}

// A track follows one channel of one signal, in units of its own: zero is the
// median of what it learned from, one the robust standard deviation.
type track struct {
	past  history // while learning
	known bool    // learned
	out   float64 // newest deviation, on the normal scale

	mid, unit float64
	spike     float64         // furthest deviation of a row while learning
	noise     float64         // variance of a row that counts for the reference
	s2        [scales]float64 // variance of each average about the reference
	nu        [scales]float64 // its degrees of freedom

	mean   [scales]float64
	ref    float64
	unsure float64 // variance of ref
	peak   float64 // furthest displacement of the episode
	missed int     // rows since the newest reading
	lived  int     // rows followed

	anchor float64 // where the reference stood first
	bound  float64 // variance of the longest average about it, at first,
	roam   float64 // and by how much that grows a row
	age    int     // readings since the anchor was cast
	adrift bool    // no anchor until the reference is sure of itself
	anew   bool    // the next reading is the reference
}

// take learns from v or judges it, by a variance wary times the learned one.
func (c *track) take(t *tuning, warmup int, v, wary float64) {
	if !c.known {
		c.out = 0
		if c.past.add(v, warmup) {
			c.out = t.Jump / math.Sqrt(wary)
		}
		if c.past.count == warmup && !c.past.alike {
			c.learn(t, float64(warmup))
		}
		return
	}
	v = (v - c.mid) / c.unit
	switch {
	case c.anew:
		c.ref, c.anew = v, false
		c.mean = [scales]float64{v, v, v}
	case c.stale(t, warmup):
		c.mean = [scales]float64{c.ref, c.ref, c.ref} // only news moves it
	}
	c.missed = 0
	single := (v - c.mean[1]) / c.spike
	c.out = 0
	c.notice(t, single*single/wary, t.Spike)
	v = min(max(v, c.mean[0]-t.Clip), c.mean[0]+t.Clip)
	for k, share := range t.Lengths {
		c.mean[k] += gain(share, warmup) * (v - c.mean[k])
		e := c.mean[k] - c.ref
		c.notice(t, e*e/((c.s2[k]+c.unsure)*wary), c.nu[k])
	}
	if c.age++; !c.adrift {
		e, s2 := c.mean[scales-1]-c.anchor, c.bound+c.roam*float64(c.age)
		c.notice(t, e*e/(s2*wary), c.nu[scales-1])
	}
}

// distance is how far v is from the middle average, by the channel's unit; 0
// while that is not known.
func (c *track) distance(v, most float64) float64 {
	if !c.known || c.anew {
		return 0
	}
	return min(max((v-c.mid)/c.unit-c.mean[1], -most), most)
}

// gain is that of the exponentially weighted average whose variance is that of
// a plain average over the share of the warm-up.
func gain(share float64, warmup int) float64 {
	return 2 / (max(1, share*float64(warmup)) + 1)
}

// notice keeps the furthest deviation: the square of a Student's t, brought to
// the normal scale if it could count for something there.
func (c *track) notice(t *tuning, t2, freedom float64) {
	if t2 > t.Soft*t.Soft {
		c.out = max(c.out, math.Sqrt(freedom*math.Log1p(min(t2, 1e12)/freedom)))
	}
}

// stale says that there has been no reading for long.
func (c *track) stale(t *tuning, warmup int) bool {
	return float64(c.missed) > max(1, t.Lengths[scales-1]*float64(warmup))
}

// miss says that there was no reading. The newest deviation stands for a while.
func (c *track) miss(t *tuning, warmup int) {
	c.missed++
	if !c.known || c.stale(t, warmup) {
		c.out = 0
	}
}

// excess is the deviation beyond what counts as nothing. In an episode, a
// channel that is back counts as nothing.
func (c *track) excess(t *tuning, open bool, discount float64) float64 {
	if !open {
		c.peak = 0
	} else {
		e := math.Abs(c.mean[1] - c.ref)
		c.peak = max(c.peak, e)
		if e < t.Back*c.peak {
			return 0
		}
	}
	return max(0, c.out-t.Soft-discount)
}

// follow moves the reference towards the middle average, and learns on how far
// the averages are from it.
func (c *track) follow(t *tuning, warmup int) {
	if c.missed > 0 {
		return
	}
	c.lived++
	w := float64(warmup)
	slow := 1 / (t.Learn*w + float64(c.lived))
	for k, share := range t.Lengths {
		e, was := c.mean[k]-c.ref, c.s2[k]
		now := was + slow*(min(e*e, 9*was)-was)
		c.s2[k] = max(now, c.noise*gain(share, warmup)/8)
		c.nu[k] = t.Freedom + (c.nu[k]-t.Freedom)*was/c.s2[k]
	}
	k := max(c.unsure/(c.unsure+c.noise), 1/(t.Memory*w))
	c.unsure += k * (k*c.noise - c.unsure)
	c.ref += k * (c.mean[1] - c.ref)
	if c.adrift && c.unsure < 2*c.noise/w {
		c.anchor, c.age, c.adrift = c.ref, 0, false
	}
}

// doubt makes the reference unsure by a distance.
func (c *track) doubt(distance float64) {
	c.unsure += distance * distance
	c.peak = 0
	c.adrift = c.adrift || distance*distance > 4*c.bound
}

// returned says that an episode is over, as what moved is back.
func (c *track) returned(t *tuning) { c.doubt(t.Back * c.peak) }

// accept says that the channel's new level is the usual one.
func (c *track) accept() { c.doubt(max(c.peak, math.Abs(c.mean[1]-c.ref))) }

// relevel says that the next reading may be at any level: it is the reference,
// as unsure as a row is.
func (c *track) relevel() { c.anew, c.unsure, c.peak, c.adrift = true, 1, 0, true }
