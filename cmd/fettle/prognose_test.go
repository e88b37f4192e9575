package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/recording"
)

// lamps writes lives of lamps that dim, the last hours of each cut off.
func lamps(path string, n, cut int) error {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	var b strings.Builder
	b.WriteString("lamp,hour,lumen,volt\n")
	for k := range n {
		life := 40 + rng.IntN(40)
		for h := range life - cut {
			fmt.Fprintf(&b, "L%d,%d,%.2f,%.2f\n", k+1, h, 800-300*math.Exp(float64(h-life)/12)+3*rng.NormFloat64(), 230+rng.NormFloat64())
		}
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

// engines gives a gzipped table of the turbofans.
func engines(t *testing.T, name string) [][]string {
	t.Helper()
	raw, err := os.ReadFile(recording.Path(t, "cmapss/"+name))
	require.NoError(t, err)
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		require.NoError(t, err)
		rows, err := csv.NewReader(z).ReadAll()
		require.NoError(t, err)
		return rows
	}
	rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	require.NoError(t, err)
	return rows
}

// sixRegimes makes of engines at one operating point ones that fly at six,
// changing from cycle to cycle, as those of the sets FD002 and FD004 do:
// altitude, Mach number and throttle as there, with a little jitter, and each
// sensor's level and scale by regime.
func sixRegimes(tables ...[][]string) {
	settings := [6][3]float64{{0, 0, 100}, {10, .25, 100}, {20, .70, 100}, {25, .62, 60}, {35, .84, 100}, {42, .84, 100}}
	rng := rand.New(rand.NewPCG(6, 6))
	var factor, offset [6][24]float64
	for r := range factor {
		for c := range factor[r] {
			factor[r][c], offset[r][c] = 0.3+1.2*rng.Float64(), 0.3*rng.NormFloat64()
		}
	}
	for _, rows := range tables {
		for _, row := range rows[1:] {
			r := rng.IntN(6)
			for c := range row[2:] {
				v, _ := strconv.ParseFloat(row[2+c], 64)
				if c < 3 {
					v = settings[r][c] + []float64{.003, .0003, 0}[c]*rng.Float64()
				} else {
					v = v*factor[r][c] + offset[r][c]*math.Abs(v)
				}
				row[2+c] = strconv.FormatFloat(v, 'g', 6, 64)
			}
		}
	}
}

func write(t *testing.T, rows [][]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "table.csv")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, csv.NewWriter(f).WriteAll(rows))
	require.NoError(t, f.Close())
	return path
}

// NASA's turbofans: learned from 100 that ran to failure, 100 others are
// predicted at their last reading. The floors stand well above what is seen
// (docs/benchmarks.md), and well below published figures.
func TestTurbofanPrognosis(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		set     string
		six     bool
		limit   string
		rmse    float64 // at most, against the truth capped at 125
		regimes string
	}{
		"FD001":             {"FD001", false, "125", 11.0, "one"},
		"FD003, six points": {"FD003", true, "125", 11.0, "6, told by"},
		"FD003, no cap":     {"FD003", false, "", math.Inf(1), "one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			train, test := engines(t, "train_"+tt.set+".csv.gz"), engines(t, "test_"+tt.set+".csv.gz")
			if tt.six {
				sixRegimes(train, test)
			}
			model := filepath.Join(t.TempDir(), "model")
			args := []string{"prognose", "fit", "--unit", "unit", "--time", "cycle", write(t, train), "-o", model}
			limit := math.Inf(1)
			if tt.limit != "" {
				args = append(args, "--cap", tt.limit)
				limit = 125
			}
			var out, errOut bytes.Buffer
			require.Zero(t, run(t.Context(), args, nil, &out, &errOut), errOut.String())
			require.Contains(t, out.String(), "Regimes:    "+tt.regimes)
			out.Reset()
			require.Zero(t, run(t.Context(), []string{"prognose", "predict", "--model", model, write(t, test)}, nil, &out, &errOut), errOut.String())
			got, err := csv.NewReader(&out).ReadAll()
			require.NoError(t, err)
			truth := engines(t, "rul_"+tt.set+".csv")
			require.Len(t, got, len(truth))
			var ss, inside float64
			for i, row := range truth[1:] {
				want, err := strconv.ParseFloat(row[1], 64)
				require.NoError(t, err)
				want = min(want, limit)
				var v [4]float64
				for k := 1; k < 4; k++ {
					v[k], err = strconv.ParseFloat(got[i+1][k], 64)
					require.NoError(t, err)
				}
				require.Equal(t, row[0], got[i+1][0])
				ss += (v[1] - want) * (v[1] - want)
				if v[2] <= want && want <= v[3] {
					inside++
				}
			}
			n := float64(len(truth) - 1)
			rmse := math.Sqrt(ss / n)
			t.Logf("RMSE %.2f, inside %.0f %%", rmse, 100*inside/n)
			require.Less(t, rmse, tt.rmse)
			require.InDelta(t, 0.8, inside/n, 0.1, "true lives inside the 80 % interval")
		})
	}
}

// What is no file keeps its place: as root, a model would replace /dev/stdout.
func TestWriteWholeToWhatIsNoFile(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, writeWhole(fmt.Sprintf("/dev/fd/%d", w.Fd()), []byte("model")))
	require.NoError(t, w.Close())
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	require.Equal(t, "model", string(got))
}
