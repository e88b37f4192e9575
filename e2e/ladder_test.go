package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/exim"
)

const ladderFiles = `---
apiVersion: fettle.dev/v1
kind: Release
metadata: {name: gentle}
spec: {product: wall-charger, version: gentle, kind: safety, minutes: 1, notes: {en: It offers 16 A.}, settings: {parameters: {max_current: 16}, features: {solar_charging: true}}}
---
apiVersion: fettle.dev/v1
kind: Ladder
metadata: {name: quick}
spec:
  kinds: [safety]
  steps:
    - {channel: mail}
    - {channel: sms, after: 4s}
    - {channel: call, after: 4s}
    - {channel: letter, after: 4s}
  giveUp: 1h
---
apiVersion: fettle.dev/v1
kind: Campaign
metadata: {name: hot-plug}
spec:
  product: wall-charger
  kind: safety
  title: {en: Cooler plug}
  reason: {en: The plug can become too hot.}
  cohort: these
  release: gentle
  detector: plug-overheat
  waves: [{name: all, share: 1}]
  gate: {soak: 1h, verified: 0.9}
  exposure: 1m
  deadline: 21d
`

// text is what a gateway was asked to send.
type text struct{ To, Text, ID, Callback string }

// provider stands for one of SMS: it takes every text.
type provider struct {
	*httptest.Server
	mu    sync.Mutex
	texts []text
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var x text
		if json.NewDecoder(r.Body).Decode(&x) != nil || x.ID == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.texts = append(p.texts, x)
		fmt.Fprintf(w, `{"sid": "S%d"}`, len(p.texts))
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) all() []text {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.texts)
}

// reached is how far the ladder came with an owner.
type reached struct {
	UnitID, OwnerID, State, Why string
	AckedAt                     time.Time
	Taken                       []struct {
		Channel, Verdict, Why string
		At                    time.Time
	}
}

// people are the owners of a campaign's units, with the agents who call them and
// post letters: each does their part as soon as it is there to be done.
type people struct {
	*server
	mail     *exim.Server
	sms      *provider
	number   map[string]string // phone by unit
	answered map[string]bool
}

var readLink = regexp.MustCompile(`/n/read/[a-z2-7]+`)

// who is what a unit's owner does, by the unit's number.
var who = []string{"gone", "nobody", "linked", "texted", "late", "gone-after-all"}

func role(unit string) string {
	var n int
	_, _ = fmt.Sscanf(unit, "L-%d", &n)
	return who[n%len(who)]
}

// open presses the button of the page that a message's link leads to.
func (p *people) open(id, body string) {
	body = strings.NewReplacer("=\r\n", "", "=\n", "", "=3D", "=").Replace(body)
	link := readLink.FindString(body)
	if link == "" || p.answered[id] {
		return
	}
	r := p.request(http.MethodPost, link, "", nil)
	_ = r.Body.Close()
	p.answered[id] = r.StatusCode == http.StatusOK
}

// call asks an operation; ok is false where there is nothing to do.
func (p *people) call(method, path string, in, out any) (ok bool) {
	r := p.request(method, path, p.token, in)
	defer r.Body.Close()
	raw, _ := io.ReadAll(r.Body)
	if r.StatusCode == http.StatusNotFound || r.StatusCode == http.StatusConflict {
		return false
	}
	require.Less(p.t, r.StatusCode, 300, "%s: %s", path, raw)
	return out == nil || json.Unmarshal(raw, out) == nil
}

// act is what everybody does once.
func (p *people) act() {
	for _, m := range p.mail.Mails(p.t) {
		if strings.HasPrefix(m.Header.Get("To"), "<linked") {
			p.open(m.Header.Get("Message-ID"), m.Body)
		}
	}
	for _, x := range p.sms.all() {
		for unit, number := range p.number {
			if number != x.To {
				continue
			}
			switch role(unit) {
			case "texted":
				p.open(x.ID, x.Text)
			case "nobody":
				if !p.answered[x.ID] {
					r := p.request(http.MethodPost, strings.TrimPrefix(x.Callback, p.url("")), "", map[string]string{"state": "failed"})
					_ = r.Body.Close()
					p.answered[x.ID] = r.StatusCode == http.StatusNoContent
				}
			}
		}
	}
	var c struct{ ID, UnitID string }
	for p.call(http.MethodPost, "/v1/calls/next", nil, &c) {
		outcome := map[string]string{"nobody": "reached", "late": "voicemail"}[role(c.UnitID)]
		if outcome == "" {
			outcome = "wrong number"
		}
		p.call(http.MethodPost, "/v1/calls/"+c.ID+"/outcome", map[string]string{"outcome": outcome, "note": "said so"}, nil)
	}
	var batch struct{ ID string }
	if p.call(http.MethodPost, "/v1/letter-batches", map[string]any{"format": "din5008", "sender": []string{"Nordlys AS", "Gate 1"}}, &batch) {
		p.call(http.MethodPost, "/v1/letter-batches/"+batch.ID+"/sent", map[string]string{"sentAt": time.Now().Format(time.DateOnly)}, nil)
	}
	var posted struct {
		Items []struct{ ID, UnitID string }
	}
	p.get("/v1/letters?state=sent", &posted)
	for _, l := range posted.Items {
		if role(l.UnitID) != "late" {
			p.call(http.MethodPost, "/v1/letters/"+l.ID+"/returned", map[string]string{"why": "moved away"}, nil)
			continue
		}
		for _, m := range p.mail.Mails(p.t) { // the mail of weeks ago is read at last
			if strings.HasPrefix(m.Header.Get("To"), "<late") {
				p.open(m.Header.Get("Message-ID"), m.Body)
			}
		}
	}
}

func (p *people) climbs() []reached {
	var page struct{ Items []reached }
	p.get("/v1/climbs?campaign=hot-plug&limit=200", &page)
	return page.Items
}

// climbed tells some owners of a safety campaign, over a real mail server that
// bounces and refuses some of it, a gateway, a call list and letters, kills the
// server at random moments, and holds what everybody got against what is said.
func climbed(t *testing.T, owners, kills int, seed uint64) {
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 6))
	mail, sms := exim.Start(t), newProvider(t)
	config := filepath.Join(t.TempDir(), "fettle.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `gateways:
  - name: texts
    channel: sms
    segments: 8
    request: {url: "%s/send", json: {to: "{{.To}}", text: "{{.Text}}", id: "{{.ID}}", callback: "{{.Callback}}"}}
    success: {id: /sid}
    receipt: {state: /state, delivered: [delivered], failed: [failed]}
`, sms.URL), 0o600))
	s := serve(t, "--config", config, "--smtp", "smtp://"+mail.Address+"?tls=off", "--mail-from", "Fettle <fettle@example.org>",
		"--mail-bounces", "bounces@bounces.example", "--outgoing-networks", "127.0.0.0/8")
	p := &people{server: s, mail: mail, sms: sms, number: map[string]string{}, answered: map[string]bool{}}
	declared, err := os.ReadFile(filepath.Join(root(), "e2e/testdata/charger/product.yaml"))
	require.NoError(t, err)
	var b strings.Builder
	b.Write(declared)
	for n := range owners {
		id := fmt.Sprintf("L-%d", n)
		address := map[string]string{"gone": "gone", "nobody": "nobody"}[role(id)] // which the mail server bounces and refuses
		if address == "" || n >= len(who) {
			address = fmt.Sprintf("%s-%d", role(id), n)
		}
		p.number[id] = fmt.Sprintf("+4915112345%03d", n)
		fmt.Fprintf(&b, "---\napiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: %s}\nspec: {product: wall-charger, serial: %s, batch: B7, owner: {email: %s@example.org, name: Kim, timeZone: %s}}\n", id, id, address, awakeZone())
	}
	b.WriteString(ladderFiles)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(b.String()), 0o600))
	cohort := filepath.Join(t.TempDir(), "cohort.yaml")
	require.NoError(t, os.WriteFile(cohort, []byte("name: these\nproduct: wall-charger\nattributes: {batch: [B7]}\n"), 0o600))
	s.fettle("apply", "-f", dir)
	s.fettle("cohort", "create", "-f", cohort)
	for id, number := range p.number {
		var u struct{ Owner struct{ Email string } }
		s.get("/v1/units/"+id, &u)
		var owner struct{ ID string }
		s.get("/v1/privacy/person?email="+u.Owner.Email, &owner)
		r := s.request(http.MethodPut, "/v1/owners/"+owner.ID+"/contact", s.token, map[string]any{
			"phone": number, "address": map[string]any{"lines": []string{"Storgata 1"}, "postalCode": "0155", "city": "Oslo", "country": "NO"},
		})
		_ = r.Body.Close()
		require.Equal(t, 200, r.StatusCode)
	}
	s.fettle("campaign", "start", "hot-plug", "--yes")

	over := func() bool {
		list := p.climbs()
		return len(list) == owners && !slices.ContainsFunc(list, func(c reached) bool { return c.State == "climbing" })
	}
	var end time.Time
	for n := 0; n < kills || !over(); n++ {
		if n == kills {
			end = time.Now().Add(2 * patience)
		}
		require.True(t, n < kills || time.Now().Before(end), "%+v", p.climbs())
		if n < kills {
			time.Sleep(time.Duration(random.Int64N(int64(1500 * time.Millisecond))))
			s.kill()
			s.start()
		} else {
			time.Sleep(100 * time.Millisecond)
		}
		p.act()
	}

	// Each took the steps that their story asks for, in order, each once.
	want := map[string][2]string{
		"gone": {"unreachable", "mail sms call letter"}, "nobody": {"acknowledged", "mail sms call"}, "linked": {"acknowledged", "mail"},
		"texted": {"acknowledged", "mail sms"}, "late": {"acknowledged", "mail sms call letter"}, "gone-after-all": {"unreachable", "mail sms call letter"},
	}
	told, unreachable := map[string]int{}, 0
	for _, c := range p.climbs() {
		steps := make([]string, len(c.Taken))
		for i, x := range c.Taken {
			steps[i] = x.Channel
			told[x.Channel]++
			require.True(t, c.AckedAt.IsZero() || x.At.Before(c.AckedAt), "%s: nothing is told after the acknowledgement: %+v", role(c.UnitID), c)
		}
		w := want[role(c.UnitID)]
		require.Equal(t, w[0], c.State, "%s: %+v", role(c.UnitID), c)
		took := strings.Join(steps, " ")
		if kills == 0 {
			require.Equal(t, w[1], took, role(c.UnitID))
		} else { // a server that was down while its owner answered may have gone one step further
			require.True(t, strings.HasPrefix("mail sms call letter", took) && strings.HasPrefix(took, w[1]), "%s: %s", role(c.UnitID), took)
		}
		if c.State == "unreachable" {
			unreachable++
		}
		var messages struct {
			Items []struct{ ID, Channel, Kind string }
		}
		s.get("/v1/messages?owner="+c.OwnerID+"&limit=200", &messages)
		require.Len(t, messages.Items, len(c.Taken), "%s: a message for each step, and no other", role(c.UnitID))
	}
	// What went out: nothing twice but what was in hand when the process died, and
	// that under the same id.
	once := func(what string, ids []string, distinct, allowed int) {
		t.Helper()
		slices.Sort(ids)
		n := len(slices.Compact(slices.Clone(ids)))
		t.Logf("%s: %d, %d of them twice", what, n, len(ids)-n)
		require.Equal(t, distinct, n, what)
		require.LessOrEqual(t, len(ids)-n, allowed, what)
	}
	var ids []string
	until(t, 30*time.Second, "the mails are delivered", func() bool {
		ids = nil
		for _, m := range mail.Mails(t) {
			ids = append(ids, m.Header.Get("Message-ID"))
		}
		slices.Sort(ids)
		return len(slices.Compact(slices.Clone(ids))) == owners-2 // one bounced, one was refused
	})
	once("mails", ids, owners-2, 4*kills)
	ids = nil
	for _, x := range sms.all() {
		ids = append(ids, x.ID)
	}
	once("texts", ids, told["sms"], 4*kills)

	// The report says how far each came, and lists who could not be reached.
	require.Regexp(t, fmt.Sprintf(`(?m)^Owners unreachable\s+%d$`, unreachable), s.fettle("reach", "hot-plug"))
	file := filepath.Join(t.TempDir(), "unreachable.csv")
	s.fettle("reach", "hot-plug", "--state", "unreachable", "--csv", file)
	table, err := os.ReadFile(file)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	require.Equal(t, "unit,owner,state,steps,of,started,ended,acknowledged,taken", lines[0])
	require.Len(t, lines, 1+unreachable)
	require.Contains(t, string(table), "call (bounced: wrong number), letter (bounced: moved away)")
	for path, want := range map[string]string{
		"reach/owners?state=unreachable": string(table),
		"quarterly?campno=26V123&mfgtxt=Nordlys&quarter=" + fmt.Sprintf("%d-%d", time.Now().UTC().Year(), (time.Now().UTC().Month()+2)/3): fmt.Sprintf(
			`(?m)^Nordlys,26V123,hot-plug,Cooler plug,\d{8},\d{8},1,\d{4}-[1-4],%d,0,%d,0,\d{8}$`, owners, unreachable),
	} {
		r := s.request(http.MethodGet, "/v1/campaigns/hot-plug/"+path, s.token, nil)
		got, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		_ = r.Body.Close()
		require.Equal(t, 200, r.StatusCode, string(got))
		require.Contains(t, r.Header.Get("Content-Type"), "text/csv")
		if strings.HasPrefix(path, "reach") {
			require.Equal(t, len(lines), strings.Count(string(got), "\n"), "%s\n%s", want, got)
			require.True(t, strings.HasPrefix(string(got), lines[0]+"\n"))
			continue
		}
		require.Regexp(t, want, string(got))
	}
	var report struct {
		Unreachable int
		Reach       struct{ Told, Unreachable int }
	}
	s.get("/v1/campaigns/hot-plug/report", &report)
	require.Equal(t, []int{unreachable, owners, unreachable}, []int{report.Unreachable, report.Reach.Told, report.Reach.Unreachable})
	s.stop()
}

// From mail to text to call list to letter, in a real campaign: whoever cannot
// be reached one way is tried the next; an acknowledgement anywhere ends it.
func TestEscalation(t *testing.T) {
	t.Parallel()
	climbed(t, len(who), 2, 11)
}

func TestSoakEscalation(t *testing.T) {
	soak(t)
	climbed(t, 60, 40, rand.Uint64())
}
