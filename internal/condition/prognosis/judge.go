package prognosis

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"fettle.dev/fettle/internal/detect/life"
)

// Interval is a remaining life in steps: with 80 % it is between Low and High.
type Interval struct{ Low, Median, High float64 }

// Foresight is what was learned, ready to predict.
type Foresight interface {
	// Predict tells the remaining life after the first n readings of s. What
	// stands behind them, End and Failed make no difference.
	Predict(s *Series, n int) (Interval, error)
	// Drift tells, for each column, how far the newest of the first n readings
	// are from the life's own first ones, in standard deviations of such drift
	// on units that are well; NaN where it cannot be told.
	Drift(s *Series, n int) ([]float64, error)
	MarshalBinary() ([]byte, error)
}

// Learner makes a Foresight: of lives, the same ones always the same; or of
// what MarshalBinary gave.
type Learner interface {
	Learn(columns []string, lives []Series) (Foresight, error)
	Open(data []byte) (Foresight, error)
}

// looks is how often in each life predictions are judged, and atLeast from how
// many readings on.
const (
	looks   = 10
	atLeast = 5
)

// outcome is a prediction with what came true. Lengths are in steps.
type outcome struct {
	Interval
	truth, weight float64 // weights of a life add up to 1
}

// outcomes predicts ten times in each of lives whose end is known. Every life
// weighs the same, however long it was. predict is given a life and how many
// of its readings may be looked at.
func outcomes(lives []LifeSeries, predict func(s *Series, n int) (Interval, error)) (out []outcome, err error) {
	for i := range lives {
		s := &lives[i].Series
		first, last := len(out), 0
		for k := 1; k <= looks; k++ {
			at := len(s.Ages) * k / looks
			if at < atLeast || at == last {
				continue
			}
			last = at
			p, err := predict(s, at)
			if err != nil {
				return nil, err
			}
			if math.IsNaN(p.Low + p.Median + p.High) {
				return nil, fmt.Errorf("no number after %d of %d readings of a life that lasts %g: %+v", at, len(s.Ages), s.End, p)
			}
			out = append(out, outcome{Interval: p, truth: s.End - s.Ages[at-1]})
		}
		for k := range out[first:] {
			out[first+k].weight = 1 / float64(len(out)-first)
		}
	}
	return out, nil
}

// figures sums outcomes up. Lengths come out in days.
func figures(all []outcome, stepDays float64) Figures {
	var f Figures
	n := 0.0
	for _, o := range all {
		w := o.weight
		n += w
		f.RMSE += w * (o.Median - o.truth) * (o.Median - o.truth)
		f.MAE += w * math.Abs(o.Median-o.truth)
		f.Width += w * (o.High - o.Low)
		if o.Low <= o.truth && o.truth <= o.High {
			f.Coverage += w
		}
		f.Loss += w * (pinball(.1, o.truth-o.Low) + pinball(.5, o.truth-o.Median) + pinball(.9, o.truth-o.High)) / 3
	}
	if f.Lives = int(math.Round(n)); f.Lives == 0 {
		return Figures{}
	}
	f.RMSE = math.Sqrt(f.RMSE/n) * stepDays
	f.MAE, f.Width, f.Loss, f.Coverage = f.MAE/n*stepDays, f.Width/n*stepDays, f.Loss/n*stepDays, f.Coverage/n
	return f
}

// widening is by how much intervals must be stretched about their median to
// hold four of five truths on lives that were not learned from: at least 1, at
// most mostWidening (split conformal prediction with scaled scores, Lei et al.
// 2018, Journal of the American Statistical Association 113:1094). The few
// held-out failures of a young fleet ask for more: the share is raised by
// 1/lives.
func widening(all []outcome) float64 {
	type need struct{ factor, weight float64 }
	needs := make([]need, len(all))
	total := 0.0
	for i, o := range all {
		side, off := o.High-o.Median, o.truth-o.Median
		if off < 0 {
			side, off = o.Median-o.Low, -off
		}
		needs[i] = need{math.Inf(1), o.weight}
		if off == 0 {
			needs[i].factor = 0
		} else if side > 0 {
			needs[i].factor = off / side
		}
		total += o.weight
	}
	slices.SortFunc(needs, func(a, b need) int { return cmp.Compare(a.factor, b.factor) })
	sum := 0.0
	for _, n := range needs {
		if sum += n.weight; sum >= .8*(total+1)-1e-9 {
			return max(1, min(n.factor, mostWidening))
		}
	}
	return mostWidening
}

const mostWidening = 3

// widened is an interval stretched about its median.
func (v Interval) widened(by float64) Interval {
	if by <= 1 {
		return v
	}
	return Interval{v.Median - by*(v.Median-v.Low), v.Median, v.Median + by*(v.High-v.Median)}
}

// pinball is the loss of a quantile (Koenker and Bassett 1978, Econometrica
// 46:33): least, on average, when the quantile is right.
func pinball(q, beyond float64) float64 { return max(q*beyond, (q-1)*beyond) }

// byAge foresees from age alone: the lives that were longer than this one is
// now, by Kaplan and Meier's curve. What signals tell must be better than this.
func byAge(lives []Series) func(s *Series, n int) (Interval, error) {
	obs := make([]life.Observation, len(lives))
	for i := range lives {
		obs[i] = life.Observation{Age: lives[i].End, Failed: lives[i].Failed}
	}
	curve, err := life.KaplanMeier(obs)
	if err != nil {
		return func(*Series, int) (Interval, error) { return Interval{}, err }
	}
	return func(s *Series, n int) (Interval, error) {
		age := s.Ages[n-1]
		alive := 1.0
		if i, found := slices.BinarySearchFunc(curve.Steps, age, func(st life.Step, a float64) int {
			if st.Age < a {
				return -1
			} else if st.Age > a {
				return 1
			}
			return 0
		}); found {
			alive = curve.Steps[i].Survival
		} else if i > 0 {
			alive = curve.Steps[i-1].Survival
		}
		quantile := func(p float64) float64 {
			if alive > 0 {
				if at, ok := curve.Quantile(1 - alive*(1-p)); ok {
					return max(0, at-age)
				}
			}
			return max(0, curve.End-age)
		}
		return Interval{quantile(.1), quantile(.5), quantile(.9)}, nil
	}
}
