package device_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
)

func TestClockSkew(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	unit := h.Units(1)[0]
	id := h.Identity(unit)
	send := func(late time.Duration) device.Outcome {
		t.Helper()
		out := make([]device.Outcome, 1)
		require.NoError(t, h.Gateway.Store(t.Context(), id, []device.Message{{
			Event: h.Clock.Now().Add(-late).UnixMilli(), HasEvent: true,
			Values: []device.Value{{Name: []byte("error"), Kind: device.KindNumber, Number: 1}},
		}}, out))
		return out[0]
	}
	skew := func() time.Duration {
		t.Helper()
		ahead, known := h.Gateway.ClockSkew(unit)
		require.True(t, known)
		return ahead
	}
	_, known := h.Gateway.ClockSkew(unit)
	require.False(t, known)
	_, known = h.Gateway.ClockSkew("nobody")
	require.False(t, known)

	// A unit that was offline for days: its buffer alone looks like a clock that is behind.
	send(72 * time.Hour)
	require.Equal(t, -72*time.Hour, skew())
	send(48 * time.Hour)
	send(60 * time.Hour) // out of order
	require.Equal(t, -48*time.Hour, skew())
	// Live data beside it tells the clock, whatever else comes late.
	send(200 * time.Millisecond)
	send(47 * time.Hour)
	require.Equal(t, -200*time.Millisecond, skew())
	require.Equal(t, 1, send(30*time.Hour).Kept, "late data is kept")

	// The clock goes wrong: five minutes ahead, seen at once; two days ahead is refused and seen.
	send(-5 * time.Minute)
	require.Equal(t, 5*time.Minute, skew())
	require.Equal(t, 1, send(-48*time.Hour).Invalid)
	require.Equal(t, 48*time.Hour, skew())
	require.Equal(t, 1, send(-200*365*24*time.Hour).Invalid, "nanoseconds that were taken for seconds")
	require.Equal(t, 48*time.Hour, skew())

	// It is set right: what was seen is forgotten within two windows.
	h.Clock.Advance(time.Hour)
	send(0)
	require.Equal(t, 48*time.Hour, skew())
	h.Clock.Advance(time.Hour)
	send(0)
	require.Zero(t, skew())
	// After a long silence only what comes now counts.
	h.Clock.Advance(100 * time.Hour)
	send(time.Minute)
	require.Equal(t, -time.Minute, skew())

	// Messages without a time of their own say nothing of the clock.
	h.Clock.Advance(3 * time.Hour)
	require.NoError(t, h.Gateway.Store(t.Context(), id, []device.Message{{Values: []device.Value{{Name: []byte("error"), Kind: device.KindNumber}}}}, nil))
	require.Equal(t, -time.Minute, skew())
}
