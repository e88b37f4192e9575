package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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

	host, port, _ := strings.Cut(s.mqtt, ":")
	sub := exec.CommandContext(t.Context(), "mosquitto_sub", "-h", host, "-p", port, "-u", hot, "-P", tokens[hot], "-i", "display", "-t", "fettle/v1/desired")
	heard := &lines{}
	sub.Stdout, sub.Stderr = heard, heard
	require.NoError(t, sub.Start())
	t.Cleanup(func() { _ = sub.Process.Kill(); _ = sub.Wait() })
	until(t, 30*time.Second, "what to collect", func() bool { return strings.Contains(heard.String(), `"collect"`) })
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
