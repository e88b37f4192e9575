package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/client"
)

// settingsProgram is a unit's own: one JSON file, replaced at once. It writes
// what it is given to "asked", waits while there is a file "hold", and refuses
// what the file "refuse" says.
const settingsProgram = `set -eu
case ${1:-} in
get) cat values ;;
set)
	cat >wanted
	cat wanted >>asked; echo >>asked
	while [ -e hold ]; do sleep 0.05; done
	if [ -e refuse ]; then cat refuse; exit 1; fi
	cp wanted values.new; mv values.new values
	;;
*) exit 2 ;;
esac
`

// TestTheAgentsSettings changes a parameter and a feature of a unit with
// fettle-agent, over MQTT with TLS and a client certificate, then by polls:
// the owner agrees, nothing is changed during use, the agent is killed in the
// middle; drift shows, a refusal is named, and the way back is a campaign.
func TestTheAgentsSettings(t *testing.T) {
	t.Parallel()
	mails := openPostOffice(t)
	dir := t.TempDir()
	cert, _ := certify(t, dir, "server", 1)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	crt, mqtts := filepath.Join(dir, "server.crt"), freeAddress(t)
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	s := &server{
		t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t), scheme: "https", client: trusting,
		args: []string{"--tls-cert", crt, "--tls-key", filepath.Join(dir, "server.key"), "--mqtts", mqtts, "--smtp", mails.address, "--mail-from", "fettle@example.org"},
	}
	s.start()
	s.env = []string{"SSL_CERT_FILE=" + crt}
	s.signIn()
	s.fettle("apply", "-f", "e2e/testdata/charger/product.yaml")

	u := newSettingsUnit(t, s, dir, mqtts)
	u.start()
	u.id = s.claimed()
	until(t, 30*time.Second, "what the unit is set to", func() bool {
		return u.settings()["max_current"] == "32" && u.settings()["solar_charging"] == "false"
	})
	require.Contains(t, u.file("log"), "connected over MQTT")
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("cohort.yaml", "name: these\nproduct: wall-charger\nattributes: {batch: [A-14]}\n")
	s.fettle("cohort", "create", "-f", filepath.Join(dir, "cohort.yaml"))

	// The owner agrees; the unit is in use; then the agent dies half way.
	u.setting("usual", 1, `{parameters: {max_current: 32}, features: {solar_charging: false}}`)
	u.setting("gentle", 2, `{parameters: {max_current: 16}, features: {solar_charging: true}}`)
	u.write("in-use", "")
	u.write("hold", "")
	u.campaign("gentle")
	require.Empty(t, u.file("asked"), "nothing before the owner's word")
	u.agrees(mails)
	until(t, 30*time.Second, "why it waits", func() bool {
		return strings.Contains(strings.Join(s.taskOf("gentle").Details, "\n"), "waiting: max_current: the unit is in use")
	})
	require.Empty(t, u.file("asked"))
	require.Contains(t, u.command("status"), "the server says 16, waiting: the unit is in use")
	u.kill() // it asks every 30 s, and when it is started
	u.remove("in-use")
	u.start()
	until(t, 30*time.Second, "the change has begun", func() bool { return u.file("asked") != "" })
	u.kill()
	require.Contains(t, u.file("values"), "32", "the old values, whole")
	u.remove("hold")
	u.start()
	until(t, 30*time.Second, "set, and told", func() bool { return s.taskOf("gentle").State == "verifying" })
	require.JSONEq(t, `{"parameters":{"max_current":16},"features":{"solar_charging":true}}`, u.file("values"))
	require.Equal(t, "16", u.settings()["max_current"])

	// Somebody sets it otherwise on the unit: it stays, and is seen.
	asked := u.file("asked")
	u.write("values", `{"parameters":{"max_current":20},"features":{"solar_charging":true}}`)
	until(t, 30*time.Second, "drift", func() bool { return strings.Contains(s.fettle("settings", "--drift"), u.id) })
	require.Contains(t, u.command("status"), "max_current is 20, the server says 16")
	u.kill()

	// The way back: the old content under a higher counter, fetched by polls.
	config := strings.Replace(u.file("agent.yaml"), "mqtt:", "#", 1)
	u.write("agent.yaml", config)
	u.start()
	until(t, 30*time.Second, "the server is asked", func() bool { return strings.Contains(u.command("status"), "server    connected") })
	require.Equal(t, asked, u.file("asked"), "a value is taken once")
	s.fettle("campaign", "cancel", "gentle", "--yes")
	var back struct{ Release string }
	s.post("/v1/releases/gentle/revert", map[string]any{"why": "too slow", "name": "back"}, &back)
	require.Equal(t, "back", back.Release)
	u.campaign("back")
	u.agrees(mails)
	until(t, 30*time.Second, "the way back", func() bool { return s.taskOf("back").State == "verifying" })
	require.JSONEq(t, `{"parameters":{"max_current":32},"features":{"solar_charging":false}}`, u.file("values"))
	require.NotContains(t, s.fettle("settings", "--drift"), u.id)
	s.fettle("campaign", "cancel", "back", "--yes")

	// What the unit refuses has failed, by its words; it is told what it was told before.
	u.write("refuse", `{"refused": {"max_current": "the cable carries 10 A"}}`)
	u.setting("more", 9, `{parameters: {max_current: 30}}`)
	u.campaign("more")
	u.agrees(mails)
	until(t, 30*time.Second, "the refusal", func() bool { return s.taskOf("more").State == "failed" })
	require.Contains(t, strings.Join(s.taskOf("more").Details, "\n"), "max_current: the cable carries 10 A")
	require.Equal(t, "32", u.settings()["max_current"])
	require.NotContains(t, s.fettle("settings", "--drift"), u.id)
	require.NotContains(t, u.file("log"), u.claim, "no secret is logged")
}

// settingsUnit is a unit with an agent that has settings and no components.
type settingsUnit struct{ *agentUnit }

func newSettingsUnit(t *testing.T, s *server, certificates, mqtts string) *settingsUnit {
	t.Helper()
	u := &settingsUnit{&agentUnit{t: t, s: s, dir: t.TempDir(), binary: agentBinary(t)}}
	certify(t, u.dir, "unit", 7)
	u.claim = strings.TrimSpace(s.fettle("claim", "token", "create", "wall-charger"))
	u.write("claim", u.claim)
	u.write("program.sh", settingsProgram)
	u.write("values", `{"parameters":{"max_current":32},"features":{"solar_charging":false}}`)
	u.write("asked", "")
	u.write("agent.yaml", fmt.Sprintf(`
server: %s
mqtt: mqtts://%s
ca: %s/server.crt
certificate: {cert: unit.crt, key: unit.key}
state: %s/state
enroll: {claimTokenFile: claim, serial: %s}
product: wall-charger
settings: {command: [sh, -c, 'cd %[4]s && exec sh program.sh "$@"', settings], every: 1s, timeout: 60s}
inUse: {command: [test, -e, %[4]s/in-use]}
poll: 1s
`, s.url(""), mqtts, certificates, u.dir, agentSerial))
	out, err := u.try("config")
	require.NoError(t, err, out)
	return u
}

// setting declares a release of settings.
func (u *settingsUnit) setting(name string, counter int, values string) {
	u.t.Helper()
	u.apply(fmt.Sprintf("kind: Release\nmetadata: {name: %s}\nspec: {product: wall-charger, version: %[1]s, kind: fix, counter: %d, minutes: 1, notes: {en: Gentler.}, settings: %s}\n", name, counter, values))
}

// campaign starts a campaign with a release of its name.
func (u *settingsUnit) campaign(name string) {
	u.t.Helper()
	u.apply(fmt.Sprintf(`kind: Campaign
metadata: {name: %[1]s}
spec:
  product: wall-charger
  kind: service
  title: {en: A setting}
  reason: {en: It is gentler.}
  cohort: these
  release: %[1]s
  detector: plug-overheat
  waves: [{name: all, share: 1}]
  gate: {soak: 1h, verified: 0.9, failed: 1, relapsed: 0.1}
  exposure: 1m
  deadline: 21d
`, name))
	u.s.fettle("campaign", "start", name, "--yes")
}

func (u *settingsUnit) apply(text string) {
	u.t.Helper()
	file := filepath.Join(u.t.TempDir(), "x.yaml")
	require.NoError(u.t, os.WriteFile(file, []byte("apiVersion: fettle.dev/v1\n"+text), 0o600))
	u.s.fettle("apply", "-f", file)
}

// agrees is the owner, who says start now.
func (u *settingsUnit) agrees(mails *postOffice) {
	u.t.Helper()
	u.s.ownerChooses(mails, client.Now, time.Time{})
}

// settings is what the server knows of what the unit is set to.
func (u *settingsUnit) settings() map[string]string {
	u.t.Helper()
	var list struct {
		Items []struct {
			Name     string
			Reported json.RawMessage
		}
	}
	u.s.get("/v1/units/"+u.id+"/settings", &list)
	out := map[string]string{}
	for _, x := range list.Items {
		out[x.Name] = string(x.Reported)
	}
	return out
}
