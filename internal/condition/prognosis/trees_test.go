package prognosis_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition/prognosis"
)

// worn makes lives of which one column rises with wear and the other is noise.
func worn(n int) []prognosis.Series {
	rng := rand.New(rand.NewPCG(7, 8))
	out := make([]prognosis.Series, n)
	for i := range out {
		s := &out[i]
		life := 60 + rng.IntN(80)
		s.End, s.Failed, s.Values = float64(life), true, make([][]float64, 2)
		for age := 1; age <= life; age++ {
			x := float64(age) / float64(life)
			s.Ages = append(s.Ages, float64(age))
			s.Values[0] = append(s.Values[0], 20+5*x*x+.3*rng.NormFloat64())
			s.Values[1] = append(s.Values[1], rng.NormFloat64())
		}
	}
	return out
}

func TestTrees(t *testing.T) {
	t.Parallel()
	lives := worn(50)
	f, err := prognosis.Trees{Count: 60}.Learn([]string{"heat", "noise"}, lives[:40])
	require.NoError(t, err)
	data, err := f.MarshalBinary()
	require.NoError(t, err)
	same, err := prognosis.Trees{}.Open(data)
	require.NoError(t, err)
	again, err := same.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, data, again)
	other, err := prognosis.Trees{Count: 60}.Learn([]string{"heat", "noise"}, worn(50)[:40])
	require.NoError(t, err)
	twin, err := other.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, data, twin, "the same lives give the same model")

	miss, n := 0., 0.
	for _, s := range lives[40:] {
		at := len(s.Ages) * 9 / 10
		p, err := f.Predict(&s, at)
		require.NoError(t, err)
		copied, err := same.Predict(&s, at)
		require.NoError(t, err)
		require.Equal(t, p, copied)
		miss, n = miss+math.Abs(p.Median-(s.End-s.Ages[at-1])), n+1
		// What comes after makes no difference, nor does it that it will fail.
		cut := prognosis.Series{Ages: s.Ages[:at], Values: [][]float64{s.Values[0][:at], s.Values[1][:at]}}
		blind, err := f.Predict(&cut, at)
		require.NoError(t, err)
		require.Equal(t, p, blind)

		drift, err := f.Drift(&s, at)
		require.NoError(t, err)
		require.Greater(t, drift[0], 3., "heat speaks for it")
		require.LessOrEqual(t, math.Abs(drift[1]), 3., "noise does not")
	}
	require.Less(t, miss/n, 8.)
}

// Whatever stands in the records: a model, or a refusal.
func FuzzOpen(f *testing.F) {
	m, err := prognosis.Trees{Count: 5}.Learn([]string{"heat", "noise"}, worn(8))
	require.NoError(f, err)
	data, err := m.MarshalBinary()
	require.NoError(f, err)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte{1, 0, 2})
	f.Add([]byte{9})
	s := worn(1)[0]
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := prognosis.Trees{}.Open(data)
		if err != nil {
			return
		}
		again, err := got.MarshalBinary()
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, again) || len(again) <= len(data))
		_, _ = got.Predict(&s, 10) // of other columns, maybe: an error, never a panic
		_, _ = got.Drift(&s, 10)
	})
}

func BenchmarkPredict(b *testing.B) {
	lives := worn(60)
	f, err := prognosis.Trees{}.Learn([]string{"heat", "noise"}, lives)
	require.NoError(b, err)
	for b.Loop() {
		if _, err := f.Predict(&lives[0], len(lives[0].Ages)); err != nil {
			b.Fatal(err)
		}
		if _, err := f.Drift(&lives[0], len(lives[0].Ages)); err != nil {
			b.Fatal(err)
		}
	}
}
