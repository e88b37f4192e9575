package cohort_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
)

var start = time.Date(2014, 1, 12, 18, 0, 0, 0, time.UTC)

func charger() fleet.Product {
	care := []string{"care"}
	return fleet.Product{
		Name: "wall-charger", Title: "Wall charger",
		Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisConsent}},
		Signals: []fleet.Signal{
			{Name: "current", Type: fleet.Number, Unit: "A", Purposes: care},
			{Name: "plug_temperature", Type: fleet.Number, Unit: "Cel", Purposes: care},
		},
		Tolerances: []fleet.Tolerance{{Name: "plug", Signal: "plug_temperature", Bands: []fleet.Band{{When: "current >= 16", Max: new(80.0)}}}},
	}
}

// bench is a service over real stores.
type bench struct {
	*cohort.Service
	db         *sqldb.DB
	history    *duckdb.History
	conditions *condition.Service
	clock      *clock.Manual
	last       uint64
	units      []fleet.Unit
	siftFrom   int64
}

func setUp(t *testing.T, units int) *bench {
	t.Helper()
	ctx := t.Context()
	b := &bench{db: sqldbtest.SQLite(t), clock: clock.NewManual(start.Add(24 * time.Hour))}
	h, err := duckdb.Open(ctx, duckdb.Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	b.history = h
	require.NoError(t, h.EnsureProduct(ctx, "wall-charger", map[string]string{"current": "number", "plug_temperature": "number"}))
	require.NoError(t, b.db.Fleet().PutProduct(ctx, charger()))
	var choices []consent.Choice
	for n := range units {
		u := fleet.Unit{
			ID: fmt.Sprintf("WC-%06d", n), Key: int64(n + 1), Product: "wall-charger", Serial: strconv.Itoa(n), Hardware: string(rune('A' + n%3)),
			Batch: fmt.Sprintf("2013-W%02d", n%52), Region: "NO", State: fleet.UnitActive, CreatedAt: start, Attributes: map[string]string{"plug": "NEMA " + strconv.Itoa(n%2)},
		}
		b.units = append(b.units, u)
		if n%10 != 9 {
			choices = append(choices, consent.Choice{ID: strconv.Itoa(n), UnitID: u.ID, Purpose: "care", Given: true, At: start, By: "import"})
		}
	}
	require.NoError(t, b.db.Fleet().PutUnits(ctx, b.units))
	require.NoError(t, b.db.Consent().AddChoices(ctx, choices))
	b.conditions = condition.NewService(condition.Config{Store: b.db.Condition(), Fleet: b.db.Fleet(), Consents: b.db.Consent(), History: h, Clock: b.clock, IDs: &clock.Sequence{Prefix: "c"}})
	_, err = b.conditions.PutDetector(ctx, condition.Detector{
		Name: "plug-overheat", Product: "wall-charger", Type: condition.TypeTolerance, Severity: condition.Critical, Purpose: "care",
		Tolerance: "plug", Hold: fleet.Duration(20 * time.Minute), Exposure: "current >= 16",
	})
	require.NoError(t, err)
	b.Service = b.service()
	return b
}

func (b *bench) service() *cohort.Service {
	return cohort.NewService(cohort.Config{
		Store: b.db.Cohort(), Tx: b.db, Fleet: b.db.Fleet(), Conditions: b.conditions, History: b.history,
		Last: func(context.Context) (uint64, error) { return b.last, nil }, Clock: b.clock, IDs: clock.Random{}, SiftFrom: b.siftFrom,
	})
}

// load stores hours of use of each unit: by number%5, 0 hot, 1 to 3 sound, 4
// too short; units divisible by 7 report nothing.
func (b *bench) load(t *testing.T, rows int) {
	t.Helper()
	step := 10 * time.Minute
	for i := range rows {
		batch := &telemetry.Batch{Product: "wall-charger"}
		at := start.Add(time.Duration(i) * step).UnixMilli()
		for n, u := range b.units {
			if n%7 == 0 || n%5 == 4 && i >= 6 {
				continue
			}
			temperature := 60 + float64(n%10)
			if n%5 == 0 && i >= rows/2 {
				temperature = 90 + float64(i%7)
			}
			batch.Rows = append(batch.Rows, telemetry.Row{Unit: u.Key, Event: at, Received: at, Values: []telemetry.Value{
				{Signal: "current", Number: 20}, {Signal: "plug_temperature", Number: temperature},
			}})
		}
		b.last++
		require.NoError(t, b.history.Append(t.Context(), []telemetry.Sequenced{{Seq: b.last, Batch: batch}}))
	}
}

func (b *bench) ready(t *testing.T, id string) cohort.Snapshot {
	t.Helper()
	var snap cohort.Snapshot
	require.Eventually(t, func() bool {
		var err error
		snap, err = b.Snapshot(t.Context(), id)
		require.NoError(t, err)
		return snap.State != cohort.Computing
	}, 2*time.Minute, 10*time.Millisecond)
	return snap
}

func evidence() cohort.Definition {
	return cohort.Definition{Name: "hot-adapters", Product: "wall-charger", Evidence: &cohort.Evidence{
		Detector: condition.Ref{Name: "plug-overheat"}, From: start, To: start.Add(24 * time.Hour), MinExposure: fleet.Duration(8 * time.Hour),
	}}
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	b := setUp(t, 210)
	b.load(t, 60)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	b.last++ // something is in the stream that history has not stored yet
	snap, err := b.Create(ctx, evidence(), "operator:1")
	require.NoError(t, err)
	require.Equal(t, cohort.Computing, snap.State)
	require.Equal(t, 1, snap.Definition.Evidence.Detector.Version, "the newest version is frozen")
	require.Equal(t, uint64(61), snap.Position)

	// A crash while it is computed: another process takes it up.
	crashed, crash := context.WithCancel(ctx)
	crash()
	require.NoError(t, b.Run(crashed))
	b.Service = b.service()
	go func() { _ = b.Run(ctx) }()
	time.Sleep(100 * time.Millisecond)
	waiting, err := b.Snapshot(ctx, snap.ID)
	require.NoError(t, err)
	require.Equal(t, cohort.Computing, waiting.State, "history is behind")
	require.NoError(t, b.history.Append(ctx, []telemetry.Sequenced{{Seq: b.last, Batch: &telemetry.Batch{}}}))
	snap = b.ready(t, snap.ID)
	require.Equal(t, cohort.Ready, snap.State, snap.Error)

	members, err := b.Members(ctx, snap.ID, "", "", 0)
	require.NoError(t, err)
	require.Len(t, members, 210)
	counts := map[string]int{}
	for n, m := range members {
		counts[m.Code]++
		want := cohort.CodeNoEvidence
		switch {
		case n%10 == 9:
			want = cohort.CodeNoConsent
		case n%7 == 0:
			want = cohort.CodeSilent
		case n%5 == 0:
			want = cohort.CodeEvidence
		case n%5 == 4:
			want = cohort.CodeTooLittle
		}
		require.Equal(t, want, m.Code, m.UnitID)
	}
	require.Equal(t, counts[cohort.CodeEvidence], snap.In)
	require.Equal(t, counts[cohort.CodeNoEvidence], snap.Out)
	require.Equal(t, 210-snap.In-snap.Out, snap.NotJudgeable)
	require.Equal(t, cohort.Member{
		UnitID: "WC-000005", UnitKey: 6, List: cohort.In, Code: cohort.CodeEvidence, Exposure: 9*time.Hour + 50*time.Minute,
		Reason: "plug_temperature up to 94 °C, above 80 °C for 20 min while current >= 16, from 2014-01-12 23:00 UTC to 2014-01-13 03:50 UTC, peak 96 °C",
	}, members[5])
	require.Equal(t, cohort.Member{UnitID: "WC-000001", UnitKey: 2, List: cohort.Out, Code: cohort.CodeNoEvidence, Exposure: 9*time.Hour + 50*time.Minute, Reason: "9.8 h of exposure, no breach"}, members[1])
	require.Equal(t, "0.8 h of exposure, 8 h needed; last heard of 2014-01-12 18:50 UTC", members[4].Reason)
	require.Equal(t, "the owner has not consented to care", members[9].Reason)
	require.Equal(t, "nothing received from 2014-01-12 18:00 UTC to 2014-01-13 18:00 UTC", members[0].Reason)

	// Reproducible: what comes later changes nothing at that position.
	at := start.Add(11 * time.Hour).UnixMilli()
	for i := range 3 {
		b.last++
		require.NoError(t, b.history.Append(ctx, []telemetry.Sequenced{{Seq: b.last, Batch: &telemetry.Batch{Product: "wall-charger", Rows: []telemetry.Row{
			{Unit: 2, Event: at + int64(i)*1_200_000, Received: at + int64(i)*1_200_000, Values: []telemetry.Value{{Signal: "current", Number: 20}, {Signal: "plug_temperature", Number: 99}}},
		}}}}))
	}
	again, err := b.Recompute(ctx, snap.ID)
	require.NoError(t, err)
	require.Equal(t, members, again)
	newer, err := b.Create(ctx, evidence(), "operator:1")
	require.NoError(t, err)
	require.Equal(t, snap.In+1, b.ready(t, newer.ID).In)
	byName, err := b.SnapshotByName(ctx, "hot-adapters")
	require.NoError(t, err)
	require.Equal(t, newer.ID, byName.ID)
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	b := setUp(t, 210)
	b.load(t, 60)
	go func() { _ = b.Run(t.Context()) }()
	for name, tt := range map[string]struct {
		change     func(d *cohort.Definition)
		in         func(n int) bool
		reasonOf20 string
	}{
		"alone": {func(d *cohort.Definition) { d.Evidence = nil }, func(n int) bool { return n%3 == 2 && n%52 == 20 }, "hardware C, batch 2013-W20"},
		"or":    {func(*cohort.Definition) {}, func(n int) bool { return n%3 == 2 && n%52 == 20 || n%5 == 0 && n%7 != 0 }, "hardware C, batch 2013-W20"},
		"and":   {func(d *cohort.Definition) { d.Match = "all" }, func(n int) bool { return n == 20 }, "hardware C, batch 2013-W20"},
		"names-of-their-own": {func(d *cohort.Definition) {
			d.Evidence, d.Attributes = nil, &cohort.Attributes{Other: map[string][]string{"plug": {"NEMA 0", "NEMA 7"}}}
		}, func(n int) bool { return n%2 == 0 }, "plug NEMA 0"},
	} {
		d := evidence()
		d.Name, d.Attributes = name, &cohort.Attributes{Hardware: []string{"C"}, Batch: []string{"2013-W20"}}
		tt.change(&d)
		snap, err := b.Create(t.Context(), d, "operator:1")
		require.NoError(t, err)
		snap = b.ready(t, snap.ID)
		require.Equal(t, cohort.Ready, snap.State, snap.Error)
		members, err := b.Members(t.Context(), snap.ID, "", "", 0)
		require.NoError(t, err)
		for n, m := range members {
			require.Equal(t, tt.in(n), m.List == cohort.In, "%s: %+v", name, m)
		}
		require.Contains(t, members[20].Reason, tt.reasonOf20)
	}
}

func TestCreateRefuses(t *testing.T) {
	t.Parallel()
	b := setUp(t, 1)
	for name, tt := range map[string]struct {
		d     cohort.Definition
		paths []string
	}{
		"nothing":   {cohort.Definition{}, []string{"name", "product", "evidence"}},
		"no such":   {cohort.Definition{Name: "x", Product: "wall-charger", FindingID: "f", Evidence: &cohort.Evidence{Detector: condition.Ref{Name: "d"}, From: start}}, []string{"findingId", "evidence.detector"}},
		"name":      {cohort.Definition{Name: "Bad Name", Product: "wall-charger", Attributes: &cohort.Attributes{Batch: []string{"1"}}}, []string{"name"}},
		"backwards": {cohort.Definition{Name: "x", Product: "wall-charger", Match: "some", Attributes: &cohort.Attributes{}, Evidence: &cohort.Evidence{Detector: condition.Ref{Name: "plug-overheat"}, From: start, To: start}}, []string{"match", "attributes", "evidence.from"}},
		"match":     {cohort.Definition{Name: "x", Product: "wall-charger", Match: "all", Attributes: &cohort.Attributes{Batch: []string{"1"}}}, []string{"match"}},
	} {
		_, err := b.Create(t.Context(), tt.d, "operator:1")
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
		var paths []string
		for _, f := range fault.FieldsOf(err) {
			paths = append(paths, f.Path)
		}
		require.Equal(t, tt.paths, paths, name)
	}
}

func TestSuggestFrom(t *testing.T) {
	t.Parallel()
	b := setUp(t, 104)
	var findings []condition.Finding
	for _, n := range []int{20, 72} { // all of batch 2013-W20
		findings = append(findings, condition.Finding{
			ID: "f-" + strconv.Itoa(n), Detector: condition.Ref{Name: "plug-overheat", Version: 1}, Severity: condition.Critical, UnitID: b.units[n].ID, UnitKey: b.units[n].Key,
			Product: "wall-charger", State: condition.Open, Onset: start, OpenedAt: start, SeenAt: start, LastAt: start, Why: "hot",
		})
	}
	require.NoError(t, b.db.Condition().Commit(t.Context(), "all", 1, findings, nil))
	s, err := b.SuggestFrom(t.Context(), "f-20")
	require.NoError(t, err)
	now := b.clock.Now()
	require.Equal(t, &cohort.Evidence{Detector: condition.Ref{Name: "plug-overheat", Version: 1}, From: now.Add(-cohort.DefaultRange), To: now, MinExposure: cohort.DefaultMinExposure}, s.Definition.Evidence)
	require.Equal(t, "f-20", s.Definition.FindingID)
	require.Equal(t, cohort.Shared{Attribute: "batch", Value: "2013-W20", Affected: 2, Of: 2, Fleet: 2, Lift: 52}, s.Shared[0])
	_, err = b.Create(t.Context(), s.Definition, "operator:1")
	require.NoError(t, err, "what is suggested can be created")
	_, err = b.SuggestFrom(t.Context(), "x")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

// The fleet of the 2014 story: FETTLE_SCALE=1 go test -run Scale -v.
func TestScale(t *testing.T) {
	t.Parallel()
	if os.Getenv("FETTLE_SCALE") == "" {
		t.Skip("set FETTLE_SCALE: it takes a minute")
	}
	b := setUp(t, 29_222)
	b.load(t, 230)
	begun := time.Now()
	members, err := b.Create(t.Context(), evidence(), "operator:1")
	require.NoError(t, err)
	go func() { _ = b.Run(t.Context()) }()
	snap := b.ready(t, members.ID)
	require.Equal(t, cohort.Ready, snap.State, snap.Error)
	t.Logf("%d in, %d out, %d not judgeable after %s", snap.In, snap.Out, snap.NotJudgeable, time.Since(begun))
	require.Less(t, time.Since(begun), time.Minute)
}
