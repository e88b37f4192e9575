package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/postgres"
	"fettle.dev/fettle/sim/mqttc"
)

// status is what an operation answers.
func (s *server) status(method, path, token string, in any) int {
	s.t.Helper()
	r := s.request(method, path, token, in)
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return r.StatusCode
}

func (s *server) link() string {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "first-operator-link"))
	require.NoError(s.t, err)
	_, secret, ok := strings.Cut(strings.TrimSpace(string(raw)), "#")
	require.True(s.t, ok)
	return secret
}

func TestOperatorsSignIn(t *testing.T) {
	t.Parallel()
	s := &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t)}
	s.start()
	until(t, 30*time.Second, "a link", func() bool {
		info, err := os.Stat(filepath.Join(s.dir, "first-operator-link"))
		return err == nil && info.Mode().Perm() == 0o600
	})
	secret := s.link()

	// A mail scanner opens the page; the page asks for a click.
	require.Equal(t, 200, s.status("GET", "/console/sign-in", "", nil))
	require.Equal(t, 401, s.status("GET", "/v1/session", "", nil))

	out, errs, err := s.try("login", s.url(""), "--link", s.url("/console/sign-in#"+secret))
	require.NoError(t, err, "%s%s", out, errs)
	require.NotEqual(t, 200, s.status("POST", "/v1/sign-in", "", map[string]string{"token": secret}), "a link works once")
	require.NoFileExists(t, filepath.Join(s.dir, "first-operator-link"), "a link that was used does not stay")

	// Who has the machine gets in again while the service runs.
	run := exec.CommandContext(t.Context(), binary, "admin", "reset", "--data", s.dir, "--public-url", s.url(""))
	text, err := run.CombinedOutput()
	require.NoError(t, err, string(text))
	info, err := os.Stat(filepath.Join(s.dir, "first-operator-link"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	second := s.link()
	require.NotEqual(t, secret, second)
	home := t.TempDir()
	login := exec.CommandContext(t.Context(), binary, "login", s.url(""), "--link", second)
	login.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME=")
	text, err = login.CombinedOutput()
	require.NoError(t, err, string(text))
	kept := filepath.Join(home, ".config", "fettle", "config.yaml")
	info, err = os.Stat(kept)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	// What login kept makes tokens of narrower scopes.
	create := func(scope, expires string) string {
		cmd := exec.CommandContext(t.Context(), binary, "token", "create", "--scope", scope, "--expires", expires)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME=")
		text, err := cmd.CombinedOutput()
		require.NoError(t, err, string(text))
		return strings.TrimSpace(string(text))
	}
	reader, writer, brief := create("read", "30d"), create("write", "1d"), create("read", "1s")
	require.True(t, strings.HasPrefix(reader, "fet_"), "%q", reader)
	require.Equal(t, 200, s.status("GET", "/v1/units", reader, nil))
	product := map[string]any{"documents": []any{}}
	require.Equal(t, 403, s.status("POST", "/v1/apply", reader, product))
	require.NotEqual(t, 403, s.status("POST", "/v1/apply", writer, product))
	for _, token := range []string{reader, writer} {
		require.Equal(t, 403, s.status("GET", "/v1/backup", token, nil), "a backup needs scope admin")
		require.Equal(t, 403, s.status("POST", "/v1/tokens", token, map[string]any{"name": "x", "scope": "admin"}))
	}
	until(t, 30*time.Second, "a token expires", func() bool { return s.status("GET", "/v1/units", brief, nil) == 401 })
	require.Equal(t, 401, s.status("GET", "/v1/units", "fet_unknown", nil))

	s.stop()
	log, err := os.ReadFile(s.logPath)
	require.NoError(t, err)
	require.Contains(t, string(log), "first-operator-link", "the log says where the link stands")
	for _, word := range []string{secret, second, reader, writer, brief} {
		require.NotContains(t, string(log), word, "no secret in the log")
	}
}

// readiness is what /readyz says.
type readiness struct {
	Ready   bool
	Engines map[string]string
	Notes   []struct{ Name, Note string }
}

func (s *server) ready() (code int, out readiness) {
	s.t.Helper()
	r := s.request("GET", "/readyz", "", nil)
	defer r.Body.Close()
	require.NoError(s.t, json.NewDecoder(r.Body).Decode(&out))
	return r.StatusCode, out
}

func TestServeRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	s := serve(t)
	config := filepath.Join(t.TempDir(), "fettle.yaml")
	require.NoError(t, os.WriteFile(config, []byte("listn: 127.0.0.1:0\n"), 0o600))
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"a scaled clock outside --dev": {[]string{"--data", t.TempDir(), "--clock-speed", "60"}, "dev"},
		"a data directory in use":      {[]string{"--data", s.dir, "--listen", freeAddress(t), "--mqtt", ""}, "another fettle"},
		"a port that is not named":     {[]string{"--data", t.TempDir(), "--listen", "127.0.0.1:0", "--mqtt", ""}, "public-url"},
		"an address in use":            {[]string{"--data", t.TempDir(), "--listen", s.http, "--mqtt", ""}, "address already in use"},
		"a misspelt setting":           {[]string{"--data", t.TempDir(), "--config", config}, "listn"},
		"half a certificate":           {[]string{"--data", t.TempDir(), "--tls-cert", "x.pem"}, "tls-key"},
	} {
		text, err := exec.CommandContext(t.Context(), binary, append([]string{"serve"}, c.args...)...).CombinedOutput()
		require.Error(t, err, name)
		require.Contains(t, string(text), c.says, name)
	}
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	dsn := postgres.Start(t).Database(t, "")
	s := serve(t, "--records", dsn)
	var ready readiness
	read := func() (code int) {
		code, ready = s.ready()
		return code
	}
	require.Equal(t, 200, read())
	require.True(t, ready.Ready)
	require.Contains(t, fmt.Sprint(ready.Notes), "owners cannot sign in")
	for _, engine := range []string{"records", "stream", "history", "artifacts"} {
		require.Equal(t, "ok", ready.Engines[engine], engine)
	}
	m := s.metrics()
	for _, name := range []string{"fettle_stream_position", "fettle_history_position", "process_open_fds", "go_goroutines"} {
		require.Contains(t, m, name)
	}
	require.Equal(t, 404, s.status("GET", "/owner/v1/nothing", "", nil))

	back := denyDatabase(t, dsn)
	until(t, 30*time.Second, "the records are gone, and readyz names them", func() bool {
		return read() == 503 && !ready.Ready && ready.Engines["records"] != "ok" && ready.Engines["stream"] == "ok"
	})
	require.Equal(t, 200, s.status("GET", "/healthz", "", nil))
	require.Equal(t, 503, s.status("GET", "/v1/units", s.token, nil), "come again")
	back()
	until(t, 30*time.Second, "the records are back", func() bool { return read() == 200 })
	s.stop()
}

func TestTerminationUnderLoad(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ids := unitIDs(10)
	tokens := s.units(ids)
	var all []*meter
	for _, id := range ids {
		all = append(all, newMeter(id, tokens[id], s.mqtt, time.Now().Add(-2*time.Hour), 4000, time.Millisecond))
	}
	// And a client that is not ours.
	tool(t, "mosquitto_pub")
	extra := s.units([]string{"WC-MOSQ"})["WC-MOSQ"]
	host, port, _ := strings.Cut(s.mqtt, ":")
	pub := exec.CommandContext(t.Context(), "mosquitto_pub", "-h", host, "-p", port, "-u", "WC-MOSQ", "-P", extra, "-t", "fettle/v1/telemetry", "-q", "1", "-l")
	in, err := pub.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, pub.Start())
	for n := range 500 {
		_, err := fmt.Fprintf(in, "{\"ts\":%d,\"values\":{\"current\":%d}}\n", time.Now().Add(-time.Hour).UnixMilli()+int64(n)*1000, n)
		require.NoError(t, err)
	}
	require.NoError(t, in.Close())
	require.NoError(t, pub.Wait(), "mosquitto_pub ends when all is acknowledged")

	fleet := startMeters(t, all)
	until(t, 30*time.Second, "load", func() bool { return fleet.acked() > 3000 })
	s.stop() // requires exit status 0
	fleet.cut()
	acked := fleet.acked()

	s.start()
	require.EqualValues(t, 500, s.accounting("WC-MOSQ").Stored)
	for _, m := range all {
		a := s.accounting(m.id)
		require.GreaterOrEqual(t, a.Acknowledged, int64(len(m.acked)), m.id)
		m.stored(t, s)
	}
	t.Logf("%d samples were acknowledged before the end, all are in history", acked)
}

func unitIDs(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("WC-%06d", i+1))
	}
	return ids
}

func TestRevokedUnitIsDisconnected(t *testing.T) {
	t.Parallel()
	tool(t, "mosquitto_sub")
	s := serve(t)
	token := s.units([]string{"WC-000001", "WC-000002"})
	host, port, _ := strings.Cut(s.mqtt, ":")
	sub := exec.CommandContext(t.Context(), "mosquitto_sub", "-h", host, "-p", port, "-V", "5", "-u", "WC-000001", "-P", token["WC-000001"], "-t", "fettle/v1/desired", "-d")
	out := &lines{}
	sub.Stdout, sub.Stderr = out, out
	require.NoError(t, sub.Start())
	ended := make(chan error, 1)
	go func() { ended <- sub.Wait() }()
	t.Cleanup(func() { _ = sub.Process.Signal(syscall.SIGKILL) })
	until(t, 30*time.Second, "the desired state is pushed", func() bool { return strings.Contains(out.String(), "collect") })

	s.fettle("unit", "revoke", "WC-000001")
	until(t, 5*time.Second, "mosquitto_sub sees the end", func() bool {
		return strings.Contains(out.String(), "DISCONNECT") || strings.Contains(out.String(), "onnection Refused") || len(ended) > 0
	})
	dial := func(id string) error {
		c, err := mqttc.Dial(t.Context(), mqttc.Options{Addr: s.mqtt, UnitID: id, Token: token[id]}, newMeter(id, "", "", time.Now(), 0, 0))
		if err == nil {
			c.Close()
		}
		return err
	}
	require.ErrorIs(t, dial("WC-000001"), mqttc.ErrRefused, "revoked")
	require.NoError(t, dial("WC-000002"), "the other unit is not touched")
	s.fettle("unit", "restore", "WC-000001")
	require.NoError(t, dial("WC-000001"), "restored with the credential it has")
}

func TestUnitsEnrolThemselves(t *testing.T) {
	t.Parallel()
	s := serve(t, "--trusted-proxies", "127.0.0.1")
	s.units([]string{"WC-000001"}) // imported, with a credential
	claimToken := strings.TrimSpace(s.fettle("claim", "token", "create", "wall-charger", "--uses", "5", "--expires", "1d"))

	enrol := func(serial, secret, forwarded string) (int, map[string]string) {
		key := strings.Repeat("ab", 32)
		raw, err := json.Marshal(map[string]string{"claimToken": claimToken, "serial": serial, "token": secret, "keyFingerprint": key})
		require.NoError(t, err)
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url("/fettle/v1/enroll"), strings.NewReader(string(raw)))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Forwarded-For", forwarded)
		r, err := s.do(req)
		require.NoError(t, err)
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		out := map[string]string{}
		_ = json.Unmarshal(body, &out)
		out["body"] = string(body)
		return r.StatusCode, out
	}
	secret := "fut_" + strings.Repeat("s3cret", 8)
	code, answer := enrol("N-77", secret, "203.0.113.9")
	require.Equal(t, 202, code, answer)
	id := answer["unitId"]
	require.NotEmpty(t, id)

	code, answer = enrol("S-WC-000001", secret, "203.0.113.9")
	require.Equal(t, 409, code, "a claim never takes over a unit with a credential: %v", answer)

	publish := func() int {
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url("/fettle/v1/telemetry"),
			strings.NewReader(fmt.Sprintf(`{"ts":%d,"values":{"charging":true}}`, time.Now().UnixMilli())))
		require.NoError(t, err)
		req.SetBasicAuth(id, secret)
		r, err := s.do(req)
		require.NoError(t, err)
		defer r.Body.Close()
		return r.StatusCode
	}
	require.Contains(t, []int{401, 403}, publish(), "a pending unit stores nothing")

	list := s.fettle("claim", "list", "--state", "pending")
	require.Contains(t, list, "N-77")
	require.Contains(t, list, "203.0.113.9", "the proxy is named, so the address it tells is shown")
	require.Contains(t, list, "ab")
	var claims struct {
		Items []struct{ ID, Serial string }
	}
	s.get("/v1/claims?state=pending", &claims)
	require.Len(t, claims.Items, 1)
	s.fettle("claim", "approve", claims.Items[0].ID)
	code, _ = enrol("N-77", secret, "203.0.113.9")
	require.Equal(t, 200, code, "the unit that asks again hears that it is enrolled")
	require.Equal(t, 200, publish())
	a := s.accounting(id)
	require.EqualValues(t, 1, a.Stored, "nothing of the time before: %+v", a)

	// A caller that is no named proxy does not choose its address.
	open := serve(t)
	open.units([]string{"WC-000001"})
	claimToken = strings.TrimSpace(open.fettle("claim", "token", "create", "wall-charger"))
	s = open
	code, answer = enrol("N-78", secret, "203.0.113.9")
	require.Equal(t, 202, code, answer)
	list = open.fettle("claim", "list")
	require.NotContains(t, list, "203.0.113.9")
	require.Contains(t, list, "127.0.0.1")
}
