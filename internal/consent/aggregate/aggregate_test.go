package aggregate_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/consent/aggregate"
	"fettle.dev/fettle/internal/fault"
)

func of(groups map[string]int) (out []aggregate.Value) {
	for name, n := range groups {
		for i := range n {
			out = append(out, aggregate.Value{Group: name, Number: float64(i)})
		}
	}
	return out
}

func TestSmallGroupsAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		groups   map[string]int
		shown    []string
		withheld int
	}{
		{map[string]int{"a": 10, "b": 100}, []string{"a", "b"}, 0},
		{map[string]int{"a": 9, "b": 100}, nil, 2}, // b alone would tell a, from the whole
		{map[string]int{"a": 9, "b": 12, "c": 40}, []string{"c"}, 2},
		{map[string]int{"a": 4, "b": 6, "c": 40}, []string{"c"}, 2},
		{map[string]int{"a": 3}, nil, 1},
		{nil, nil, 0},
	} {
		shown, withheld := aggregate.Shown(c.groups)
		require.Equal(t, c.shown, shown, "%v", c.groups)
		require.Equal(t, c.withheld, withheld, "%v", c.groups)
	}
	table := aggregate.Of(of(map[string]int{"a": 9, "b": 12, "c": 43}))
	require.Equal(t, aggregate.K, table.K)
	require.Len(t, table.Groups, 1)
	require.Equal(t, 40, table.Groups[0].Units, "rounded down")
	require.InDelta(t, 21, table.Groups[0].Mean, 0)
	require.NotNil(t, table.All)
	require.Equal(t, 40, table.All.Units, "over what is shown alone")
	require.Nil(t, aggregate.Of(of(map[string]int{"a": 9})).All)
	require.Equal(t, fault.Denied, fault.KindOf(aggregate.Enough(9, "a figure")))
	require.NoError(t, aggregate.Enough(10, "a figure"))
}

// Whatever the groups: none that is shown is small, and what is not shown is
// nothing or comes to at least K.
func TestNothingSmallFollows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		groups := map[string]int{}
		for i, n := range rapid.SliceOfN(rapid.IntRange(1, 30), 0, 8).Draw(t, "sizes") {
			groups[fmt.Sprint(i)] = n
		}
		shown, withheld := aggregate.Shown(groups)
		hidden := 0
		for _, n := range groups {
			hidden += n
		}
		for _, name := range shown {
			if groups[name] < aggregate.K {
				t.Fatalf("%s of %v", name, groups)
			}
			hidden -= groups[name]
		}
		if len(shown) > 0 && hidden > 0 && hidden < aggregate.K {
			t.Fatalf("%d follow from %v", hidden, groups)
		}
		if len(shown)+withheld != len(groups) {
			t.Fatal(shown, withheld, groups)
		}
	})
}

// Nine units are nobody, ten are told of; and of two questions whose groups
// differ by one unit the difference does not tell that unit's figure: whatever
// it is, within the span of the others, the answers fit many another.
func TestNineTenAndTheDifferenceOfTwoQuestions(t *testing.T) {
	t.Parallel()
	require.Empty(t, aggregate.Of(of(map[string]int{"a": 9})).Groups)
	require.Len(t, aggregate.Of(of(map[string]int{"a": 10})).Groups, 1)
	for _, n := range []int{10, 30, 57} {
		var others []aggregate.Value
		for i := range n {
			others = append(others, aggregate.Value{Group: "a", Number: 100 * float64(i) / float64(n-1)})
		}
		mean := func(also float64) float64 {
			return aggregate.Of(append(slices.Clone(others), aggregate.Value{Group: "a", Number: also})).Groups[0].Mean
		}
		for _, unit := range []float64{0, 37, 50, 90, 100} {
			fits := 0
			for guess := 0.0; guess <= 100; guess++ {
				if mean(guess) == mean(unit) {
					fits++
				}
			}
			require.GreaterOrEqual(t, fits, 40, "of 101 guesses what the unit %v added to %d has", unit, n)
		}
	}
}

func TestDays(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)
	from, to, err := aggregate.Days(now.Add(-49*time.Hour), now, now)
	require.NoError(t, err)
	require.Equal(t, now.Truncate(24*time.Hour).AddDate(0, 0, -2), from)
	require.Equal(t, now.Truncate(24*time.Hour), to, "today is not over")
	_, _, err = aggregate.Days(now.Add(-time.Hour), now, now)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
