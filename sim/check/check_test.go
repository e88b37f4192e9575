package check

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/mqttc/mqttctest"
)

// stored is a fake server that keeps what it is sent as a server should, and
// can be made to lie.
type stored struct {
	mu     sync.Mutex
	loses  float64 // of PUBACKs
	random *rand.Rand
	values map[string]map[int64][]float64      // by unit and signal, by time
	events map[string]map[int64]map[string]any // by unit, by number
	counts map[string]*account
	silent map[string]bool
}

func (s *stored) take(unit string, p *packets.PublishPacket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(unit, p.Payload)
	return s.random.Float64() >= s.loses
}

func (s *stored) keep(unit string, payload []byte) {
	var m struct {
		TS, Seq int64
		Kind    string
		Values  map[string]any
	}
	if err := json.Unmarshal(payload, &m); err != nil {
		panic(err)
	}
	if m.Kind != "" {
		s.keepEvent(unit, m.TS, m.Seq, payload)
		return
	}
	a := s.counts[unit]
	if a == nil {
		a = &account{}
		s.counts[unit] = a
	}
	for name, v := range m.Values {
		a.Acknowledged++
		var number float64
		switch v := v.(type) {
		case float64:
			number = v
		case bool:
			if v {
				number = 1
			}
		}
		_, text := v.(string)
		key := unit + "/" + name
		if s.values[key] == nil {
			s.values[key] = map[int64][]float64{}
		}
		switch {
		case !slices.Contains(signals, name):
			a.Undeclared++
		case s.silent[unit] && name != signalCharging:
			a.NotConsented++
		case text || m.TS > time.Now().Add(24*time.Hour).UnixMilli():
			a.Invalid++
		case s.values[key][m.TS] != nil:
			a.Duplicate++
		default:
			a.Stored++
			s.values[key][m.TS] = []float64{number}
		}
	}
}

func (s *stored) keepEvent(unit string, at, seq int64, payload []byte) {
	a := s.counts[unit]
	if a == nil {
		a = &account{}
		s.counts[unit] = a
	}
	if s.events[unit] == nil {
		s.events[unit] = map[int64]map[string]any{}
	}
	a.Acknowledged++
	switch {
	case s.silent[unit]:
		a.NotConsented++
	case s.events[unit][seq] != nil:
		a.Duplicate++
	default:
		a.Stored++
		e := map[string]any{}
		_ = json.Unmarshal(payload, &e)
		e["at"], e["sequence"] = time.UnixMilli(at), seq
		s.events[unit][seq] = e
	}
}

func (s *stored) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/"+topicTelemetry || r.URL.Path == "/"+topicEvents {
		unit, _, _ := r.BasicAuth()
		var all []json.RawMessage
		_ = json.NewDecoder(r.Body).Decode(&all)
		for _, m := range all {
			s.keep(unit, m)
		}
		return
	}
	parts := strings.Split(r.URL.Path, "/")
	unit := parts[3]
	var out any
	switch parts[4] {
	case "events":
		out = map[string]any{"items": slices.Collect(maps.Values(s.events[unit]))}
	case "accounting":
		out = s.counts[unit]
	case "latest":
		items := []map[string]any{}
		for _, signal := range signals {
			values := s.values[unit+"/"+signal]
			if len(values) > 0 {
				at := slices.Max(slices.Collect(maps.Keys(values)))
				items = append(items, map[string]any{"signal": signal, "at": time.UnixMilli(at), "number": values[at][0]})
			}
		}
		out = map[string]any{"items": items}
	case "series":
		q := r.URL.Query()
		from, _ := time.Parse(time.RFC3339Nano, q.Get("from"))
		to, _ := time.Parse(time.RFC3339Nano, q.Get("to"))
		buckets, _ := strconv.ParseInt(q.Get("buckets"), 10, 64)
		width := (to.UnixMilli() - from.UnixMilli()) / buckets
		points := map[int64]*point{}
		for at, values := range s.values[unit+"/"+q.Get("signal")] {
			if at < from.UnixMilli() || at >= to.UnixMilli() {
				continue
			}
			b := (at - from.UnixMilli()) / width
			p := points[b]
			if p == nil {
				p = &point{At: from.Add(time.Duration(b*width) * time.Millisecond), Min: values[0], Max: values[0]}
				points[b] = p
			}
			p.Count += int64(len(values))
			p.Min, p.Max = min(p.Min, slices.Min(values)), max(p.Max, slices.Max(values))
		}
		out = map[string]any{"points": slices.Collect(maps.Values(points)), "withheld": s.silent[unit] && q.Get("signal") != signalCharging}
	}
	_ = json.NewEncoder(w).Encode(out)
}

// fake runs a fleet against a fake server until all is acknowledged.
func fake(t *testing.T, loses float64) (*stored, *Fleet, *client.Caller) {
	t.Helper()
	s := &stored{loses: loses, random: rand.New(rand.NewPCG(1, 2)), values: map[string]map[int64][]float64{}, events: map[string]map[int64]map[string]any{}, counts: map[string]*account{}, silent: map[string]bool{"U-3": true}}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	broker := (&mqttctest.Server{Take: s.take}).Start(t)
	units := []Unit{{ID: "U-1"}, {ID: "U-2", HTTP: true}, {ID: "U-3", Silent: true}}
	f := Start(t.Context(), Options{MQTT: broker.Addr, HTTP: web.URL, Units: units, Seed: 1, Start: time.Now().Add(-time.Hour), Most: 300})
	t.Cleanup(f.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.NoError(t, f.Wait(ctx))
	return s, f, &client.Caller{HTTP: http.DefaultClient, Base: web.URL}
}

func TestAnHonestServerPasses(t *testing.T) {
	t.Parallel()
	for _, loses := range []float64{0, 0.02} {
		_, f, api := fake(t, loses)
		r, err := f.Verify(t.Context(), api)
		require.NoError(t, err)
		require.EqualValues(t, 900, r.Messages)
		require.Greater(t, r.Values, int64(1500))
		require.Positive(t, r.Resent)
	}
}

func TestALyingServerIsFoundOut(t *testing.T) {
	t.Parallel()
	const key = "U-1/" + signalTemperature
	some := func(s *stored) int64 { return slices.Sorted(maps.Keys(s.values[key]))[150] }
	for what, lie := range map[string]func(s *stored){
		"was acknowledged and is not stored":  func(s *stored) { delete(s.values[key], some(s)) },
		"is stored 2 times":                   func(s *stored) { s.values[key][some(s)] = append(s.values[key][some(s)], s.values[key][some(s)][0]) },
		"stored 99":                           func(s *stored) { s.values[key][some(s)][0] = 99 },
		"that was never sent":                 func(s *stored) { s.values[key][time.Now().Add(-time.Hour).UnixMilli()+3_000] = []float64{1} },
		"values are stored in all":            func(s *stored) { s.values[key][time.Now().Add(-48*time.Hour).UnixMilli()] = []float64{1} },
		"duplicate: ":                         func(s *stored) { s.counts["U-1"].Duplicate++; s.counts["U-1"].Acknowledged++ },
		"invalid: ":                           func(s *stored) { s.counts["U-2"].Invalid--; s.counts["U-2"].Acknowledged-- },
		"it does not add up":                  func(s *stored) { s.counts["U-2"].Acknowledged++ },
		"events: one that was never sent":     func(s *stored) { s.events["U-1"][7000] = map[string]any{"at": time.Now(), "kind": "fault"} },
		"was acknowledged and is not stored ": func(s *stored) { clear(s.events["U-1"]) },
		"withheld: false":                     func(s *stored) { delete(s.silent, "U-3") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, f, api := fake(t, 0)
			lie(s)
			_, err := f.Verify(t.Context(), api)
			require.ErrorContains(t, err, strings.TrimSpace(what))
		})
	}
}

func TestEverythingFollowsFromANumber(t *testing.T) {
	t.Parallel()
	s := script{seed: 5, start: 1_000_000}
	seen := map[int]int{}
	for n := range 5000 {
		seen[s.kind(n)]++
		back, ok := s.number(s.at(n))
		require.Equal(t, s.kind(n) != astray, ok && back == n, n)
		var m struct {
			Kind   string
			Values map[string]any
		}
		require.NoError(t, json.Unmarshal(s.payload(nil, n), &m), fmt.Sprint(n))
		c := s.counts(n)
		if s.kind(n) == event {
			require.Equal(t, "fault", m.Kind)
			require.EqualValues(t, 1, c.total())
			continue
		}
		require.EqualValues(t, len(m.Values), c.total())
	}
	require.Len(t, seen, event+1)
}
