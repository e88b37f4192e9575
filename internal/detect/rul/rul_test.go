package rul_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/rul"
)

var columns = []string{"load", "heat", "hum", "flow", "serial"}

// fleet makes units that wear: heat and hum rise and flow falls as life runs
// out, by levels that depend on the load, which has three settings; serial
// never changes.
func fleet(n int, seed uint64) []rul.Unit {
	rng := rand.New(rand.NewPCG(seed, 1))
	units := make([]rul.Unit, n)
	for k := range units {
		u := &units[k]
		*u = rul.Unit{ID: fmt.Sprint(k + 1), Failed: true, Values: make([][]float64, len(columns))}
		life := 80 + rng.IntN(80)
		wear := 0.05 * rng.Float64()
		for i := range life {
			u.Time = append(u.Time, float64(i))
			load := float64(rng.IntN(3))
			d := wear + math.Exp(float64(i-life)/20)
			for c, v := range []float64{
				load + 0.01*rng.NormFloat64(),
				300 + 20*load + (5+3*load)*(d+0.1*rng.NormFloat64()),
				2 - load + 0.1*(d+0.15*rng.NormFloat64()),
				50*(1+load) - 4*d + rng.NormFloat64(),
				7,
			} {
				u.Values[c] = append(u.Values[c], v)
			}
		}
	}
	return units
}

// cut ends a unit's readings after n; it hasn't failed by then.
func cut(u rul.Unit, n int) rul.Unit {
	out := rul.Unit{ID: u.ID, Time: u.Time[:n:n], Values: make([][]float64, len(u.Values))}
	for c := range u.Values {
		out.Values[c] = u.Values[c][:n:n]
	}
	return out
}

func fit(tb testing.TB, units []rul.Unit, cfg rul.Config) *rul.Model {
	tb.Helper()
	if cfg.Columns == nil {
		cfg.Columns = columns
	}
	if cfg.Trees == 0 {
		cfg.Trees = 10
	}
	m, err := rul.Fit(units, cfg)
	require.NoError(tb, err)
	return m
}

func Example() {
	m, err := rul.Fit(fleet(30, 1), rul.Config{Columns: columns, Cap: 60, Trees: 20})
	if err != nil {
		panic(err)
	}
	f := m.Facts()
	fmt.Printf("%d units; %d regimes by %s; signals %s\n", f.Units, f.Regimes, f.Settings, f.Signals)
	unit := fleet(1, 2)[0]
	for _, left := range []int{80, 40, 20, 5} {
		e, err := m.PredictLast(cut(unit, len(unit.Time)-left))
		if err != nil {
			panic(err)
		}
		fmt.Printf("%2d left: predicted %.0f, between %.0f and %.0f\n", left, e.RUL, e.Low, e.High)
	}
	// Output:
	// 30 units; 3 regimes by [load]; signals [heat hum flow load]
	// 80 left: predicted 59, between 59 and 60
	// 40 left: predicted 44, between 34 and 57
	// 20 left: predicted 22, between 20 and 26
	//  5 left: predicted 7, between 5 and 9
}

// Regimes are found by what they do to other columns, whatever the columns
// are called and wherever they stand; a column of noise, or one of few values
// that moves with wear, is none.
func TestRegimesAreFound(t *testing.T) {
	t.Parallel()
	units := fleet(20, 1)
	f := fit(t, units, rul.Config{}).Facts()
	require.Equal(t, 3, f.Regimes)
	require.Len(t, f.Settings, 1)
	require.NotContains(t, f.Signals, "serial")
	require.Contains(t, f.Signals, "hum")

	for k := range units { // one load only, and a counter of wear in few steps
		u := &units[k]
		rng := rand.New(rand.NewPCG(uint64(k), 2))
		for i := range u.Time {
			load := math.Round(u.Values[0][i])
			u.Values[1][i] -= 20 * load
			u.Values[2][i] += load
			u.Values[3][i] /= 1 + load
			u.Values[0][i] = rng.NormFloat64()
			u.Values[4][i] = math.Floor(4 * float64(i) / float64(len(u.Time)))
		}
	}
	f = fit(t, units, rul.Config{}).Facts()
	require.Equal(t, 1, f.Regimes)
	require.Empty(t, f.Settings)
}

// Predictions for units that were not learned from are far better than their
// mean life, and the intervals hold about as many of the true lives as they say.
func TestPredictsAndCovers(t *testing.T) {
	t.Parallel()
	for _, limit := range []float64{0, 60} {
		m := fit(t, fleet(40, 1), rul.Config{Cap: limit, Trees: 20})
		var ss, spread, inside, n float64
		for _, u := range fleet(40, 2) {
			got, err := m.Predict(u)
			require.NoError(t, err)
			for i := 10; i < len(got); i += 11 {
				truth := u.Time[len(u.Time)-1] - u.Time[i]
				if limit > 0 {
					truth = min(truth, limit)
				}
				e := got[i]
				require.LessOrEqual(t, e.Low, e.RUL)
				require.LessOrEqual(t, e.RUL, e.High)
				ss += (e.RUL - truth) * (e.RUL - truth)
				spread += (55 - truth) * (55 - truth)
				n++
				if e.Low <= truth && truth <= e.High {
					inside++
				}
			}
		}
		require.Less(t, ss/spread, 0.35, "cap %g: share of the spread that is left", limit)
		require.InDelta(t, 0.8, inside/n, 0.1, "cap %g: inside", limit)
	}
}

// Of units that are about to fail neither more nor less is said than they have
// left: the errors of long lives don't drown theirs.
func TestNearTheEnd(t *testing.T) {
	t.Parallel()
	m := fit(t, fleet(60, 1), rul.Config{Trees: 40})
	var off, n float64
	for _, u := range fleet(60, 2) {
		got, err := m.Predict(u)
		require.NoError(t, err)
		for i, e := range got {
			if e.RUL <= 12 {
				off, n = off+e.RUL-(u.Time[len(u.Time)-1]-u.Time[i]), n+1
			}
		}
	}
	require.Greater(t, n, 500.0)
	require.InDelta(t, 0, off/n, 0.4, "predictions of 12 or less, on average")
}

// Changing later readings never changes an earlier one's prediction.
func TestTheFutureDoesNotCount(t *testing.T) {
	t.Parallel()
	m := fit(t, fleet(12, 1), rul.Config{})
	u := fleet(1, 3)[0]
	all, err := m.Predict(u)
	require.NoError(t, err)
	for n := 1; n < len(u.Time); n += 23 {
		short := cut(u, n)
		got, err := m.Predict(short)
		require.NoError(t, err)
		require.Equal(t, all[:n], got)
		last, err := m.PredictLast(short)
		require.NoError(t, err)
		require.Equal(t, all[n-1], last)
	}
}

// Other names, another order, other units of measure or directions of the
// columns, and other units of time, change nothing that matters.
func TestInvariance(t *testing.T) {
	t.Parallel()
	train, test := fleet(16, 1), fleet(5, 2)
	m := fit(t, train, rul.Config{})
	order := []int{3, 0, 4, 2, 1}
	factor := []float64{-3, 0.001, 1e6, 7, -2}
	change := func(units []rul.Unit) []rul.Unit {
		out := slices.Clone(units)
		for k := range out {
			u := &out[k]
			values := make([][]float64, len(columns))
			for c, from := range order {
				for _, v := range u.Values[from] {
					values[c] = append(values[c], factor[c]*v+factor[c]*5)
				}
			}
			u.Values = values
			u.Time = slices.Clone(u.Time)
			for i := range u.Time {
				u.Time[i] = 1e6 + 4*u.Time[i]
			}
		}
		return out
	}
	other := fit(t, change(train), rul.Config{Columns: []string{"a", "b", "c", "d", "e"}})
	var sum, n float64
	for k, u := range change(test) {
		got, err := other.Predict(u)
		require.NoError(t, err)
		want, err := m.Predict(test[k])
		require.NoError(t, err)
		for i := range got {
			sum += math.Abs(got[i].RUL/4 - want[i].RUL)
			n++
		}
	}
	require.Less(t, sum/n, 0.05, "of some 60")
}

func TestSameInputSameBytes(t *testing.T) {
	t.Parallel()
	a, err := fit(t, fleet(15, 1), rul.Config{Seed: 5}).MarshalBinary()
	require.NoError(t, err)
	b, err := fit(t, fleet(15, 1), rul.Config{Seed: 5}).MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, a, b)
	c, err := fit(t, fleet(15, 1), rul.Config{Seed: 6}).MarshalBinary()
	require.NoError(t, err)
	require.NotEqual(t, a, c)
}

func TestModelFile(t *testing.T) {
	t.Parallel()
	m := fit(t, fleet(15, 1), rul.Config{Cap: 50})
	raw, err := m.MarshalBinary()
	require.NoError(t, err)
	require.Less(t, len(raw), 250_000)
	var back rul.Model
	require.NoError(t, back.UnmarshalBinary(raw))
	require.Equal(t, m.Facts(), back.Facts())
	require.Equal(t, columns, back.Columns())
	u := fleet(1, 2)[0]
	want, err := m.Predict(u)
	require.NoError(t, err)
	got, err := back.Predict(u)
	require.NoError(t, err)
	require.Equal(t, want, got)

	for _, at := range []int{20, len(raw) / 2, len(raw) - 1} {
		bad := slices.Clone(raw)
		bad[at] ^= 1
		require.ErrorIs(t, back.UnmarshalBinary(bad), rul.ErrDamaged)
		require.ErrorIs(t, back.UnmarshalBinary(raw[:at]), rul.ErrDamaged)
	}
	bad := slices.Clone(raw)
	bad[len("fettle-rul")] = 99
	require.ErrorIs(t, back.UnmarshalBinary(bad), rul.ErrNewer)
	require.ErrorIs(t, back.UnmarshalBinary([]byte("unit,cycle")), rul.ErrDamaged)
}

// Of a fleet most of which still works, the failed alone are the short-lived.
// With the living as lower bounds, lives come out longer and nearer the truth.
func TestCensoredUnits(t *testing.T) {
	t.Parallel()
	const end = 110
	var failed, all []rul.Unit
	for _, u := range fleet(50, 1) {
		if len(u.Time) > end {
			all = append(all, cut(u, end))
		} else {
			failed = append(failed, u)
		}
	}
	all = append(failed, all...)
	bias := func(m *rul.Model) float64 {
		sum, n := 0.0, 0.0
		for _, u := range fleet(60, 2) {
			e, err := m.PredictLast(cut(u, 25))
			require.NoError(t, err)
			sum, n = sum+e.RUL-float64(len(u.Time)-25), n+1
		}
		return sum / n
	}
	without, with := bias(fit(t, failed, rul.Config{})), bias(fit(t, all, rul.Config{}))
	require.Less(t, without, -15.0)
	require.Greater(t, with, without+8)
	require.Less(t, with, 10.0)
}

// Gaps, infinities, uneven times, one reading: an answer, never NaN.
func TestGaps(t *testing.T) {
	t.Parallel()
	train := fleet(12, 1)
	rng := rand.New(rand.NewPCG(1, 2))
	for k := range train {
		u := &train[k]
		for i := range u.Time {
			u.Time[i] += 0.8 * rng.Float64()
			for c := range u.Values {
				if rng.IntN(5) == 0 {
					u.Values[c][i] = math.NaN()
				}
			}
		}
	}
	train[0].Values[1][3] = math.Inf(1)
	m := fit(t, train, rul.Config{})
	nan, inf := math.NaN(), math.Inf(-1)
	for _, u := range []rul.Unit{
		{ID: "one", Time: []float64{0}, Values: [][]float64{{1}, {400}, {1}, {100}, {7}}},
		{ID: "nothing", Time: []float64{0, 1}, Values: [][]float64{{nan, nan}, {nan, nan}, {nan, nan}, {nan, nan}, {nan, nan}}},
		{ID: "wild", Time: []float64{0, 0, 1e12}, Values: [][]float64{{9, 9, 9}, {inf, 1e300, 0}, {1, 2, 3}, {-inf, nan, 4}, {7, 7, 7}}},
	} {
		got, err := m.Predict(u)
		require.NoError(t, err, u.ID)
		for _, e := range got {
			require.False(t, math.IsNaN(e.RUL+e.Low+e.High), u.ID)
			require.True(t, e.RUL >= 0 && e.RUL < 1000, u.ID)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	good := fleet(6, 1)
	for name, tt := range map[string]struct {
		spoil func([]rul.Unit) []rul.Unit
		cfg   rul.Config
		want  string
	}{
		"few failures": {func(u []rul.Unit) []rul.Unit { return u[:4] }, rul.Config{}, "too few units"},
		"cap":          {nil, rul.Config{Cap: -1}, "cap -1"},
		"columns":      {nil, rul.Config{Columns: []string{"a"}}, "other columns"},
		"constant": {func(u []rul.Unit) []rul.Unit {
			for k := range u {
				for c := range u[k].Values {
					u[k].Values[c] = make([]float64, len(u[k].Time))
				}
			}
			return u
		}, rul.Config{}, "no column changes"},
		"order":  {func(u []rul.Unit) []rul.Unit { u[2].Time[3] = 90; return u }, rul.Config{}, "unit 3: the times are not ascending at reading 5"},
		"ragged": {func(u []rul.Unit) []rul.Unit { u[2].Values[1] = nil; return u }, rul.Config{}, "column 1 has 0 values"},
		"empty":  {func(u []rul.Unit) []rul.Unit { u[2].Time = nil; return u }, rul.Config{}, "unit 3 has no reading"},
		"no life": {func(u []rul.Unit) []rul.Unit {
			for k := range u {
				u[k] = cut(u[k], 1)
				u[k].Failed = true
			}
			return u
		}, rul.Config{}, "last no time"},
	} {
		units := fleet(6, 1)
		if tt.spoil != nil {
			units = tt.spoil(units)
		}
		if tt.cfg.Columns == nil {
			tt.cfg.Columns = columns
		}
		_, err := rul.Fit(units, tt.cfg)
		require.ErrorContains(t, err, tt.want, name)
	}
	m := fit(t, good, rul.Config{Trees: 2})
	_, err := m.PredictLast(rul.Unit{ID: "x"})
	require.ErrorContains(t, err, "no reading")
}

// Whatever the bytes: a refusal, or a model that answers.
func FuzzModel(f *testing.F) {
	m := fit(f, fleet(6, 1), rul.Config{Trees: 1})
	raw, err := m.MarshalBinary()
	require.NoError(f, err)
	f.Add(raw[:len(raw)-4])
	f.Add(raw[:40])
	u := fleet(1, 2)[0]
	f.Fuzz(func(t *testing.T, b []byte) {
		b = binary.LittleEndian.AppendUint32(slices.Clone(b), crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
		var m rul.Model
		if m.UnmarshalBinary(b) != nil {
			return
		}
		got, err := m.Predict(u)
		if err != nil {
			return // for other columns
		}
		for _, e := range got {
			require.False(t, math.IsNaN(e.RUL+e.Low+e.High))
		}
		_, err = m.MarshalBinary()
		require.NoError(t, err)
	})
}

func BenchmarkPredictLast(b *testing.B) {
	m := fit(b, fleet(20, 1), rul.Config{})
	u := fleet(1, 2)[0]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.PredictLast(u); err != nil {
			b.Fatal(err)
		}
	}
}
