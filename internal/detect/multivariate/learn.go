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
	sum   float64 // of the values that are no mean yet
	part  int     // how many those are
	count int     // values in all
	same  bool    // all values were alike
	first float64
}

func (h *history) add(v float64) {
	if h.count == 0 {
		h.width, h.same, h.first = 1, true, v
	}
	h.same = h.same && v == h.first
	h.count++
	h.sum += v
	if h.part++; h.part < h.width {
		return
	}
	h.means = append(h.means, h.sum/float64(h.part))
	h.sum, h.part = 0, 0
	if len(h.means) < kept {
		return
	}
	for i := range kept / 2 {
		h.means[i] = (h.means[2*i] + h.means[2*i+1]) / 2
	}
	h.means, h.width = h.means[:kept/2], 2*h.width
}

// median orders v.
func median(v []float64) float64 {
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// learn finds what is usual from the history, and lets go of it. Of a channel
// that never moved nothing can be learned: it begins anew.
func (c *track) learn(t *tuning, warmup float64) {
	v := c.past.means
	c.past = history{}
	n := len(v)
	if n < 2 {
		return
	}
	dev := slices.Clone(v)
	mid := median(dev)
	dist, jump := 0.0, 0.0
	for i, x := range v {
		dev[i] = math.Abs(x - mid)
		dist += dev[i] / float64(n)
		if i > 0 {
			jump += math.Abs(x-v[i-1]) / float64(n-1)
		}
	}
	c.spread = slices.Max(dev)
	robust := max(1.4826*median(dev), 0.6267*dist) // normal noise: its deviation; half that by the mean
	c.clip = t.Clip * robust
	// Sums of the clipped values, so that any stretch's mean is a difference.
	sums := make([]float64, n+1)
	for i, x := range v {
		sums[i+1] = sums[i] + min(max(x-mid, -c.clip), c.clip)
	}
	stretch := func(from, length int) float64 { return (sums[from+length] - sums[from]) / float64(length) }
	mean := stretch(0, n)
	var whole float64
	for i := range n {
		x := stretch(i, 1) - mean
		whole += x * x / float64(n)
	}
	before, length0 := 0.0, 0
	for k, share := range t.Lengths {
		length := max(1, int(math.Round(share*float64(n))))
		near, far, stretches := 0.0, 0.0, float64(n)/float64(length)
		for i := 0; i+length <= n; i++ {
			x := stretch(i, length) - mean
			far += x * x / float64(n-length+1)
			if i+2*length <= n {
				x = stretch(i+length, length) - stretch(i, length)
				near += x * x / 2 / float64(n-2*length+1)
			}
		}
		wander := max(0, far-near)
		if k > 0 {
			near = (stretches*near + t.Prior*before*float64(length0)/float64(length)) / (stretches + t.Prior)
		}
		before, length0 = near, length
		near = max(near, 0.01*whole/float64(length))
		c.s2[k] = near*(1+1/stretches) + wander
		c.nu[k] = t.Freedom * whole / c.s2[k]
		c.gain[k] = 2 / (max(1, share*warmup) + 1)
		c.mean[k] = mid + stretch(n-length, length)
		if k == 1 {
			c.noise = near * max(1, share*warmup)
		}
	}
	c.unsure = c.noise / warmup
	c.ref = mid + mean
	c.spread = max(c.spread/4, robust)
	ok := c.noise > 0 && !math.IsInf(c.ref, 0)
	for k := range c.s2 {
		ok = ok && c.s2[k] > 0 && !math.IsInf(c.s2[k], 0) && !math.IsNaN(c.nu[k]) && !math.IsInf(c.mean[k], 0)
	}
	c.known = ok
	if !ok {
		*c = track{}
	}
}
