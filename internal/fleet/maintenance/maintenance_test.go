package maintenance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

func day(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n) }

func TestLives(t *testing.T) {
	t.Parallel()
	const part = "fan"
	rec := func(d int, k maintenance.Kind, r maintenance.Reason, batch string) maintenance.Record {
		return maintenance.Record{UnitID: "u", At: day(d), Part: part, Kind: k, Reason: r, Batch: batch}
	}
	type span struct {
		from, to      int
		failed, alive bool
		batch         string
	}
	for name, c := range map[string]struct {
		created int
		state   fleet.UnitState
		records []maintenance.Record
		want    []span
		unknown int
	}{
		"nothing on record":               {want: []span{{0, 100, false, true, "b0"}}},
		"retired":                         {state: fleet.UnitRetired, want: []span{{0, 100, false, false, "b0"}}},
		"failed, not replaced":            {records: []maintenance.Record{rec(10, maintenance.Failure, "", "")}, want: []span{{0, 10, true, false, "b0"}}},
		"failed, put right":               {records: []maintenance.Record{rec(10, maintenance.Failure, "", ""), rec(12, maintenance.Maintenance, "", "")}, want: []span{{0, 10, true, false, "b0"}, {12, 100, false, true, ""}}},
		"replaced because it failed":      {records: []maintenance.Record{rec(10, maintenance.Replacement, maintenance.Failed, "b1")}, want: []span{{0, 10, true, false, "b0"}, {10, 100, false, true, "b1"}}},
		"failed, replaced later":          {records: []maintenance.Record{rec(14, maintenance.Replacement, maintenance.Failed, "b1"), rec(10, maintenance.Failure, "", "")}, want: []span{{0, 10, true, false, "b0"}, {14, 100, false, true, "b1"}}},
		"replaced in time":                {records: []maintenance.Record{rec(10, maintenance.Replacement, maintenance.Preventive, "b1")}, want: []span{{0, 10, false, false, "b0"}, {10, 100, false, true, "b1"}}},
		"serviced":                        {records: []maintenance.Record{rec(10, maintenance.Maintenance, "", "")}, want: []span{{0, 100, false, true, "b0"}}},
		"put in before it was registered": {created: 50, records: []maintenance.Record{rec(10, maintenance.Installation, "", "b1"), rec(40, maintenance.Failure, "", "")}, want: []span{{10, 40, true, false, "b1"}}},
		"put in later":                    {records: []maintenance.Record{rec(10, maintenance.Installation, "", "b1")}, want: []span{{10, 100, false, true, "b1"}}},
		"put in twice":                    {records: []maintenance.Record{rec(10, maintenance.Installation, "", "b1"), rec(20, maintenance.Installation, "", "b2")}, want: []span{{10, 20, false, false, "b1"}, {20, 100, false, true, "b2"}}},
		"failed before it was registered": {created: 50, records: []maintenance.Record{rec(10, maintenance.Failure, "", "")}, unknown: 1},
		"of another part":                 {records: []maintenance.Record{{UnitID: "u", At: day(3), Part: "pump", Kind: maintenance.Failure}}, want: []span{{0, 100, false, true, "b0"}}},
		"not yet":                         {records: []maintenance.Record{rec(101, maintenance.Failure, "", "")}, want: []span{{0, 100, false, true, "b0"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := fleet.Unit{ID: "u", Key: 7, CreatedAt: day(c.created), Batch: "b0", Hardware: "A", State: fleet.UnitActive}
			if c.state != "" {
				u.State = c.state
			}
			lives, unknown := maintenance.Lives([]fleet.Unit{u}, c.records, part, day(100))
			var got []span
			for i, l := range lives {
				require.Equal(t, i+1, l.Number)
				require.EqualValues(t, 7, l.UnitKey)
				got = append(got, span{int(l.From.Sub(day(0)).Hours() / 24), int(l.To.Sub(day(0)).Hours() / 24), l.Failed, l.Alive, l.Batch})
			}
			require.Equal(t, c.want, got)
			require.Equal(t, c.unknown, unknown)
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := maintenance.Record{UnitID: "u", At: day(0), Part: "fan", Kind: maintenance.Replacement, Reason: maintenance.Failed, Note: "two\nlines"}
	require.Empty(t, good.Validate(day(1)))
	for path, spoil := range map[string]func(*maintenance.Record){
		"unitId":  func(r *maintenance.Record) { r.UnitID = "" },
		"at":      func(r *maintenance.Record) { r.At = day(5) },
		"kind":    func(r *maintenance.Record) { r.Kind = "broken" },
		"reason":  func(r *maintenance.Record) { r.Reason = "" },
		"part":    func(r *maintenance.Record) { r.Part = strings.Repeat("x", 101) },
		"serial":  func(r *maintenance.Record) { r.Serial = "a\x1b[2J" },
		"version": func(r *maintenance.Record) { r.Version = "a\nb" },
	} {
		r := good
		spoil(&r)
		mistakes := r.Validate(day(1))
		require.Len(t, mistakes, 1, path)
		require.Equal(t, path, mistakes[0].Path)
		require.NotEmpty(t, mistakes[0].Expected)
	}
	reasoned := maintenance.Record{UnitID: "u", At: day(0), Kind: maintenance.Failure, Reason: maintenance.Failed}
	require.Len(t, reasoned.Validate(day(1)), 1)
}
