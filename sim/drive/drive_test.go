package drive

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim"
	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/mqttc/mqttctest"
)

// counter is a server of paho's codecs that counts samples, and now and then
// loses its mind: it takes a message and drops the connection instead of
// acknowledging, or acknowledges nothing at all before it drops.
type counter struct {
	addr   string
	breaks float64

	mu       sync.Mutex
	rng      *rand.Rand
	taken    map[string]int64          // samples by unit, all copies
	messages map[string]map[string]int // copies of each row, by unit
	last     map[string]int64          // newest event time taken, by unit
	disorder int
	versions map[string]string
}

func newCounter(t *testing.T, breaks float64) *counter {
	t.Helper()
	c := &counter{breaks: breaks, rng: rand.New(rand.NewPCG(1, 1)), taken: map[string]int64{}, messages: map[string]map[string]int{}, last: map[string]int64{}, versions: map[string]string{}}
	c.addr = (&mqttctest.Server{Take: c.take}).Start(t).Addr
	return c
}

type wireRow struct {
	TS     int64                      `json:"ts"`
	Values map[string]json.RawMessage `json:"values"`
}

func (c *counter) take(unit string, p *packets.PublishPacket) (answer bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lost := c.rng.Float64() < c.breaks
	if lost && c.rng.IntN(2) == 0 {
		return false // before it was durable
	}
	if p.TopicName == topicAttributes {
		var in struct{ Versions map[string]string }
		if json.Unmarshal(p.Payload, &in) == nil {
			c.versions[unit] = in.Versions["software"]
		}
		return !lost
	}
	var rows []json.RawMessage
	if p.Payload[0] == '[' {
		if err := json.Unmarshal(p.Payload, &rows); err != nil {
			panic(err)
		}
	} else {
		rows = append(rows, p.Payload)
	}
	for _, raw := range rows {
		var r wireRow
		if err := json.Unmarshal(raw, &r); err != nil {
			panic(err)
		}
		c.taken[unit] += int64(len(r.Values))
		if c.messages[unit] == nil {
			c.messages[unit] = map[string]int{}
		}
		c.messages[unit][string(raw)]++
		if c.messages[unit][string(raw)] == 1 && r.TS < c.last[unit] && !p.Dup {
			c.disorder++
		}
		if r.TS < time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() {
			c.last[unit] = max(c.last[unit], r.TS)
		}
	}
	return !lost
}

// alive runs a fleet against c until enough has happened: at a day a second, as
// much of it happens in a while as the machine can do.
func alive(t *testing.T, c *counter, units int, enough func(*Fleet) bool) *Fleet {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"config":{"polling":{"sleep":"00:05:00"}}}`))
	}))
	t.Cleanup(web.Close)
	specs, err := charger.Fleet(charger.Options{Units: units, Seed: 9})
	require.NoError(t, err)
	tokens := map[string]string{}
	for _, s := range specs {
		tokens[s.ID] = "t"
	}
	start := time.Date(2014, 1, 6, 0, 0, 0, 0, time.UTC)
	clock := sim.Clock{Origin: time.Now(), Start: start, Speed: 86400}
	f, err := New(Options{Clock: clock, MQTT: c.addr, HTTP: web.URL, Units: specs, Tokens: tokens, Start: start, Connected: 8000, PollEvery: 12 * time.Hour, VisitEvery: 6 * time.Hour})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	require.Eventually(t, func() bool { return enough(f) }, 5*time.Minute, 100*time.Millisecond)
	quiet, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	require.Zero(t, f.Quiesce(quiet), "units with unacknowledged data")
	return f
}

func TestEverySampleIsAcknowledgedAndCounted(t *testing.T) {
	t.Parallel()
	c := newCounter(t, 0)
	f := alive(t, c, 60, func(f *Fleet) bool {
		var sum Account
		for _, truth := range f.Truths() {
			sum.Add(truth.Acked)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return sum.Stored > 8000 && sum.NotConsented > 0 && len(c.versions) == 60
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, truth := range f.Truths() {
		require.Equal(t, truth.Acked.Acknowledged, c.taken[truth.Unit.ID], truth.Unit.ID)
		require.Zero(t, truth.Uncertain)
		a := truth.Acked
		require.Equal(t, a.Acknowledged, a.Stored+a.NotConsented+a.Undeclared+a.Duplicate+a.Invalid)
		require.Equal(t, "1.0.0", c.versions[truth.Unit.ID])
	}
	require.Zero(t, c.disorder)
}

func TestLossesOfConnectionLoseNothing(t *testing.T) {
	t.Parallel()
	c := newCounter(t, 0.05)
	f := alive(t, c, 40, func(f *Fleet) bool { return f.Stats().Losses > 20 })
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Zero(t, c.disorder, "rows out of order")
	for _, truth := range f.Truths() {
		got := c.taken[truth.Unit.ID]
		require.GreaterOrEqual(t, got, truth.Acked.Acknowledged, "nothing acknowledged is missing")
		require.LessOrEqual(t, got, truth.Acked.Acknowledged+truth.Uncertain.Acknowledged)
	}
}
