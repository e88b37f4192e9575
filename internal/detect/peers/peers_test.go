package peers_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/peers"
)

// fleet is made-up units in a cohort: each with an offset of its own, a load
// that all share, and noise.
type fleet struct {
	r       *rand.Rand
	c       peers.Config
	units   []*peers.Unit
	means   []float64 // of the newest period
	offsets []float64
	common  float64
	wander  float64 // of each unit's offset, a period
}

func newFleet(seed uint64, n int, c peers.Config) *fleet {
	f := &fleet{r: rand.New(rand.NewPCG(seed, 2)), c: c, means: make([]float64, n)}
	for range n {
		f.units = append(f.units, &peers.Unit{})
		f.offsets = append(f.offsets, f.r.NormFloat64())
	}
	return f
}

// period runs one: fault is added to unit 0.
func (f *fleet) period(fault float64) []peers.Verdict {
	f.common += 5 * f.r.NormFloat64()
	for i := range f.units {
		f.offsets[i] += f.wander * f.r.NormFloat64()
		v := f.common + f.offsets[i] + f.r.NormFloat64()
		if i == 0 {
			v += fault
		}
		f.means[i] = v
	}
	return f.c.Judge(f.units, f.means)
}

// Twenty chargers stand in the same street. What the weather does to them all
// is nobody's fault; the plug of the first begins to warm by half a degree a
// day on day 30.
func Example() {
	f := newFleet(3, 20, peers.Config{})
	for day := range int64(60) {
		v := f.period(0.5 * math.Max(0, float64(day-30)))[0]
		if v.Score > 1 {
			fmt.Printf("day %d: %.1f from %d peers, whose spread is %.1f; changed: %t\n", day, v.Off, v.Peers, v.Spread, v.Changed)
			break
		}
	}
	// Output:
	// day 43: 2.5 from 20 peers, whose spread is 0.4; changed: true
}

// A faulty unit is found, whichever way it is off; its peers are not.
func TestFinds(t *testing.T) {
	t.Parallel()
	for _, n := range []int{8, 12, 30, 200} {
		for _, size := range []float64{12, -12} {
			f := newFleet(uint64(n)+1, n, peers.Config{})
			found := -1
			for day := range int64(80) {
				fault := 0.0
				if day >= 40 {
					fault = size
				}
				for i, v := range f.period(fault) {
					if v.Score <= 1 {
						continue
					}
					require.Zero(t, i, "a sound peer, day %d of %d", day, n)
					require.GreaterOrEqual(t, day, int64(40))
					require.Equal(t, size > 0, v.Off > 0)
					if found < 0 {
						found = int(day)
					}
				}
			}
			require.GreaterOrEqual(t, found, 40, "%d units, fault %v", n, size)
			require.LessOrEqual(t, found, 40+2*peers.Memory, "%d units, fault %v", n, size)
		}
	}
}

// A change is found where the level alone would not tell.
func TestFindsChangeWithinTheRange(t *testing.T) {
	t.Parallel()
	f := newFleet(5, 60, peers.Config{})
	for i := range f.offsets {
		f.offsets[i] *= 10 // units differ much by nature
	}
	changed := false
	for day := range int64(90) {
		fault := 0.0
		if day >= 40 {
			fault = 5
		}
		v := f.period(fault)[0]
		changed = changed || v.Score > 1 && v.Changed
	}
	require.True(t, changed)
}

// What happens to the cohort as a whole is nobody's finding; nor is there one
// below the minimum.
func TestKeepsQuiet(t *testing.T) {
	t.Parallel()
	f := newFleet(1, 30, peers.Config{})
	for day := range int64(100) {
		if day == 50 {
			f.common += 100
		}
		for _, v := range f.period(0) {
			require.LessOrEqual(t, v.Score, 1.0)
		}
	}
	few := newFleet(1, peers.DefaultMinimum-1, peers.Config{})
	for range 100 {
		for _, v := range few.period(100) {
			require.Zero(t, v.Score)
		}
	}
}

// The budget holds: alarms that open, a unit and year, over cohorts of several
// sizes whose units are normal, alike or wandering apart.
func TestBudget(t *testing.T) {
	t.Parallel()
	for _, budget := range []float64{0.1, 1} {
		for _, wander := range []float64{0, 0.1} {
			opened, days := 0, 0
			for seed := range uint64(20) {
				n := []int{8, 12, 20, 50}[seed%4]
				f := newFleet(seed, n, peers.Config{Budget: budget})
				f.wander = wander
				was := make([]bool, n)
				for range 365 {
					for i, v := range f.period(0) {
						if v.Score > 1 && !was[i] {
							opened++
						}
						was[i] = v.Score > 1 || was[i] && v.Score > 0.75
					}
				}
				days += 365 * n
			}
			rate := float64(opened) / (float64(days) / 365.25)
			t.Logf("budget %5.1f wander %.1f: %.3f a unit-year", budget, wander, rate)
			require.Less(t, rate, budget)
		}
	}
}

// The order of the members is of no importance.
func TestOrder(t *testing.T) {
	t.Parallel()
	f := newFleet(8, 20, peers.Config{})
	turned := make([]*peers.Unit, len(f.units))
	for i, u := range f.units {
		turned[len(turned)-1-i] = new(peers.Unit)
		*turned[len(turned)-1-i] = *u
	}
	for range 40 {
		want := f.period(3)
		means := slices.Clone(f.means)
		slices.Reverse(means)
		got := f.c.Judge(turned, means)
		for i := range want {
			require.InDelta(t, want[i].Score, got[len(got)-1-i].Score, 1e-9)
		}
	}
}

// Samples of the period before count while it is open; older ones do not.
func TestAdd(t *testing.T) {
	t.Parallel()
	var u peers.Means
	u.Add(5, 1)
	u.Add(6, 10)
	u.Add(5, 3)
	u.Add(4, 100)
	u.Add(6, math.NaN())
	v, ok := u.Value(5)
	require.True(t, ok)
	require.InDelta(t, 2, v, 0)
	v, _ = u.Value(6)
	require.InDelta(t, 10, v, 0)
	_, ok = u.Value(4)
	require.False(t, ok)
	u.Add(7, 1)
	_, ok = u.Value(5)
	require.False(t, ok, "its place is taken")
}

func FuzzUnmarshal(f *testing.F) {
	var m peers.Means
	m.Add(3, 1.5)
	raw, _ := m.MarshalBinary()
	f.Add(raw)
	fleet := newFleet(1, 8, peers.Config{})
	fleet.period(1)
	raw, _ = fleet.units[0].MarshalBinary()
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m, again peers.Means
		if m.UnmarshalBinary(raw) == nil {
			data, err := m.MarshalBinary()
			require.NoError(t, err)
			require.NoError(t, again.UnmarshalBinary(data))
			require.Equal(t, m, again)
		}
		var u, other peers.Unit
		if u.UnmarshalBinary(raw) == nil {
			data, err := u.MarshalBinary()
			require.NoError(t, err)
			require.NoError(t, other.UnmarshalBinary(data))
			require.Equal(t, u, other)
		}
	})
}

// Whatever the figures, scores are numbers.
func FuzzJudge(f *testing.F) {
	f.Add(1.0, 2.0, 1e300, uint8(9))
	f.Fuzz(func(t *testing.T, a, b, c float64, n uint8) {
		units, means := make([]*peers.Unit, n), make([]float64, n)
		for i := range units {
			units[i] = &peers.Unit{}
		}
		for p := range 30 {
			for i := range means {
				var m peers.Means
				m.Add(0, []float64{a, b, c}[(i+p)%3])
				means[i], _ = m.Value(0)
			}
			for _, v := range (peers.Config{}).Judge(units, means) {
				require.False(t, math.IsNaN(v.Score) || v.Score < 0)
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	var u peers.Means
	for i := 0; b.Loop(); i++ {
		u.Add(int64(i/1000), float64(i&255))
	}
}

func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{20, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := newFleet(1, n, peers.Config{})
			for b.Loop() {
				f.period(0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/unit")
		})
	}
}
