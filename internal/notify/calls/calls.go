// Package calls is the list that agents call owners by: whose turn it is by due
// time and the owner's hours, what to say, how a call ended, and when it is
// tried again. Two agents never hold the same call.
package calls

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/preference"
)

// Outcome is how a call ended.
type Outcome string

// The outcomes.
const (
	Reached     Outcome = "reached" // the owner was told, and said that they understood
	NoAnswer    Outcome = "no answer"
	Voicemail   Outcome = "voicemail"
	WrongNumber Outcome = "wrong number"
	Refused     Outcome = "refused"   // the owner does not want to talk
	CallBack    Outcome = "call back" // at a time that the owner named
)

// Outcomes lists them.
var Outcomes = []Outcome{Reached, NoAnswer, Voicemail, WrongNumber, Refused, CallBack}

// State of a call.
type State string

// The states: open until an outcome ends it, or it was tried as often as it is.
const (
	Open    State = "open"
	Done    State = "done"
	GivenUp State = "given up"
	Stopped State = "stopped" // not needed any more: the unit is remedied, or the owner has acknowledged
)

// Call is one owner to be called about one thing.
type Call struct {
	ID          string      `json:"id" doc:"Of the message that it carries."`
	OwnerID     string      `json:"ownerId"`
	UnitID      string      `json:"unitId,omitempty"`
	Name        string      `json:"name"`
	Phone       string      `json:"phone"`
	Kind        notify.Kind `json:"kind"`
	About       string      `json:"about,omitempty"`
	Language    string      `json:"language"`
	Subject     string      `json:"subject"`
	Script      string      `json:"script" doc:"What to say, in the owner's language, with the unit's facts."`
	State       State       `json:"state"`
	DueAt       time.Time   `json:"dueAt"`
	LocalTime   string      `json:"localTime,omitempty" doc:"Time of day where the owner is."`
	Tries       int         `json:"tries"`
	Outcome     Outcome     `json:"outcome,omitempty" doc:"Of the last try."`
	TriedAt     time.Time   `json:"triedAt,omitzero"`
	LockedBy    string      `json:"lockedBy,omitempty" doc:"Agent who has it at hand."`
	LockedUntil time.Time   `json:"lockedUntil,omitzero"`
	CreatedAt   time.Time   `json:"createdAt"`
	Notes       []Note      `json:"notes,omitempty"`
}

// Note is what an agent wrote down after a call.
type Note struct {
	At      time.Time `json:"at"`
	Agent   string    `json:"agent"`
	Outcome Outcome   `json:"outcome"`
	Text    string    `json:"text,omitempty"`
	Sealed  []byte    `json:"-"` // Text under the owner's key
}

// Filter picks calls.
type Filter struct {
	State   State
	OwnerID string
	About   string
	Due     time.Time // due by then, if set
	Free    time.Time // not locked at that time, if set
	After   string    // "DUE/ID" of the last of the page before
	Limit   int
}

// Store keeps calls. They come into being with messages on the channel call.
type Store interface {
	Calls(ctx context.Context, f Filter) ([]Call, error) // soonest due first
	Call(ctx context.Context, id string) (Call, error)
	UpdateCall(ctx context.Context, id string, change func(*Call) error) (Call, error)
	AddNote(ctx context.Context, id string, n Note) error
	Notes(ctx context.Context, id string) ([]Note, error) // oldest first
	CountCalls(ctx context.Context) (map[State]int, error)
}

// Sealer encrypts under an owner's key, which is destroyed on erasure.
type Sealer interface {
	Seal(ctx context.Context, ownerID, text string) ([]byte, error)
	Open(ctx context.Context, ownerID string, box []byte) (string, error) // fault.NotFound once erased
}

// Config is what a Service works with.
type Config struct {
	Store    Store
	Messages notify.Store
	People   *preference.Service
	Fleet    fleet.Store
	Tx       fleet.Transactor
	Clock    clock.Clock
	Sealer   Sealer
	// Needed reports whether a call's message is still to be told; nil: until it
	// is acknowledged.
	Needed func(ctx context.Context, m *notify.Message) (bool, error)
}

// Service hands out calls and takes their outcomes.
type Service struct{ c Config }

// NewService makes a service.
func NewService(c Config) *Service { return &Service{c} }

const (
	// hold is how long an agent has a call at hand.
	hold = 20 * time.Minute
	// mostTries is how often somebody is called who does not answer.
	mostTries = 4
	// mostNote bounds what an agent writes down.
	mostNote = 4000
)

// waits are the times until the next try, by how many there were: not at the
// same hour of the next day.
var waits = map[Outcome][]time.Duration{
	NoAnswer:  {3 * time.Hour, 22 * time.Hour, 50 * time.Hour},
	Voicemail: {26 * time.Hour, 50 * time.Hour, 74 * time.Hour},
}

// List gives calls, soonest due first.
func (s *Service) List(ctx context.Context, f Filter) ([]Call, error) {
	list, err := s.c.Store.Calls(ctx, f)
	for i := range list {
		if err == nil {
			err = s.locate(ctx, &list[i])
		}
	}
	return list, err
}

// Counts are how many calls are in each state.
func (s *Service) Counts(ctx context.Context) (map[State]int, error) {
	return s.c.Store.CountCalls(ctx)
}

// locate says what time it is where the owner is.
func (s *Service) locate(ctx context.Context, c *Call) error {
	o, err := s.c.Fleet.Owner(ctx, c.OwnerID)
	if err != nil {
		return err
	}
	r, err := s.c.People.Reader(ctx, o)
	if err != nil {
		return err
	}
	c.Name, c.LocalTime = o.Name, s.c.Clock.Now().In(r.Zone).Format("Mon 15:04 MST")
	return nil
}

// Get is a call with its notes.
func (s *Service) Get(ctx context.Context, id string) (Call, error) {
	c, err := s.c.Store.Call(ctx, id)
	if err != nil {
		return c, err
	}
	if err := s.locate(ctx, &c); err != nil {
		return c, err
	}
	if c.Notes, err = s.c.Store.Notes(ctx, id); err != nil {
		return c, err
	}
	for i := range c.Notes {
		n := &c.Notes[i]
		if len(n.Sealed) == 0 {
			continue
		}
		n.Text, err = s.c.Sealer.Open(ctx, c.OwnerID, n.Sealed)
		if fault.KindOf(err) == fault.NotFound {
			n.Text, err = "", nil // erased
		}
		if err != nil {
			return c, fmt.Errorf("note of a call: %w", err)
		}
	}
	return c, nil
}

// Next locks the call whose turn it is for an agent: due, in the owner's hours,
// with nobody. An agent who has one at hand already is given that again.
// fault.NotFound: there is nothing to do now.
func (s *Service) Next(ctx context.Context, agent string) (Call, error) {
	now := s.c.Clock.Now()
	var got string
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		mine, err := s.c.Store.Calls(ctx, Filter{State: Open, Limit: 500})
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(mine, func(c Call) bool { return c.LockedBy == agent && c.LockedUntil.After(now) }); i >= 0 {
			got = mine[i].ID
			return nil
		}
		for range 200 { // each turn takes one off the list of what is due
			due, err := s.c.Store.Calls(ctx, Filter{State: Open, Due: now, Free: now, Limit: 1})
			if err != nil {
				return err
			}
			if len(due) == 0 {
				return nil
			}
			c := due[0]
			awake, needed, err := s.asleep(ctx, &c, now)
			if err != nil {
				return err
			}
			_, err = s.c.Store.UpdateCall(ctx, c.ID, func(c *Call) error {
				switch {
				case !needed:
					c.State = Stopped
				case awake.After(now):
					c.DueAt = awake
				default:
					c.LockedBy, c.LockedUntil = agent, now.Add(hold)
					got = c.ID
				}
				return nil
			})
			if err != nil || got != "" {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Call{}, err
	}
	if got == "" { // said after the transaction: what was put off stays so
		return Call{}, fault.New(fault.NotFound, "nobody is to be called now")
	}
	return s.Get(ctx, got)
}

// asleep says when an owner may be called next, and whether they still must be.
func (s *Service) asleep(ctx context.Context, c *Call, now time.Time) (awake time.Time, needed bool, err error) {
	m, err := s.c.Messages.Message(ctx, c.ID)
	if err != nil {
		return now, false, err
	}
	if !m.AckedAt.IsZero() {
		return now, false, nil
	}
	if s.c.Needed != nil {
		if needed, err := s.c.Needed(ctx, &m); err != nil || !needed {
			return now, false, err
		}
	}
	o, err := s.c.Fleet.Owner(ctx, c.OwnerID)
	if fault.KindOf(err) == fault.NotFound {
		return now, false, nil
	}
	if err != nil {
		return now, false, err
	}
	p, err := s.c.People.Preferences(ctx, o.ID)
	if err != nil {
		return now, false, err
	}
	if p.TimeZone != "" {
		o.TimeZone = p.TimeZone
	}
	return p.Awake(now, o.Location()), true, nil
}

// Take locks a call of an agent's choice. fault.Conflict: somebody has it, or
// it is not needed any more.
func (s *Service) Take(ctx context.Context, id, agent string) (Call, error) {
	now := s.c.Clock.Now()
	taken, err := s.c.Store.UpdateCall(ctx, id, func(c *Call) error {
		if err := c.mine(agent, now); err != nil {
			return err
		}
		_, needed, err := s.asleep(ctx, c, now)
		if err == nil && !needed {
			c.State = Stopped
			return nil
		}
		c.LockedBy, c.LockedUntil = agent, now.Add(hold)
		return err
	})
	if err == nil && taken.State == Stopped {
		err = fault.New(fault.Conflict, "this call is stopped: the unit is remedied, or its owner has acknowledged")
	}
	if err != nil {
		return Call{}, err
	}
	return s.Get(ctx, id)
}

// Release puts a call back without an outcome.
func (s *Service) Release(ctx context.Context, id, agent string) error {
	now := s.c.Clock.Now()
	_, err := s.c.Store.UpdateCall(ctx, id, func(c *Call) error {
		if err := c.mine(agent, now); err != nil {
			return err
		}
		c.LockedBy, c.LockedUntil = "", time.Time{}
		return nil
	})
	return err
}

// mine reports whether an agent may work on a call.
func (c *Call) mine(agent string, now time.Time) error {
	switch {
	case c.State != Open:
		return fault.New(fault.Conflict, "this call is %s", c.State)
	case c.LockedBy != "" && c.LockedBy != agent && c.LockedUntil.After(now):
		return fault.New(fault.Conflict, "%s has this call at hand until %s", c.LockedBy, c.LockedUntil.UTC().Format("15:04 MST"))
	}
	return nil
}

// Ended is what an agent says of a call.
type Ended struct {
	Outcome Outcome
	At      time.Time // of CallBack
	Note    string
}

// Record takes the outcome of a call: it ends it, or says when it is tried
// again. Whoever was reached has acknowledged; a wrong number, a refusal, and
// whoever never answers count as not reached, so that the ladder goes on.
func (s *Service) Record(ctx context.Context, id, agent string, e Ended) (Call, error) {
	now := s.c.Clock.Now()
	var fields []fault.Field
	if !slices.Contains(Outcomes, e.Outcome) {
		fields = append(fields, fault.Field{Path: "outcome", Expected: "reached, no answer, voicemail, wrong number, refused or call back", Got: fmt.Sprintf("%q", e.Outcome)})
	}
	if e.Outcome == CallBack && (!e.At.After(now) || e.At.After(now.AddDate(0, 3, 0))) {
		fields = append(fields, fault.Field{Path: "at", Expected: "when to call back: a time to come, within three months", Got: e.At.Format(time.RFC3339)})
	}
	if len(e.Note) > mostNote {
		fields = append(fields, fault.Field{Path: "note", Expected: fmt.Sprintf("at most %d bytes", mostNote)})
	}
	if err := fault.Fields("outcome of a call", fields); err != nil {
		return Call{}, err
	}
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		c, err := s.c.Store.UpdateCall(ctx, id, func(c *Call) error {
			if err := c.mine(agent, now); err != nil {
				return err
			}
			if c.LockedBy != agent {
				return fault.New(fault.Conflict, "take the call first: it was not yours, or your time with it is over")
			}
			c.ended(e, now)
			return nil
		})
		if err != nil {
			return err
		}
		n := Note{At: now, Agent: agent, Outcome: e.Outcome}
		if text := strings.TrimSpace(e.Note); text != "" {
			if n.Sealed, err = s.c.Sealer.Seal(ctx, c.OwnerID, text); err != nil {
				return fmt.Errorf("note of a call: %w", err)
			}
		}
		if err := s.c.Store.AddNote(ctx, id, n); err != nil {
			return err
		}
		return s.tell(ctx, &c, now)
	})
	if err != nil {
		return Call{}, err
	}
	return s.Get(ctx, id)
}

// ended moves a call on by its outcome.
func (c *Call) ended(e Ended, now time.Time) {
	c.LockedBy, c.LockedUntil = "", time.Time{}
	c.Outcome, c.TriedAt = e.Outcome, now
	c.Tries++
	switch e.Outcome {
	case Reached, WrongNumber, Refused:
		c.State = Done
	case CallBack:
		c.DueAt = e.At
	default:
		if c.Tries >= mostTries {
			c.State = GivenUp
			return
		}
		list := waits[e.Outcome]
		c.DueAt = now.Add(list[min(c.Tries, len(list))-1])
	}
}

// tell notes on the message what a call has come to.
func (s *Service) tell(ctx context.Context, c *Call, now time.Time) error {
	d := notify.Delivery{MessageID: c.ID, At: now, Channel: notify.Call, Detail: string(c.Outcome)}
	var change func(*notify.Message) error
	switch {
	case c.State == Open:
		return nil
	case c.Outcome == Reached:
		d.Result = notify.Acknowledged
		change = func(m *notify.Message) error {
			m.State, m.SentAt, m.AckedAt, m.AckedVia, m.NextAt = notify.Delivered, now, now, notify.ViaPerson, time.Time{}
			return nil
		}
	default:
		d.Result = notify.Bounce
		why := string(c.Outcome)
		if c.State == GivenUp {
			why = fmt.Sprintf("not reached in %d calls", c.Tries)
		}
		change = func(m *notify.Message) error {
			m.State, m.LastError, m.NextAt = notify.Bounced, why, time.Time{}
			return nil
		}
	}
	if _, err := s.c.Messages.Heard(ctx, d, change); err != nil {
		return fmt.Errorf("outcome of a call: %w", err)
	}
	return nil
}
