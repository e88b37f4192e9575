package clock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
)

func TestScaledAgreesAcrossProcesses(t *testing.T) {
	t.Parallel()
	start := time.Date(2014, 1, 6, 0, 0, 0, 0, time.UTC)
	origin := time.Now().Add(-10 * time.Second)
	a := clock.Scaled{Origin: origin, Start: start, Speed: 3600}
	b := clock.Scaled{Origin: origin, Start: start, Speed: 3600}
	got := a.Now()
	require.GreaterOrEqual(t, got.Sub(start), 10*time.Hour)
	require.Less(t, b.Now().Sub(got), time.Hour, "a second process shows the same time")
	require.Equal(t, time.UTC, got.Location())
}

func TestManualMovesOnlyWhenTold(t *testing.T) {
	t.Parallel()
	start := time.Date(2014, 1, 6, 0, 0, 0, 0, time.UTC)
	m := clock.NewManual(start)
	require.Equal(t, start, m.Now())
	m.Advance(time.Minute)
	require.Equal(t, start.Add(time.Minute), m.Now())
	m.Set(start.Add(-time.Hour))
	require.Equal(t, start.Add(-time.Hour), m.Now())
}

func TestIDs(t *testing.T) {
	t.Parallel()
	seen := map[int64]bool{}
	for range 1000 {
		k := clock.Random{}.Key()
		require.Positive(t, k)
		require.False(t, seen[k])
		seen[k] = true
	}
	s := &clock.Sequence{Prefix: "t"}
	require.Equal(t, "t-1", s.ID())
	require.Equal(t, "t-2", s.ID())
	require.Equal(t, int64(1), s.Key())
}

func TestPasses(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var told []string
	n := 0
	err := clock.Passes(ctx, time.Millisecond, func(context.Context) (int, error) {
		n++
		switch n {
		case 1:
			return 5, nil
		case 2:
			return 5, errors.New("full")
		}
		cancel()
		return 0, ctx.Err()
	}, func(err error) { told = append(told, err.Error()) })
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.Equal(t, []string{"full"}, told, "the end is no failure")
}
