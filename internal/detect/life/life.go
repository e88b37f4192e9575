// Package life estimates how long parts last from the ages at which some
// failed and the others were last seen working: Kaplan and Meier's curve,
// which assumes nothing; Weibull's two parameters, which allow a forecast; and
// the log-rank test, which says whether two batches or versions differ.
// Ages are in any unit the caller likes: hours, cycles, kilometres.
package life

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// Observation is one part's life as far as it was watched.
type Observation struct {
	Age    float64 // at failure, or when last seen working
	Failed bool    // false: still working at Age (right-censored)
	Entry  float64 // age at which watching began; 0: since new. Later: left-truncated, for such parts that failed before are unknown
}

// Errors of estimates that the observations don't support.
var (
	ErrNoObservation = errors.New("life: no observation")
	errApart         = errors.New("life: the groups were not at risk at the same ages: they can't be compared")
	ErrNoFailure     = errors.New("life: no part has failed yet")
)

// check refuses what is no life.
func check(obs []Observation) error {
	if len(obs) == 0 {
		return ErrNoObservation
	}
	for i, o := range obs {
		if !(o.Age >= 0) || math.IsInf(o.Age, 0) || !(o.Entry >= 0) || o.Entry > o.Age {
			return fmt.Errorf("life: observation %d: want 0 <= entry <= age, finite; got entry %g, age %g", i, o.Entry, o.Age)
		}
	}
	return nil
}

// Step is an age at which parts failed.
type Step struct {
	Age      float64
	AtRisk   int     // parts watched and working just before
	Failures int     // of them at this age
	Survival float64 // estimated share that outlives Age
	StdErr   float64 // of Survival, by Greenwood's formula
	logVar   float64 // Greenwood's sum: variance of log Survival
}

// Curve is a survival curve: it falls at each step and is level between.
type Curve struct {
	Steps []Step  // ascending ages
	End   float64 // the greatest age seen; the curve says nothing beyond
	N     int     // observations
}

// KaplanMeier is the product-limit estimate of the survival curve (Kaplan and
// Meier 1958, JASA 53:457) with Greenwood's (1926) variance. A part is at risk
// after its Entry up to and including its Age; failures come before
// withdrawals at the same age. The observations may come in any order.
func KaplanMeier(obs []Observation) (Curve, error) {
	if err := check(obs); err != nil {
		return Curve{}, err
	}
	c := Curve{N: len(obs)}
	exits, entries := make([]float64, len(obs)), make([]float64, len(obs))
	var failures []float64
	for i, o := range obs {
		exits[i], entries[i] = o.Age, o.Entry
		c.End = max(c.End, o.Age)
		if o.Failed {
			failures = append(failures, o.Age)
		}
	}
	slices.Sort(exits)
	slices.Sort(entries)
	slices.Sort(failures)
	survival, sum := 1.0, 0.0
	left, entered := 0, 0
	for i := 0; i < len(failures); {
		age := failures[i]
		d := 0
		for i < len(failures) && failures[i] == age {
			d, i = d+1, i+1
		}
		for left < len(exits) && exits[left] < age {
			left++
		}
		for entered < len(entries) && (entries[entered] < age || entries[entered] == 0) {
			entered++
		}
		n := max(entered-left, d) // one that failed in the moment it entered was at risk
		survival *= 1 - float64(d)/float64(n)
		if d < n {
			sum += float64(d) / (float64(n) * float64(n-d))
		}
		c.Steps = append(c.Steps, Step{age, n, d, survival, survival * math.Sqrt(sum), sum})
	}
	return c, nil
}

// step is the newest step at or before age, or nil.
func (c Curve) step(age float64) *Step {
	i, found := slices.BinarySearchFunc(c.Steps, age, func(s Step, age float64) int {
		switch {
		case s.Age < age:
			return -1
		case s.Age > age:
			return 1
		}
		return 0
	})
	if found {
		return &c.Steps[i]
	}
	if i == 0 {
		return nil
	}
	return &c.Steps[i-1]
}

// At is the estimated share of parts that outlive age; NaN beyond End, unless
// all have failed.
func (c Curve) At(age float64) float64 {
	s := c.step(age)
	switch {
	case s != nil && s.Survival == 0:
		return 0
	case age > c.End || c.N == 0:
		return math.NaN()
	case s == nil:
		return 1
	}
	return s.Survival
}

// Interval bounds At(age) with the given confidence (0.95, say) on the scale
// log(-log S), which keeps it between 0 and 1 (Kalbfleisch and Prentice 2002,
// section 1.4). Where the estimate is 1 or 0, it has no width to go by: then
// the side that is open is bounded by what N observations without a failure
// (or a survivor) exclude.
func (c Curve) Interval(age, confidence float64) (lo, hi float64) {
	at := c.At(age)
	s := c.step(age)
	switch {
	case math.IsNaN(at):
		return at, at
	case s == nil:
		return math.Pow((1-confidence)/2, 1/float64(c.N)), 1
	case at == 0:
		return 0, 1 - math.Pow((1-confidence)/2, 1/float64(max(s.AtRisk, 1)))
	}
	log := math.Log(at)
	w := normal(confidence) * math.Sqrt(s.logVar) / -log
	return math.Exp(log * math.Exp(w)), math.Exp(log * math.Exp(-w))
}

// Quantile is the age by which the share p of parts has failed: the first
// step where the curve is at or below 1-p; false when it never falls so far.
func (c Curve) Quantile(p float64) (age float64, ok bool) {
	for _, s := range c.Steps {
		if s.Survival <= 1-p+1e-12 {
			return s.Age, true
		}
	}
	return 0, false
}

// Comparison is the result of a test whether groups live equally long.
type Comparison struct {
	ChiSquare float64
	Freedom   int       // groups that can be told apart, less one
	P         float64   // chance of so great a difference between equals
	Failures  []int     // of each group
	Expected  []float64 // failures of each group, were all equal
}

// LogRank tests whether groups have the same survival curve (Mantel 1966;
// Peto and Peto 1972; Kalbfleisch and Prentice 2002, section 1.5).
func LogRank(groups ...[]Observation) (Comparison, error) {
	k := len(groups)
	c := Comparison{Freedom: k - 1, Failures: make([]int, k), Expected: make([]float64, k)}
	if k < 2 {
		return c, errors.New("life: the log-rank test wants two groups or more")
	}
	var ages []float64
	for g, obs := range groups {
		if err := check(obs); err != nil {
			return c, fmt.Errorf("group %d: %w", g, err)
		}
		for _, o := range obs {
			if o.Failed {
				ages = append(ages, o.Age)
				c.Failures[g]++
			}
		}
	}
	if len(ages) == 0 {
		return c, ErrNoFailure
	}
	slices.Sort(ages)
	ages = slices.Compact(ages)
	cov := make([][]float64, k)
	for g := range cov {
		cov[g] = make([]float64, k)
	}
	atRisk, failed := make([]float64, k), make([]float64, k)
	for _, age := range ages {
		var n, d float64
		for g, obs := range groups {
			atRisk[g], failed[g] = 0, 0
			for _, o := range obs {
				if o.Age >= age && (o.Entry < age || o.Entry == 0 || o.Failed && o.Age == age) {
					atRisk[g]++
					if o.Failed && o.Age == age {
						failed[g]++
					}
				}
			}
			n, d = n+atRisk[g], d+failed[g]
		}
		for g := range groups {
			c.Expected[g] += d * atRisk[g] / n
			if n < 2 {
				continue
			}
			for h := range groups {
				same := 0.0
				if g == h {
					same = 1
				}
				cov[g][h] += d * (n - d) / (n - 1) * atRisk[g] / n * (same - atRisk[h]/n)
			}
		}
	}
	// A group that was never at risk beside another when something failed, as a
	// batch just put in, says nothing and keeps nothing of the others back.
	var told []int
	for g := range groups {
		if cov[g][g] > 0 {
			told = append(told, g)
		}
	}
	if c.Freedom = len(told) - 1; c.Freedom < 1 {
		return c, errApart
	}
	x, err := quadratic(cov, c.Failures, c.Expected, told[1:])
	if err != nil {
		return c, err
	}
	c.ChiSquare = x
	c.P = distuv.ChiSquared{K: float64(c.Freedom)}.Survival(x)
	return c, nil
}

// normal is the half-width of a standard normal interval.
func normal(confidence float64) float64 { return distuv.UnitNormal.Quantile((1 + confidence) / 2) }
