package watch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The state of units is kept at the same rate however many there are, up to a
// point.
func TestStateOfMoreUnitsIsKeptLessOften(t *testing.T) {
	t.Parallel()
	w := New(Config{})
	for units, want := range map[int]time.Duration{0: 2 * time.Second, 2000: 2 * time.Second, 10_000: 10 * time.Second, 1_000_000: 30 * time.Second} {
		require.Equal(t, want, w.idle(units), "%d units", units)
	}
}
