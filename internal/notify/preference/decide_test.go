package preference

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/notify"
)

// Quiet hours are the owner's, wherever they are, and whatever their clocks do:
// forward (an hour that is not), back (an hour that is twice), or by half an hour.
func TestQuietHoursByZone(t *testing.T) {
	t.Parallel()
	night := []window.Hours{{From: "22:00", To: "07:00"}}
	for name, x := range map[string]struct {
		zone, now, told string // RFC 3339; told empty: now
		quiet           []window.Hours
	}{
		"Berlin, by day":                                {"Europe/Berlin", "2026-01-15T12:00:00Z", "", nil},
		"Berlin, set nothing: from 21":                  {"Europe/Berlin", "2026-01-15T20:00:00Z", "2026-01-16T07:00:00Z", nil},
		"Berlin, a minute before":                       {"Europe/Berlin", "2026-01-15T19:59:00Z", "", nil},
		"Berlin, at its end":                            {"Europe/Berlin", "2026-01-16T07:00:00Z", "", nil},
		"Berlin, in summer":                             {"Europe/Berlin", "2026-07-15T19:00:00Z", "2026-07-16T06:00:00Z", nil},
		"Berlin, the night that is an hour shorter":     {"Europe/Berlin", "2026-03-28T22:00:00Z", "2026-03-29T05:00:00Z", night},
		"Berlin, the night that is an hour longer":      {"Europe/Berlin", "2026-10-24T21:00:00Z", "2026-10-25T06:00:00Z", night},
		"Berlin, the hour that is twice, first":         {"Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T06:00:00Z", night},
		"Berlin, the hour that is twice, second":        {"Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T06:00:00Z", night},
		"New York, when it is morning in Berlin":        {"America/New_York", "2026-03-10T08:00:00Z", "2026-03-10T11:00:00Z", night},
		"New York, weeks before Berlin":                 {"America/New_York", "2026-03-08T06:30:00Z", "2026-03-08T11:00:00Z", night},
		"Kolkata, five and a half hours":                {"Asia/Kolkata", "2026-05-01T17:00:00Z", "2026-05-02T01:30:00Z", night},
		"Lord Howe, by half an hour":                    {"Australia/Lord_Howe", "2026-10-03T13:00:00Z", "2026-10-03T20:00:00Z", night},
		"Kiritimati, a day ahead":                       {"Pacific/Kiritimati", "2026-05-01T09:00:00Z", "2026-05-01T17:00:00Z", night},
		"Sundays alone, on a Saturday":                  {"Europe/Oslo", "2026-01-10T12:00:00Z", "", []window.Hours{{Days: []string{"sun"}, From: "00:00", To: "00:00"}}},
		"Sundays alone, on a Sunday that begins abroad": {"Asia/Tokyo", "2026-01-10T16:00:00Z", "2026-01-11T15:00:00Z", []window.Hours{{Days: []string{"sun"}, From: "00:00", To: "00:00"}}},
	} {
		zone, err := time.LoadLocation(x.zone)
		require.NoError(t, err, name)
		now, err := time.Parse(time.RFC3339, x.now)
		require.NoError(t, err, name)
		p := &person{
			email: "kim@example.org", zone: zone, contact: Contact{Phone: "+4712345678", Address: &Address{}}, prefs: Preferences{Quiet: x.quiet, Caps: map[string]int{"all/day": 1}, Off: []notify.Kind{notify.Feature}},
			day: map[notify.Kind]int{notify.Tip: 1},
		}
		tell := func(kind notify.Kind, ch notify.Channel) notify.Decision {
			return p.decide(&notify.Telling{Kind: kind, Channels: []notify.Channel{ch}}, now)
		}
		want := notify.Decision{Verdict: notify.Told, Channels: []notify.Channel{notify.Mail}}
		if x.told != "" {
			at, err := time.Parse(time.RFC3339, x.told)
			require.NoError(t, err, name)
			want.Verdict, want.Reason, want.At = notify.Later, notify.Quiet, at
		}
		security := tell(notify.Security, notify.Mail)
		require.True(t, want.At.Equal(security.At), "%s: told %s, not %s", name, security.At, want.At)
		security.At = want.At
		require.Equal(t, want, security, "%s: security is not counted, and keeps quiet hours", name)

		safety := tell(notify.Safety, notify.SMS)
		require.Equal(t, notify.Told, safety.Verdict, name)
		overrode := []notify.Reason{notify.SwitchedOff, notify.Capped}
		if x.told != "" {
			overrode = []notify.Reason{notify.SwitchedOff, notify.Quiet, notify.Capped}
		}
		require.Equal(t, overrode, safety.Overrode, name)
		rings := tell(notify.Safety, notify.Call)
		require.Equal(t, x.told != "", rings.Verdict == notify.Later, "%s: what rings waits", name)
		require.Equal(t, notify.Told, tell(notify.Safety, notify.Letter).Verdict, name)
		require.Equal(t, notify.SwitchedOff, tell(notify.Feature, notify.Mail).Reason, name)
		if service := tell(notify.Service, notify.Mail); x.told == "" {
			require.Equal(t, notify.Capped, service.Reason, name)
		} else {
			require.Equal(t, notify.Quiet, service.Reason, "%s: by the morning the day may be another", name)
		}
	}
}
