package sqldb_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func TestCohort(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s, ctx := db.Cohort(), t.Context()
		snap := cohort.Snapshot{
			ID: "c1", Position: 42, At: start, State: cohort.Computing, By: "operator:1",
			Definition: cohort.Definition{Name: "hot", Product: "wall-charger", Evidence: &cohort.Evidence{Detector: condition.Ref{Name: "d", Version: 1}, From: start, To: start.Add(time.Hour)}},
		}
		require.NoError(t, s.PutSnapshot(ctx, snap))
		var members []cohort.Member
		for n := range 3000 {
			list := cohort.In
			if n%3 == 0 {
				list = cohort.Out
			}
			members = append(members, cohort.Member{UnitID: fmt.Sprintf("WC-%06d", n), UnitKey: int64(n), List: list, Code: "evidence", Reason: "hot", Exposure: time.Hour})
		}
		require.NoError(t, s.PutMembers(ctx, "c1", members))
		require.NoError(t, s.PutMembers(ctx, "c1", members), "computed again")
		require.Equal(t, fault.NotFound, fault.KindOf(s.PutMembers(ctx, "x", members[:1])))
		snap.State, snap.In, snap.Out, snap.NotJudgeable, snap.Done = cohort.Ready, 2000, 1000, 3, 1
		require.NoError(t, s.PutSnapshot(ctx, snap))
		got, err := s.Snapshot(ctx, "c1")
		require.NoError(t, err)
		require.Equal(t, snap, got)

		all, err := s.Members(ctx, "c1", "", "", 0)
		require.NoError(t, err)
		require.Equal(t, members, all)
		page, err := s.Members(ctx, "c1", cohort.Out, "WC-000003", 2)
		require.NoError(t, err)
		require.Equal(t, []cohort.Member{members[6], members[9]}, page)

		later := snap
		later.ID, later.At = "c2", start.Add(time.Hour)
		require.NoError(t, s.PutSnapshot(ctx, later))
		newest, err := s.SnapshotByName(ctx, "hot")
		require.NoError(t, err)
		require.Equal(t, "c2", newest.ID)
		list, err := s.Snapshots(ctx, "wall-charger")
		require.NoError(t, err)
		require.Equal(t, []cohort.Snapshot{later, snap}, list)

		require.NoError(t, s.DeleteSnapshot(ctx, "c1"))
		require.Equal(t, fault.NotFound, fault.KindOf(s.DeleteSnapshot(ctx, "c1")))
		all, err = s.Members(ctx, "c1", "", "", 0)
		require.NoError(t, err)
		require.Empty(t, all)
		_, err = s.SnapshotByName(ctx, "cold")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}
