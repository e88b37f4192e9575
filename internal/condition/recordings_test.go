package condition_test

import (
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// recording opens a file of the recordings: FETTLE_DATA, or shared/data beside
// the clone. Without them the test is skipped, by name; but where shared/ is
// there, CI insists on them.
func recording(t *testing.T, name string) io.Reader {
	t.Helper()
	root := os.Getenv("FETTLE_DATA")
	if root == "" {
		root = "../../../shared/data"
	}
	f, err := os.Open(filepath.Join(root, name))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat("../../../shared"); err == nil && os.Getenv("CI") != "" {
			t.Fatalf("%s is missing, though ../shared is there", name)
		}
		t.Skipf("%s is not here: set FETTLE_DATA", name)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	if filepath.Ext(name) != ".gz" {
		return f
	}
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	return z
}

// tutorial reads the declarations of a tutorial, as they are applied.
func tutorial(t *testing.T, name string) (p fleet.Product, d condition.Detector) {
	t.Helper()
	for file, into := range map[string]any{"product.yaml": &p, "detector.yaml": &d} {
		text, err := os.ReadFile(filepath.Join("../../docs/tutorials", name, file))
		require.NoError(t, err)
		var doc struct {
			Metadata struct{ Name string }
			Spec     map[string]any
		}
		require.NoError(t, yaml.Unmarshal(text, &doc))
		spec, err := json.Marshal(doc.Spec)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(spec, into))
		if file == "product.yaml" {
			p.Name = doc.Metadata.Name
		} else {
			d.Name, d.Version = doc.Metadata.Name, 1
		}
	}
	require.Empty(t, condition.ValidateProduct(&p))
	require.Empty(t, condition.Validate(&p, &d))
	return p, d
}

// play feeds rows live, kept and loaded again every so often, and checks that
// a backtest finds the same.
func play(t *testing.T, p fleet.Product, d condition.Detector, rows []telemetry.Row) []condition.Finding {
	t.Helper()
	ctx := context.Background()
	look := func(_ context.Context, key int64) (condition.Identity, bool, error) {
		return condition.Identity{ID: strconv.FormatInt(key, 10), Product: p.Name}, true, nil
	}
	definitions := []condition.Definition{{Product: p, Detectors: []condition.Detector{d}}}
	e, err := condition.NewEvaluator(look, definitions)
	require.NoError(t, err)
	live, states := map[string]condition.Finding{}, map[int64]condition.State{}
	h := &recorded{seen: map[sample]bool{}}
	feed := func(seq uint64, b *telemetry.Batch) {
		h.append(seq, b)
		for i := range b.Marks {
			require.NoError(t, e.Mark(ctx, &b.Marks[i]))
		}
		for i := range b.Rows {
			require.NoError(t, e.Row(ctx, &b.Rows[i]))
		}
	}
	units := map[int64]fleet.Unit{}
	for _, r := range rows {
		if _, ok := units[r.Unit]; !ok {
			units[r.Unit] = fleet.Unit{ID: strconv.FormatInt(r.Unit, 10), Key: r.Unit, Product: p.Name}
			feed(uint64(len(units)), &telemetry.Batch{Marks: []telemetry.Mark{{Kind: telemetry.MarkConsent, Unit: r.Unit, At: r.Received, Text: "care"}}})
		}
	}
	seq := uint64(len(units))
	for part := range slices.Chunk(rows, 1000) {
		seq++
		feed(seq, &telemetry.Batch{Product: p.Name, Rows: part})
		c, err := e.Take(t.Context())
		require.NoError(t, err)
		for _, f := range c.Findings {
			live[f.ID] = f
		}
		for _, s := range c.States {
			states[s.UnitKey] = s
		}
		e, err = condition.NewEvaluator(look, definitions)
		require.NoError(t, err)
		var all []condition.State
		for _, s := range states {
			all = append(all, s)
		}
		require.NoError(t, e.Load(ctx, all))
	}
	trial := condition.Trial{History: h, Product: p, Detector: d}
	for _, u := range units {
		trial.Units = append(trial.Units, u)
	}
	back, err := trial.Run(ctx)
	require.NoError(t, err)
	require.Len(t, back.Findings, len(live))
	for _, f := range back.Findings {
		require.Equal(t, live[f.ID], f, "live and backtest")
	}
	return back.Findings
}

func TestAmbientTemperature(t *testing.T) {
	t.Parallel()
	const name = "realKnownCause/ambient_temperature_system_failure.csv"
	lines, err := csv.NewReader(recording(t, "nab-dev/data/"+name)).ReadAll()
	require.NoError(t, err)
	var rows []telemetry.Row
	for _, line := range lines[1:] {
		at, err := time.Parse(time.DateTime, line[0])
		require.NoError(t, err)
		v, err := strconv.ParseFloat(line[1], 64)
		require.NoError(t, err)
		rows = append(rows, telemetry.Row{Unit: 1, Event: at.UnixMilli(), Received: at.UnixMilli(), Values: []telemetry.Value{{Signal: "value", Number: v}}})
	}
	var windows map[string][][2]string
	require.NoError(t, json.NewDecoder(recording(t, "nab-dev/windows.json")).Decode(&windows))
	p, d := tutorial(t, "ambient")
	findings := play(t, p, d, rows)
	outside := len(findings)
	require.Len(t, windows[name], 2)
	for _, w := range windows[name] {
		from, err := time.Parse("2006-01-02 15:04:05.000000", w[0])
		require.NoError(t, err)
		to, err := time.Parse("2006-01-02 15:04:05.000000", w[1])
		require.NoError(t, err)
		hits := 0
		for _, f := range findings {
			if !f.OpenedAt.Before(from) && !f.OpenedAt.After(to) {
				hits++
			}
		}
		require.Positive(t, hits, "window %s", w)
		outside -= hits
	}
	require.LessOrEqual(t, outside, 3)
	t.Logf("%d findings, %d outside the labelled windows", len(findings), outside)
}

func TestTurbofans(t *testing.T) {
	t.Parallel()
	lines, err := csv.NewReader(recording(t, "cmapss/train_FD001.csv.gz")).ReadAll()
	require.NoError(t, err)
	columns := lines[0]
	begin := time.Date(2014, 1, 1, 0, 0, 0, 0, time.UTC)
	var rows []telemetry.Row
	life := map[int64]int{}
	for _, line := range lines[1:] {
		unit, err := strconv.ParseInt(line[0], 10, 64)
		require.NoError(t, err)
		cycle, err := strconv.Atoi(line[1])
		require.NoError(t, err)
		life[unit] = cycle
		at := begin.Add(time.Duration(cycle) * time.Hour).UnixMilli()
		r := telemetry.Row{Unit: unit, Event: at, Received: at}
		for _, s := range []string{"s4", "s11"} {
			v, err := strconv.ParseFloat(line[slices.Index(columns, s)], 64)
			require.NoError(t, err)
			r.Values = append(r.Values, telemetry.Value{Signal: s, Number: v})
		}
		rows = append(rows, r)
	}
	require.Len(t, life, 100)
	p, d := tutorial(t, "turbofan")
	first := map[int64]int{} // cycle at which a unit's first finding opened
	for _, f := range play(t, p, d, rows) {
		if _, ok := first[f.UnitKey]; !ok {
			first[f.UnitKey] = int(f.OpenedAt.Sub(begin) / time.Hour)
		}
	}
	warned := 0
	for unit, cycle := range first {
		require.Greater(t, 2*cycle, life[unit], "unit %d is warned in the first half of its life, at cycle %d of %d", unit, cycle, life[unit])
		if life[unit]-cycle >= 10 {
			warned++
		}
	}
	require.GreaterOrEqual(t, warned, 95)
	t.Logf("%d of 100 engines warned 10 cycles or more before their end", warned)
}
