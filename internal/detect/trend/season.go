package trend

import "math"

const (
	hour = 3_600_000
	day  = 24 * hour
	week = 7 * day
	// monday is a Monday's midnight, from which weeks count.
	monday = 4 * day
)

// cycle learns what a signal does by itself within each period: the mean of
// each slot against the mean of its period, without the change from one period
// to the next.
type cycle struct {
	period, origin int64
	slots          int
	whole          int     // periods learned from
	index          int64   // of the period that is under way
	begun          bool    //
	before         float64 // mean of the period before
	after          int64   // its index + 1; 0: none
	mean, noise    [24]float64
	sum            [24]float64
	count          [24]float64
}

func newDay() cycle  { return cycle{period: day, slots: 24} }
func newWeek() cycle { return cycle{period: week, slots: 7, origin: monday} }

// memory is over how many periods a cycle is remembered.
const memory = 20

func (c *cycle) add(at int64, v float64) {
	i := floorDiv(at-c.origin, c.period)
	if !c.begun || i != c.index {
		if c.begun {
			c.close()
		}
		c.index, c.begun = i, true
		c.sum, c.count = [24]float64{}, [24]float64{}
	}
	s := int((at - c.origin - i*c.period) / (c.period / int64(c.slots)))
	c.count[s]++
	c.sum[s] += (v - c.sum[s]) / c.count[s]
}

func (c *cycle) close() {
	filled, mean := 0, 0.0
	for s := range c.slots {
		if c.count[s] > 0 {
			filled++
			mean += (c.sum[s] - mean) / float64(filled)
		}
	}
	if 4*filled < 3*c.slots {
		// Slower signals than a slot: any three slots tell something of a cycle.
		if filled < 3 {
			if c.slots == 24 {
				c.whole++ // seen once or twice a day: there is no cycle to be seen
			}
			return
		}
	}
	change := 0.0
	if c.after == c.index && c.after != 0 {
		change = mean - c.before
	}
	c.before, c.after = mean, c.index+1
	gain := 1 / float64(min(c.whole, memory)+1)
	for s := range c.slots {
		if c.count[s] == 0 {
			continue
		}
		middle := (float64(s)+0.5)/float64(c.slots) - 0.5
		d := c.sum[s] - mean - change*middle
		off := d - c.mean[s]
		c.mean[s] += gain * off
		c.noise[s] += gain * (off*off*(1-gain) - c.noise[s])
	}
	c.whole++
}

// profile is a cycle as far as it is more than chance.
type profile struct {
	origin, period int64
	slots          int
	v              [24]float64
	low, high      float64
}

// shrunk is the cycle drawn towards nothing by how much of it may be chance
// (James and Stein, 1961, positive part).
func (c *cycle) shrunk() profile {
	p := profile{origin: c.origin, period: c.period, slots: c.slots}
	if c.whole < leastCycles {
		return p
	}
	var size, chance float64
	for s := range c.slots {
		size += c.mean[s] * c.mean[s]
		chance += c.noise[s] / float64(min(c.whole, memory))
	}
	if size <= 2*chance {
		return p
	}
	by := 1 - chance/size
	for s := range c.slots {
		p.v[s] = by * c.mean[s]
		p.low, p.high = math.Min(p.low, p.v[s]), math.Max(p.high, p.v[s])
	}
	return p
}

// over is the mean of the profile from one time to another.
func (p *profile) over(from, to int64) float64 {
	if p.low == 0 && p.high == 0 {
		return 0
	}
	if to <= from {
		return p.at(from)
	}
	if to-from >= 2*p.period {
		return 0
	}
	const parts = 16
	sum := 0.0
	for i := range int64(parts) {
		sum += p.at(from + (to-from)*(2*i+1)/(2*parts))
	}
	return sum / parts
}

// at is the profile between the middles of its slots.
func (p *profile) at(t int64) float64 {
	in := t - p.origin - floorDiv(t-p.origin, p.period)*p.period
	x := float64(in)/float64(p.period)*float64(p.slots) - 0.5
	i := int(math.Floor(x))
	f := x - float64(i)
	a, b := p.v[(i+p.slots)%p.slots], p.v[(i+1)%p.slots]
	return a + f*(b-a)
}
