package life

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// Weibull is a fitted Weibull distribution: the share that outlives age t is
// exp(-(t/Scale)^Shape). Shape below 1: they fail young; about 1: by chance;
// above: they wear out. It is a value: it may be copied and stored.
type Weibull struct {
	Shape    float64 `json:"shape"`
	Scale    float64 `json:"scale"` // characteristic life: 63.2 % have failed by it
	Failures int     `json:"failures"`
	N        int     `json:"n"`
	// Covariance of the estimates of log Shape and log Scale: [shape, both, scale].
	Covariance [3]float64 `json:"covariance"`
}

// Errors of FitWeibull.
var (
	ErrZeroAge   = errors.New("life: a part that failed at age 0 fits no Weibull distribution: leave it out and count it apart, or give it a small age")
	ErrNoMaximum = errors.New("life: the ages determine no Weibull distribution: two different ages of failure are needed")
)

// FitWeibull finds the most likely Weibull distribution of right-censored,
// possibly left-truncated ages, with the covariance from the observed
// information (Meeker and Escobar 1998, Statistical Methods for Reliability
// Data, sections 8.3 and 11.6). It wants two different ages of failure.
func FitWeibull(obs []Observation) (Weibull, error) {
	if err := check(obs); err != nil {
		return Weibull{}, err
	}
	w := Weibull{N: len(obs)}
	var top, sumLog, first float64
	spread := false
	for _, o := range obs {
		top = max(top, o.Age)
		if !o.Failed {
			continue
		}
		if o.Age == 0 {
			return Weibull{}, ErrZeroAge
		}
		if w.Failures == 0 {
			first = o.Age
		}
		spread = spread || o.Age != first
		w.Failures++
		sumLog += math.Log(o.Age)
	}
	if w.Failures == 0 {
		return Weibull{}, ErrNoFailure
	}
	// Withdrawals well after the only age of failure would do as well, but a
	// shape from one age is no estimate worth having.
	if !spread {
		return Weibull{}, ErrNoMaximum
	}
	d := float64(w.Failures)
	meanLog := sumLog/d - math.Log(top) // ages are taken as shares of the greatest, so that no power overflows
	// sums are those of u^k, u^k log u and u^k (log u)^2 over the time watched.
	sums := func(k float64) (s0, s1, s2 float64) {
		add := func(age, sign float64) {
			if age == 0 {
				return
			}
			l := math.Log(age / top)
			p := sign * math.Exp(k*l)
			s0, s1, s2 = s0+p, s1+p*l, s2+p*l*l
		}
		for _, o := range obs {
			add(o.Age, 1)
			add(o.Entry, -1)
		}
		return s0, s1, s2
	}
	score := func(k float64) float64 { // of the likelihood with the best scale for k
		s0, s1, _ := sums(k)
		return 1/k + meanLog - s1/s0
	}
	lo, hi := 1.0, 1.0
	for score(lo) < 0 {
		if lo /= 2; lo < 1e-4 {
			return Weibull{}, ErrNoMaximum
		}
	}
	for score(hi) > 0 {
		if hi *= 2; hi > 1e5 {
			return Weibull{}, ErrNoMaximum
		}
	}
	for range 200 {
		mid := (lo + hi) / 2
		if mid <= lo || mid >= hi {
			break
		}
		if score(mid) > 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	k := (lo + hi) / 2
	s0, s1, s2 := sums(k)
	w.Shape = k
	w.Scale = top * math.Pow(s0/d, 1/k)

	// The observed information in (log k, log scale): with z = k log(t/scale)
	// and v = exp z, the log-likelihood is the failures' sum of log k + z less
	// the sum of v; at the maximum, the sum of v is d.
	shift := math.Log(w.Scale / top)
	v1 := d / s0 * (s1 - shift*s0)
	v2 := d / s0 * (s2 - 2*shift*s1 + shift*shift*s0)
	sz := k * (sumLog - d*math.Log(w.Scale)) // sum of z over failures
	a := k*v1 + k*k*v2 - sz                  // -d2L/d(log k)^2
	b := -k * k * v1                         // -d2L/d(log k)d(log scale)
	c := k * k * d
	det := a*c - b*b
	if !(det > 0) || !(a > 0) || !(w.Scale > 0) || math.IsInf(w.Scale+1/det, 0) {
		return Weibull{}, ErrNoMaximum
	}
	w.Covariance = [3]float64{c / det, -b / det, a / det}
	return w, nil
}

// Survival is the share of new parts that outlives age.
func (w Weibull) Survival(age float64) float64 { return math.Exp(-w.cumulative(age)) }

// Hazard is the rate of failure at age, among those still working, for each
// unit of age.
func (w Weibull) Hazard(age float64) float64 {
	return w.Shape / w.Scale * math.Pow(max(age, 0)/w.Scale, w.Shape-1)
}

func (w Weibull) cumulative(age float64) float64 { return math.Pow(max(age, 0)/w.Scale, w.Shape) }

// Quantile is the age by which the share p of new parts has failed:
// Quantile(0.1) is the B10 life.
func (w Weibull) Quantile(p float64) float64 {
	return w.Scale * math.Pow(-math.Log1p(-p), 1/w.Shape)
}

// Mean is the mean life of new parts.
func (w Weibull) Mean() float64 { return w.Scale * math.Gamma(1+1/w.Shape) }

// Risk is the chance that a part working at age fails within the horizon.
func (w Weibull) Risk(age, horizon float64) float64 {
	return -math.Expm1(w.cumulative(age) - w.cumulative(age+horizon))
}

// Remaining is the time by which the share p of parts that work at age will
// have failed from then on: Remaining(age, 0.5) is their median remaining life.
func (w Weibull) Remaining(age, p float64) float64 {
	return w.Scale*math.Pow(w.cumulative(age)-math.Log1p(-p), 1/w.Shape) - age
}

// ShapeInterval bounds Shape with the given confidence, by normal
// approximation on the log scale (Meeker and Escobar, section 8.4).
func (w Weibull) ShapeInterval(confidence float64) (lo, hi float64) {
	f := math.Exp(normal(confidence) * math.Sqrt(w.Covariance[0]))
	return w.Shape / f, w.Shape * f
}

// ScaleInterval bounds Scale likewise.
func (w Weibull) ScaleInterval(confidence float64) (lo, hi float64) {
	f := math.Exp(normal(confidence) * math.Sqrt(w.Covariance[2]))
	return w.Scale / f, w.Scale * f
}

// QuantileInterval bounds Quantile(p): log t = log Scale + log(-log(1-p))/Shape.
func (w Weibull) QuantileInterval(p, confidence float64) (lo, hi float64) {
	q := math.Log(-math.Log1p(-p)) / w.Shape
	log, d := math.Log(w.Scale)+q, normal(confidence)*math.Sqrt(w.variance(-q, 1))
	return math.Exp(log - d), math.Exp(log + d)
}

// SurvivalInterval bounds Survival(age): log(-log S) = Shape log(age/Scale).
func (w Weibull) SurvivalInterval(age, confidence float64) (lo, hi float64) {
	if age <= 0 {
		return 1, 1
	}
	z := w.Shape * math.Log(age/w.Scale)
	d := normal(confidence) * math.Sqrt(w.variance(z, -w.Shape))
	return math.Exp(-math.Exp(z + d)), math.Exp(-math.Exp(z - d))
}

// RiskInterval bounds Risk, by the delta method on the log of the cumulative
// hazard between age and age+horizon.
func (w Weibull) RiskInterval(age, horizon, confidence float64) (lo, hi float64) {
	h1, h0 := w.cumulative(age+horizon), w.cumulative(age)
	h := h1 - h0
	if h <= 0 {
		return 0, 0
	}
	dk := h1 * w.Shape * math.Log((age+horizon)/w.Scale)
	if h0 > 0 {
		dk -= h0 * w.Shape * math.Log(age/w.Scale)
	}
	d := normal(confidence) * math.Sqrt(w.variance(dk/h, -w.Shape))
	return -math.Expm1(-h * math.Exp(-d)), -math.Expm1(-h * math.Exp(d))
}

// variance of a*log Shape + b*log Scale.
func (w Weibull) variance(a, b float64) float64 {
	return max(0, a*a*w.Covariance[0]+2*a*b*w.Covariance[1]+b*b*w.Covariance[2])
}

// quadratic is (O-E)' V^-1 (O-E) of all groups but one, whose counts follow from
// the others'.
func quadratic(cov [][]float64, observed []int, expected []float64, of []int) (float64, error) {
	v := mat.NewSymDense(len(of), nil)
	diff := mat.NewVecDense(len(of), nil)
	for i, g := range of {
		diff.SetVec(i, float64(observed[g])-expected[g])
		for j, h := range of[i:] {
			v.SetSym(i, i+j, cov[g][h])
		}
	}
	var chol mat.Cholesky
	if !chol.Factorize(v) {
		return 0, errApart
	}
	var x mat.VecDense
	if err := chol.SolveVecTo(&x, diff); err != nil {
		return 0, fmt.Errorf("life: the groups can't be compared: %w", err)
	}
	return mat.Dot(diff, &x), nil
}
