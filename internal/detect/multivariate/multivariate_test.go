package multivariate_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/detect/multivariate"
)

// A false episode a week, and every ten weeks, of rows a minute.
const (
	weekly = 1.0 / (7 * 24 * 60)
	seldom = weekly / 10
)

// noise makes rows of independent noise about 10, 20, 30, ...
func noise(seed uint64, rows, signals int) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([][]float64, rows)
	for i := range out {
		out[i] = make([]float64, signals)
		for j := range out[i] {
			out[i][j] = 10*float64(j+1) + rng.NormFloat64()
		}
	}
	return out
}

// The flow of a pump falls by two standard deviations at row 600 and is back at
// row 900.
func Example() {
	names := []string{"vibration", "current", "flow"}
	d := multivariate.New(len(names), 400)
	open := false
	for i, row := range noise(1, 1200, len(names)) {
		if i >= 600 && i < 900 {
			row[2] -= 2
		}
		r := d.Step(row, weekly)
		if r.Alarm && !open {
			fmt.Printf("row %d: alarm, %s %.0f%%\n", i, names[r.Top], 100*r.Contributions[r.Top])
		} else if open && !r.Alarm {
			fmt.Printf("row %d: clear\n", i)
		}
		open = r.Alarm
	}
	// Output:
	// row 606: alarm, flow 100%
	// row 916: clear
}

// The budget is kept on noise that is what it was in the warm-up, whatever the
// number of signals; what is learned of the noise in 400 rows is inexact, so it
// is kept within a factor of three.
func TestBudgetIsKept(t *testing.T) {
	t.Parallel()
	const units, rows = 20, 4000
	for _, signals := range []int{2, 5, 20} {
		episodes := 0
		for unit := range uint64(units) {
			d, open := multivariate.New(signals, 0), false
			for _, row := range noise(unit, rows, signals) {
				r := d.Step(row, weekly)
				if r.Alarm && !open {
					episodes++
				}
				open = r.Alarm
			}
		}
		require.LessOrEqual(t, float64(episodes), 3*units*rows*weekly, "%d signals", signals)
		require.Positive(t, episodes, "a budget that is never used is not one")
	}
}

func BenchmarkStep(b *testing.B) {
	const signals = 8
	d := multivariate.New(signals, 0)
	rows := noise(4, 2000, signals)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d.Step(rows[i%len(rows)], weekly)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/signals, "ns/signal")
}

// run gives the levels and states of the rows.
func run(d *multivariate.Detector, rows [][]float64) (levels []float64, alarms []bool) {
	for _, row := range rows {
		r := d.Step(row, seldom)
		levels, alarms = append(levels, r.Level), append(alarms, r.Alarm)
	}
	return levels, alarms
}

// timed is run with a row every so many minutes, the first as the from-th.
func timed(d *multivariate.Detector, rows [][]float64, from, minutes int) (levels []float64, alarms []bool) {
	for i, row := range rows {
		r := d.StepAt(int64(from+i)*int64(minutes)*60_000, row, seldom)
		levels, alarms = append(levels, r.Level), append(alarms, r.Alarm)
	}
	return levels, alarms
}

// on are the rows in alarm.
func on(alarms []bool) (rows []int) {
	for i, a := range alarms {
		if a {
			rows = append(rows, i)
		}
	}
	return rows
}

// shift adds by to a signal in the rows from, to.
func shift(rows [][]float64, signal, from, to int, by float64) [][]float64 {
	for i := from; i < to; i++ {
		rows[i][signal] += by
	}
	return rows
}

func TestInvariance(t *testing.T) {
	t.Parallel()
	rows := shift(noise(5, 1500, 4), 2, 700, 1000, 1.5)
	levels, alarms := run(multivariate.New(4, 0), rows)
	require.NotEmpty(t, on(alarms))
	order := []int{3, 1, 0, 2}
	for name, change := range map[string]func(row []float64) []float64{
		"scaled":    func(r []float64) []float64 { return []float64{r[0] * 1e6, r[1] * 3.7, r[2] * 1e-9, r[3]} },
		"shifted":   func(r []float64) []float64 { return []float64{r[0] + 1000, r[1] - 77, r[2] + 0.1, r[3]} },
		"negated":   func(r []float64) []float64 { return []float64{-r[0], -r[1], -r[2], -r[3]} },
		"reordered": func(r []float64) []float64 { return []float64{r[order[0]], r[order[1]], r[order[2]], r[order[3]]} },
	} {
		var changed [][]float64
		for _, r := range rows {
			changed = append(changed, change(r))
		}
		l, a := run(multivariate.New(4, 0), changed)
		require.InDeltaSlice(t, levels, l, 1e-6, name)
		require.Equal(t, alarms, a, name)
	}
}

func TestTopSignalIsTheOneThatMoved(t *testing.T) {
	t.Parallel()
	const signals = 6
	for moved := range signals {
		for name, fault := range map[string]func(rows [][]float64){
			"level":  func(rows [][]float64) { shift(rows, moved, 600, 700, 2) },
			"slight": func(rows [][]float64) { shift(rows, moved, 600, 900, -1.3) },
			"spike":  func(rows [][]float64) { rows[600][moved] += 200 },
			"louder": func(rows [][]float64) {
				for i := 600; i < 700; i++ {
					rows[i][moved] += 4 * (rows[i][moved] - 10*float64(moved+1))
				}
			},
			"stuck": func(rows [][]float64) {
				for i := 600; i < 650; i++ {
					rows[i][moved] = rows[599][moved]
				}
			},
			"ramp": func(rows [][]float64) {
				for i := 600; i < 1200; i++ {
					rows[i][moved] += float64(i-600) / 200
				}
			},
		} {
			rows := noise(uint64(10+moved), 1200, signals)
			fault(rows)
			d := multivariate.New(signals, 0)
			top, share := -1, 0.0
			for i, row := range rows {
				if r := d.Step(row, seldom); i >= 600 && r.Alarm {
					top, share = r.Top, r.Contributions[max(r.Top, 0)]
					break
				}
			}
			require.Equal(t, moved, top, "%s of %d", name, moved)
			require.Greater(t, share, 0.5, name)
		}
	}
}

// A new level is the usual one after two warm-ups, and then its end is news.
func TestNewLevelIsAccepted(t *testing.T) {
	t.Parallel()
	rows := shift(noise(6, 4000, 3), 1, 600, 3000, 5)
	_, alarms := run(multivariate.New(3, 400), rows)
	require.True(t, alarms[620])
	require.True(t, alarms[1200], "a fault of 600 rows is marked to its end")
	require.False(t, alarms[1500])
	require.False(t, alarms[2900])
	require.True(t, alarms[3050])
	require.False(t, alarms[3990])
}

func TestGaps(t *testing.T) {
	t.Parallel()
	gap := math.NaN()
	t.Run("a third of all readings", func(t *testing.T) {
		t.Parallel()
		rng := rand.New(rand.NewPCG(8, 8))
		rows := shift(noise(8, 2000, 3), 0, 1200, 1400, 3)
		for _, row := range rows {
			for j := range row {
				if rng.IntN(3) == 0 {
					row[j] = gap
				}
			}
		}
		levels, alarms := run(multivariate.New(3, 0), rows)
		for i, l := range levels {
			require.False(t, math.IsNaN(l))
			require.False(t, alarms[i] && (i < 1200 || i > 1450), i)
		}
		require.True(t, alarms[1300])
	})
	t.Run("a signal that is never there", func(t *testing.T) {
		t.Parallel()
		rows := shift(noise(9, 1200, 3), 0, 700, 800, 3)
		for _, row := range rows {
			row[2] = math.Inf(1)
		}
		_, alarms := run(multivariate.New(3, 0), rows)
		require.True(t, alarms[750])
	})
	t.Run("a signal that comes late", func(t *testing.T) {
		t.Parallel()
		rows := shift(noise(10, 2000, 2), 1, 1500, 1600, 3)
		for i := range 700 {
			rows[i][1] = gap
		}
		_, alarms := run(multivariate.New(2, 0), rows)
		require.Empty(t, on(alarms[:1500]))
		require.True(t, alarms[1550])
	})
	t.Run("a unit that stops sending and comes back as it was", func(t *testing.T) {
		t.Parallel()
		rows := noise(11, 2000, 2)
		for i := 800; i < 1100; i++ {
			rows[i][0], rows[i][1] = gap, gap
		}
		_, alarms := run(multivariate.New(2, 0), rows)
		require.Empty(t, on(alarms))
	})
	t.Run("a signal that begins to vary", func(t *testing.T) {
		t.Parallel()
		rows := noise(12, 3000, 3)
		for i := range 900 {
			rows[i][2] = 7
		}
		d := multivariate.New(3, 0)
		_, alarms := run(d, rows)
		require.Empty(t, on(alarms[:900]))
		require.True(t, alarms[900], "the first change in all its life is told")
		require.Empty(t, on(alarms[915:]), "and then it is learned")
		_, alarms = run(d, shift(noise(13, 100, 3), 2, 0, 100, 3))
		require.True(t, alarms[50])
	})
}

func TestRelevel(t *testing.T) {
	t.Parallel()
	rows := shift(noise(14, 2000, 2), 0, 800, 2000, 50)
	d := multivariate.New(2, 0)
	_, alarms := run(d, rows[:800])
	d.Relevel()
	_, after := run(d, rows[800:])
	require.Empty(t, on(append(alarms, after...)))
	_, after = run(d, shift(noise(15, 100, 2), 0, 0, 100, 47))
	require.True(t, after[50], "what comes after the new level is judged by it")
}

func TestFutureChangesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		minutes := rapid.SampledFrom([]int{1, 25, 60, 700}).Draw(t, "minutes")
		cut := rapid.IntRange(0, len(rows)).Draw(t, "cut")
		whole, part := multivariate.New(2, 40), multivariate.New(2, 40)
		levels, alarms := timed(whole, rows, 0, minutes)
		l, a := timed(part, rows[:cut], 0, minutes)
		require.Equal(t, levels[:cut], append([]float64{}, l...))
		require.Equal(t, alarms[:cut], append([]bool{}, a...))
	})
}

// The state is the same whether or not it was written and read on the way.
func TestStateSurvives(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		minutes := rapid.SampledFrom([]int{1, 25, 60, 700}).Draw(t, "minutes")
		cut := rapid.IntRange(0, len(rows)).Draw(t, "cut")
		whole, part, second := multivariate.New(2, 40), multivariate.New(2, 40), new(multivariate.Detector)
		timed(part, rows[:cut], 0, minutes)
		raw, err := part.MarshalBinary()
		require.NoError(t, err)
		require.NoError(t, second.UnmarshalBinary(raw))
		levels, alarms := timed(whole, rows, 0, minutes)
		l, a := timed(second, rows[cut:], cut, minutes)
		require.Equal(t, levels[cut:], append([]float64{}, l...))
		require.Equal(t, alarms[cut:], append([]bool{}, a...))
		one, err := whole.MarshalBinary()
		require.NoError(t, err)
		two, err := second.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, one, two)
		for _, l := range levels {
			require.False(t, math.IsNaN(l) || math.IsInf(l, 0) || l < 0, l)
		}
	})
}

// drawRows draws rows of two signals that stand, wander, jump, and miss.
func drawRows(t *rapid.T) [][]float64 {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "noise"), 0))
	var rows [][]float64
	for range rapid.IntRange(1, 8).Draw(t, "stretches") {
		length, kind := rapid.IntRange(1, 60).Draw(t, "length"), rapid.IntRange(0, 3).Draw(t, "kind")
		level := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-3, 3)).Draw(t, "level")
		for range length {
			switch kind {
			case 0:
				rows = append(rows, []float64{level, rng.NormFloat64()})
			case 1:
				rows = append(rows, []float64{level + rng.NormFloat64(), math.NaN()})
			case 2:
				rows = append(rows, []float64{rng.NormFloat64() * level, rng.NormFloat64()})
			default:
				rows = append(rows, []float64{rng.NormFloat64(), float64(rng.IntN(2))})
			}
		}
	}
	return rows
}

func FuzzUnmarshal(f *testing.F) {
	for _, n := range []int{0, 10, 500, 1300} {
		d := multivariate.New(2, 40)
		timed(d, shift(noise(16, n, 2), 0, n/2, n, 5), 0, 30)
		raw, err := d.MarshalBinary()
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := new(multivariate.Detector)
		if d.UnmarshalBinary(raw) != nil {
			return
		}
		again, err := d.MarshalBinary()
		require.NoError(t, err)
		e := new(multivariate.Detector)
		require.NoError(t, e.UnmarshalBinary(again))
		row := make([]float64, d.Signals())
		for i := range 100 {
			for j := range row {
				row[j] = float64(i * j % 7)
			}
			require.False(t, math.IsNaN(d.Step(row, weekly).Level))
		}
	})
}

// Torque and current are one load seen twice. From row 2000 they are as loud as
// before, each by itself, but no longer move together.
func TestBrokenRelation(t *testing.T) {
	t.Parallel()
	rows, other := noise(21, 3000, 4), noise(22, 3000, 1)
	load := 0.
	for i, row := range rows {
		load = 0.7*load + other[i][0] - 10
		row[0], row[1] = 100+5*load, 20+load+0.2*(row[1]-20)
	}
	second := 0.
	for i := 2000; i < 3000; i++ {
		second = 0.7*second + rows[i][3] - 40
		rows[i][1] = 20 + second
	}
	levels, alarms := run(multivariate.New(4, 0), rows)
	require.Empty(t, on(alarms[:2000]))
	require.True(t, alarms[2060], "%v", levels[2000:2100])
	d := multivariate.New(4, 0)
	run(d, rows[:2060])
	r := d.Step(rows[2060], seldom)
	require.Contains(t, []int{0, 1}, r.Top)
	require.Greater(t, r.Contributions[0]+r.Contributions[1], 0.9)
}

// A signal's state, written, stays small: 16 KiB is the limit.
func TestStateIsSmall(t *testing.T) {
	t.Parallel()
	const signals = 20
	d := multivariate.New(signals, 0)
	rows := noise(23, 3000, signals)
	for _, until := range []int{399, 3000} {
		timed(d, rows[:until], 0, 1)
		raw, err := d.MarshalBinary()
		require.NoError(t, err)
		require.Less(t, len(raw)/signals, 16<<10)
		if until == 3000 {
			require.Less(t, len(raw)/signals, 8<<10)
		}
		t.Logf("%d bytes a signal after %d rows", len(raw)/signals, until)
	}
}
