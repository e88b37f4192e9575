package e2e

import (
	"bytes"
	bits "encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestBadSamples sends what is no sample of a signal, what its owner has not
// allowed, and what is too large: it is answered, counted, and never stored.
func TestBadSamples(t *testing.T) {
	t.Parallel()
	s := serve(t)
	token := s.units([]string{"WC-000001", "WC-000002", "WC-000003"}, "WC-000002")
	now := time.Now().UnixMilli()
	const year = 366 * 24 * int64(time.Hour/time.Millisecond)

	var want account
	for _, c := range []struct {
		name, body string
		status     int
		want       string
		count      account
	}{
		{"a sample", fmt.Sprintf(`{"ts":%d,"values":{"current":5}}`, now), 200, `"kept":1`, account{Stored: 1}},
		{"the same again", fmt.Sprintf(`{"ts":%d,"values":{"current":5}}`, now), 200, `"kept":1`, account{Duplicate: 1}},
		{"NaN", fmt.Sprintf(`{"ts":%d,"values":{"current":NaN}}`, now+1), 200, "current: expected a finite number", account{Invalid: 1}},
		{"infinite", fmt.Sprintf(`{"ts":%d,"values":{"current":Infinity,"plug_temperature":-Infinity}}`, now+2), 200, "expected a finite number", account{Invalid: 2}},
		{"beyond a double", fmt.Sprintf(`{"ts":%d,"values":{"current":1e999}}`, now+3), 200, "expected a finite number", account{Invalid: 1}},
		{"another type", fmt.Sprintf(`{"ts":%d,"values":{"current":"much","charging":3}}`, now+4), 200, "current: expected a number", account{Invalid: 2}},
		{"null", fmt.Sprintf(`{"ts":%d,"values":{"current":null}}`, now+5), 200, "current: expected a number", account{Invalid: 1}},
		{"a clock a year behind", fmt.Sprintf(`{"ts":%d,"values":{"current":6}}`, now-year), 200, "event time is more than 180d behind the server's clock", account{Invalid: 1}},
		{"a clock a year ahead", fmt.Sprintf(`{"ts":%d,"values":{"current":6}}`, now+year), 200, "event time is more than 1d ahead of the server's clock", account{Invalid: 1}},
		{"a clock at 1970", `{"ts":0,"values":{"current":6}}`, 200, "event time is before the year 2000", account{Invalid: 1}},
		{"a clock beyond reason", `{"ts":1e300,"values":{"current":6}}`, 200, "ahead of the server's clock", account{Invalid: 1}},
		{"undeclared", fmt.Sprintf(`{"ts":%d,"values":{"colour":"red","current":7}}`, now+6), 200, `"undeclared":1`, account{Undeclared: 1, Stored: 1}},
		{"no time", `{"ts":"yesterday","values":{"current":5}}`, 400, "ts: expected Unix time in milliseconds", account{}},
		{"no JSON", `nonsense`, 400, "telemetry: expected JSON", account{}},
		{"no object", `[1,2]`, 400, `[0]: expected an object with \"values\"`, account{}},
		{"nothing", ``, 400, "telemetry: expected JSON", account{}},
		{"a mebibyte", `{"values":{"current":5,"label":"` + strings.Repeat("x", 1<<20) + `"}}`, 413, "at most 1048576 bytes are taken at once", account{}},
	} {
		status, text := s.post1("WC-000001", token["WC-000001"], c.body)
		require.Equal(t, c.status, status, "%s: %s", c.name, text)
		require.Contains(t, text, c.want, c.name)
		want.Stored += c.count.Stored
		want.Duplicate += c.count.Duplicate
		want.Invalid += c.count.Invalid
		want.Undeclared += c.count.Undeclared
	}
	want.UnitID = "WC-000001"
	want.Acknowledged = want.Stored + want.Duplicate + want.Invalid + want.Undeclared
	require.Equal(t, want, s.accounting("WC-000001"))

	s.othersTopics(token)
	s.neverStored(token, now)
}

// othersTopics tries topics of other units, and a mebibyte, over MQTT.
func (s *server) othersTopics(token map[string]string) {
	t, id := s.t, "WC-000001"
	before := s.accounting(id)
	large := filepath.Join(t.TempDir(), "large")
	require.NoError(t, os.WriteFile(large, []byte(`{"values":{"label":"`+strings.Repeat("x", 1<<20)+`"}}`), 0o600))
	sample := `{"values":{"current":11}}`
	for _, version := range []string{"mqttv311", "mqttv5"} {
		for _, topic := range []string{"fettle/v1/units/WC-000003/telemetry", "WC-000003/fettle/v1/telemetry", "fettle/v1/desired", "$SYS/broker"} {
			out, err := s.mosquitto(version, id, token[id], "mosquitto_pub", "-q", "1", "-t", topic, "-m", sample)
			if version == "mqttv311" { // 3.1.1 can only close the connection
				require.Error(t, err, "%s: %s", topic, out)
			} else {
				require.Contains(t, out, "Not authorized", topic)
			}
		}
		for _, topic := range []string{"#", "fettle/v1/telemetry", "fettle/v1/units/WC-000003/desired", "+/v1/desired", "$SYS/#"} {
			out, _ := s.mosquitto(version, id, token[id], "mosquitto_sub", "-t", topic, "-W", "1")
			require.Contains(t, out, "denied", topic)
		}
		// A user name that is not the token's unit.
		out, err := s.mosquitto(version, "WC-000003", token[id], "mosquitto_pub", "-q", "1", "-t", "fettle/v1/telemetry", "-m", sample)
		require.Error(t, err, out)
		// Too large: 3.1.1 is cut off; a client of 5 knows the limit and sends nothing.
		out, err = s.mosquitto(version, id, token[id], "mosquitto_pub", "-q", "1", "-t", "fettle/v1/telemetry", "-f", large)
		if version == "mqttv311" {
			require.Error(t, err, out)
		}
	}
	require.Equal(t, before, s.accounting(id))
	require.Equal(t, account{UnitID: "WC-000003"}, s.accounting("WC-000003"))
	// It is still served.
	out, err := s.mosquitto("mqttv5", id, token[id], "mosquitto_pub", "-q", "1", "-t", "fettle/v1/telemetry", "-m", sample)
	require.NoError(t, err, out)
	require.Equal(t, before.Stored+1, s.accounting(id).Stored)
}

// neverStored looks for values that may not be kept in every answer and in
// every byte of the data directory; beside them one that may be is found.
func (s *server) neverStored(token map[string]string, now int64) {
	const private, undeclared, kept = 7731.7731, 8842.8842, 9953.9953
	const word = "zebra-in-the-garage"
	t := s.t
	body := fmt.Sprintf(`{"ts":%d,"values":{"current":%g,"secret":%g,"%s":"%s"}}`, now+10, private, undeclared, word, word)
	status, text := s.post1("WC-000002", token["WC-000002"], body)
	require.Equal(t, 200, status, text)
	out, err := s.mosquitto("mqttv311", "WC-000002", token["WC-000002"], "mosquitto_pub", "-q", "1", "-t", "fettle/v1/telemetry", "-m", body)
	require.NoError(t, err, out)
	status, text = s.post1("WC-000003", token["WC-000003"], fmt.Sprintf(`{"ts":%d,"values":{"current":%g}}`, now+10, kept))
	require.Equal(t, 200, status, text)
	require.Equal(t, account{UnitID: "WC-000002", Acknowledged: 6, NotConsented: 2, Undeclared: 4}, s.accounting("WC-000002"))

	from, to := time.UnixMilli(now).Add(-time.Hour), time.UnixMilli(now).Add(time.Hour)
	require.Empty(t, s.series("WC-000002", "current", from, to, 100))
	require.NotEmpty(t, s.series("WC-000003", "current", from, to, 100))
	var latest struct {
		Items []struct {
			Signal   string
			Number   *float64
			Withheld bool
		}
	}
	s.get("/v1/units/WC-000002/latest", &latest)
	for _, v := range latest.Items {
		require.Nil(t, v.Number, v.Signal)
	}
	require.Equal(t, 422, s.status(http.MethodGet, "/v1/units/WC-000002/series?signal=secret&from=2020-01-01T00:00:00Z&to=2030-01-01T00:00:00Z", s.token, nil))

	s.stop()
	number := func(v float64) [][]byte {
		return [][]byte{bits.LittleEndian.AppendUint64(nil, math.Float64bits(v)), bits.BigEndian.AppendUint64(nil, math.Float64bits(v)), fmt.Appendf(nil, "%g", v)}
	}
	require.NotEmpty(t, filesWith(t, s.dir, number(kept)), "what was kept is found: this search can find")
	require.Empty(t, filesWith(t, s.dir, append(append(number(private), number(undeclared)...), []byte(word))))
}

// filesWith gives the files below dir that hold one of the patterns.
func filesWith(t *testing.T, dir string, patterns [][]byte) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, p := range patterns {
			if bytes.Contains(raw, p) {
				out = append(out, path)
				break
			}
		}
		return err
	}))
	return out
}

// TestBurstBeyondThePayload sends, from many units at once, messages so large
// that one commit outgrows what an entry of the stream may hold, and single
// messages that do so alone. Nothing is lost.
func TestBurstBeyondThePayload(t *testing.T) {
	t.Parallel()
	const units, notes, rounds, size = 16, 256, 2, 4000
	s := serve(t)
	var b strings.Builder
	b.WriteString(`apiVersion: fettle.dev/v1
kind: Product
metadata: {name: logger}
spec:
  title: Logger
  purposes:
    - {name: operation, title: Operation, description: It cannot run without., basis: necessary}
  signals:
`)
	for i := range notes {
		fmt.Fprintf(&b, "    - {name: note_%03d, type: text, purposes: [operation], retention: 30d, description: A note.}\n", i)
	}
	var ids []string
	for i := range units {
		id := fmt.Sprintf("LG-%03d", i)
		ids = append(ids, id)
		fmt.Fprintf(&b, "---\napiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: %s}\nspec: {product: logger, serial: %s}\n", id, id)
	}
	file := filepath.Join(t.TempDir(), "logger.yaml")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	s.fettle("apply", "-f", file)
	var tokens struct {
		Items []struct{ UnitID, Token string }
	}
	s.post("/v1/unit-tokens", map[string]any{"units": ids}, &tokens)

	note := func(unit string, round, i int) string {
		return (fmt.Sprintf("%s %d %d ", unit, round, i) + strings.Repeat("ab", size))[:size]
	}
	at := time.Now().Add(-time.Minute).UnixMilli()
	var wg sync.WaitGroup
	answers := make([][]int, units)
	for u, item := range tokens.Items {
		wg.Go(func() {
			for round := range rounds {
				values := map[string]string{}
				for i := range notes {
					values[fmt.Sprintf("note_%03d", i)] = note(item.UnitID, round, i)
				}
				raw, _ := json.Marshal(map[string]any{"ts": at + int64(round), "values": values})
				status, _ := s.post1(item.UnitID, item.Token, string(raw))
				answers[u] = append(answers[u], status)
			}
		})
	}
	wg.Wait()
	for _, a := range answers {
		require.Equal(t, []int{200, 200}, a)
	}
	for i, item := range tokens.Items {
		if i == 0 {
			s.settled()
		}
		require.Equal(t, account{UnitID: item.UnitID, Acknowledged: notes * rounds, Stored: notes * rounds}, s.accounted(item.UnitID))
		var latest struct {
			Items []struct{ Signal, Text string }
		}
		s.get("/v1/units/"+item.UnitID+"/latest", &latest)
		require.Len(t, latest.Items, notes)
		for _, v := range latest.Items {
			var n int
			_, err := fmt.Sscanf(v.Signal, "note_%d", &n)
			require.NoError(t, err)
			require.Equal(t, note(item.UnitID, rounds-1, n), v.Text, v.Signal)
		}
	}
}
