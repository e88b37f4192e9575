package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/client"
)

// counter stands between an agent and its server and counts the bytes of
// targets that pass. It can damage deltas on their way.
type counter struct {
	*httptest.Server
	delta, whole atomic.Int64
}

func newCounter(t *testing.T, s *server, damage bool) *counter {
	t.Helper()
	at, err := url.Parse(s.url(""))
	require.NoError(t, err)
	c := &counter{}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.ModifyResponse = func(r *http.Response) error {
		if to := r.Header.Get("Location"); to != "" { // the signed address of the bytes
			r.Header.Set("Location", strings.Replace(to, s.url(""), c.URL, 1))
		}
		if !strings.HasPrefix(r.Request.URL.Path, "/artifacts/") || r.StatusCode/100 != 2 {
			return nil
		}
		count := &c.whole
		if r.Header.Get("Content-Encoding") != "" {
			count = &c.delta
		}
		r.Body = &passing{ReadCloser: r.Body, count: count, damage: damage && r.Header.Get("Content-Encoding") != ""}
		return nil
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	c.Server = httptest.NewServer(proxy)
	t.Cleanup(c.Close)
	return c
}

type passing struct {
	io.ReadCloser
	count  *atomic.Int64
	damage bool
}

func (p *passing) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	before := p.count.Add(int64(n)) - int64(n)
	for i := range n {
		if p.damage && before+int64(i) > 60 { // behind the header that names the old image
			b[i] ^= 0x55
		}
	}
	return n, err
}

// TestTheAgentFetchesDeltas has four units with fettle-agent install the same
// release: one by a delta, one whose delta is damaged on its way, one whose old
// file is not what it should be, one from whose version no delta pays. Each ends
// with the same bytes; what passed on the wire is counted.
func TestTheAgentFetchesDeltas(t *testing.T) {
	t.Parallel()
	mails := openPostOffice(t)
	s := serve(t, "--smtp", mails.address, "--mail-from", "fettle@example.org")
	ids := []string{"WC-1", "WC-2", "WC-3", "WC-4"}
	tokens := s.units(ids)
	holders := s.trusted()

	random := rand.NewChaCha8([32]byte{9})
	body := make([]byte, 1<<20)
	_, _ = random.Read(body) // never fails
	other := make([]byte, 1<<20)
	_, _ = random.Read(other)
	image := func(version string, body []byte) []byte {
		return append([]byte("version "+version+"\nwell\n"), body...)
	}
	images := map[string][]byte{"0.9.0": image("0.9.0", other), "1.0.0": image("1.0.0", body), "2.0.0": image("2.0.0", append(body[:500_000:500_000], body[500_100:]...))}
	has := map[string][]byte{"WC-1": images["1.0.0"], "WC-2": images["1.0.0"], "WC-3": append(bytes.Clone(images["1.0.0"]), "a local change"...), "WC-4": images["0.9.0"]}

	units, wires := map[string]*agentUnit{}, map[string]*counter{}
	for _, id := range ids {
		u, wire := newAgentUnit(t, s), newCounter(t, s, id == "WC-2")
		u.id = id
		u.write("token", tokens[id])
		u.write("app", string(has[id]))
		config := u.file("agent.yaml")
		config = strings.Replace(config, "server: "+s.url(""), "server: "+wire.URL, 1)
		config = strings.Replace(config, "enroll: {claimTokenFile: claim, serial: "+agentSerial+"}", "unit: "+id+"\ntokenFile: token", 1)
		u.write("agent.yaml", config)
		u.start()
		units[id], wires[id] = u, wire
	}
	for _, id := range ids {
		until(t, 30*time.Second, "the versions", func() bool { return s.version(id) != "" })
	}

	dir := t.TempDir()
	for i, version := range []string{"0.9.0", "1.0.0", "2.0.0"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, version+".bin"), images[version], 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, version+".yaml"), fmt.Appendf(nil, `apiVersion: fettle.dev/v1
kind: Release
metadata: {name: charger-%[2]d}
spec: {product: wall-charger, version: %[1]s, counter: %[2]d, kind: fix, minutes: 5, notes: {en: Better.}, artifact: %[1]s.bin}
`, version, i+1), 0o600))
	}
	s.fettle("apply", "-f", dir)
	holders.sign(s)
	type row struct {
		Version, State string
		Full, Size     int64
	}
	rows := map[string]row{}
	until(t, 60*time.Second, "the deltas", func() bool {
		var sizes struct{ Items []row }
		s.get("/v1/releases/charger-3/sizes", &sizes)
		clear(rows)
		for _, r := range sizes.Items {
			rows[r.Version] = r
		}
		return rows["1.0.0"].State == "ready" && rows["0.9.0"].State == "does not pay"
	})

	require.NoError(t, os.WriteFile(filepath.Join(dir, "cohort.yaml"), []byte("name: these\nproduct: wall-charger\nattributes: {batch: [A-14]}\n"), 0o600))
	s.fettle("cohort", "create", "-f", filepath.Join(dir, "cohort.yaml"))
	run := filepath.Join(t.TempDir(), "run.yaml")
	require.NoError(t, os.WriteFile(run, []byte(`apiVersion: fettle.dev/v1
kind: Campaign
metadata: {name: better}
spec:
  product: wall-charger
  kind: service
  title: {en: Better}
  reason: {en: It is better.}
  cohort: these
  release: charger-3
  detector: plug-overheat
  waves: [{name: all, share: 1}]
  gate: {soak: 1h, verified: 0.9, failed: 1, relapsed: 0.1}
  exposure: 1m
  deadline: 21d
`), 0o600))
	s.fettle("apply", "-f", run)
	s.fettle("campaign", "start", "better", "--yes")
	for _, id := range ids {
		s.acceptAs(mails, strings.ToLower(id)+"@example.com")
	}
	for _, id := range ids {
		until(t, 60*time.Second, "version 2.0.0 on "+id, func() bool { return s.version(id) == "2.0.0" })
		require.Equal(t, string(images["2.0.0"]), units[id].file("app"), id)
	}
	full := int64(len(images["2.0.0"]))
	said := map[string][]int64{}
	for _, id := range ids {
		said[id] = []int64{wires[id].delta.Load(), wires[id].whole.Load()}
	}
	raw, _ := json.Marshal(said)
	t.Logf("bytes on the wire, coded and whole, of %d: %s; the table: %+v", full, raw, rows)
	require.Equal(t, []int64{rows["1.0.0"].Size, 0}, said["WC-1"], "the delta and nothing else, of the size that the table says")
	require.Less(t, rows["1.0.0"].Size, int64(2000))
	require.Positive(t, said["WC-2"][0])
	require.Equal(t, full, said["WC-2"][1], "the delta was damaged: the whole")
	require.Contains(t, units["WC-2"].file("log"), "no delta, the whole is fetched")
	for _, id := range []string{"WC-3", "WC-4"} {
		require.LessOrEqual(t, said[id][0]+said[id][1], full, "%s: never more than the whole", id)
		require.Greater(t, said[id][0]+said[id][1], full*9/10, id)
	}
}

// acceptAs is an owner who says start now to the update that is offered.
func (s *server) acceptAs(mails *postOffice, to string) *client.Owner {
	s.t.Helper()
	return s.chooseAs(mails, to, client.Now, time.Time{})
}

func (s *server) chooseAs(mails *postOffice, to string, choice client.Choice, at time.Time) *client.Owner {
	s.t.Helper()
	owner := &client.Owner{Caller: client.Caller{HTTP: client.HTTP(4), Base: s.url("")}}
	before := mails.link(to)
	require.NoError(s.t, owner.AskLink(s.t.Context(), to))
	until(s.t, 20*time.Second, "the link by mail", func() bool { l := mails.link(to); return l != "" && l != before })
	require.NoError(s.t, owner.Click(s.t.Context(), mails.link(to)))
	until(s.t, 20*time.Second, "the offer to "+to, func() bool {
		updates, err := owner.Updates(s.t.Context())
		return err == nil && slices.ContainsFunc(updates, func(u client.Update) bool {
			return slices.Contains(u.Choices, choice) && owner.Choose(s.t.Context(), u.ID, choice, at) == nil
		})
	})
	return owner
}
