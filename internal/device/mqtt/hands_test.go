package mqtt

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
)

// Units that wait for their own limit hold up nobody else, however few
// connections may have messages in hand.
func TestWaitingUnitsYield(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{DrainTimeout: 10 * time.Millisecond}, func(c *device.Config) { c.UnitRate = 0.001 })
	r.srv.hands = make(chan struct{}, 2)
	ids := r.Units(6)
	for i, id := range ids[:5] {
		c := r.connect(t, i%2 == 0, id, "")
		c.write(publishBytes(i%2 == 0, 1, 1, TopicTelemetry, sample)) // as much as it may
		kind, _ := c.next()
		require.Equal(t, byte(typePuback), kind)
		c.write(publishBytes(i%2 == 0, 1, 2, TopicTelemetry, sample)) // waits for hours
	}
	require.Eventually(t, func() bool { return waiting(t, r) == 5 }, time.Minute, 5*time.Millisecond)
	good := r.connect(t, true, ids[5], "")
	good.write(publishBytes(true, 1, 1, TopicTelemetry, sample))
	kind, _ := good.next()
	require.Equal(t, byte(typePuback), kind)
	require.Eventually(t, func() bool { return len(r.srv.hands) == 0 }, time.Minute, time.Millisecond)
}

// waiting is how many submissions have had to wait for a unit's limit.
func waiting(t *testing.T, r *rig) (n float64) {
	t.Helper()
	families, err := r.Metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "fettle_ingest_limited_total" {
			for _, m := range f.GetMetric() {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
