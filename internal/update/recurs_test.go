package update_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/update"
)

func TestWindowThatRecurs(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.DateTime, s)
		require.NoError(t, err)
		return v
	}
	for _, c := range []struct {
		schedule string
		offset   int
		length   time.Duration
		now      string
		open     bool
	}{
		{"15 22 13 ? 11 * 2026", 0, time.Minute, "2026-11-22 13:22:14", false},
		{"15 22 13 ? 11 * 2026", 0, time.Minute, "2026-11-22 13:22:15", true},
		{"15 22 13 ? 11 * 2026", 0, time.Minute, "2026-11-22 13:23:14", true},
		{"15 22 13 ? 11 * 2026", 0, time.Minute, "2026-11-22 13:23:15", false},
		{"15 22 13 ? 11 * 2027", 0, time.Minute, "2026-11-22 13:22:15", false},
		{"0 0 2 ? * MON-FRI", 7200, 2 * time.Hour, "2026-11-23 00:30:00", true}, // Monday 02:30 there
		{"0 0 2 ? * MON-FRI", 7200, 2 * time.Hour, "2026-11-22 00:30:00", false},
		{"0 0/30 * * * ?", 0, time.Minute, "2026-11-22 00:30:59", true},
		{"0 0/30 * * * ?", 0, time.Minute, "2026-11-22 00:31:00", false},
		{"0 0 23 ? * *", 0, 3 * time.Hour, "2026-11-22 01:59:59", true}, // since yesterday
		{"0 5,10 12 1 JAN ?", 0, time.Minute, "2027-01-01 12:10:30", true},
	} {
		r := update.Recurs{Schedule: c.schedule, Offset: c.offset, Length: c.length}
		require.NoError(t, r.Check())
		require.Equal(t, c.open, r.Open(at(c.now)), "%s at %s", c.schedule, c.now)
	}
	for _, bad := range []update.Recurs{
		{Schedule: "", Length: time.Hour},
		{Schedule: "0 0 2 * *", Length: time.Hour},
		{Schedule: "0 0 25 ? * *", Length: time.Hour},
		{Schedule: "0 0 5-2 ? * *", Length: time.Hour},
		{Schedule: "0 0 2 ? * *"},
		{Schedule: "0 0 2 ? * *", Length: 48 * time.Hour},
		{Schedule: "0 0 2/0 ? * *", Length: time.Hour},
		{Schedule: "0 0 2 ? * *", Length: time.Hour, Offset: 1 << 20},
	} {
		require.Error(t, bad.Check(), bad.Schedule)
	}
}

func FuzzRecurs(f *testing.F) {
	f.Add("15 22 13 ? 11 * 2026", int64(60), 3600)
	f.Add("0 0/5,1-3 * * JAN,2 MON-FRI", int64(1), 0)
	f.Fuzz(func(_ *testing.T, schedule string, seconds int64, offset int) {
		r := update.Recurs{Schedule: schedule, Offset: offset, Length: time.Duration(seconds) * time.Second}
		if r.Check() == nil {
			r.Open(time.Unix(1_700_000_000, 0))
		}
	})
}
