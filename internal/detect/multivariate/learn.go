package multivariate

import (
	"math"
	"slices"
)

// kept is how many stretches a history keeps: 4 KiB.
const kept = 512

// history keeps the values of a warm-up: each, or, of a long one, the means of
// as many as it takes to keep no more than kept.
type history struct {
	means []float64
	width int     // values in a mean
	next  float64 // the mean that is not full yet, so far
	part  int     // of how many values
	count int     // values in all, up to the warm-up
	first float64
	alike bool // all values were like the first
}

// add takes a value. Once all values of a warm-up were alike, it waits for one
// that is not, says so, and begins anew with it.
func (h *history) add(v float64, warmup int) (jump bool) {
	if h.count == warmup {
		if v == h.first {
			return false
		}
		*h, jump = history{}, true
	}
	if h.count == 0 {
		*h = history{width: 1, first: v, alike: true}
	}
	h.count++
	h.alike = h.alike && v == h.first
	if h.alike && h.count == warmup {
		*h = history{width: 1, count: warmup, first: v, alike: true}
		return jump
	}
	h.next += v / float64(h.width)
	if h.part++; h.part < h.width {
		return jump
	}
	h.means = append(h.means, h.next)
	h.next, h.part = 0, 0
	if len(h.means) == kept {
		for i := range kept / 2 {
			h.means[i] = h.means[2*i]/2 + h.means[2*i+1]/2
		}
		h.means, h.width = h.means[:kept/2], 2*h.width
	}
	return jump
}

// median orders v.
func median(v []float64) float64 {
	slices.Sort(v)
	return v[(len(v)-1)/2]/2 + v[len(v)/2]/2
}

// learn finds what is usual from the history, and lets go of it.
func (c *track) learn(t *tuning, warmup float64) {
	v := c.past.means
	*c = track{}
	n := len(v)
	if n < 2 {
		return
	}
	sorted := slices.Clone(v)
	c.mid = median(sorted)
	furthest, total := 0.0, 0.0
	for i := range v {
		v[i] -= c.mid
		sorted[i] = math.Abs(v[i])
		furthest = max(furthest, sorted[i])
		total += sorted[i] / float64(n)
	}
	// What is the standard deviation of normal noise by the median; where most
	// values are alike, half of what it is by the mean.
	c.unit = max(1.4826*median(sorted), 0.6267*total)
	if !(c.unit > roundOff*math.Abs(c.mid)) || math.IsInf(furthest, 0) {
		*c = track{} // nothing but rounding, or beyond counting
		return
	}
	// Sums, so that any stretch's mean is a difference.
	sums := make([]float64, n+1)
	for i, x := range v {
		sums[i+1] = sums[i] + min(max(x/c.unit, -t.Clip), t.Clip)
	}
	mean := func(from, length int) float64 { return (sums[from+length] - sums[from]) / float64(length) }
	c.ref = mean(0, n)
	row, shorter := 0.0, 0.0 // noise of a reading by the shortest and by the shorter average
	for k, share := range t.Lengths {
		length := max(1, int(math.Round(share*float64(n))))
		far, near := variances(mean, n, length, c.ref)
		wander, stretches := max(0, far-near), float64(n)/float64(length)
		if k > 0 {
			near = (stretches*near + t.Prior*shorter/float64(length)) / (stretches + t.Prior)
		}
		shorter = near * float64(length)
		if k == 0 {
			row = near * t.Short
		}
		near = max(near, 0.01*row/t.Short*t.Lengths[0]/share)
		c.s2[k] = near*(1+1/stretches) + wander
		c.nu[k] = t.Freedom * (1 + row/c.s2[k])
		c.mean[k] = mean(n-length, length)
		if k == 1 {
			c.noise = near * max(1, share*warmup)
		}
		c.roam = max(0, wander-near*math.Sqrt(2/stretches)) / warmup // no more than chance is none
	}
	c.unsure = c.noise / warmup
	c.anchor, c.bound = c.ref, c.s2[scales-1]+t.Anchor*t.Anchor*row
	c.spike = max(furthest/c.unit/4, 1)
	c.known = true
}

// roundOff is the share of a value that is an error of rounding.
const roundOff = 1e-12

// variances are those of all stretches of a length: about the middle, and half
// the mean square by which each differs from the next.
func variances(mean func(from, length int) float64, n, length int, middle float64) (far, near float64) {
	for i := 0; i+length <= n; i++ {
		x := mean(i, length) - middle
		far += x * x / float64(n-length+1)
		if i+2*length <= n {
			x = mean(i+length, length) - mean(i, length)
			near += x * x / 2 / float64(n-2*length+1)
		}
	}
	return far, near
}
