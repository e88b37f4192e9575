package e2e

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/recording"
)

// found is a finding as the operators' commands print it, live or by backtest.
type found struct {
	ID       string    `json:"id"`
	UnitID   string    `json:"unitId"`
	Severity string    `json:"severity"`
	State    string    `json:"state"`
	Onset    time.Time `json:"onset"`
	OpenedAt time.Time `json:"openedAt"`
	SeenAt   time.Time `json:"seenAt"`
	LastAt   time.Time `json:"lastAt"`
	Cleared  time.Time `json:"cleared"`
	Why      string    `json:"why"`
	ClearWhy string    `json:"clearWhy"`
	Peak     float64   `json:"peak"`
	Late     bool      `json:"late"`
}

// evidence is what the recording alone decides: not the unit's key, which the
// id is made of, nor when it was received.
func evidence(of []found) []found {
	of = slices.Clone(of)
	for i := range of {
		of[i].ID, of[i].SeenAt = "", time.Time{}
	}
	return of
}

func byOnset(of []found) []found {
	slices.SortFunc(of, func(a, b found) int {
		return max(-1, min(1, 2*a.Onset.Compare(b.Onset)+strings.Compare(a.ID, b.ID)))
	})
	return of
}

// findings are what live has found, by onset.
func (s *server) findings(of ...string) (out []found) {
	s.t.Helper()
	s.settled()
	require.NoError(s.t, json.Unmarshal([]byte(s.fettle(append([]string{"finding", "list", "-o", "json"}, of...)...)), &out))
	return byOnset(out)
}

type trial struct {
	Findings                        []found
	Total, Judged, Withheld, NoData int
}

func (s *server) backtest(detector string, span ...string) (out trial) {
	s.t.Helper()
	args := append([]string{"backtest", "-f", detector, "-o", "json"}, span...)
	require.NoError(s.t, json.Unmarshal([]byte(s.fettle(args...)), &out))
	byOnset(out.Findings)
	return out
}

// labels reads a recording's labelled windows, moved by as much as it is.
func labels(t *testing.T, name string, by time.Duration) (out [][2]time.Time) {
	t.Helper()
	raw, err := os.ReadFile(recording.Path(t, "nab-dev/windows.json"))
	require.NoError(t, err)
	var all map[string][][2]string
	require.NoError(t, json.Unmarshal(raw, &all))
	for _, w := range all[name] {
		var span [2]time.Time
		for i := range span {
			at, err := time.Parse("2006-01-02 15:04:05.999999", w[i])
			require.NoError(t, err)
			span[i] = at.Add(by)
		}
		out = append(out, span)
	}
	return out
}

const (
	ambient      = "realKnownCause/ambient_temperature_system_failure.csv"
	ambientRows  = 7267
	ambientRules = "docs/tutorials/ambient/detector.yaml"
)

// room is a server that knows the tutorial's room, and a replay of its
// recording, moved so that it ends about now.
func room(t *testing.T) (s *server, replay []string, moved time.Duration) {
	t.Helper()
	file := recording.Path(t, "nab-dev/data/"+ambient)
	begin := time.Date(2013, 7, 4, 0, 0, 0, 0, time.UTC)
	at := time.Now().UTC().Add(-330 * 24 * time.Hour).Truncate(24 * time.Hour)
	s = serve(t, "--max-event-age", "400d")
	out := s.fettle("apply", "-f", "docs/tutorials/ambient")
	require.Contains(t, out, "unit RS-000001")
	return s, []string{
		"replay", "--product", "room-sensor", "--unit", "RS-000001", "--file", file, "--map", "value",
		"--mqtt", "mqtt://" + s.mqtt, "--start-at", at.Format(time.RFC3339),
	}, at.Sub(begin)
}

// TestAmbientTemperature plays a machine room's year over MQTT: both failures
// that people labelled are found, by live and by backtest alike, before and
// after a restart.
func TestAmbientTemperature(t *testing.T) {
	t.Parallel()
	s, replay, moved := room(t)
	out := s.fettle(replay...)
	require.Contains(t, out, "7267 rows acknowledged, 7267 samples")
	require.Equal(t, account{UnitID: "RS-000001", Acknowledged: ambientRows, Stored: ambientRows}, s.accounting("RS-000001"))

	live := s.findings()
	windows := labels(t, ambient, moved)
	require.Len(t, windows, 2)
	outside := len(live)
	for _, w := range windows {
		hits := 0
		for _, f := range live {
			if !f.OpenedAt.Before(w[0]) && !f.OpenedAt.After(w[1]) {
				hits++
			}
		}
		require.Positive(t, hits, "labelled window %s is hit", w)
		outside -= hits
	}
	require.LessOrEqual(t, outside, 3)
	t.Logf("%d findings: both labelled windows hit, %d outside", len(live), outside)

	back := s.backtest(ambientRules)
	require.Equal(t, live, back.Findings)
	require.Equal(t, trial{Findings: back.Findings, Total: len(live), Judged: 1}, back)
	// A part of history gives the findings of that part.
	from := windows[0][0].Add(-7 * 24 * time.Hour)
	second := s.backtest(ambientRules, "--from", from.Format(time.RFC3339), "--to", time.Now().UTC().Add(time.Hour).Format(time.RFC3339))
	require.Equal(t, slices.DeleteFunc(slices.Clone(live), func(f found) bool { return f.Onset.Before(from) }), second.Findings)

	s.stop()
	s.start()
	require.Equal(t, live, s.findings(), "findings outlive a restart")
	require.Equal(t, live, s.backtest(ambientRules).Findings)

	t.Run("in the console", func(t *testing.T) {
		s.seeUnit(t, "ambient", "RS-000001", time.Now().Add(-335*24*time.Hour), time.Now(), "Air temperature", "Room too warm or too cold")
	})

	// A server that is killed in the middle finds the very same.
	t.Run("killed in the middle", func(t *testing.T) {
		s, _, _ := room(t)
		replay := slices.Clone(replay)
		replay[slices.Index(replay, "--mqtt")+1] = "mqtt://" + s.mqtt
		replay = append(replay, "--speed", "1e7") // about 3 s
		cmd := exec.CommandContext(t.Context(), binary, replay...)
		cmd.Dir = root()
		cmd.Env = append(os.Environ(), "FETTLE_SERVER="+s.url(""), "FETTLE_TOKEN="+s.token, "HOME="+t.TempDir())
		text := &lines{}
		cmd.Stdout, cmd.Stderr = text, text
		require.NoError(t, cmd.Start())
		until(t, 30*time.Second, "the replay is under way", func() bool { return s.metrics()["fettle_stream_position"] > 60 })
		s.kill()
		s.start()
		require.NoError(t, cmd.Wait(), text.String())
		require.Contains(t, text.String(), "7267 rows acknowledged, 7267 samples")
		again := 0
		if m := regexp.MustCompile(`(\d+) rows sent again`).FindStringSubmatch(text.String()); m != nil {
			again, _ = strconv.Atoi(m[1])
		}
		a := s.accounting("RS-000001")
		require.EqualValues(t, ambientRows, a.Stored, "each row once, and none missing")
		require.LessOrEqual(t, a.Duplicate, int64(again), "duplicates are what was sent again")
		require.Equal(t, account{UnitID: a.UnitID, Acknowledged: ambientRows + a.Duplicate, Stored: ambientRows, Duplicate: a.Duplicate}, a)
		t.Logf("killed: %d rows sent again, %d of them had been stored", again, a.Duplicate)

		killed := s.findings()
		require.Equal(t, evidence(live), evidence(killed))
		require.Equal(t, killed, s.backtest(ambientRules).Findings)
	})
}

// lives gives the last cycle of each engine of the recording.
func lives(t *testing.T, file string) map[string]int {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	rows, err := csv.NewReader(z).ReadAll()
	require.NoError(t, err)
	out := map[string]int{}
	for _, r := range rows[1:] {
		unit, err := strconv.Atoi(r[0])
		require.NoError(t, err)
		cycle, err := strconv.Atoi(r[1])
		require.NoError(t, err)
		out[fmt.Sprintf("TF-%03d", unit)] = cycle
	}
	return out
}

// TestTurbofans plays a hundred engines run to failure: they are warned in time
// and not too soon. One more, whose owner has not consented, is left alone.
func TestTurbofans(t *testing.T) {
	t.Parallel()
	file := recording.Path(t, "cmapss/train_FD001.csv.gz")
	const rules = "docs/tutorials/turbofan/detector.yaml"
	s := serve(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "private.yaml"), []byte(`apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: TF-PRIVATE}
spec: {product: turbofan, serial: TF-PRIVATE}
`), 0o600))
	s.fettle("apply", "-f", "docs/tutorials/turbofan", "-f", dir)

	begin := time.Now().UTC().Add(-20 * 24 * time.Hour).Truncate(time.Hour)
	replay := []string{
		"replay", "--product", "turbofan", "--file", file, "--time", "cycle", "--step", "1h", "--from", begin.Format(time.RFC3339),
		"--map", "s4", "--map", "s11", "--mqtt", "mqtt://" + s.mqtt,
	}
	out := s.fettle(append(replay, "--unit", "TF-{000}", "--unit-column", "unit")...)
	require.Contains(t, out, "20631 rows acknowledged, 41262 samples")
	// The private engine repeats the life of the first, which ends in a finding.
	first := filepath.Join(dir, "first.csv")
	writeFirstEngine(t, file, first)
	replay[slices.Index(replay, file)] = first
	s.fettle(append(replay, "--unit", "TF-PRIVATE")...)

	life := lives(t, file)
	require.Len(t, life, 100)
	live := s.findings()
	warned := map[string]int{} // cycle at which a unit was first warned
	for _, f := range live {
		require.NotEqual(t, "TF-PRIVATE", f.UnitID, "a finding without consent")
		if _, ok := warned[f.UnitID]; !ok {
			warned[f.UnitID] = int(f.OpenedAt.Sub(begin) / time.Hour)
		}
	}
	require.Contains(t, warned, "TF-001")
	inTime := 0
	for unit, cycle := range warned {
		require.Greater(t, 2*cycle, life[unit], "%s is warned in the first half of its life, at cycle %d of %d", unit, cycle, life[unit])
		if life[unit]-cycle >= 10 {
			inTime++
		}
	}
	require.GreaterOrEqual(t, inTime, 95)
	t.Logf("%d of %d engines warned 10 cycles or more before their end, none in the first half of life; %d findings", inTime, len(life), len(live))

	back := s.backtest(rules)
	require.Equal(t, live, back.Findings)
	require.Equal(t, trial{Findings: back.Findings, Total: len(live), Judged: 100, Withheld: 1}, back)

	t.Run("in the console", func(t *testing.T) {
		s.seeUnit(t, "turbofan", "TF-007", begin, begin.Add(12*24*time.Hour), "Compressor outlet pressure", "Compressor worn")
	})

	var total int64
	for unit, cycles := range life {
		a := s.accounted(unit)
		require.Equal(t, account{UnitID: unit, Acknowledged: int64(2 * cycles), Stored: int64(2 * cycles)}, a)
		total += a.Stored
	}
	require.EqualValues(t, 41262, total)
	n := int64(2 * life["TF-001"])
	require.Equal(t, account{UnitID: "TF-PRIVATE", Acknowledged: n, NotConsented: n}, s.accounted("TF-PRIVATE"))
	require.Empty(t, s.series("TF-PRIVATE", "s11", begin, time.Now(), 10))
}

// seeUnit looks at a unit's page as an engineer does.
func (s *server) seeUnit(t *testing.T, tutorial, unit string, from, to time.Time, says ...string) {
	t.Helper()
	at := browse(t, desk)
	at.do("cookie", "name", s.session.Name, "value", s.session.Value, "url", s.url(""))
	span := url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
	at.open(s.url("/console/units/" + unit + "?" + span.Encode()))
	for _, what := range append(says, "acknowledged") {
		at.see(what)
	}
	at.shot(tutorial, "")
}

// accounted reads an account after the stream was settled.
func (s *server) accounted(id string) (a account) {
	s.t.Helper()
	s.get("/v1/units/"+id+"/accounting", &a)
	return a
}

// writeFirstEngine writes the lines of engine 1 alone.
func writeFirstEngine(t *testing.T, file, to string) {
	t.Helper()
	in, err := os.Open(file)
	require.NoError(t, err)
	defer in.Close()
	z, err := gzip.NewReader(in)
	require.NoError(t, err)
	rows, err := csv.NewReader(z).ReadAll()
	require.NoError(t, err)
	out, err := os.Create(to)
	require.NoError(t, err)
	w := csv.NewWriter(out)
	for i, r := range rows {
		if i == 0 || r[0] == "1" {
			require.NoError(t, w.Write(r))
		}
	}
	w.Flush()
	require.NoError(t, w.Error())
	require.NoError(t, out.Close())
}
