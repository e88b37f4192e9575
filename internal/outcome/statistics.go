package outcome

import (
	"math"

	"gonum.org/v1/gonum/stat/combin"
	"gonum.org/v1/gonum/stat/distuv"
)

// fisher is the two-sided p of Fisher's exact test (R. A. Fisher, 1935) that
// a of n units breach in one arm and b of m in the other: the probability,
// both margins given, of all tables that are at most as probable as the one seen.
func fisher(a, n, b, m int) float64 {
	k := a + b // breaches in all
	lo, hi := max(0, k-m), min(n, k)
	all := combin.LogGeneralizedBinomial(float64(n+m), float64(k))
	prob := func(i int) float64 {
		return math.Exp(combin.LogGeneralizedBinomial(float64(n), float64(i)) +
			combin.LogGeneralizedBinomial(float64(m), float64(k-i)) - all)
	}
	// Tables that are equally probable differ by rounding only.
	seen, p := prob(a)*(1+1e-7), 0.0
	for i := lo; i <= hi; i++ {
		if q := prob(i); q <= seen {
			p += q
		}
	}
	return math.Min(1, p)
}

// wilson is the 95 % score interval of a share (E. B. Wilson, 1927).
func wilson(x, n int) (low, high float64) {
	z := distuv.UnitNormal.Quantile(0.975)
	p, nf := float64(x)/float64(n), float64(n)
	mid := 2*nf*p + z*z
	half := z * math.Sqrt(z*z+4*nf*p*(1-p))
	return (mid - half) / (2 * (nf + z*z)), (mid + half) / (2 * (nf + z*z))
}

// newcombe is the 95 % interval of the difference x1/n1 - x2/n2: method 10 of
// R. G. Newcombe, Interval estimation for the difference between independent
// proportions, Statistics in Medicine 17 (1998), 873-890.
func newcombe(x1, n1, x2, n2 int) (diff, low, high float64) {
	p1, p2 := float64(x1)/float64(n1), float64(x2)/float64(n2)
	l1, u1 := wilson(x1, n1)
	l2, u2 := wilson(x2, n2)
	diff = p1 - p2
	return diff, diff - math.Hypot(p1-l1, u2-p2), diff + math.Hypot(u1-p1, p2-l2)
}
