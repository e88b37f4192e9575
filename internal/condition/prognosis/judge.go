package prognosis

import (
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

// judge holds predictions against lives whose end is known. Every life weighs
// the same, however long it was. predict is given a life and how many of its
// readings may be looked at. Lengths come out in days.
func judge(lives []LifeSeries, stepDays float64, predict func(s *Series, n int) (Interval, error)) (Figures, error) {
	var f Figures
	for i := range lives {
		s := &lives[i].Series
		var square, abs, loss, width, inside, n float64
		last := 0
		for k := 1; k <= looks; k++ {
			at := len(s.Ages) * k / looks
			if at < atLeast || at == last {
				continue
			}
			last = at
			truth := s.End - s.Ages[at-1]
			p, err := predict(s, at)
			if err != nil {
				return f, err
			}
			n++
			square += (p.Median - truth) * (p.Median - truth)
			abs += math.Abs(p.Median - truth)
			width += p.High - p.Low
			if p.Low <= truth && truth <= p.High {
				inside++
			}
			loss += (pinball(.1, truth-p.Low) + pinball(.5, truth-p.Median) + pinball(.9, truth-p.High)) / 3
		}
		if n == 0 {
			continue
		}
		f.Lives++
		f.RMSE += square / n
		f.MAE += abs / n
		f.Width += width / n
		f.Coverage += inside / n
		f.Loss += loss / n
	}
	if f.Lives == 0 {
		return f, nil
	}
	n := float64(f.Lives)
	f.RMSE = math.Sqrt(f.RMSE/n) * stepDays
	f.MAE, f.Width, f.Loss, f.Coverage = f.MAE/n*stepDays, f.Width/n*stepDays, f.Loss/n*stepDays, f.Coverage/n
	return f, nil
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
