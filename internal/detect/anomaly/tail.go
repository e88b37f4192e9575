package anomaly

import "math"

// tail learns how often a statistic, 0 or more, reaches each height: a
// histogram that forgets, and beyond the height that the most extreme share of
// the past reached, an exponential tail (peaks over threshold: Pickands 1975;
// Siffer et al. 2017, section 3). Heights are logarithms of 1 and the
// statistic, so the tail is a power law.
type tail struct {
	Count [bins]float32
	N     float32 // sum of Count
	Unit  float32 // what the newest reading counts; it grows, so that the older ones fade
	Top   uint8   // the highest of Count that isn't 0
}

const (
	bins      = 48
	binWidth  = 0.25
	tailShare = 0.3  // of the past is modelled by the exponential
	tailPrior = 0.15 // mean excess, of the logarithm, before anything is known, and at least,
	priorSize = 160. // worth so many readings
	memory    = 8000 // readings that are remembered
)

// surprise is -ln of the probability that the statistic reaches a height
// again: the logarithm of 1 and it.
func (t *tail) surprise(height float64) float64 {
	target, above, weighed := tailShare*t.N, float32(0), float32(0)
	b := int(t.Top)
	for ; b > 0; b-- {
		c := t.Count[b]
		if above+c > target {
			break
		}
		above += c
		weighed += c * (float32(b) + 0.5)
	}
	unit, edge := float64(max(t.Unit, 1)), float64(b+1)*binWidth
	n, a := float64(t.N)/unit, float64(above)/unit
	atEdge := -math.Log((a + 0.5) / (n + 1))
	if height <= edge {
		return atEdge * height / edge
	}
	excess := float64(weighed)/unit*binWidth - a*edge
	return atEdge + (height-edge)/max(tailPrior, (excess+priorSize*tailPrior)/(a+priorSize))
}

// add learns that the statistic was so high.
func (t *tail) add(height float64) {
	b := min(int(height/binWidth), bins-1)
	switch {
	case t.Unit == 0:
		t.Unit = 1
	case t.N >= memory*t.Unit:
		t.Unit *= 1 + 1./memory
	}
	t.Count[b] += t.Unit
	t.N += t.Unit
	t.Top = max(t.Top, uint8(b))
	if t.Unit > 64 {
		t.N = 0
		for i := range t.Count {
			t.Count[i] /= t.Unit
			t.N += t.Count[i]
		}
		t.Unit = 1
	}
}

// A view is one way to look at a signal: a statistic about 0, whose size is
// measured by its own usual size and whose two sides have tails of their own.
type view struct {
	Root     mean // of the square root of the statistic's size
	Size     mean // of its size in units of the square of that
	Square   mean // and of the square of the size
	Pos, Neg tail
}

const (
	scaleRows = 4000 // readings over which the usual size is averaged
	sizeClip  = 20   // usual sizes that one reading counts for at most, on the average
	sizeMost  = 1e12 // usual sizes there are at most
	deviation = 0.05 // least standard deviation of a size
	histogram = 0.5  // weight of the histogram's opinion, the rest is the moments'
	jump      = 20   // size of the first reading that is not what all before were
	burnIn    = 50   // readings before a view has an opinion
)

// step returns the surprise at x: the logarithmic pool (Genest and Zidek 1986)
// of what the histogram says and of the tail of a gamma distribution of the
// same mean and deviation. The first knows heavy tails, the second how far is
// far. A mean of roots finds the usual size in spite of outliers.
func (v *view) step(x float64) float64 {
	y, size := 0.0, math.Abs(x)
	if s := v.size(); s > 0 {
		y = min(size/s, sizeMost)
	} else if x != 0 && v.Root.N > 0 {
		y = jump
	}
	v.Root.add(math.Sqrt(size), scaleRows)

	side, other := &v.Pos, &v.Neg
	if x < 0 {
		side, other = other, side
	}
	height, surprise := math.Log1p(y), 0.0
	if v.Size.N >= burnIn {
		surprise = histogram*side.surprise(height) + (1-histogram)*v.far(y)
	}
	side.add(height)
	other.add(0)
	y = min(y, sizeClip)
	v.Size.add(y, memory)
	v.Square.add(y*y, memory)
	return surprise
}

// size is the statistic's usual size; 0 if none is known, or it is too small
// for a number.
func (v *view) size() float64 { return v.Root.M * v.Root.M }

// far is -ln of the probability of y beyond the mean, if sizes are of a gamma
// distribution: its rate is mean over variance, but for sizes that vary less
// than an exponential's, 1 over the deviation.
func (v *view) far(y float64) float64 {
	m := v.Size.M
	sd := math.Sqrt(max(v.Square.M-m*m, 0))
	d := max(0, (y-m)/(sd+deviation))
	if sd > m {
		d *= m / sd
	}
	return d
}

// mean is the mean of the first readings, then an exponentially weighted one.
type mean struct{ M, N float64 }

func (m *mean) add(x, rows float64) {
	m.N = min(m.N+1, rows)
	m.M += (x - m.M) / m.N
}
