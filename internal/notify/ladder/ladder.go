// Package ladder goes on to another way of telling where one has not reached an
// owner: from mail to text to a call to a letter, as declared for the kind of a
// campaign. It stops when the owner has acknowledged, when the unit is remedied,
// or when the owner has opted out and may. Whoever cannot be reached on any step
// is unreachable, and reported so.
package ladder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
)

// Spec is a declared ladder.
type Spec struct {
	Name string `json:"-"`

	Kinds    []string       `json:"kinds" enum:"recall,safety,security,service,feature" doc:"Kinds of campaign that climb it."`
	Product  string         `json:"product,omitempty" doc:"Only for this product (default: all)."`
	Campaign string         `json:"campaign,omitempty" doc:"Only for this campaign (default: all)."`
	Steps    []Step         `json:"steps" doc:"In order; the first is taken when the campaign offers its remedy."`
	GiveUp   fleet.Duration `json:"giveUp,omitempty" doc:"After the last step an owner who has not reacted is unreachable (default 14d)."`
}

// Step is one way of telling.
type Step struct {
	Channel notify.Channel `json:"channel" enum:"mail,sms,voice,push,call,letter"`
	After   fleet.Duration `json:"after,omitempty" doc:"Wait after the step before it, as 3d or 36h. A step whose message bounces or has no address is followed by the next at once."`
	Always  bool           `json:"always,omitempty" doc:"Taken as long as the unit is not remedied, also when the owner has acknowledged: as letters by first-class mail under 49 CFR 577, even where the remedy comes over the air."`
}

const defaultGiveUp = 14 * 24 * time.Hour

// Patience is how long after the last step an owner is given up.
func (s *Spec) Patience() time.Duration {
	if s.GiveUp > 0 {
		return time.Duration(s.GiveUp)
	}
	return defaultGiveUp
}

const d = fleet.Duration(24 * time.Hour)

// Builtin is the ladder of a kind of campaign for which none is declared.
func Builtin(kind string) Spec {
	s := Spec{Name: "built-in " + kind, Kinds: []string{kind}}
	switch kind {
	case "recall", "safety":
		s.Steps = []Step{{Channel: notify.Mail}, {Channel: notify.SMS, After: 3 * d}, {Channel: notify.Call, After: 4 * d}, {Channel: notify.Letter, After: 7 * d}}
	case "security":
		s.Steps = []Step{{Channel: notify.Mail}, {Channel: notify.SMS, After: 7 * d}}
	default:
		s.Steps = []Step{{Channel: notify.Mail}}
	}
	return s
}

var (
	kinds    = []string{"recall", "safety", "security", "service", "feature"}
	channels = []notify.Channel{notify.Mail, notify.SMS, notify.Voice, notify.Push, notify.Call, notify.Letter}
)

// mostSteps bounds a ladder.
const mostSteps = 12

// Validate finds every mistake in a ladder.
func (s *Spec) Validate() []fault.Field {
	var out []fault.Field
	add := func(path, expected string, got any) {
		out = append(out, fault.Field{Path: "spec." + path, Expected: expected, Got: fmt.Sprint(got)})
	}
	if len(s.Kinds) == 0 {
		add("kinds", "at least one of recall, safety, security, service and feature", "none")
	}
	for i, k := range s.Kinds {
		if !slices.Contains(kinds, k) || slices.Contains(s.Kinds[:i], k) {
			add(fmt.Sprintf("kinds[%d]", i), "recall, safety, security, service or feature, each once", k)
		}
	}
	if n := len(s.Steps); n < 1 || n > mostSteps {
		add("steps", fmt.Sprintf("1 to %d steps", mostSteps), n)
	}
	for i, x := range s.Steps {
		at := fmt.Sprintf("steps[%d]", i)
		if !slices.Contains(channels, x.Channel) {
			add(at+".channel", "mail, sms, voice, push, call or letter", x.Channel)
		}
		if x.After < 0 {
			add(at+".after", "a duration, as 3d or 36h", x.After)
		}
		if optional := slices.ContainsFunc(s.Kinds, func(k string) bool { return k == "service" || k == "feature" }); optional && x.Channel == notify.Call {
			add(at+".channel", "no calls for service and feature campaigns: nobody asked for them", x.Channel)
		}
	}
	if s.GiveUp < 0 {
		add("giveUp", "a duration, as 14d", s.GiveUp)
	}
	return out
}

// State of a climb.
type State string

// The states of a climb.
const (
	Climbing     State = "climbing"
	Acknowledged State = "acknowledged" // the owner said so, or chose
	Remedied     State = "remedied"
	OptedOut     State = "opted out"
	Unreachable  State = "unreachable"
	Ended        State = "ended" // the campaign, or the unit has another owner
)

// States lists them all.
var States = []State{Climbing, Acknowledged, Remedied, OptedOut, Unreachable, Ended}

// Taken is a step that was taken.
type Taken struct {
	Channel notify.Channel `json:"channel"`
	At      time.Time      `json:"at"`
	Key     string         `json:"-"` // of the notice
	Verdict notify.Verdict `json:"verdict"`
	Why     string         `json:"why,omitempty"` // why it reached nobody
}

// Climb is one owner's way up the ladder, for one unit.
type Climb struct {
	ID        string    `json:"id"`
	Key       string    `json:"-"` // of what is to be told: one climb each, for ever
	Campaign  string    `json:"campaign"`
	TaskID    string    `json:"taskId"`
	UnitID    string    `json:"unitId"`
	OwnerID   string    `json:"ownerId,omitempty"`
	Kind      string    `json:"kind"`
	Product   string    `json:"product"`
	Ladder    Spec      `json:"ladder"` // as it was at the start
	Step      int       `json:"step" doc:"Steps taken."`
	State     State     `json:"state"`
	Why       string    `json:"why,omitempty"`
	Taken     []Taken   `json:"taken"`
	NextAt    time.Time `json:"nextAt,omitzero"`
	StartedAt time.Time `json:"startedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	AckedAt   time.Time `json:"ackedAt,omitzero"`

	Template string         `json:"-"`
	Values   map[string]any `json:"-"`
	// Message is the key of the message that the last step sent: the climb wakes
	// when it bounces or is acknowledged.
	Message string `json:"-"`
}

// Over reports whether nothing more is told, unless a step is always taken.
func (c *Climb) Over() bool { return c.State != Climbing }

// Count is how many climbs of a campaign are in a state, and came how far.
type Count struct {
	State State `json:"state"`
	Step  int   `json:"step" doc:"Steps taken."`
	N     int   `json:"n"`
}

// Filter picks climbs.
type Filter struct {
	Campaign, UnitID, OwnerID string
	State                     State
	After                     string // id
	Limit                     int
}

// Store keeps ladders and climbs.
type Store interface {
	PutLadder(ctx context.Context, s Spec) error
	Ladder(ctx context.Context, name string) (Spec, error)
	Ladders(ctx context.Context) ([]Spec, error)
	DeleteLadder(ctx context.Context, name string) error

	// AddClimb keeps a climb, unless one with its key is known.
	AddClimb(ctx context.Context, c Climb) (fresh bool, err error)
	Climb(ctx context.Context, id string) (Climb, error)
	Climbs(ctx context.Context, f Filter) ([]Climb, error) // by id
	// DueClimbs are those whose NextAt is set and not after now, soonest first.
	DueClimbs(ctx context.Context, now time.Time, limit int) ([]string, error)
	UpdateClimb(ctx context.Context, id string, change func(*Climb) error) (Climb, error)
	CountClimbs(ctx context.Context, campaign string) ([]Count, error)
	// StopWaiting ends what still waits of some notices' messages: texts that
	// were not sent, calls that nobody has made or has at hand now, letters that
	// are in no batch.
	StopWaiting(ctx context.Context, notices []string, why string, now time.Time) error
}

// Put keeps a ladder, unless it has mistakes.
func Put(ctx context.Context, store Store, s Spec) error {
	if err := fault.Fields("ladder "+s.Name, s.Validate()); err != nil {
		return err
	}
	return store.PutLadder(ctx, s)
}

// For is the ladder of a campaign: the one declared for it, else for its
// product and kind, else for its kind, else the built-in one.
func For(ctx context.Context, store Store, kind, product, campaign string) (Spec, error) {
	list, err := store.Ladders(ctx)
	if err != nil {
		return Spec{}, fmt.Errorf("ladder of campaign %s: %w", campaign, err)
	}
	best, nearest := -1, -1
	for i := range list {
		l := &list[i]
		if l.Campaign != "" && l.Campaign != campaign || l.Product != "" && l.Product != product || !slices.Contains(l.Kinds, kind) {
			continue
		}
		near := 0
		if l.Campaign != "" {
			near += 2
		}
		if l.Product != "" {
			near++
		}
		if near > nearest {
			best, nearest = i, near
		}
	}
	if best < 0 {
		return Builtin(kind), nil
	}
	return list[best], nil
}

// Reachable counts owners by what they can be reached on.
type Reachable struct {
	Units   int
	NoOwner int
	By      map[notify.Channel]int
	None    int // neither mail, phone nor address
}
