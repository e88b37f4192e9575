package fleet

import (
	"context"
	"maps"
	"time"
)

// UnitState is where a unit stands with the service.
type UnitState string

// A pending unit has asked to be enrolled and stores nothing; a revoked one is refused.
const (
	UnitPending UnitState = "pending"
	UnitActive  UnitState = "active"
	UnitRevoked UnitState = "revoked"
	UnitRetired UnitState = "retired"
)

// Unit is one serial number in an owner's hands. ID names it to people and is
// its MQTT user name; Key names it in the stream, history and snapshots, so
// that those say nothing about the owner.
type Unit struct {
	ID         string            `json:"id"`
	Key        int64             `json:"-"`
	Product    string            `json:"product"`
	Serial     string            `json:"serial"`
	Hardware   string            `json:"hardware,omitempty"` // hardware revision
	Batch      string            `json:"batch,omitempty"`
	Region     string            `json:"region,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Versions   map[string]string `json:"versions,omitempty"` // component to software version, as last reported; the main one is "software"
	OwnerID    string            `json:"ownerId,omitempty"`
	State      UnitState         `json:"state"`
	CreatedAt  time.Time         `json:"createdAt"`
	VersionAt  time.Time         `json:"versionAt,omitzero"` // receive time of the last version report
}

// MainComponent is the component whose version a release of one image changes.
const MainComponent = "software"

// UnitSpec is what a file of kind Unit declares; its metadata.name is the unit's id.
type UnitSpec struct {
	Product    string            `json:"product"`
	Serial     string            `json:"serial"`
	Hardware   string            `json:"hardware,omitempty" doc:"Hardware revision."`
	Batch      string            `json:"batch,omitempty"`
	Region     string            `json:"region,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Bench      bool              `json:"bench,omitempty" doc:"It stands on a bench and has no owner: updates need nobody's consent, and its token may be read by tools."`
	Owner      *OwnerSpec        `json:"owner,omitempty"`
	// Consents become the unit's first choices (consent.Choice By "import");
	// a choice that the owner has made since is never changed by a file.
	Consents []string `json:"consents,omitempty" doc:"Purposes the owner consented to at the sale; the maker holds the proof. They add to what was never asked: a file neither overrules what an owner chose nor withdraws what it no longer names."`
}

// benchAttribute is the attribute that marks a unit on a bench. It is declared,
// never the unit's own to set: what a unit says of itself is kept elsewhere.
const benchAttribute = "bench"

// Declared are the attributes that the unit has by its declaration.
func (s *UnitSpec) Declared() map[string]string {
	if !s.Bench {
		return s.Attributes
	}
	out := map[string]string{benchAttribute: "true"}
	maps.Copy(out, s.Attributes)
	return out
}

// OnBench reports whether the unit stands on a bench and has no owner.
func (u *Unit) OnBench() bool { return u.OwnerID == "" && u.Attributes[benchAttribute] == "true" }

// SpecAttributes are the attributes as they are declared, and whether the unit
// is declared to stand on a bench.
func (u *Unit) SpecAttributes() (attributes map[string]string, bench bool) {
	if u.Attributes[benchAttribute] != "true" {
		return u.Attributes, false
	}
	attributes = maps.Clone(u.Attributes)
	delete(attributes, benchAttribute)
	if len(attributes) == 0 {
		attributes = nil
	}
	return attributes, true
}

// OwnerSpec names a unit's owner; owners are the same person when the email is.
type OwnerSpec struct {
	Email    string `json:"email"`
	Name     string `json:"name,omitempty"`
	Locale   string `json:"locale,omitempty" doc:"BCP 47 tag, as en or de (default en)."`
	TimeZone string `json:"timeZone,omitempty" doc:"IANA name, as Europe/Oslo (default UTC)."`
}

// Owner decides for units.
type Owner struct {
	ID       string `json:"id"`
	Email    string `json:"email"`
	Name     string `json:"name"`
	Locale   string `json:"locale"`
	TimeZone string `json:"timeZone"`
}

// Location is the owner's time zone, UTC where it is unknown.
func (o Owner) Location() *time.Location {
	l, err := time.LoadLocation(o.TimeZone)
	if err != nil {
		return time.UTC
	}
	return l
}

// Filter picks units. Empty fields match all.
type Filter struct {
	Product    string
	State      UnitState
	Hardware   string
	Batch      string
	Region     string
	Version    string // of MainComponent
	Attributes map[string]string
	Search     string // part of id or serial
	OwnerID    string
	Unwell     bool   // with an open finding, or silent in an outage
	After      string // page: ids greater than this
	Limit      int    // 0: no limit
}

// Store keeps products, units and owners. Units are ordered by id. A missing
// thing is a fault.NotFound.
type Store interface {
	PutProduct(ctx context.Context, p Product) error
	Product(ctx context.Context, name string) (Product, error)
	Products(ctx context.Context) ([]Product, error)
	DeleteProduct(ctx context.Context, name string) error

	PutUnits(ctx context.Context, units []Unit) error // insert or update declared fields; never versions or key of a known unit
	Unit(ctx context.Context, id string) (Unit, error)
	UnitByKey(ctx context.Context, key int64) (Unit, error)
	Units(ctx context.Context, f Filter) ([]Unit, error)
	CountUnits(ctx context.Context, f Filter) (int, error)
	SetUnitState(ctx context.Context, id string, s UnitState) error
	// SetVersions merges versions reported at a receive time.
	SetVersions(ctx context.Context, id string, versions map[string]string, at time.Time) error
	DeleteUnit(ctx context.Context, id string) error

	PutOwner(ctx context.Context, o Owner) (Owner, error) // by email; gives the kept one
	Owner(ctx context.Context, id string) (Owner, error)
	OwnerByEmail(ctx context.Context, email string) (Owner, error)
}

// Transactor runs fn in one transaction of the records; stores called with
// fn's context take part in it. Nested calls join the outer transaction.
type Transactor interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
}
