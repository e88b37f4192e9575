package telemetry

import (
	"context"
	"time"
)

// EventKind says what sort of notice an Event is.
type EventKind uint8

// The kinds of events. Feature: a feature of the unit was used. Fault: a fault
// code was set or cleared. Log: a line of the unit's log.
const (
	EventFeature EventKind = iota + 1
	EventFault
	EventLog
)

// EventKinds are the kinds by the names that units and operators use.
var EventKinds = map[string]EventKind{"feature": EventFeature, "fault": EventFault, "log": EventLog}

// String is the name of a kind.
func (k EventKind) String() string {
	for name, kind := range EventKinds {
		if kind == k {
			return name
		}
	}
	return ""
}

// EventState is what a fault code became.
type EventState uint8

// The states of a fault code; other events have none.
const (
	StateNone EventState = iota
	StateSet
	StateCleared
)

// String is the name of a state, "" for none.
func (s EventState) String() string { return [...]string{"", "set", "cleared", ""}[min(s, 3)] }

// Level is how grave a log line is: OpenTelemetry's severity numbers; 0 where
// there is none.
type Level uint8

// The levels of log lines.
const (
	LevelDebug Level = 5
	LevelInfo  Level = 9
	LevelWarn  Level = 13
	LevelError Level = 17
	LevelFatal Level = 21
)

// Levels are the levels by the names that units and products use.
var Levels = map[string]Level{"debug": LevelDebug, "info": LevelInfo, "warn": LevelWarn, "error": LevelError, "fatal": LevelFatal}

// String is the name of a level, "" for none.
func (l Level) String() string {
	for name, level := range Levels {
		if level == l {
			return name
		}
	}
	return ""
}

// Event is a notice of one unit: the declared name of what it is about, and
// what its kind has of state, level and text. An event that is not kept leaves
// only a count, in a Row without values.
type Event struct {
	Unit     int64 // unit key
	Event    int64 // event time, Unix ms
	Received int64 // receive time, Unix ms
	Sequence int64 // the unit's own number, 0 if it sends none
	Kind     EventKind
	Name     string     // feature, fault code, or what wrote the log line ("" if it does not say)
	State    EventState // of a fault
	Level    Level      // of a log line
	Text     string     // of a log line or a fault
}

// StoredEvent is an event of history.
type StoredEvent struct {
	Position
	Event
}

// EventQuery picks events of one unit, the newest first. Zero bounds are open.
type EventQuery struct {
	Product  string
	Unit     int64
	Kind     EventKind // 0: all
	From, To time.Time // event time, [From, To)
	// Allow says of a kind and name whether its events may be looked at: History
	// knows nothing of consent. Nil: all may.
	Allow func(kind EventKind, name string) bool
	After *EventCursor // the last event of the answer before
	Limit int          // at most so many; at least 1
}

// EventCursor is a place in the order of a unit's events: event time, then
// position in the stream.
type EventCursor struct {
	Event int64 // event time, Unix ms
	Position
}

// EventHistory keeps events beside samples; see History. Append stores them: an
// event known already (the same unit, kind, name, event time and sequence
// number; without sequence number also state, level and text) is counted as
// duplicate. Each counts as one sample in the accounting.
type EventHistory interface {
	// Events are those that q picks, the newest first.
	Events(ctx context.Context, q EventQuery) ([]StoredEvent, error)
	// ExpireEvents drops events from before the time that before gives for
	// their kind and name; a zero time keeps them.
	ExpireEvents(ctx context.Context, product string, before func(kind EventKind, name string) time.Time) error
	// EraseEvents removes the units' events of the kinds and names that gone picks.
	EraseEvents(ctx context.Context, product string, units []int64, gone func(kind EventKind, name string) bool) error
}
