package sqldb_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func detector() condition.Detector {
	return condition.Detector{
		Name: "plug-overheat", Product: "wall-charger", Type: condition.TypeTolerance, Severity: condition.Critical, Purpose: "care", Tolerance: "plug",
		Hold: fleet.Duration(time.Hour), Basis: &condition.Basis{Gap: fleet.Duration(time.Hour), Tolerance: fleet.Tolerance{Name: "plug", Signal: "plug_temperature"}},
	}
}

func TestConditionDetectors(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Condition(), t.Context()
		first, err := s.PutDetector(ctx, detector())
		require.NoError(t, err)
		require.Equal(t, 1, first.Version)
		same, err := s.PutDetector(ctx, detector())
		require.NoError(t, err)
		require.Equal(t, 1, same.Version, "the same definition keeps its version")
		changed := detector()
		changed.Basis.Tolerance.Signal = "ambient_temperature"
		changed, err = s.PutDetector(ctx, changed)
		require.NoError(t, err)
		require.Equal(t, 2, changed.Version)

		got, err := s.Detector(ctx, "plug-overheat", 0)
		require.NoError(t, err)
		require.Equal(t, changed, got)
		got, err = s.Detector(ctx, "plug-overheat", 1)
		require.NoError(t, err)
		require.Equal(t, first, got)
		all, err := s.Detectors(ctx, "wall-charger")
		require.NoError(t, err)
		require.Equal(t, []condition.Detector{changed}, all)
		all, err = s.Detectors(ctx, "bike")
		require.NoError(t, err)
		require.Empty(t, all)

		require.NoError(t, s.DeleteDetector(ctx, "plug-overheat"))
		require.Equal(t, fault.NotFound, fault.KindOf(s.DeleteDetector(ctx, "plug-overheat")))
		_, err = s.Detector(ctx, "plug-overheat", 0)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = s.Detector(ctx, "plug-overheat", 1)
		require.NoError(t, err, "a campaign may have frozen it")
		again, err := s.PutDetector(ctx, detector())
		require.NoError(t, err)
		require.Equal(t, 3, again.Version)
		all, err = s.Detectors(ctx, "")
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
}

func finding(n int) condition.Finding {
	at := start.Add(time.Duration(n) * time.Hour)
	return condition.Finding{
		ID: fmt.Sprintf("f-%04d", n), Detector: condition.Ref{Name: "plug-overheat", Version: 1}, Severity: condition.Critical, UnitID: fmt.Sprintf("WC-%06d", n), UnitKey: int64(1000 + n),
		Product: "wall-charger", State: condition.Open, Onset: at, OpenedAt: at.Add(time.Minute), SeenAt: at.Add(time.Minute), LastAt: at.Add(30 * time.Minute), Why: "hot", Peak: 93.1,
	}
}

func TestConditionCommit(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Condition(), t.Context()
		var states []condition.State
		load := func(part string) (uint64, error) {
			states = nil
			return s.Load(ctx, part, func(_ context.Context, some []condition.State) error {
				states = append(states, some...)
				return nil
			})
		}
		seq, err := load("all")
		require.NoError(t, err)
		require.Zero(t, seq)
		require.Empty(t, states)

		ref := condition.Ref{Name: "plug-overheat", Version: 1}
		want := []condition.State{{UnitKey: 0, Data: []byte{1, 2}}}
		for n := range 3000 {
			x := condition.Exposure{Detector: ref, UnitKey: int64(1000 + n), Since: start, For: time.Duration(n) * time.Minute, LastAt: start.Add(time.Hour)}
			want = append(want, condition.State{UnitKey: int64(1000 + n), Product: "wall-charger", JudgedAt: start, Exposures: []condition.Exposure{x}, Data: []byte{1, byte(n)}})
		}
		require.NoError(t, s.Commit(ctx, "all", 7, []condition.Finding{finding(1), finding(2)}, want))
		require.NoError(t, s.Commit(ctx, "other", 9, nil, []condition.State{{UnitKey: 5, Data: []byte{9}}}))
		_, err = s.UpdateFinding(ctx, "f-0001", func(f *condition.Finding) error {
			f.AckBy, f.AckAt, f.Why = "operator:1", start, "not to be changed by people"
			return nil
		})
		require.NoError(t, err)
		cleared := finding(1)
		cleared.State, cleared.Cleared, cleared.ClearWhy, cleared.Peak = condition.Cleared, start.Add(5*time.Hour), "inside", 99
		require.NoError(t, s.Commit(ctx, "all", 8, []condition.Finding{cleared}, []condition.State{{UnitKey: 1001}, {UnitKey: 1002, Data: []byte{3}}}))

		seq, err = load("all")
		require.NoError(t, err)
		require.Equal(t, uint64(8), seq)
		require.Len(t, states, 3000, "one is no longer watched")
		require.Equal(t, []byte{1, 2}, states[0].Data)
		require.Equal(t, int64(1002), states[2].UnitKey)
		require.Equal(t, []byte{3}, states[2].Data)
		kept, err := s.Kept(ctx, "all", []int64{5, 1001, 1002, 1003})
		require.NoError(t, err)
		require.Equal(t, map[int64][]byte{1002: {3}, 1003: {1, 3}}, kept, "of that partition, without the one that is gone")

		got, err := s.Finding(ctx, "f-0001")
		require.NoError(t, err)
		cleared.AckBy, cleared.AckAt = "operator:1", start
		require.Equal(t, cleared, got, "what people made of it is left as it is")

		all, err := s.Exposures(ctx, ref, nil)
		require.NoError(t, err)
		require.Len(t, all, 3000)
		some, err := s.Exposures(ctx, ref, []int64{1005, 1004, 5})
		require.NoError(t, err)
		require.Equal(t, []condition.Exposure{want[5].Exposures[0], want[6].Exposures[0]}, some)
		none, err := s.Exposures(ctx, ref, []int64{})
		require.NoError(t, err)
		require.Empty(t, none)
		some[0].For = time.Hour
		require.NoError(t, s.PutExposures(ctx, ref, some))
		some, err = s.Exposures(ctx, ref, []int64{1004})
		require.NoError(t, err)
		require.Equal(t, time.Hour, some[0].For)

		judged, err := s.JudgedAt(ctx, "wall-charger", []int64{1004, 1002, 1})
		require.NoError(t, err)
		require.Equal(t, map[int64]time.Time{1004: start}, judged)
	})
}

func TestConditionFindings(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Condition(), t.Context()
		var all []condition.Finding
		for n := range 10 {
			f := finding(n)
			if n%2 == 1 {
				f.State, f.Severity, f.Detector.Version = condition.Cleared, condition.Minor, 2
			}
			all = append(all, f)
		}
		require.NoError(t, s.Commit(ctx, "all", 1, all, nil))
		_, err := s.UpdateFinding(ctx, "f-0004", func(f *condition.Finding) error {
			f.ShelvedUntil = start.Add(24 * time.Hour)
			return nil
		})
		require.NoError(t, err)
		for name, tt := range map[string]struct {
			f    condition.FindingFilter
			want []int
		}{
			"all, newest first": {condition.FindingFilter{}, []int{9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
			"page":              {condition.FindingFilter{Before: "f-0007", Limit: 2}, []int{6, 5}},
			"product":           {condition.FindingFilter{Product: "bike"}, nil},
			"unit":              {condition.FindingFilter{UnitID: "WC-000003"}, []int{3}},
			"version":           {condition.FindingFilter{Detector: "plug-overheat", Version: 2}, []int{9, 7, 5, 3, 1}},
			"open, not shelved": {condition.FindingFilter{State: condition.Open, HideShelvedAt: start}, []int{8, 6, 2, 0}},
			"shelf time over":   {condition.FindingFilter{State: condition.Open, HideShelvedAt: start.Add(24 * time.Hour)}, []int{8, 6, 4, 2, 0}},
			"severity":          {condition.FindingFilter{Severity: condition.Minor, State: condition.Cleared, Limit: 1}, []int{9}},
			"overlapping":       {condition.FindingFilter{From: start.Add(90 * time.Minute), To: start.Add(3 * time.Hour)}, []int{2, 1}},
		} {
			got, err := s.Findings(ctx, tt.f)
			require.NoError(t, err, name)
			var have []int
			for _, f := range got {
				have = append(have, int(f.UnitKey-1000))
			}
			require.Equal(t, tt.want, have, name)
			if tt.f.Limit == 0 {
				n, err := s.CountFindings(ctx, tt.f)
				require.NoError(t, err, name)
				require.Equal(t, len(tt.want), n, name)
			}
		}
		require.NoError(t, s.AddComment(ctx, condition.Comment{ID: "c1", FindingID: "f-0001", By: "operator:1", At: start, Text: "seen"}))
		require.Equal(t, fault.NotFound, fault.KindOf(s.AddComment(ctx, condition.Comment{ID: "c2", FindingID: "x", At: start})))
		comments, err := s.Comments(ctx, "f-0001")
		require.NoError(t, err)
		require.Equal(t, []condition.Comment{{ID: "c1", FindingID: "f-0001", By: "operator:1", At: start, Text: "seen"}}, comments)
		_, err = s.Finding(ctx, "x")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}

func TestConditionCounts(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Condition(), t.Context()
		putProduct(t, db.Fleet())
		var units []fleet.Unit
		for n := range 7 {
			units = append(units, charger(n))
		}
		units[6].State = fleet.UnitRetired
		require.NoError(t, db.Fleet().PutUnits(ctx, units))
		_, err := s.PutDetector(ctx, detector())
		require.NoError(t, err)
		_, err = s.PutDetector(ctx, condition.Detector{Name: "silent", Product: "wall-charger", Type: condition.TypeSilence, Severity: condition.Minor})
		require.NoError(t, err)
		failed, degraded, silent, both := finding(0), finding(1), finding(2), finding(2)
		degraded.Severity = condition.Major
		silent.Detector.Name, silent.Severity, both.ID = "silent", condition.Minor, "f-both"
		over := finding(3)
		over.State = condition.Cleared
		state := func(n int, judged time.Time) condition.State {
			return condition.State{UnitKey: int64(1000 + n), Product: "wall-charger", JudgedAt: judged, Data: []byte{1}}
		}
		require.NoError(t, s.Commit(ctx, "all", 1, []condition.Finding{failed, degraded, silent, both, over}, []condition.State{
			state(0, start), state(1, start), state(2, start), state(3, start), state(4, start.Add(-time.Hour)), state(5, time.Time{}), state(6, start),
		}))
		got, err := s.CountConditions(ctx, "wall-charger", start.Add(-time.Minute))
		require.NoError(t, err)
		require.Equal(t, map[condition.Condition]int{condition.Failed: 1, condition.Degraded: 1, condition.Silent: 1, condition.Normal: 1, condition.Unknown: 2}, got)

		service := condition.NewService(condition.Config{Store: s, Fleet: db.Fleet(), Clock: fixed(start.Add(7*24*time.Hour - time.Minute))})
		counted, err := service.CountConditions(ctx, "wall-charger")
		require.NoError(t, err)
		require.Equal(t, got, counted)
		each, err := service.Conditions(ctx, "wall-charger", units)
		require.NoError(t, err)
		unwell, err := db.Fleet().Units(ctx, fleet.Filter{Product: "wall-charger", Unwell: true, After: units[0].ID, Limit: 5})
		require.NoError(t, err)
		require.Equal(t, []string{units[1].ID, units[2].ID}, []string{unwell[0].ID, unwell[1].ID})
		require.Len(t, unwell, 2)
		for i, want := range []condition.Condition{condition.Failed, condition.Degraded, condition.Silent, condition.Normal, condition.Unknown, condition.Unknown, condition.Unknown} {
			require.Equal(t, want, each[units[i].ID], "unit %d", i)
			h, err := service.ConditionOf(ctx, units[i])
			require.NoError(t, err)
			require.Equal(t, want, h.Condition)
			require.NotEmpty(t, h.Why)
		}
	})
}

type fixed time.Time

func (f fixed) Now() time.Time { return time.Time(f) }
