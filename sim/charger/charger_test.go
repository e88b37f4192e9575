package charger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var start = time.Date(2014, 1, 6, 0, 0, 0, 0, time.UTC)

func fleet(t *testing.T, o Options) []*Unit {
	t.Helper()
	units, err := Fleet(o)
	require.NoError(t, err)
	require.Len(t, units, o.Units)
	return units
}

// live runs a unit and tells each reading.
func live(u *Unit, until time.Time, fn func(c *Charger, r Reading)) {
	c := New(u, start)
	for c.Due().Before(until) {
		fn(c, c.Report())
	}
}

func TestHealthyUnitsKeepAMargin(t *testing.T) {
	t.Parallel()
	for _, u := range fleet(t, Options{Units: 200, Seed: 1}) {
		if u.Defective {
			continue
		}
		for _, month := range []time.Month{time.January, time.July} {
			c := New(u, time.Date(2014, month, 6, 0, 0, 0, 0, time.UTC))
			for c.Due().Before(c.start.Add(20 * 24 * time.Hour)) {
				if r := c.Report(); r.Plug >= Limit-20 {
					t.Fatalf("unit %s at %s: %g Cel", u.ID, r.At, r.Plug)
				}
			}
		}
	}
}

// Every session of a defective unit that begins when its adapter has aged for
// 3 hours is over the limit for at least 40 minutes on end, which is more than
// the detector's hold.
func TestDefectiveUnitsExceedInEverySession(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, u := range fleet(t, Options{Units: 600, Seed: 2}) {
		if !u.Defective {
			continue
		}
		var over, longest time.Duration
		var last time.Time
		judged := false
		live(u, start.Add(14*24*time.Hour), func(c *Charger, r Reading) {
			switch {
			case r.Charging && r.Plug > Limit:
				if !last.IsZero() {
					over += r.At.Sub(last)
				}
				last = r.At
				longest = max(longest, over)
			case r.Charging:
				last, over = time.Time{}, 0
			default:
				if judged && longest > 0 || judged && c.aged > 3 {
					require.Greater(t, longest, 40*time.Minute, "unit %s at %s", u.ID, r.At)
					seen++
				}
				last, over, longest = time.Time{}, 0, 0
				judged = false
			}
			if r.Charging && !judged && c.todo > u.Habit.Energy*0.85 {
				judged = c.aged > 3
			}
		})
	}
	require.Greater(t, seen, 250)
}

func TestRemedyIsQuietAndGoesOnCharging(t *testing.T) {
	t.Parallel()
	for _, u := range fleet(t, Options{Units: 500, Seed: 3}) {
		if !u.Defective {
			continue
		}
		c := New(u, start)
		for c.Due().Before(start.Add(6 * 24 * time.Hour)) {
			c.Report()
		}
		c.Pause()
		at := c.now.Add(45 * time.Minute)
		c.Firmware = Firmware{Version: "2.0.0", Protects: true}
		c.Resume(at)
		before, _ := c.Load()
		for c.Due().Before(at.Add(14 * 24 * time.Hour)) {
			r := c.Report()
			if r.Plug >= Limit-4 || r.Charging && r.Current < MinCurrent-1 {
				t.Fatalf("unit %s: %+v", u.ID, r)
			}
		}
		after, _ := c.Load()
		require.Greater(t, after-before, 20.0, "hours of load after the remedy")
	}
}

func TestReportsMoveOnAndAreBounded(t *testing.T) {
	t.Parallel()
	messages := 0
	for _, u := range fleet(t, Options{Units: 200, Seed: 4}) {
		var last Reading
		live(u, start.Add(10*24*time.Hour), func(_ *Charger, r Reading) {
			messages++
			if !last.At.IsZero() {
				gap, most := r.At.Sub(last.At), 4*time.Hour
				if last.Charging {
					most = 25 * time.Minute
				}
				if gap <= 0 || gap > most || r.Energy < last.Energy {
					t.Fatalf("unit %s: %+v after %+v", u.ID, r, last)
				}
			}
			last = r
		})
	}
	perDay := float64(messages) / 200 / 10
	require.InDelta(t, 18, perDay, 5, "messages a unit and day")
}

func TestPlaceboIsIntermittentBeforeAndAfter(t *testing.T) {
	t.Parallel()
	share := func(f Firmware) float64 {
		sessions, hot := 0, 0
		for _, u := range fleet(t, Options{Units: 1000, Seed: 5, Intermittent: 0.5}) {
			if !u.Defective {
				continue
			}
			c := New(u, start)
			c.Firmware = f
			was, over := false, false
			for c.Due().Before(start.Add(12 * 24 * time.Hour)) {
				r := c.Report()
				if r.At.Before(start.Add(6 * 24 * time.Hour)) {
					continue
				}
				over = over || r.Plug > Limit
				if was && !r.Charging {
					sessions++
					if over {
						hot++
					}
					over = false
				}
				was = r.Charging
			}
		}
		return float64(hot) / float64(sessions)
	}
	require.InDelta(t, 0.5, share(Firmware{Version: "1.0.0"}), 0.08)
	require.InDelta(t, 0.5, share(Firmware{Version: "2.0.0"}), 0.08)
}

func TestSameSeedSameFleetAndReadings(t *testing.T) {
	t.Parallel()
	record := func(seed uint64) (out []Reading) {
		for _, u := range fleet(t, Options{Units: 30, Seed: seed}) {
			live(u, start.Add(3*24*time.Hour), func(_ *Charger, r Reading) { out = append(out, r) })
		}
		return out
	}
	first := record(7)
	require.Equal(t, first, record(7))
	require.NotEqual(t, first, record(8))
}

func TestFleetShares(t *testing.T) {
	t.Parallel()
	bad := map[string]bool{}
	for _, b := range BadBatches {
		bad[b] = true
	}
	var inBad, defective, consents, leaves int
	ids := map[string]bool{}
	for _, u := range fleet(t, Options{Units: 5000, Seed: 6}) {
		require.False(t, ids[u.ID] || ids[u.Serial])
		ids[u.ID], ids[u.Serial] = true, true
		if bad[u.Batch] {
			inBad++
		}
		if u.Defective {
			defective++
			require.True(t, bad[u.Batch], "all defective units are of the bad batches")
			require.LessOrEqual(t, u.Onset, OnsetWithin)
		}
		if u.Consents {
			consents++
		}
		if u.Leaves > 0 {
			leaves++
		}
	}
	require.Equal(t, 550, inBad)
	require.Equal(t, 400, defective)
	require.InDelta(t, 4600, consents, 120)
	require.InDelta(t, 100, leaves, 50)
}
