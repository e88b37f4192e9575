package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const drying = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: dryer}
spec:
  title: Dryer
  purposes:
    - {name: tips, title: Tips, description: To say at the right moment what helps., basis: consent}
  signals:
    - {name: load, type: number, unit: kg, purposes: [tips], retention: 90d, description: Laundry in the drum.}
  features:
    - {name: strong, title: Strong programme, purposes: [tips], retention: 90d}
  feeds:
    - name: weather
      title: Weather of the test
      by: region
      regions: {north: {latitude: 59.95, longitude: 10.75}}
      time: /properties/timeseries/0/time
      http: {url: "%s/compact?lat={latitude}&lon={longitude}", every: 1m, headers: {Authorization: "Bearer {secret:weather}"}}
      variables:
        - {name: humidity, type: number, unit: "%%", path: /properties/timeseries/0/data/instant/details/relative_humidity, age: 2h}
---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: D-1}
spec: {product: dryer, serial: "1", region: north, owner: {email: kim@example.com, name: Kim, locale: de, timeZone: %s}, consents: [tips]}
---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: D-2}
spec: {product: dryer, serial: "2", region: north, owner: {email: lo@example.com, name: Lo, locale: en, timeZone: %[2]s}}
---
apiVersion: fettle.dev/v1
kind: Tip
metadata: {name: humid-today}
spec:
  product: dryer
  purpose: tips
  when: weather.humidity > 75 && load > 1 && feature.strong.never
  title: {en: "Humid today ({weather.humidity} %%)", de: "Heute feucht ({weather.humidity} %%)"}
  text: {en: Use the stronger programme., de: Nimm das stärkere Programm.}
  action: {label: {en: Use it, de: Nehmen}, command: "programme:strong"}
  feature: strong
  holdout: 0
  valid: 1h
`

// From a forecast in met.no's shape and a unit's telemetry to its display over
// MQTT, in its owner's language; what the owner does there; never twice, also
// across kill -9; not for who does not permit it.
func TestTips(t *testing.T) {
	t.Parallel()
	tool(t, "mosquitto_sub")
	var asked atomic.Int64
	weather := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer s3cret" || r.URL.RawQuery != "lat=59.95&lon=10.75" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		asked.Add(1)
		fmt.Fprintf(w, `{"properties":{"timeseries":[{"time":%q,"data":{"instant":{"details":{"relative_humidity":86.1}}}}]}}`, time.Now().UTC().Add(-time.Minute).Format(time.RFC3339))
	}))
	t.Cleanup(weather.Close)
	secrets := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(secrets, "weather"), []byte("s3cret\n"), 0o600))
	s := serve(t, "--feed-secrets", secrets, "--feed-networks", "127.0.0.1")
	file := filepath.Join(t.TempDir(), "dryer.yaml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, drying, weather.URL, awakeZone()), 0o600))
	s.fettle("apply", "-f", file)
	require.Contains(t, s.fettle("get", "tips"), "humid-today")
	tokens := map[string]string{}
	for _, unit := range []string{"D-1", "D-2"} {
		tokens[unit] = strings.TrimSpace(s.fettle("unit", "token", unit))
	}
	heard := map[string]*lines{}
	listen := func() {
		host, port, _ := strings.Cut(s.mqtt, ":")
		for unit, token := range tokens {
			sub := exec.CommandContext(t.Context(), "mosquitto_sub", "-h", host, "-p", port, "-u", unit, "-P", token, "-i", "display", "-t", "fettle/v1/tips")
			heard[unit] = &lines{}
			sub.Stdout, sub.Stderr = heard[unit], heard[unit]
			require.NoError(t, sub.Start())
			t.Cleanup(func() { _ = sub.Process.Kill(); _ = sub.Wait() })
			until(t, 30*time.Second, "what there is to show", func() bool { return strings.Contains(heard[unit].String(), `{"tips":`) })
		}
	}
	listen()
	load := func(kg float64) {
		for unit, token := range tokens {
			out, err := s.mosquitto("mqttv5", unit, token, "mosquitto_pub", "-q", "1", "-t", "fettle/v1/telemetry", "-m", fmt.Sprintf(`{"values":{"load":%g}}`, kg))
			require.NoError(t, err, out)
		}
	}
	load(4)
	until(t, 30*time.Second, "the tip on the display", func() bool { return strings.Contains(heard["D-1"].String(), "Heute feucht (86,1 %)") })
	require.NotContains(t, heard["D-2"].String(), "umid", "its owner has not consented")
	var shown struct {
		Tips []struct{ ID, Text, Action, Command string }
	}
	last := strings.TrimSpace(heard["D-1"].String())
	require.NoError(t, json.Unmarshal([]byte(last[strings.LastIndex(last, "\n")+1:]), &shown))
	require.Equal(t, []string{"Nimm das stärkere Programm.", "Nehmen", "programme:strong"}, []string{shown.Tips[0].Text, shown.Tips[0].Action, shown.Tips[0].Command})

	s.kill() // and the same again
	s.start()
	listen()
	require.Contains(t, heard["D-1"].String(), shown.Tips[0].ID, "it is valid still")
	load(5)
	out, err := s.mosquitto("mqttv311", "D-1", tokens["D-1"], "mosquitto_pub", "-q", "1", "-t", "fettle/v1/tips/events", "-m", fmt.Sprintf(`[{"id":%q,"event":"shown"},{"id":%[1]q,"event":"acted"}]`, shown.Tips[0].ID))
	require.NoError(t, err, out)
	until(t, 30*time.Second, "it is gone from the display", func() bool { return strings.HasSuffix(strings.TrimSpace(heard["D-1"].String()), `{"tips":[]}`) })
	load(6)
	time.Sleep(time.Second)
	require.True(t, strings.HasSuffix(strings.TrimSpace(heard["D-1"].String()), `{"tips":[]}`), "not a second time")
	require.Positive(t, asked.Load())

	var trial struct {
		Would int
		Few   bool
		Units int
	}
	r := s.request(http.MethodPost, "/v1/tips/try", s.token, map[string]any{"name": "humid-today"})
	require.NoError(t, json.NewDecoder(r.Body).Decode(&trial))
	require.NoError(t, r.Body.Close())
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.True(t, trial.Few && trial.Would == 0, "one unit would have got it, which is told nobody: %+v", trial)
	require.Contains(t, s.fettle("tip", "effect", "humid-today"), "fewer than 10")
}
