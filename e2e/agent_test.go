package e2e

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/update/trust/ceremony"
	"fettle.dev/fettle/sim/client"
)

// TestTheAgent is a unit with fettle-agent, from its enrolment on: what it
// sends leads to a finding; a bad release comes back by itself; a good one is
// fetched ahead of its owner's time and installed when the owner says so on the
// unit, through kills of the agent and an outage of the server.
func TestTheAgent(t *testing.T) {
	t.Parallel()
	mails := openPostOffice(t)
	s := serve(t, "--smtp", mails.address, "--mail-from", "fettle@example.org")
	s.fettle("apply", "-f", "e2e/testdata/charger/product.yaml")
	holders := s.trusted()
	u := newAgentUnit(t, s)

	// It enrols itself, and collects nothing before it may.
	u.start()
	u.id = s.claimed()
	until(t, 30*time.Second, "the unit's version", func() bool { return s.version(u.id) == "1.0.0" })
	until(t, 30*time.Second, "what may be collected", func() bool {
		raw, _ := os.ReadFile(filepath.Join(u.dir, "state", "desired.json"))
		return strings.Contains(string(raw), "plug_temperature")
	})

	// What its collector prints is stored, once, also while the server is away.
	rows := charge(time.Now().Add(-12*time.Hour).Truncate(time.Minute), 95)
	u.collect(rows[:150])
	until(t, 30*time.Second, "half of the telemetry", func() bool { return s.accounting(u.id).Stored == 450 })
	s.kill()
	u.collect(rows[150:])
	until(t, 30*time.Second, "the rest waits on the unit", func() bool { return u.status().Spool.Messages >= 150 })
	s.start()
	until(t, 30*time.Second, "all of the telemetry", func() bool { return s.accounting(u.id).Stored == 900 })
	a := s.accounting(u.id)
	require.Zero(t, a.Undeclared+a.NotConsented+a.Invalid, "what is not wanted is not sent: %+v", a)
	var found findings
	until(t, 30*time.Second, "a finding", func() bool {
		s.get("/v1/findings?product=wall-charger", &found)
		return len(found.Items) == 1
	})
	s.fettle("cohort", "create", "--finding", found.Items[0].ID, "--name", "hot-adapters")

	// A bad release: it waits while the unit is in use; then the old version comes
	// back by itself, and the reason is told.
	u.write("in-use", "")
	s.campaign("bad", "2.0.0", "version 2.0.0\n")
	holders.sign(s)
	s.ownerChooses(mails, client.Now, time.Time{})
	u.until("waiting", func(now agentNow) bool { return now.Update.Waiting == "the unit is in use" })
	until(t, 30*time.Second, "the reason in the campaign", func() bool {
		return strings.Contains(strings.Join(s.taskOf("bad").Details, "\n"), "waiting: the unit is in use")
	})
	u.remove("in-use")
	u.command("start-now")
	u.until("rolled-back", func(now agentNow) bool {
		return now.Update.Last != nil && now.Update.Last.Result == "rolled-back"
	})
	require.Contains(t, u.file("app"), "version 1.0.0")
	require.Contains(t, u.file("running"), "version 1.0.0")
	until(t, 30*time.Second, "the failure in the campaign", func() bool { return s.taskOf("bad").State == "failed" })
	said := strings.Join(s.taskOf("bad").Details, "\n")
	require.Contains(t, said, "the health check failed 2 times")
	require.Contains(t, said, "it is not well")
	require.Contains(t, said, "the version from before runs again, its health check passes, and the unit may be used")
	require.Equal(t, "1.0.0", s.version(u.id))
	require.Empty(t, u.status().Update.Counters)
	s.fettle("campaign", "cancel", "bad", "--yes")

	// A good one: fetched ahead of the owner's time, and held until then.
	s.campaign("good", "2.1.0", "version 2.1.0\nwell\n"+strings.Repeat("data\n", 200_000))
	holders.sign(s)
	s.ownerChooses(mails, client.At, time.Now().Add(time.Hour))
	u.until("waiting for the owner's time", func(now agentNow) bool {
		return now.Update.State == "waiting" && strings.HasPrefix(now.Update.Waiting, "the owner's time is ")
	})
	require.Equal(t, "scheduled", s.taskOf("good").State, "nothing has begun")
	s.kill() // the server goes away: what follows needs none
	require.Contains(t, u.command("not-now"), "owner     not-now")
	u.kill()
	u.start()
	u.until("held by its owner", func(now agentNow) bool { return now.Update.Waiting == "the owner said: not now" })
	require.Contains(t, u.file("app"), "version 1.0.0")
	u.write("hold", "") // the health check hangs, and the agent is killed in it
	u.command("start-now")
	until(t, 30*time.Second, "the health check", func() bool { return strings.Count(u.file("probes"), "2.1.0") > 0 })
	u.kill()
	require.Contains(t, u.file("running"), "version 2.1.0")
	u.remove("hold")
	u.start()
	now := u.until("installed", func(now agentNow) bool {
		return now.Update.State == "idle" && now.Update.Last != nil && now.Update.Last.Release == "good"
	})
	require.Equal(t, "installed", now.Update.Last.Result)
	require.Contains(t, u.command("status"), "runs      software 2.1.0\n")
	require.NotZero(t, now.Update.Unsent, "the server has yet to hear of it")
	require.Equal(t, 2, now.Update.Counters["software"], "raised after the health check")

	s.start()
	until(t, 30*time.Second, "installed by the server's word", func() bool { return s.taskOf("good").State == "verifying" })
	require.Equal(t, "2.1.0", s.version(u.id))
	require.Contains(t, strings.Join(s.taskOf("good").Details, "\n"), "installed, restarted, healthy")
	until(t, 30*time.Second, "nothing is left to be told", func() bool { return u.status().Update.Unsent == 0 })
	require.Equal(t, 1, strings.Count(u.file("restarts"), "version 2.1.0"), "installed once")
	log := u.file("log")
	require.NotContains(t, log, "fut_", "no secret is logged")
	require.NotContains(t, log, u.claim)
}

// trusted makes the server's roots of trust and gives who holds the keys.
func (s *server) trusted() holders {
	s.t.Helper()
	var h holders
	var keys []ceremony.KeyFile
	for _, name := range []string{"alice", "bob"} {
		_, private, err := ed25519.GenerateKey(nil)
		require.NoError(s.t, err)
		signer, err := ceremony.NewSigner(private)
		require.NoError(s.t, err)
		signer.Name = name
		keys = append(keys, ceremony.KeyFile{Format: ceremony.KeyFormat, Name: name, Roles: ceremony.OfflineRoles, Public: signer.Public})
		h = append(h, signer)
	}
	b := s.export()
	require.NoError(s.t, b.Create(keys, 2, time.Now().AddDate(2, 0, 0)))
	h.bring(s, b)
	r := s.request(http.MethodPut, "/v1/trust/products/wall-charger", s.token, nil)
	require.NoError(s.t, r.Body.Close())
	require.Less(s.t, r.StatusCode, 300)
	return h
}

type holders []ceremony.Signer

func (s *server) export() *ceremony.Bundle {
	s.t.Helper()
	var raw json.RawMessage
	s.post("/v1/trust/export", nil, &raw)
	b, err := ceremony.ReadBundle(raw)
	require.NoError(s.t, err)
	return b
}

func (h holders) bring(s *server, b *ceremony.Bundle) {
	s.t.Helper()
	for _, k := range h {
		_, err := b.Sign(k)
		require.NoError(s.t, err)
	}
	s.post("/v1/trust/import", b, nil)
}

// sign signs the releases that are declared.
func (h holders) sign(s *server) { h.bring(s, s.export()) }

// claimed approves the one unit that has enrolled itself, and gives it an owner.
func (s *server) claimed() (id string) {
	s.t.Helper()
	var claims struct{ Items []struct{ ID, UnitID string } }
	until(s.t, 30*time.Second, "a claim", func() bool {
		s.get("/v1/claims?state=pending", &claims)
		return len(claims.Items) == 1
	})
	s.fettle("claim", "approve", claims.Items[0].ID)
	s.owned(claims.Items[0].UnitID)
	return claims.Items[0].UnitID
}

// owned gives a unit an owner who consents.
func (s *server) owned(id string) {
	s.t.Helper()
	name := filepath.Join(s.t.TempDir(), "unit.yaml")
	text := fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: %s}\nspec: {product: wall-charger, serial: %s, batch: A-14, owner: {email: ada@example.com, name: Ada}, consents: [care]}\n", id, agentSerial)
	require.NoError(s.t, os.WriteFile(name, []byte(text), 0o600))
	s.fettle("apply", "-f", name)
}

func (s *server) version(id string) string {
	s.t.Helper()
	var u struct{ Versions map[string]string }
	s.get("/v1/units/"+id, &u)
	return u.Versions["software"]
}

// campaign declares a release of one file and starts a campaign with it.
func (s *server) campaign(name, version, software string) {
	s.t.Helper()
	dir := s.t.TempDir()
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, name+".bin"), []byte(software), 0o600))
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "remedy.yaml"), fmt.Appendf(nil, `apiVersion: fettle.dev/v1
kind: Release
metadata: {name: %[1]s}
spec: {product: wall-charger, version: %[2]s, kind: safety, from: [1.0.0], minutes: 5, notes: {en: Cooler.}, artifact: %[1]s.bin}
---
apiVersion: fettle.dev/v1
kind: Campaign
metadata: {name: %[1]s}
spec:
  product: wall-charger
  kind: safety
  title: {en: Cooler}
  reason: {en: It is too hot.}
  cohort: hot-adapters
  release: %[1]s
  detector: plug-overheat
  waves: [{name: all, share: 1}]
  gate: {soak: 1h, verified: 0.9, failed: 1, relapsed: 0.1}
  exposure: 1m
  deadline: 21d
`, name, version), 0o600))
	s.fettle("apply", "-f", dir)
	s.fettle("campaign", "start", name, "--yes")
}

func (s *server) taskOf(campaign string) (out taskNow) {
	s.t.Helper()
	var page struct{ Items []taskNow }
	s.get("/v1/campaigns/"+campaign+"/tasks", &page)
	if len(page.Items) > 0 {
		out = page.Items[0]
	}
	return out
}

// ownerChooses is the owner in the portal.
func (s *server) ownerChooses(mails *postOffice, choice client.Choice, at time.Time) {
	s.t.Helper()
	caller := client.HTTP(4)
	if s.client != nil {
		caller.Transport = s.client.Transport
	}
	owner := client.Owner{Caller: client.Caller{HTTP: caller, Base: s.url("")}}
	before := mails.link("ada@example.com")
	require.NoError(s.t, owner.AskLink(s.t.Context(), "ada@example.com"))
	until(s.t, 20*time.Second, "the link by mail", func() bool { l := mails.link("ada@example.com"); return l != "" && l != before })
	require.NoError(s.t, owner.Click(s.t.Context(), mails.link("ada@example.com")))
	until(s.t, 20*time.Second, "the offer, and the choice", func() bool {
		updates, err := owner.Updates(s.t.Context())
		if err != nil {
			return false
		}
		for _, u := range updates {
			if owner.Choose(s.t.Context(), u.ID, choice, at) == nil {
				return true
			}
		}
		return false
	})
}

const agentSerial = "AG-7"

// agentUnit is a directory that stands for a Linux unit with one program, app,
// that a service manager runs.
type agentUnit struct {
	t      *testing.T
	s      *server
	binary string
	dir    string
	claim  string
	id     string
	cmd    *exec.Cmd
}

// agentBinary is the agent's program beside the server's, else built once.
func agentBinary(t *testing.T) string {
	t.Helper()
	name := filepath.Join(filepath.Dir(binary), "fettle-agent")
	if os.Getenv("FETTLE_BIN") == "" {
		buildAgent.Do(func() {
			build := exec.CommandContext(t.Context(), "go", "build", "-o", name, "./cmd/fettle-agent")
			build.Dir, build.Env = root(), append(os.Environ(), "CGO_ENABLED=0")
			out, err := build.CombinedOutput()
			require.NoError(t, err, string(out))
		})
	}
	return name
}

var buildAgent sync.Once

func newAgentUnit(t *testing.T, s *server) *agentUnit {
	t.Helper()
	u := &agentUnit{t: t, s: s, dir: t.TempDir(), binary: agentBinary(t)}
	u.claim = strings.TrimSpace(s.fettle("claim", "token", "create", "wall-charger"))
	u.write("claim", u.claim)
	for _, name := range []string{"image", "director"} {
		var rootFile json.RawMessage
		s.get("/v1/trust/roots/"+name, &rootFile)
		u.write(name+".json", string(rootFile))
	}
	u.write("app", "version 1.0.0\nwell\n")
	u.write("running", "version 1.0.0\nwell\n")
	u.write("probes", "")
	u.write("restarts", "")
	u.write("restart.sh", "cp app running\nhead -1 app >>restarts\n")
	u.write("health.sh", "head -1 running >>probes\nwhile [ -e hold ]; do sleep 0.1; done\ngrep -q well running || { echo it is not well; exit 1; }\n")
	u.write("rows", "")
	u.write("agent.yaml", fmt.Sprintf(`
server: %s
mqtt: mqtt://%s
state: %s/state
enroll: {claimTokenFile: claim, serial: %s}
product: wall-charger
roots: {image: image.json, director: director.json}
components:
  software:
    version: {command: [sed, -n, "s/^version //p", %[3]s/app]}
    file: {path: %[3]s/app}
restart: {command: [sh, -c, "cd %[3]s && sh restart.sh"]}
health: {command: [sh, -c, "cd %[3]s && sh health.sh"], attempts: 2, interval: 100ms, timeout: 60s}
inUse: {command: [test, -e, %[3]s/in-use]}
telemetry: [{command: [tail, -n, "+1", -F, %[3]s/rows]}]
poll: 2s
`, s.url(""), s.mqtt, u.dir, agentSerial))
	out, err := exec.CommandContext(t.Context(), u.binary, "config", "--config", filepath.Join(u.dir, "agent.yaml")).CombinedOutput()
	require.NoError(t, err, string(out))
	return u
}

func (u *agentUnit) write(name, text string) {
	u.t.Helper()
	require.NoError(u.t, os.WriteFile(filepath.Join(u.dir, name), []byte(text), 0o600))
}

func (u *agentUnit) remove(name string) {
	u.t.Helper()
	require.NoError(u.t, os.Remove(filepath.Join(u.dir, name)))
}

func (u *agentUnit) file(name string) string {
	u.t.Helper()
	raw, err := os.ReadFile(filepath.Join(u.dir, name))
	require.NoError(u.t, err)
	return string(raw)
}

// collect is what the unit's collector prints.
func (u *agentUnit) collect(rows []map[string]any) {
	u.t.Helper()
	var b bytes.Buffer
	for _, r := range rows {
		r["values"].(map[string]any)["not_declared"] = 1
		raw, err := json.Marshal(r)
		require.NoError(u.t, err)
		b.Write(append(raw, '\n'))
	}
	f, err := os.OpenFile(filepath.Join(u.dir, "rows"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(u.t, err)
	_, err = f.Write(b.Bytes())
	require.NoError(u.t, err)
	require.NoError(u.t, f.Close())
}

func (u *agentUnit) start() {
	u.t.Helper()
	log, err := os.OpenFile(filepath.Join(u.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(u.t, err)
	u.cmd = exec.Command(u.binary, "run", "--config", filepath.Join(u.dir, "agent.yaml"))
	u.cmd.Stdout, u.cmd.Stderr = log, log
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(u.t, u.cmd.Start())
	require.NoError(u.t, log.Close())
	cmd := u.cmd
	u.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if u.t.Failed() {
			u.t.Logf("agent's log:\n%s", u.file("log"))
		}
	})
}

// kill ends the agent as a crash does.
func (u *agentUnit) kill() {
	u.t.Helper()
	require.NoError(u.t, u.cmd.Process.Kill())
	_ = u.cmd.Wait()
}

func (u *agentUnit) try(args ...string) (string, error) {
	out, err := exec.CommandContext(u.t.Context(), u.binary, append(args, "--config", filepath.Join(u.dir, "agent.yaml"))...).CombinedOutput()
	return string(out), err
}

// command is the owner at the unit.
func (u *agentUnit) command(args ...string) string {
	u.t.Helper()
	var out string
	until(u.t, 10*time.Second, strings.Join(args, " "), func() (ok bool) {
		var err error
		out, err = u.try(args...)
		return err == nil
	})
	return out
}

type agentNow struct {
	Update struct {
		State, Waiting string
		Unsent         int
		Counters       map[string]int
		Last           *struct{ Release, Result, Why string }
	}
	Spool struct{ Messages int }
}

func (u *agentUnit) status() (now agentNow) {
	u.t.Helper()
	require.NoError(u.t, json.Unmarshal([]byte(u.command("status", "-o", "json")), &now))
	return now
}

func (u *agentUnit) until(what string, so func(agentNow) bool) (now agentNow) {
	u.t.Helper()
	last := ""
	defer func() {
		if u.t.Failed() {
			u.t.Logf("%s: the agent says %s", what, last)
		}
	}()
	until(u.t, 20*time.Second, what, func() bool {
		out, err := u.try("status", "-o", "json")
		last = out
		now = agentNow{}
		return err == nil && json.Unmarshal([]byte(out), &now) == nil && so(now)
	})
	return now
}
