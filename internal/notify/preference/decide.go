package preference

import (
	"slices"
	"time"

	"fettle.dev/fettle/internal/notify"
)

// person is what a decision is made of.
type person struct {
	prefs   Preferences
	contact Contact
	email   string
	push    []string                  // subscriptions
	carried func(notify.Channel) bool // nil: every channel is
	zone    *time.Location
	// told counts what the owner was told within a day and a week, by kind.
	day, week map[notify.Kind]int
}

// has reports whether there is an address for a channel, and what carries it.
func (p *person) has(ch notify.Channel) bool {
	if p.carried != nil && !p.carried(ch) {
		return false
	}
	switch ch {
	case notify.Mail:
		return validMail(p.email)
	case notify.SMS, notify.Voice, notify.Call:
		return p.contact.Phone != ""
	case notify.Letter:
		return p.contact.Address != nil
	case notify.Push:
		return len(p.push) > 0
	default:
		return false
	}
}

// usable are the channels of a telling that may be used, in order; restricted
// says that there would be one, had it not been given for safety alone.
func (p *person) usable(t *notify.Telling) (list []notify.Channel, restricted bool) {
	want, exact := t.Channels, len(t.Channels) > 0
	if !exact {
		want = p.prefs.Way(t.Kind)
	}
	for _, ch := range want {
		if !p.has(ch) {
			continue
		}
		if t.Kind != notify.Safety && t.Kind != notify.Account && p.contact.restricted(ch) {
			restricted = true
			continue
		}
		list = append(list, ch)
	}
	if exact || len(list) > 0 {
		return list, restricted
	}
	if t.Kind == notify.Safety || t.Kind == notify.Security { // never silent for want of the channel that was liked
		for _, ch := range usual {
			if p.has(ch) && (t.Kind == notify.Safety || !p.contact.restricted(ch)) {
				return []notify.Channel{ch}, restricted
			}
		}
	}
	return nil, restricted
}

// loud are channels that ring: they wait for the morning whatever the kind.
func loud(ch notify.Channel) bool { return ch == notify.Voice || ch == notify.Call }

// silent are channels that disturb nobody.
func silent(ch notify.Channel) bool { return ch == notify.Letter }

// decide says what becomes of a telling now. The order is the law's and the
// owner's: an address must be there and be given for this; what was switched off
// is withheld; quiet hours make it later; caps withhold what is too much. A
// safety notice goes over all but the first, and says so; only what rings waits.
func (p *person) decide(t *notify.Telling, now time.Time) notify.Decision {
	if !t.ExpiresAt.IsZero() && !now.Before(t.ExpiresAt) {
		return notify.Decision{Verdict: notify.Withheld, Reason: notify.TooLate}
	}
	list, restricted := p.usable(t)
	if len(list) == 0 {
		reason := notify.NoAddress
		if restricted {
			reason = notify.SafetyOnly
		}
		return notify.Decision{Verdict: notify.Withheld, Reason: reason}
	}
	if len(t.Channels) == 0 {
		list = list[:1] // the first that there is an address for
	}
	d := notify.Decision{Verdict: notify.Told, Channels: list}
	if t.Kind == notify.Account { // asked for by whoever gets it
		return d
	}
	if !p.prefs.Wants(t.Kind) {
		return notify.Decision{Verdict: notify.Withheld, Reason: notify.SwitchedOff}
	}
	if t.Kind == notify.Safety && len(p.prefs.Off) > 0 {
		d.Overrode = append(d.Overrode, notify.SwitchedOff)
	}
	if awake := p.prefs.Awake(now, p.zone); awake.After(now) && !slices.ContainsFunc(list, silent) {
		waits := t.Kind != notify.Safety || slices.ContainsFunc(list, loud)
		if waits {
			if !t.ExpiresAt.IsZero() && !awake.Before(t.ExpiresAt) {
				return notify.Decision{Verdict: notify.Withheld, Reason: notify.TooLate}
			}
			return notify.Decision{Verdict: notify.Later, Reason: notify.Quiet, Channels: list, At: awake}
		}
		d.Overrode = append(d.Overrode, notify.Quiet)
	}
	if p.full(t.Kind) {
		if t.Kind.Optional() {
			return notify.Decision{Verdict: notify.Withheld, Reason: notify.Capped}
		}
		if t.Kind == notify.Safety {
			d.Overrode = append(d.Overrode, notify.Capped)
		}
	}
	return d
}

// full reports whether the owner has had as much of a kind, or of all optional
// kinds together, as they take.
func (p *person) full(kind notify.Kind) bool {
	sum := func(by map[notify.Kind]int) (n int) {
		for k, c := range by {
			if k.Optional() {
				n += c
			}
		}
		return n
	}
	reached := func(name, span string, have int) bool {
		most, ok := p.prefs.Cap(name, span)
		return ok && have >= most
	}
	if kind.Optional() && (reached(string(kind), "day", p.day[kind]) || reached(string(kind), "week", p.week[kind])) {
		return true
	}
	return reached("all", "day", sum(p.day)) || reached("all", "week", sum(p.week))
}
