package campaign_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

const hour, day = time.Hour, 24 * time.Hour

func one(kind campaign.Kind) campaign.Campaign {
	c := campaigntest.Campaign(kind)
	c.Waves = []campaign.Wave{{Name: "all"}}
	return c
}

// advance lets the campaign live through a time, minute after minute or so.
func advance(w *campaigntest.World, total, step time.Duration) {
	w.T.Helper()
	for end := w.Clock.Now().Add(total); w.Clock.Now().Before(end); {
		w.Clock.Advance(min(step, end.Sub(w.Clock.Now())))
		w.Settle()
	}
}

func count(w *campaigntest.World, state campaign.TaskState) (n int) {
	for _, t := range w.Tasks(-1) {
		if t.State == state {
			n++
		}
	}
	return n
}

func TestStartAndEnd(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := campaigntest.New(t, db, 5)
		c := one(campaign.Service)
		c.Start, c.End = campaigntest.Start.Add(2*hour), campaigntest.Start.Add(30*hour)
		run := w.Started(c)
		require.Equal(t, campaign.Planning, run.State)
		require.Contains(t, run.Why, "begins at 2014-03-03T14:00:00Z")
		task := w.Tasks(0)[0]
		require.Equal(t, campaign.Planned, task.State)
		require.Equal(t, campaign.CodeNotBegun, run.Refusal(&task).Code)
		_, err := w.Campaigns.Pause(t.Context(), c.Name, "too soon")
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		advance(w, 2*hour, 30*time.Minute)
		require.Equal(t, 5, count(w, campaign.Offered))
		advance(w, 28*hour, hour)
		run, err = db.Campaign().Campaign(t.Context(), c.Name)
		require.NoError(t, err)
		require.Equal(t, campaign.Finished, run.State)
		require.Contains(t, run.Why, "its end came")
		require.Equal(t, 5, count(w, campaign.Expired))
		_, err = w.Campaigns.Start(t.Context(), c.Name, "again", "")
		require.Equal(t, fault.Conflict, fault.KindOf(err))
	})
}

func TestWorkingHours(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 3)
	u, err := w.DB.Fleet().Unit(t.Context(), campaigntest.UnitID(1))
	require.NoError(t, err)
	u.Attributes = map[string]string{"timeZone": "America/New_York"}
	require.NoError(t, w.DB.Fleet().PutUnits(t.Context(), []fleet.Unit{u}))
	c := one(campaign.Service)
	c.Zone, c.Hours = "unit", []window.Hours{{Days: []string{"mon", "tue", "wed", "thu", "fri"}, From: "13:30", To: "17:00"}}
	w.Started(c)
	tasks := w.Tasks(0)
	// Noon UTC on a Monday: 13:00 in Oslo, 07:00 in New York.
	for _, x := range tasks[:2] {
		got := w.Choose(x, campaign.StartNow)
		require.Equal(t, campaign.Accepted, got.State)
		require.Equal(t, campaign.CodeHours, got.Refusal.Code)
		require.Zero(t, got.AssignmentID)
	}
	require.Equal(t, campaigntest.Start.Add(30*time.Minute), w.Task(tasks[1].ID).Refusal.Until, "13:30 in Oslo")
	advance(w, 45*time.Minute, 15*time.Minute)
	require.Zero(t, w.Task(tasks[0].ID).AssignmentID)
	require.NotZero(t, w.Task(tasks[1].ID).AssignmentID)
	require.Nil(t, w.Task(tasks[1].ID).Refusal)
	advance(w, 6*hour, 15*time.Minute)
	require.NotZero(t, w.Task(tasks[0].ID).AssignmentID, "13:30 in New York")
	// What a unit has not begun by the end of the hours is not shown after it.
	work, err := w.Updates.Work(t.Context(), tasks[1].UnitID)
	require.NoError(t, err)
	require.Nil(t, work.Action)
	w.Settle()
	require.Equal(t, campaign.CodeHours, w.Task(tasks[1].ID).Refusal.Code)
	codes, err := w.DB.Campaign().CountCodes(t.Context(), tasks[0].CampaignID)
	require.NoError(t, err)
	require.Equal(t, []campaign.CodeCount{{Code: campaign.CodeHours, State: campaign.Accepted, N: 1}}, codes)
}

func TestLimitsAreNeverExceeded(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := campaigntest.New(t, db, 20)
		c := one(campaign.Service)
		c.MaxConcurrent, c.MaxPerHour = 4, 6
		w.Started(c)
		for _, x := range w.Tasks(0) {
			got := w.Choose(x, campaign.StartNow)
			require.Equal(t, campaign.Accepted, got.State)
		}
		begun := map[string]time.Time{} // when a unit was first shown it
		done := map[string]bool{}
		w.Settle()
		waits := 0
		for _, x := range w.Tasks(0) {
			if x.Refusal != nil {
				waits++
				require.Equal(t, "it is taken in turn; at most 4 have it at hand at once; at most 6 are given it an hour", x.Refusal.Why, "true whichever limit holds now")
			}
		}
		require.Equal(t, 16, waits)
		for range 8 * 12 {
			under, last := 0, 0
			for _, x := range w.Tasks(0) {
				work, err := w.Updates.Work(t.Context(), x.UnitID)
				require.NoError(t, err)
				if work.Action != nil {
					if under++; begun[x.UnitID].IsZero() {
						begun[x.UnitID] = w.Clock.Now()
					}
				}
			}
			for _, at := range begun {
				if w.Clock.Now().Sub(at) < hour {
					last++
				}
			}
			require.LessOrEqual(t, under, 4)
			require.LessOrEqual(t, last, 6)
			if under > 0 { // one of them gets done
				for _, x := range w.Tasks(0) {
					if x.AssignmentID != 0 && !done[x.UnitID] {
						w.Says(x, update.Running)
						w.Reports(x.UnitID, "2.0.0")
						done[x.UnitID] = true
						break
					}
				}
			}
			advance(w, 5*time.Minute, 5*time.Minute)
		}
		require.Len(t, done, 20, "all get their turn")
	})
}

func TestAFailedAttemptIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := campaigntest.New(t, db, 1)
		c := one(campaign.Safety)
		c.Retry = campaign.Retry{Limit: 2, After: fleet.Duration(hour)}
		w.Started(c)
		task := w.Tasks(0)[0]
		w.Choose(task, campaign.StartNow)
		actions := map[int64]bool{}
		for attempt, wait := range []time.Duration{hour, 2 * hour} {
			now := w.Task(task.ID)
			require.Equal(t, attempt+1, now.Attempt)
			actions[now.AssignmentID] = true
			w.Says(task, update.Running)
			w.Says(task, update.Failed, "no room on the disk")
			w.Settle()
			now = w.Task(task.ID)
			require.Equal(t, campaign.Retrying, now.State)
			require.Equal(t, campaign.CodeRetry, now.Refusal.Code)
			require.Contains(t, now.Why, "no room on the disk")
			require.Equal(t, w.Clock.Now().Add(wait), now.Refusal.Until, "twice as long each time")
			require.Zero(t, w.Told(task.ID+":failed"))
			advance(w, wait-time.Second, hour)
			require.Equal(t, campaign.Retrying, w.Task(task.ID).State)
			advance(w, time.Second, time.Second)
			require.Equal(t, campaign.Accepted, w.Task(task.ID).State)
		}
		last := w.Task(task.ID)
		actions[last.AssignmentID] = true
		require.Len(t, actions, 3, "each attempt has its own action")
		w.Says(task, update.Failed, "no room on the disk")
		w.Settle()
		require.Equal(t, campaign.FailedTask, w.Task(task.ID).State)
		require.Equal(t, 1, w.Told(task.ID+":failed"))
	})
}

func TestWhatMakesNoProgressHasFailed(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 1)
	c := one(campaign.Safety)
	c.Timeout = fleet.Duration(6 * hour)
	w.Started(c)
	task := w.Tasks(0)[0]
	w.Choose(task, campaign.StartNow)
	for range 5 { // it says something every five hours: it goes on
		w.Says(task, update.Running, "still downloading")
		w.Settle()
		advance(w, 5*hour, hour)
		require.Equal(t, campaign.Installing, w.Task(task.ID).State)
	}
	advance(w, hour, 30*time.Minute)
	got := w.Task(task.ID)
	require.Equal(t, campaign.FailedTask, got.State)
	require.Contains(t, got.Why, "no progress for 6h")
	_, err := w.Updates.Feedback(t.Context(), task.UnitID, got.AssignmentID, update.Feedback{State: update.Running})
	require.Equal(t, fault.Conflict, fault.KindOf(err), "late words are refused")
}

// The unit was only slow: its version arrives before the next attempt.
func TestWhatWasGivenUpMayComeThrough(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 1)
	c := one(campaign.Safety)
	c.Timeout, c.Retry = fleet.Duration(6*hour), campaign.Retry{Limit: 1, After: fleet.Duration(hour)}
	w.Started(c)
	task := w.Tasks(0)[0]
	w.Choose(task, campaign.StartNow)
	w.Says(task, update.Running)
	w.Settle()
	advance(w, 6*hour+time.Minute, hour)
	require.Equal(t, campaign.Retrying, w.Task(task.ID).State)
	w.Reports(task.UnitID, "2.0.0")
	advance(w, hour, hour)
	got := w.Task(task.ID)
	require.Equal(t, campaign.Verifying, got.State, got.Why)
	require.Equal(t, w.Clock.Now(), got.InstalledAt)
}

func TestTheNewestReleaseWins(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := campaigntest.New(t, db, 4)
		w.Started(one(campaign.Safety))
		old := w.Tasks(0)
		w.Choose(old[1], campaign.StartNow)
		w.Choose(old[2], campaign.StartNow)
		w.Says(old[2], update.Running)
		w.Settle()
		next, err := w.Updates.Release(t.Context(), campaigntest.Release)
		require.NoError(t, err)
		next.Name, next.Version, next.Counter = "charger-3.0.0", "3.0.0", 0
		require.NoError(t, w.Updates.Put(t.Context(), next))
		c := one(campaign.Safety)
		c.Name, c.Release = "newer", next.Name
		w.Started(c)
		for i, want := range []campaign.TaskState{campaign.Superseded, campaign.Superseded, campaign.Installing, campaign.Superseded} {
			got := w.Task(old[i].ID)
			require.Equal(t, want, got.State, i)
			if want == campaign.Superseded {
				require.Equal(t, campaign.CodeSuperseded, got.Refusal.Code)
				require.Equal(t, "newer", got.Refusal.Name)
			}
		}
		fresh := map[string]campaign.Task{}
		for _, x := range w.Tasks(0) {
			if x.Campaign == "newer" {
				fresh[x.UnitID] = x
			}
		}
		require.Equal(t, campaign.Offered, fresh[old[0].UnitID].State)
		require.Equal(t, campaign.Planned, fresh[old[2].UnitID].State, "what has begun is waited for")
		require.Equal(t, campaign.CodeBusy, fresh[old[2].UnitID].Refusal.Code)
		// The unit that may have seen the older one agrees to leave it.
		_, err = w.Updates.CancelFeedback(t.Context(), old[1].UnitID, w.Task(old[1].ID).AssignmentID, update.Feedback{State: update.Canceled})
		require.NoError(t, err)
		w.Reports(old[2].UnitID, "2.0.0")
		advance(w, 2*hour, 10*time.Minute)
		require.Equal(t, campaign.Superseded, w.Task(old[1].ID).State)
		for _, x := range fresh {
			require.Equal(t, campaign.Offered, w.Task(x.ID).State, x.UnitID)
		}
	})
}

func TestOwnersHours(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 3)
	ctx := t.Context()
	tasks := []string{"owner-1", "owner-2", "owner-3"}
	require.NoError(t, w.Campaigns.SetPreferences(ctx, tasks[0], campaign.Preferences{
		TimeZone: "Asia/Tokyo", Hours: []window.Hours{{From: "01:00", To: "04:00"}}, Quiet: []window.Hours{{From: "22:00", To: "09:00"}},
	}))
	require.NoError(t, w.Campaigns.SetPreferences(ctx, tasks[1], campaign.Preferences{Manual: true}))
	for _, bad := range []campaign.Preferences{
		{TimeZone: "Mars"}, {Quiet: []window.Hours{{From: "x", To: "y"}}}, {Quiet: []window.Hours{{From: "00:00", To: "00:00"}}}, {Hours: []window.Hours{{Days: []string{"x"}, From: "01:00", To: "02:00"}}},
	} {
		require.Equal(t, fault.Invalid, fault.KindOf(w.Campaigns.SetPreferences(ctx, tasks[0], bad)), "%+v", bad)
	}
	c := one(campaign.Security)
	c.Deadline, c.Remind = fleet.Duration(3*day), fleet.Duration(day)
	w.Started(c)
	all := w.Tasks(0)
	advance(w, 3*day-time.Minute, 30*time.Minute)
	for _, x := range all {
		require.Zero(t, w.Task(x.ID).AssignmentID, "not before the deadline")
	}
	// The deadline is noon UTC: 21:00 in Tokyo, where the owner is told at once
	// and the update starts at one in the night.
	advance(w, time.Minute, time.Minute)
	got := w.Task(all[0].ID)
	require.Equal(t, campaign.Scheduled, got.State)
	require.Equal(t, campaign.CodeCountdown, got.Refusal.Code)
	require.Equal(t, time.Date(2014, 3, 6, 16, 0, 0, 0, time.UTC), got.At)
	require.Equal(t, 1, w.Told(got.ID+":countdown"))
	require.Equal(t, w.Clock.Now().Add(hour), w.Task(all[2].ID).At, "the default: an hour's warning, any hour")
	require.Equal(t, campaign.Offered, w.Task(all[1].ID).State, "who has opted out is reminded")
	_, err := w.Campaigns.Choose(ctx, "owner-3", all[2].ID, campaign.Decline, time.Time{})
	require.NoError(t, err, "also during the countdown")
	advance(w, 4*hour-time.Minute, 10*time.Minute)
	require.Zero(t, w.Task(all[0].ID).AssignmentID)
	advance(w, time.Minute, time.Minute)
	require.NotZero(t, w.Task(all[0].ID).AssignmentID)
	advance(w, 10*day, hour)
	require.Zero(t, w.Task(all[1].ID).AssignmentID)
	require.Zero(t, w.Task(all[2].ID).AssignmentID)
}

func TestAnExpiredOfferIsMadeAgain(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 1)
	c := one(campaign.Feature)
	c.Deadline, c.Reoffer = fleet.Duration(7*day), fleet.Duration(14*day)
	w.Started(c)
	task := w.Tasks(0)[0]
	advance(w, 7*day, hour)
	require.Equal(t, campaign.Expired, w.Task(task.ID).State)
	advance(w, 14*day-hour, hour)
	require.Equal(t, campaign.Expired, w.Task(task.ID).State)
	advance(w, hour, hour)
	again := w.Task(task.ID)
	require.Equal(t, campaign.Offered, again.State)
	require.Equal(t, 1, again.Round)
	require.Equal(t, w.Clock.Now().Add(7*day), again.Deadline)
	require.Equal(t, 1, w.Told(task.ID+":again1:offer"))
}

// Reminders count when they could be seen: one that was not delivered does
// not, nor does one that is answered by not now.
func TestRemindersThatCount(t *testing.T) {
	t.Parallel()
	w := campaigntest.New(t, sqldbtest.SQLite(t), 3)
	c := one(campaign.Service)
	c.Deadline, c.Remind, c.Reminders = fleet.Duration(60*day), fleet.Duration(day), 3
	w.Started(c)
	tasks := w.Tasks(0)
	w.Undelivered.Store(true)
	advance(w, 5*day+hour, hour)
	require.Zero(t, w.Task(tasks[0].ID).Reminded, "none was delivered")
	require.Equal(t, 1, w.Told(tasks[0].ID+":remind:5"))
	w.Undelivered.Store(false)
	before := w.Choose(tasks[1], campaign.NotNow).Reminded
	for range 5 { // the owner puts it off whenever reminded
		advance(w, day, hour)
		w.Choose(tasks[1], campaign.NotNow)
	}
	require.Equal(t, before, w.Task(tasks[1].ID).Reminded, "a snooze burns none")
	advance(w, 20*day, hour)
	got := w.Task(tasks[0].ID)
	require.Equal(t, 3, got.Reminded)
	require.Zero(t, w.Told(fmt.Sprintf("%s:remind:%d", got.ID, got.Nudges)), "no more than three that count")
	require.Equal(t, campaign.Offered, got.State)
}

func TestUnitsThatComeToMatchJoin(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		ctx := t.Context()
		w := campaigntest.New(t, db, 30)
		w.Cohorts.Put(cohort.Snapshot{
			ID: "snap-1", Definition: cohort.Definition{Name: campaigntest.Cohort, Product: campaigntest.Product, Attributes: &cohort.Attributes{Hardware: []string{"C"}}},
			State: cohort.Ready, At: campaigntest.Start,
		}, nil)
		turn := func(ids ...string) {
			var units []fleet.Unit
			for _, id := range ids {
				u, err := db.Fleet().Unit(ctx, id)
				require.NoError(t, err)
				u.Hardware = "C"
				units = append(units, u)
			}
			require.NoError(t, db.Fleet().PutUnits(ctx, units))
		}
		turn(w.Units[0])
		c := campaigntest.Campaign(campaign.Safety)
		c.Dynamic, c.Every = true, fleet.Duration(hour)
		c.Waves = []campaign.Wave{{Name: "first", Count: 3}, {Name: "half", Share: 0.5}, {Name: "rest"}}
		run := w.Started(c)
		require.Equal(t, campaign.Running, run.State, "a dynamic campaign may begin with nobody")
		require.Len(t, w.Tasks(-1), 1, "the first look is at all")
		turn(w.Units[1:20]...)
		turn(w.Units[1])
		advance(w, 2*hour, 20*time.Minute)
		list := w.Tasks(-1)
		require.Len(t, list, 20)
		waves := map[int]int{}
		for _, x := range list {
			require.False(t, x.JoinedAt.IsZero())
			require.Equal(t, "hardware C", x.JoinedWhy)
			require.NotZero(t, x.Wave, "a wave that counts is full")
			require.False(t, run.Comparable(&x))
			waves[x.Wave]++
		}
		require.Len(t, waves, 2)
		// A restart finds the same, and nobody joins twice.
		w.Campaigns = campaign.NewManager(w.Config)
		advance(w, 3*hour, hour)
		require.Len(t, w.Tasks(-1), 20)
		run, err := db.Campaign().Campaign(ctx, c.Name)
		require.NoError(t, err)
		require.Equal(t, 20, run.Joined)
		_, err = w.Campaigns.Cancel(ctx, c.Name, "enough")
		require.NoError(t, err)
		turn(w.Units[20])
		advance(w, 2*hour, hour)
		require.Len(t, w.Tasks(-1), 20)
	})
}

// A crash between any two pages of planning or ending resumes, and the waves
// are those that a dry run showed.
func TestPlanningResumes(t *testing.T) {
	t.Parallel()
	const n = 12_000
	w := campaigntest.New(t, sqldbtest.SQLite(t), 10)
	ctx := t.Context()
	var units []fleet.Unit
	var members []cohort.Member
	for i := range n {
		id := fmt.Sprintf("X-%06d", i)
		units = append(units, fleet.Unit{ID: id, Key: int64(1000 + i), Product: campaigntest.Product, Serial: id, OwnerID: "owner-1", State: fleet.UnitActive})
		members = append(members, cohort.Member{UnitID: id, UnitKey: int64(1000 + i), List: cohort.In})
	}
	require.NoError(t, w.DB.Fleet().PutUnits(ctx, units))
	w.Cohorts.Put(cohort.Snapshot{ID: "snap-1", Definition: cohort.Definition{Name: campaigntest.Cohort, Product: campaigntest.Product}, State: cohort.Ready}, members)
	c := campaigntest.Campaign(campaign.Service)
	c.Waves = []campaign.Wave{{Name: "few", Count: 100}, {Name: "named", Units: []string{"X-000007", "X-011999"}}, {Name: "tenth", Share: 0.1}, {Name: "rest"}}
	require.NoError(t, w.Campaigns.Put(ctx, c))
	plan, told, err := dryRun(ctx, w, c.Name)
	require.NoError(t, err)
	require.Equal(t, n, plan.OfferedN)
	require.Len(t, told, n)
	cut, stop := context.WithCancel(ctx)
	pages := 0
	cfg := w.Config
	cfg.Store = stopping{w.DB.Campaign(), func() {
		if pages++; pages == 2 {
			stop() // the process dies in the second page
		}
	}}
	_, err = campaign.NewManager(cfg).Start(cut, c.Name, "test", "")
	require.Error(t, err)
	run, err := w.DB.Campaign().Campaign(ctx, c.Name)
	require.NoError(t, err)
	require.Equal(t, campaign.Planning, run.State)
	require.Equal(t, 5000, run.Planned)
	w.Campaigns = campaign.NewManager(w.Config) // another process
	for run.State == campaign.Planning {
		_, err = w.Campaigns.Pass(ctx)
		require.NoError(t, err)
		run, err = w.DB.Campaign().Campaign(ctx, c.Name)
		require.NoError(t, err)
	}
	require.Equal(t, n, run.Planned)
	counts, err := w.DB.Campaign().CountTasks(ctx, run.ID)
	require.NoError(t, err)
	by := make([]int, 4)
	for _, x := range counts {
		by[x.Wave] += x.N
	}
	for i, p := range plan.Waves {
		require.Equal(t, p.Units, by[i], p.Name)
	}
	require.Equal(t, 100, by[0])
	require.Equal(t, 2, by[1])
	run, err = w.Campaigns.Cancel(ctx, c.Name, "enough")
	require.NoError(t, err)
	require.True(t, run.Closing, "many tasks are ended after the answer")
	require.Equal(t, fault.Conflict, fault.KindOf(w.Campaigns.Delete(ctx, c.Name)))
	w.Settle()
	counts, err = w.DB.Campaign().CountTasks(ctx, run.ID)
	require.NoError(t, err)
	for _, x := range counts {
		require.Equal(t, campaign.Withdrawn, x.State)
	}
	require.NoError(t, w.Campaigns.Delete(ctx, c.Name))
}

type stopping struct {
	campaign.Store
	page func()
}

func (s stopping) AddTasks(ctx context.Context, t []campaign.Task) error {
	s.page()
	return s.Store.AddTasks(ctx, t)
}
