package window_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"fettle.dev/fettle/internal/clock/window"
)

func zone(t require.TestingT, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	require.NoError(t, err)
	return loc
}

func TestHours(t *testing.T) {
	t.Parallel()
	office := []window.Hours{{Days: []string{"mon", "tue", "wed", "thu", "fri"}, From: "08:00", To: "17:00"}}
	weekdays := office[0].Days
	shifts := []window.Hours{{Days: weekdays, From: "08:00", To: "12:00"}, {Days: weekdays, From: "13:00", To: "17:00"}}
	night := []window.Hours{{From: "22:00", To: "06:00"}}
	for _, c := range []struct {
		name, zone string
		hours      []window.Hours
		at         string
		open       bool
		next       string
	}{
		{"none is always", "UTC", nil, "2026-03-29T02:00:00Z", true, "2026-03-29T02:00:00Z"},
		{"in the office", "Europe/Oslo", office, "2026-06-01T06:00:00Z", true, "2026-06-01T06:00:00Z"},
		{"just before", "Europe/Oslo", office, "2026-06-01T05:59:59Z", false, "2026-06-01T06:00:00Z"},
		{"the end is out", "Europe/Oslo", office, "2026-06-01T15:00:00Z", false, "2026-06-02T06:00:00Z"},
		{"Friday evening", "Europe/Oslo", office, "2026-06-05T18:00:00Z", false, "2026-06-08T06:00:00Z"},
		{"another zone", "America/Los_Angeles", office, "2026-06-01T06:00:00Z", false, "2026-06-01T15:00:00Z"},
		{"past midnight", "UTC", night, "2026-06-01T03:00:00Z", true, "2026-06-01T03:00:00Z"},
		{"between nights", "UTC", night, "2026-06-01T12:00:00Z", false, "2026-06-01T22:00:00Z"},
		// 02:30 does not exist in Oslo on 2026-03-29: clocks go from 02:00 to 03:00, which is later.
		{"a skipped hour", "Europe/Oslo", []window.Hours{{From: "02:30", To: "04:00"}}, "2026-03-29T00:00:00Z", false, "2026-03-29T01:00:00Z"},
		{"a night that belongs to Friday", "UTC", []window.Hours{{Days: []string{"fri"}, From: "22:00", To: "06:00"}}, "2026-06-06T05:00:00Z", true, "2026-06-06T05:00:00Z"},
		{"and not to Saturday", "UTC", []window.Hours{{Days: []string{"fri"}, From: "22:00", To: "06:00"}}, "2026-06-07T05:00:00Z", false, "2026-06-12T22:00:00Z"},
		{"the whole day", "UTC", []window.Hours{{Days: []string{"sun"}, From: "00:00", To: "00:00"}}, "2026-06-07T23:59:59Z", true, "2026-06-07T23:59:59Z"},
		// Two shifts a day: the pause between them is out, on the days clocks change, too (forward on 2026-03-29, back on 2026-10-25).
		{"the first shift", "Europe/Oslo", shifts, "2026-03-27T08:59:59Z", true, "2026-03-27T08:59:59Z"},
		{"the pause", "Europe/Oslo", shifts, "2026-03-27T11:00:00Z", false, "2026-03-27T12:00:00Z"},
		{"the second shift", "Europe/Oslo", shifts, "2026-03-27T15:59:59Z", true, "2026-03-27T15:59:59Z"},
		{"after the change, an hour earlier in UTC", "Europe/Oslo", shifts, "2026-03-27T16:00:00Z", false, "2026-03-30T06:00:00Z"},
		{"the pause in summer", "Europe/Oslo", shifts, "2026-03-30T10:30:00Z", false, "2026-03-30T11:00:00Z"},
		{"back in winter", "Europe/Oslo", shifts, "2026-10-23T15:00:00Z", false, "2026-10-26T07:00:00Z"},
		{"no such day", "UTC", []window.Hours{{Days: []string{"xyz"}, From: "08:00", To: "09:00"}}, "2026-06-07T23:59:59Z", false, "0001-01-01T00:00:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at, err := time.Parse(time.RFC3339, c.at)
			require.NoError(t, err)
			loc := zone(t, c.zone)
			require.Equal(t, c.open, window.Open(c.hours, at, loc))
			require.Equal(t, c.next, window.Next(c.hours, at, loc).UTC().Format(time.RFC3339))
		})
	}
	noon := time.Date(2026, 6, 1, 23, 0, 0, 0, time.UTC)
	require.Equal(t, time.Date(2026, 6, 2, 6, 0, 0, 0, time.UTC), window.After(night, noon, time.UTC), "the end of the night")
	require.Equal(t, noon, window.After(office, noon, time.UTC), "it is none of them")
	always := []window.Hours{{From: "00:00", To: "00:00"}}
	require.Equal(t, noon, window.After(always, noon, time.UTC), "hours without an end cannot be waited out")
}

func TestMistakesOfHours(t *testing.T) {
	t.Parallel()
	var paths []string
	window.Validate([]window.Hours{{Days: []string{"monday"}, From: "8", To: "25:00"}, {From: "08:00", To: "09:00"}}, "hours",
		func(path, _ string, _ any) { paths = append(paths, path) })
	require.Equal(t, []string{"hours[0].days[0]", "hours[0].from", "hours[0].to"}, paths)
}

// Next is open, not before t, and nothing between is open.
func TestNextIsTheFirst(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Oslo", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"}
	all := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
	clock := rapid.Custom(func(t *rapid.T) string {
		return time.Date(1, 1, 1, rapid.IntRange(0, 23).Draw(t, "hour"), rapid.SampledFrom([]int{0, 15, 30, 59}).Draw(t, "minute"), 0, 0, time.UTC).Format("15:04")
	})
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(t, "zone"))
		var hours []window.Hours
		for range rapid.IntRange(1, 3).Draw(t, "n") {
			hours = append(hours, window.Hours{
				Days: rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID[string]).Draw(t, "days"),
				From: clock.Draw(t, "from"), To: clock.Draw(t, "to"),
			})
		}
		at := time.Unix(rapid.Int64Range(1_750_000_000, 1_790_000_000).Draw(t, "at"), 0).UTC()
		next := window.Next(hours, at, loc)
		if next.IsZero() {
			t.Fatal("some hour comes within two weeks")
		}
		if next.Before(at) || !window.Open(hours, next, loc) {
			t.Fatalf("%s after %s is not open", next, at)
		}
		for step := at; step.Before(next); step = step.Add(time.Minute) {
			if step.Truncate(time.Minute).Before(at) || !step.Truncate(time.Minute).Before(next) {
				continue
			}
			if window.Open(hours, step.Truncate(time.Minute), loc) {
				t.Fatalf("%s is open and before %s", step, next)
			}
		}
	})
}
