package condition_test

import (
	"context"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/telemetry"
)

// habit is how the units of a simulated fleet report.
type habit struct {
	name   string
	every  time.Duration
	loss   float64 // of reports, by chance
	jitter float64 // of a report's time, share of the interval, either way
	awake  int     // hours a day in which it reports; 0: all
}

// deaths runs a fleet by that habit, in which half of the units die at some
// time in the last month, and counts what the default silence detector says.
// Units report at times of their own, so that no outage is seen in single deaths.
func deaths(t *testing.T, h habit, units, months int) (falsely, first, found, died int, late time.Duration) {
	t.Helper()
	d := condition.Detector{Name: "silent", Version: 1, Product: "wall-charger", Type: condition.TypeSilence, Severity: condition.Minor, Purpose: "operation"}
	e, err := condition.NewEvaluator(everyone, []condition.Definition{{Product: charger(), Detectors: []condition.Detector{d}}})
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(4, uint64(h.every)))
	end := start.Add(time.Duration(months) * 30 * 24 * time.Hour)
	type unit struct {
		next, death time.Time
		phase       time.Duration
	}
	fleet := make([]unit, units)
	for i := range fleet {
		fleet[i].phase = time.Duration(r.Int64N(int64(h.every)))
		fleet[i].next = start.Add(fleet[i].phase)
		if i%2 == 0 {
			fleet[i].death = end.Add(-time.Duration(r.Int64N(int64(25*24*time.Hour))) - 4*24*time.Hour)
		}
	}
	ctx := context.Background()
	tick := max(h.every/10, time.Minute)
	// At each death: how long it takes to be found, in the unit's own terms.
	check := func(f *condition.Finding) {
		key, err := strconv.Atoi(f.UnitID[len("WC-"):])
		require.NoError(t, err)
		u := &fleet[key-1]
		if u.death.IsZero() || f.OpenedAt.Before(u.death.Add(-h.every)) {
			falsely++
			if f.OpenedAt.Before(start.Add(30 * 24 * time.Hour)) {
				first++
			}
			return
		}
		found++
		late = max(late, f.OpenedAt.Sub(f.Onset))
	}
	for now := start; now.Before(end); now = now.Add(tick) {
		for i := range fleet {
			u := &fleet[i]
			for !u.next.After(now) {
				at := u.next
				u.next = u.next.Add(h.every)
				if !u.death.IsZero() && at.After(u.death) || r.Float64() < h.loss || h.awake > 0 && at.Hour() >= h.awake {
					continue
				}
				if h.jitter > 0 {
					at = at.Add(time.Duration((2*r.Float64() - 1) * h.jitter * float64(h.every) / 2))
				}
				ms := min(at.UnixMilli(), now.UnixMilli())
				require.NoError(t, e.Mark(ctx, &telemetry.Mark{Kind: telemetry.MarkContact, Unit: int64(i + 1), At: ms}))
			}
		}
		require.NoError(t, e.Mark(ctx, &telemetry.Mark{Kind: telemetry.MarkTick, At: now.UnixMilli(), Text: strconv.FormatInt(tick.Milliseconds(), 10)}))
		if !e.Urgent() {
			continue
		}
		c, err := e.Take(ctx)
		require.NoError(t, err)
		for _, f := range c.Opened {
			if f.UnitID == "" {
				if h.awake == 0 || f.OpenedAt.After(start.Add(4*24*time.Hour)) { // the first nights
					t.Errorf("%s: an outage where there was none: %s at %s", h.name, f.Why, f.OpenedAt)
				}
				continue
			}
			check(&f)
		}
	}
	for i := range fleet {
		if !fleet[i].death.IsZero() {
			died++
		}
	}
	return falsely, first, found, died, late
}

// Deaths are found, and living units are not taken for dead, however many of
// their reports are lost. FETTLE_SOAK runs as many unit-months as the bound of
// one in a thousand can be told from.
func TestDeathsAreFoundAndTheLivingLeftAlone(t *testing.T) {
	t.Parallel()
	units, months := 60, 2
	if os.Getenv("FETTLE_SOAK") != "" {
		units, months = 1500, 3
	}
	for _, h := range []habit{
		{"hourly", time.Hour, 0, 0.1, 0},
		{"hourly, a tenth lost", time.Hour, 0.1, 0.1, 0},
		{"hourly, a tenth lost, at any time within the half hour", time.Hour, 0.1, 0.5, 0},
		{"every 15 minutes, a tenth lost", 15 * time.Minute, 0.1, 0.2, 0},
		{"hourly by day, a tenth lost", time.Hour, 0.1, 0.1, 14},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			falsely, first, found, died, late := deaths(t, h, units, months)
			months := float64(units*months) - float64(died)/2
			t.Logf("%.0f unit-months: %d living taken for dead (%d in the first month), %.2f per 1,000 unit-months after it; %d of %d deaths found, at most %.1f intervals after the last report",
				months, falsely, first, 1000*float64(falsely-first)/(months-float64(units)), found, died, late.Hours()/h.every.Hours())
			require.Equal(t, died, found, "every death is found")
			if h.awake == 0 {
				require.LessOrEqual(t, float64(falsely), 2+2*months/1000, "living units taken for dead")
			} else { // a first night is not known to be one: at most one each
				require.LessOrEqual(t, falsely-first, 2+int(months/500), "later than the first month")
				require.LessOrEqual(t, first, units+units/50)
			}
		})
	}
}
