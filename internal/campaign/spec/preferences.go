package spec

import (
	"fmt"
	"time"

	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/fault"
)

// Preferences are what an owner has set about updates. Empty fields stand for
// the defaults.
type Preferences struct {
	TimeZone string         `json:"timeZone,omitempty" doc:"IANA name, as Europe/Oslo; empty: as the owner was registered with."`
	Quiet    []window.Hours `json:"quiet,omitempty" doc:"When the owner is not reminded of anything; none: every day from 21:00 to 08:00."`
	Hours    []window.Hours `json:"hours,omitempty" doc:"When a security update may start by itself; none: at any time at which the unit is not in use."`
	Manual   bool           `json:"manual,omitempty" doc:"Security updates do not start by themselves: the owner has opted out."`
}

// Validate finds every mistake of preferences.
func (p *Preferences) Validate() error {
	var fields []fault.Field
	add := func(path, expected string, got any) {
		fields = append(fields, fault.Field{Path: path, Expected: expected, Got: fmt.Sprint(got)})
	}
	if _, err := time.LoadLocation(p.TimeZone); err != nil || p.TimeZone == "Local" {
		add("timeZone", "an IANA time zone, as Europe/Oslo", p.TimeZone)
	}
	for _, h := range []struct {
		path string
		list []window.Hours
	}{{"quiet", p.Quiet}, {"hours", p.Hours}} {
		window.Validate(h.list, h.path, add)
		if len(h.list) > 20 {
			add(h.path, "at most 20 hours", len(h.list))
		}
	}
	if len(fields) == 0 && always(p.Quiet) {
		add("quiet", "some hour of the week in which you may be told something", "every hour")
	}
	return fault.Fields("preferences", fields)
}

// always reports whether hours never end.
func always(hours []window.Hours) bool {
	monday := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	if len(hours) == 0 {
		return false
	}
	for minute := range 7 * 24 * 60 {
		if !window.Open(hours, monday.Add(time.Duration(minute)*time.Minute), time.UTC) {
			return false
		}
	}
	return true
}

// Awake is t, or the end of the quiet hours that it lies in,
// where loc is the owner's time zone.
func (p *Preferences) Awake(t time.Time, loc *time.Location) time.Time {
	quiet := p.Quiet
	if len(quiet) == 0 {
		quiet = []window.Hours{{From: defaultQuietFrom, To: defaultQuietTo}}
	}
	return window.After(quiet, t, loc)
}
