package heap

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLimit(t *testing.T) {
	t.Parallel()
	require.EqualValues(t, 10+1<<20+calm, limit(usage{live: 1 << 20, other: 10}), "a small heap grows as the collector has it")
	require.EqualValues(t, 10+3<<30, limit(usage{live: 2 << 30, other: 10}), "a large one by half of what is live")
	runtime.GC()
	u := measure()
	require.Positive(t, u.live)
	require.Positive(t, u.other)
	require.Greater(t, limit(u), u.live+u.other)
}
