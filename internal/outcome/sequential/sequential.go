// Package sequential says how much evidence there is, at any moment and
// however often one looks, that a release does worse than those before it.
// Numbers in, numbers out.
//
// Everything here is an e-process: a number that is 1 before there are data
// and that, for a release as good as before, is expected never to grow. By
// Ville's inequality (J. Ville, Étude critique de la notion de collectif,
// 1939) the probability that it ever reaches 1/a is at most a, whatever the
// number of looks and whenever one stops. So a rollout that is stopped when
// the evidence reaches 1/0.03 stops at most 3 of 100 good releases, with no
// correction for looking after each unit.
//
// Sources: S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, Time-uniform
// Chernoff bounds via nonnegative supermartingales, Probability Surveys 17
// (2020), and Time-uniform, nonparametric, nonasymptotic confidence sequences,
// Annals of Statistics 49 (2021); A. Ramdas, P. Grünwald, V. Vovk, G. Shafer,
// Game-theoretic statistics and safe anytime-valid inference, Statistical
// Science 38 (2023); H. Robbins, Statistical methods related to the law of the
// iterated logarithm, Annals of Mathematical Statistics 41 (1970), for the
// mixtures. A. Wald, Sequential tests of statistical hypotheses (1945), is what
// one would do who knew how bad a bad release is.
package sequential

import (
	"math"

	"gonum.org/v1/gonum/floats"
)

// Past is an earlier rollout: how many units began, and how many of those failed.
type Past struct {
	Failed, Begun int
}

// Baseline is what is known of the share that fails with a good release: a
// Beta distribution, or one number.
type Baseline struct {
	A, B  float64 // of the Beta distribution, unless Exact; their sum is what it weighs, in units
	Rate  float64 // its mean, or the number
	Exact bool
}

// Before anything is known: on average 5 % fail, with the weight of twenty units.
// It is what keeps a product's first rollouts careful without making one
// failure proof of anything.
const priorA, priorB = 1, 19

// leastRate bounds the rates: with a rate of exactly 0 the first failure ever
// would be proof.
const leastRate = 1e-4

// Declared is a baseline that somebody states.
func Declared(rate float64) Baseline {
	return Baseline{Rate: math.Min(math.Max(rate, leastRate), 1-leastRate), Exact: true}
}

// Learned is the baseline that earlier rollouts show; with none it is vague.
//
// Rollouts differ by more than chance where hardware or seasons do. Their
// Pearson dispersion (P. McCullagh, J. A. Nelder, Generalized Linear Models,
// 2nd ed. 1989, section 4.5) divides the weight of what they show.
func Learned(past []Past) Baseline {
	var failed, begun float64
	k := 0
	for _, p := range past {
		if p.Begun > 0 {
			failed, begun, k = failed+float64(p.Failed), begun+float64(p.Begun), k+1
		}
	}
	if share := failed / begun; k > 1 && share > 0 && share < 1 {
		x2 := 0.0
		for _, p := range past {
			if n := float64(p.Begun); n > 0 {
				d := float64(p.Failed) - n*share
				x2 += d * d / (n * share * (1 - share))
			}
		}
		if phi := x2 / float64(k-1); phi > 1 {
			failed, begun = failed/phi, begun/phi
		}
	}
	a, b := priorA+failed, priorB+begun-failed
	return Baseline{A: a, B: b, Rate: a / (a + b)}
}

// extras are the shares of units that a bad release makes fail beyond the
// baseline: one mechanism more, independent of those there were. Each weighs
// the same, so that none is found much later than by who had known it.
var extras = []float64{0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 0.95}

// Test weighs "more units fail than with a good release" against "not more".
type Test struct {
	good model
	bad  []model // a mixture, all of the same weight
}

// model is a distribution of the share that fails: a Beta distribution, or one number.
type model struct {
	a, b float64 // of the Beta distribution, 0 for a number
	norm float64 // logBeta(a, b)
	p    float64 // the number
}

// log is the logarithm of the probability of one order in which so many units
// fail and so many are spared.
func (m *model) log(failed, spared float64) float64 {
	if m.a == 0 {
		return failed*math.Log(m.p) + spared*math.Log1p(-m.p)
	}
	return logBeta(m.a+failed, m.b+spared) - m.norm
}

// New makes a test against a baseline. tolerated is the share of units that
// may fail beyond it.
func New(b Baseline, tolerated float64) *Test {
	// around has the baseline's weight about another mean, so that more
	// failures never speak for the smaller one.
	around := func(mean float64) model {
		mean = math.Min(math.Max(mean, leastRate), 1-leastRate)
		if b.Exact {
			return model{p: mean}
		}
		m := model{a: mean * (b.A + b.B), b: (1 - mean) * (b.A + b.B)}
		m.norm = logBeta(m.a, m.b)
		return m
	}
	mean := b.Rate + tolerated*(1-b.Rate)
	t := &Test{good: around(mean)}
	for _, e := range extras {
		t.bad = append(t.bad, around(mean+e*(1-mean)))
	}
	return t
}

// Evidence is how many times better "worse than before" explains that failed
// of begun units failed. Looked at after any units and at any time, it reaches
// x for at most 1 of x good releases: exactly so against a declared rate, and
// on average over the rates that the history leaves possible against a learned
// one.
//
// Units that have begun and are not decided count as begun: that can only
// delay the evidence (Evidence grows with failed and shrinks with begun).
// The order of the units does not matter, so nothing need be remembered
// between looks.
func (t *Test) Evidence(failed, begun int) float64 {
	failed = max(0, failed)
	if begun < failed {
		begun = failed
	}
	x, y := float64(failed), float64(begun-failed)
	bad := make([]float64, len(t.bad))
	for i := range t.bad {
		bad[i] = t.bad[i].log(x, y)
	}
	return math.Exp(math.Min(floats.LogSumExp(bad)-math.Log(float64(len(bad)))-t.good.log(x, y), maxLog))
}

// maxLog keeps evidence a number that JSON can carry.
const maxLog = 600

// StopsAt is the least number of failures among begun units at which the
// evidence reaches 1/alpha, or begun+1 where none does.
func (t *Test) StopsAt(begun int, alpha float64) int {
	lo, hi := 0, begun+1 // evidence grows with failures
	for lo < hi {
		if mid := (lo + hi) / 2; mid > begun || t.Evidence(mid, begun) >= 1/alpha {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// FalseStops is the share of good releases that may be stopped, unless a
// campaign says otherwise.
const FalseStops = 0.05

// Budget divides a share of false stops among the three things that are
// watched, so that all of them together stop no more: most of it for units
// that fail, which is what a bad release shows first.
func Budget(falseStops float64) (failed, relapsed, harm float64) {
	return 0.6 * falseStops, 0.2 * falseStops, 0.2 * falseStops
}
