package campaign_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// listening checks when owners are told something.
type listening struct {
	campaign.Notices
	w     *campaigntest.World
	quiet []window.Hours
	fail  func(format string, args ...any)
}

func (l listening) Tell(ctx context.Context, n campaign.Notice) error {
	switch now := l.w.Clock.Now(); n.Kind {
	case campaign.NoticeReminder, campaign.NoticeEscalation, campaign.NoticeCountdown:
		if loc := n.Owner.Location(); window.Open(l.quiet, now, loc) {
			l.fail("%s told at %s", n.Kind, now.In(loc))
		}
	default:
	}
	return l.Notices.Tell(ctx, n)
}

// further is how far a task is within an attempt; it never goes back.
func further(s campaign.TaskState) int {
	switch s {
	case campaign.Installing:
		return 1
	case campaign.Claimed:
		return 2
	case campaign.Verifying, campaign.Unjudged, campaign.Verified, campaign.Relapsed:
		return 3
	default:
		return 0
	}
}

// Whatever owners, units, operators, time and crashes do: no unit has two
// updates under way, limits hold, progress never runs backwards, nobody is
// reminded at night, and what is over stays over.
func TestTheStateMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		w := campaigntest.New(t, sqldbtest.SQLite(t), 4)
		ctx := t.Context()
		kind := rapid.SampledFrom([]campaign.Kind{campaign.Safety, campaign.Security, campaign.Service}).Draw(r, "kind")
		c := one(kind)
		c.Deadline, c.Remind, c.Timeout = fleet.Duration(3*day), fleet.Duration(12*hour), fleet.Duration(6*hour)
		c.MaxConcurrent, c.MaxPerHour = rapid.IntRange(0, 2).Draw(r, "at once"), rapid.IntRange(0, 2).Draw(r, "an hour")
		c.Retry = campaign.Retry{Limit: rapid.IntRange(0, 2).Draw(r, "retries"), After: fleet.Duration(hour)}
		tx := &aborting{Transactor: w.DB, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "crashes"), 1)), off: true}
		cfg := w.Config
		cfg.Tx = tx
		cfg.Notices = listening{cfg.Notices, w, []window.Hours{{From: "21:00", To: "08:00"}}, r.Fatalf}
		w.Campaigns = campaign.NewManager(cfg)
		w.Updates.SetGate(w.Campaigns.Guard)
		require.NoError(t, w.Campaigns.Put(ctx, c))
		_, err := w.Campaigns.Start(ctx, c.Name, "test", "")
		require.NoError(t, err)
		w.Settle()
		before := map[string]campaign.Task{}
		var starts []time.Time
		given := map[int64]bool{}
		refused := func(err error) {
			if k := fault.KindOf(err); err != nil && k != fault.Conflict && k != fault.NotFound && k != fault.Invalid {
				r.Fatalf("%v", err)
			}
		}
		pick := func() campaign.Task {
			list := w.Tasks(-1)
			return list[rapid.IntRange(0, len(list)-1).Draw(r, "unit")]
		}
		r.Repeat(map[string]func(*rapid.T){
			"time": func(r *rapid.T) {
				advance(w, time.Duration(rapid.IntRange(1, 14*60).Draw(r, "minutes"))*time.Minute, 37*time.Minute)
			},
			"crash": func(*rapid.T) {
				tx.off = false
				_, _ = w.Campaigns.Pass(ctx)
				tx.off = true
				w.Campaigns = campaign.NewManager(cfg)
				w.Settle()
			},
			"choice": func(r *rapid.T) {
				x := pick()
				choice := rapid.SampledFrom([]campaign.Choice{campaign.StartNow, campaign.StartNow, campaign.Tonight, campaign.SetTime, campaign.NotNow, campaign.Decline}).Draw(r, "choice")
				_, err := w.Campaigns.Choose(ctx, x.OwnerID, x.ID, choice, w.Clock.Now().Add(5*hour))
				refused(err)
			},
			"unit": func(r *rapid.T) {
				x := pick()
				work, err := w.Updates.Work(ctx, x.UnitID)
				require.NoError(t, err)
				if work.Action == nil {
					return
				}
				if work.Action.State == update.Canceling {
					_, err = w.Updates.CancelFeedback(ctx, x.UnitID, work.Action.ID, update.Feedback{State: update.Canceled})
				} else {
					says := rapid.SampledFrom([]update.AssignmentState{update.Running, update.Running, update.Claimed, update.Failed}).Draw(r, "says")
					_, err = w.Updates.Feedback(ctx, x.UnitID, work.Action.ID, update.Feedback{State: says, Details: []string{"so"}})
				}
				refused(err)
				w.Settle()
			},
			"version": func(*rapid.T) {
				if x := pick(); x.State == campaign.Installing || x.State == campaign.Claimed {
					w.Reports(x.UnitID, "2.0.0")
					w.Settle()
				}
			},
			"pause": func(*rapid.T) {
				_, err := w.Campaigns.Pause(ctx, c.Name, "look")
				refused(err)
				for _, x := range w.Tasks(-1) {
					work, err := w.Updates.Work(ctx, x.UnitID)
					require.NoError(t, err)
					if err == nil && work.Action != nil && work.Action.State == update.Offered {
						r.Fatalf("%s is shown the update of a paused campaign", x.UnitID)
					}
				}
			},
			"resume": func(*rapid.T) {
				_, err := w.Campaigns.Resume(ctx, c.Name, "on")
				refused(err)
				w.Settle()
			},
			"": func(*rapid.T) {
				under := 0
				for _, x := range w.Tasks(-1) {
					list, err := w.Updates.OfUnit(ctx, x.UnitID, 100)
					require.NoError(t, err)
					open := 0
					for _, a := range list {
						if !a.Over() && a.State != update.Withheld {
							open++
						}
						if !a.Offered.IsZero() && !given[a.ID] {
							given[a.ID] = true
							starts = append(starts, a.Offered)
						}
					}
					if open > 1 {
						r.Fatalf("%s has %d updates under way", x.UnitID, open)
					}
					under += open
					was := before[x.ID]
					switch {
					case x.Attempt < was.Attempt:
						r.Fatalf("attempt %d after %d", x.Attempt, was.Attempt)
					case x.Attempt == was.Attempt && x.AssignmentID != 0 && further(x.State) < further(was.State) && !x.Over():
						r.Fatalf("%s went back from %s to %s", x.UnitID, was.State, x.State)
					case was.State == campaign.Verifying && x.State != campaign.Verifying:
						r.Fatalf("%s was installed, and is %s", x.UnitID, x.State)
					case x.Attempt > c.Retry.Limit+1:
						r.Fatalf("attempt %d of %d", x.Attempt, c.Retry.Limit+1)
					}
					before[x.ID] = x
				}
				if c.MaxConcurrent > 0 && under > c.MaxConcurrent {
					r.Fatalf("%d at once, of at most %d", under, c.MaxConcurrent)
				}
				for _, at := range starts {
					n := 0
					for _, b := range starts {
						if !b.Before(at) && b.Sub(at) < hour {
							n++
						}
					}
					if c.MaxPerHour > 0 && n > c.MaxPerHour {
						r.Fatalf("%d within an hour, of at most %d", n, c.MaxPerHour)
					}
				}
			},
		})
	})
}
