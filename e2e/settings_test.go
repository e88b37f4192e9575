package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/natsd"
	"fettle.dev/fettle/internal/peer/postgres"
)

// A parameter is changed over the air with mosquitto's own clients as the
// unit: nothing before the owner's word, then told while connected, reported,
// verified on telemetry; and drift is seen.
func TestSettingsOverTheAir(t *testing.T) {
	t.Parallel()
	tool(t, "mosquitto_sub")
	mails := openPostOffice(t)
	s := serve(t, "--smtp", mails.address)
	tokens, finding := s.watched()
	s.fettle("cohort", "create", "--finding", finding, "--name", "hot-adapters")
	s.fettle("apply", "-f", "e2e/testdata/charger/settings.yaml")
	s.fettle("campaign", "start", "adapter-overheat", "--yes")

	heard := s.listen(hot, tokens[hot])
	require.NotContains(t, heard.String(), "max_current", "the owner has said nothing yet")

	s.accept(mails)
	until(t, 30*time.Second, "the setting, pushed", func() bool { return strings.Contains(heard.String(), `"parameters":{"max_current":16}`) })
	require.Contains(t, heard.String(), `"features":{"solar_charging":true}`)
	until(t, 30*time.Second, "it runs", func() bool { return s.task() == "installing" })

	report := func(body string) {
		out, err := s.mosquitto("mqttv311", hot, tokens[hot], "mosquitto_pub", "-q", "1", "-t", "fettle/v1/attributes", "-m", body)
		require.NoError(t, err, out)
	}
	report(`{"parameters":{"max_current":16.0},"features":{"solar_charging":true}}`)
	until(t, 30*time.Second, "what the unit reports counts", func() bool { return s.task() == "verifying" })
	s.publish(hot, tokens[hot], "fettle/v1/telemetry", charge(time.Now().Add(-10*time.Minute), 45)[:5])

	report(`{"parameters":{"max_current":32}}`) // somebody reset it
	until(t, 30*time.Second, "drift", func() bool { return strings.Contains(s.fettle("settings", "--drift"), hot) })
	var list []struct {
		Kind, Name        string
		Desired, Reported json.RawMessage
		Drifted           bool
	}
	require.NoError(t, json.NewDecoder(bytes.NewBufferString(s.fettle("settings", hot, "-o", "json"))).Decode(&list))
	require.Len(t, list, 2)
	require.Equal(t, []any{"max_current", "16", "32", true}, []any{list[0].Name, string(list[0].Desired), string(list[0].Reported), list[0].Drifted})

	out, err := s.mosquitto("mqttv5", hot, tokens[hot], "mosquitto_pub", "-q", "1", "-d", "-t", "fettle/v1/attributes", "-m", `{"parameters":{"height":1}}`)
	require.NoError(t, err, out)
	require.NotContains(t, s.fettle("settings", hot), "height", "what the product does not declare is not kept")
}

// A unit that is connected to a process of role ingest hears of a change there,
// and refuses it there: its own, and no other unit's.
func TestSettingsAreRefusedAtAnIngestProcess(t *testing.T) {
	t.Parallel()
	tool(t, "mosquitto_sub")
	mails := openPostOffice(t)
	s := &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t), args: []string{
		"--records", postgres.Start(t).Database(t, ""), "--bus", natsd.Start(t).URL, "--smtp", mails.address,
	}}
	s.start()
	s.signIn()
	tokens, finding := s.watched()
	i := &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t), args: append(slices.Clone(s.args), "--role", "ingest")}
	i.start()
	until(t, 30*time.Second, "the door is open", func() bool { return i.status("GET", "/readyz", "", nil) == 200 })
	s.fettle("cohort", "create", "--finding", finding, "--name", "hot-adapters")
	s.fettle("apply", "-f", "e2e/testdata/charger/settings.yaml")
	s.fettle("campaign", "start", "adapter-overheat", "--yes")
	heard := i.listen(hot, tokens[hot])
	s.accept(mails)
	until(t, 30*time.Second, "the setting, pushed", func() bool { return strings.Contains(heard.String(), `"parameters":{"max_current":16}`) })
	until(t, 30*time.Second, "it runs", func() bool { return s.task() == "installing" })
	number := regexp.MustCompile(`"parameter:max_current":(\d+)`).FindStringSubmatch(heard.String())
	require.Len(t, number, 2, heard.String())

	refuse := func(unit string) (string, error) {
		return i.mosquitto("mqttv5", unit, tokens[unit], "mosquitto_pub", "-q", "1", "-d", "-t", "fettle/v1/attributes",
			"-m", `{"refused":{"max_current":"the cable carries 10 A"},"revisions":{"parameter:max_current":`+number[1]+`}}`)
	}
	out, _ := refuse(cool)
	require.Contains(t, out, "RC:153", "the payload is refused")
	require.InDelta(t, 1, i.metrics()[`fettle_unit_refused_total{reason="action"}`], 0)
	require.Equal(t, "installing", s.task(), "another unit's word ends nothing")
	out, err := refuse(hot)
	require.NoError(t, err, out)
	until(t, 30*time.Second, "the refusal is heard where campaigns are run", func() bool {
		return strings.Contains(s.fettle("campaign", "tasks", "adapter-overheat", "-o", "json"), "the cable carries 10 A")
	})
}

// listen is a unit that is told what to do by MQTT.
func (s *server) listen(unit, token string) *lines {
	s.t.Helper()
	host, port, _ := strings.Cut(s.mqtt, ":")
	sub := exec.CommandContext(s.t.Context(), "mosquitto_sub", "-h", host, "-p", port, "-u", unit, "-P", token, "-i", "display", "-t", "fettle/v1/desired")
	heard := &lines{}
	sub.Stdout, sub.Stderr = heard, heard
	require.NoError(s.t, sub.Start())
	s.t.Cleanup(func() { _ = sub.Process.Kill(); _ = sub.Wait() })
	until(s.t, 30*time.Second, "what to collect", func() bool { return strings.Contains(heard.String(), `"collect"`) })
	return heard
}
