package boost_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/boost"
)

// Where nearly all targets are bounds, predictions stay near what is known.
func TestMostlyBounds(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 3000
	column, target, censored, rows := make([]float64, n), make([]float64, n), make([]bool, n), make([]int32, n)
	for i := range n {
		column[i], target[i], rows[i] = rng.Float64(), 200*rng.Float64(), int32(i)
		if rng.Float64() < .9 { // it was looked at before its end
			censored[i], target[i] = true, target[i]*rng.Float64()
		}
	}
	table, err := boost.NewTable([][]float64{column})
	require.NoError(t, err)
	m, _, err := table.Fit(boost.Sample{Rows: rows, Target: target, Censored: censored},
		boost.Config{Trees: 1000, Rate: .1, Leaves: 16, MinLeaf: 40, Ridge: 5, Rows: 1, Columns: 1, Seed: 1})
	require.NoError(t, err)
	for _, x := range []float64{0, .2, .5, .9} {
		p := m.Predict([]float64{x})
		require.Greater(t, p, 50.)
		require.Less(t, p, 400.)
	}
}

// Bounds far beyond what the known targets spread over are numbers still.
func TestBoundsFarAway(t *testing.T) {
	t.Parallel()
	column, target, censored, rows := make([]float64, 400), make([]float64, 400), make([]bool, 400), make([]int32, 400)
	for i := range rows {
		column[i], target[i], rows[i] = float64(i), 10+float64(i%3), int32(i)
		if i%4 == 0 {
			censored[i], target[i] = true, 25
		}
	}
	table, err := boost.NewTable([][]float64{column})
	require.NoError(t, err)
	m, _, err := table.Fit(boost.Sample{Rows: rows, Target: target, Censored: censored},
		boost.Config{Trees: 50, Rate: .1, Leaves: 4, MinLeaf: 20, Rows: 1, Columns: 1, Seed: 1})
	require.NoError(t, err)
	p := m.Predict([]float64{7})
	require.Greater(t, p, 9.)
	require.Less(t, p, 30.)
}
