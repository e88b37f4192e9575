package outcome

import (
	"fmt"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/words"
)

const (
	whyNoConsent = "no consent for the purpose the detector reads data for"
	whySilent    = "silent since "
)

// judge says what has been found out about one installed remedy, if anything
// new has.
//
// Two clocks meet here: InstalledAt is when the version report was received,
// a finding's Onset and LastAt are the unit's own times. The version report
// resets the detector, so a finding seen (received) at or after InstalledAt
// was made of rows that came after it in the stream. It is a relapse if,
// besides, the fault was still there at or after InstalledAt by the unit's own
// time (LastAt, equality included): rows that the unit had kept from before
// the remedy and sends late do not count against it. Onset is deliberately
// not asked for: a unit whose clock runs behind would never relapse.
//
// Verified is said only of exposure counted since a reset that is not before
// the update began at the unit (so the reset of the version report, or a later one),
// and never while a finding is open.
func judge(t *campaign.Task, c *campaign.Campaign, x condition.Exposure, findings []condition.Finding, permitted bool, now time.Time) (campaign.Judgement, bool) {
	say := func(s campaign.TaskState, format string, args ...any) (campaign.Judgement, bool) {
		return campaign.Judgement{TaskID: t.ID, State: s, Why: fmt.Sprintf(format, args...)}, true
	}
	installed := t.InstalledAt.Truncate(time.Millisecond) // as the stream and the records keep it
	open := false
	for i := range findings {
		f := &findings[i]
		if f.SeenAt.Before(installed) {
			continue
		}
		if !f.LastAt.Before(installed) {
			return say(campaign.Relapsed, "the fault came back at %s: %s", f.Onset.UTC().Format(time.RFC3339), f.Why)
		}
		open = open || f.State == condition.Open
	}
	switch t.State {
	case campaign.Unjudged:
		if permitted && (t.Why == whyNoConsent || x.LastAt.After(t.EndedAt)) {
			return say(campaign.Verifying, "watched again")
		}
		return campaign.Judgement{}, false
	case campaign.Verifying:
	default:
		return campaign.Judgement{}, false
	}
	if !permitted {
		return say(campaign.Unjudged, whyNoConsent)
	}
	began := t.StartedAt
	if began.IsZero() {
		began = installed
	}
	counts := !x.Since.Before(began.Truncate(time.Millisecond))
	if counts && !open && x.For >= time.Duration(c.Exposure) {
		return say(campaign.Verified, "quiet over %s of use since the update", words.Span(x.For.Round(time.Minute)))
	}
	if heard := latest(installed, x.LastAt); now.Sub(heard) > c.Gate.WaitAtMost() {
		return say(campaign.Unjudged, whySilent+"%s", heard.UTC().Format(time.RFC3339))
	}
	return campaign.Judgement{}, false
}
