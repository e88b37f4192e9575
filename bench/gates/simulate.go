package main

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"fettle.dev/fettle/internal/outcome/sequential"
)

// rollout is a campaign over units that fail each with the same probability,
// independently.
type rollout struct {
	waves    []int   // units in each
	baseline float64 // share that fails with a good release
	extra    float64 // share that a bad release makes fail beyond it
	flight   int     // units whose outcome is not known yet when the next one begins
}

func (r *rollout) units() (n int) {
	for _, w := range r.waves {
		n += w
	}
	return n
}

// rate is the probability that a unit fails.
func (r *rollout) rate() float64 { return r.baseline + r.extra*(1-r.baseline) }

// fate is how one rollout ended.
type fate struct {
	stopped bool
	begun   int // units that had begun by then
	failed  int // of those, also the ones that were not known to
}

// method says after each failure whether to stop: failed of begun units are
// known to have failed, of which inWave of the wave's units.
type method struct {
	name string
	stop func(failed, begun, inWave, wave int) bool
}

// fixed is a threshold as hawkBit has: a rollout pauses when more than a share
// of all units of the wave (its rollout group, also those that have not begun)
// have failed (ThresholdRolloutGroupErrorCondition).
func fixed(name string, share float64) func(r *rollout) method {
	return func(r *rollout) method {
		return method{name: name, stop: func(_, _, inWave, wave int) bool {
			return float64(inWave) > share*float64(r.waves[wave])
		}}
	}
}

// evidence is what Fettle does.
func evidence(name string, b sequential.Baseline) method {
	t := sequential.New(b, 0)
	alpha, _, _ := sequential.Budget(sequential.FalseStops)
	// Evidence grows with failures and shrinks with units begun: what is known
	// of one number of units tells of others.
	stops, goesOn := map[int]int{}, map[int]int{} // by failures: the most and the least units begun
	return method{name: name, stop: func(failed, begun, _, _ int) bool {
		if least, ok := goesOn[failed]; ok && begun >= least {
			return false
		}
		if begun <= stops[failed] {
			return true
		}
		stop := t.Evidence(failed, begun) >= 1/alpha
		if stop {
			stops[failed] = begun
		} else {
			goesOn[failed] = begun
		}
		return stop
	}}
}

// wald is the sequential probability ratio test of who knows the baseline and
// how bad the release is: nobody can stop a release of exactly that badness
// after fewer units on average (Wald and Wolfowitz 1948). It has the same
// budget for good releases.
func wald(r *rollout) method {
	more, spared := math.Log(r.rate()/r.baseline), math.Log1p(-r.extra)
	return method{name: "Wald, knowing all", stop: func(failed, begun, _, _ int) bool {
		return float64(failed)*more+float64(begun-failed)*spared >= math.Log(1/sequential.FalseStops)
	}}
}

// play plays a rollout with one method.
func play(r *rollout, m method, rng *rand.Rand) fate {
	units, rate := r.units(), r.rate()
	gap := distuv.Exponential{Rate: -math.Log1p(-rate)} // geometric, when rounded down
	next := func(at int) int {
		g := gap.Quantile(rng.Float64())
		if g > float64(units) {
			return units + 1
		}
		return at + 1 + int(g)
	}
	failed, inWave, wave, end := 0, 0, 0, r.waves[0]
	// Evidence does not grow between failures: it is enough to look at each.
	for at := next(0); at <= units; at = next(at) {
		failed++
		for at > end {
			wave++
			inWave, end = 0, end+r.waves[wave]
		}
		inWave++
		begun := min(units, at+r.flight)
		if m.stop(failed, begun, inWave, wave) {
			for at = next(at); at <= begun; at = next(at) { // those on their way
				failed++
			}
			return fate{stopped: true, begun: begun, failed: failed}
		}
	}
	return fate{begun: units, failed: failed}
}

// summary is what many rollouts of one kind came to.
type summary struct {
	stopped              float64 // share of the rollouts
	begunP50, begunP90   int
	failedP50, failedP90 int
	caused               float64 // mean number of units that failed because of the release
	begunMean            float64
}

// try plays a rollout many times.
func try(r *rollout, of func(rng *rand.Rand) method, times int, seed uint64) summary {
	var s summary
	begun, failed := make([]int, times), make([]int, times)
	for i := range times {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		f := play(r, of(rng), rng)
		if f.stopped {
			s.stopped++
		}
		begun[i], failed[i] = f.begun, f.failed
		s.begunMean += float64(f.begun) / float64(times)
	}
	s.stopped /= float64(times)
	s.caused = s.begunMean * (r.rate() - r.baseline)
	slices.Sort(begun)
	slices.Sort(failed)
	s.begunP50, s.begunP90 = begun[times/2], begun[times*9/10]
	s.failedP50, s.failedP90 = failed[times/2], failed[times*9/10]
	return s
}

// learned gives each rollout a history of its own, of good releases.
func learned(r *rollout, units int) func(*rand.Rand) method {
	known := map[int]method{}
	return func(rng *rand.Rand) method {
		failed := 0
		for range units {
			if rng.Float64() < r.baseline {
				failed++
			}
		}
		if _, ok := known[failed]; !ok {
			known[failed] = evidence("", sequential.Learned([]sequential.Past{{Failed: failed, Begun: units}}))
		}
		return known[failed]
	}
}

func always(m method) func(*rand.Rand) method { return func(*rand.Rand) method { return m } }

func exact(rate float64) sequential.Baseline { return sequential.Declared(rate) }
