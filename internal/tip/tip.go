// Package tip sends owners the right detail at the right moment: rules over
// what a unit measures, which of its features were used, and what goes on
// around it, for the unit's own display, the portal and push. A tip is never
// guessed: what is not known makes its condition unknown, and then there is no
// tip.
package tip

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Channel is a way to an owner.
type Channel string

// The channels.
const (
	Display Channel = "display" // the unit's own, over MQTT or when it polls
	Portal  Channel = "portal"
	Push    Channel = "push"
)

// Tip is a rule and its words, declared in a file of kind Tip.
type Tip struct {
	Name    string `json:"-"`
	Version int    `json:"-"` // counts changes of the declaration

	Product  string            `json:"product"`
	Purpose  string            `json:"purpose" doc:"Of the product. Owners who do not permit it get no tip; signals and features that the condition names must name it, too."`
	When     string            `json:"when" doc:"CEL that holds at the right moment, over signals, feature.NAME.count, .days (since last used) and .never, unit.condition, .hardware, .region and .version, local.hour (0 to 23), .weekday (1 is Monday) and .month in the owner's time zone, and the variables of the product's feeds, as weather.humidity > 75. What is not known makes it not hold."`
	Title    map[string]string `json:"title" doc:"By language (BCP 47 tag), en at least, at most 60 characters. {name} stands for a value of the condition, as {weather.humidity}."`
	Text     map[string]string `json:"text" doc:"The same, at most 240 characters: what to do, and why now."`
	Action   *Action           `json:"action,omitempty"`
	Feature  string            `json:"feature,omitempty" doc:"Of the product: the tip is measured by its use afterwards. Without it nothing is compared."`
	Within   fleet.Duration    `json:"within,omitempty" doc:"How long after the tip a use of the feature counts (default 24h)."`
	Channels []Channel         `json:"channels,omitempty" doc:"display, portal and push in the order tried (default display, portal)."`
	Wait     fleet.Duration    `json:"wait,omitempty" doc:"How long a channel has to show it before the next is tried, too (default 10m)."`
	Valid    fleet.Duration    `json:"valid,omitempty" doc:"How long the moment lasts at most (default 2h). It ends earlier when the condition holds no more."`
	Age      fleet.Duration    `json:"age,omitempty" doc:"Signals older than this are unknown (default: the product's sampleGap)."`
	Every    fleet.Duration    `json:"every,omitempty" doc:"A unit is given it once in this time (default 7d)."`
	Most     int               `json:"most,omitempty" minimum:"0" doc:"And so many times at all (0: any)."`
	PerHour  int               `json:"perHour,omitempty" minimum:"0" doc:"Most units that are given it within an hour (0: any). The others may be given it later, while it holds."`
	Holdout  *float64          `json:"holdout,omitempty" minimum:"0" maximum:"50" doc:"Percent of units, by lot, that are not shown it, to compare with (default 10 with feature, else 0)."`
	Paused   bool              `json:"paused,omitempty" doc:"Given to nobody."`
}

// Action is what the owner can do about a tip.
type Action struct {
	Label   map[string]string `json:"label" doc:"By language: what the button says, at most 30 characters."`
	Link    string            `json:"link,omitempty" doc:"https address or path of the portal, which the button opens."`
	Command string            `json:"command,omitempty" doc:"What the unit's display is to do when the button is pressed, in the unit's own words, as programme:strong."`
}

// The defaults of what a declaration leaves out.
const (
	defaultWithin = 24 * time.Hour
	defaultWait   = 10 * time.Minute
	defaultValid  = 2 * time.Hour
	defaultEvery  = 7 * 24 * time.Hour
	defaultShare  = 10.0
	defaultPerDay = 3
)

func or(d fleet.Duration, otherwise time.Duration) time.Duration {
	if d > 0 {
		return time.Duration(d)
	}
	return otherwise
}

// Effective are the tip's channels in order.
func (t *Tip) Effective() []Channel {
	if len(t.Channels) == 0 {
		return []Channel{Display, Portal}
	}
	return t.Channels
}

// share is the part of units, 0 to 1, that are not shown the tip.
func (t *Tip) share() float64 {
	switch {
	case t.Holdout != nil:
		return *t.Holdout / 100
	case t.Feature != "":
		return defaultShare / 100
	}
	return 0
}

// Given is one tip for one unit: shown, or held back to compare with.
type Given struct {
	ID      string
	Tip     string
	Version int
	Product string
	UnitID  string
	UnitKey int64
	OwnerID string
	At      time.Time // by the stream
	Until   time.Time // not shown after
	Held    bool      // by lot: never shown, only compared with
	First   bool      // the unit's first of this version: what is measured

	Values map[string]string // what stands for {name} in its words

	TurnAt                        time.Time // when another channel has its turn that somebody must see to: push, or a display that is not the first; zero for never
	ShownAt, DismissedAt, ActedAt time.Time
	ShownVia                      Channel
	UsedAt                        time.Time // of its feature, within the time that counts
	EndedAt                       time.Time // not shown after: it holds no more, or somebody has done with it
	Why                           string    // it ended: a code of Ended
	ChangedAt                     time.Time // real, for those who look what is new
}

// Why a tip ended before its time.
const (
	NoLonger  = "no longer true"
	Dismissed = "dismissed"
	Acted     = "acted on"
	Withdrawn = "no consent"
	Off       = "switched off"
	Replaced  = "declared anew"
)

// Open reports whether it may be shown now on a channel: its turn has come,
// the moment lasts, and nobody has done with it. Display and portal go on
// showing what was shown there already.
func (g *Given) Open(t *Tip, on Channel, now time.Time) bool {
	if g.Held || !g.EndedAt.IsZero() || !now.Before(g.Until) || now.Before(g.At) {
		return false
	}
	for i, c := range t.Effective() {
		if c == on {
			from := g.At.Add(time.Duration(i) * or(t.Wait, defaultWait))
			return !now.Before(from) && (g.ShownAt.IsZero() || g.ShownVia == on || g.ShownAt.After(from))
		}
	}
	return false
}

// turn is when, after a time, a channel has its turn that somebody must see
// to; zero if none has.
func (g *Given) turn(t *Tip, after time.Time) time.Time {
	for i, c := range t.Effective() {
		from := g.At.Add(time.Duration(i) * or(t.Wait, defaultWait))
		if (c == Push || c == Display && i > 0) && (from.After(after) || i == 0 && !from.Before(after)) && from.Before(g.Until) {
			return from
		}
	}
	return time.Time{}
}

// What happened to a tip on a channel, as units and browsers report it.
const (
	ReportShown     = "shown"
	ReportDismissed = "dismissed"
	ReportActed     = "acted"
)

// Filter picks given tips, the newest first. Empty fields match all.
type Filter struct {
	UnitIDs []string
	Tip     string
	Open    time.Time // only those that had not ended and were valid then
	Since   time.Time // given since
	Limit   int       // 0: 1000
}

// Count is how many units, each by its first tip of a version, are in an arm.
type Count struct {
	Units, Shown, Dismissed, Acted, Used int
}

// Store keeps tips, what was given, and where the evaluation stands.
type Store interface {
	PutTip(ctx context.Context, t Tip) error // with its version
	Tips(ctx context.Context, product string) ([]Tip, error)
	Tip(ctx context.Context, name string) (Tip, error)
	DeleteTip(ctx context.Context, name string) error // with all that was given

	// Commit keeps the states of units and, with a position, that all before it is in the states kept.
	Commit(ctx context.Context, position uint64, states []State, observed []Observation) error
	Load(ctx context.Context) (position uint64, states []State, observed []Observation, err error)

	Give(ctx context.Context, g Given) (fresh bool, err error) // not fresh: the unit has it, given at that time
	// Update writes what happened to a given tip.
	Update(ctx context.Context, g Given) error
	Given(ctx context.Context, f Filter) ([]Given, error)
	GivenByID(ctx context.Context, id string) (Given, error)
	// End ends a unit's open tip; none is no error. Real is the machine's time.
	End(ctx context.Context, unitKey int64, tip, why string, at, real time.Time) error
	// Used notes the use of a tip's feature: on the unit's tip that was given at that time, if none is noted.
	Used(ctx context.Context, unitKey int64, tip string, given, at time.Time) error
	// Forget removes what was given of some tips (nil: all) to a unit, and its state.
	Forget(ctx context.Context, unitKey int64, tips []string) error
	ForgetOwner(ctx context.Context, ownerID string) error

	GivenSince(ctx context.Context, ownerID, tip string, since time.Time) (int, error) // not held; owner or tip may be empty
	// GivenBetween calls fn for all but one tip that owners were given, not held.
	GivenBetween(ctx context.Context, from, to time.Time, but string, fn func(ownerID string, at time.Time)) error
	TurnDue(ctx context.Context, now time.Time, limit int) ([]Given, error)
	ChangedSince(ctx context.Context, real time.Time, limit int) (unitIDs []string, newest time.Time, err error)
	Measure(ctx context.Context, tip string, version int, before time.Time) (shown, held Count, err error) // given before
	Expire(ctx context.Context, before time.Time) error

	Switches(ctx context.Context, ownerID string) (off []string, err error) // "" stands for all
	SetSwitch(ctx context.Context, ownerID, tip string, off bool) error
}

// State is what is kept of one unit, or with Key 0 of all.
type State struct {
	Key  int64
	Seq  uint64 // the stream up to here is in it
	Data []byte // nil: removed
}

// Observation is what a feed said of a place, as the stream tells it.
type Observation struct {
	Product string         `json:"product"`
	Feed    string         `json:"feed"`
	Place   string         `json:"place"`
	At      int64          `json:"at"` // the values are of, Unix ms
	Values  map[string]any `json:"values"`
}

// History is what this room needs of history.
type History interface {
	Replay(ctx context.Context, q telemetry.Query, fn func(row *telemetry.Stored, mark *telemetry.StoredMark) error) error
	Applied(ctx context.Context) (uint64, error)
	// FeatureEvents calls fn for the uses of features of a product, in order of the stream, up to a position (0: all).
	FeatureEvents(ctx context.Context, product string, from time.Time, upTo uint64, fn func(e *telemetry.StoredEvent) error) error
	// FeatureUse sums uses up to a position in the stream and before a time (zero: any).
	FeatureUse(ctx context.Context, product string, upTo uint64, before time.Time, fn func(unit int64, feature string, count, last int64) error) error
}
