package boost_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/boost"
)

var plain = boost.Config{Trees: 100, Rate: 0.1, Leaves: 8, MinLeaf: 10, Ridge: 1, Rows: 0.7, Columns: 1, Seed: 1}

// friedman is the first of Friedman's (1991) test functions, of five of ten
// features, with normal noise.
func friedman(n int, seed uint64, noise float64) (columns [][]float64, y []float64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	columns = make([][]float64, 10)
	for range n {
		x := make([]float64, 10)
		for f := range x {
			x[f] = rng.Float64()
			columns[f] = append(columns[f], x[f])
		}
		y = append(y, 10*math.Sin(math.Pi*x[0]*x[1])+20*(x[2]-0.5)*(x[2]-0.5)+10*x[3]+5*x[4]+noise*rng.NormFloat64())
	}
	return columns, y
}

func all(n int) []int32 {
	rows := make([]int32, n)
	for i := range rows {
		rows[i] = int32(i)
	}
	return rows
}

func row(columns [][]float64, i int) []float64 {
	var out []float64
	for _, c := range columns {
		out = append(out, c[i])
	}
	return out
}

func Example() {
	// What a heater draws depends on the water's temperature and, below 10
	// degrees, on the season's flag.
	var temperature, winter, watts []float64
	for i := range 400 {
		t, w := float64(i%40), float64(i%2)
		temperature, winter = append(temperature, t), append(winter, w)
		draw := 2000 - 40*t
		if t < 10 {
			draw += 300 * w
		}
		watts = append(watts, draw)
	}
	table, err := boost.NewTable([][]float64{temperature, winter})
	if err != nil {
		panic(err)
	}
	m, importance, err := table.Fit(boost.Sample{Rows: all(400), Target: watts},
		boost.Config{Trees: 200, Rate: 0.1, Leaves: 8, MinLeaf: 5, Rows: 1, Columns: 1, Seed: 1})
	if err != nil {
		panic(err)
	}
	fmt.Printf("5 degrees, summer %.0f W, winter %.0f W\n", m.Predict([]float64{5, 0}), m.Predict([]float64{5, 1}))
	fmt.Printf("25 degrees, summer %.0f W, winter %.0f W\n", m.Predict([]float64{25, 0}), m.Predict([]float64{25, 1}))
	fmt.Println("most important: feature", importance.Most(1)[0])
	// Output:
	// 5 degrees, summer 1795 W, winter 2100 W
	// 25 degrees, summer 1000 W, winter 1000 W
	// most important: feature 0
}

// On Friedman's function the error left is little above the noise, and far
// below what the mean leaves.
func TestFriedman(t *testing.T) {
	t.Parallel()
	x, y := friedman(4000, 1, 1)
	table, err := boost.NewTable(x)
	require.NoError(t, err)
	cfg := plain
	cfg.Trees = 200
	m, importance, err := table.Fit(boost.Sample{Rows: all(4000), Target: y}, cfg)
	require.NoError(t, err)
	tx, ty := friedman(2000, 2, 0)
	var ss, mean float64
	for i := range ty {
		mean += ty[i] / float64(len(ty))
	}
	var spread float64
	for i := range ty {
		d := m.Predict(row(tx, i)) - ty[i]
		ss += d * d
		spread += (ty[i] - mean) * (ty[i] - mean)
	}
	require.Less(t, ss/spread, 0.03, "share of the variance not explained")
	top := importance.Most(5)
	slices.Sort(top)
	require.Equal(t, []int{0, 1, 2, 3, 4}, top)
	require.InDeltaSlice(t, []float64{m.Predict(row(x, 7))}, m.PredictTable(table, []int32{7}), 1e-9)
}

// The q-quantile model has a share q of new targets below it, wherever the
// spread is narrow or wide.
func TestQuantile(t *testing.T) {
	t.Parallel()
	draw := func(n int, seed uint64) (x, y []float64) {
		rng := rand.New(rand.NewPCG(seed, 3))
		for range n {
			v := rng.Float64()
			x, y = append(x, v), append(y, 5*v+(0.2+2*v)*rng.NormFloat64())
		}
		return x, y
	}
	x, y := draw(4000, 1)
	table, err := boost.NewTable([][]float64{x})
	require.NoError(t, err)
	for _, q := range []float64{0.1, 0.5, 0.9} {
		cfg := plain
		cfg.Quantile, cfg.MinLeaf, cfg.Trees = q, 60, 50
		m, _, err := table.Fit(boost.Sample{Rows: all(len(x)), Target: y}, cfg)
		require.NoError(t, err)
		tx, ty := draw(8000, 2)
		var below, n [2]float64
		for i := range tx {
			half := int(2 * tx[i])
			n[half]++
			if ty[i] < m.Predict([]float64{tx[i]}) {
				below[half]++
			}
		}
		require.InDelta(t, q, below[0]/n[0], 0.05, "narrow half, quantile %g", q)
		require.InDelta(t, q, below[1]/n[1], 0.05, "wide half, quantile %g", q)
	}
}

// Lives that were cut short are neither their length at the cut nor nothing:
// taken as lower bounds, the truth comes back.
func TestCensored(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(5, 5))
	const n = 3000
	x, y, truth := make([]float64, n), make([]float64, n), make([]float64, n)
	cut := make([]bool, n)
	for i := range n {
		x[i] = rng.Float64()
		truth[i] = 100 + 50*x[i]
		y[i] = truth[i] + 10*rng.NormFloat64()
		if end := 90 + 80*rng.Float64(); end < y[i] {
			y[i], cut[i] = end, true
		}
	}
	table, err := boost.NewTable([][]float64{x})
	require.NoError(t, err)
	cfg := plain
	cfg.MinLeaf, cfg.Trees = 50, 50
	bias := func(censored []bool) float64 {
		m, _, err := table.Fit(boost.Sample{Rows: all(n), Target: y, Censored: censored}, cfg)
		require.NoError(t, err)
		sum := 0.0
		for i := range n {
			sum += m.Predict(x[i:i+1]) - truth[i]
		}
		return sum / n
	}
	require.Less(t, bias(nil), -5.0, "cut lives taken for whole ones")
	require.InDelta(t, 0, bias(cut), 1.5)
}

func TestMissingValues(t *testing.T) {
	t.Parallel()
	x, y := make([]float64, 600), make([]float64, 600)
	for i := range x {
		x[i], y[i] = float64(i%3), float64(i%3)
		if i%3 == 2 {
			x[i], y[i] = math.NaN(), 50
		}
	}
	table, err := boost.NewTable([][]float64{x, make([]float64, 600)})
	require.NoError(t, err)
	m, _, err := table.Fit(boost.Sample{Rows: all(600), Target: y}, plain)
	require.NoError(t, err)
	require.InDelta(t, 50, m.Predict([]float64{math.NaN(), 0}), 0.5)
	require.InDelta(t, 0, m.Predict([]float64{math.Inf(-1), 0}), 0.5)
	require.InDelta(t, 1, m.Predict([]float64{math.Inf(1), 0}), 0.5)
}

// A row of weight 3 counts as three rows.
func TestWeights(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(8, 8))
	var x, y, w, x3, y3 []float64
	for i := range 500 {
		v, u, k := rng.Float64(), rng.Float64(), 1+2*(i%2)
		x, y, w = append(x, v), append(y, v+u), append(w, float64(k))
		for range k {
			x3, y3 = append(x3, v), append(y3, v+u)
		}
	}
	cfg := plain
	cfg.Rows, cfg.MinLeaf = 1, 0
	table, err := boost.NewTable([][]float64{x})
	require.NoError(t, err)
	table3, err := boost.NewTable([][]float64{x3})
	require.NoError(t, err)
	cfg.Trees, cfg.Leaves = 1, 2
	m, _, err := table.Fit(boost.Sample{Rows: all(len(x)), Target: y, Weight: w}, cfg)
	require.NoError(t, err)
	m3, _, err := table3.Fit(boost.Sample{Rows: all(len(x3)), Target: y3}, cfg)
	require.NoError(t, err)
	require.InDelta(t, m3.Predict([]float64{0.1}), m.Predict([]float64{0.1}), 0.01)
	require.InDelta(t, m3.Predict([]float64{0.9}), m.Predict([]float64{0.9}), 0.01)
}

func TestSameInputSameModel(t *testing.T) {
	t.Parallel()
	x, y := friedman(500, 1, 1)
	var first []byte
	for range 3 {
		table, err := boost.NewTable(x)
		require.NoError(t, err)
		cfg := plain
		cfg.Columns = 0.5
		m, _, err := table.Fit(boost.Sample{Rows: all(500), Target: y}, cfg)
		require.NoError(t, err)
		raw, err := m.MarshalBinary()
		require.NoError(t, err)
		if first == nil {
			first = raw
		}
		require.Equal(t, first, raw)
		var back boost.Model
		require.NoError(t, back.UnmarshalBinary(raw))
		for i := range 50 {
			require.InDelta(t, m.Predict(row(x, i)), back.Predict(row(x, i)), 0)
		}
	}
}

// An ascending map of a feature changes no split, so it changes no prediction.
func TestAscendingMaps(t *testing.T) {
	t.Parallel()
	x, y := friedman(1000, 1, 1)
	mapped := slices.Clone(x)
	mapped[3] = slices.Clone(x[3])
	for i, v := range mapped[3] {
		mapped[3][i] = 1e6 * (v - 7)
	}
	fit := func(x [][]float64) *boost.Model {
		table, err := boost.NewTable(x)
		require.NoError(t, err)
		m, _, err := table.Fit(boost.Sample{Rows: all(1000), Target: y}, plain)
		require.NoError(t, err)
		return m
	}
	a, b := fit(x), fit(mapped)
	for i := range 1000 {
		require.InDelta(t, a.Predict(row(x, i)), b.Predict(row(mapped, i)), 1e-9)
	}
}

func TestAverage(t *testing.T) {
	t.Parallel()
	x, y := friedman(500, 1, 1)
	table, err := boost.NewTable(x)
	require.NoError(t, err)
	var models []*boost.Model
	want := 0.0
	for seed := range uint64(3) {
		cfg := plain
		cfg.Seed = seed
		m, _, err := table.Fit(boost.Sample{Rows: all(500), Target: y}, cfg)
		require.NoError(t, err)
		models = append(models, m)
		want += m.Predict(row(x, 3)) / 3
	}
	require.InDelta(t, want, boost.Average(models...).Predict(row(x, 3)), 1e-4)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	_, err := boost.NewTable(nil)
	require.ErrorContains(t, err, "0 features")
	_, err = boost.NewTable([][]float64{{1, 2}, {1}})
	require.ErrorContains(t, err, "feature 1 has 1 rows")
	table, err := boost.NewTable([][]float64{{1, 2, 3}})
	require.NoError(t, err)
	good := boost.Sample{Rows: all(3), Target: []float64{1, 2, 3}}
	for name, spoil := range map[string]func(*boost.Config, *boost.Sample){
		"trees":    func(c *boost.Config, _ *boost.Sample) { c.Trees = 0 },
		"leaves":   func(c *boost.Config, _ *boost.Sample) { c.Leaves = 1 },
		"rate":     func(c *boost.Config, _ *boost.Sample) { c.Rate = math.NaN() },
		"quantile": func(c *boost.Config, _ *boost.Sample) { c.Quantile = 1 },
		"ridge":    func(c *boost.Config, _ *boost.Sample) { c.Ridge = -1 },
		"row":      func(_ *boost.Config, s *boost.Sample) { s.Rows = []int32{3} },
		"rows":     func(_ *boost.Config, s *boost.Sample) { s.Rows = nil },
		"target":   func(_ *boost.Config, s *boost.Sample) { s.Target = []float64{1, math.NaN(), 3} },
		"targets":  func(_ *boost.Config, s *boost.Sample) { s.Target = []float64{1} },
		"weight":   func(_ *boost.Config, s *boost.Sample) { s.Weight = []float64{1, 0, 1} },
	} {
		cfg, s := plain, good
		spoil(&cfg, &s)
		_, _, err := table.Fit(s, cfg)
		require.Error(t, err, name)
	}
	m, _, err := table.Fit(good, plain)
	require.NoError(t, err)
	require.InDelta(t, 2, m.Predict([]float64{1}), 0.05, "too few rows for a split: the mean")
}

// Whatever the bytes: a refusal, or a model that predicts and is written back alike.
func FuzzModel(f *testing.F) {
	x, y := friedman(60, 1, 1)
	table, err := boost.NewTable(x[:2])
	require.NoError(f, err)
	cfg := plain
	cfg.Trees, cfg.Leaves = 2, 3
	m, _, err := table.Fit(boost.Sample{Rows: all(60), Target: y}, cfg)
	require.NoError(f, err)
	raw, err := m.MarshalBinary()
	require.NoError(f, err)
	f.Add(raw)
	f.Add(raw[:len(raw)-1])
	f.Add([]byte{1, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m boost.Model
		if err := m.UnmarshalBinary(b); err != nil {
			require.ErrorIs(t, err, boost.ErrDamaged)
			return
		}
		require.False(t, math.IsNaN(m.Predict(make([]float64, m.Features()))))
		again, err := m.MarshalBinary()
		require.NoError(t, err)
		var back boost.Model
		require.NoError(t, back.UnmarshalBinary(again))
		twice, err := back.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, again, twice)
	})
}

// Whatever the values, finite or not: a fit that predicts numbers.
func FuzzFit(f *testing.F) {
	f.Add([]byte{1, 2, 3, 250, 251, 252, 7, 8, 9, 10, 11, 12})
	f.Fuzz(func(t *testing.T, raw []byte) {
		special := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64}
		var x, y []float64
		for i := 0; i+1 < len(raw); i += 2 {
			v := float64(raw[i])
			if int(raw[i]) < len(special) {
				v = special[raw[i]]
			}
			x, y = append(x, v), append(y, float64(raw[i+1]))
		}
		if len(x) == 0 {
			return
		}
		table, err := boost.NewTable([][]float64{x})
		require.NoError(t, err)
		cfg := plain
		cfg.Trees, cfg.MinLeaf = 5, 1
		m, _, err := table.Fit(boost.Sample{Rows: all(len(x)), Target: y}, cfg)
		require.NoError(t, err)
		for i, v := range x {
			p := m.Predict([]float64{v})
			require.True(t, p >= -1 && p <= 256, "%g for %g", p, v)
			require.InDelta(t, p, m.PredictTable(table, []int32{int32(i)})[0], 1e-9)
		}
	})
}

func BenchmarkFit(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const rows, features = 20_000, 150
	x, y := make([][]float64, features), make([]float64, rows)
	for f := range x {
		x[f] = make([]float64, rows)
		for r := range x[f] {
			x[f][r] = rng.NormFloat64()
			y[r] += x[f][r] * float64(f%7) / 10
		}
	}
	table, err := boost.NewTable(x)
	require.NoError(b, err)
	cfg := boost.Config{Trees: 10, Rate: 0.05, Leaves: 31, MinLeaf: 20, Ridge: 1, Rows: 0.5, Columns: 0.3, Seed: 1}
	for b.Loop() {
		if _, _, err := table.Fit(boost.Sample{Rows: all(rows), Target: y}, cfg); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N*cfg.Trees), "ms/tree")
}

func BenchmarkPredict(b *testing.B) {
	x, y := friedman(4000, 1, 1)
	table, err := boost.NewTable(x)
	require.NoError(b, err)
	cfg := plain
	cfg.Trees, cfg.Leaves = 300, 31
	m, _, err := table.Fit(boost.Sample{Rows: all(4000), Target: y}, cfg)
	require.NoError(b, err)
	one := row(x, 5)
	b.ReportAllocs()
	for b.Loop() {
		m.Predict(one)
	}
}

// A split may name a feature whose number is above that of the bytes that are left.
func TestOneSplitAmongManyFeatures(t *testing.T) {
	t.Parallel()
	x := make([][]float64, 2000)
	for i := range x {
		x[i] = make([]float64, 40)
	}
	y := make([]float64, 40)
	for row := range y {
		x[1999][row] = float64(row)
		if row >= 20 {
			y[row] = 1
		}
	}
	table, err := boost.NewTable(x)
	require.NoError(t, err)
	cfg := plain
	cfg.Trees, cfg.Leaves = 1, 2
	m, _, err := table.Fit(boost.Sample{Rows: all(40), Target: y}, cfg)
	require.NoError(t, err)
	raw, err := m.MarshalBinary()
	require.NoError(t, err)
	var back boost.Model
	require.NoError(t, back.UnmarshalBinary(raw))
	at := make([]float64, 2000)
	at[1999] = 39
	require.Greater(t, m.Predict(at), 0.5)
	require.InDelta(t, m.Predict(at), back.Predict(at), 1e-9)
}
