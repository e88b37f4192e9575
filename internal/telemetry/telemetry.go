// Package telemetry holds what units report, from the moment it is accepted:
// batches on the stream, and the ports to append them to history and to query
// it. Everything that the detectors depend on is in the stream, in one order,
// so that a backtest is a replay.
package telemetry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Position is a place in the stream: the stream sequence of the batch, and the
// row's index inside it.
type Position struct {
	Seq   uint64
	Index int
}

// Compare orders positions as the stream has them.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Seq, q.Seq), cmp.Compare(p.Index, q.Index))
}

// Row is what one message of one unit held, after undeclared, not permitted
// and invalid values were dropped. A Row with no values still carries counts.
type Row struct {
	Unit     int64 // unit key
	Event    int64 // event time, Unix ms
	Received int64 // receive time, Unix ms
	Sequence int64 // the unit's own message number, 0 if it sends none
	Values   []Value

	// Samples of the message that were dropped at the gateway.
	NotConsented, Undeclared, Invalid int
}

// Value is one sample of a Row. Number holds numbers and booleans (0 or 1).
type Value struct {
	Signal string
	Number float64
	Text   string // for signals of type text
	IsText bool
}

// MarkKind says what a Mark tells the detectors.
type MarkKind uint8

// The marks. Contact: the unit was heard of without data (connect, ping,
// poll). Tick: the server is alive at that time; a long gap between two ticks
// is an outage of ours, never silence of a unit. Version: the unit reported
// new software, so what was learned and what was open starts anew. Consent:
// the owner's choices changed. Retired: the unit is no longer watched.
// Enrolled: the unit is watched from here: it is new, active again, or
// declared otherwise, as when it changes hands. Maintained: a part was replaced or
// put right, so what was learned from before must not judge what comes after.
// Context: values of a product's surroundings, of no unit, for tips; detectors
// take no notice.
const (
	MarkContact MarkKind = iota + 1
	MarkTick
	MarkVersion
	MarkConsent
	MarkRetired
	MarkEnrolled
	MarkMaintained
	MarkContext
)

// Mark is a notice in the stream that is not a sample.
type Mark struct {
	Kind MarkKind
	Unit int64  // unit key, 0 for ticks
	At   int64  // receive time, Unix ms
	Text string // Version: "component=version"; Consent: purposes given, comma-separated; Maintained: "part=what was done", as "fan=replacement", part "" the unit as a whole
}

// Batch is one commit to the stream: rows and events of units of one product,
// each in order of arrival, then marks. Marks concern any product; Product is
// then "".
type Batch struct {
	Product string
	Rows    []Row
	Events  []Event
	Marks   []Mark
}

// Empty reports whether there is nothing to store.
func (b *Batch) Empty() bool { return len(b.Rows) == 0 && len(b.Events) == 0 && len(b.Marks) == 0 }

// Stored is a row of history.
type Stored struct {
	Position
	Row
}

// StoredMark is a mark of history.
type StoredMark struct {
	Position
	Mark
}

// Query picks rows of history of one product, in stream order (Position
// ascending). Zero bounds are open. Callers pass only units and signals that
// may be looked at: History knows nothing of consent. Marks are those of any
// time up to UpTo, of Units and of no unit.
type Query struct {
	Product  string
	Units    []int64   // nil: all; empty: none
	Signals  []string  // nil: all; the others are left out of Values
	From, To time.Time // event time, [From, To)
	After    uint64    // stream sequences above this one
	UpTo     uint64    // highest stream sequence; 0: all
	NoMarks  bool      // rows alone

	// Apart, with NoMarks, asks for rows of which each unit's come in stream
	// order, but units in any; they tell unit, times and values, and neither
	// position nor sequence number nor counts. That costs less.
	Apart bool
	// Enough, with Apart, says of which units no more rows are wanted.
	Enough func(unit int64) bool
}

// Point is a chart's bucket.
type Point struct {
	At             time.Time `json:"at"` // start of the bucket
	Min, Max, Mean float64
	Count          int64
}

// Account is the accounting of one unit, in samples:
// Acknowledged = Stored + NotConsented + Undeclared + Duplicate + Invalid.
type Account struct {
	Unit                                                               int64
	Acknowledged, Stored, NotConsented, Undeclared, Duplicate, Invalid int64
}

// History keeps rows and events. Append and position are one transaction.
type History interface {
	Exporter
	EventHistory
	// EnsureProduct makes a product's table fit its signals (name to "number", "boolean" or "text"). Columns are only added.
	EnsureProduct(ctx context.Context, product string, signals map[string]string) error
	// Append stores batches with the stream sequence each had. Sequences at or
	// below Applied are skipped. Values known already (same unit, signal, event
	// time and sequence number) are counted as duplicates, not stored.
	Append(ctx context.Context, batches []Sequenced) error
	// Applied is the highest stream sequence stored.
	Applied(ctx context.Context) (uint64, error)

	// Replay calls fn for rows and marks in stream order, marks of all
	// products included; exactly one of row and mark is set. The values passed
	// are valid during the call only.
	Replay(ctx context.Context, q Query, fn func(row *Stored, mark *StoredMark) error) error
	// Latest is the newest value of each of the signals (none: all) of a unit, with its event time.
	Latest(ctx context.Context, product string, unit int64, signals ...string) (map[string]Sample, error)
	// Series is a unit's signal between from and to in at most buckets points.
	Series(ctx context.Context, product string, unit int64, signal string, from, to time.Time, buckets int) ([]Point, error)
	// Windows calls fn for each window of each unit that has values, by unit
	// and time. The Window passed is valid during the call only.
	Windows(ctx context.Context, q WindowQuery, fn func(w *Window) error) error
	// Accounts is the accounting of units (nil: all).
	Accounts(ctx context.Context, units []int64) ([]Account, error)
	// Extent is the earliest and latest event time held for a product.
	Extent(ctx context.Context, product string) (from, to time.Time, err error)
	// EraseUnits removes every row of the units; signals nil means all.
	EraseUnits(ctx context.Context, units []int64, signals []string) error
	// Expire drops values older than each signal's retention allows.
	Expire(ctx context.Context, product string, before map[string]time.Time) error
	// Backup writes a consistent copy into dir.
	Backup(ctx context.Context, dir string) error
	Close() error
}

// Sample is one reading.
type Sample struct {
	At     time.Time `json:"at"`
	Number float64   `json:"number"`
	Text   string    `json:"text,omitempty"`
	IsText bool      `json:"isText,omitempty"`
}

// Sequenced is a batch with its place in the stream.
type Sequenced struct {
	Seq   uint64
	Batch *Batch
}

// ErrFull is a stream's refusal of what there is no room for, in its own bounds
// or on its disk. Nothing of it was taken; it may be when there is room again.
var ErrFull = errors.New("the stream is full")

// ErrGap says that entries that a consumer has not read are gone from the stream.
var ErrGap = errors.New("entries are missing from the stream")

// GapError is ErrGap where the stream begins after a consumer's position.
type GapError struct {
	Position uint64 // of the consumer
	First    uint64 // entry that the stream holds
}

func (e *GapError) Error() string {
	return fmt.Sprintf("the position is %d but the stream begins with entry %d: %s", e.Position, e.First, ErrGap)
}

// Unwrap gives ErrGap.
func (e *GapError) Unwrap() error { return ErrGap }

// Stream is the durable log between the gateway and its consumers.
type Stream interface {
	// Publish returns when the batch is durable; consumers may be handed it as
	// it is, so that it must not be changed afterwards. A batch larger than the
	// stream's maximum payload is split into several entries.
	Publish(ctx context.Context, b *Batch) error
	// Consume delivers batches after position from, in order, until ctx ends
	// or handle fails. Handle gets as many as are waiting, at most max. The
	// consumer keeps its own position: nothing is acknowledged to the stream.
	// Batches are shared with other consumers and must not be changed. That the stream no longer holds from+1 is a GapError.
	Consume(ctx context.Context, from uint64, max int, handle func(ctx context.Context, batches []Sequenced) error) error
	// Last is the sequence of the newest entry.
	Last(ctx context.Context) (uint64, error)
}
