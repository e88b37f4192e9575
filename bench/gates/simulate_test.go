package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/outcome/sequential"
)

// Good releases: at most 5 of 100 are stopped, whatever is known beforehand,
// in rollouts of any size. Fixed seeds; `make bench-gates` plays more.
func TestGoodReleasesAreSeldomStopped(t *testing.T) {
	t.Parallel()
	const times = 300
	for _, baseline := range []float64{0.01, 0.05} {
		for _, waves := range [][]int{large, small} {
			r := &rollout{waves: waves, baseline: baseline}
			s := try(r, always(evidence("", sequential.Declared(baseline))), times, 1)
			require.LessOrEqual(t, s.stopped, 0.05, "%g, declared, %v", baseline, waves)
			for _, history := range []int{0, 50, 200, 1000} {
				s := try(r, learned(r, history), times, 2)
				require.LessOrEqual(t, s.stopped, 0.05, "%g, learned from %d, %v", baseline, history, waves)
			}
		}
	}
}

// Bad ones are: the bounds are about twice what was seen, and far below what
// any threshold that spares good releases lets through.
func TestBadReleasesAreStopped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		baseline, extra float64
		begun, failed   int // median
	}{
		{0.01, 0.005, 9000, 140},
		{0.01, 0.02, 700, 25},
		{0.01, 0.1, 60, 8},
		{0.05, 0.005, 45_000, 2500},
		{0.05, 0.02, 2600, 190},
		{0.05, 0.1, 150, 25},
	} {
		r := &rollout{waves: large, baseline: c.baseline, extra: c.extra}
		s := try(r, always(evidence("", sequential.Declared(c.baseline))), 100, 3)
		require.GreaterOrEqual(t, s.stopped, 0.99, "%+v", c)
		require.LessOrEqual(t, s.begunP50, c.begun, "%+v", c)
		require.LessOrEqual(t, s.failedP50, c.failed, "%+v", c)
		h := try(r, always(fixed("", 0.1)(r)), 100, 3)
		require.Greater(t, h.failedP50, s.failedP50, "a threshold of 10 %% of the wave")
	}
}

// What stops a good release is not what stops a bad one late.
func TestFlightOnlyDelays(t *testing.T) {
	t.Parallel()
	r := &rollout{waves: large, baseline: 0.01, extra: 0.1}
	m := always(evidence("", sequential.Declared(0.01)))
	at := try(r, m, 100, 4)
	r.flight = 100
	later := try(r, m, 100, 4)
	require.Greater(t, later.begunP50, at.begunP50)
	require.Less(t, later.begunP50, at.begunP50+300)
}

func TestTheTableIsPrinted(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, table(&out, "x", small, 0, []column{declaredBaseline, fixedAt("hawkBit 5 %", 0.05), knowingAll}, options{times: 5, seed: 1}))
	require.Contains(t, out.String(), "none: good")
	require.Contains(t, out.String(), "+10 %")
}
