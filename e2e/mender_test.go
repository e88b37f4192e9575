package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/exim"
	"fettle.dev/fettle/internal/peer/mender"
)

// hawkbitTool is a program written for hawkBit, as far as it calls its Management API.
type hawkbitTool struct {
	s              *server
	user, password string
}

func (h *hawkbitTool) do(method, path, kind string, body io.Reader) (int, []byte) {
	h.s.t.Helper()
	req, err := http.NewRequestWithContext(h.s.t.Context(), method, h.s.url("/rest/v1/"+path), body)
	require.NoError(h.s.t, err)
	req.SetBasicAuth(h.user, h.password)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := h.s.do(req)
	require.NoError(h.s.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(h.s.t, err)
	return res.StatusCode, raw
}

func (h *hawkbitTool) get(path string, out any) {
	h.s.t.Helper()
	status, raw := h.do(http.MethodGet, path, "", nil)
	require.Equal(h.s.t, 200, status, "%s: %s", path, raw)
	require.NoError(h.s.t, json.Unmarshal(raw, out), string(raw))
}

func (h *hawkbitTool) post(path string, in, out any) {
	h.s.t.Helper()
	raw, err := json.Marshal(in)
	require.NoError(h.s.t, err)
	status, raw := h.do(http.MethodPost, path, "application/json", bytes.NewReader(raw))
	require.Contains(h.s.t, []int{200, 201}, status, "%s: %s", path, raw)
	require.NoError(h.s.t, json.Unmarshal(raw, out), string(raw))
}

// give uploads a file as the software of a distribution set and assigns that to a unit.
func (h *hawkbitTool) give(unit, version, filename string, data []byte, how map[string]any) (action int64) {
	h.s.t.Helper()
	var ids []struct{ ID int64 }
	h.post("softwaremodules", []any{map[string]string{"name": "module " + version, "version": version, "type": "os"}}, &ids)
	module := ids[0].ID
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("file", filename)
	require.NoError(h.s.t, err)
	_, err = part.Write(data)
	require.NoError(h.s.t, err)
	require.NoError(h.s.t, w.Close())
	status, raw := h.do(http.MethodPost, fmt.Sprintf("softwaremodules/%d/artifacts", module), w.FormDataContentType(), &form)
	require.Equal(h.s.t, 201, status, string(raw))
	h.post("distributionsets", []any{map[string]any{
		"name": "set " + version, "description": "Charges more gently.", "version": version, "type": "os", "modules": []any{map[string]int64{"id": module}},
	}}, &ids)
	target := map[string]any{"id": unit}
	maps.Copy(target, how)
	var done struct {
		AssignedActions []struct{ ID int64 }
	}
	h.post(fmt.Sprintf("distributionsets/%d/assignedTargets", ids[0].ID), []any{target}, &done)
	require.Len(h.s.t, done.AssignedActions, 1)
	return done.AssignedActions[0].ID
}

// detail is how an action of a unit stands.
func (h *hawkbitTool) detail(unit string, action int64) string {
	h.s.t.Helper()
	var a struct{ DetailStatus string }
	h.get(fmt.Sprintf("targets/%s/actions/%d", unit, action), &a)
	return a.DetailStatus
}

func (s *server) wait(what string, ok func() bool) {
	s.t.Helper()
	require.Eventually(s.t, ok, patience, 100*time.Millisecond, what)
}

// line is a network between a client and a server that can be cut.
type line struct {
	address string
	limit   atomic.Int64 // bytes to the client until the next cut; 0: none
	cuts    atomic.Int64
}

func newLine(t *testing.T, to string) *line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	n := &line{address: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go n.join(client, to)
		}
	}()
	return n
}

func (n *line) join(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() { _, _ = io.Copy(server, client) }()
	b := make([]byte, 16<<10)
	for {
		k, err := server.Read(b)
		if err != nil {
			return
		}
		if left := n.limit.Load(); left > 0 {
			if left = n.limit.Add(-int64(k)); left <= 0 {
				n.limit.Store(0)
				n.cuts.Add(1)
				return
			}
		}
		if _, err := client.Write(b[:k]); err != nil {
			return
		}
	}
}

const menderFiles = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: wall-charger}
spec: {title: Wall charger, purposes: [], signals: []}
---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: WC-1}
spec: {product: wall-charger, serial: WC-1, owner: {email: ada@example.org, name: Ada}}
`

// TestMenderClient is the life of a unit with an unmodified mender-client: it
// is let in by an operator, offered nothing before its owner's word, cut off in
// the middle of the image, held by its owner before installing, let go on, and
// installed by its own report. What fails says why. What is assigned comes from
// a tool for hawkBit, which cannot hurry the owner. It takes over a minute, which
// the client sleeps after the cut.
func TestMenderClient(t *testing.T) {
	t.Parallel()
	mender.Require(t)
	mail := exim.Start(t)
	s := serve(t, "--smtp", "smtp://"+mail.Address, "--mail-from", "fettle@example.org", "--hawkbit-api")
	file := filepath.Join(t.TempDir(), "unit.yaml")
	require.NoError(t, os.WriteFile(file, []byte(menderFiles), 0o600))
	s.fettle("apply", "-f", file)
	tool := &hawkbitTool{s: s, user: "ci", password: strings.TrimSpace(s.fettle("token", "create", "--scope", "hawkbit", "--name", "ci"))}
	status, _ := (&hawkbitTool{s: s, user: "admin", password: "admin"}).do(http.MethodGet, "targets", "", nil)
	require.Equal(t, 401, status)
	status, _ = (&hawkbitTool{s: s, user: "ci", password: s.token}).do(http.MethodGet, "targets", "", nil)
	require.Equal(t, 401, status, "an operator's token opens the operators' API alone")
	require.Equal(t, 403, s.request(http.MethodGet, "/v1/units", tool.password, nil).StatusCode, "and a tool's token the tools' alone")

	tenant := strings.TrimSpace(s.fettle("claim", "token", "create", "wall-charger"))
	key, network := mender.NewKey(t), newLine(t, s.http)
	mender.Start(t, mender.Options{URL: "http://" + network.address, Serial: "WC-1", Tenant: tenant, Verify: &key})
	var claims struct {
		Items []struct{ ID, UnitID, KeyFingerprint string }
	}
	s.wait("the client asks to be let in", func() bool {
		s.get("/v1/claims?state=pending", &claims)
		return len(claims.Items) > 0
	})
	require.Equal(t, "WC-1", claims.Items[0].UnitID)
	require.Len(t, claims.Items[0].KeyFingerprint, 64)
	s.fettle("claim", "approve", claims.Items[0].ID)
	version := func() string {
		var u struct{ Versions map[string]string }
		s.get("/v1/units/WC-1", &u)
		return u.Versions["software"]
	}
	s.wait("it reports what runs on it", func() bool { return version() == "factory-1" })

	payload := make([]byte, 600_000)
	_, _ = rand.Read(payload)
	dest := filepath.Join(t.TempDir(), "app.conf")
	image := mender.Build(t, mender.Artifact{Name: "demo-2", Key: &key, Dest: dest, Data: payload})
	action := tool.give("WC-1", "demo-2", "demo-2.mender", image, nil)
	require.Equal(t, "wait_for_confirmation", tool.detail("WC-1", action))

	ada := s.owner(mail, "ada@example.org")
	var mine struct {
		Items []struct {
			ID, State, Title string
			Held             bool
			Choices          []string
			Progress         struct{ Words string }
		}
	}
	look := func() {
		t.Helper()
		ada.get("/owner/v1/updates", &mine)
	}
	s.wait("she is offered it", func() bool { look(); return len(mine.Items) == 1 && mine.Items[0].State == "offered" })
	require.Equal(t, "set demo-2", mine.Items[0].Title)
	time.Sleep(2500 * time.Millisecond) // two polls
	require.NoFileExists(t, dest)
	require.Equal(t, "wait_for_confirmation", tool.detail("WC-1", action))

	network.limit.Store(300_000)
	ada.choose(mine.Items[0].ID, "now")
	s.wait("the line is cut in the middle of the image", func() bool { return network.cuts.Load() == 1 })
	s.wait("she sees that it has begun, and that it can wait", func() bool {
		look()
		return mine.Items[0].State == "installing" && len(mine.Items[0].Choices) == 1 && mine.Items[0].Choices[0] == "not now"
	})
	ada.choose(mine.Items[0].ID, "not now")
	s.wait("the client goes on where it was, and waits before installing", func() bool {
		look()
		return mine.Items[0].Held && mine.Items[0].Progress.Words == "pause before installing"
	})
	require.NoFileExists(t, dest)
	ada.choose(mine.Items[0].ID, "now")
	s.wait("it is installed when the unit reports it", func() bool { return tool.detail("WC-1", action) == "finished" && version() == "demo-2" })
	written, err := os.ReadFile(dest)
	require.NoError(t, err)
	require.True(t, bytes.Equal(payload, written))
	s.wait("the campaign of one unit ends", func() bool {
		var c struct{ Items []struct{ State string } }
		s.get("/v1/campaigns", &c)
		return len(c.Items) == 1 && c.Items[0].State == "finished"
	})

	// One that nobody signed.
	action = tool.give("WC-1", "demo-3", "demo-3.mender", mender.Build(t, mender.Artifact{Name: "demo-3", Dest: dest, Data: payload}), nil)
	s.wait("she is offered that", func() bool { look(); return len(mine.Items) == 2 && mine.Items[0].State == "offered" })
	ada.choose(mine.Items[0].ID, "now")
	s.wait("it fails", func() bool { return tool.detail("WC-1", action) == "error" })
	var log struct {
		Lines []struct{ Level, Text string }
	}
	s.wait("its log arrives", func() bool {
		s.get(fmt.Sprintf("/v1/assignments/%d/log", action), &log)
		return len(log.Lines) > 0
	})
	text := ""
	for _, l := range log.Lines {
		text += l.Text + "\n"
	}
	require.Contains(t, text, "expecting signed artifact, but no signature file found")
	require.Equal(t, "demo-2", version())
}

// portalUser is someone signed in to the portal.
type portalUser struct {
	s      *server
	cookie *http.Cookie
}

// owner signs an owner in by a link that is mailed.
func (s *server) owner(mail *exim.Server, email string) *portalUser {
	s.t.Helper()
	before := len(mail.Mails(s.t))
	res := s.request(http.MethodPost, "/owner/v1/sign-in/link", "", map[string]string{"email": email})
	_ = res.Body.Close()
	require.Less(s.t, res.StatusCode, 300)
	var secret string
	s.wait("a link is mailed", func() bool {
		for _, m := range mail.Mails(s.t)[before:] {
			body := strings.ReplaceAll(strings.ReplaceAll(m.Body, "=\r\n", ""), "=\n", "")
			if _, rest, ok := strings.Cut(body, "#fel_"); ok {
				secret = "fel_" + strings.Fields(rest)[0]
				return true
			}
		}
		return false
	})
	res = s.request(http.MethodPost, "/owner/v1/sign-in", "", map[string]string{"token": secret})
	_ = res.Body.Close()
	require.Len(s.t, res.Cookies(), 1)
	return &portalUser{s, res.Cookies()[0]}
}

func (p *portalUser) do(method, path string, in, out any) {
	p.s.t.Helper()
	raw, err := json.Marshal(in)
	require.NoError(p.s.t, err)
	req, err := http.NewRequestWithContext(p.s.t.Context(), method, p.s.url(path), bytes.NewReader(raw))
	require.NoError(p.s.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", p.s.url(""))
	req.AddCookie(p.cookie)
	res, err := p.s.do(req)
	require.NoError(p.s.t, err)
	defer res.Body.Close()
	raw, err = io.ReadAll(res.Body)
	require.NoError(p.s.t, err)
	require.Equal(p.s.t, 200, res.StatusCode, "%s: %s", path, raw)
	require.NoError(p.s.t, json.Unmarshal(raw, out))
}

func (p *portalUser) get(path string, out any) {
	p.s.t.Helper()
	p.do(http.MethodGet, path, struct{}{}, out)
}

func (p *portalUser) choose(id, choice string) {
	p.s.t.Helper()
	var out any
	p.do(http.MethodPost, "/owner/v1/updates/"+id, map[string]string{"choice": choice}, &out)
}
