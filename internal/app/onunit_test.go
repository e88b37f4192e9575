package app

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/app/settings"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/rest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/trail"
)

// What an owner chooses on the unit itself, which the agent says when it is
// back on the line, stands in the audit trail: whose choice it was, that the
// unit said it, what it was and of which update; and that it was refused,
// where it came too late.
func TestAChoiceOnTheUnitIsEnteredInTheAuditTrail(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := campaigntest.New(t, db, 3), t.Context()
		c := campaigntest.Campaign(campaign.Safety)
		c.Waves = []campaign.Wave{{Name: "all"}}
		w.Started(c)
		w.Settle()
		tasks := map[string]campaign.Task{}
		for _, x := range w.Tasks(-1) {
			require.Equal(t, campaign.Offered, x.State)
			w.Choose(x, campaign.StartNow) // in the portal: from then on the unit has orders, and may be asked itself
		}
		w.Settle()
		for _, x := range w.Tasks(-1) {
			tasks[x.UnitID] = x
		}
		h := &house{engines: &engines{records: db}, updates: w.Updates, campaigns: w.Campaigns}
		metrics, log := prometheus.NewRegistry(), &bytes.Buffer{}
		h.settings = settings.New(settings.Config{Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: metrics})
		h.trail = audit.New(audit.Config{Store: trail.New(db), Tx: db, Clock: clock.Real{}, Log: slog.New(slog.DiscardHandler)})
		entries := func() (out []audit.Entry) {
			require.NoError(t, h.trail.Each(ctx, audit.Filter{}, func(_ audit.Record, e audit.Entry) error {
				out = append(out, e)
				return nil
			}))
			return out
		}
		is := func(e *audit.Entry, n int, choice string, status int) {
			t.Helper()
			unit := campaigntest.UnitID(n)
			person, err := h.trail.Person(ctx, tasks[unit].OwnerID)
			require.NoError(t, err)
			require.Equal(t, audit.Change, e.Kind)
			require.Equal(t, audit.Actor{Party: audit.Owner, ID: person.Alias, Via: "unit", Of: unit}, e.Actor)
			require.Equal(t, "chooseUpdate", e.Operation)
			require.Equal(t, "updates/"+tasks[unit].ID, e.Object)
			require.Equal(t, []string{"choice=" + choice}, e.Changed)
			require.Equal(t, []string{person.Alias}, e.About)
			require.Equal(t, status, e.Status, "of HTTP, where it was not done")
		}
		say := func(n int, choice string, until time.Time) error {
			return h.choseOnUnit(ctx, campaigntest.UnitID(n), rest.Choice{Action: tasks[campaigntest.UnitID(n)].AssignmentID, Choice: choice, Until: until})
		}

		require.NoError(t, say(1, rest.NotNow, time.Time{}))
		require.NoError(t, say(2, rest.Postpone, w.Clock.Now().Add(30*time.Hour)))
		require.NoError(t, say(3, rest.StartNow, time.Time{}))
		got := entries()
		require.Len(t, got, 3)
		is(&got[0], 1, rest.NotNow, 0)
		is(&got[1], 2, rest.Postpone, 0)
		is(&got[2], 3, rest.StartNow, 0)
		require.Equal(t, campaign.Snoozed, w.Task(tasks[campaigntest.UnitID(1)].ID).State)
		require.Equal(t, campaign.Scheduled, w.Task(tasks[campaigntest.UnitID(2)].ID).State)

		// Said offline and heard when the campaign is over: refused, and entered as such.
		_, err := w.Campaigns.Cancel(ctx, c.Name, "test")
		require.NoError(t, err)
		w.Settle()
		require.Equal(t, fault.Conflict, fault.KindOf(say(1, rest.StartNow, time.Time{})))
		got = entries()
		require.Len(t, got, 4)
		is(&got[3], 1, rest.StartNow, 409)

		// Of another unit's update nothing is done, and nobody's choice is entered:
		// it is counted, and written down.
		require.Empty(t, log.String())
		err = h.choseOnUnit(ctx, campaigntest.UnitID(2), rest.Choice{Action: tasks[campaigntest.UnitID(1)].AssignmentID, Choice: rest.StartNow})
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		require.Len(t, entries(), 4)
		require.Contains(t, log.String(), "reason=action unit="+campaigntest.UnitID(2))
		counts, err := metrics.Gather()
		require.NoError(t, err)
		require.InDelta(t, 1, counts[0].GetMetric()[0].GetCounter().GetValue(), 0)
		_, err = h.trail.Verify(context.WithoutCancel(ctx), nil)
		require.NoError(t, err)
	})
}
