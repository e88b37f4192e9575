package anomaly

import "math"

// tail learns how often a statistic, 0 or more, reaches each height: a
// histogram that forgets, and beyond the height that the most extreme share of
// the past reached, an exponential tail (peaks over threshold: Pickands 1975;
// Siffer et al. 2017, section 3). Its axis is the logarithm of 1+y, so that the
// tail is a power law in y.
type tail struct {
	Count [bins]float32
	N     float32 // sum of Count
	Unit  float32 // what the newest reading counts; it grows, so that the older ones fade
}

const (
	bins      = 48
	binWidth  = 0.25
	tailShare = 0.2    // of the past is modelled by the exponential
	tailRoot  = 1000.0 // x
	tailPrior = 0.05   // mean excess before anything is known, and at least,
	priorSize = 80.    // worth so many readings
	memory    = 4000   // readings that are remembered
)

// surprise is -ln of the probability that the statistic reaches y again.
func (t *tail) surprise(y float64) float64 {
	target, above, weighed := min(tailShare*t.N, tailRoot*float32(math.Sqrt(float64(t.N*max(t.Unit, 1))))), float32(0), float32(0)
	b := bins - 1
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
	if y = math.Log1p(y); y <= edge {
		return atEdge * y / edge
	}
	excess := float64(weighed)/unit*binWidth - a*edge
	return atEdge + (y-edge)/max(tailPrior, (excess+priorSize*tailPrior)/(a+priorSize))
}

// add learns that the statistic was y.
func (t *tail) add(y float64) {
	b := min(int(math.Log1p(y)/binWidth), bins-1)
	switch {
	case t.Unit == 0:
		t.Unit = 1
	case t.N >= memory*t.Unit:
		t.Unit *= 1 + 1./memory
	}
	t.Count[b] += t.Unit
	t.N += t.Unit
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
	Scale    mean // of the statistic's size
	Size     mean // of its size in units of Scale
	Square   mean // and of the square of that
	Pos, Neg tail
}

const (
	scaleRows  = 2000 // readings over which the usual size is averaged
	scaleClip  = 4    // usual sizes that one reading counts for at most
	sizeClip   = 200  // units of Scale that one reading counts for at most
	deviation  = 0.05 // least standard deviation of a size
	histogram  = 0.5  // weight of the histogram's opinion, the rest is the moments'
	jump       = 20   // size of the first reading that is not what all before were
	burnIn     = 100  // readings before a view has an opinion
	scaleAfter = 20   // readings before they are clipped
)

// step returns the surprise at x: the logarithmic pool (Genest and Zidek 1986)
// of what the histogram says and of an exponential distribution of the same
// mean and deviation. The first knows heavy tails, the second how far is far.
func (v *view) step(x float64) float64 {
	y, size := 0.0, math.Abs(x)
	if s := v.Scale.M; s > 0 {
		y = min(size/s, 1e12)
		if v.Scale.N > scaleAfter {
			size = min(size, scaleClip*s)
		}
	} else if x != 0 && v.Scale.N > 0 {
		y = jump
	}
	v.Scale.add(size, scaleRows)

	side, other := &v.Pos, &v.Neg
	if x < 0 {
		side, other = other, side
	}
	surprise := 0.0
	if v.Size.N >= burnIn {
		m := v.Size.M
		far := max(0, (y-m)/(math.Sqrt(max(v.Square.M-m*m, 0))+deviation))
		surprise = histogram*side.surprise(y) + (1-histogram)*far
	}
	side.add(y)
	other.add(0)
	y = min(y, sizeClip)
	v.Size.add(y, memory)
	v.Square.add(y*y, memory)
	return surprise
}

// mean is the mean of the first readings, then an exponentially weighted one.
type mean struct{ M, N float64 }

func (m *mean) add(x, rows float64) {
	m.N = min(m.N+1, rows)
	m.M += (x - m.M) / m.N
}
