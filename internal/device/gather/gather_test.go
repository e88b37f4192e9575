package gather_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/device/gather"
)

func TestSamplesAreGatheredByTime(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	id := h.Identity(h.Units(1)[0])
	declared, err := h.Gateway.Declaration(t.Context(), id)
	require.NoError(t, err)
	current, ok := declared.Named([]byte("current"))
	require.True(t, ok)
	errors, ok := declared.Named([]byte("error"))
	require.True(t, ok)
	a := gather.New(declared)
	defer a.Free()
	t0 := gather.Nanoseconds(devicetest.Start.UnixNano())
	finer := gather.Nanoseconds(devicetest.Start.UnixNano() + 5)
	number := func(f float64) device.Value { return device.Value{Kind: device.KindNumber, Number: f} }
	a.Add(t0, 1, 7, current, number(1))
	a.Add(t0, 2, 7, errors, number(2))
	a.Add(t0, 3, 8, current, number(3))    // another series
	a.Add(t0, 4, 7, current, number(1))    // sent twice
	a.Add(finer, 5, 7, current, number(4)) // within the same millisecond
	a.Add(gather.Time{}, 6, 7, -1, device.Value{Name: []byte("what"), Kind: device.KindNumber})
	require.NoError(t, h.Gateway.Store(t.Context(), id, a.Messages, a.Outcomes()))
	require.Len(t, a.Messages, 4)
	losses := a.Losses()
	require.Len(t, losses, 2)
	require.Equal(t, gather.Loss{Row: 3, Name: "current", Fate: device.Invalid, Why: losses[0].Why}, losses[0])
	require.Contains(t, losses[0].Why, "another series")
	require.Equal(t, gather.Loss{Row: 6, Name: "what", Fate: device.Undeclared}, losses[1])
	require.Equal(t, 4, a.Kept())
	rows := h.Stream.Rows()
	require.Len(t, rows, 4)
	require.Len(t, rows[0].Values, 2)
	require.Equal(t, 1, rows[0].Invalid)
	require.EqualValues(t, 0, rows[1].Sequence)
	require.EqualValues(t, 5, rows[2].Sequence)
	require.Equal(t, rows[0].Event, rows[2].Event)
	require.Equal(t, 1, rows[3].Undeclared)
}

func TestNanoseconds(t *testing.T) {
	t.Parallel()
	require.Equal(t, gather.Time{Event: 1, Nanos: 2, Known: true}, gather.Nanoseconds(1_000_002))
	require.Equal(t, gather.Time{Event: -1, Nanos: 999_999, Known: true}, gather.Nanoseconds(-1))
}
