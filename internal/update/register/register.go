// Package register is the auditable register of the software versions of units
// with integrity data before and after each change, as UN Regulation No. 156
// (para. 7.1.2.3) asks of vehicle types' software. It is one chain for the
// whole service: each entry's hash covers the hash of the one before, so that
// none can be changed, left out or put in later without all after it
// breaking. It names units by their random key and people not at all.
package register

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/audit/chain"
)

// Event is what an entry tells.
type Event string

// The events.
const (
	Installed Event = "installed" // an assignment of ours: the unit reports all of its versions
	Failed    Event = "failed"    // an assignment of ours ended otherwise; After is what the unit reports all the same
	Reported  Event = "reported"  // the unit reports versions that no assignment of ours explains
)

// Software is one component's software.
type Software struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	Release   string `json:"release,omitempty"` // the release that has it, where one is known
	Counter   int64  `json:"counter,omitempty"` // of that release
	SHA256    string `json:"sha256,omitempty"`  // of that release's image for the component
}

// Entry is one change of a unit's software.
type Entry struct {
	Seq        int64      `json:"seq"` // 1, 2, 3 ...
	At         time.Time  `json:"at"`
	Event      Event      `json:"event"`
	Unit       int64      `json:"unit"` // unit key
	Product    string     `json:"product"`
	Before     []Software `json:"before"` // by component
	After      []Software `json:"after"`
	Assignment int64      `json:"assignment,omitempty"`
	Release    string     `json:"release,omitempty"`
	Campaign   string     `json:"campaign,omitempty"`   // whose assignment it is
	ApprovedBy string     `json:"approvedBy,omitempty"` // id of the operator who started the campaign
	ApprovedAt time.Time  `json:"approvedAt,omitzero"`
	Why        string     `json:"why,omitempty"` // of a failure: which parts the unit has and which not
	Previous   string     `json:"previous"`      // hash of the entry before, "" for the first
}

// Record is an entry as it is kept and exported.
type Record = chain.Record

// Store keeps the chain.
type Store interface {
	// Append gives seal the head of the chain (0 and "" at its beginning) and keeps what it makes
	// of it, in the transaction of ctx. Appends wait for each other.
	Append(ctx context.Context, seal func(seq int64, previous string) (Entry, Record, error)) error
	// Records lists the chain from after a sequence number on; unit 0 means all units.
	Records(ctx context.Context, unit, after int64, limit int) ([]Record, error)
	// Last is the newest entry of a unit; fault.NotFound without one.
	Last(ctx context.Context, unit int64) (Record, error)
	// Head is the newest entry's number and hash.
	Head(ctx context.Context) (seq int64, hash string, err error)
}

// Append seals an entry and keeps it at the end of the chain.
func Append(ctx context.Context, s Store, e Entry) error {
	err := s.Append(ctx, func(seq int64, previous string) (Entry, Record, error) {
		e.Seq, e.Previous, e.At = seq+1, previous, e.At.UTC().Truncate(time.Millisecond)
		r, err := chain.Seal(e)
		return e, r, err
	})
	if err != nil {
		return fmt.Errorf("append to the register: %w", err)
	}
	return nil
}

// Chain checks records one after the other.
type Chain struct {
	Seq  int64  // of the last one that was right
	Hash string // its hash
}

// Next checks the record that must come next, and gives its entry. The error
// names the record and what is wrong with it; nothing after it is proven.
func (c *Chain) Next(r Record) (Entry, error) {
	var e Entry
	at := c.Seq + 1
	if err := json.Unmarshal(r.Entry, &e); err != nil {
		return e, fmt.Errorf("entry %d cannot be read: %w", at, err)
	}
	if b := r.Follows(c.Seq, c.Hash, e.Seq, e.Previous); b != nil {
		return e, b
	}
	c.Seq, c.Hash = e.Seq, r.Hash
	return e, nil
}
