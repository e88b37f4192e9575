package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/cmd/fettle-agent/spool"
)

// newTelemetry is telemetry at a fixed time; allowed is what the server wants,
// empty: it was never heard.
func newTelemetry(tb testing.TB, allowed string) *telemetry {
	tb.Helper()
	dir := tb.TempDir()
	now := func() time.Time { return time.UnixMilli(1_800_000_000_000) }
	s, err := spool.Open(filepath.Join(dir, "spool"), 64<<10, now)
	require.NoError(tb, err)
	p, err := loadPolicy(filepath.Join(dir, "desired.json"))
	require.NoError(tb, err)
	if allowed != "" {
		require.NoError(tb, p.set([]byte(allowed)))
	}
	return &telemetry{spool: s, policy: p, log: slog.New(slog.DiscardHandler), now: now}
}

func (t *telemetry) kept(tb testing.TB) (out []string) {
	tb.Helper()
	for {
		list, err := t.spool.Next(1, 1<<20)
		require.NoError(tb, err)
		if len(list) == 0 {
			return out
		}
		out = append(out, list[0].Kind+" "+string(list[0].Body))
		require.NoError(tb, t.spool.Sent(list[0].Seq))
	}
}

const wanted = `{"collect":["a","b"],"events":{"features":["solar"],"faults":["E01","F*"],"log":"warn"}}`

func TestOnlyWhatMayBeCollectedIsKept(t *testing.T) {
	t.Parallel()
	x := newTelemetry(t, wanted)
	for _, line := range []string{
		`{"a":1,"c":2}`,
		`{"c":2}`,
		`{"ts":1700000000000,"values":{"b":"x","c":1}}`,
		`{"ts":1700000000001,"seq":9,"values":{"a":true}}`,
		`{"kind":"fault","name":"E01","state":"set"}`,
		`{"kind":"fault","name":"F77"}`,
		`{"kind":"fault","name":"E02"}`,
		`{"kind":"feature","name":"solar"}`,
		`{"kind":"feature","name":"other"}`,
		`{"kind":"log","level":"error","text":"no carrier"}`,
		`{"kind":"log","level":"info","text":"chatter"}`,
		`{"kind":"other"}`,
	} {
		require.NoError(t, x.take([]byte(line)), line)
	}
	require.Equal(t, []string{
		`telemetry {"ts":1800000000000,"seq":1,"values":{"a":1}}`,
		`telemetry {"ts":1700000000000,"values":{"b":"x"}}`,
		`telemetry {"ts":1700000000001,"seq":9,"values":{"a":true}}`,
		`events {"ts":1800000000000,"seq":4,"kind":"fault","name":"E01","state":"set"}`,
		`events {"ts":1800000000000,"seq":5,"kind":"fault","name":"F77"}`,
		`events {"ts":1800000000000,"seq":6,"kind":"feature","name":"solar"}`,
		`events {"ts":1800000000000,"seq":7,"kind":"log","level":"error","text":"no carrier"}`,
	}, x.kept(t))
	for _, line := range []string{`{"ts":"x","values":{}}`, `{"ts":-1,"values":{"a":1}}`, `{"values":[1]}`, `{"ts":1e300,"values":{"a":1}}`} {
		require.Error(t, x.take([]byte(line)), line)
	}
}

func TestNothingIsCollectedBeforeItMay(t *testing.T) {
	t.Parallel()
	x := newTelemetry(t, "")
	require.False(t, x.policy.known())
	require.NoError(t, x.take([]byte(`{"a":1}`)))
	require.NoError(t, x.take([]byte(`{"kind":"fault","name":"E01"}`)))
	require.Empty(t, x.kept(t))

	// It is kept over a restart; what is damaged counts as never heard.
	require.NoError(t, x.policy.set([]byte(wanted)))
	again, err := loadPolicy(x.policy.name)
	require.NoError(t, err)
	require.True(t, again.known())
	require.True(t, again.event("fault", "F1", ""))
	require.NoError(t, os.WriteFile(x.policy.name, []byte("{torn"), 0o600))
	again, err = loadPolicy(x.policy.name)
	require.NoError(t, err)
	require.False(t, again.known())
}

func TestWhatIsWithdrawnMeanwhileIsNotSent(t *testing.T) {
	t.Parallel()
	x := newTelemetry(t, wanted)
	require.NoError(t, x.take([]byte(`{"a":1,"b":2}`)))
	require.NoError(t, x.take([]byte(`{"b":2}`)))
	require.NoError(t, x.policy.set([]byte(`{"collect":["a"]}`)))
	list, err := x.spool.Next(10, 1<<20)
	require.NoError(t, err)
	require.Len(t, list, 2)
	payload, n, err := x.batch(list)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.JSONEq(t, `[{"ts":1800000000000,"seq":1,"values":{"a":1}}]`, string(payload))
}

func TestCollectors(t *testing.T) {
	t.Parallel()
	x := newTelemetry(t, wanted)
	file := write(t, filepath.Join(t.TempDir(), "state"), "{\"a\":1}\nnoise\n", 0o600)
	require.ErrorContains(t, x.once(t.Context(), collector{File: file}), "is no JSON object")
	require.NoError(t, x.once(t.Context(), collector{Command: []string{"echo", `{"a":2}`}}))
	require.Error(t, x.once(t.Context(), collector{Command: []string{"false"}}))
	require.Error(t, x.stream(t.Context(), []string{"sh", "-c", `echo '{"a":3}'; echo noise; echo '{"a":4}'; exit 3`}))
	require.Len(t, x.kept(t), 4)
}

// door stands in for a server's HTTPS door.
type httpsDoor struct {
	mu     sync.Mutex
	status int
	got    []string
}

func (d *httpsDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	unit, token, _ := r.BasicAuth()
	if unit != "U" || token != "fut_secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Path == "/fettle/v1/desired" {
		_, _ = io.WriteString(w, wanted)
		return
	}
	body, _ := io.ReadAll(r.Body)
	if d.status == http.StatusOK {
		d.got = append(d.got, r.URL.Path+" "+string(body))
	}
	w.WriteHeader(d.status)
}

func (d *httpsDoor) answers(status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status = status
}

func (d *httpsDoor) has() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.got, "\n")
}

// MQTT is not there: HTTPS does instead, and nothing is lost while the server
// cannot take it.
func TestHTTPSInsteadOfMQTT(t *testing.T) {
	t.Parallel()
	d := &httpsDoor{status: http.StatusServiceUnavailable}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	x := newTelemetry(t, wanted)
	u := &uplink{
		t: x, id: identity{"U", "fut_secret"}, server: server.URL, mqtt: "mqtt://127.0.0.1:1", client: server.Client(),
		wake: func() {}, log: slog.New(slog.DiscardHandler),
	}
	require.NoError(t, x.take([]byte(`{"a":1}`)))
	require.NoError(t, x.take([]byte(`{"kind":"fault","name":"E01"}`)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { u.run(ctx); close(done) }()
	time.Sleep(200 * time.Millisecond)
	n, _ := x.spool.Waiting()
	require.EqualValues(t, 2, n)
	d.answers(http.StatusOK)
	require.Eventually(t, func() bool { n, _ := x.spool.Waiting(); return n == 0 }, time.Minute, 20*time.Millisecond)
	require.Contains(t, d.has(), `/fettle/v1/telemetry [{"ts":1800000000000,"seq":1,"values":{"a":1}}]`)
	require.Contains(t, d.has(), `/fettle/v1/events [{`)
	// What the server will never take does not stand in the way.
	d.answers(http.StatusBadRequest)
	require.NoError(t, x.take([]byte(`{"a":2}`)))
	require.Eventually(t, func() bool { n, _ := x.spool.Waiting(); return n == 0 }, time.Minute, 20*time.Millisecond)
	d.answers(http.StatusOK)
	require.NoError(t, x.take([]byte(`{"a":3}`)))
	require.Eventually(t, func() bool { return strings.Contains(d.has(), `{"a":3}`) }, time.Minute, 20*time.Millisecond)
	require.NotContains(t, d.has(), `{"a":2}`)
	cancel()
	<-done
}

func TestDroppedMessagesAreTold(t *testing.T) {
	t.Parallel()
	x := newTelemetry(t, wanted)
	for range 1000 {
		require.NoError(t, x.take([]byte(`{"b":"`+strings.Repeat("x", 200)+`"}`)))
	}
	n := x.spool.Dropped()
	require.NotZero(t, n)
	require.NoError(t, x.dropped())
	require.Zero(t, x.spool.Dropped())
	kept := x.kept(t)
	require.Contains(t, kept[len(kept)-1], `"level":"warn"`)
	require.Contains(t, kept[len(kept)-1], "messages were dropped")
}

func TestEnrolment(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var asked []map[string]string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		_ = json.NewDecoder(r.Body).Decode(&in)
		asked = append(asked, in)
		switch len(asked) {
		case 1:
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, `{"claimId":"c","unitId":"u","state":"pending"}`)
		default:
			_, _ = io.WriteString(w, `{"claimId":"c","unitId":"u","state":"approved"}`)
		}
	}))
	t.Cleanup(server.Close)
	c := &config{Server: server.URL, State: dir, dir: dir, Enroll: &enroll{ClaimTokenFile: "claim", SerialFile: "serial", Hardware: "B"}}
	write(t, filepath.Join(dir, "claim"), "fct_claim\n", 0o600)
	write(t, filepath.Join(dir, "serial"), "7001\n", 0o600)
	var log strings.Builder
	id, err := identify(t.Context(), c, server.Client(), slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	require.Equal(t, "u", id.Unit)
	require.Len(t, asked, 2)
	require.Equal(t, asked[0], asked[1], "the same claim")
	require.Equal(t, "7001", asked[0]["serial"])
	require.Regexp(t, `^fut_[A-Za-z0-9_-]{43}$`, id.Token)
	require.NotContains(t, log.String(), id.Token)
	require.NotContains(t, log.String(), "fct_claim")
	info, err := os.Stat(filepath.Join(dir, identityFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	again, err := identify(t.Context(), c, server.Client(), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	require.Equal(t, id, again)
	require.Len(t, asked, 2, "it knows who it is")
	write(t, filepath.Join(dir, identityFile), "{", 0o600)
	_, err = identify(t.Context(), c, server.Client(), slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "is damaged")
}

func FuzzLine(f *testing.F) {
	f.Add([]byte(`{"a":1}`))
	f.Add([]byte(`{"ts":1700000000000,"values":{"b":"x"}}`))
	f.Add([]byte(`{"kind":"fault","name":"E01"}`))
	x := newTelemetry(f, wanted)
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _ := spool.Lines(b)
		for _, line := range list {
			_ = x.take(line)
		}
		for _, m := range x.kept(t) {
			_, body, _ := strings.Cut(m, " ")
			require.True(t, json.Valid([]byte(body)), m)
		}
	})
}
