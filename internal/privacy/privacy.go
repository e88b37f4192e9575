// Package privacy is what people may ask for about their data (GDPR articles
// 15, 17, 18 and 21): requests with their deadlines, restriction and objection,
// and erasure as work that goes through every store, resumes after a crash and
// ends with a receipt.
package privacy

import (
	"context"
	"slices"
	"time"
)

// Kind is what a request asks for.
type Kind string

// The kinds, with the article of the GDPR.
const (
	Access        Kind = "access"        // 15: a copy and an explanation
	Rectification Kind = "rectification" // 16
	Erasure       Kind = "erasure"       // 17
	Restriction   Kind = "restriction"   // 18: kept, not used
	Objection     Kind = "objection"     // 21: to one purpose
)

// Kinds are all of them.
var Kinds = []Kind{Access, Rectification, Erasure, Restriction, Objection}

// State is where a request stands.
type State string

// The states.
const (
	Open    State = "open"    // somebody has to answer
	Working State = "working" // the program is at it
	Done    State = "done"
	Refused State = "refused" // with the reason, and where to complain
)

// Request is what somebody asked for about their data.
type Request struct {
	ID         string    `json:"id"`
	OwnerID    string    `json:"-"`
	Kind       Kind      `json:"kind" enum:"access,rectification,erasure,restriction,objection"`
	UnitID     string    `json:"unitId,omitempty" doc:"Absent: all of the person's units."`
	Purpose    string    `json:"purpose,omitempty" doc:"Of an objection."`
	Text       string    `json:"text,omitempty" doc:"What the person wrote."`
	State      State     `json:"state" enum:"open,working,done,refused"`
	At         time.Time `json:"at"`
	DueAt      time.Time `json:"dueAt" doc:"One month after it was asked (GDPR 12(3)); two more where that was told."`
	Extended   string    `json:"extended,omitempty" doc:"Why it takes two months more."`
	Answer     string    `json:"answer,omitempty"`
	AnsweredBy string    `json:"answeredBy,omitempty" doc:"Email of an operator, or the program."`
	AnsweredAt time.Time `json:"answeredAt,omitzero"`
	ErasureID  string    `json:"erasureId,omitempty"`
}

// Due is the time by which a request is answered: one month (GDPR 12(3)).
func Due(at time.Time) time.Time { return month(at, 1) }

// Extended is that time with the two months more that GDPR 12(3) allows.
func Extended(at time.Time) time.Time { return month(at, 3) }

// month adds months; a day that the month does not have becomes its last
// (Regulation 1182/71 article 3(2)(c)).
func month(at time.Time, n int) time.Time {
	out := at.AddDate(0, n, 0)
	if out.Day() != at.Day() {
		out = out.AddDate(0, 0, -out.Day())
	}
	return out
}

// Limit is a restriction (all purposes) or an objection (one) in force.
type Limit struct {
	OwnerID string    `json:"-"`
	UnitID  string    `json:"unitId"`
	UnitKey int64     `json:"-"`
	Product string    `json:"product"`
	Purpose string    `json:"purpose,omitempty" doc:"Absent: a restriction, of all purposes."`
	Since   time.Time `json:"since"`
}

// Filter picks requests. Empty fields match all.
type Filter struct {
	OwnerID string
	Kind    Kind
	States  []State
	DueBy   time.Time
	After   string // page: after this id, in the order of their deadlines
	Limit   int
}

// Subject is a person who is to be erased, as the records name them.
type Subject struct {
	OwnerID  string   `json:"ownerId"`
	Email    string   `json:"email"`
	Units    []string `json:"units"`
	Keys     []int64  `json:"keys"`
	Products []string `json:"products"`
	// Spans are when units were theirs that had other owners, too: of these, what
	// has a time goes for that span alone.
	Spans []Span `json:"spans,omitempty"`
}

// Span is when a unit was a person's: event times in [From, To). A zero From is
// open: nobody's before them; a zero To as well: theirs still.
type Span struct {
	UnitID  string    `json:"unitId"`
	UnitKey int64     `json:"unitKey"`
	From    time.Time `json:"from,omitzero"`
	To      time.Time `json:"to,omitzero"`
}

// Whole reports whether all that is known of a unit is the person's.
func (s *Subject) Whole(unitID string) bool {
	return !slices.ContainsFunc(s.Spans, func(v Span) bool { return v.UnitID == unitID })
}

// Count is how much of a store went or was changed.
type Count struct {
	Place   string `json:"place"` // table, or part of a store
	Deleted int64  `json:"deleted,omitempty"`
	Blanked int64  `json:"blanked,omitempty"` // rows kept without the person
	Kept    string `json:"kept,omitempty"`    // code of why
}

// Place is where a search found something.
type Place struct {
	Where string `json:"where"` // table.column, or a file
	Rows  int64  `json:"rows"`
}

// Job is one erasure, and after its end its receipt's content: then Subject is
// empty, and Proof alone tells whose it was to whoever holds the secret.
type Job struct {
	ID        string    `json:"id"`
	Subject   *Subject  `json:"subject,omitempty"`
	Whose     string    `json:"whose"`   // Hash of the owner's id, for backups that are restored
	Proof     string    `json:"proof"`   // HMAC-SHA256, hexadecimal, of the address by the secret that the person was given
	AskedBy   string    `json:"askedBy"` // owner, operator
	Step      string    `json:"step"`    // the one to do next; "" at the end
	Counts    []Count   `json:"counts,omitempty"`
	Searched  int       `json:"searched,omitempty"` // columns looked through at the end
	Failed    string    `json:"failed,omitempty"`   // why the step has to be tried again
	Tries     int       `json:"tries,omitempty"`
	AskedAt   time.Time `json:"askedAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	BackupsAt time.Time `json:"backupsAt"`          // by when no backup can be read any more that has the person
	Position  uint64    `json:"position,omitempty"` // of the stream: all that concerns the person is at or before it
}

// Store keeps requests, limits and erasures. A missing thing is fault.NotFound.
type Store interface {
	PutRequest(ctx context.Context, r Request) error
	Request(ctx context.Context, id string) (Request, error)
	Requests(ctx context.Context, f Filter) ([]Request, error) // by deadline

	PutLimit(ctx context.Context, l Limit) error
	DropLimit(ctx context.Context, unitID, purpose string) error
	LimitsOf(ctx context.Context, ownerID string) ([]Limit, error)
	Limits(ctx context.Context, product string) ([]Limit, error) // "": all

	PutJob(ctx context.Context, j Job) error
	Job(ctx context.Context, id string) (Job, error)
	Unended(ctx context.Context) ([]Job, error)
	Jobs(ctx context.Context, after string, limit int) ([]Job, error) // newest first

	// Owners are the ids of all people.
	Owners(ctx context.Context) ([]string, error)
	// Subject is what the records know of a person that stores go by.
	Subject(ctx context.Context, ownerID string) (Subject, error)
	// Erase takes the person out of every table, in the transaction of ctx, and gives what it did.
	Erase(ctx context.Context, s Subject) ([]Count, error)
	// EraseUnit takes a unit that is deleted out of the tables that say what was found of it.
	EraseUnit(ctx context.Context, unitID string, key int64) error
	// EraseFound takes what was found of a person's units out of the records, as Erase does.
	EraseFound(ctx context.Context, s Subject) error
	// Compact overwrites what deleted rows leave in the database's files.
	Compact(ctx context.Context) error
	// Search looks for texts in every column of every table, and says how many columns it read.
	Search(ctx context.Context, texts []string) (found []Place, columns int, err error)
}
