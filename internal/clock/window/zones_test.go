package window_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock/window"
)

// Where clocks skip a whole day (Apia had no 30 December 2011, Kwajalein no 21
// August 1993), skip midnight, or go back at it, hours are what the clock on
// the wall says, and both searches end at the first moment that is right.
func TestHoursWhereDaysAreSkipped(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{
		"Pacific/Apia": "2011-12-30", "Pacific/Kwajalein": "1993-08-21", "America/Sao_Paulo": "2018-11-04", "Asia/Beirut": "2022-03-27",
		"Atlantic/Azores": "2026-10-25", "Australia/Lord_Howe": "2026-04-05", "Africa/Casablanca": "2026-02-15", "Asia/Kathmandu": "1986-01-01",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			loc := zone(t, name)
			day, err := time.Parse(time.DateOnly, at)
			require.NoError(t, err)
			for _, hours := range [][]window.Hours{
				{{From: "09:00", To: "17:00"}},
				{{From: "22:00", To: "06:00"}},
				{{From: "00:00", To: "08:00"}},
				{{Days: []string{"thu", "sat"}, From: "09:00", To: "17:00"}},
				{{Days: []string{"fri"}, From: "09:00", To: "17:00"}},
			} {
				for x := day.AddDate(0, 0, -3); x.Before(day.AddDate(0, 0, 3)); x = x.Add(15 * time.Minute) {
					say := fmt.Sprintf("%v at %s", hours, x.In(loc))
					open := window.Open(hours, x, loc)
					require.Equal(t, onTheWall(&hours[0], x.In(loc)), open, say)
					next, after := window.Next(hours, x, loc), window.After(hours, x, loc)
					require.True(t, !next.Before(x) && window.Open(hours, next, loc), "%s: next %s", say, next)
					require.True(t, !after.Before(x) && !window.Open(hours, after, loc), "%s: after %s", say, after)
					require.Equal(t, open, next.Equal(x), say)
					require.Equal(t, !open, after.Equal(x), say)
					for y := x; y.Before(next); y = y.Add(15 * time.Minute) {
						require.False(t, window.Open(hours, y, loc), "%s: %s is open, before %s", say, y.In(loc), next.In(loc))
					}
					for y := x; y.Before(after); y = y.Add(15 * time.Minute) {
						require.True(t, window.Open(hours, y, loc), "%s: %s is not open, before %s", say, y.In(loc), after.In(loc))
					}
				}
			}
		})
	}
}

// onTheWall is what somebody says who looks at a clock and a calendar.
func onTheWall(h *window.Hours, local time.Time) bool {
	now := local.Format("15:04")
	if len(h.Days) > 0 {
		today := false
		for _, d := range h.Days {
			today = today || d == map[time.Weekday]string{time.Thursday: "thu", time.Friday: "fri", time.Saturday: "sat"}[local.Weekday()]
		}
		if !today {
			return false
		}
	}
	if h.From < h.To {
		return h.From <= now && now < h.To
	}
	return now >= h.From || now < h.To
}
