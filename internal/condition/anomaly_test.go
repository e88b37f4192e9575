package condition_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

func unusual() condition.Detector {
	return condition.Detector{
		Name: "unusual", Version: 1, Product: "wall-charger", Type: condition.TypeAnomaly, Severity: condition.Minor, Purpose: "care",
		Anomaly: &spec.Anomaly{Signals: []string{"plug_temperature"}, Budget: "1 per unit-month", Warmup: fleet.Duration(24 * time.Hour)},
	}
}

func TestAnomalyIsFoundExplainedAndCleared(t *testing.T) {
	t.Parallel()
	w := newWatch(t, unusual())
	w.permit()
	at := func(minute int) float64 { return 50 + 5*math.Sin(float64(minute)/60) + float64(minute*7919%13)/10 }
	minute := 0
	run := func(rows int, plus float64) {
		for range rows {
			w.row(minute, fmt.Sprintf("plug_temperature=%g", at(minute)+plus))
			if minute%500 == 0 {
				w.restart()
			}
			minute += 5
		}
	}
	run(4*288, 0)
	quiet := len(w.all())
	require.LessOrEqual(t, quiet, 1, "%v", w.all())
	run(6, 60)
	fs := w.all()
	require.Len(t, fs, quiet+1)
	f := fs[quiet]
	require.Equal(t, condition.Open, f.State)
	require.Regexp(t, `^unusual for this unit: plug_temperature 1[01][0-9.]+ °C \(usually [0-9.]+ to [0-9.]+ °C\); score [0-9.]+ \(above 1 is beyond the budget\)$`, f.Why)
	require.Greater(t, f.Peak, 1.0)
	run(2*288, 0)
	require.Equal(t, condition.Cleared, w.all()[quiet].State)

	w.mark(minute, telemetry.MarkMaintained, "plug=replacement")
	run(200, 300) // less than the warm-up
	require.Len(t, w.all(), len(fs), "%v", w.all())
}

func TestAnomalyIsDeclared(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(a *spec.Anomaly)
		want   string
	}{
		"right":     {func(*spec.Anomaly) {}, ""},
		"budget":    {func(a *spec.Anomaly) { a.Budget = "few" }, "spec.anomaly.budget: expected a number of findings by year, month, week or day, as 1/year or 1 per unit-year, got few"},
		"slashed":   {func(a *spec.Anomaly) { a.Budget = "2/week" }, ""},
		"no signal": {func(a *spec.Anomaly) { a.Signals = []string{"current", "mode"} }, "spec.anomaly.signals[1]: expected a numeric signal of product wall-charger (current, plug_temperature), got mode"},
		"twice":     {func(a *spec.Anomaly) { a.Signals = []string{"current", "current"} }, "spec.anomaly.signals[1]: expected each signal once, got current"},
		"mode":      {func(a *spec.Anomaly) { a.Mode = "speed" }, "spec.anomaly.mode: expected a signal of product wall-charger (current, plug_temperature, charging, mode, state), got speed"},
		"when":      {func(a *spec.Anomaly) { a.When = "amps > 1" }, `spec.anomaly.when: expected a signal of product wall-charger (current, plug_temperature, charging, mode, state) at line 1, column 1, got "amps" in "amps > 1"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, d := charger(), unusual()
			tt.change(d.Anomaly)
			fields := condition.Validate(&p, &d)
			if tt.want == "" {
				require.Empty(t, fields)
				return
			}
			require.Len(t, fields, 1)
			require.Equal(t, tt.want, fields[0].String())
		})
	}
}
