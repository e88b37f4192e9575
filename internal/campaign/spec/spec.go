// Package spec is what is declared of a campaign and what its owners set, with
// the defaults of what they leave out, and what mistakes there can be in it.
package spec

import (
	"time"

	"fettle.dev/fettle/internal/campaign/wave"
	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Kind sets the owner's policy.
type Kind string

// The kinds of a campaign.
const (
	Recall   Kind = "recall"
	Safety   Kind = "safety"
	Security Kind = "security"
	Service  Kind = "service"
	Feature  Kind = "feature"
)

// Campaign is declared in a file of kind Campaign.
type Campaign struct {
	Name string `json:"-"`

	Product  string            `json:"product"`
	Kind     Kind              `json:"kind" enum:"recall,safety,security,service,feature"`
	Title    map[string]string `json:"title" doc:"For owners, by language."`
	Reason   map[string]string `json:"reason" doc:"Why, in plain words for owners, by language."`
	Cohort   string            `json:"cohort" doc:"Name of a cohort; its newest snapshot is frozen at the start."`
	Release  string            `json:"release"`
	Detector string            `json:"detector" doc:"Verifies the remedy; its version is frozen at the start."`
	Waves    []wave.Wave       `json:"waves"`
	Gate     Gate              `json:"gate"`
	Exposure fleet.Duration    `json:"exposure" doc:"Exposure a unit must show, quiet, after the remedy to be verified."`
	Window   fleet.Duration    `json:"window,omitempty" doc:"Window before each gate over which offered and not yet offered waves are compared (default: the gate's soak)."`
	Deadline fleet.Duration    `json:"deadline" doc:"How long owners may postpone, from the offer."`
	Remind   fleet.Duration    `json:"remind,omitempty" doc:"Time between reminders (default 7d)."`
	Seed     int64             `json:"seed,omitempty" doc:"Of the random assignment to waves (default: from the campaign's id)."`

	DownloadRate     int64 `json:"downloadRate,omitempty" doc:"Bytes a second that all its units fetch together (default: no limit)."`
	SiteDownloadRate int64 `json:"siteDownloadRate,omitempty" doc:"Bytes a second that its units at one site fetch together (default: no limit). A site is what a unit's attribute site says, else the address that it comes from."`

	Reminders int            `json:"reminders,omitempty" doc:"Most reminders an owner gets before the deadline (default 30); a safety or recall campaign goes on after it until it ends."`
	Countdown fleet.Duration `json:"countdown,omitempty" doc:"How long before a security update that starts by itself the owner is told (default 1h)."`
	Reoffer   fleet.Duration `json:"reoffer,omitempty" doc:"A service or feature offer that expired is made again after this (default: never)."`

	Dynamic bool           `json:"dynamic,omitempty" doc:"Units that come to match the cohort's definition join while the campaign runs."`
	Every   fleet.Duration `json:"every,omitempty" doc:"How often it looks for units that came to match (default 1h)."`

	Start         time.Time      `json:"start,omitzero" doc:"Nothing is offered before."`
	End           time.Time      `json:"end,omitzero" doc:"The campaign ends by itself."`
	Hours         []window.Hours `json:"hours,omitempty" doc:"Working hours in which units may begin (default: always)."`
	Zone          string         `json:"zone,omitempty" doc:"Where hours are of: owner (default), unit (its attribute timeZone, else the owner's), or an IANA name as Europe/Oslo."`
	MaxConcurrent int            `json:"maxConcurrent,omitempty" doc:"Most units that have the update at hand at the same time (default: any)."`
	MaxPerHour    int            `json:"maxPerHour,omitempty" doc:"Most units that are given the update within any hour (default: any)."`
	Retry         Retry          `json:"retry,omitzero" doc:"What follows a failed installation (default: nothing)."`
	Timeout       fleet.Duration `json:"timeout,omitempty" doc:"An installation that has begun and shows no progress for this long has failed (default 24h)."`
}

// Retry tries a failed installation again, each time after twice as long.
type Retry struct {
	Limit   int            `json:"limit,omitempty" doc:"Most attempts after the first."`
	After   fleet.Duration `json:"after,omitempty" doc:"Before the second attempt (default 1h)."`
	Longest fleet.Duration `json:"longest,omitempty" doc:"Between two attempts (default 24h)."`
}

// Gate is what must hold before the next wave opens. Shares are of the wave's
// tasks that could be judged; only verified counts as success. Beside what is
// declared here, the campaign pauses as soon as the evidence says that the
// release does worse than those before it (docs/gates.md).
type Gate struct {
	Soak        fleet.Duration `json:"soak" doc:"At least this long after the wave opened."`
	Verified    float64        `json:"verified" doc:"Least share verified, of verified, relapsed and failed."`
	MinVerified int            `json:"minVerified,omitempty" doc:"Least number verified (default: as many as make the lower end of the 95 % interval of the share verified reach the least share; in a wave too small for that, half of it)."`
	Installed   float64        `json:"installed,omitempty" doc:"Least share of the wave's units that report the new version (default: any)."`
	Effect      bool           `json:"effect,omitempty" doc:"Waits until the effect against units not yet offered is demonstrated; not in a recall or safety campaign."`
	Failed      float64        `json:"failed,omitempty" doc:"Most share of the wave's units that may fail: above it the campaign pauses (default: no ceiling; the evidence stops it sooner)."`
	Relapsed    float64        `json:"relapsed,omitempty" doc:"Most share of the wave's units in which the fault may come back: above it the campaign pauses (default: no ceiling; the evidence stops it sooner)."`
	Usual       float64        `json:"usual,omitempty" doc:"Share of units that fail with a good release (default: learned from the product's earlier campaigns)."`
	Tolerated   float64        `json:"tolerated,omitempty" doc:"Share of units that may fail beyond the usual."`
	FalseStops  float64        `json:"falseStops,omitempty" doc:"Most share of campaigns with a good release that the evidence may pause (default 0.05; 1: the evidence pauses none)."`
	MinJudged   int            `json:"minJudged,omitempty" doc:"Units of each side of a comparison, and units that must be judged before a ceiling can pause the campaign (default 5)."`
	MaxWait     fleet.Duration `json:"maxWait,omitempty" doc:"If the gate has neither held nor failed after this long, the campaign pauses and says what is missing (default 30d)."`
}

// Policy is what the kind of a campaign asks for.
type Policy struct {
	Starts  bool // at the deadline the update starts by itself, announced
	Expires bool // at the deadline the offer ends, and may be made again
	Unasked bool // a unit without an owner is updated all the same
	Insists bool // it never starts by itself and never Expires: it reminds and escalates until the campaign ends
}

// Policy of a kind: security starts at the deadline unless the owner opted out; service
// and feature expire; safety and recall remind and escalate.
func (k Kind) Policy() Policy {
	switch k {
	case Security:
		return Policy{Starts: true, Unasked: true}
	case Service, Feature:
		return Policy{Expires: true}
	default:
		return Policy{Insists: true}
	}
}

// Carries says which kinds of release a campaign of a kind may carry: a
// feature does not ride along in what owners are pressed to take.
func (k Kind) Carries(r update.ReleaseKind) bool {
	return r != update.Feature || k == Service || k == Feature
}

// Defaults of what a campaign leaves out.
const (
	defaultRemind    = 7 * 24 * time.Hour
	defaultMaxWait   = 30 * 24 * time.Hour
	defaultMinJudged = 5

	defaultFalseStops = 0.05
	defaultEvery      = time.Hour
	defaultTimeout    = 24 * time.Hour
)

// MostReminders is how many reminders an owner gets before the deadline.
func (c *Campaign) MostReminders() int {
	if c.Reminders > 0 {
		return c.Reminders
	}
	return defaultReminders
}

// Warning is how long before it starts by itself an owner is told.
func (c *Campaign) Warning() time.Duration {
	if c.Countdown > 0 {
		return time.Duration(c.Countdown)
	}
	return defaultCountdown
}

// LookEvery is the time between two looks for units that came to match.
func (c *Campaign) LookEvery() time.Duration {
	if c.Every > 0 {
		return time.Duration(c.Every)
	}
	return defaultEvery
}

// PatienceWith is how long an installation may show no progress.
func (c *Campaign) PatienceWith() time.Duration {
	if c.Timeout > 0 {
		return time.Duration(c.Timeout)
	}
	return defaultTimeout
}

// RemindEvery is the time between reminders.
func (c *Campaign) RemindEvery() time.Duration {
	if c.Remind > 0 {
		return time.Duration(c.Remind)
	}
	return defaultRemind
}

// CompareOver is the window before a gate over which waves are compared.
func (c *Campaign) CompareOver() time.Duration {
	if c.Window > 0 {
		return time.Duration(c.Window)
	}
	return time.Duration(c.Gate.Soak)
}

// WaitAtMost is how long a gate may neither hold nor fail.
func (g *Gate) WaitAtMost() time.Duration {
	if g.MaxWait > 0 {
		return time.Duration(g.MaxWait)
	}
	return defaultMaxWait
}

// MostFalseStops is FalseStops or its default.
func (g *Gate) MostFalseStops() float64 {
	if g.FalseStops > 0 {
		return g.FalseStops
	}
	return defaultFalseStops
}

// LeastJudged is MinJudged or its default.
func (g *Gate) LeastJudged() int {
	if g.MinJudged > 0 {
		return g.MinJudged
	}
	return defaultMinJudged
}

// Defaults of what an owner leaves out.
const (
	defaultReminders = 30
	defaultCountdown = time.Hour
)

// Wait is how long after a failed attempt the next begins.
func (r *Retry) Wait(attempt int) time.Duration {
	after, longest := time.Duration(r.After), time.Duration(r.Longest)
	if after <= 0 {
		after = time.Hour
	}
	if longest <= 0 {
		longest = max(after, 24*time.Hour)
	}
	for ; attempt > 1 && after < longest; attempt-- {
		after *= 2
	}
	return min(after, longest)
}
