package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/device/payload"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// permittedEvents says which of a product's events a unit's owner permits.
type permittedEvents struct {
	features []bool // by index of the product's features
	faults   []bool // by index of the product's faults
	log      bool
	level    telemetry.Level // least that is kept
}

func permitEvents(p *fleet.Product, mask consent.Mask) permittedEvents {
	var out permittedEvents
	for _, f := range p.Features {
		out.features = append(out.features, mask.PermitsEvent(p, fleet.EventFeature, f.Name))
	}
	for _, f := range p.Faults {
		out.faults = append(out.faults, mask.PermitsEvent(p, fleet.EventFault, f.Code))
	}
	if p.Log != nil {
		out.log, out.level = mask.PermitsEvent(p, fleet.EventLog, ""), telemetry.Levels[p.Log.Level]
	}
	return out
}

// verdict is what becomes of one event.
type verdict int

const (
	eventKept verdict = iota
	eventNotConsented
	eventUndeclared
	eventInvalid
)

// SubmitEvents takes events of a unit, as Submit takes messages; outcomes,
// unless nil, holds what was decided about each event.
func (g *Gateway) SubmitEvents(ctx context.Context, id Identity, events []Event, outcomes []Outcome, receipt Receipt, tag uint64) error {
	for first := true; ; first = false {
		u, err := g.active(ctx, id.UnitID)
		if err != nil {
			return err
		}
		if first {
			if err := g.slow(ctx, u, len(events), receipt); err != nil {
				return err
			}
		}
		err = g.submitEvents(ctx, u, events, outcomes, submission{receipt: receipt, tag: tag})
		if !errors.Is(err, errStale) {
			return err
		}
	}
}

// StoreEvents submits events and returns when they are durable.
func (g *Gateway) StoreEvents(ctx context.Context, id Identity, events []Event, outcomes []Outcome) error {
	done := make(awaited, 1)
	if err := g.SubmitEvents(ctx, id, events, outcomes, done, 0); err != nil {
		return err
	}
	return done.wait(ctx)
}

func (g *Gateway) submitEvents(ctx context.Context, u *unit, events []Event, outcomes []Outcome, s submission) error {
	at := g.cfg.Clock.Now()
	kept := make([]telemetry.Event, 0, len(events))
	// What is dropped leaves its counts in a row, so that they are history's too.
	dropped := telemetry.Row{Unit: u.id.Key, Event: at.UnixMilli()}
	s.cost = 48
	for i := range events {
		e, v, why := g.event(u, &events[i], at)
		var o Outcome
		switch v {
		case eventKept:
			o.Kept = 1
			kept = append(kept, e)
			s.cost += int64(64 + len(e.Name) + len(e.Text))
		case eventNotConsented:
			o.NotConsented = 1
		case eventUndeclared:
			o.Undeclared = 1
		case eventInvalid:
			o.Invalid, o.Why = 1, why
		}
		dropped.NotConsented += o.NotConsented
		dropped.Undeclared += o.Undeclared
		dropped.Invalid += o.Invalid
		if outcomes != nil {
			outcomes[i] = o
		}
	}
	var rows []telemetry.Row
	if len(kept) < len(events) {
		rows = []telemetry.Row{dropped}
	}
	var err error
	if s.cost, err = g.commits.reserve(ctx, s.cost); err != nil {
		return err
	}
	g.Contact(u.id) // Contact is not the caller's request: it may outlive it
	n := counts{len(kept), dropped.NotConsented, dropped.Undeclared, dropped.Invalid}
	return g.commits.submitRows(u, rows, kept, n, s)
}

// event applies declaration, consent and sense to one event.
func (g *Gateway) event(u *unit, e *Event, at time.Time) (out telemetry.Event, v verdict, why string) {
	out = telemetry.Event{Unit: u.id.Key, Event: e.Event, Sequence: e.Sequence, Kind: telemetry.EventKinds[string(e.Kind)], Name: string(e.Name)}
	switch out.Kind {
	case telemetry.EventFeature:
		v = u.feature(out.Name)
	case telemetry.EventFault:
		v = u.fault(out.Name)
		out.Text, out.State = string(e.Text), telemetry.StateSet
	case telemetry.EventLog:
		v = u.log()
		out.Text, out.Level = string(e.Text), telemetry.Levels[string(e.Level)]
		if v != eventUndeclared && out.Level != 0 && out.Level < u.events.level {
			v = eventUndeclared
		}
	default:
		return out, eventInvalid, fmt.Sprintf("kind: expected feature, fault or log, got %s", payload.Shorten(string(e.Kind)))
	}
	if v != eventKept {
		return out, v, ""
	}
	switch string(e.State) {
	case "", "set":
	case "cleared":
		if out.Kind == telemetry.EventFault {
			out.State = telemetry.StateCleared
		}
	default:
		why = "state: expected set or cleared"
	}
	switch {
	case why != "":
	case out.Kind == telemetry.EventLog && out.Level == 0:
		why = "level: expected debug, info, warn, error or fatal"
	case out.Kind == telemetry.EventLog && out.Text == "":
		why = "text: a line of a log has one"
	case out.Name != "" && !payload.Printable(out.Name, fleet.MaxEventName):
		why = fmt.Sprintf("name: expected at most %d printable characters", fleet.MaxEventName)
	case len(out.Text) > maxText || !utf8.ValidString(out.Text):
		why = fmt.Sprintf("text: expected at most %d bytes of UTF-8", maxText)
	case !e.HasEvent:
		out.Event = u.times.stampFor(at)
	default:
		if refused := g.clockRefusal(e.Event, at); refused != "" {
			why = "ts: " + refused
		}
	}
	if why != "" {
		return out, eventInvalid, why
	}
	return out, eventKept, ""
}

func verdictOf(permitted bool) verdict {
	if permitted {
		return eventKept
	}
	return eventNotConsented
}

// feature judges the use of a feature; one without purposes is not recorded.
func (u *unit) feature(name string) verdict {
	i := slices.IndexFunc(u.product.Features, func(f fleet.Feature) bool { return f.Name == name })
	if i < 0 || len(u.product.Features[i].Purposes) == 0 {
		return eventUndeclared
	}
	return verdictOf(u.events.features[i])
}

func (u *unit) fault(code string) verdict {
	i := u.product.FaultIndex(code)
	if i < 0 {
		return eventUndeclared
	}
	return verdictOf(u.events.faults[i])
}

func (u *unit) log() verdict {
	if u.product.Log == nil {
		return eventUndeclared
	}
	return verdictOf(u.events.log)
}

// DesiredEvents tells a unit which of its events may be kept.
type DesiredEvents struct {
	Features []string `json:"features,omitempty"`
	Faults   []string `json:"faults,omitempty"` // codes and patterns
	Log      string   `json:"log,omitempty"`    // least level
}

func (u *unit) desiredEvents() *DesiredEvents {
	var d DesiredEvents
	for i, ok := range u.events.features {
		if ok {
			d.Features = append(d.Features, u.product.Features[i].Name)
		}
	}
	for i, ok := range u.events.faults {
		if ok {
			d.Faults = append(d.Faults, u.product.Faults[i].Code)
		}
	}
	if u.events.log {
		d.Log = u.product.Log.Level
	}
	if d.Features == nil && d.Faults == nil && d.Log == "" {
		return nil
	}
	return &d
}

// wait returns what a submission came to.
func (a awaited) wait(ctx context.Context) error {
	select {
	case err := <-a:
		return err
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, "store", ctx.Err())
	}
}
