// Package owners serves owners' own matters: claiming a unit, who else is on
// it, handing it over and saying farewell, their account, sessions and the
// tokens of their apps. For operators it serves the claim codes of units.
package owners

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
)

type server struct {
	*frame.Server
	p *people.Service
}

// Register adds the operations to a server.
func Register(f *frame.Server) {
	s := &server{f, f.People}
	s.codes()
	s.claims()
	s.people()
	s.invitations()
	s.account()
	s.sessions()
	s.apps()
}

// mine is a route for somebody who is signed in, never for an app.
func mine(method, path, id, summary string) frame.Route {
	return frame.Route{Method: method, Path: path, ID: id, Summary: summary, Tag: "people", Access: frame.Owner, Session: true}
}

// NewCodes asks for claim codes.
type NewCodes struct {
	Units   []string       `json:"units" maxItems:"10000" doc:"Ids."`
	Expires fleet.Duration `json:"expires,omitempty" doc:"After this time, as 365d; absent: never."`
}

func (s *server) codes() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/unit-codes", ID: "issueUnitCodes", Summary: "Make claim codes of units, shown once",
		Doc: "Printed on the unit, or on a leaf beside it, as text and as a QR code of the address. Codes that the units had before work no more.",
		Tag: "claims", Access: access.Enrol, Sight: frame.ByUnit, Status: http.StatusCreated,
	}, func(ctx context.Context, in *struct{ Body NewCodes }) (wire.List[people.IssuedCode], error) {
		var expires time.Time
		if in.Body.Expires > 0 {
			expires = s.Wall.Now().Add(time.Duration(in.Body.Expires))
		}
		out, err := s.p.IssueCodes(ctx, in.Body.Units, expires, frame.Who(ctx).Email)
		return wire.List[people.IssuedCode]{Items: append([]people.IssuedCode{}, out...)}, err
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/codes", ID: "listUnitCodes", Summary: "A unit's claim codes: when they were made, used, taken back",
		Doc: "What they say is kept nowhere.", Tag: "claims", Access: access.Enrol, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *frame.IDParam) (wire.List[people.Code], error) {
		all, err := s.p.Codes(ctx, in.ID)
		return wire.List[people.Code]{Items: append([]people.Code{}, all...)}, err
	})
	frame.Do(s.Server, frame.Route{
		Method: http.MethodDelete, Path: "/v1/units/{id}/codes", ID: "revokeUnitCodes", Summary: "Take back a unit's claim codes", Tag: "claims", Access: access.Enrol, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *frame.IDParam) error { return s.p.RevokeCodes(ctx, in.ID) })
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/owners", ID: "listUnitOwners", Summary: "Who owned a unit, and when",
		Doc: "Owners are named by id alone; one without an id was forgotten.", Tag: "units", Access: access.Personal, Sight: frame.ByUnit, Personal: audit.DataContact,
	}, func(ctx context.Context, in *frame.IDParam) (wire.List[people.Period], error) {
		all, err := s.p.PeriodsOf(ctx, in.ID)
		if err != nil {
			return wire.List[people.Period]{}, err
		}
		var ids []string
		for _, p := range all {
			if p.OwnerID != "" {
				ids = append(ids, p.OwnerID)
			}
		}
		return wire.List[people.Period]{Items: append([]people.Period{}, all...)}, audit.Looked(ctx, ids...)
	})
}

// HeldCode is a code that somebody holds.
type HeldCode struct {
	Code string `json:"code" maxLength:"100" doc:"As it is printed or typed: small letters, gaps, O for 0 and I or L for 1 do not matter."`
}

// ClaimByMail asks for a link that claims.
type ClaimByMail struct {
	HeldCode
	Email    string `json:"email" maxLength:"254"`
	Locale   string `json:"locale,omitempty" maxLength:"35" doc:"BCP 47 tag of the account, if one is made."`
	TimeZone string `json:"timeZone,omitempty" maxLength:"100" doc:"IANA name, of the account if one is made."`
}

// ClaimedHere is what came of a claim by link.
type ClaimedHere struct {
	Email   string          `json:"email" doc:"Who is signed in now."`
	Claimed *people.Claimed `json:"claimed,omitempty"`
	Why     string          `json:"why,omitempty" doc:"Why nothing was claimed."`
}

type withCookie[T any] struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      T
}

// enter signs in a person whose mail address was proved by a link.
func (s *server) enter(ctx context.Context, personID string) (http.Cookie, frame.Principal, error) {
	session, secret, err := s.Access.Open(ctx, access.PartyOwner, personID, access.ByLink, frame.CallerOf(ctx).Caller())
	if err != nil {
		return http.Cookie{}, frame.Principal{}, err
	}
	p, err := s.SessionPrincipal(ctx, session)
	frame.SignedIn(ctx, &p)
	return s.Cookie(wire.OwnerCookie, secret, p), p, err
}

func (s *server) claims() {
	claim := mine(http.MethodPost, "/owner/v1/claims", "claimUnit", "Claim the unit whose code one holds")
	claim.Doc = "Where it has an owner, that one is asked (state asked): a code that is printed on a unit never takes it over. 404: no unit has the code. 409: it was taken back, expired, used, or the unit is yours already. 503: too many codes that do not exist were tried."
	claim.Status = http.StatusCreated
	frame.Add(s.Server, claim, func(ctx context.Context, in *struct{ Body HeldCode }) (people.Claimed, error) {
		return s.p.Claim(ctx, frame.Who(ctx).ID, frame.CallerOf(ctx).Address, in.Body.Code)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/claims/look", ID: "lookAtCode", Summary: "What a claim code opens", Tag: "people", Access: frame.Anyone, Asks: true,
	}, func(ctx context.Context, in *struct{ Body HeldCode }) (people.Looked, error) {
		return s.p.Look(ctx, frame.Who(ctx).ID, frame.CallerOf(ctx).Address, in.Body.Code)
	})
	frame.Do(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/claims/link", ID: "askClaimLink", Summary: "Mail a link that signs in and claims",
		Doc: "Also to somebody without an account: one is made when the link is opened.", Tag: "people", Access: frame.Anyone, Status: http.StatusAccepted,
	}, func(ctx context.Context, in *struct{ Body ClaimByMail }) error {
		b := &in.Body
		return s.p.ClaimByMail(ctx, b.Email, b.Code, b.Locale, b.TimeZone, frame.CallerOf(ctx).Address)
	})
	confirm := frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/claims/confirm", ID: "claimByLink", Summary: "Use up a link that signs in and claims",
		Doc: "Sets the session cookie.", Tag: "people", Access: frame.Anyone,
	}
	huma.Register(s.API, confirm.Operation(), func(ctx context.Context, in *struct{ Body wire.OneTime }) (*withCookie[ClaimedHere], error) {
		person, claimed, err := s.p.ClaimedByMail(ctx, in.Body.Token)
		if person == "" {
			return nil, s.Problem(ctx, err)
		}
		cookie, p, failed := s.enter(ctx, person)
		if failed != nil {
			return nil, s.Problem(ctx, failed)
		}
		out := ClaimedHere{Email: p.Email}
		switch kind := fault.KindOf(err); {
		case err == nil:
			out.Claimed = &claimed
		case kind == fault.Internal || kind == fault.Unavailable:
			s.Log.ErrorContext(ctx, "claim by link", "error", err)
			out.Why = "something went wrong on our side; type the code once more"
		default:
			out.Why = err.Error()
		}
		return &withCookie[ClaimedHere]{cookie, out}, nil
	})
}

// Person is somebody on a unit.
type Person struct {
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"`
	Email     string    `json:"email,omitempty" doc:"Of others, for the owner alone."`
	MayUpdate bool      `json:"mayUpdate" doc:"May start, schedule and postpone updates."`
	Since     time.Time `json:"since,omitzero"`
	You       bool      `json:"you,omitempty"`
}

// MyInvitation is an invitation or a request that waits for an answer.
type MyInvitation struct {
	ID        string            `json:"id"`
	Kind      people.OfferKind  `json:"kind" enum:"drive,own,request"`
	State     people.OfferState `json:"state" enum:"open,accepted,declined,revoked,expired"`
	UnitID    string            `json:"unitId,omitempty" doc:"Where whoever asks has the unit."`
	Product   string            `json:"product" doc:"Title."`
	Email     string            `json:"email" doc:"Who is invited, or who asks."`
	By        string            `json:"by,omitempty" doc:"Who invites."`
	Yours     bool              `json:"yours" doc:"It waits for an answer of whoever asks; else they may take it back."`
	MayUpdate bool              `json:"mayUpdate"`
	CreatedAt time.Time         `json:"createdAt"`
	ExpiresAt time.Time         `json:"expiresAt"`
}

// OnUnit is everybody on a unit.
type OnUnit struct {
	Role        people.Role    `json:"role" enum:"owner,driver" doc:"Of whoever asks."`
	Owner       Person         `json:"owner"`
	Drivers     []Person       `json:"drivers"`
	Invitations []MyInvitation `json:"invitations" doc:"For the owner."`
	Code        *people.Code   `json:"code,omitempty" doc:"For handing over, that stands."`
	Mail        bool           `json:"mail" doc:"People can be invited by mail."`
}

// DriverParam names a driver of a unit. It is exported because huma leaves out
// embedded structs that are not.
type DriverParam struct {
	frame.IDParam
	Person string `path:"person" maxLength:"200"`
}

func (s *server) people() {
	const unit = "/owner/v1/units/{id}"
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: unit + "/people", ID: "listPeople", Summary: "Who owns and who uses a unit", Tag: "people", Access: frame.Owner}, s.onUnit)
	frame.Do(s.Server, mine(http.MethodPatch, unit+"/drivers/{person}", "permitDriver", "Say whether a driver may decide on updates"), func(ctx context.Context, in *struct {
		DriverParam
		Body struct {
			MayUpdate bool `json:"mayUpdate"`
		}
	},
	) error {
		return s.p.PermitUpdates(ctx, frame.Who(ctx).ID, in.ID, in.Person, in.Body.MayUpdate)
	})
	remove := mine(http.MethodDelete, unit+"/drivers/{person}", "removeDriver", "Remove a driver, or leave")
	frame.Do(s.Server, remove, func(ctx context.Context, in *DriverParam) error {
		return s.p.Remove(ctx, frame.Who(ctx).ID, in.ID, in.Person)
	})
	code := mine(http.MethodPost, unit+"/code", "makeHandoverCode", "Make a code for the next owner, shown once")
	code.Doc = "It works once, within seven days; whoever claims with it owns the unit at once."
	code.Status = http.StatusCreated
	frame.Add(s.Server, code, func(ctx context.Context, in *frame.IDParam) (people.IssuedCode, error) {
		return s.p.HandoverCode(ctx, frame.Who(ctx).ID, in.ID)
	})
	frame.Do(s.Server, mine(http.MethodDelete, unit+"/code", "revokeHandoverCode", "Take back the code for the next owner"),
		func(ctx context.Context, in *frame.IDParam) error {
			return s.p.EndHandover(ctx, frame.Who(ctx).ID, in.ID)
		})
	farewell := mine(http.MethodPost, unit+"/farewell", "sayFarewell", "Say that one does not have the unit any more")
	farewell.Doc = "Consents and schedules are reset, drivers removed. What was collected until now stays this person's: receipts and export are theirs until they erase them; the next owner sees none of it."
	frame.Do(s.Server, farewell, func(ctx context.Context, in *frame.IDParam) error {
		return s.p.Farewell(ctx, frame.Who(ctx).ID, in.ID)
	})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/periods", ID: "listMyPeriods", Summary: "The units that one has or had, and when", Tag: "people", Access: frame.Owner, Session: true},
		func(ctx context.Context, _ *frame.None) (wire.List[people.Period], error) {
			all, err := s.p.Periods(ctx, frame.Who(ctx).ID)
			return wire.List[people.Period]{Items: append([]people.Period{}, all...)}, err
		})
}

func (s *server) onUnit(ctx context.Context, in *frame.IDParam) (OnUnit, error) {
	u, err := s.May(ctx, in.ID, people.See)
	if err != nil {
		return OnUnit{}, err
	}
	me := frame.Who(ctx).ID
	out := OnUnit{Role: u.Role, Drivers: []Person{}, Invitations: []MyInvitation{}, Mail: s.p.Mails()}
	person := func(id string, since time.Time, may bool) (Person, error) {
		o, err := s.Fleet.Owner(ctx, id)
		p := Person{ID: o.ID, Name: o.Name, Since: since, MayUpdate: may, You: id == me}
		if u.Role == people.Owner || p.You {
			p.Email = o.Email
		}
		return p, err
	}
	since, err := s.p.Since(ctx, u.ID)
	if err != nil {
		return out, err
	}
	if out.Owner, err = person(u.OwnerID, since, true); err != nil {
		return out, err
	}
	drivers, err := s.p.Drivers(ctx, u.ID)
	if err != nil {
		return out, err
	}
	for _, d := range drivers {
		if u.Role != people.Owner && d.PersonID != me { // drivers are the owner's to know
			continue
		}
		p, err := person(d.PersonID, d.JoinedAt, d.MayUpdate)
		if err != nil {
			return out, err
		}
		out.Drivers = append(out.Drivers, p)
	}
	if u.Role != people.Owner {
		return out, nil
	}
	offers, err := s.p.OpenOffers(ctx, u.ID)
	if err != nil {
		return out, err
	}
	if out.Invitations, err = s.views(ctx, offers); err != nil {
		return out, err
	}
	codes, err := s.p.Codes(ctx, u.ID)
	for _, c := range codes {
		if c.Kind == people.Handing && c.UsedAt.IsZero() && c.RevokedAt.IsZero() && s.Wall.Now().Before(c.ExpiresAt) {
			out.Code = &c
			break
		}
	}
	return out, err
}

func (s *server) views(ctx context.Context, offers []people.Offer) ([]MyInvitation, error) {
	out := make([]MyInvitation, 0, len(offers))
	for i := range offers {
		v, err := s.view(ctx, &offers[i])
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// view is an offer as whoever asks may see it.
func (s *server) view(ctx context.Context, o *people.Offer) (MyInvitation, error) {
	u, err := s.Fleet.Unit(ctx, o.UnitID)
	if err != nil {
		return MyInvitation{}, err
	}
	p, err := s.Fleet.Product(ctx, u.Product)
	if err != nil {
		return MyInvitation{}, err
	}
	me := frame.Who(ctx)
	v := MyInvitation{
		ID: o.ID, Kind: o.Kind, State: o.State, Product: p.Title, Email: o.Email, MayUpdate: o.MayUpdate, CreatedAt: o.CreatedAt, ExpiresAt: o.ExpiresAt,
		Yours: o.Kind == people.Request && o.OwnerID == me.ID || o.Kind != people.Request && o.OwnerID != me.ID,
	}
	if u.OwnerID == me.ID && me.ID != "" {
		v.UnitID = u.ID
	}
	if o.Kind != people.Request && o.OwnerID != me.ID {
		owner, err := s.Fleet.Owner(ctx, o.OwnerID)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return v, err
		}
		if v.By = owner.Name; v.By == "" {
			v.By = owner.Email
		}
	}
	return v, nil
}
