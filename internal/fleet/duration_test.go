package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseDuration(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"90d": 90 * day, "1d12h": 36 * time.Hour, "2w": 14 * day, "0.5d": 12 * time.Hour, "10m": 10 * time.Minute, "0": 0,
	} {
		got, err := ParseDuration(s)
		require.NoError(t, err, s)
		require.Equal(t, Duration(want), got, s)
	}
	for _, s := range []string{"", "soon", "-1d", "-5m", "NaNd", "Infd", "1e5w", "90000d", "2000000h", "100000000000000h", "d", "36500d1h"} {
		_, err := ParseDuration(s)
		require.Error(t, err, s)
	}
}
