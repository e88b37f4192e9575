package anomaly_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/anomaly"
	"fettle.dev/fettle/internal/detect/detecttest"
	"fettle.dev/fettle/internal/peer/recording"
)

// alarms are the default detector's states over the recordings.
func alarms(recs []*detecttest.Rows, warmup int) [][]bool {
	var out [][]bool
	for _, r := range recs {
		d := anomaly.New(len(r.Signals), anomaly.Config{Warmup: warmup})
		on := make([]bool, len(r.Values))
		for i, row := range r.Values {
			on[i] = d.Step(r.Times[i], row).Alarm
		}
		out = append(out, on)
	}
	return out
}

func skab(t *testing.T) []*detecttest.Rows {
	t.Helper()
	recs, err := detecttest.ReadSKAB(recording.Path(t, "skab-valve1"))
	require.NoError(t, err)
	return recs
}

// Published: convolutional autoencoder F1 .78 at 13.6 % false, 28.0 % missed;
// MSET .78/39.7/14.1; T2+Q .76/26.6/24.9.
func TestSKAB(t *testing.T) {
	t.Parallel()
	recs := skab(t)
	got := detecttest.ScoreAlarms(recs, alarms(recs, 400), 400)
	t.Log(got)
	require.Greater(t, got.F1, .86)
	require.Less(t, got.False, 12.)
}

func TestFEMTO(t *testing.T) {
	t.Parallel()
	recs, err := detecttest.ReadFEMTO(recording.Path(t, "femto-learning"))
	require.NoError(t, err)
	got := detecttest.ScoreLives(recs, alarms(recs, 0), 600_000)
	t.Logf("%+v", got)
	require.GreaterOrEqual(t, got.Warned, 5)
	require.LessOrEqual(t, got.Early, 1)
}

// What a recording's numbers are measured in, and how its columns are ordered
// and named, changes nothing; how often it is sampled, little.
func TestSKABInvariance(t *testing.T) {
	t.Parallel()
	recs := skab(t)
	plain := detecttest.ScoreAlarms(recs, alarms(recs, 400), 400)
	each := func(change func(j int, v float64) float64) func(*detecttest.Rows) *detecttest.Rows {
		return func(r *detecttest.Rows) *detecttest.Rows {
			q := *r
			q.Values = make([][]float64, len(r.Values))
			for i, row := range r.Values {
				for j, v := range row {
					q.Values[i] = append(q.Values[i], change(j, v))
				}
			}
			return &q
		}
	}
	for _, c := range []struct {
		name   string
		points float64
		warmup int
		change func(*detecttest.Rows) *detecttest.Rows
	}{
		{"scaled", .1, 400, each(func(j int, v float64) float64 { return v * math.Pow(10, float64(3*j-9)) })},
		{"shifted", .1, 400, each(func(j int, v float64) float64 { return v + float64(100*j) })},
		{"negated", .1, 400, each(func(_ int, v float64) float64 { return -v })},
		{"reordered and renamed", .1, 400, func(r *detecttest.Rows) *detecttest.Rows {
			q := *r
			q.Signals = []string{"h", "g", "f", "e", "d", "c", "b", "a"}
			q.Values = make([][]float64, len(r.Values))
			for i, row := range r.Values {
				for j := range row {
					q.Values[i] = append(q.Values[i], row[(j*3+1)%len(row)])
				}
			}
			return &q
		}},
		{"every row twice", 3, 800, func(r *detecttest.Rows) *detecttest.Rows { return twice(r, 0) }},
		{"half-way rows", 3, 800, func(r *detecttest.Rows) *detecttest.Rows { return twice(r, .5) }},
		{"every other row", 3, 200, func(r *detecttest.Rows) *detecttest.Rows { return half(r, 0) }},
		{"means of two rows", 3, 200, func(r *detecttest.Rows) *detecttest.Rows { return half(r, .5) }},
		{"every row twice, learned from half as long", 3, 400, func(r *detecttest.Rows) *detecttest.Rows { return twice(r, 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var changed []*detecttest.Rows
			for _, r := range recs {
				changed = append(changed, c.change(r))
			}
			training := 400 * len(changed[0].Values) / len(recs[0].Values)
			got := detecttest.ScoreAlarms(changed, alarms(changed, c.warmup), training)
			t.Logf("%v; plain %v", got, plain)
			require.InDelta(t, 100*plain.F1, 100*got.F1, c.points)
			require.InDelta(t, plain.False, got.False, 2*c.points)
		})
	}
}

// twice puts a row between any two: so much of the way to the next.
func twice(r *detecttest.Rows, way float64) *detecttest.Rows {
	q := &detecttest.Rows{Name: r.Name, Signals: r.Signals}
	for i, row := range r.Values {
		next := min(i+1, len(r.Values)-1)
		between := make([]float64, len(row))
		for j := range row {
			between[j] = row[j] + way*(r.Values[next][j]-row[j])
		}
		q.Times = append(q.Times, r.Times[i], r.Times[i]+(r.Times[next]-r.Times[i])/2)
		q.Values = append(q.Values, row, between)
		q.Faulty = append(q.Faulty, r.Faulty[i], r.Faulty[i])
	}
	return q
}

// half puts one row for two: so much of the way from the first to the second.
func half(r *detecttest.Rows, way float64) *detecttest.Rows {
	q := &detecttest.Rows{Name: r.Name, Signals: r.Signals}
	for i := 0; i+1 < len(r.Values); i += 2 {
		mean := make([]float64, len(r.Values[i]))
		for j, v := range r.Values[i] {
			mean[j] = v + way*(r.Values[i+1][j]-v)
		}
		q.Times = append(q.Times, r.Times[i])
		q.Values = append(q.Values, mean)
		q.Faulty = append(q.Faulty, r.Faulty[i])
	}
	return q
}

// Rows that are missing, as while a fleet cannot be reached, are no movement:
// a unit whose signals went on as every day meanwhile is as usual.
func TestMissingRowsAreNoMovement(t *testing.T) {
	t.Parallel()
	const interval, units = 600_000, 20
	for _, missing := range []int{5, 8, 12, 42, 180} {
		onsets := 0
		for u := range uint64(units) {
			r := rand.New(rand.NewPCG(u, 7))
			d := anomaly.New(3, anomaly.Config{Budget: 52})
			began := 8*144 + 65
			for k := range began + missing + 36 {
				h := 2 * math.Pi * float64(k) / 144
				ambient := 18 + 3*math.Sin(h-1) + r.NormFloat64()/10
				current := 8 + 6*math.Sin(h) + r.NormFloat64()/10
				temperature := 38 + ambient/2 + current*.8 + r.NormFloat64()/2
				if k >= began && k < began+missing {
					continue
				}
				res := d.Step(1_700_000_000_000+int64(k)*interval, []float64{temperature, ambient, current})
				if res.Onset && k >= began {
					onsets++
				}
			}
		}
		t.Logf("%d rows missing: %d onsets", missing, onsets)
		require.LessOrEqual(t, onsets, units/5)
	}
}
