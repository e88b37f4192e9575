// Package limit is what stands against giving an owner a tip although its rule
// holds: switches, quiet hours, and the most that is given in a day and an hour.
package limit

import (
	"context"
	"slices"
	"time"
)

// TrialNot is how many units something stood against.
type TrialNot struct {
	Why   Against `json:"why" enum:"switched off,quiet hours,most in a day,most in an hour,held back by lot"`
	Units int     `json:"units"`
	Few   bool    `json:"few,omitempty"`
}

// Against is what stands against giving a tip for which the rule holds.
type Against string

// What may stand against it, in the order in which it is looked at.
const (
	SwitchedOff Against = "switched off"
	InQuiet     Against = "quiet hours"
	DayFull     Against = "most in a day"
	HourFull    Against = "most in an hour"
	ByLot       Against = "held back by lot"
)

var all = []Against{SwitchedOff, InQuiet, DayFull, HourFull, ByLot}

// Limits are those of many owners, as a trial counts them.
type Limits struct {
	Zones map[string]*time.Location // by owner
	Off   map[string]bool           // owners who have switched it off
	Quiet func(ctx context.Context, owner string, now time.Time) (until time.Time, err error)

	perDay, perHour int
	days            map[ownerDay]int
	given           []time.Time // within the last hour
	noted           map[Against]map[int64]struct{}
}

type ownerDay struct {
	owner string
	at    int64 // midnight where the owner is
}

// New makes limits of nobody; perHour 0: any.
func New(perDay, perHour int) *Limits {
	return &Limits{
		Zones: map[string]*time.Location{}, Off: map[string]bool{}, perDay: perDay, perHour: perHour,
		days: map[ownerDay]int{}, noted: map[Against]map[int64]struct{}{},
	}
}

// Had notes another tip that an owner was given.
func (l *Limits) Had(owner string, at time.Time) {
	if zone := l.Zones[owner]; zone != nil {
		l.days[ownerDay{owner, Midnight(at, zone).UnixMilli()}]++
	}
}

// Against says until when something stands against giving a tip, Unix ms; 0:
// nothing does.
func (l *Limits) Against(ctx context.Context, unit int64, owner string, now time.Time) (until int64, err error) {
	if l.Off[owner] {
		l.Note(SwitchedOff, unit)
		return now.Add(time.Hour).UnixMilli(), nil
	}
	if quiet, err := l.Quiet(ctx, owner, now); err != nil {
		return 0, err
	} else if quiet.After(now) {
		l.Note(InQuiet, unit)
		return quiet.UnixMilli(), nil
	}
	today := Midnight(now, l.Zones[owner])
	if l.days[ownerDay{owner, today.UnixMilli()}] >= l.perDay {
		l.Note(DayFull, unit)
		return today.AddDate(0, 0, 1).UnixMilli(), nil
	}
	l.given = slices.DeleteFunc(l.given, func(t time.Time) bool { return now.Sub(t) > time.Hour })
	if l.perHour > 0 && len(l.given) >= l.perHour {
		l.Note(HourFull, unit)
		return now.Add(10 * time.Minute).UnixMilli(), nil
	}
	return 0, nil
}

// Gave notes that an owner was given the tip.
func (l *Limits) Gave(owner string, at time.Time) {
	l.days[ownerDay{owner, Midnight(at, l.Zones[owner]).UnixMilli()}]++
	if l.perHour > 0 {
		l.given = append(l.given, at)
	}
}

// Note counts a unit that something stood against.
func (l *Limits) Note(why Against, unit int64) {
	if l.noted[why] == nil {
		l.noted[why] = map[int64]struct{}{}
	}
	l.noted[why][unit] = struct{}{}
}

// Counted says how many units what stood against; no figure is of fewer than least.
func (l *Limits) Counted(least int) []TrialNot {
	out := []TrialNot{}
	for _, why := range all {
		switch n := len(l.noted[why]); {
		case n == 0:
		case n < least:
			out = append(out, TrialNot{Why: why, Few: true})
		default:
			out = append(out, TrialNot{Why: why, Units: n})
		}
	}
	return out
}

// Midnight is when the day of a time began in a zone.
func Midnight(t time.Time, zone *time.Location) time.Time {
	local := t.In(zone)
	return time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, zone)
}
