package audit

import (
	"encoding/json"
	"fmt"

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

func broken(seq int64, format string, args ...any) error {
	return fault.Wrap(fault.Conflict, "the trail is broken", &BreakError{Seq: seq, Why: fmt.Sprintf(format, args...)})
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
		c.Head = c.begun
	}
	if b := r.Follows(c.Seq, c.Hash, e.Seq, e.Previous); b != nil {
		return e, fault.Wrap(fault.Conflict, "the trail is broken", b)
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
