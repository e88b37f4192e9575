package peers

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"
)

// The z-scores of a normal cohort are about Student's on 0.37 n + 1 degrees of
// freedom, as threshold takes them to be.
func TestTails(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{8, 12, 20, 50, 200} {
		var z []float64
		v := make([]float64, n)
		for range 300_000 / n {
			for i := range v {
				v[i] = r.NormFloat64()
			}
			m, s := scale(v)
			for _, x := range v {
				z = append(z, math.Abs(x-m)/s)
			}
		}
		slices.Sort(z)
		for _, p := range []float64{1e-2, 1e-3} {
			seen := z[len(z)-1-int(p*float64(len(z)))]
			student := distuv.StudentsT{Sigma: 1, Nu: freedom(n)}.Quantile(1 - p/2)
			t.Logf("n %3d p %.0e seen %5.2f taken %5.2f", n, p, seen, student)
			require.InEpsilon(t, seen, student, 0.12)
		}
	}
	c := Config{}.With()
	for _, n := range []int{8, 20, 100, 1000} {
		t.Logf("too far among %d: %.1f", n, c.threshold(n))
	}
}
