package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/swupdate"
)

// serviceRun declares the release of a file and a campaign of its name for
// every unit of batch A-14, and starts it.
func (s *server) serviceRun(name, release string, artifacts map[string][]byte, sign func()) {
	s.t.Helper()
	dir := s.t.TempDir()
	for file, body := range artifacts {
		require.NoError(s.t, os.WriteFile(filepath.Join(dir, file), body, 0o600))
	}
	write := func(file, text string) string {
		at := filepath.Join(dir, file)
		require.NoError(s.t, os.WriteFile(at, []byte(text), 0o600))
		return at
	}
	s.fettle("apply", "-f", write("release.yaml", fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec:\n%s", name, release)))
	sign()
	s.fettle("cohort", "create", "-f", write("cohort.yaml", "name: batch-a-14\nproduct: wall-charger\nattributes: {batch: [A-14]}\n"))
	s.fettle("apply", "-f", write("campaign.yaml", fmt.Sprintf(`apiVersion: fettle.dev/v1
kind: Campaign
metadata: {name: %[1]s}
spec:
  product: wall-charger
  kind: service
  title: {en: Better charging}
  reason: {en: It is better.}
  cohort: batch-a-14
  release: %[1]s
  detector: plug-overheat
  waves: [{name: all, share: 1}]
  gate: {soak: 1h, verified: 0.9, failed: 1, relapsed: 0.1}
  exposure: 1m
  deadline: 21d
`, name)))
	s.fettle("campaign", "start", name, "--yes")
}

// TestSWUpdateWaitsForItsPrecondition is a real SWUpdate whose battery is at
// 18 % where the release needs 30 %: it is offered nothing, and the API, the
// console and the portal name why; with 35 % it installs.
func TestSWUpdateWaitsForItsPrecondition(t *testing.T) {
	t.Parallel()
	swupdate.Require(t)
	mails := openPostOffice(t)
	s := serve(t, "--smtp", mails.address, "--mail-from", "fettle@example.org", "--poll-interval-offered", "1s")
	product, err := os.ReadFile(filepath.Join(root(), "e2e", "testdata", "charger", "product.yaml"))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "product.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(product), "  tolerances:\n", `    - name: battery
      title: Battery
      type: number
      unit: "%"
      purposes: [operation]
      retention: 90d
      description: Charge of the backup battery.
  tolerances:
`, 1)), 0o600))
	token := s.unitsOf(file, []string{hot})[hot]
	say := func(battery float64) {
		s.publish(hot, token, "fettle/v1/telemetry", map[string]any{"ts": time.Now().UnixMilli(), "values": map[string]any{"battery": battery, "charging": false}})
	}
	s.publish(hot, token, "fettle/v1/attributes", map[string]any{"versions": map[string]string{"software": "1.0.0"}})
	say(18)
	key, installed := swupdate.NewKey(t), filepath.Join(swupdate.Dir(t), "installed")
	unit := swupdate.Start(t, swupdate.Options{URL: s.url(""), UnitID: hot, Token: token, Key: key, Poll: time.Second})
	s.serviceRun("better", `  product: wall-charger
  version: 2.0.0
  kind: fix
  minutes: 5
  notes: {en: Better.}
  preconditions: [{name: charge, when: battery >= 30, age: 1h, words: {en: Plug it in.}}]
  artifact: better.swu
`, map[string][]byte{"better.swu": swupdate.Build(t, key, "2.0.0", installed, []byte("2.0.0"))}, func() {})
	to := strings.ToLower(hot) + "@example.com"
	owner := s.acceptAs(mails, to)

	const why = "Battery at 18 %, needs 30 %"
	var task struct {
		Items []struct {
			Refusal *struct{ Code, Why, Have, Need string }
		}
	}
	until(t, 30*time.Second, "the refusal in the API", func() bool {
		s.get("/v1/campaigns/better/tasks", &task)
		return len(task.Items) == 1 && task.Items[0].Refusal != nil && task.Items[0].Refusal.Why == why
	})
	require.Equal(t, []string{"precondition", "18", "30"}, []string{task.Items[0].Refusal.Code, task.Items[0].Refusal.Have, task.Items[0].Refusal.Need})
	require.Contains(t, s.fettle("campaign", "tasks", "better"), why)
	before := strings.Count(unit.Log(), noAction)
	until(t, 30*time.Second, "SWUpdate asks twice more", func() bool { return strings.Count(unit.Log(), noAction) >= before+2 })
	require.NotContains(t, unit.Log(), "deploymentBase")
	require.NoFileExists(t, installed)

	engineer := browse(t, desk)
	engineer.do("cookie", "name", s.session.Name, "value", s.session.Value, "url", s.url(""))
	engineer.open(s.url("/console/campaigns/better"))
	engineer.see(why)
	name, value, _ := strings.Cut(owner.Cookie, "=")
	engineer.do("cookie", "name", name, "value", value, "url", s.url(""))
	engineer.open(s.url("/my/"))
	engineer.see("18 %")
	engineer.see("30 %")
	engineer.see("Plug it in.")
	engineer.do("leave")

	say(35)
	until(t, 30*time.Second, "SWUpdate installs", func() bool {
		raw, err := os.ReadFile(installed)
		return err == nil && string(raw) == "2.0.0"
	})
	s.publish(hot, token, "fettle/v1/attributes", map[string]any{"versions": map[string]string{"software": "2.0.0"}})
	until(t, 30*time.Second, "installed, by its report", func() bool { return s.taskOf("better").State == "verifying" })
}

// TestAReleaseOfSeveralComponents puts releases of two components onto a unit
// with fettle-agent: in their order, all or nothing, whatever fails.
func TestAReleaseOfSeveralComponents(t *testing.T) {
	t.Parallel()
	mails := openPostOffice(t)
	s := serve(t, "--smtp", mails.address, "--mail-from", "fettle@example.org")
	token := s.units([]string{hot})[hot]
	holders := s.trusted()
	u := newAgentUnit(t, s)
	u.id = hot
	u.write("token", token)
	u.write("controller", "version C1\n")
	config := strings.Replace(u.file("agent.yaml"), "enroll: {claimTokenFile: claim, serial: "+agentSerial+"}", "unit: "+hot+"\ntokenFile: token", 1)
	config = strings.Replace(config, "components:\n", fmt.Sprintf(`components:
  controller:
    version: {command: [sed, -n, "s/^version //p", %[1]s/controller]}
    file: {path: %[1]s/controller}
  maps:
    version: {factory: M1}
    directory: {path: %[1]s/maps}
`, u.dir), 1)
	u.write("agent.yaml", config)
	u.start()
	versions := func() map[string]string {
		var unit struct{ Versions map[string]string }
		s.get("/v1/units/"+hot, &unit)
		return unit.Versions
	}
	until(t, 30*time.Second, "the versions", func() bool { return len(versions()) == 3 })
	was := map[string]string{"software": "1.0.0", "controller": "C1", "maps": "M1"}
	require.Equal(t, was, versions())
	run := func(name string, parts, files [2]string) {
		s.serviceRun(name, fmt.Sprintf(`  product: wall-charger
  version: %s
  kind: fix
  minutes: 5
  notes: {en: Better.}
  parts:
    - {%s, artifact: a.bin}
    - {%s, artifact: b.bin}
`, name, parts[0], parts[1]), map[string][]byte{"a.bin": []byte(files[0]), "b.bin": []byte(files[1])}, func() { holders.sign(s) })
		s.acceptAs(mails, strings.ToLower(hot)+"@example.com")
	}
	failed := func(name, why string) {
		until(t, 40*time.Second, name+" has failed", func() bool { return s.taskOf(name).State == "failed" })
		require.Contains(t, strings.Join(s.taskOf(name).Details, "\n"), why)
		require.Equal(t, was, versions())
		require.Contains(t, u.file("app"), "version 1.0.0")
		require.Contains(t, u.file("controller"), "version C1")
		s.fettle("campaign", "cancel", name, "--yes")
	}

	// The second cannot be made ready: no archive. Nothing is changed.
	run("broken", [2]string{"component: software, version: 1.5.0", "component: maps, version: M2, after: [software]"}, [2]string{"version 1.5.0\nwell\n", "no archive at all"})
	failed("broken", "nothing was changed")
	// Both are in place and the unit is not well: both return.
	run("sick", [2]string{"component: controller, version: C2", "component: software, version: 1.6.0, after: [controller]"}, [2]string{"version C2\n", "version 1.6.0\nill\n"})
	failed("sick", "the version from before runs again")
	// A good one, declared in the other order than it must be installed in.
	run("good", [2]string{"component: software, version: 2.0.0, after: [controller]", "component: controller, version: C3"}, [2]string{"version 2.0.0\nwell\n", "version C3\n"})
	until(t, 40*time.Second, "both", func() bool { return s.taskOf("good").State == "verifying" })
	require.Equal(t, map[string]string{"software": "2.0.0", "controller": "C3", "maps": "M1"}, versions())
}
