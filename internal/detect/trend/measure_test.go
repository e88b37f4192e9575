package trend_test

import (
	"compress/gzip"
	"encoding/csv"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/trend/trendtest"
	"fettle.dev/fettle/internal/peer/recording"
)

// signals of each family in a short run; docs/benchmarks.md has long ones.
const signals = 10

// The 80 % interval holds the truth 80 % of the time, over signals that move in
// twelve ways, and what does not move is not said to.
func TestCoverage(t *testing.T) {
	t.Parallel()
	var moving, still trendtest.Measured
	for i := range trendtest.Families {
		f := &trendtest.Families[i]
		m := f.Measure(signals)
		t.Logf("%-28s %s", f.Name, &m)
		if f.Stationary {
			still.Add(m)
			continue
		}
		moving.Add(m)
		require.Greater(t, m.Coverage(), 0.5, f.Name)
		require.Greater(t, m.Supported, m.Asked/10, "%s: nothing is said", f.Name)
	}
	t.Logf("%-28s %s", "all that move", &moving)
	t.Logf("%-28s %s", "all that do not", &still)
	require.InDelta(t, 0.82, moving.Coverage(), 0.07)
	require.LessOrEqual(t, still.False, 1)
	require.Less(t, still.Supported, still.Asked/100)
}

// Turbofans wear: each sensor is asked when it will be where half of the
// engines' are some twenty cycles before they fail.
func TestCoverageOnTurbofans(t *testing.T) {
	t.Parallel()
	columns := read(t, recording.Path(t, "cmapss/train_FD001.csv.gz"))
	var all trendtest.Measured
	for _, sensor := range []string{"s4", "s11"} {
		m := trendtest.Wear(columns["unit"], columns[sensor], time.Hour)
		t.Logf("%-4s %s", sensor, &m)
		all.Add(m)
	}
	t.Logf("all  %s", &all)
	require.Greater(t, all.Supported, 300)
	require.InDelta(t, 0.8, all.Coverage(), 0.06)
}

func read(t *testing.T, path string) map[string][]float64 {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	r, err := gzip.NewReader(f)
	require.NoError(t, err)
	rows, err := csv.NewReader(r).ReadAll()
	require.NoError(t, err)
	out := map[string][]float64{}
	for _, row := range rows[1:] {
		for i, v := range row {
			x, err := strconv.ParseFloat(v, 64)
			require.NoError(t, err)
			out[rows[0][i]] = append(out[rows[0][i]], x)
		}
	}
	return out
}
