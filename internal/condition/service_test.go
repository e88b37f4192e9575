package condition_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
)

func TestWhatPeopleMakeOfAFinding(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := sqldbtest.SQLite(t)
	now := clock.NewManual(start)
	s := condition.NewService(condition.Config{Store: db.Condition(), Clock: now, IDs: &clock.Sequence{Prefix: "c"}})
	f := condition.Finding{ID: "f", Detector: condition.Ref{Name: "d", Version: 1}, Severity: condition.Major, State: condition.Open, Onset: start, OpenedAt: start, SeenAt: start, LastAt: start}
	require.NoError(t, db.Condition().Commit(ctx, "all", 1, []condition.Finding{f}, nil))

	got, err := s.Ack(ctx, "f", "operator:1")
	require.NoError(t, err)
	require.Equal(t, "operator:1", got.AckBy)
	got, err = s.Ack(ctx, "f", "operator:2")
	require.NoError(t, err)
	require.Equal(t, "operator:1", got.AckBy, "the first counts")
	got, err = s.Unack(ctx, "f")
	require.NoError(t, err)
	require.Empty(t, got.AckBy)
	require.True(t, got.AckAt.IsZero())

	got, err = s.Shelve(ctx, "f", start.Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, start.Add(time.Hour), got.ShelvedUntil)
	got, err = s.Assess(ctx, "f", condition.Confirmed, "operator:1")
	require.NoError(t, err)
	require.Equal(t, condition.Confirmed, got.Assessment)
	_, err = s.Assess(ctx, "f", "perhaps", "operator:1")
	require.Equal(t, "assessment", fault.FieldsOf(err)[0].Path)
	_, err = s.Comment(ctx, "f", "operator:1", " ")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = s.Comment(ctx, "g", "operator:1", "hm")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = s.Comment(ctx, "f", "operator:1", "a loose screw")
	require.NoError(t, err)
	_, comments, err := s.Finding(ctx, "f")
	require.NoError(t, err)
	require.Equal(t, []condition.Comment{{ID: "c-1", FindingID: "f", By: "operator:1", At: start, Text: "a loose screw"}}, comments)

	f.State = condition.Cleared
	require.NoError(t, db.Condition().Commit(ctx, "all", 2, []condition.Finding{f}, nil))
	_, err = s.Shelve(ctx, "f", start.Add(time.Hour))
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	_, err = s.Shelve(ctx, "f", time.Time{})
	require.NoError(t, err, "taking it off the shelf is always right")
}

func TestBacktestWithholdsWhatIsNotPermitted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := sqldbtest.SQLite(t)
	equip(t, db)
	h := &recorded{seen: map[sample]bool{}}
	var marks []telemetry.Mark
	for unit := range int64(3) {
		marks = append(marks, telemetry.Mark{Kind: telemetry.MarkConsent, Unit: unit + 1, At: minutes(0), Text: "care"})
	}
	h.append(1, &telemetry.Batch{Marks: marks})
	for m := range 60 {
		b := &telemetry.Batch{Product: "wall-charger"}
		for unit := int64(1); unit <= 2; unit++ { // the third reports nothing
			b.Rows = append(b.Rows, telemetry.Row{Unit: unit, Event: minutes(m), Received: minutes(m), Values: []telemetry.Value{
				{Signal: "plug_temperature", Number: 90}, {Signal: "current", Number: 20},
			}})
		}
		h.append(uint64(m+2), b)
	}
	// The second has withdrawn since, and its data must not be looked at any more.
	require.NoError(t, db.Consent().AddChoices(ctx, []consent.Choice{
		{ID: "1", UnitID: "WC-1", Purpose: "care", Given: true, At: start, By: "import"},
		{ID: "2", UnitID: "WC-2", Purpose: "care", Given: true, At: start, By: "import"},
		{ID: "3", UnitID: "WC-3", Purpose: "care", Given: true, At: start, By: "import"},
		{ID: "4", UnitID: "WC-2", Purpose: "care", At: start.Add(time.Hour), By: "owner:1"},
	}))
	s := condition.NewService(condition.Config{Store: db.Condition(), Fleet: db.Fleet(), Consents: db.Consent(), History: h, Clock: clock.NewManual(start)})
	b, err := s.Backtest(ctx, overheat(), start, start.Add(24*time.Hour))
	require.NoError(t, err)
	require.Equal(t, condition.Ref{Name: "plug-overheat", Version: 1}, b.Detector, "the version that is kept: ids are those of live")
	require.Len(t, b.Findings, 1)
	require.Equal(t, "WC-1", b.Findings[0].UnitID)
	require.Equal(t, []int{1, 4, 1}, []int{b.Judged, b.Withheld, b.NoData})

	changed := overheat()
	changed.Hysteresis = 1
	b, err = s.Backtest(ctx, changed, start.Add(2*time.Hour), time.Time{})
	require.NoError(t, err)
	require.Equal(t, 2, b.Detector.Version)
	require.Empty(t, b.Findings, "none overlaps the range")

	_, err = s.Backtest(ctx, overheat(), start, start)
	require.Equal(t, "to", fault.FieldsOf(err)[0].Path)
	changed.Exposure = "nonsense"
	_, err = s.Backtest(ctx, changed, time.Time{}, time.Time{})
	require.Equal(t, "spec.exposure", fault.FieldsOf(err)[0].Path)
}
