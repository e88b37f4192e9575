package mqtt

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/telemetry"
)

func TestMosquittoPublishesEvents(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, nil)
			r.Declare(devicetest.Eventful())
			unit := r.Units(1)[0]
			for _, m := range []string{
				`{"ts":1401624000123,"kind":"feature","name":"solar"}`,
				`[{"ts":1401624000123,"seq":9,"kind":"fault","name":"E1"},{"ts":1401624000124,"kind":"fault","name":"E1","state":"cleared"},{"kind":"fault","name":"Z"}]`,
				`{"kind":"log","level":"warn","name":"modem","text":"no carrier"}`,
				`not JSON`,
				`[]`,
			} {
				out, err := mosquitto(t, 10*time.Second, "mosquitto_pub", r.flags(version, unit, "-q", "1", "-t", TopicEvents, "-m", m)...)
				require.NoError(t, err, out)
			}
			got := r.Stream.Events()
			require.Len(t, got, 4)
			require.Equal(t, telemetry.EventFeature, got[0].Kind)
			require.Equal(t, int64(9), got[1].Sequence)
			require.Equal(t, telemetry.StateCleared, got[2].State)
			require.Equal(t, "no carrier", got[3].Text)
			require.Len(t, r.Stream.Rows(), 1)
			require.Equal(t, 1, r.Stream.Rows()[0].Undeclared)
		})
	}
}

// An MQTT 5 client is told what was not kept.
func TestEventsAreRemarkedOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	r.Declare(devicetest.Eventful())
	c := r.connect(t, true, r.Units(1)[0], "c")
	c.write(publishBytes(true, 1, 1, TopicEvents, `[{"kind":"fault","name":"E1","state":"on"},{"kind":"feature","name":"x"}]`))
	kind, body := c.next()
	require.Equal(t, byte(typePuback), kind)
	require.Contains(t, string(body), "1 invalid (state: expected set or cleared), 1 undeclared")
	c.write(publishBytes(true, 1, 2, TopicEvents, `{"kind":7}`))
	_, body = c.next()
	require.Equal(t, byte(reasonPayloadInvalid), body[2])
}
