// Package preference is what owners have set about being told things, and the
// one door that everything they are told goes through: it decides whether, when
// and how, and keeps each decision with its reason.
package preference

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/template"
)

// Preferences are what an owner has set. Empty fields stand for the defaults.
type Preferences struct {
	TimeZone string         `json:"timeZone,omitempty" doc:"IANA name, as Europe/Oslo; empty: as the owner was registered with."`
	Quiet    []window.Hours `json:"quiet,omitempty" doc:"When the owner is not disturbed; none: every day from 21:00 to 08:00. Safety notices by mail, push and SMS come all the same, and say so."`
	Hours    []window.Hours `json:"hours,omitempty" doc:"When a security update may start by itself; none: at any time at which the unit is not in use."`
	Manual   bool           `json:"manual,omitempty" doc:"Security updates do not start by themselves: the owner has opted out."`

	Language string                           `json:"language,omitempty" doc:"BCP 47 tag of messages, as sv or de-AT; empty: as the owner was registered with."`
	Units    template.System                  `json:"units,omitempty" enum:"metric,us,uk" doc:"Units of measure; empty: by the region of the language."`
	Channels map[notify.Kind][]notify.Channel `json:"channels,omitempty" doc:"How messages of a kind come (mail, sms, voice, push), the first that there is an address for; absent: mail, then push, then sms."`
	Off      []notify.Kind                    `json:"off,omitempty" enum:"service,feature,tip" doc:"Kinds that are not wanted. Safety and security notices cannot be switched off."`
	Caps     map[string]int                   `json:"caps,omitempty" doc:"Most messages, as tip/day, feature/week, all/day; absent: tip/day 1, tip/week 3, feature/day 1, feature/week 2, service/day 5, all/day 6, all/week 15. Safety and security notices are not counted."`
}

// Quiet hours of whoever has set none.
const (
	defaultQuietFrom = "21:00"
	defaultQuietTo   = "08:00"
)

// defaultCaps are the most messages of a kind, or of all optional ones.
var defaultCaps = map[string]int{"tip/day": 1, "tip/week": 3, "feature/day": 1, "feature/week": 2, "service/day": 5, "all/day": 6, "all/week": 15}

// CapNames lists what may be capped.
var CapNames = []string{"tip/day", "tip/week", "feature/day", "feature/week", "service/day", "service/week", "all/day", "all/week"}

const mostOfCap = 1000

// Cap is the most messages of a kind ("all": of all that may be switched off)
// within a span ("day", "week"); false: no limit.
func (p *Preferences) Cap(kind, span string) (int, bool) {
	name := kind + "/" + span
	if n, ok := p.Caps[name]; ok {
		return n, true
	}
	n, ok := defaultCaps[name]
	return n, ok
}

// reachable are the channels that an owner may choose.
var reachable = []notify.Channel{notify.Mail, notify.SMS, notify.Voice, notify.Push}

// usual is the order of channels of whoever has set none.
var usual = []notify.Channel{notify.Mail, notify.Push, notify.SMS}

// Way is the order of channels for a kind.
func (p *Preferences) Way(kind notify.Kind) []notify.Channel {
	if list := p.Channels[kind]; len(list) > 0 {
		return list
	}
	return usual
}

// Wants reports whether messages of a kind are wanted.
func (p *Preferences) Wants(kind notify.Kind) bool {
	return !kind.Optional() || !slices.Contains(p.Off, kind)
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
	if _, err := language.Parse(p.Language); p.Language != "" && err != nil {
		add("language", "a language tag (BCP 47), as sv or de-AT", p.Language)
	}
	if p.Units != "" && !slices.Contains(template.Systems, p.Units) {
		add("units", "metric, us or uk", p.Units)
	}
	for k, list := range p.Channels {
		if !slices.Contains(notify.Kinds, k) {
			add("channels."+string(k), "a kind: safety, security, service, feature, tip or account", k)
		}
		for i, ch := range list {
			if !slices.Contains(reachable, ch) || slices.Contains(list[:i], ch) {
				add(fmt.Sprintf("channels.%s[%d]", k, i), "mail, sms, voice or push, each once", ch)
			}
		}
		if len(list) == 0 {
			add("channels."+string(k), "at least one channel", "none")
		}
	}
	for i, k := range p.Off {
		if !k.Optional() || slices.Contains(p.Off[:i], k) {
			add(fmt.Sprintf("off[%d]", i), "service, feature or tip, each once; messages about safety, security and your account cannot be switched off", k)
		}
	}
	for name, n := range p.Caps {
		if !slices.Contains(CapNames, name) {
			add("caps."+name, "one of tip, feature, service, all, with /day or /week", name)
		}
		if n < 0 || n > mostOfCap {
			add("caps."+name, "0 to 1000", n)
		}
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

// Awake is t, or the end of the quiet hours that it lies in, where loc is the
// owner's time zone.
func (p *Preferences) Awake(t time.Time, loc *time.Location) time.Time {
	quiet := p.Quiet
	if len(quiet) == 0 {
		quiet = []window.Hours{{From: defaultQuietFrom, To: defaultQuietTo}}
	}
	return window.After(quiet, t, loc)
}
