package feed

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/tip"
)

// world is what a feed needs around it.
type world struct {
	mu     sync.Mutex
	said   []tip.Observation
	places []fleet.Place
	log    bytes.Buffer
	locked bool // a polling was, while a failure was noted: look would wait for it for ever
	clock  *clock.Manual
	feeds  *Feeds
}

func (w *world) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.feeds.polled { // failed holds the feeds' lock
		if p.mu.TryLock() {
			p.mu.Unlock()
		} else {
			w.locked = true
		}
	}
	return w.log.Write(b)
}

func (w *world) heard() []tip.Observation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]tip.Observation(nil), w.said...)
}

// told waits until n things were said and it is decided when to ask again: a
// clock that goes on before that moves the decision.
func (w *world) told(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(w.heard()) == n && !w.asking() }, time.Minute, 5*time.Millisecond)
}

func (w *world) asking() bool {
	w.feeds.mu.Lock()
	defer w.feeds.mu.Unlock()
	for _, p := range w.feeds.polled {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, a := range p.places {
			if a.under {
				return true
			}
		}
	}
	return false
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

func start(t *testing.T, secrets string, private []netip.Prefix, feed fleet.Feed, places ...fleet.Place) *world {
	t.Helper()
	w := &world{places: places, clock: clock.NewManual(time.Date(2026, 6, 1, 6, 20, 0, 0, time.UTC))}
	w.feeds = New(Config{
		Products: func(context.Context) ([]fleet.Product, error) {
			return []fleet.Product{{Name: "dryer", Feeds: []fleet.Feed{feed}}}, nil
		},
		Places: func(string, string) []fleet.Place {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.places
		},
		Observed: func(_ context.Context, o tip.Observation) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.said = append(w.said, o)
			return nil
		},
		Clock: w.clock, Wall: w.clock, Log: slog.New(slog.NewTextHandler(w, nil)), Secrets: secrets, Private: private, Look: 5 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.feeds.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

var local = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// forecast answers as met.no's Locationforecast 2.0 does: no more than four
// decimals, an own User-Agent or 403, Expires, Last-Modified and 304
// (https://api.met.no/doc/TermsOfService).
func forecast(t *testing.T, asked *[]string, mu *sync.Mutex) *httptest.Server {
	t.Helper()
	const modified = "Mon, 01 Jun 2026 06:10:00 GMT"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		*asked = append(*asked, r.URL.Path+"?"+r.URL.RawQuery+" "+r.Header.Get("If-Modified-Since")+" "+r.Header.Get("Authorization"))
		mu.Unlock()
		w.Header().Set("Expires", "Mon, 01 Jun 2026 06:50:00 GMT")
		w.Header().Set("Last-Modified", modified)
		switch {
		case !strings.Contains(r.UserAgent(), "@"):
			w.WriteHeader(http.StatusForbidden)
		case r.Header.Get("If-Modified-Since") == modified:
			w.WriteHeader(http.StatusNotModified)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"type":"Feature","properties":{"timeseries":[{"time":"2026-06-01T06:00:00Z","data":{"instant":{"details":{"relative_humidity":86.1}}}}]}}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func weather(url string) fleet.Feed {
	return fleet.Feed{
		Name: "weather", Title: "Weather", By: "place", Time: "/properties/timeseries/0/time",
		HTTP: &fleet.HTTPFeed{
			URL:     url + "/weatherapi/locationforecast/2.0/compact?lat={latitude}&lon={longitude}",
			Headers: map[string]string{"User-Agent": "dryers.example tips@dryers.example", "Authorization": "Bearer {secret:weather}"}, Every: fleet.Duration(10 * time.Minute),
		},
		Variables: []fleet.FeedVariable{{Name: "humidity", Type: fleet.Number, Path: "/properties/timeseries/0/data/instant/details/relative_humidity", Unit: "%", Age: fleet.Duration(2 * time.Hour)}},
	}
}

func secrets(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "weather"), []byte("s3cret-of-weather\n"), 0o600))
	return dir
}

func TestPolled(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var asked []string
	s := forecast(t, &asked, &mu)
	at := fleet.Place{Key: "59.95,10.75", Point: &fleet.Point{Latitude: 59.95, Longitude: 10.75}}
	w := start(t, secrets(t), local, weather(s.URL), at)
	w.told(t, 1)
	want := tip.Observation{Product: "dryer", Feed: "weather", Place: "59.95,10.75", At: time.Date(2026, 6, 1, 6, 0, 0, 0, time.UTC).UnixMilli(), Values: map[string]any{"humidity": 86.1}}
	require.Equal(t, want, w.heard()[0])
	// Not before it says so (Expires, 30 minutes), though the feed is to be asked each 10.
	w.clock.Advance(29 * time.Minute)
	time.Sleep(50 * time.Millisecond)
	require.Len(t, w.heard(), 1)
	w.clock.Advance(2 * time.Minute)
	w.told(t, 2)
	require.Equal(t, want, w.heard()[1]) // unchanged: as old as before
	mu.Lock()
	require.Equal(t, []string{
		"/weatherapi/locationforecast/2.0/compact?lat=59.95&lon=10.75  Bearer s3cret-of-weather",
		"/weatherapi/locationforecast/2.0/compact?lat=59.95&lon=10.75 Mon, 01 Jun 2026 06:10:00 GMT Bearer s3cret-of-weather",
	}, asked)
	mu.Unlock()
	require.Equal(t, strings.TrimPrefix(s.URL, "http://"), w.feeds.Status()[0].Source)
	// Nobody is there any more: nobody is asked about.
	w.mu.Lock()
	w.places = nil
	w.mu.Unlock()
	w.clock.Advance(5 * time.Hour)
	time.Sleep(50 * time.Millisecond)
	require.Len(t, w.heard(), 2)
}

func TestDownIsUnknownAndKeepsSecrets(t *testing.T) {
	t.Parallel()
	at := fleet.Place{Key: "59.95,10.75", Point: &fleet.Point{Latitude: 59.95, Longitude: 10.75}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
		case "/busy":
			w.Header().Set("Retry-After", "7200")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/page":
			fmt.Fprint(w, "<html>")
		case "/large":
			_, _ = w.Write(bytes.Repeat([]byte(" "), maxBody+1))
		}
	}))
	t.Cleanup(s.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, c := range map[string]struct {
		url, want string
		private   []netip.Prefix
	}{
		"a redirect is not followed":  {s.URL + "/moved", "answered 302 Found", local},
		"busy":                        {s.URL + "/busy", "answered 429", local},
		"a page":                      {s.URL + "/page", "not JSON", local},
		"too large":                   {s.URL + "/large", "more than 1048576 bytes", local},
		"nobody there":                {closed.URL, "connection refused", local},
		"this machine":                {s.URL + "/page", "is no public address", nil},
		"this machine by name":        {"http://localhost:1/", "is no public address", nil},
		"the cloud's metadata":        {"http://169.254.169.254/", "169.254.169.254:80 is no public address", nil},
		"this machine in another way": {"http://[::ffff:127.0.0.1]:80/", "is no public address", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := weather(s.URL)
			f.HTTP.URL = c.url + "?key={secret:weather}"
			w := start(t, secrets(t), c.private, f, at)
			require.Eventually(t, func() bool { st := w.feeds.Status(); return len(st) == 1 && st[0].Failing != "" }, time.Minute, 5*time.Millisecond)
			require.Contains(t, w.feeds.Status()[0].Failing, c.want)
			require.Empty(t, w.heard())
			require.Contains(t, w.logged(), "a feed is down")
			w.mu.Lock()
			require.False(t, w.locked)
			w.mu.Unlock()
			require.NotContains(t, w.logged()+w.feeds.Status()[0].Failing, "s3cret")
		})
	}
	w := start(t, "", local, weather(s.URL), at)
	require.Eventually(t, func() bool { st := w.feeds.Status(); return len(st) == 1 && st[0].Failing != "" }, time.Minute, 5*time.Millisecond)
	require.Contains(t, w.feeds.Status()[0].Failing, "secret weather: the setting feed-secrets names no directory")
}

// mosquitto starts Debian's broker with a password.
func mosquitto(t *testing.T) (port int, stop func()) {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program = "/usr/sbin/mosquitto"; !exists(program) {
			if os.Getenv("CI") != "" {
				t.Fatal("mosquitto is not installed")
			}
			t.Skip("mosquitto is not installed")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	port = l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	require.NoError(t, os.WriteFile(passwords, []byte("fettle:s3cret-of-weather\n"), 0o600))
	out, err := exec.CommandContext(t.Context(), "mosquitto_passwd", "-U", passwords).CombinedOutput()
	require.NoError(t, err, string(out))
	config := filepath.Join(dir, "mosquitto.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "listener %d 127.0.0.1\nallow_anonymous false\npassword_file %s\nuser root\n", port, passwords), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, program, "-c", config)
	require.NoError(t, cmd.Start())
	stop = func() { cancel(); _ = cmd.Wait() }
	t.Cleanup(stop)
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond)
	return port, stop
}

func exists(file string) bool { _, err := os.Stat(file); return err == nil }

func publish(t *testing.T, port int, topic, message string, retain bool) {
	t.Helper()
	args := []string{"-h", "127.0.0.1", "-p", fmt.Sprint(port), "-u", "fettle", "-P", "s3cret-of-weather", "-q", "1", "-t", topic, "-m", message}
	if retain {
		args = append(args, "-r")
	}
	out, err := exec.CommandContext(t.Context(), "mosquitto_pub", args...).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestHeardOverMQTT(t *testing.T) {
	t.Parallel()
	port, stop := mosquitto(t)
	publish(t, port, "power/north", `{"cheap":true}`, true) // kept by the broker: nobody knows since when
	w := start(t, secrets(t), local, fleet.Feed{
		Name: "power", Title: "Power", By: "region",
		MQTT:      &fleet.MQTTFeed{Address: fmt.Sprintf("mqtt://127.0.0.1:%d", port), Topic: "power/{region}", Username: "fettle", Password: "{secret:weather}"},
		Variables: []fleet.FeedVariable{{Name: "cheap", Type: fleet.Boolean, Path: "/cheap", Age: fleet.Duration(time.Hour)}},
	}, fleet.Place{Key: "north", Region: "north"})
	// Nothing tells when the subscription stands: say it until it is heard.
	require.Eventually(t, func() bool {
		publish(t, port, "power/south", `{"cheap":true}`, false)
		publish(t, port, "power/north", `{"cheap":false}`, false)
		return len(w.heard()) > 0
	}, time.Minute, 100*time.Millisecond)
	for _, o := range w.heard() {
		require.Equal(t, tip.Observation{Product: "dryer", Feed: "power", Place: "north", At: w.clock.Now().UnixMilli(), Values: map[string]any{"cheap": false}}, o)
	}
	require.Empty(t, w.feeds.Status()[0].Failing)
	stop()
	require.Eventually(t, func() bool { return w.feeds.Status()[0].Failing != "" }, time.Minute, 20*time.Millisecond)
	require.NotContains(t, w.logged()+w.feeds.Status()[0].Failing, "s3cret")
}
