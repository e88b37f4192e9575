package condition_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
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
	for _, past := range []time.Time{start, start.Add(-time.Hour)} {
		_, err = s.Shelve(ctx, "f", past)
		require.Equal(t, "until", fault.FieldsOf(err)[0].Path)
	}
	got, _, err = s.Finding(ctx, "f")
	require.NoError(t, err)
	require.Equal(t, start.Add(time.Hour), got.ShelvedUntil, "what is refused changes nothing")
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

func TestWhyAConditionIsUnknown(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := sqldbtest.SQLite(t)
	s := condition.NewService(condition.Config{Store: db.Condition(), Clock: clock.NewManual(start)})
	u := fleet.Unit{ID: "u", Key: 1, Product: "charger", State: fleet.UnitActive}
	h, err := s.ConditionOf(ctx, u)
	require.NoError(t, err)
	require.Equal(t, condition.Health{Condition: condition.Unknown, Why: "no detector watches its product"}, h)
	_, err = db.Condition().PutDetector(ctx, condition.Detector{Name: "d", Version: 1, Product: "charger"})
	require.NoError(t, err)
	h, err = s.ConditionOf(ctx, u)
	require.NoError(t, err)
	require.Equal(t, condition.Health{Condition: condition.Unknown, Why: "there is no data of it that may be looked at"}, h)
}
