package anomaly_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/detect/anomaly"
)

const minute = 60_000

// row is one row of a drawn recording.
type row struct {
	at     int64
	values []float64
}

// rows draws a recording in which times repeat, go back and are missing, and
// values are gaps, constants, jumps and absurdities.
func rows(t *rapid.T, signals int) []row {
	value := rapid.OneOf(
		rapid.Float64Range(-3, 3), rapid.SampledFrom([]float64{0, 1, 42, math.NaN(), math.Inf(1), 1e300, -math.MaxFloat64, 5e-324}),
		rapid.Float64(),
	)
	at := int64(1_400_000_000_000)
	n := rapid.IntRange(1, 40).Draw(t, "stretches")
	var out []row
	for range n {
		base := value.Draw(t, "base")
		noise := rapid.SampledFrom([]float64{0, 1e-9, 1, 1e6}).Draw(t, "noise")
		step := rapid.SampledFrom([]int64{0, 1, 1000, 5 * minute, 60 * minute, -30 * minute, 100 * 24 * 60 * minute}).Draw(t, "step")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for range rapid.IntRange(1, 60).Draw(t, "rows") {
			at += step
			r := row{at: at, values: make([]float64, signals)}
			if step == 1 {
				r.at = anomaly.NoTime
			}
			for i := range r.values {
				r.values[i] = base + noise*rng.NormFloat64()
			}
			out = append(out, r)
		}
	}
	return out
}

func play(d *anomaly.Detector, rs []row) []anomaly.Result {
	out := make([]anomaly.Result, len(rs))
	for i, r := range rs {
		out[i] = d.Step(r.at, r.values)
		out[i].Contributions = append([]float64(nil), out[i].Contributions...)
	}
	return out
}

func draw(t *rapid.T) (int, anomaly.Config) {
	return rapid.IntRange(1, 4).Draw(t, "signals"), anomaly.Config{
		Warmup: rapid.SampledFrom([]int{0, 1, 50, 300}).Draw(t, "warmup"),
		Budget: rapid.SampledFrom([]float64{0, 1, 52, 1e6}).Draw(t, "budget"),
	}
}

// Whatever comes in, results are numbers that agree with each other.
func TestAnyRows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, cfg := draw(t)
		alarm := false
		for i, r := range play(anomaly.New(n, cfg), rows(t, n)) {
			if !(r.Score >= 0 && r.Level >= r.Score) || math.IsInf(r.Level, 0) {
				t.Fatalf("row %d: score %v, level %v", i, r.Score, r.Level)
			}
			if i < cfg.Warmup && (r.Score > 0 || r.Alarm) {
				t.Fatalf("row %d of the warm-up: %+v", i, r)
			}
			if r.Onset != (r.Alarm && !alarm) || (r.Onset && r.Score < 1) {
				t.Fatalf("row %d: an onset is the first row of an alarm, and marked: %+v", i, r)
			}
			sum := 0.0
			for _, c := range r.Contributions {
				sum += c
			}
			if len(r.Contributions) != n || (sum != 0 && math.Abs(sum-1) > 1e-9) || (r.Level > 0) != (r.Top >= 0 && sum > 0) {
				t.Fatalf("row %d: contributions %v, top %d, level %v", i, r.Contributions, r.Top, r.Level)
			}
			alarm = r.Alarm
		}
	})
}

// What comes later changes no result.
func TestTheFutureChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, cfg := draw(t)
		past, a, b := rows(t, n), rows(t, n), rows(t, n)
		one := play(anomaly.New(n, cfg), append(slices.Clip(past), a...))
		two := play(anomaly.New(n, cfg), append(slices.Clip(past), b...))
		require.Equal(t, one[:len(past)], two[:len(past)])
	})
}

// A detector that was written and read gives the results of one that went on.
func TestStateSurvives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n, cfg := draw(t)
		rs := rows(t, n)
		whole := anomaly.New(n, cfg)
		parts := anomaly.New(n, cfg)
		for i, r := range rs {
			if rapid.IntRange(0, 99).Draw(t, "restart") == 0 {
				raw, err := parts.MarshalBinary()
				require.NoError(t, err)
				parts = new(anomaly.Detector)
				require.NoError(t, parts.UnmarshalBinary(raw))
				again, err := parts.MarshalBinary()
				require.NoError(t, err)
				require.Equal(t, raw, again)
			}
			if rapid.IntRange(0, 199).Draw(t, "reset") == 0 {
				c := anomaly.Change(rapid.IntRange(0, 3).Draw(t, "change"))
				whole.Reset(c)
				parts.Reset(c)
			}
			require.Equal(t, whole.Step(r.at, r.values), parts.Step(r.at, r.values), "row %d", i)
		}
	})
}

// A state of version 2, without the count of rows at one time, is read.
// Movements so small that the square of their root is no number any more.
func TestStateOfHardlyAnything(t *testing.T) {
	t.Parallel()
	d := anomaly.New(1, anomaly.Config{})
	for i := range 200 {
		d.Step(int64(i)*5*minute, []float64{float64(i%2) * 5e-324})
	}
	d.Step(200*5*minute, []float64{1})
	raw, err := d.MarshalBinary()
	require.NoError(t, err)
	require.NoError(t, new(anomaly.Detector).UnmarshalBinary(raw))
}

func TestStateOfVersion2(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		d, values := anomaly.New(n, anomaly.Config{Warmup: 20}), make([]float64, n)
		for i := range 100 {
			values[0] = float64(i % 7)
			d.Step(int64(i)*minute, values)
		}
		now, err := d.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, make([]byte, 8), now[54:62])
		old := slices.Concat([]byte{2}, now[1:54], now[62:])
		var back anomaly.Detector
		require.NoError(t, back.UnmarshalBinary(old))
		again, err := back.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, now, again)
	}
}

// FuzzUnmarshal: bytes of any kind are refused or give a detector that works.
func FuzzUnmarshal(f *testing.F) {
	for _, n := range []int{1, 3} {
		d := anomaly.New(n, anomaly.Config{Warmup: 20})
		for i := range 100 {
			d.Step(int64(i)*minute, make([]float64, n))
		}
		raw, err := d.MarshalBinary()
		require.NoError(f, err)
		f.Add(raw)
		f.Add(raw[:len(raw)/2])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d anomaly.Detector
		if err := d.UnmarshalBinary(raw); err != nil {
			require.ErrorIs(t, err, anomaly.ErrDamaged)
			return
		}
		values := make([]float64, d.Signals())
		for i := range 50 {
			for j := range values {
				values[j] = float64(i % 7)
			}
			r := d.Step(int64(i)*minute, values)
			require.False(t, math.IsNaN(r.Score) || r.Score < 0, "%+v", r)
		}
		_, err := d.MarshalBinary()
		require.NoError(t, err)
	})
}

// The year of a unit that behaves as ever, sampled each five minutes, by how.
var usual = map[string]func(rng *rand.Rand) func(i int) float64{
	"white noise": func(rng *rand.Rand) func(int) float64 {
		return func(int) float64 { return 20 + rng.NormFloat64() }
	},
	"wandering about a level": func(rng *rand.Rand) func(int) float64 {
		x := 0.0
		return func(int) float64 { x += rng.NormFloat64() - 0.05*x; return x }
	},
	"a day's rhythm": func(rng *rand.Rand) func(int) float64 {
		return func(i int) float64 {
			return 50 + 20*math.Sin(2*math.Pi*float64(i)/288) + rng.NormFloat64()
		}
	},
	"counts": func(rng *rand.Rand) func(int) float64 {
		return func(i int) float64 {
			n, l := 0.0, rng.ExpFloat64()
			for ; l < 3+2*math.Sin(2*math.Pi*float64(i)/288); l += rng.ExpFloat64() {
				n++
			}
			return n
		}
	},
	"on and off": func(rng *rand.Rand) func(int) float64 {
		on := false
		return func(int) float64 {
			if rng.Float64() < 0.05 {
				on = !on
			}
			if on {
				return 2000 + 50*rng.NormFloat64()
			}
			return 0
		}
	},
	"heavy tails": func(rng *rand.Rand) func(int) float64 {
		return func(int) float64 { return rng.NormFloat64() / math.Sqrt(rng.ExpFloat64()+0.1) }
	},
}

// A unit that behaves as ever raises no more episodes than the budget allows.
func TestBudgetIsKept(t *testing.T) {
	t.Parallel()
	for name, kind := range usual {
		for _, budget := range []float64{104, 1} {
			t.Run(fmt.Sprintf("%s, %g a year", name, budget), func(t *testing.T) {
				t.Parallel()
				const units, days = 4, 90
				onsets := 0
				for u := range uint64(units) {
					next := kind(rand.New(rand.NewPCG(u, 7)))
					d := anomaly.New(1, anomaly.Config{Budget: budget})
					for i := range days * 288 {
						if d.Step(int64(i)*5*minute, []float64{next(i)}).Onset {
							onsets++
						}
					}
				}
				years := units * days / 365.25
				t.Logf("%.1f episodes a year, %g allowed", float64(onsets)/years, budget)
				require.LessOrEqual(t, float64(onsets), budget*years+2*math.Sqrt(budget*years)+1)
			})
		}
	}
}

func BenchmarkStep(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	values := make([][]float64, 4096)
	for i := range values {
		values[i] = []float64{50 + 20*math.Sin(2*math.Pi*float64(i)/288) + rng.NormFloat64()}
	}
	d := anomaly.New(1, anomaly.Config{})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		d.Step(int64(i)*5*minute, values[i&4095])
		i++
	}
	raw, _ := d.MarshalBinary()
	b.ReportMetric(float64(len(raw)), "B/signal")
}
