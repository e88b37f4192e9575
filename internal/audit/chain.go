package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"fettle.dev/fettle/internal/fault"
)

// Chain checks records one after the other. Begin it with what is left of the
// beginning (Store.Start), or with nothing.
type Chain struct {
	Head
	removed Head // by the newest entry of the trail that tells of a removal by age
	begun   Head
	started bool
}

// From is a chain that begins after an entry.
func From(start Head) *Chain { return &Chain{Head: start, begun: start, started: true} }

// BreakError says which entry is the first that is wrong, and why.
type BreakError struct {
	Seq int64
	Why string
}

func (e *BreakError) Error() string { return fmt.Sprintf("entry %d %s", e.Seq, e.Why) }

func broken(seq int64, format string, args ...any) error {
	return fault.Wrap(fault.Conflict, "the trail is broken", &BreakError{seq, fmt.Sprintf(format, args...)})
}

// Next checks the record that must come next, and gives its entry. The error
// names the record and what is wrong with it; nothing after it is proven.
func (c *Chain) Next(r Record) (Entry, error) {
	var e Entry
	at := c.Seq + 1
	if err := json.Unmarshal(r.Entry, &e); err != nil {
		return e, broken(at, "cannot be read: %v", err)
	}
	if !c.started { // an export of a part of the trail: what it begins with is taken
		c.started = true
		c.begun = Head{e.Seq - 1, e.Previous}
		c.Head, at = c.begun, e.Seq
	}
	switch {
	case e.Seq > at:
		return e, broken(at, "is missing: entry %d stands in its place", e.Seq)
	case e.Seq != at:
		return e, broken(at, "is not in its place: entry %d stands there", e.Seq)
	case sum(r.Entry) != r.Hash:
		return e, broken(at, "was changed: its hash is %s, not %s", sum(r.Entry), r.Hash)
	case e.Previous != c.Hash:
		return e, broken(at, "does not follow entry %d: it names %q as the hash before it, which is %q", c.Seq, e.Previous, c.Hash)
	}
	c.Head = Head{e.Seq, r.Hash}
	if e.Until > 0 {
		c.removed = Head{e.Until, e.UntilHash}
	}
	return e, nil
}

// Begun is what the chain began after.
func (c *Chain) Begun() Head { return c.begun }

// End checks that nothing is missing at either end: head is where the trail
// says it ends (a zero Head: nobody says), kept are heads that were kept
// elsewhere and must still be in it, as given to Keep.
func (c *Chain) End(head Head) error {
	if head != (Head{}) && head != c.Head {
		if head.Seq > c.Seq {
			return broken(c.Seq+1, "is missing, and all after it: the trail went up to entry %d", head.Seq)
		}
		return broken(c.Seq, "is not the one that the trail says it ends with (%s)", head)
	}
	if c.begun.Seq > 0 && c.removed.Seq > 0 && c.removed != c.begun {
		return broken(c.begun.Seq+1, "is the first, but the trail says that what went by age ends with entry %d", c.removed.Seq)
	}
	if c.begun.Seq > 0 && c.removed.Seq == 0 {
		return broken(1, "is missing, up to entry %d, and no entry tells of a removal by age", c.begun.Seq)
	}
	return nil
}

// Kept checks a head that was kept elsewhere against the record that stands
// there now, nil for none.
func Kept(kept Head, now *Record) error {
	switch {
	case kept.Seq == 0:
		return nil
	case now == nil:
		return broken(kept.Seq, "is missing: the head %s was kept elsewhere, and the trail ends before it", kept)
	case now.Hash != kept.Hash:
		return broken(kept.Seq, "is not the one whose head was kept: the trail was written anew from there or before (its hash is %s)", now.Hash)
	}
	return nil
}

// longestRecord bounds a line of an export.
const longestRecord = 4 << 20

// Read calls fn for each record of an export: a line a record, {"hash":...,
// "entry":{...}}. Lines that are empty are passed over; errors name the line.
func Read(r io.Reader, fn func(Record) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestRecord)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var rec Record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			return fault.New(fault.Invalid, "line %d is no record of a trail: %w", n, err)
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fault.New(fault.Invalid, "line %d is longer than %d bytes: no record of a trail", n+1, longestRecord)
	}
	return lines.Err()
}
