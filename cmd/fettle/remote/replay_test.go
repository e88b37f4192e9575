package remote

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/mqttc/mqttctest"
)

// doors stand for a server: what was published by each unit with the right token.
type doors struct {
	mqtt, http string

	mu   sync.Mutex
	seen map[string][]string
}

func openDoors(t *testing.T) *doors {
	t.Helper()
	d := &doors{seen: map[string][]string{}}
	d.mqtt = "mqtt://" + (&mqttctest.Server{
		Refuse: func(user, password string) byte {
			if password != "fut_"+user {
				return 5
			}
			return 0
		},
		Take: func(user string, p *packets.PublishPacket) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.seen[user] = append(d.seen[user], string(p.Payload))
			return true
		},
	}).Start(t).Addr
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer fet_x" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"product":"engine"}`)
			return
		}
		var in struct{ Units []string }
		_ = json.NewDecoder(r.Body).Decode(&in)
		var out struct {
			Items []map[string]string `json:"items"`
		}
		for _, u := range in.Units {
			out.Items = append(out.Items, map[string]string{"unitId": u, "token": "fut_" + u})
		}
		_ = json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(s.Close)
	d.http = s.URL
	return d
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	b := []byte(text)
	if filepath.Ext(name) == ".gz" {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		_, _ = z.Write(b)
		require.NoError(t, z.Close())
		b = buf.Bytes()
	}
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

func replayWith(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	cmd := &cobra.Command{Use: "fettle", SilenceUsage: true, SilenceErrors: true}
	Add(cmd, "test", nil)
	cmd.SetArgs(append([]string{"replay"}, args...))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

const temperatures = "timestamp,value\n2013-07-04 00:00:00,69.88\n2013-07-04 01:00:00,71.22\n"

func TestReplayOneUnitWithItsToken(t *testing.T) {
	t.Parallel()
	d := openDoors(t)
	out, err := replayWith(t, "--unit", "R-1", "--file", write(t, "a.csv", temperatures), "--map", "value=temperature", "--unit-token", "fut_R-1", "--mqtt", d.mqtt)
	require.NoError(t, err, out)
	require.Contains(t, out, "2 rows acknowledged, 2 samples")
	require.Equal(t, []string{`{"ts":1372896000000,"values":{"temperature":69.88}}`, `{"ts":1372899600000,"values":{"temperature":71.22}}`}, d.seen["R-1"])
}

func TestReplayManyUnitsWhoseTokensAreIssued(t *testing.T) {
	t.Parallel()
	d := openDoors(t)
	file := write(t, "a.csv.gz", "unit,cycle,s4\n1,1,5\n2,1,6\n1,2,7\n")
	out, err := replayWith(t, "--product", "engine", "--unit", "E-{000}", "--file", file, "--unit-column", "unit", "--time", "cycle", "--step", "1h",
		"--start-at", "2024-01-01T00:00:00Z", "--map", "s4", "--mqtt", d.mqtt, "--server", d.http, "--token", "fet_x")
	require.NoError(t, err, out)
	require.Equal(t, map[string][]string{
		"E-001": {`{"ts":1704067200000,"values":{"s4":5}}`, `{"ts":1704070800000,"values":{"s4":7}}`},
		"E-002": {`{"ts":1704067200000,"values":{"s4":6}}`},
	}, d.seen)
}

func TestReplayTokensFileAndShift(t *testing.T) {
	t.Parallel()
	d := openDoors(t)
	tokens := write(t, "tokens.csv", "unit,token\nA,fut_A\nB,fut_B\n")
	out, err := replayWith(t, "--unit", "A,B", "--file", write(t, "a.csv", temperatures), "--map", "value", "--tokens-file", tokens, "--shift", "--mqtt", d.mqtt)
	require.NoError(t, err, out)
	for _, unit := range []string{"A", "B"} {
		require.Len(t, d.seen[unit], 2)
		var last struct{ TS int64 }
		require.NoError(t, json.Unmarshal([]byte(d.seen[unit][1]), &last))
		require.InDelta(t, time.Now().UnixMilli(), last.TS, 60_000)
	}
}

func TestReplaySaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := openDoors(t)
	file := write(t, "a.csv", temperatures)
	many := write(t, "b.csv", "unit,timestamp,value\n1,2013-07-04,5\n2,2013-07-04,6\n")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a wrong token":     {[]string{"--unit", "A", "--map", "value", "--file", file, "--unit-token", "fut_B"}, "is the token right"},
		"no token":          {[]string{"--unit", "A", "--map", "value", "--file", file}, "--unit-token or --tokens-file"},
		"another product":   {[]string{"--product", "room", "--unit", "A", "--map", "value", "--file", file, "--server", d.http, "--token", "fet_x"}, "is of product engine, not room"},
		"a token for two":   {[]string{"--unit", "A,B", "--map", "value", "--file", file, "--unit-token", "x"}, "--tokens-file"},
		"a missing unit":    {[]string{"--unit", "A", "--map", "value", "--file", many, "--unit-column", "unit", "--unit-token", "x"}, "holds 2 units, --unit names 1"},
		"a missing column":  {[]string{"--unit", "A", "--map", "speed", "--file", file, "--unit-token", "x"}, `no column "speed"`},
		"counts, no origin": {[]string{"--unit", "A", "--map", "value", "--file", file, "--step", "1h", "--unit-token", "x"}, "--step needs --from"},
		"a server":          {[]string{"--unit", "A", "--map", "value", "--file", file, "--unit-token", "x", "--mqtt", "localhost"}, "is not a server"},
		"a speed":           {[]string{"--unit", "A", "--map", "value", "--file", file, "--unit-token", "x", "--speed", "fast"}, "--speed fast"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := c.args
			if name != "a server" {
				args = append(args, "--mqtt", d.mqtt)
			}
			_, err := replayWith(t, args...)
			require.ErrorContains(t, err, c.want)
		})
	}
}
