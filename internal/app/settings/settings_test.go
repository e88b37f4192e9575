package settings_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/app/settings"
	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// A unit speaks of what it was told itself. Whoever names another unit's change
// is refused, written down and counted, and ends nothing.
func TestAnotherUnitsSettingIsNotItsToRefuse(t *testing.T) {
	t.Parallel()
	w, ctx := campaigntest.New(t, sqldbtest.SQLite(t), 2), t.Context()
	var log bytes.Buffer
	metrics := prometheus.NewRegistry()
	source := settings.New(settings.Config{
		Desired: w.Updates.Settings, Answer: w.Updates.AnswerSettings, Assignment: w.Updates.Assignment,
		Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: metrics,
	})
	require.NoError(t, w.Updates.Put(ctx, update.Release{
		Name: "sixteen", Product: campaigntest.Product, Version: "sixteen", Kind: update.Safety, Minutes: 1,
		Notes: map[string]string{"en": "Charges more gently."}, Settings: &update.Settings{Parameters: map[string]any{"max_current": 16.0}},
	}))
	const current = "parameter:max_current"
	told := map[string]int64{}
	for _, unit := range []string{campaigntest.UnitID(1), campaigntest.UnitID(2)} {
		a, err := w.Updates.Assign(ctx, unit, "sixteen", unit)
		require.NoError(t, err)
		_, err = w.Updates.Offer(ctx, a.ID, w.Clock.Now())
		require.NoError(t, err)
		list, err := source.Desired(ctx, unit)
		require.NoError(t, err)
		require.Equal(t, map[string]device.Setting{current: {Value: "16", Revision: a.ID}}, list)
		told[unit] = a.ID
	}
	one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
	refuse := func(unit string, revision int64) error {
		return source.Answered(ctx, unit, map[string]device.Answer{current: {Refused: true, Why: "no", Revision: revision}})
	}
	state := func(unit string) update.AssignmentState {
		a, err := w.Updates.Assignment(ctx, told[unit])
		require.NoError(t, err)
		return a.State
	}
	counted := func(n string) {
		t.Helper()
		require.NoError(t, testutil.GatherAndCompare(metrics, strings.NewReader(`# HELP fettle_unit_refused_total Words of units over MQTT and HTTPS that were not believed, by reason: action, on an update or a setting of another unit.
# TYPE fettle_unit_refused_total counter
fettle_unit_refused_total{reason="action"} `+n+"\n")))
	}
	counted("0")
	err := refuse(two, told[one])
	require.Equal(t, fault.Invalid, fault.KindOf(err), err)
	require.Equal(t, "revisions."+current, fault.FieldsOf(err)[0].Path)
	require.Equal(t, fault.Invalid, fault.KindOf(refuse("nobody", told[one])), "nor is it a stranger's")
	counted("2")
	require.Contains(t, log.String(), "reason=action unit="+two)
	require.Equal(t, update.Running, state(one))
	require.Equal(t, update.Running, state(two))

	require.NoError(t, refuse(two, 4711), "what nobody was told, as before a backup was restored, ends nothing")
	require.Equal(t, update.Running, state(two))
	require.NoError(t, refuse(two, told[two]))
	require.Equal(t, update.Failed, state(two))
	require.NoError(t, refuse(one, 0), "the last")
	require.Equal(t, update.Failed, state(one))
	counted("2")
}
