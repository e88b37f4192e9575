// Package people says who owns and who drives a unit, and what each of them may
// decide: claims by a printed code, invitations, transfer and farewell, the
// periods in which somebody owned a unit, and the tokens of owners' apps.
//
// A unit has one owner at most, and may have drivers beside. What is collected
// while one person owns a unit is never shown to the next: everything that is
// shown of a unit is bounded by Unit.Since.
package people

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// Role is what somebody is to a unit.
type Role string

// The roles: the Data Act's user is here called owner, who decides, and driver, who uses.
const (
	Owner  Role = "owner"
	Driver Role = "driver"
)

// Action is what somebody wants to do with a unit.
type Action string

// ByHandover is who made the choices that a change of owner makes.
const ByHandover = "change of owner"

// The actions.
const (
	See     Action = "see"     // condition, findings, history, updates, help
	Update  Action = "update"  // start, schedule, postpone, decline an update
	Tips    Action = "tips"    // switch tips for oneself
	Consent Action = "consent" // give and withdraw, restrict, object
	Export  Action = "export"  // take data away, share it live
	Manage  Action = "manage"  // invite, remove, transfer, say farewell
)

// may is the table: what a driver may is all that is not the owner's alone.
// Update of a driver stands under Unit.MayUpdate as well.
var may = map[Role]map[Action]bool{
	Owner:  {See: true, Update: true, Tips: true, Consent: true, Export: true, Manage: true},
	Driver: {See: true, Update: true, Tips: true},
}

// Unit is a unit as one person stands to it.
type Unit struct {
	fleet.Unit
	Role Role
	// Since bounds what may be shown to this person: nothing from before it.
	// Zero: no bound.
	Since     time.Time
	MayUpdate bool
}

// May reports whether the person may do something with the unit.
func (u *Unit) May(a Action) bool {
	return may[u.Role][a] && (a != Update || u.Role == Owner || u.MayUpdate)
}

// From is the later of a time that is asked for and Since.
func (u *Unit) From(t time.Time) time.Time {
	if t.Before(u.Since) {
		return u.Since
	}
	return t
}

// Period is a time in which somebody owned a unit.
type Period struct {
	ID      string    `json:"-"`
	UnitID  string    `json:"unitId"`
	OwnerID string    `json:"ownerId,omitempty"` // "": forgotten
	From    time.Time `json:"from,omitzero"`     // zero: since the unit was declared
	To      time.Time `json:"to,omitzero"`       // zero: still
}

// Handover is a unit that goes from one owner to another; "" is nobody.
type Handover struct {
	UnitID   string
	From, To string // ids of owners
	At       time.Time
}

// DriverOf is somebody who uses a unit that another owns.
type DriverOf struct {
	UnitID    string
	PersonID  string
	MayUpdate bool
	JoinedAt  time.Time
}

// OfferKind says what an offer is about.
type OfferKind string

// The kinds.
const (
	ToDrive OfferKind = "drive"   // the owner invites a driver
	ToOwn   OfferKind = "own"     // the owner hands the unit over
	Request OfferKind = "request" // somebody who holds the unit's code asks its owner for it
)

// OfferState is how far an offer is.
type OfferState string

// The states.
const (
	Open     OfferState = "open"
	Accepted OfferState = "accepted"
	Declined OfferState = "declined"
	Revoked  OfferState = "revoked"
	Expired  OfferState = "expired"
)

// Offer is an invitation, or a request for a unit that has an owner.
type Offer struct {
	ID        string
	Kind      OfferKind
	UnitID    string
	OwnerID   string // of the unit when it was made: who invites, or who is asked
	PersonID  string // who asks; "" of an invitation that nobody has answered
	Email     string // who is invited, or who asks
	Hash      string // of the link's secret
	MayUpdate bool   // of a driver
	State     OfferState
	CreatedAt time.Time
	ExpiresAt time.Time
	DecidedAt time.Time
}

// At is the offer as it stands at a time: an open one may have expired.
func (o Offer) At(now time.Time) Offer {
	if o.State == Open && !now.Before(o.ExpiresAt) {
		o.State = Expired
	}
	return o
}

// TokenPrefix begins the tokens of owners' apps.
const TokenPrefix = "feo_"

// TokenScope is what an app may do.
type TokenScope string

// The scopes: act includes read. Neither opens the account itself.
const (
	ScopeRead TokenScope = "read"
	ScopeAct  TokenScope = "act"
)

// Token lets an app act for an owner.
type Token struct {
	ID        string     `json:"id"`
	Hash      string     `json:"-"`
	OwnerID   string     `json:"-"`
	Name      string     `json:"name" doc:"What the app is."`
	Scope     TokenScope `json:"scope" enum:"read,act"`
	Units     []string   `json:"units" doc:"Ids of the units that it opens; empty: all, later ones too."`
	CreatedAt time.Time  `json:"createdAt"`
	ExpiresAt time.Time  `json:"expiresAt"`
	UsedAt    time.Time  `json:"usedAt,omitzero" doc:"To the hour."`
}

// Store keeps who is what to which unit. A missing thing is a fault.NotFound.
type Store interface {
	access.Once

	// SetOwner changes a unit's owner from one to another ("": none);
	// fault.Conflict when from is not the owner any more.
	SetOwner(ctx context.Context, unitID, from, to string) error
	// SetEmail gives an owner another mail address; fault.Conflict when it is taken.
	SetEmail(ctx context.Context, ownerID, email string) error

	AddPeriods(ctx context.Context, all []Period) error
	EndPeriod(ctx context.Context, id string, at time.Time) error
	PeriodsOf(ctx context.Context, unitID string) ([]Period, error)  // of a unit, oldest first
	PeriodsBy(ctx context.Context, ownerID string) ([]Period, error) // of an owner, oldest first; without those that have no row

	PutDriver(ctx context.Context, d DriverOf) error
	Drivers(ctx context.Context, unitID string) ([]DriverOf, error) // oldest first
	Driving(ctx context.Context, personID string) ([]DriverOf, error)
	// DropDriver removes one driver, or with "" all of a unit.
	DropDriver(ctx context.Context, unitID, personID string) error

	AddCodes(ctx context.Context, all []Code) error
	CodeByHash(ctx context.Context, hash string) (Code, error)
	Codes(ctx context.Context, unitID string) ([]Code, error) // newest first
	UseCode(ctx context.Context, id string, at time.Time) error
	// RevokeCodes ends the codes of a kind of units that stand.
	RevokeCodes(ctx context.Context, unitIDs []string, kind CodeKind, at time.Time) error

	AddOffer(ctx context.Context, o Offer) error
	Offer(ctx context.Context, id string) (Offer, error)
	OfferByHash(ctx context.Context, hash string) (Offer, error)
	OffersOf(ctx context.Context, unitID string) ([]Offer, error)          // newest first
	OffersTo(ctx context.Context, personID, email string) ([]Offer, error) // newest first
	// Decide ends an open offer; fault.Conflict when it is not open any more.
	Decide(ctx context.Context, id string, to OfferState, personID string, at time.Time) error
	// RevokeOffers ends all open offers of a unit.
	RevokeOffers(ctx context.Context, unitID string, at time.Time) error

	AddToken(ctx context.Context, t Token) error
	Tokens(ctx context.Context, ownerID string) ([]Token, error) // newest first
	TokenByHash(ctx context.Context, hash string) (Token, error)
	UseToken(ctx context.Context, id string, at time.Time) error
	DropToken(ctx context.Context, ownerID, id string) error

	// Erase forgets a person; periods stay, without the name.
	Erase(ctx context.Context, party access.Party, personID, email string) error
	// Clean removes what ended before a time.
	Clean(ctx context.Context, before time.Time) error
}

// May finds a unit as a person stands to it, if they may do something with it.
// A stranger hears fault.NotFound, as if it did not exist; a driver who may see
// it but not do this hears fault.Denied.
func (s *Service) May(ctx context.Context, personID, unitID string, a Action) (Unit, error) {
	missing := fault.New(fault.NotFound, "no unit %q", unitID)
	u, err := s.c.Fleet.Unit(ctx, unitID)
	if err != nil {
		return Unit{}, err
	}
	if personID == "" {
		return Unit{}, missing
	}
	v := Unit{Unit: u}
	if u.OwnerID == personID {
		v.Role, v.MayUpdate = Owner, true
		if v.Since, err = s.Since(ctx, u.ID); err != nil {
			return Unit{}, err
		}
		return v, nil
	}
	drivers, err := s.c.Store.Drivers(ctx, u.ID)
	if err != nil {
		return Unit{}, err
	}
	for _, d := range drivers {
		if d.PersonID == personID {
			v.Role, v.MayUpdate, v.Since = Driver, d.MayUpdate, d.JoinedAt
		}
	}
	switch {
	case v.Role == "":
		return Unit{}, missing
	case !v.May(a):
		return Unit{}, fault.New(fault.Denied, "only the owner of this product may do this")
	}
	return v, nil
}

// Since is when the present ownership of a unit began; zero when the unit has
// the owner that it was declared with.
func (s *Service) Since(ctx context.Context, unitID string) (time.Time, error) {
	all, err := s.c.Store.PeriodsOf(ctx, unitID)
	if err != nil || len(all) == 0 {
		return time.Time{}, err
	}
	return all[len(all)-1].From, nil
}

// Units lists what a person owns, then what they drive, each by id.
func (s *Service) Units(ctx context.Context, personID string) ([]Unit, error) {
	if personID == "" {
		return nil, nil
	}
	owned, err := s.c.Fleet.Units(ctx, fleet.Filter{OwnerID: personID})
	if err != nil {
		return nil, err
	}
	out := make([]Unit, 0, len(owned))
	for _, u := range owned {
		since, err := s.Since(ctx, u.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, Unit{Unit: u, Role: Owner, MayUpdate: true, Since: since})
	}
	driven, err := s.c.Store.Driving(ctx, personID)
	if err != nil {
		return nil, err
	}
	for _, d := range driven {
		u, err := s.c.Fleet.Unit(ctx, d.UnitID)
		if err != nil {
			return nil, err
		}
		out = append(out, Unit{Unit: u, Role: Driver, MayUpdate: d.MayUpdate, Since: d.JoinedAt})
	}
	return out, nil
}

// Periods are the times in which a person has or had units, oldest first.
func (s *Service) Periods(ctx context.Context, ownerID string) ([]Period, error) {
	out, err := s.c.Store.PeriodsBy(ctx, ownerID)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, p := range out {
		if p.To.IsZero() {
			known[p.UnitID] = true
		}
	}
	owned, err := s.c.Fleet.Units(ctx, fleet.Filter{OwnerID: ownerID})
	for _, u := range owned {
		if !known[u.ID] { // declared with this owner
			out = append(out, Period{UnitID: u.ID, OwnerID: ownerID})
		}
	}
	return out, err
}

// PeriodsOf are the times in which a unit had owners, oldest first; for the maker.
func (s *Service) PeriodsOf(ctx context.Context, unitID string) ([]Period, error) {
	out, err := s.c.Store.PeriodsOf(ctx, unitID)
	if err != nil || len(out) > 0 {
		return out, err
	}
	u, err := s.c.Fleet.Unit(ctx, unitID)
	if err != nil || u.OwnerID == "" {
		return nil, err
	}
	return []Period{{UnitID: u.ID, OwnerID: u.OwnerID}}, nil
}

// Drivers are who uses a unit beside its owner.
func (s *Service) Drivers(ctx context.Context, unitID string) ([]DriverOf, error) {
	return s.c.Store.Drivers(ctx, unitID)
}
