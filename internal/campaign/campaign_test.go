package campaign_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

func TestAnUpdateFromOfferToVerified(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := campaigntest.New(t, db, 10)
		run := w.Started(campaigntest.Campaign(campaign.Safety))
		require.Equal(t, campaign.Running, run.State)
		require.Equal(t, 1, run.Detector.Version)
		first := w.Tasks(0)
		require.Len(t, first, 2)
		require.Len(t, w.Tasks(1), 8)
		for _, x := range w.Tasks(1) {
			require.Equal(t, campaign.Planned, x.State)
		}
		task := first[0]
		require.Equal(t, campaign.Offered, task.State)
		require.Equal(t, campaigntest.Start.Add(14*24*time.Hour), task.Deadline)
		require.Equal(t, 1, w.Told(task.ID+":offer"))
		require.Empty(t, w.Woken())

		w.Clock.Advance(time.Hour)
		require.Equal(t, campaign.Accepted, w.Choose(task, campaign.StartNow).State)
		require.Equal(t, []string{task.UnitID}, w.Woken())
		w.Says(task, update.Running, "downloading")
		w.Settle()
		require.Equal(t, campaign.Installing, w.Task(task.ID).State)
		w.Says(task, update.Claimed, "all well")
		w.Settle()
		require.Equal(t, campaign.Claimed, w.Task(task.ID).State)
		w.Reports(task.UnitID, "1.0.0")
		w.Settle()
		require.Equal(t, campaign.Claimed, w.Task(task.ID).State, "the old version is no success")
		w.Clock.Advance(time.Minute)
		w.Reports(task.UnitID, "2.0.0")
		w.Settle()
		task = w.Task(task.ID)
		require.Equal(t, campaign.Verifying, task.State)
		require.Equal(t, w.Clock.Now(), task.InstalledAt)
		n, err := w.Campaigns.Judge(t.Context(), []campaign.Judgement{{TaskID: task.ID, State: campaign.Verified, Why: "quiet"}})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, campaign.Verified, w.Task(task.ID).State)
		n, err = w.Campaigns.Judge(t.Context(), []campaign.Judgement{{TaskID: first[1].ID, State: campaign.Verified}})
		require.NoError(t, err)
		require.Zero(t, n, "what is not installed is not judged")

		_, err = w.Campaigns.OpenWave(t.Context(), campaigntest.Name, 1)
		require.NoError(t, err)
		again, err := w.Campaigns.OpenWave(t.Context(), campaigntest.Name, 1)
		require.NoError(t, err)
		require.Len(t, again.WaveOpened, 2, "a wave opens once")
		w.Settle()
		for _, x := range w.Tasks(1) {
			require.Equal(t, campaign.Offered, x.State)
		}
	})
}

// A unit that goes to another owner: what the one before chose does not bind
// the next, who is asked anew and told.
func TestAnotherOwnerIsAskedAnew(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		ctx := t.Context()
		w := campaigntest.New(t, db, 50)
		w.Started(campaigntest.Campaign(campaign.Safety))
		first := w.Tasks(0)
		w.Choose(first[0], campaign.Tonight)
		w.Choose(first[1], campaign.Decline)
		w.Choose(first[2], campaign.NotNow)
		w.Choose(first[3], campaign.StartNow)
		w.Choose(first[4], campaign.StartNow)
		w.Says(first[4], update.Running, "downloading")
		w.Settle()
		planned := w.Tasks(1)[0]
		var ids []string
		eve, err := db.Fleet().PutOwner(ctx, fleet.Owner{ID: "eve", Email: "eve@example.com", Locale: "en", TimeZone: "UTC"})
		require.NoError(t, err)
		to := func(owner string) {
			var units []fleet.Unit
			for _, id := range ids {
				u, err := db.Fleet().Unit(ctx, id)
				require.NoError(t, err)
				u.OwnerID = owner
				units = append(units, u)
			}
			require.NoError(t, db.InTx(ctx, func(ctx context.Context) error {
				if err := db.Fleet().PutUnits(ctx, units); err != nil {
					return err
				}
				return w.Campaigns.OwnersChanged(ctx, ids)
			}))
			w.Settle()
		}
		for _, x := range append(first[:5:5], planned) {
			ids = append(ids, x.UnitID)
		}
		to(eve.ID)
		for _, x := range first[:4] {
			now := w.Task(x.ID)
			require.Equal(t, campaign.Offered, now.State)
			require.Equal(t, eve.ID, now.OwnerID)
			require.Zero(t, now.At)
			require.Zero(t, now.EndedAt)
			require.Equal(t, w.Clock.Now().Add(14*24*time.Hour), now.Deadline)
			require.Equal(t, 1, w.Told(x.ID+":1:offer"), "the new owner is told")
			require.Equal(t, 1, w.Told(x.ID+":offer"), "the old one is not told again")
			_, err := w.Campaigns.Choose(ctx, x.OwnerID, x.ID, campaign.StartNow, time.Time{})
			require.Equal(t, fault.NotFound, fault.KindOf(err), "it is no longer the old owner's")
		}
		work, err := w.Updates.Work(ctx, first[3].UnitID)
		require.NoError(t, err)
		require.Nil(t, work.Action, "it is withheld from the unit")
		require.Equal(t, campaign.Installing, w.Task(first[4].ID).State, "what has begun goes on")
		require.Equal(t, campaign.Planned, w.Task(planned.ID).State)
		mine, err := db.Campaign().Tasks(ctx, campaign.TaskFilter{OwnerID: eve.ID, Wave: -1})
		require.NoError(t, err)
		require.Len(t, mine, 6, "all are found by their owner")

		// The assignment stays the one there was; nothing is installed twice.
		was := w.Task(first[3].ID).AssignmentID
		w.Choose(w.Task(first[3].ID), campaign.StartNow)
		require.Equal(t, was, w.Task(first[3].ID).AssignmentID)

		ids = ids[:1]
		to("")
		require.Equal(t, campaign.Blocked, w.Task(first[0].ID).State)
		require.Equal(t, "no owner to ask", w.Task(first[0].ID).Why)
		to("owner-50")
		require.Equal(t, campaign.Offered, w.Task(first[0].ID).State, "there is an owner again")
		require.Equal(t, 1, w.Told(first[0].ID+":3:offer"))
		require.NoError(t, w.Campaigns.OwnersChanged(ctx, ids))
		require.Equal(t, 3, w.Task(first[0].ID).Handed, "again changes nothing")
	})
}

func TestPolicyOfTheKindAtTheDeadline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind     campaign.Kind
		want     campaign.TaskState
		declined campaign.TaskState
	}{
		{campaign.Service, campaign.Expired, campaign.Declined},
		{campaign.Feature, campaign.Expired, campaign.Declined},
		{campaign.Security, campaign.Accepted, campaign.Declined},
		{campaign.Safety, campaign.Offered, campaign.Declined},
		{campaign.Recall, campaign.Offered, campaign.Declined},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			t.Parallel()
			w := campaigntest.New(t, sqldbtest.SQLite(t), 10)
			w.Started(campaigntest.Campaign(c.kind))
			first := w.Tasks(0)
			w.Choose(first[1], campaign.Decline)
			for range 15 * 24 {
				w.Clock.Advance(time.Hour)
				w.Settle()
			}
			got := w.Task(first[0].ID)
			require.Equal(t, c.want, got.State, got.Why)
			require.Equal(t, c.declined, w.Task(first[1].ID).State)
			require.GreaterOrEqual(t, got.Reminded, 3)
			require.Equal(t, 1, w.Told(got.ID+":remind:1"))
			require.Zero(t, w.Told(first[1].ID+":remind:1"), "who has chosen is not reminded")
			for i := 1; i <= got.Reminded; i++ {
				require.Equal(t, 1, w.Told(fmt.Sprintf("%s:remind:%d", got.ID, i)))
			}
			if c.kind == campaign.Security {
				require.NotZero(t, got.AssignmentID)
			} else {
				require.Zero(t, got.AssignmentID, "it never starts by itself")
			}
		})
	}
}

func TestOwnersChoices(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 10)
	w.Started(campaigntest.Campaign(campaign.Service))
	ctx, task := t.Context(), w.Tasks(0)[0]
	other := w.Tasks(0)[1]

	_, err := w.Campaigns.Choose(ctx, other.OwnerID, task.ID, campaign.StartNow, time.Time{})
	require.Equal(t, fault.NotFound, fault.KindOf(err), "another owner's task")
	_, err = w.Campaigns.Choose(ctx, "", task.ID, campaign.StartNow, time.Time{})
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = w.Campaigns.Choose(ctx, task.OwnerID, task.ID, "perhaps", time.Time{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	for _, at := range []time.Time{w.Clock.Now(), w.Clock.Now().Add(-time.Hour), task.Deadline.Add(time.Second), {}} {
		_, err = w.Campaigns.Choose(ctx, task.OwnerID, task.ID, campaign.SetTime, at)
		require.Equal(t, fault.Invalid, fault.KindOf(err), at)
		require.Equal(t, "at", fault.FieldsOf(err)[0].Path)
	}
	_, err = w.Campaigns.Choose(ctx, w.Tasks(1)[0].OwnerID, w.Tasks(1)[0].ID, campaign.StartNow, time.Time{})
	require.Equal(t, fault.Conflict, fault.KindOf(err), "its wave is not open")

	got := w.Choose(task, campaign.Tonight)
	require.Equal(t, campaign.Scheduled, got.State)
	require.Equal(t, time.Date(2014, 3, 4, 1, 0, 0, 0, time.UTC), got.At, "02:00 in Oslo")
	got = w.Choose(task, campaign.NotNow)
	require.Equal(t, campaign.Snoozed, got.State)
	got, err = w.Campaigns.Choose(ctx, task.OwnerID, task.ID, campaign.SetTime, w.Clock.Now().Add(5*time.Hour))
	require.NoError(t, err)
	w.Clock.Advance(5*time.Hour - time.Second)
	w.Settle()
	require.Zero(t, w.Task(task.ID).AssignmentID, "before the owner's time there is not even an assignment")
	w.Clock.Advance(time.Second)
	w.Settle()
	got = w.Task(task.ID)
	require.Equal(t, campaign.Accepted, got.State)
	action := got.AssignmentID
	require.NotZero(t, action)

	// A change of mind before the unit has begun takes the offer back, and
	// the same assignment is offered again later.
	w.Choose(task, campaign.NotNow)
	a, err := w.Updates.Assignment(ctx, action)
	require.NoError(t, err)
	require.Equal(t, update.Withheld, a.State)
	require.Equal(t, action, w.Choose(task, campaign.StartNow).AssignmentID)
	w.Says(task, update.Running)
	_, err = w.Campaigns.Choose(ctx, task.OwnerID, task.ID, campaign.NotNow, time.Time{})
	require.Equal(t, fault.Conflict, fault.KindOf(err), "the unit has begun")

	require.Equal(t, campaign.Declined, w.Choose(other, campaign.Decline).State)
	require.Equal(t, campaign.Accepted, w.Choose(other, campaign.StartNow).State, "declining can be taken back")
}

func TestFailureTellsTheRealReason(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 10)
	w.Started(campaigntest.Campaign(campaign.Safety))
	task := w.Tasks(0)[0]
	w.Choose(task, campaign.StartNow)
	w.Says(task, update.Running, "ERROR : the image is corrupted: checksum of rootfs.ext4")
	w.Says(task, update.Failed, "No suitable .swu image found")
	w.Settle()
	got := w.Task(task.ID)
	require.Equal(t, campaign.FailedTask, got.State)
	require.Contains(t, got.Why, "corrupted")
	require.Equal(t, 1, w.Told(task.ID+":failed"))
}

func TestClaimWithoutTheVersionFails(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 10)
	w.Started(campaigntest.Campaign(campaign.Safety))
	task := w.Tasks(0)[0]
	w.Choose(task, campaign.StartNow)
	w.Says(task, update.Claimed, "ok")
	w.Settle()
	w.Clock.Advance(30 * 24 * time.Hour)
	w.Settle()
	got := w.Task(task.ID)
	require.Equal(t, campaign.FailedTask, got.State)
	require.Contains(t, got.Why, "has not reported version 2.0.0")
}

func TestPauseWithholdsAndResumeGoesOn(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := campaigntest.New(t, db, 10)
		w.Started(campaigntest.Campaign(campaign.Safety))
		ctx, first := t.Context(), w.Tasks(0)
		w.Choose(first[0], campaign.StartNow)
		w.Choose(first[1], campaign.StartNow)
		w.Says(first[1], update.Running)
		w.Settle()
		run, err := w.Campaigns.Pause(ctx, campaigntest.Name, "smoke")
		require.NoError(t, err)
		require.Equal(t, "smoke", run.Why)
		shown := func() (out []bool) {
			for _, x := range first {
				work, err := w.Updates.Work(t.Context(), x.UnitID)
				require.NoError(t, err)
				out = append(out, work.Action != nil)
			}
			return out
		}
		require.Equal(t, []bool{false, true}, shown(), "what has begun goes on, the rest is not shown")
		_, err = w.Updates.Deployment(ctx, first[0].UnitID, w.Task(first[0].ID).AssignmentID)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "nor fetched")
		w.Clock.Advance(time.Hour)
		w.Settle()
		require.Equal(t, []bool{false, true}, shown())
		require.Equal(t, campaign.CodePaused, run.Refusal(&first[0]).Code)
		_, err = w.Campaigns.OpenWave(ctx, campaigntest.Name, 1)
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		_, err = w.Campaigns.Resume(ctx, campaigntest.Name, "looked at")
		require.NoError(t, err)
		w.Settle()
		require.Equal(t, []bool{true, true}, shown())
	})
}

func TestAWithdrawnReleaseIsOfferedToNobody(t *testing.T) {
	t.Parallel()
	for _, paused := range []bool{false, true} {
		w := campaigntest.New(t, sqldbtest.SQLite(t), 20)
		c := campaigntest.Campaign(campaign.Safety)
		c.MaxConcurrent = 1
		w.Started(c)
		ctx, first := t.Context(), w.Tasks(0)
		w.Choose(first[2], campaign.NotNow)
		w.Choose(first[3], campaign.StartNow)
		w.Says(first[3], update.Running)
		w.Settle()
		w.Choose(first[1], campaign.StartNow)
		w.Settle()
		require.Equal(t, campaign.Accepted, w.Task(first[1].ID).State)
		require.Zero(t, w.Task(first[1].ID).AssignmentID, "it waits for its turn")
		if paused {
			_, err := w.Campaigns.Pause(ctx, campaigntest.Name, "looked at")
			require.NoError(t, err)
		}
		_, err := w.Updates.Withdraw(ctx, c.Release, "ada@example.org", "it drains the battery")
		require.NoError(t, err)
		w.Settle()
		for _, x := range append(w.Tasks(1), w.Task(first[0].ID), w.Task(first[1].ID), w.Task(first[2].ID)) {
			require.Equal(t, campaign.Blocked, x.State)
			require.Equal(t, update.CodeWithdrawn, x.Refusal.Code)
			require.Contains(t, x.Why, "it drains the battery")
		}
		require.Equal(t, campaign.Installing, w.Task(first[3].ID).State, "it has begun, and is asked to stop")
		_, err = w.Updates.CancelFeedback(ctx, first[3].UnitID, w.Task(first[3].ID).AssignmentID, update.Feedback{State: update.Canceled})
		require.NoError(t, err)
		w.Settle()
		require.Equal(t, campaign.Blocked, w.Task(first[3].ID).State)
	}
}

func TestCancelReachesTheUnits(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 20)
	w.Started(campaigntest.Campaign(campaign.Safety))
	ctx, first := t.Context(), w.Tasks(0)
	require.Len(t, first, 4)
	for _, x := range first[1:] {
		w.Choose(x, campaign.StartNow)
	}
	w.Says(first[2], update.Running)
	w.Says(first[3], update.Claimed)
	w.Settle()
	_, err := w.Campaigns.Cancel(ctx, campaigntest.Name, "wrong image")
	require.NoError(t, err)
	require.Equal(t, campaign.Withdrawn, w.Task(first[0].ID).State)
	require.Equal(t, campaign.Withdrawn, w.Task(first[1].ID).State)
	require.Equal(t, campaign.Installing, w.Task(first[2].ID).State)
	for _, x := range w.Tasks(1) {
		require.Equal(t, campaign.Withdrawn, x.State)
	}
	a, err := w.Updates.Assignment(ctx, w.Task(first[1].ID).AssignmentID)
	require.NoError(t, err)
	require.Equal(t, update.Canceling, a.State, "the unit may have seen it and is asked")
	_, err = w.Updates.CancelFeedback(ctx, first[2].UnitID, w.Task(first[2].ID).AssignmentID, update.Feedback{State: update.Canceled})
	require.NoError(t, err)
	w.Reports(first[3].UnitID, "2.0.0")
	w.Settle()
	require.Equal(t, campaign.Withdrawn, w.Task(first[2].ID).State)
	require.Equal(t, campaign.Unjudged, w.Task(first[3].ID).State)
	_, err = w.Campaigns.Resume(ctx, campaigntest.Name, "no")
	require.Equal(t, fault.Conflict, fault.KindOf(err))
}

func TestDryRunSaysWhoAndWhy(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := campaigntest.New(t, db, 10)
		ctx := t.Context()
		u, err := db.Fleet().Unit(ctx, campaigntest.UnitID(1))
		require.NoError(t, err)
		require.NoError(t, db.Fleet().SetVersions(ctx, u.ID, map[string]string{"software": "2.0.0"}, w.Clock.Now()))
		require.NoError(t, db.Fleet().SetUnitState(ctx, campaigntest.UnitID(2), fleet.UnitRetired))
		require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{{ID: "WC-NEW", Key: 99, Product: campaigntest.Product, Serial: "99", State: fleet.UnitActive}}))
		members, err := w.Cohorts.Members(ctx, "snap-1", cohort.In, "", 0)
		require.NoError(t, err)
		w.Cohorts.Put(cohort.Snapshot{ID: "snap-1", Definition: cohort.Definition{Name: campaigntest.Cohort, Product: campaigntest.Product}, State: "ready"},
			append(members, cohort.Member{UnitID: "WC-GONE", UnitKey: 98, List: cohort.In}, cohort.Member{UnitID: "WC-NEW", UnitKey: 99, List: cohort.In},
				cohort.Member{UnitID: "X-1", List: cohort.NotJudgeable, Code: "no consent", Reason: "no consent for care"},
				cohort.Member{UnitID: "X-2", List: cohort.Out, Code: "no evidence", Reason: "quiet"}))
		c := campaigntest.Campaign(campaign.Safety)
		require.NoError(t, w.Campaigns.Put(ctx, c))
		plan, units, err := dryRun(ctx, w, c.Name)
		require.NoError(t, err)
		require.Equal(t, 8, plan.OfferedN)
		codes := map[string]string{}
		for _, x := range units {
			if x.No != nil {
				require.NotEmpty(t, x.No.Why)
				codes[x.UnitID] = string(x.No.Code)
			}
		}
		require.Equal(t, map[string]string{
			campaigntest.UnitID(1): string(update.CodeVersion), campaigntest.UnitID(2): string(update.CodeInactive),
			"WC-GONE": string(update.CodeUnknown), "WC-NEW": string(campaign.CodeNoOwner), "X-1": "no consent", "X-2": "no evidence",
		}, codes)
		require.Equal(t, 12, plan.Waves[0].Units+plan.Waves[1].Units)
		require.Empty(t, w.Tasks(-1), "it changes nothing")

		_, err = w.Campaigns.Start(ctx, c.Name, "test", "op-1")
		require.NoError(t, err)
		require.Len(t, w.Tasks(-1), 12, "only members get tasks")
		_, err = w.Campaigns.Start(ctx, c.Name, "test", "op-1")
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		_, err = w.Campaigns.OpenWave(ctx, c.Name, 1)
		require.NoError(t, err)
		w.Settle()
		for _, x := range w.Tasks(-1) {
			if _, no := codes[x.UnitID]; no {
				require.Equal(t, campaign.Blocked, x.State)
				require.NotEmpty(t, x.Why)
			}
		}
	})
}

func TestASecurityUpdateNeedsNoOwner(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 4)
	require.NoError(t, w.DB.Fleet().PutUnits(t.Context(), []fleet.Unit{{ID: "WC-NEW", Key: 99, Product: campaigntest.Product, Serial: "99", Hardware: "B", State: fleet.UnitActive}}))
	w.Cohorts.Put(cohort.Snapshot{ID: "snap-1", Definition: cohort.Definition{Name: campaigntest.Cohort, Product: campaigntest.Product}, State: "ready"},
		[]cohort.Member{{UnitID: "WC-NEW", UnitKey: 99, List: cohort.In}})
	c := campaigntest.Campaign(campaign.Security)
	c.Waves = []campaign.Wave{{Name: "all", Share: 1}}
	w.Started(c)
	require.Equal(t, campaign.Accepted, w.Tasks(0)[0].State)
	require.Equal(t, []string{"WC-NEW"}, w.Woken())
}

func TestTwoCampaignsDoNotWorkOnOneUnitAtOnce(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 2)
	c := campaigntest.Campaign(campaign.Safety)
	c.Waves = []campaign.Wave{{Name: "all", Share: 1}}
	w.Started(c)
	c.Name = "second"
	w.Started(c)
	var waiting []campaign.Task
	for _, x := range w.Tasks(-1) {
		if x.Campaign == "second" {
			require.Equal(t, campaign.Planned, x.State)
			require.Contains(t, x.Why, campaigntest.Name)
			waiting = append(waiting, x)
		}
	}
	require.Len(t, waiting, 2)
	_, err := w.Campaigns.Cancel(t.Context(), campaigntest.Name, "superseded")
	require.NoError(t, err)
	w.Clock.Advance(time.Hour)
	w.Settle()
	require.Equal(t, campaign.Offered, w.Task(waiting[0].ID).State)
}

func TestValidateNamesEveryMistake(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 1)
	ctx := t.Context()
	feature, err := w.Updates.Release(ctx, campaigntest.Release)
	require.NoError(t, err)
	feature.Name, feature.Kind, feature.Version, feature.Counter = "shiny", update.Feature, "3.0.0", 0
	require.NoError(t, w.Updates.Put(ctx, feature))
	for _, c := range []struct {
		name   string
		change func(*campaign.Campaign)
		paths  []string
	}{
		{"nothing", func(*campaign.Campaign) {}, nil},
		{"a feature in a recall", func(c *campaign.Campaign) { c.Kind, c.Release = campaign.Recall, "shiny" }, []string{"spec.release"}},
		{"a feature in safety", func(c *campaign.Campaign) { c.Release = "shiny" }, []string{"spec.release"}},
		{"a feature in security", func(c *campaign.Campaign) { c.Kind, c.Release = campaign.Security, "shiny" }, []string{"spec.release"}},
		{"a feature in service", func(c *campaign.Campaign) { c.Kind, c.Release = campaign.Service, "shiny" }, nil},
		{"unknown names", func(c *campaign.Campaign) { c.Product, c.Release, c.Detector = "a", "b", "c" }, []string{"spec.detector", "spec.product", "spec.release"}},
		{"too much in waves", func(c *campaign.Campaign) { c.Waves[0].Share = 0.9 }, []string{"spec.waves"}},
		{"no such zone", func(c *campaign.Campaign) { c.Zone = "Mars/Olympus" }, []string{"spec.zone"}},
		{"an end before the start", func(c *campaign.Campaign) { c.Start, c.End = campaigntest.Start.Add(time.Hour), campaigntest.Start }, []string{"spec.end"}},
		{"negative limits", func(c *campaign.Campaign) { c.MaxConcurrent, c.MaxPerHour, c.Timeout, c.Retry.Limit = -1, -1, -1, 1000 }, []string{"spec.maxConcurrent", "spec.maxPerHour", "spec.retry.limit", "spec.timeout"}},
		{"a safety offer that expires", func(c *campaign.Campaign) { c.Reoffer = fleet.Duration(time.Hour) }, []string{"spec.reoffer"}},
		{"twin waves", func(c *campaign.Campaign) { c.Waves[1].Name = "first" }, []string{"spec.waves[1].name"}},
		{"an empty wave", func(c *campaign.Campaign) { c.Waves[0].Share = 0 }, []string{"spec.waves[0].share"}},
		{"a share above one", func(c *campaign.Campaign) { c.Gate.Failed = 1.5 }, []string{"spec.gate.failed"}},
		{"no durations", func(c *campaign.Campaign) { c.Exposure, c.Deadline = 0, 0 }, []string{"spec.deadline", "spec.exposure"}},
		{"all empty", func(c *campaign.Campaign) { *c = campaign.Campaign{} }, []string{
			"spec.cohort", "spec.deadline", "spec.detector", "spec.exposure", "spec.kind", "spec.product", "spec.reason", "spec.release", "spec.title", "spec.waves",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := campaigntest.Campaign(campaign.Safety)
			c.change(&x)
			err := w.Campaigns.Validate(ctx, x)
			var paths []string
			for _, f := range fault.FieldsOf(err) {
				paths = append(paths, f.Path)
			}
			require.Equal(t, c.paths, paths, "%v", err)
		})
	}
}

func TestWavesAreDrawnByTheSeed(t *testing.T) {
	t.Parallel()
	waves := func(seed int64) map[string]int {
		w := campaigntest.New(t, sqldbtest.SQLite(t), 103)
		c := campaigntest.Campaign(campaign.Safety)
		c.Seed, c.Waves = seed, []campaign.Wave{{Name: "a", Count: 5}, {Name: "b", Share: 0.25}, {Name: "named", Units: []string{campaigntest.UnitID(1)}}, {Name: "c"}}
		require.NoError(t, w.Campaigns.Put(t.Context(), c))
		plan, units, err := dryRun(t.Context(), w, c.Name)
		require.NoError(t, err)
		planned := map[string]int{}
		for _, x := range units {
			planned[x.UnitID] = x.Wave
		}
		w.Started(c)
		out := map[string]int{}
		for _, x := range w.Tasks(-1) {
			out[x.UnitID] = x.Wave
		}
		require.Equal(t, planned, out, "the dry run shows what the start does")
		require.Equal(t, 2, out[campaigntest.UnitID(1)])
		require.Equal(t, []bool{true, true, false, true}, []bool{plan.Waves[0].Random, plan.Waves[1].Random, plan.Waves[2].Random, plan.Waves[3].Random})
		require.Equal(t, 5, plan.Waves[0].Units)
		return out
	}
	a, b, c := waves(1), waves(1), waves(2)
	require.Equal(t, a, b)
	require.NotEqual(t, a, c)
}

// aborting is a Transactor that fails at random, before or instead of the
// commit, as a crash would.
type aborting struct {
	fleet.Transactor
	rng *rand.Rand
	off bool
}

var errCrash = errors.New("crash")

type inside struct{}

func (a *aborting) InTx(ctx context.Context, fn func(context.Context) error) error {
	if ctx.Value(inside{}) != nil {
		return a.Transactor.InTx(ctx, fn)
	}
	return a.Transactor.InTx(context.WithValue(ctx, inside{}, true), func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		if !a.off && a.rng.IntN(3) == 0 {
			return errCrash
		}
		return nil
	})
}

// failing is a store of tasks whose writes fail at random.
type failing struct {
	campaign.Store
	a *aborting
}

func (f failing) UpdateTask(ctx context.Context, id string, change func(*campaign.Task) error) (campaign.Task, error) {
	return f.Store.UpdateTask(ctx, id, func(t *campaign.Task) error {
		if err := change(t); err != nil {
			return err
		}
		if !f.a.off && f.a.rng.IntN(10) == 0 {
			return errCrash
		}
		return nil
	})
}

func TestCrashesAnywhereResume(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			w := campaigntest.New(t, sqldbtest.SQLite(t), 30)
			ctx := t.Context()
			tx := &aborting{Transactor: w.DB, rng: rand.New(rand.NewPCG(seed, 1))}
			cfg := w.Config
			cfg.Tx, cfg.Store = tx, failing{w.DB.Campaign(), tx}
			restart := func() {
				err := errCrash
				for errors.Is(err, errCrash) { // also while it starts
					cfg.Updates, err = update.NewService(ctx, update.Config{
						Store: w.DB.Update(), Ledger: release.New(w.DB), Blobs: w.Blobs, Fleet: w.DB.Fleet(), Tx: tx, Clock: w.Clock, Log: cfg.Log, Dir: t.TempDir(),
					})
				}
				require.NoError(t, err)
				w.Updates, w.Campaigns = cfg.Updates, campaign.NewManager(cfg)
			}
			restart()
			// try repeats what fails, in a new process every time.
			try := func(fn func() error) {
				for range 200 {
					err := fn()
					if err == nil {
						return
					}
					require.ErrorIs(t, err, errCrash)
					restart()
				}
				t.Fatal("it never gets through")
			}
			pass := func() error { _, err := w.Campaigns.Pass(ctx); return err }
			c := campaigntest.Campaign(campaign.Safety)
			c.Waves = []campaign.Wave{{Name: "all", Share: 1}}
			try(func() error { return w.Campaigns.Put(ctx, c) })
			try(func() error { _, err := w.Campaigns.Start(ctx, c.Name, "test", "op-1"); return err })
			for range 40 {
				_ = pass()
				w.Clock.Advance(6 * time.Minute)
			}
			for _, x := range w.Tasks(-1) {
				require.Equal(t, campaign.Offered, x.State)
				try(func() error {
					_, err := w.Campaigns.Choose(ctx, x.OwnerID, x.ID, campaign.SetTime, w.Clock.Now().Add(time.Hour))
					return err
				})
			}
			for range 60 {
				if pass() != nil {
					restart()
				}
				w.Clock.Advance(6 * time.Minute)
			}
			for _, x := range w.Tasks(-1) {
				require.Equal(t, campaign.Accepted, x.State)
				require.NotZero(t, x.AssignmentID)
				w.Says(x, update.Running)
				w.Says(x, update.Claimed)
				w.Reports(x.UnitID, "2.0.0")
			}
			for range 60 {
				if pass() != nil {
					restart()
				}
				w.Clock.Advance(6 * time.Minute)
			}
			var said []campaign.Judgement
			for _, x := range w.Tasks(-1) {
				require.Equal(t, campaign.Verifying, x.State)
				require.Zero(t, w.Told(x.ID+":done"), "nobody is told that it works before it is known")
				said = append(said, campaign.Judgement{TaskID: x.ID, State: campaign.Verified, Why: "quiet"})
			}
			for range 2 {
				try(func() error { _, err := w.Campaigns.Judge(ctx, said); return err })
			}
			tx.off = true
			restart()
			w.Settle()
			actions := map[int64]string{}
			for _, x := range w.Tasks(-1) {
				require.Equal(t, campaign.Verified, x.State)
				require.Equal(t, 1, w.Told(x.ID+":offer"), "one notice a task")
				require.Equal(t, 1, w.Told(x.ID+":done"))
				require.Empty(t, actions[x.AssignmentID])
				actions[x.AssignmentID] = x.ID
				list, err := w.Updates.OfUnit(ctx, x.UnitID, 10)
				require.NoError(t, err)
				require.Len(t, list, 1, "one assignment a task")
			}
			require.Len(t, actions, 30)
		})
	}
}

// dryRun gives what a dry run says of each unit, too.
func dryRun(ctx context.Context, w *campaigntest.World, name string) (plan campaign.Plan, units []campaign.PlannedUnit, err error) {
	plan, err = w.Campaigns.DryRun(ctx, name, func(u campaign.PlannedUnit) error {
		units = append(units, u)
		return nil
	})
	return plan, units, err
}
