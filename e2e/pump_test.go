package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/recording"
)

// rig writes the tutorial's two files: sixteen runs as one recording, and when
// the valve was closed.
func rig(t *testing.T, dir string) (data, failures string) {
	t.Helper()
	rows, closed := &bytes.Buffer{}, &bytes.Buffer{}
	fmt.Fprintln(rows, "time,rig,accelerometer1,accelerometer2,current,pressure,temperature,thermocouple,voltage,flow")
	fmt.Fprintln(closed, "unit,time,until,component")
	for i := range 16 {
		raw, err := os.ReadFile(recording.Path(t, fmt.Sprintf("skab-valve1/%d.csv", i)))
		require.NoError(t, err)
		from, until := "", ""
		s := bufio.NewScanner(bytes.NewReader(raw))
		for s.Scan() {
			f := strings.Split(strings.ReplaceAll(strings.TrimSpace(s.Text()), ";", ","), ",")
			if f[0] == "datetime" || len(f) < 11 {
				continue
			}
			fmt.Fprintf(rows, "%s,PR-1,%s\n", f[0], strings.Join(f[1:9], ","))
			if strings.HasPrefix(f[9], "1") {
				if until = f[0]; from == "" {
					from = f[0]
				}
			}
		}
		fmt.Fprintf(closed, "PR-1,%s,%s,valve\n", from, until)
	}
	data, failures = filepath.Join(dir, "rig.csv"), filepath.Join(dir, "closed.csv")
	require.NoError(t, os.WriteFile(data, rows.Bytes(), 0o600))
	require.NoError(t, os.WriteFile(failures, closed.Bytes(), 0o600))
	return data, failures
}

// tried is a backtest with its thresholds.
type tried struct {
	trial
	ID       string
	Failures int
	Declared int

	Thresholds []struct {
		Text                 string
		Alarms, Found, False int
		InAlarm              float64
		LeadTimeP50          *float64
	}
}

// TestPumpRig goes the tutorial's way: the file alone, then a service that is
// killed while it tries, and its live findings: all say the same.
func TestPumpRig(t *testing.T) {
	t.Parallel()
	data, failures := rig(t, t.TempDir())
	s := serve(t, "--max-event-age", "36500d")
	flags := []string{"--failures", failures, "--horizon", "10s", "--late", "2m", "-o", "json"}
	run := func(args ...string) (out tried) {
		require.NoError(t, json.Unmarshal([]byte(s.fettle(append(append([]string{"backtest"}, args...), flags...)...)), &out))
		byOnset(out.Findings)
		return out
	}
	file := run("-f", "docs/tutorials/pump", "--data", data, "--unit", "rig")
	require.Equal(t, 16, file.Failures)
	declared := file.Thresholds[file.Declared]
	require.GreaterOrEqual(t, declared.Found, 12, "closed valves found")
	require.LessOrEqual(t, declared.False, 8)
	require.Less(t, declared.InAlarm, 0.5)
	require.Less(t, *declared.LeadTimeP50, 0.0, "nobody foresees a hand on a valve")
	require.Greater(t, len(file.Thresholds), 5)

	s.fettle("apply", "-f", "docs/tutorials/pump")
	replay := []string{"replay", "--product", "pump-rig", "--unit", "PR-1", "--unit-column", "rig", "--file", data, "--time", "time", "--mqtt", "mqtt://" + s.mqtt}
	for _, c := range []string{"accelerometer1", "accelerometer2", "current", "pressure", "temperature", "thermocouple", "voltage", "flow"} {
		replay = append(replay, "--map", c)
	}
	require.Contains(t, s.fettle(replay...), "18160 rows acknowledged")
	live := s.findings()
	require.Len(t, live, len(file.Findings))
	for i, f := range file.Findings {
		require.Equal(t, []any{f.Onset, f.OpenedAt, f.Cleared, f.Why, f.Peak}, []any{live[i].Onset, live[i].OpenedAt, live[i].Cleared, live[i].Why, live[i].Peak}, "live and file")
	}

	began := s.fettle("backtest", "rig-odd", "--background", "--failures", failures, "--horizon", "10s", "--late", "2m")
	s.kill()
	s.start()
	back := run("rig-odd")
	require.Equal(t, live, back.Findings, "live and backtest")
	require.Equal(t, file.Thresholds, back.Thresholds)
	id, _, _ := strings.Cut(began, " ")
	var outlived tried
	require.NoError(t, json.Unmarshal([]byte(s.fettle("backtest", "show", id, "--limit", "1000", "-o", "json")), &outlived))
	require.Equal(t, back.Thresholds, outlived.Thresholds, "the job that was killed")
	t.Logf("%d of 16 closed valves found, %d false alarms, %.0f s after it, in alarm %.0f %%", declared.Found, declared.False, -*declared.LeadTimeP50, 100*declared.InAlarm)
}
