package anomaly_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/anomaly"
	"fettle.dev/fettle/internal/detect/detecttest"
)

func nab(t *testing.T) []*detecttest.Recording {
	t.Helper()
	root := os.Getenv("FETTLE_DATA")
	if root == "" {
		root = "../../../../shared/data"
	}
	recs, err := detecttest.ReadNAB(filepath.Join(root, "nab-dev"))
	if os.IsNotExist(err) {
		t.Skip("recordings: nab-dev is absent")
	}
	require.NoError(t, err)
	return recs
}

// scores runs the default detector over the recordings.
func scores(recs []*detecttest.Recording, cfg func(*detecttest.Recording) anomaly.Config, change func(float64) float64) [][]float64 {
	var out [][]float64
	for _, r := range recs {
		d := anomaly.New(1, cfg(r))
		s := make([]float64, len(r.Values))
		for i, v := range r.Values {
			s[i] = d.Step(r.Times[i], []float64{change(v)}).Score
		}
		out = append(out, s)
	}
	return out
}

func TestNAB(t *testing.T) {
	t.Parallel()
	recs := nab(t)
	same := func(v float64) float64 { return v }
	for _, warm := range []bool{false, true} {
		cfg := func(r *detecttest.Recording) anomaly.Config {
			if warm {
				return anomaly.Config{Warmup: r.Warmup()}
			}
			return anomaly.Config{}
		}
		s := scores(recs, cfg, same)
		for _, p := range detecttest.Profiles {
			fmt.Printf("%v %s %+v; at 1: %+v\n", warm, p.Name, detecttest.ScoreNAB(recs, s, p, math.NaN()), detecttest.ScoreNAB(recs, s, p, 1))
		}
	}
}
