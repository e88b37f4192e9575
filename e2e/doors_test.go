package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// telegraf finds the unmodified Telegraf that `make .tools/telegraf` builds.
func telegraf(t *testing.T) string {
	t.Helper()
	path := filepath.Join(root(), ".tools", "telegraf")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no Telegraf: make .tools/telegraf")
		}
		t.Skip("no Telegraf: make .tools/telegraf")
	}
	return path
}

// run runs a program and gives all it wrote.
func run(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", path, strings.Join(args, " "), out)
	return string(out)
}

// TestTelegraf: an unmodified Telegraf, with each of its two outputs for
// InfluxDB, delivers what a unit buffered over three days offline; delivered
// again it is stored once. What cannot be kept is told and keeps the rest from
// nothing.
func TestTelegraf(t *testing.T) {
	t.Parallel()
	program := telegraf(t)
	s := serve(t)
	tokens := s.units([]string{"WC-000001", "WC-000002", "WC-000003"}, "WC-000003")
	const n = 3 * 24 * 60
	var lines strings.Builder
	from := time.Now().Add(-3 * 24 * time.Hour)
	for i := range n {
		at := from.Add(time.Duration(i) * time.Minute).UnixNano()
		fmt.Fprintf(&lines, "charger,site=home current=%d.5,plug_temperature=41i,charging=true %d\n", i%16, at)
	}
	dir := t.TempDir()
	input := filepath.Join(dir, "buffer.influx")
	require.NoError(t, os.WriteFile(input, []byte(lines.String()), 0o600))
	deliver := func(name, output string) string {
		config := filepath.Join(dir, name+".conf")
		require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf(`
[agent]
  omit_hostname = true
  metric_batch_size = 1000
[[inputs.file]]
  files = [%q]
  data_format = "influx"
%s`, input, output)), 0o600))
		return run(t, program, "--config", config, "--once")
	}
	one := func(id string) string {
		return fmt.Sprintf("[[outputs.influxdb]]\n  urls = [%q]\n  database = \"fettle\"\n  username = %q\n  password = %q\n", s.url(""), id, tokens[id])
	}
	two := func(id string) string {
		return fmt.Sprintf("[[outputs.influxdb_v2]]\n  urls = [%q]\n  token = %q\n  organization = \"any\"\n  bucket = \"any\"\n", s.url(""), id+":"+tokens[id])
	}
	require.NotContains(t, deliver("one", one("WC-000001")), "E! ")
	require.NotContains(t, deliver("two", two("WC-000002")), "E! ")
	for _, id := range []string{"WC-000001", "WC-000002"} {
		require.Equal(t, account{UnitID: id, Acknowledged: 3 * n, Stored: 3 * n}, s.accounting(id))
	}
	require.Contains(t, s.fettle("describe", "unit", "WC-000001"), "behind the server's, or all it sends is that late")
	require.NotContains(t, deliver("two", two("WC-000002")), "E! ", "the whole buffer again")
	require.Equal(t, account{UnitID: "WC-000002", Acknowledged: 6 * n, Stored: 3 * n, Duplicate: 3 * n}, s.accounting("WC-000002"))
	got := s.series("WC-000001", "plug_temperature", from.Add(-time.Minute), time.Now(), 1)
	require.EqualValues(t, n, got[0].Count)

	// No consent: acknowledged, counted, not kept, no error. charging is for the service's running too.
	require.NotContains(t, deliver("none", two("WC-000003")), "E! ")
	require.Equal(t, account{UnitID: "WC-000003", Acknowledged: 3 * n, Stored: n, NotConsented: 2 * n}, s.accounting("WC-000003"))

	// Live data tells the clock. Unknown fields and wrong types are named; the rest is kept.
	now := time.Now().UnixNano()
	require.NoError(t, os.WriteFile(input, []byte(fmt.Sprintf("charger current=1,volume=3 %d\ncharger current=\"much\",charging=false %d\n", now, now+1e6)), 0o600))
	for i, text := range []string{deliver("bad1", one("WC-000001")), deliver("bad2", two("WC-000002"))} {
		require.Contains(t, text, "partial write", i)
		require.Contains(t, text, "charger.volume is not declared", i)
		require.Contains(t, text, "current: expected a number", i)
	}
	require.Equal(t, account{UnitID: "WC-000001", Acknowledged: 3*n + 4, Stored: 3*n + 2, Undeclared: 1, Invalid: 1}, s.accounting("WC-000001"))
	require.Regexp(t, `Clock:\s+right`, s.fettle("describe", "unit", "WC-000001"))

	// A wrong token stores nothing.
	_, err := exec.CommandContext(t.Context(), "curl", "-fsS", "-u", "WC-000001:"+tokens["WC-000002"], "--data-binary", "charger current=1", s.url("/write")).CombinedOutput()
	require.Error(t, err)
}

// TestTelegrafOverKills: a Telegraf that runs on while the server is away and
// is killed twice loses nothing, and nothing is stored twice.
func TestTelegrafOverKills(t *testing.T) {
	t.Parallel()
	program := telegraf(t)
	s := serve(t)
	tokens := s.units([]string{"WC-000001"})
	s.kill()
	const n = 2000
	var lines strings.Builder
	from := time.Now().Add(-n * time.Second)
	for i := range n {
		fmt.Fprintf(&lines, "charger current=%d %d\n", i%16, from.Add(time.Duration(i)*time.Second).UnixNano())
	}
	dir := t.TempDir()
	input, config := filepath.Join(dir, "in.influx"), filepath.Join(dir, "telegraf.conf")
	require.NoError(t, os.WriteFile(input, []byte(lines.String()), 0o600))
	require.NoError(t, os.WriteFile(config, []byte(fmt.Sprintf(`
[agent]
  interval = "1s"
  flush_interval = "1s"
  omit_hostname = true
  metric_batch_size = 100
  metric_buffer_limit = 1000000
[[inputs.file]]
  files = [%q]
  data_format = "influx"
[[outputs.influxdb_v2]]
  urls = [%q]
  token = %q
  organization = "any"
  bucket = "any"
`, input, s.url(""), "WC-000001:"+tokens["WC-000001"])), 0o600))
	log, err := os.Create(filepath.Join(dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command(program, "--config", config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	time.Sleep(2 * time.Second) // nobody is there
	for range 2 {
		s.start()
		time.Sleep(1500 * time.Millisecond)
		s.kill()
	}
	s.start()
	require.NoError(t, os.WriteFile(input, nil, 0o600)) // nothing more is read; what it holds it sends before it ends
	until(t, 30*time.Second, "Telegraf has not delivered", func() bool { return s.accounted("WC-000001").Stored == n })
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	a := s.accounting("WC-000001")
	require.EqualValues(t, n, a.Stored)
	require.Equal(t, a.Acknowledged, a.Stored+a.Duplicate)
	t.Logf("delivered %d times each, stored once", a.Acknowledged/n)
}

// TestSenders: the influx client of Debian, curl, gzip and zstd deliver by
// every HTTP door, and the accounting is exact.
func TestSenders(t *testing.T) {
	t.Parallel()
	s := serve(t)
	curl := tool(t, "curl")
	tokens := s.units([]string{"WC-000001", "WC-000002", "WC-000003", "WC-000004"})
	now := time.Now()
	host, port, _ := strings.Cut(s.http, ":")
	dir := t.TempDir()

	// influx -import.
	file := filepath.Join(dir, "import.txt")
	text := "# DDL\nCREATE DATABASE fettle\n\n# DML\n# CONTEXT-DATABASE: fettle\n"
	for i := range 2000 {
		text += fmt.Sprintf("charger,a=b current=%d %d\n", i%7, now.Add(-time.Duration(i)*time.Second).UnixNano())
	}
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	out := run(t, tool(t, "influx"), "-import", "-path="+file, "-host="+host, "-port="+port, "-username=WC-000001", "-password="+tokens["WC-000001"], "-precision=ns")
	require.Contains(t, out, "Failed 0 inserts")
	require.Equal(t, account{UnitID: "WC-000001", Acknowledged: 2000, Stored: 2000}, s.accounting("WC-000001"))

	// SenML, with zstd; OTLP in JSON; our own telemetry with gzip.
	send := func(id, compress, path, kind, body string) string {
		t.Helper()
		script := fmt.Sprintf(`cat %%s | %s -sS -w ' %%%%{http_code}' -u "$UNIT" -H 'Content-Type: %s' --data-binary @- "$URL"`, curl, kind)
		file := filepath.Join(dir, "body")
		require.NoError(t, os.WriteFile(file, []byte(body), 0o600))
		script = fmt.Sprintf(script, file)
		if compress != "" {
			tool(t, compress)
			script = fmt.Sprintf(`%s -c < %s | %s -sS -w ' %%{http_code}' -u "$UNIT" -H 'Content-Type: %s' -H 'Content-Encoding: %s' --data-binary @- "$URL"`, compress, file, curl, kind, compress)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
		cmd.Env = append(os.Environ(), "UNIT="+id+":"+tokens[id], "URL="+s.url(path))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	pack := fmt.Sprintf(`[{"bn":"urn:dev:ow:10e2073a01080063:","bt":%d,"n":"current","u":"mA","v":15500},{"n":"plug_temperature","u":"K","v":300.15},{"n":"charging","vb":true},{"n":"current","t":-60,"u":"V","v":1}]`, now.Unix())
	require.Contains(t, send("WC-000002", "zstd", "/fettle/v1/senml", "application/senml+json", pack), `"kept":3,"notConsented":0,"undeclared":0,"invalid":1,"refused":[{"record":3,"name":"current","why":"its unit V is not A`)
	send("WC-000002", "zstd", "/fettle/v1/senml", "application/senml+json", pack)
	require.Equal(t, account{UnitID: "WC-000002", Acknowledged: 8, Stored: 3, Duplicate: 3, Invalid: 2}, s.accounting("WC-000002"))
	export := fmt.Sprintf(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"plug.temperature","unit":"Cel","gauge":{"dataPoints":[{"timeUnixNano":"%d","asDouble":40}]}},{"name":"other","gauge":{"dataPoints":[{"asInt":1}]}}]}]}]}`, now.UnixNano())
	answer := send("WC-000003", "gzip", "/v1/metrics", "application/json", export)
	require.Contains(t, answer, `"rejectedDataPoints":"1"`)
	require.Contains(t, answer, "other: not declared")
	require.Contains(t, send("WC-000003", "gzip", "/v1/metrics", "application/json", export), " 200", "sent again")
	require.Equal(t, account{UnitID: "WC-000003", Acknowledged: 4, Stored: 1, Undeclared: 2, Duplicate: 1}, s.accounting("WC-000003"))
	own := fmt.Sprintf(`{"ts":%d,"values":{"current":5}}`, now.Add(20*time.Minute).UnixMilli())
	require.Contains(t, send("WC-000004", "gzip", "/fettle/v1/telemetry", "application/json", own), `"kept":1`)
	require.Contains(t, send("WC-000004", "", "/fettle/v1/telemetry", "application/json", own), `"kept":1`)
	require.Equal(t, account{UnitID: "WC-000004", Acknowledged: 2, Stored: 1, Duplicate: 1}, s.accounting("WC-000004"))
	require.Regexp(t, `Clock:\s+(20m0s|19m5\ds) ahead of the server's`, s.fettle("describe", "unit", "WC-000004"))

	// A bomb: 64 MiB of zeros in a few KB.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zeros"), make([]byte, 64<<20), 0o600))
	for _, c := range []string{"gzip", "zstd"} {
		for _, path := range []string{"/fettle/v1/telemetry", "/fettle/v1/senml", "/write", "/api/v2/write", "/v1/metrics"} {
			kind := map[string]string{"/fettle/v1/senml": "application/senml+json", "/v1/metrics": "application/x-protobuf"}[path]
			cmd := exec.CommandContext(t.Context(), "sh", "-c", fmt.Sprintf(`%s -c < %s/zeros | %s -sS -o /dev/null -w '%%{http_code}' -u "$UNIT" -H 'Content-Type: %s' -H 'Content-Encoding: %s' --data-binary @- "$URL"`, c, dir, curl, kind, c))
			cmd.Env = append(os.Environ(), "UNIT=WC-000004:"+tokens["WC-000004"], "URL="+s.url(path))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Equal(t, fmt.Sprint(http.StatusRequestEntityTooLarge), string(out), "%s %s", c, path)
		}
	}
}
