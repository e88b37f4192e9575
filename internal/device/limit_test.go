package device_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

func one() []device.Message {
	return []device.Message{{Values: []device.Value{{Name: []byte("current"), Kind: device.KindNumber, Number: 1}}}}
}

// A unit beyond its limit waits, and loses nothing; its neighbours do not wait.
func TestUnitsAreLimited(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, func(c *device.Config) { c.UnitRate = 1e6 })
	p := devicetest.Charger()
	p.Limits = &fleet.Limits{UnitRate: 5, UnitBurst: 10}
	h.Declare(p)
	ids := h.Units(2)
	fast, calm := h.Identity(ids[0]), h.Identity(ids[1])
	begin := time.Now()
	for range 15 { // 10 at once, 5 more at 5 a second
		require.NoError(t, h.Gateway.Store(t.Context(), fast, one(), nil))
	}
	require.Greater(t, time.Since(begin), 950*time.Millisecond)

	// Who cannot wait is told when to come again, and nothing was taken.
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	many := make([]device.Message, 10)
	for i := range many {
		many[i] = one()[0]
	}
	err := h.Gateway.Store(ctx, fast, many, nil)
	slow, ok := errors.AsType[*device.SlowError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "unit", slow.By)
	require.InDelta(t, 1, slow.After.Seconds(), 1)
	require.ErrorIs(t, err, device.ErrBusy)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Len(t, h.Stream.Rows(), 15)

	waited := func() (n float64) {
		families, err := h.Metrics.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "fettle_ingest_limited_total" {
				n = f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return n
	}
	before := waited()
	require.Positive(t, before) // 5, unless the machine is slower than the limit
	require.NoError(t, h.Gateway.Store(t.Context(), calm, one(), nil))
	require.Equal(t, before, waited(), "its neighbour did not wait") //nolint:testifylint // a count
	require.Len(t, h.Stream.Rows(), 16)

	// More than a burst in one message is taken when a whole burst is there.
	for i := range 15 {
		many = append(many, one()[0])
		many[i].Values = one()[0].Values
	}
	require.NoError(t, h.Gateway.Store(t.Context(), fast, many, nil))
	require.Len(t, h.Stream.Rows(), 16+25)

	// Another declaration applies at once.
	p.Limits = nil
	h.Declare(p)
	for range 50 {
		require.NoError(t, h.Gateway.Store(t.Context(), fast, one(), nil))
	}
	require.Len(t, h.Stream.Rows(), 16+25+50)
}

func TestProductsAreLimited(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	p := devicetest.Eventful()
	p.Limits = &fleet.Limits{ProductRate: 0.5, ProductBurst: 10}
	h.Declare(p)
	ids := h.Units(10)
	for _, id := range ids {
		storeEvents(t, h, h.Identity(id), `{"kind":"fault","name":"E1"}`)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := h.Gateway.Store(ctx, h.Identity(ids[0]), one(), nil)
	slow, ok := errors.AsType[*device.SlowError](err)
	require.True(t, ok, "%v", err)
	require.Equal(t, "product", slow.By)
	require.NoError(t, h.Gateway.Store(t.Context(), h.Identity(ids[1]), one(), nil))
}

// A full stream slows: what was taken waits for room, no more is taken, who
// cannot wait is told, and all of it goes on by itself.
func TestAFullStreamSlows(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	id := h.Identity(h.Units(1)[0])
	h.Stream.Fail(fault.Wrap(fault.Unavailable, "publish", fmt.Errorf("%w: 3 MiB free", telemetry.ErrFull)))
	done := make(counting, 100)
	require.NoError(t, h.Gateway.Submit(t.Context(), id, one(), nil, done, 1))
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		err := h.Gateway.Submit(ctx, id, one(), nil, done, 2)
		return errors.Is(err, device.ErrBusy) && errors.Is(err, telemetry.ErrFull)
	}, time.Minute, time.Millisecond)
	waiting := make(chan error, 1)
	go func() { waiting <- h.Gateway.Submit(t.Context(), id, one(), nil, done, 3) }()
	select {
	case err := <-waiting:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.ErrorIs(t, h.Gateway.Mark(t.Context(), telemetry.Mark{Kind: telemetry.MarkTick}), device.ErrBusy)
	require.Empty(t, h.Stream.Rows())
	h.Stream.Fail(nil)
	require.NoError(t, <-waiting)
	require.NoError(t, h.Gateway.Store(t.Context(), id, one(), nil))
	require.GreaterOrEqual(t, len(h.Stream.Rows()), 3)
	require.Equal(t, len(h.Stream.Rows()), value(t, h, "kept"))
}

// A gateway that stops while the stream is full does not wait for room: what
// was taken is not acknowledged.
func TestStoppingWhileFull(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	id := h.Identity(h.Units(1)[0])
	h.Stream.Fail(telemetry.ErrFull)
	failed, before := make(chan error, 1), h.Stream.Tried()
	go func() { failed <- h.Gateway.Store(t.Context(), id, one(), nil) }()
	require.Eventually(t, func() bool { return h.Stream.Tried() > before }, time.Minute, time.Millisecond)
	h.Stop()
	require.ErrorIs(t, <-failed, telemetry.ErrFull)
}
