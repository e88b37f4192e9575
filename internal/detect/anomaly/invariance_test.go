package anomaly_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/anomaly"
	"fettle.dev/fettle/internal/detect/detecttest"
	"fettle.dev/fettle/internal/peer/recording"
)

// The same for one signal: NAB, at the best threshold under the standard
// profile.
func TestNABInvariance(t *testing.T) {
	t.Parallel()
	recs, err := detecttest.ReadNAB(recording.Path(t, "nab-dev"))
	require.NoError(t, err)
	score := func(recs []*detecttest.Recording) float64 {
		var all [][]float64
		for _, r := range recs {
			d, out := anomaly.New(1, anomaly.Config{}), make([]float64, len(r.Values))
			for i, v := range r.Values {
				out[i] = d.Step(r.Times[i], []float64{v}).Score
			}
			all = append(all, out)
		}
		return detecttest.ScoreNAB(recs, all, detecttest.Profiles[0], math.NaN()).Score
	}
	each := func(change func(v float64) float64) func(*detecttest.Recording) *detecttest.Recording {
		return func(r *detecttest.Recording) *detecttest.Recording {
			q := *r
			q.Values = nil
			for _, v := range r.Values {
				q.Values = append(q.Values, change(v))
			}
			return &q
		}
	}
	plain := score(recs)
	// In points; 3 is the aim for all. Where every other row is left out, some
	// anomalies have but one row, and it may be that.
	tolerance := map[string]float64{"scaled up": .1, "scaled down": .1, "shifted": .1, "negated": .1, "every row twice": 3, "twice at one time": 3, "half-way rows": 3, "means of two": 3, "every other row": 5.5, "the other rows": 3}
	for name, change := range map[string]func(*detecttest.Recording) *detecttest.Recording{
		"scaled up":       each(func(v float64) float64 { return 1e6 * v }),
		"scaled down":     each(func(v float64) float64 { return 3e-5 * v }),
		"shifted":         each(func(v float64) float64 { return v + 12345.678 }),
		"negated":         each(func(v float64) float64 { return -v }),
		"every row twice": func(r *detecttest.Recording) *detecttest.Recording { return twiceOne(r, 0) },
		"twice at one time": func(r *detecttest.Recording) *detecttest.Recording {
			q := twiceOne(r, 0)
			for i := range q.Times {
				q.Times[i] = r.Times[i/2]
			}
			return q
		},
		"half-way rows":   func(r *detecttest.Recording) *detecttest.Recording { return twiceOne(r, .5) },
		"means of two":    func(r *detecttest.Recording) *detecttest.Recording { return halfOne(r, 0, .5) },
		"every other row": func(r *detecttest.Recording) *detecttest.Recording { return halfOne(r, 0, 0) },
		"the other rows":  func(r *detecttest.Recording) *detecttest.Recording { return halfOne(r, 1, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var changed []*detecttest.Recording
			for _, r := range recs {
				changed = append(changed, change(r))
			}
			got := score(changed)
			t.Logf("%.1f, plain %.1f", got, plain)
			require.InDelta(t, plain, got, tolerance[name])
		})
	}
}

// twiceOne puts a row between any two: so much of the way to the next.
func twiceOne(r *detecttest.Recording, way float64) *detecttest.Recording {
	q := &detecttest.Recording{Name: r.Name, Learned: 2 * r.Warmup()}
	for i, v := range r.Values {
		next := min(i+1, len(r.Values)-1)
		q.Times = append(q.Times, r.Times[i], r.Times[i]+(r.Times[next]-r.Times[i])/2)
		q.Values = append(q.Values, v, v+way*(r.Values[next]-v))
	}
	for _, w := range r.Windows {
		q.Windows = append(q.Windows, [2]int{2 * w[0], 2*w[1] + 1})
	}
	return q
}

// halfOne keeps one of two rows, the first or the second, with so much of the
// next in its value.
func halfOne(r *detecttest.Recording, first int, next float64) *detecttest.Recording {
	q := &detecttest.Recording{Name: r.Name, Learned: (r.Warmup() - first + 1) / 2}
	for i := first; i < len(r.Values); i += 2 {
		v := r.Values[i]
		q.Times = append(q.Times, r.Times[i])
		q.Values = append(q.Values, v+next*(r.Values[min(i+1, len(r.Values)-1)]-v))
	}
	for _, w := range r.Windows {
		q.Windows = append(q.Windows, [2]int{w[0] / 2, min(w[1]/2, len(q.Values)-1)})
	}
	return q
}
