// Package audit is the trail of every change and of every look at personal
// data: who did what, when, on what, for which people, and how it ended. It is
// one chain for the whole service: each entry's hash covers the hash of the one
// before, so that none can be changed, left out or put in later without all
// after it breaking.
//
// The trail names people by an alias that stands in one table alone and is
// destroyed when they are erased, as is the key that seals the little personal
// text there is (an address): the chain stays whole and says nothing about
// them any more (house.md "Forgetting", docs/adr/0023).
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/audit/chain"

	"fettle.dev/fettle/internal/fault"
)

// Kind is what an entry tells of.
type Kind string

// The kinds.
const (
	Change Kind = "change" // something was changed, or was to be
	Look   Kind = "look"   // somebody was shown personal data
	Denied Kind = "denied" // somebody asked for what they may not
)

// Kinds are all of them.
var Kinds = []Kind{Change, Look, Denied}

// Outcomes of what an entry tells of.
const (
	Done    = "done"
	Failed  = "failed"  // it was refused or broke; nothing changed, unless an entry of the same request says "done"
	Refused = "refused" // by authorisation
)

// Actor is who did it.
type Actor struct {
	Party string `json:"party"`          // operator, owner, server, command (on the service's own machine) or nobody (not signed in)
	ID    string `json:"id,omitempty"`   // of an operator; of an owner the alias; the name of a part of the server or a command
	Role  string `json:"role,omitempty"` // of an operator, at that time
	Via   string `json:"via,omitempty"`  // session, token
	Of    string `json:"of,omitempty"`   // id of the session or token
}

// The parties.
const (
	Operator = "operator"
	Owner    = "owner"
	Server   = "server"
	Command  = "command"
	Nobody   = "nobody"
)

// Box is text about a person, sealed with the person's key: AES-256-GCM, the
// nonce first, the alias as associated data.
type Box struct {
	About string `json:"about"` // alias
	Text  []byte `json:"text"`
}

// Entry is one line of the trail.
type Entry struct {
	Seq       int64     `json:"seq"` // 1, 2, 3 ...
	At        time.Time `json:"at"`
	Kind      Kind      `json:"kind"`
	Actor     Actor     `json:"actor"`
	From      string    `json:"from,omitempty"`      // network address; an owner's is sealed
	Operation string    `json:"operation"`           // id of an operation of the API, or as "admin reset"
	Object    string    `json:"object,omitempty"`    // as "units/WC-1"
	About     []string  `json:"about,omitempty"`     // aliases of the people whose data it is
	Data      string    `json:"data,omitempty"`      // of a look: what was shown, one of Data
	Outcome   string    `json:"outcome"`             // done, failed, refused
	Status    int       `json:"status,omitempty"`    // of HTTP, where it was not done
	Changed   []string  `json:"changed,omitempty"`   // what, in brief; no personal text
	Count     int       `json:"count,omitempty"`     // how often more, since the same entry before it
	Request   string    `json:"request,omitempty"`   // entries of one request share it
	Sealed    *Box      `json:"sealed,omitempty"`    // personal text
	Until     int64     `json:"until,omitempty"`     // of a removal by age: the last entry that went
	UntilHash string    `json:"untilHash,omitempty"` // its hash
	Previous  string    `json:"previous"`            // hash of the entry before, "" for the first
}

// What a look shows. The portal has words for each.
const (
	DataContact      = "contact"      // name, address, language
	DataMeasurements = "measurements" // signals and events of a unit
	DataCondition    = "condition"    // findings, health, forecasts, maintenance
	DataUpdates      = "updates"      // tasks, choices, progress
	DataMessages     = "messages"     // what was sent to them
	DataConsents     = "consents"     // choices and receipts
	DataPeople       = "people"       // who may use a unit
	DataExport       = "export"       // a file of much of it
	DataRequests     = "requests"     // requests about their rights
	DataBackup       = "backup"       // a copy of everything
)

// Everyone stands in Entry.About for all owners.
const Everyone = "everyone"

// EveryoneWith stands in Entry.About for all owners of units of a product.
func EveryoneWith(product string) string { return Everyone + ":" + product }

// Data are all of them.
var Data = []string{
	DataContact, DataMeasurements, DataCondition, DataUpdates, DataMessages, DataConsents, DataPeople, DataExport, DataRequests, DataBackup,
}

// Record is an entry as it is kept and exported.
type Record = chain.Record

// BreakError says which entry is the first that is wrong, and why.
type BreakError = chain.BreakError

// Head is where a chain ends, or begins after what went by age.
type Head struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// String is the head as people keep it: "SEQ:HASH".
func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Seq, h.Hash) }

// ParseHead reads what String writes.
func ParseHead(s string) (Head, error) {
	seq, hash, ok := strings.Cut(strings.TrimSpace(s), ":")
	n, err := strconv.ParseInt(seq, 10, 64)
	raw, hexErr := hex.DecodeString(hash)
	if !ok || err != nil || n < 0 || hexErr != nil || (n > 0 && len(raw) != sha256.Size) {
		return Head{}, fault.New(fault.Invalid, "head %q: expected NUMBER:HASH, as \"fettle audit head\" prints it", s)
	}
	return Head{n, hash}, nil
}

// Filter picks entries; empty fields match all.
type Filter struct {
	From, To  time.Time
	Kind      Kind
	Actor     string   // Actor.ID
	Not       string   // not by this Actor.ID
	About     []string // aliases, of which one is enough
	Object    string   // the object, or what it begins with up to a /
	Operation string
	After     int64 // page upwards: greater than this
	Before    int64 // page downwards, newest first: less than this
	Newest    bool  // newest first
	Limit     int
}

// Filing is what entries are found by: it stands beside the entry, outside of
// its hash, and must say the same.
type Filing struct {
	Seq                      int64
	At                       time.Time
	Kind                     Kind
	Actor, Operation, Object string
	About                    []string // aliases, in order: of an owner who acted, too
}

// filing is how an entry must be filed.
func (e *Entry) filing() Filing {
	about := slices.Clone(e.About)
	if e.Actor.Party == Owner && e.Actor.ID != "" {
		about = append(about, e.Actor.ID)
	}
	slices.Sort(about)
	return Filing{e.Seq, e.At, e.Kind, e.Actor.ID, e.Operation, e.Object, slices.Compact(about)}
}

// Person is how the trail names someone, and the key that seals what it says.
type Person struct {
	OwnerID string
	Alias   string // random
	Key     []byte // 32 bytes
}

// Store keeps the chain and the aliases.
type Store interface {
	// Append gives seal the head of the chain (0 and "" at its beginning) and keeps what it makes
	// of it, in the transaction of ctx. Appends wait for each other.
	Append(ctx context.Context, seal func(h Head) (Entry, Record, error)) error
	Records(ctx context.Context, f Filter) ([]Record, error)
	// Filings are how the entries from one number to another, both included, are filed, in order.
	Filings(ctx context.Context, from, to int64) ([]Filing, error)
	Head(ctx context.Context) (Head, error)
	// Start is the last entry that went by age.
	Start(ctx context.Context) (Head, error)
	// Drop removes all entries up to one from before a time, and gives the last of them; a zero
	// Head when there are none. It takes part in the transaction of ctx.
	Drop(ctx context.Context, before time.Time, limit int) (Head, error)

	// Person finds how the trail names an owner, or keeps what fresh makes.
	Person(ctx context.Context, ownerID string, fresh func() Person) (Person, error)
	// PersonOf finds who an alias stands for; fault.NotFound for one who was erased.
	PersonOf(ctx context.Context, alias string) (Person, error)
	// Forget destroys alias and key.
	Forget(ctx context.Context, ownerID string) error
}
