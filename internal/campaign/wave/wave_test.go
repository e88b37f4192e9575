package wave_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/campaign/wave"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fleet"
)

func fleetOf(n int) []fleet.Unit {
	out := make([]fleet.Unit, n)
	for i := range out {
		out[i] = fleet.Unit{
			ID: fmt.Sprintf("WC-%06d", i), Hardware: string(rune('A' + i%3)), Region: []string{"NO", "US", "DE"}[i%3],
			Attributes: map[string]string{"plug": fmt.Sprint(i % 4)},
		}
	}
	return out
}

func drawn(t require.TestingT, seed int64, waves []wave.Wave, units []fleet.Unit) map[string]int {
	d, err := wave.New(seed, waves)
	require.NoError(t, err)
	for i := range units {
		d.See(&units[i])
	}
	cuts, taken := d.Cuts()
	out := map[string]int{}
	for i := range units {
		id := units[i].ID
		out[id] = d.Wave(&units[i], cuts, false)
		if w, ok := taken[id]; ok {
			require.Equal(t, w, out[id])
			require.NotEqual(t, w, d.Wave(&units[i], nil, false), "before it is known, it is in none that counts")
		} else {
			require.Zero(t, waves[out[id]].Count)
		}
	}
	return out
}

func sizes(by map[string]int, waves int) []int {
	out := make([]int, waves)
	for _, w := range by {
		out[w]++
	}
	return out
}

func TestKindsOfWaves(t *testing.T) {
	t.Parallel()
	units := fleetOf(9000)
	got := drawn(t, 7, []wave.Wave{
		{Name: "named", Units: []string{"WC-000001", "WC-000005", "WC-999999"}},
		{Name: "canaries", Count: 10},
		{Name: "a few", Share: 0.1},
		{Name: "norwegian", Where: `region == "NO" && attributes.plug == "0"`},
		{Name: "some of C", Match: &cohort.Attributes{Hardware: []string{"C"}}, Count: 25},
		{Name: "rest"},
	}, units)
	n := sizes(got, 6)
	require.Equal(t, 2, n[0])
	require.Equal(t, 10, n[1], "a count is exact")
	require.Equal(t, 750, n[3], "all that match, wherever the wave stands")
	require.Equal(t, 25, n[4])
	drawnByLot := 9000 - 2 - 750 - 25 - 10
	require.InDelta(t, 0.1, float64(n[2])/float64(drawnByLot), 0.015)
	require.Equal(t, 0, got["WC-000001"])
	for i := range units {
		if w := got[units[i].ID]; w == 3 {
			require.Equal(t, "NO", units[i].Region)
		}
	}
	// Those that match and are beyond the count are drawn by lot as all others.
	lot := map[string][2]int{}
	for i := range units {
		if w := got[units[i].ID]; w == 2 || w == 5 {
			c := lot[units[i].Hardware]
			c[w/5]++
			lot[units[i].Hardware] = c
		}
	}
	for hardware, c := range lot {
		require.InDelta(t, 0.1, float64(c[0])/float64(c[0]+c[1]), 0.03, hardware)
	}
}

func TestAConditionOnWhatAUnitLacksDoesNotHold(t *testing.T) {
	t.Parallel()
	got := drawn(t, 1, []wave.Wave{{Name: "a", Where: `attributes.nothing == "x"`}, {Name: "rest"}}, []fleet.Unit{{ID: "u"}})
	require.Equal(t, 1, got["u"])
}

// A unit's place in the shares does not change when others join or leave; who
// joins later comes into no wave that counts, and moves nobody.
func TestPlacesAreStable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Int64().Draw(t, "seed")
		all := fleetOf(rapid.IntRange(1, 300).Draw(t, "units"))
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, len(all), func(u fleet.Unit) string { return u.ID }).Draw(t, "some")
		a, b := rapid.Float64Range(0, 0.5).Draw(t, "a"), rapid.Float64Range(0, 0.5).Draw(t, "b")
		shares := []wave.Wave{{Name: "a", Share: a}, {Name: "b", Share: b}, {Name: "NO", Where: `region == "NO"`}, {Name: "rest"}}
		whole := drawn(t, seed, shares, all)
		for id, w := range drawn(t, seed, shares, some) {
			if whole[id] != w {
				t.Fatalf("%s moved from %d to %d", id, w, whole[id])
			}
		}
		counted := append([]wave.Wave{{Name: "first", Count: rapid.IntRange(1, 10).Draw(t, "count")}}, shares...)
		d, err := wave.New(seed, counted)
		require.NoError(t, err)
		before := map[string]int{}
		for i := range some {
			d.See(&some[i])
		}
		cuts, _ := d.Cuts()
		first := 0
		for i := range some {
			before[some[i].ID] = d.Wave(&some[i], cuts, false)
			if before[some[i].ID] == 0 {
				first++
			}
		}
		free := 0
		for i := range some {
			if some[i].Region != "NO" {
				free++
			}
		}
		if want := min(counted[0].Count, free); first != want {
			t.Fatalf("%d units in the first wave, not %d", first, want)
		}
		for i := range all {
			if _, known := before[all[i].ID]; !known && d.Wave(&all[i], cuts, true) == 0 {
				t.Fatalf("%s joined a wave that is full", all[i].ID)
			}
		}
	})
}

func TestMistakesOfWaves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		waves []wave.Wave
		paths []string
	}{
		{"none", nil, []string{"waves"}},
		{"good", []wave.Wave{{Name: "a", Count: 3}, {Name: "b", Where: `hardware == "B"`, Share: 0.5}, {Name: "c", Units: []string{"x"}}, {Name: "d"}}, nil},
		{"shares and names", []wave.Wave{{Name: "a", Share: 0.7}, {Name: "a", Share: 0.7}}, []string{"waves[1].name", "waves"}},
		{"both", []wave.Wave{{Name: "a", Share: 0.7, Count: 1}, {Name: "b"}}, []string{"waves[0].count"}},
		{"nothing in it", []wave.Wave{{Name: "a"}, {Name: "b"}}, []string{"waves[0].share"}},
		{"no rest", []wave.Wave{{Name: "a", Count: 1}}, []string{"waves[0]"}},
		{"not CEL", []wave.Wave{{Name: "a", Where: "region =="}, {Name: "b", Where: "region"}, {Name: "c", Where: "current > 3.0"}, {Name: "d"}}, []string{"waves[0].where", "waves[1].where", "waves[2].where"}},
		{"twice", []wave.Wave{{Name: "a", Units: []string{"x", "x", ""}}, {Name: "b"}}, []string{"waves[0].units[1]", "waves[0].units[2]"}},
		{"too many ways", []wave.Wave{{Name: "a", Units: []string{"x"}, Where: "true", Match: &cohort.Attributes{}}, {Name: "b"}}, []string{"waves[0].units", "waves[0].where", "waves[0].match"}},
		{"negative", []wave.Wave{{Name: "a", Count: -1, Share: -1}, {Name: "b"}}, []string{"waves[0].share", "waves[0].count"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var paths []string
			wave.Validate(c.waves, func(path, _ string, _ any) { paths = append(paths, path) })
			require.Equal(t, c.paths, paths)
		})
	}
}

func BenchmarkDraw(b *testing.B) {
	units := fleetOf(1000)
	d, err := wave.New(1, []wave.Wave{{Name: "first", Count: 10}, {Name: "a", Share: 0.1}, {Name: "rest"}})
	require.NoError(b, err)
	i := 0
	for b.Loop() {
		d.See(&units[i%1000])
		d.Wave(&units[i%1000], nil, false)
		i++
	}
}
