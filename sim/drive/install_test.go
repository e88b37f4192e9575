package drive

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim"
	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/mailbox"
)

// office is a server's HTTP side: it offers each unit one deployment once its
// owner has agreed, and fails often.
type office struct {
	t     *testing.T
	image []byte
	fails float64

	mu       sync.Mutex
	rng      *rand.Rand
	agreed   map[string]string // what the owner said, by unit
	closed   map[string]int    // successes told, by unit
	fetched  map[string]int
	sessions map[string]string // cookie to unit
	links    map[string]string // token to unit
	expired  map[string]bool   // tokens
	mails    func(unit, subject, token string)
}

func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rng.Float64() < o.fails {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/image":
		http.ServeContent(w, r, "image.swu", time.Time{}, strings.NewReader(string(o.image)))
		if r.Method == http.MethodGet {
			o.fetched[r.Header.Get("Authorization")]++
		}
	case parts[0] == "DEFAULT":
		assert.Equal(o.t, "TargetToken token of "+parts[3], r.Header.Get("Authorization"))
		o.ddi(w, r, parts[3], parts[4:])
	case parts[0] == "my":
		_, _ = w.Write([]byte("<html>"))
	default:
		o.portal(w, r, parts)
	}
}

func (o *office) ddi(w http.ResponseWriter, r *http.Request, unit string, rest []string) {
	base := "http://" + r.Host + "/DEFAULT/controller/v1/" + unit
	id := strings.TrimLeft(strings.TrimPrefix(unit, "WC-"), "0")
	switch {
	case len(rest) == 0:
		said := o.agreed[unit]
		if (said == "now" || said == "tonight" || said == "at") && o.closed[unit] == 0 {
			_, _ = fmt.Fprintf(w, `{"_links":{"deploymentBase":{"href":"%s/deploymentBase/%s?c=7"}}}`, base, id)
			return
		}
		_, _ = w.Write([]byte(`{}`))
	case r.Method == http.MethodGet:
		one, two := sha1.Sum(o.image), sha256.Sum256(o.image)
		_, _ = fmt.Fprintf(w, `{"id":%q,"deployment":{"chunks":[{"version":"2.0.0","artifacts":[{"filename":"image.swu","size":%d,"hashes":{"sha1":%q,"sha256":%q},"_links":{"download-http":{"href":"/image"}}}]}]}}`,
			id, len(o.image), hex.EncodeToString(one[:]), hex.EncodeToString(two[:]))
	default:
		var in struct {
			ID     string
			Status struct {
				Execution string
				Result    struct{ Finished string }
			}
		}
		require.NoError(o.t, json.NewDecoder(r.Body).Decode(&in))
		require.Equal(o.t, id, in.ID)
		if in.Status.Execution == "closed" {
			if o.closed[unit] > 0 {
				w.WriteHeader(http.StatusGone)
				return
			}
			require.Equal(o.t, "success", in.Status.Result.Finished)
			if o.rng.Float64() < o.fails { // taken, but the answer is lost
				w.WriteHeader(http.StatusBadGateway)
			}
			o.closed[unit]++
		}
	}
}

func (o *office) portal(w http.ResponseWriter, r *http.Request, parts []string) {
	var in struct{ Email, Token, Choice string }
	if r.Method == http.MethodPost {
		require.NoError(o.t, json.NewDecoder(r.Body).Decode(&in))
	}
	switch path := strings.Join(parts[2:], "/"); path {
	case "sign-in/link":
		unit := "WC-" + strings.TrimSuffix(strings.TrimPrefix(in.Email, "owner-"), "@example.org")
		o.mail(unit, "Sign in to Fettle")
		w.WriteHeader(http.StatusAccepted)
	case "sign-in":
		unit, ok := o.links[in.Token]
		if !ok || o.expired[in.Token] {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		delete(o.links, in.Token)
		o.sessions["s="+in.Token] = unit
		http.SetCookie(w, &http.Cookie{Name: "s", Value: in.Token})
		_, _ = w.Write([]byte(`{}`))
	default:
		unit, ok := o.sessions[r.Header.Get("Cookie")]
		switch {
		case !ok:
			w.WriteHeader(http.StatusUnauthorized)
		case path == "updates":
			_, _ = fmt.Fprintf(w, `{"items":[{"id":"task-%s","unitId":%q,"state":"offered","choices":["now","tonight","at","not now","decline"]}]}`, unit, unit)
		default:
			require.Equal(o.t, "updates/task-"+unit, path)
			o.agreed[unit] = in.Choice
			_, _ = w.Write([]byte(`{}`))
		}
	}
}

// mail sends one with a fresh link; every other link is expired already.
func (o *office) mail(unit, subject string) {
	token := fmt.Sprintf("t%d", o.rng.Uint64())
	o.links[token] = unit
	o.expired[token] = subject != "Sign in to Fettle" && o.rng.IntN(2) == 0
	go o.mails(unit, subject, token)
}

func TestOwnersChooseAndUnitsInstallOnceThoughTheServerFailsOften(t *testing.T) {
	t.Parallel()
	o := &office{
		t: t, fails: 0.2, image: []byte(strings.Repeat("firmware", 5000)), rng: rand.New(rand.NewPCG(3, 3)),
		agreed: map[string]string{}, closed: map[string]int{}, fetched: map[string]int{}, sessions: map[string]string{}, links: map[string]string{}, expired: map[string]bool{},
	}
	web := httptest.NewServer(o)
	t.Cleanup(web.Close)
	c := newCounter(t, 0.01)
	specs, err := charger.Fleet(charger.Options{Units: 60, Seed: 10})
	require.NoError(t, err)
	tokens := map[string]string{}
	moods := []charger.Mood{charger.StartsNow, charger.Tonight, charger.Schedules, charger.Postpones, charger.Declines, charger.NeverReact}
	for i, s := range specs {
		tokens[s.ID] = "token of " + s.ID
		s.Mood, s.Leaves, s.Delay = moods[i%len(moods)], 0, time.Duration(1+i%5)*time.Hour
	}
	start := time.Date(2014, 1, 6, 0, 0, 0, 0, time.UTC)
	clock := sim.Clock{Origin: time.Now(), Start: start, Speed: 36000}
	f, err := New(Options{
		Clock: clock, MQTT: c.addr, HTTP: web.URL, Units: specs, Tokens: tokens, Start: start, Connected: 8000,
		PollEvery: 3 * time.Hour, VisitEvery: 6 * time.Hour, Remedy: charger.Firmware{Version: "2.0.0", Protects: true},
	})
	require.NoError(t, err)
	o.mails = func(unit, subject, token string) {
		require.True(t, f.Mail(mailbox.Mail{
			To: "owner-" + strings.TrimPrefix(unit, "WC-") + "@example.org", Subject: subject, MessageID: token,
			Text: "Go to " + web.URL + "/my/sign-in#" + token,
		}))
	}
	require.False(t, f.Mail(mailbox.Mail{To: "stranger@example.org"}))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	o.mu.Lock()
	for _, s := range specs {
		o.mail(s.ID, "A safety update")
	}
	o.mu.Unlock()
	willing := 0
	for _, s := range specs {
		if s.Mood.Accepts() {
			willing++
		}
	}
	declined := func(truth Truth) bool { return truth.Unit.Mood != charger.Declines || len(truth.Chosen) > 0 }
	ok := assert.Eventually(t, func() bool {
		if slices.ContainsFunc(f.Truths(), func(truth Truth) bool { return !declined(truth) }) {
			return false // each answer of the office may fail, however often
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		reported := 0
		for _, v := range c.versions {
			if v == "2.0.0" {
				reported++
			}
		}
		return len(o.closed) == willing && reported == willing
	}, time.Minute, 20*time.Millisecond)
	if !ok {
		for i, u := range f.units {
			o.mu.Lock()
			c.mu.Lock()
			u.mu.Lock()
			w := f.owners[i]
			w.mu.Lock()
			if u.spec.Mood.Accepts() && (o.closed[u.spec.ID] == 0 || c.versions[u.spec.ID] != "2.0.0") {
				t.Errorf("%s %s: agreed %q closed %d version %s; turns %v out %d written %d link %v installing %v draining %v polling %v visiting %v; owner want %q asked %v token %q acting %v over %v chosen %v cookie %q",
					u.spec.ID, u.spec.Mood, o.agreed[u.spec.ID], o.closed[u.spec.ID], c.versions[u.spec.ID], u.turns, len(u.out), u.written, u.link != nil,
					u.installing, u.draining, u.polling, u.visiting, w.want, w.asked, w.token, w.acting, w.over, w.chosen, w.browser.Cookie)
			}
			w.mu.Unlock()
			u.mu.Unlock()
			c.mu.Unlock()
			o.mu.Unlock()
		}
		t.FailNow()
	}
	time.Sleep(clock.Real(8 * time.Hour))
	require.Zero(t, f.Stats().SecondNotices)
	for _, truth := range f.Truths() {
		id, mood := truth.Unit.ID, truth.Unit.Mood
		o.mu.Lock()
		said, closed := o.agreed[id], o.closed[id]
		o.mu.Unlock()
		want := map[charger.Mood][]client.Choice{
			charger.StartsNow: {client.Now}, charger.Tonight: {client.Tonight}, charger.Schedules: {client.At},
			charger.Postpones: {client.NotNow, client.Now}, charger.Declines: {client.Decline}, charger.NeverReact: nil,
		}[mood]
		require.Equal(t, want, truth.Chosen, "%s %s", id, mood)
		if len(want) > 0 {
			require.Equal(t, string(want[len(want)-1]), said)
		}
		installs := 0
		if mood.Accepts() {
			installs = 1
		}
		require.Equal(t, installs, closed, id)
		require.Equal(t, installs, truth.Installs, id)
		require.Equal(t, installs, truth.Actions, id)
	}
	// The same subject again so soon is a second notice; another subject is not.
	f.Mail(mailbox.Mail{To: specs[0].Email, Subject: "Still waiting", MessageID: "r1"})
	f.Mail(mailbox.Mail{To: specs[0].Email, Subject: "Still waiting", MessageID: "r2"})
	require.Equal(t, int64(1), f.Stats().SecondNotices)
}
