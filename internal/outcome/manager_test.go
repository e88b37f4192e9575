package outcome_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/outcome"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

var ref = condition.Ref{Name: campaigntest.Detector, Version: 1}

type world struct {
	*campaigntest.World
	t        *testing.T
	outcomes *outcome.Manager
	seq      uint64
	live     func(d condition.Ref, units []int64) ([]condition.Exposure, bool)
}

func newWorld(t *testing.T, db *sqldb.DB, n int) *world {
	t.Helper()
	w := &world{World: campaigntest.New(t, db, n), t: t}
	w.restart()
	return w
}

func (w *world) restart() {
	w.Campaigns = campaign.NewManager(w.Config)
	w.outcomes = outcome.NewManager(outcome.Config{
		Store: w.DB.Outcome(), Campaigns: w.Campaigns, Runs: w.DB.Campaign(), Fleet: w.DB.Fleet(), Consent: w.DB.Consent(),
		Condition: w.DB.Condition(), Tx: w.DB, Clock: w.Clock, Log: slog.New(slog.DiscardHandler),
		Exposures: w.live,
	})
}

// exposed gives a unit exposure since its version report (or since ever).
func (w *world) exposed(t campaign.Task, since time.Time, d time.Duration) {
	w.t.Helper()
	now := w.Clock.Now()
	w.seq++
	require.NoError(w.t, w.DB.Condition().Commit(w.t.Context(), "p", w.seq, nil, []condition.State{{
		UnitKey: t.UnitKey, Product: campaigntest.Product, JudgedAt: now, Data: []byte{1},
		Exposures: []condition.Exposure{{Detector: ref, UnitKey: t.UnitKey, Since: since, For: d, LastAt: now}},
	}}))
}

// faulty opens a finding of a unit now.
func (w *world) faulty(t campaign.Task) {
	w.t.Helper()
	now := w.Clock.Now()
	w.seq++
	require.NoError(w.t, w.DB.Condition().Commit(w.t.Context(), "p", w.seq, []condition.Finding{{
		ID: fmt.Sprintf("%s-%d", t.UnitID, now.UnixMilli()), Detector: ref, Severity: condition.Critical, UnitID: t.UnitID, UnitKey: t.UnitKey,
		Product: campaigntest.Product, State: condition.Open, Onset: now.Add(-time.Hour), OpenedAt: now, SeenAt: now, LastAt: now, Why: "hot plug",
	}}, nil))
}

// another opens a finding of another detector.
func (w *world) another(t campaign.Task) {
	w.t.Helper()
	now := w.Clock.Now()
	w.seq++
	require.NoError(w.t, w.DB.Condition().Commit(w.t.Context(), "p", w.seq, []condition.Finding{{
		ID: fmt.Sprintf("%s-other-%d", t.UnitID, now.UnixMilli()), Detector: condition.Ref{Name: "reboots", Version: 1}, Severity: condition.Warning,
		UnitID: t.UnitID, UnitKey: t.UnitKey, Product: campaigntest.Product, State: condition.Open, Onset: now, OpenedAt: now, SeenAt: now, LastAt: now, Why: "reboots",
	}}, nil))
}

func (w *world) pass() {
	w.t.Helper()
	w.Settle()
	require.NoError(w.t, w.outcomes.Pass(w.t.Context()))
	w.Settle()
}

func (w *world) run() campaign.Run {
	w.t.Helper()
	r, err := w.DB.Campaign().Campaign(w.t.Context(), campaigntest.Name)
	require.NoError(w.t, err)
	return r
}

// What a watcher knows and has not kept yet counts, as soon as it may.
func TestJudgedByWhatIsNotKeptYet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 12)
	may := false
	var now condition.Exposure
	w.live = func(d condition.Ref, units []int64) ([]condition.Exposure, bool) {
		require.Equal(t, ref, d)
		require.Equal(t, []int64{now.UnitKey}, units)
		return []condition.Exposure{now}, may
	}
	w.restart()
	w.Started(spec())
	x := w.Tasks(0)[0]
	now = condition.Exposure{Detector: ref, UnitKey: x.UnitKey}
	w.Clock.Advance(time.Hour)
	w.Installs(x)
	now.Since = w.Clock.Now()
	w.exposed(x, now.Since, time.Minute)
	w.pass()
	w.Clock.Advance(50 * time.Hour)
	now.For, now.LastAt = 25*time.Hour, w.Clock.Now()
	w.pass()
	require.Equal(t, campaign.Verifying, w.Task(x.ID).State, "a finding may be on its way")
	may = true
	w.Clock.Advance(time.Hour)
	w.pass()
	require.Equal(t, campaign.Verified, w.Task(x.ID).State)
}

func spec() campaign.Campaign {
	c := campaigntest.Campaign(campaign.Safety)
	c.Gate.MinJudged = 5
	c.Waves = []campaign.Wave{{Name: "first", Count: 10}, {Name: "all"}}
	return c
}

// Every unit of the first wave is cured, the others stay ill: the effect is
// demonstrated, the second wave opens, and the campaign ends.
func TestACampaignThatWorks(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := newWorld(t, db, 20)
		w.Started(spec())
		for _, x := range w.Tasks(-1) {
			w.exposed(x, campaigntest.Start.Add(-1000*time.Hour), 100*time.Hour)
		}
		first := w.Tasks(0)
		require.Len(t, first, 10)
		w.Clock.Advance(time.Hour)
		for _, x := range first {
			w.Installs(x)
		}
		w.pass()
		installed := w.Clock.Now()
		for _, x := range first {
			require.Equal(t, campaign.Verifying, w.Task(x.ID).State)
		}
		w.Clock.Advance(50 * time.Hour)
		for _, x := range w.Tasks(1) {
			w.faulty(x)
			w.exposed(x, campaigntest.Start.Add(-1000*time.Hour), 150*time.Hour)
		}
		w.pass()
		require.Equal(t, 0, w.run().WaveOpen, "exposure from before the update counts for nothing")
		for _, x := range first {
			w.exposed(x, installed, 25*time.Hour)
		}
		w.Clock.Advance(time.Hour)
		w.pass()
		for _, x := range first {
			require.Equal(t, campaign.Verified, w.Task(x.ID).State, w.Task(x.ID).Why)
		}
		run := w.run()
		require.Equal(t, 1, run.WaveOpen)
		require.Len(t, run.GatePassed, 1)
		status, err := w.outcomes.Status(t.Context(), campaigntest.Name)
		require.NoError(t, err)
		require.Equal(t, outcome.Demonstrated, status.Primary.Verdict, status.Primary.Why)
		require.Equal(t, outcome.Arm{Units: 10, Breached: 10}, status.Primary.NotOffered)
		require.Equal(t, outcome.Arm{Units: 10}, status.Primary.Offered)
		require.Equal(t, []string{outcome.GatePassed, outcome.GateOpen}, []string{status.Gates[0].State, status.Gates[1].State})

		w.restart()
		second := w.Tasks(1)
		for _, x := range second[:9] {
			w.Installs(x)
		}
		w.Choose(second[9], campaign.Decline)
		w.pass()
		installed = w.Clock.Now()
		w.Clock.Advance(72 * time.Hour)
		for _, x := range second[:9] {
			w.exposed(x, installed, 30*time.Hour)
		}
		w.pass()
		w.Clock.Advance(time.Hour)
		w.pass()
		require.Equal(t, campaign.Finished, w.run().State, w.run().Why)
		require.NoError(t, w.outcomes.Pass(t.Context()))
		report, err := w.outcomes.Report(t.Context(), campaigntest.Name)
		require.NoError(t, err)
		require.Equal(t, []int{20, 20, 19, 19, 19, 19, 0, 1}, []int{
			report.Involved, report.Offered, report.Started, report.Claimed, report.Installed, report.Verified, report.Relapsed, report.Declined,
		})
		require.Equal(t, outcome.Demonstrated, report.Effect.Verdict, "the first comparison decides, also when no control is left")
		require.Len(t, report.ByWave, 2)
		require.Equal(t, 10, report.ByWave[0].Verified)
		require.Contains(t, report.ByWave[1].Gate, outcome.GatePassed)
		w.Clock.Advance(time.Hour)
		again, err := w.outcomes.Report(t.Context(), campaigntest.Name)
		require.NoError(t, err)
		require.True(t, report.At.Equal(again.At), "the report is frozen")
	})
}

// A remedy that changes nothing: verified units relapse, the gate fails, the
// campaign pauses by itself and says why, and no effect is demonstrated.
func TestACampaignThatDoesNotWork(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w := newWorld(t, db, 20)
		w.Started(spec())
		for _, x := range w.Tasks(-1) {
			w.exposed(x, campaigntest.Start.Add(-time.Hour), time.Hour)
		}
		first := w.Tasks(0)
		for _, x := range first {
			w.Installs(x)
		}
		w.pass()
		installed := w.Clock.Now()
		w.Clock.Advance(30 * time.Hour)
		for _, x := range first {
			w.exposed(x, installed, 25*time.Hour)
		}
		w.pass()
		require.Equal(t, campaign.Verified, w.Task(first[0].ID).State)
		w.Clock.Advance(time.Hour)
		for _, x := range append(w.Tasks(1)[:6], first[:5]...) {
			w.faulty(x)
		}
		w.pass()
		require.Equal(t, campaign.Relapsed, w.Task(first[0].ID).State)
		run := w.run()
		require.Equal(t, campaign.Paused, run.State)
		require.Contains(t, run.Why, "the fault came back in 5 of 10 judged (50 %), more than 20 %")
		require.Equal(t, 0, run.WaveOpen)
		report, err := w.outcomes.Report(t.Context(), campaigntest.Name)
		require.NoError(t, err)
		require.Equal(t, outcome.NotDemonstrated, report.Effect.Verdict, report.Effect.Why)
		require.Equal(t, 5, report.Relapsed)

		// An operator who has looked at it may go on; it does not pause for
		// the same relapses again.
		_, err = w.Campaigns.Resume(t.Context(), campaigntest.Name, "looked at")
		require.NoError(t, err)
		w.Clock.Advance(24 * time.Hour)
		w.pass()
		require.Equal(t, campaign.Running, w.run().State)
		require.Equal(t, 1, w.run().WaveOpen)
		w.faulty(first[5])
		w.Clock.Advance(time.Hour)
		w.pass()
		require.Equal(t, campaign.Relapsed, w.Task(first[5].ID).State)
	})
}

func TestWithoutConsentNothingIsJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 10)
	w.Started(spec())
	x := w.Tasks(0)[0]
	no := consent.Choice{ID: "no", UnitID: x.UnitID, Purpose: "care", At: w.Clock.Now(), By: "owner:" + x.OwnerID}
	require.NoError(t, w.DB.Consent().AddChoices(t.Context(), []consent.Choice{no}))
	w.Installs(x)
	w.pass()
	w.exposed(x, w.Clock.Now(), 100*time.Hour)
	w.Clock.Advance(time.Hour)
	w.pass()
	require.Equal(t, campaign.Unjudged, w.Task(x.ID).State)
	require.Contains(t, w.Task(x.ID).Why, "no consent")
	yes := no
	yes.ID, yes.Given, yes.At = "yes", true, w.Clock.Now()
	require.NoError(t, w.DB.Consent().AddChoices(t.Context(), []consent.Choice{yes}))
	for range 22 {
		w.Clock.Advance(time.Hour)
		w.pass()
	}
	require.Equal(t, campaign.Verified, w.Task(x.ID).State, w.Task(x.ID).Why)
}

func TestUnreachableOwnersEndWithTheCampaign(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 4)
	c := spec()
	c.Waves = []campaign.Wave{{Name: "all", Share: 1}}
	w.Started(c)
	tasks := w.Tasks(0)
	w.Choose(tasks[0], campaign.StartNow) // and never comes
	w.Installs(tasks[1])
	w.Choose(tasks[2], campaign.Decline)
	w.pass()
	w.exposed(tasks[1], w.Clock.Now(), 25*time.Hour)
	for range 17 {
		w.Clock.Advance(24 * time.Hour)
		w.pass()
	}
	require.Equal(t, campaign.Finished, w.run().State)
	report, err := w.outcomes.Report(t.Context(), campaigntest.Name)
	require.NoError(t, err)
	require.Equal(t, []int{1, 1, 2}, []int{report.Verified, report.Declined, report.Unreachable})
	require.Equal(t, outcome.NoComparison, report.Effect.Verdict)
	require.Contains(t, w.Task(tasks[3].ID).Why, "reminded")
	a, err := w.Updates.Assignment(t.Context(), w.Task(tasks[0].ID).AssignmentID)
	require.NoError(t, err)
	require.Equal(t, "canceling", string(a.State))
	_, err = w.Campaigns.Choose(t.Context(), tasks[3].OwnerID, tasks[3].ID, campaign.StartNow, time.Time{})
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	require.NoError(t, w.Campaigns.Delete(t.Context(), campaigntest.Name))
	_, err = w.DB.Outcome().Record(t.Context(), report.Campaign)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestADraftHasNoReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 2)
	require.NoError(t, w.Campaigns.Put(t.Context(), spec()))
	_, err := w.outcomes.Report(t.Context(), campaigntest.Name)
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	s, err := w.outcomes.Status(t.Context(), campaigntest.Name)
	require.NoError(t, err)
	require.Equal(t, outcome.GateWaiting, s.Gates[0].State)
}

func TestAPausedCampaignSaysHowItsGateStands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 10)
	w.Started(spec())
	w.pass()
	_, err := w.Campaigns.Pause(t.Context(), campaigntest.Name, "looking into it")
	require.NoError(t, err)
	w.pass()
	s, err := w.outcomes.Status(t.Context(), campaigntest.Name)
	require.NoError(t, err)
	require.Equal(t, outcome.GateWaiting, s.Gates[0].State)
	require.Contains(t, s.Gates[0].Why, "the campaign is paused; 0 verified")
	require.Equal(t, "the wave is not open", s.Gates[1].Why)
}

// A bad release is stopped while its first wave goes on, as soon as the
// evidence is there; resumed, it is measured anew; and what finished campaigns
// came to is what the next one is measured by.
func TestABadReleaseIsStoppedByEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 60)
	c := spec()
	c.Gate = campaign.Gate{Soak: c.Gate.Soak, Verified: 0.9, Usual: 0.02}
	c.Waves = []campaign.Wave{{Name: "first", Count: 40}, {Name: "all"}}
	w.Started(c)
	begun := 0
	for i, x := range w.Tasks(0) {
		w.Clock.Advance(time.Millisecond) // far less than the time between two looks
		w.Choose(x, campaign.StartNow)
		begun++
		if i%3 == 0 {
			w.Says(x, update.Failed, "no space left")
		} else {
			w.Says(x, update.Claimed, "done")
			w.Reports(x.UnitID, "2.0.0")
		}
		w.pass()
		if w.run().State == campaign.Paused {
			break
		}
	}
	require.Equal(t, campaign.Paused, w.run().State)
	require.Equal(t, 4, begun, "at once, at the second failure")
	require.Contains(t, w.run().Why, "where 2 % is usual; a release as good as before comes to that in fewer than 1 of")
	s, err := w.outcomes.Status(t.Context(), campaigntest.Name)
	require.NoError(t, err)
	require.True(t, s.Evidence[0].Stops)
	require.NotEmpty(t, s.Evidence[0].Limits)
	require.Equal(t, begun, s.Evidence[0].Of)
	require.Equal(t, outcome.GateFailed, s.Gates[0].State)

	_, err = w.Campaigns.Resume(t.Context(), campaigntest.Name, "the disks were full; looked at")
	require.NoError(t, err)
	w.pass()
	require.Equal(t, campaign.Running, w.run().State, w.run().Why)
	s, err = w.outcomes.Status(t.Context(), campaigntest.Name)
	require.NoError(t, err)
	require.Equal(t, []int{0, 0}, []int{s.Evidence[0].Bad, s.Evidence[0].Of})
	_, err = w.Campaigns.Finish(t.Context(), campaigntest.Name, "enough")
	require.NoError(t, err)
	w.pass()

	w.Clock.Advance(time.Hour)
	next := spec()
	next.Name = "next"
	w.Started(next)
	w.pass()
	s, err = w.outcomes.Status(t.Context(), "next")
	require.NoError(t, err)
	require.Equal(t, "learned", s.Usual.Source)
	require.Equal(t, begun, s.Usual.Units)
}

// Units that were offered the update show something new, the others do not.
func TestHarmPausesACampaign(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sqldbtest.SQLite(t), 120)
	c := spec()
	c.Gate = campaign.Gate{Soak: c.Gate.Soak, Verified: 0.9, Usual: 0.02}
	c.Waves = []campaign.Wave{{Name: "first", Count: 60}, {Name: "all"}}
	w.Started(c)
	w.pass()
	for i, x := range w.Tasks(0) {
		w.Clock.Advance(2 * time.Minute)
		w.another(x)
		w.pass()
		if w.run().State == campaign.Paused {
			require.GreaterOrEqual(t, i, 5, "a few may be chance")
			require.Contains(t, w.run().Why, "that showed something new had been offered the update")
			return
		}
	}
	t.Fatal("harm was not noticed")
}
