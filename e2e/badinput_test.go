package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// declaration reads a declared file and changes it.
func declaration(t *testing.T, name string, changes ...string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root(), name))
	require.NoError(t, err)
	for i := 0; i < len(changes); i += 2 {
		require.Contains(t, string(raw), changes[i])
		raw = bytes.Replace(raw, []byte(changes[i]), []byte(changes[i+1]), 1)
	}
	return string(raw)
}

// TestBadFiles applies files with mistakes: each is told with file, line,
// column, field and what was expected, and nothing has changed.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const ambientProduct = "docs/tutorials/ambient/product.yaml"
	product := func(changes ...string) string { return declaration(t, ambientProduct, changes...) }
	for _, c := range []struct {
		name, text string
		want       []string // on standard error; FILE stands for the file
	}{
		{"broken YAML", product("title: Room sensor", "title: [Room sensor"), []string{"FILE:9:3: expected YAML: ',' or ']' must be specified"}},
		{"a tab", product("  purposes:", "\tpurposes:"), []string{"FILE:10:1: expected YAML: ", "cannot start any token"}},
		{"no text", "\x00\xff\xfe", []string{"FILE:1:1: expected YAML or JSON as text in UTF-8"}},
		{"an unknown field", product("      unit: ", "      unti: "), []string{`FILE:19:`, `: spec.signals[0].unti: expected one of the fields`, "did you mean unit?"}},
		{"an unknown kind", product("kind: Product", "kind: Gadget"), []string{`FILE:4:7: kind: expected Product, Unit, Detector, Release, Campaign, Template, Ladder or Tip, got "Gadget"`}},
		{"no unit of measure", product(`"[degF]"`, "fahrenheit"), []string{"FILE:19:13: spec.signals[0].unit: expected a UCUM unit", "did you mean [degF]?"}},
		{"CEL without a type", product("- min: 60", `- when: value + "x" > 3`), []string{"FILE:28:17: spec.tolerances[0].bands[0].when: expected an expression that is true or false", `no matching overload for '_+_' applied to '(double, string)'`}},
		{"CEL that is no condition", product("- min: 60", "- when: value"), []string{"FILE:28:17: ", `expected an expression that is true or false, got "value", which is of type double`}},
		{"CEL of an unknown signal", product("- min: 60", "- when: colour > 3.0"), []string{"FILE:28:17: ", `expected a signal of product room-sensor (value)`, `got "colour"`}},
		{
			"several mistakes", product("basis: consent", "basis: maybe", "400d", "soon", "type: number", "type: float"),
			[]string{"because of 3 mistakes", "FILE:14:14: spec.purposes[0].basis: expected consent or necessary", "FILE:18:13: spec.signals[0].type: expected number, boolean or text", "FILE:21:18: spec.signals[0].retention: expected a duration"},
		},
		{
			"several documents", product(`"[degF]"`, "furlong") + "---\n" + declaration(t, ambientRules, "tolerance: room-air", "tolerance: room-water"),
			[]string{"because of 2 mistakes", "FILE:19:13: spec.signals[0].unit: expected a UCUM unit", "spec.tolerance: expected"},
		},
		{
			"a feature in a safety campaign",
			declaration(t, "e2e/testdata/charger/product.yaml") + "---\n" + declaration(t, "e2e/testdata/charger/remedy.yaml", "kind: safety", "kind: feature"),
			[]string{"spec.release: expected a release of kind security, safety or fix: a feature may not ride in a safety campaign"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "bad.yaml")
			require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
			image, err := os.ReadFile(filepath.Join(root(), "e2e/testdata/charger/charger-2.0.0.swu"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "charger-2.0.0.swu"), image, 0o600))
			out, errs, err := s.try("apply", "-f", file)
			require.Error(t, err, out)
			require.Contains(t, errs, "nothing was changed")
			for _, want := range c.want {
				require.Contains(t, errs, strings.ReplaceAll(want, "FILE", file))
			}
			for _, kind := range []string{"products", "units", "detectors", "releases", "campaigns"} {
				require.JSONEq(t, "[]", s.fettle("get", kind, "-o", "json"), kind)
			}
		})
	}

	// What stands is left as it is when another document has a mistake.
	s.fettle("apply", "-f", "docs/tutorials/ambient")
	before := s.fettle("get", "product", "room-sensor", "-o", "yaml")
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": product("title: Room sensor", "title: Another title"),
		"b.yaml": declaration(t, "docs/tutorials/ambient/unit.yaml", "RS-000001", "RS-000002", "product: room-sensor", "product: rom-sensor"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	_, errs, err := s.try("apply", "-f", dir)
	require.Error(t, err)
	require.Contains(t, errs, filepath.Join(dir, "b.yaml")+":6:12: spec.product: expected")
	require.Equal(t, before, s.fettle("get", "product", "room-sensor", "-o", "yaml"))
	require.NotContains(t, s.fettle("get", "units"), "RS-000002")

	// The API refuses the same, by the place in the request.
	r := s.request(http.MethodPost, "/v1/apply", s.token, json.RawMessage(`{"documents":[{"apiVersion":"fettle.dev/v1","kind":"Unit","metadata":{"name":"X"},"spec":{"product":"nothing","serial":"X"}}]}`))
	raw, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	require.Contains(t, []int{400, 422}, r.StatusCode)
	require.Contains(t, r.Header.Get("Content-Type"), "application/problem+json")
	require.Contains(t, string(raw), "body.documents[0].spec.product")
}

// TestBadConfiguration starts servers that cannot or may not start: the reason
// is named, and nothing runs.
func TestBadConfiguration(t *testing.T) {
	t.Parallel()
	s := serve(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   []string
	}{
		{"a scaled clock", []string{"--clock-speed", "20"}, 2, []string{"clock-speed: expected no scaled clock outside --dev"}},
		{"a moved clock", []string{"--clock-origin", "2014-01-01T00:00:00Z", "--clock-start", "2015-01-01T00:00:00Z"}, 2, []string{"no scaled clock outside --dev"}},
		{"unknown keys", []string{"--config", file("keys.yaml", "listen-on: x\nmax_event_age: 5d\n")}, 2, []string{"listen-on: expected a setting that `fettle serve --help` lists", "max_event_age: expected a setting"}},
		{"a broken file", []string{"--config", file("broken.yaml", "listen: [1\n")}, 2, []string{"broken.yaml", "[1:9]"}},
		{"no file", []string{"--config", filepath.Join(dir, "none.yaml")}, 2, []string{"none.yaml: no such file"}},
		{"wrong values", []string{"--max-event-age", "soon", "--log-level", "loud", "--stream-bytes", "-1"}, 2, []string{`max-event-age: expected a duration, as 5m or 90d, got "soon"`, "log-level: expected debug, info, warn or error", "stream-bytes: expected a size, as 512MiB or 2GiB"}},
		{"an unknown flag", []string{"--lisen", "x"}, 2, []string{"unknown flag: --lisen"}},
		{"a certificate alone", []string{"--tls-cert", "cert.pem"}, 2, []string{"tls-cert and tls-key together"}},
		{"another database", []string{"--records", "mysql://x"}, 2, []string{`records address "mysql://x": expected sqlite:PATH or postgres://`}},
		{"no stream there", []string{"--bus", "nats://127.0.0.1:1"}, 1, []string{"open stream: connect"}},
		{"no bucket", []string{"--artifacts", "s4://x"}, 2, []string{`open artifacts: "s4://x" is neither a directory nor an s3:// address`}},
		{"a port in use", []string{"--listen", s.http}, 1, []string{"http: listen tcp " + s.http + ": bind: address already in use"}},
		{"a units' port in use", []string{"--mqtt", s.mqtt}, 1, []string{"mqtt: listen tcp " + s.mqtt + ": bind: address already in use"}},
		{"a data directory in use", []string{"--data", s.dir}, 1, []string{"another fettle uses this data directory (" + filepath.Join(s.dir, "lock") + " is locked): stop it first"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			args := append([]string{"serve", "--data", t.TempDir(), "--listen", freeAddress(t), "--mqtt", freeAddress(t)}, c.args...)
			cmd := exec.CommandContext(ctx, binary, args...)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			require.Error(t, cmd.Run())
			require.Equal(t, c.status, cmd.ProcessState.ExitCode(), errs.String())
			for _, want := range c.want {
				require.Contains(t, errs.String(), want)
			}
			require.NotContains(t, errs.String(), "goroutine", "a reason, not a stack")
		})
	}
	t.Run("the first goes on", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.status(http.MethodGet, "/readyz", "", nil))
	})
}

// TestBadCredentials offers tokens and links that are not valid any more.
func TestBadCredentials(t *testing.T) {
	t.Parallel()
	s := serve(t)
	token := s.units([]string{"WC-000001", "WC-000002"})
	const invalid = "the session or token is unknown, expired or revoked"

	brief := strings.TrimSpace(s.fettle("token", "create", "--scope", "read", "--expires", "1s"))
	refused := func(token string) string {
		_, errs, err := s.try("get", "units", "--token", token)
		if err == nil {
			return ""
		}
		return errs
	}
	until(t, 30*time.Second, "the token expires", func() bool { return strings.Contains(refused(brief), invalid) })
	require.Contains(t, refused("fet_nobody"), invalid)
	require.Contains(t, refused(token["WC-000001"]), invalid, "a unit's token opens no operators' door")

	// The harness has used the link up.
	raw, err := os.ReadFile(filepath.Join(s.dir, "first-operator-link"))
	if err == nil {
		_, errs, err := s.try("login", s.url(""), "--link", strings.TrimSpace(string(raw)))
		require.Error(t, err)
		require.Contains(t, errs, "links work once and for 15 minutes")
	} else {
		require.ErrorIs(t, err, os.ErrNotExist, "gone after its use")
	}
	_, errs, err := s.try("login", s.url(""), "--link", s.url("/console/sign-in#fel_used"))
	require.Error(t, err)
	require.Contains(t, errs, "links work once and for 15 minutes")

	s.fettle("unit", "revoke", "WC-000001")
	sample := `{"values":{"current":5}}`
	status, text := s.post1("WC-000001", token["WC-000001"], sample)
	require.Contains(t, []int{401, 403}, status, text)
	require.Contains(t, text, "revoked")
	status, text = s.post1("WC-000002", token["WC-000001"], sample)
	require.Equal(t, 401, status, text)
	require.Contains(t, text, "the unit id or its credential is wrong")
	for _, version := range []string{"mqttv311", "mqttv5"} {
		for _, id := range []string{"WC-000001", "WC-000002"} {
			out, err := s.mosquitto(version, id, token["WC-000001"], "mosquitto_pub", "-q", "1", "-t", "fettle/v1/telemetry", "-m", sample)
			require.Error(t, err, out)
			require.Regexp(t, "(?i)refused|not authori[sz]ed|bad user ?name", out, version)
		}
	}
	require.Zero(t, s.accounted("WC-000001").Acknowledged+s.accounted("WC-000002").Acknowledged)
}

// post1 sends telemetry over HTTP as a unit.
func (s *server) post1(id, token, body string) (status int, text string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url("/fettle/v1/telemetry"), strings.NewReader(body))
	require.NoError(s.t, err)
	r.SetBasicAuth(id, token)
	r.Header.Set("Content-Type", "application/json")
	res, err := s.do(r)
	require.NoError(s.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return res.StatusCode, string(raw)
}

// mosquitto runs a client that knows nothing of us, as a unit.
func (s *server) mosquitto(version, id, token, program string, args ...string) (string, error) {
	s.t.Helper()
	path := tool(s.t, program)
	host, port, err := net.SplitHostPort(s.mqtt)
	require.NoError(s.t, err)
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, append([]string{"-h", host, "-p", port, "-V", version, "-u", id, "-P", token}, args...)...).CombinedOutput()
	return string(out), err
}
