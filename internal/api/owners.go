package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/mine"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
)

func (s *server) ownerSession() {
	s.askLink("/owner/v1/sign-in/link", "askOwnerLink", "owner", access.PartyOwner)
	signIn := frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/sign-in", ID: "signInOwner", Summary: "Use a one-time link up",
		Doc: "Sets the session cookie.", Tag: "owner", Access: frame.Anyone,
	}
	huma.Register(s.API, signIn.Operation(), func(ctx context.Context, in *signInIn) (*withCookie[wire.Me], error) {
		secret, p, err := s.signIn(ctx, access.PartyOwner, in.Body.Token, "")
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		me, err := s.me(ctx, p.ID)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &withCookie[wire.Me]{s.Cookie(wire.OwnerCookie, secret, p), me}, nil
	})
	s.signOut(frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/sign-out", ID: "signOutOwner", Summary: "End the session",
		Tag: "owner", Access: frame.Owner, Session: true, Status: http.StatusNoContent,
	}, wire.OwnerCookie)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/me", ID: "getMe", Summary: "The owner and their units", Tag: "owner", Access: frame.Owner, EachUnit: true},
		func(ctx context.Context, _ *frame.None) (wire.Me, error) { return s.me(ctx, frame.Who(ctx).ID) })
}

// open are the states of an update that the owner may still choose on.
var open = []campaign.TaskState{campaign.Offered, campaign.Scheduled, campaign.Snoozed}

func (s *server) me(ctx context.Context, ownerID string) (wire.Me, error) {
	o, err := s.d.Fleet.Owner(ctx, ownerID)
	if err != nil {
		return wire.Me{}, err
	}
	units, err := s.d.People.Units(ctx, o.ID)
	if err != nil {
		return wire.Me{}, err
	}
	units = slices.DeleteFunc(units, func(u people.Unit) bool { return !frame.Who(ctx).Opens(u.ID) })
	tasks, err := s.d.Runs.Tasks(ctx, campaign.TaskFilter{OwnerID: o.ID, Wave: -1, States: open})
	if err != nil {
		return wire.Me{}, err
	}
	waiting := map[string]int{}
	for _, t := range tasks {
		waiting[t.UnitID]++
	}
	out := wire.Me{Email: o.Email, Name: o.Name, Locale: o.Locale, TimeZone: o.TimeZone, Now: s.d.Clock.Now(), Units: []wire.OwnedUnit{}}
	for _, u := range units {
		p, err := s.d.Fleet.Product(ctx, u.Product)
		if err != nil {
			return wire.Me{}, err
		}
		health, err := s.d.Condition.ConditionOf(ctx, u.Unit)
		if err != nil {
			return wire.Me{}, err
		}
		if u.Role == people.Driver {
			tasks, err := s.d.Runs.Tasks(ctx, campaign.TaskFilter{OwnerID: u.OwnerID, UnitID: u.ID, Wave: -1, States: open})
			if err != nil {
				return wire.Me{}, err
			}
			waiting[u.ID] = len(tasks)
		}
		v, err := s.owned(ctx, u, &p, health.Condition, waiting[u.ID])
		if err != nil {
			return wire.Me{}, err
		}
		out.Units = append(out.Units, v)
	}
	return out, nil
}

func (s *server) owned(ctx context.Context, u people.Unit, p *fleet.Product, c condition.Condition, waiting int) (wire.OwnedUnit, error) {
	last, err := s.lastContact(ctx, u.Unit)
	return wire.OwnedUnit{
		ID: u.ID, Serial: u.Serial, Product: u.Product, ProductTitle: p.Title, Condition: c, LastSeen: last, Updates: waiting,
		Role: u.Role, MayUpdate: u.MayUpdate, OwnedSince: u.Since,
	}, err
}

// mine is a unit that whoever asks may do something with, as they stand to it.
func (s *server) mine(ctx context.Context, id string, a people.Action) (people.Unit, fleet.Product, error) {
	u, err := s.May(ctx, id, a)
	if err != nil {
		return u, fleet.Product{}, err
	}
	p, err := s.d.Fleet.Product(ctx, u.Product)
	return u, p, err
}

// see is a unit of the owner who asks, and the language to answer in.
func (s *server) see(ctx context.Context, id string) (mine.Mine, error) {
	u, p, err := s.mine(ctx, id, people.See)
	if err != nil {
		return mine.Mine{}, err
	}
	o, err := s.d.Fleet.Owner(ctx, frame.Who(ctx).ID)
	return mine.Mine{Unit: u.Unit, Product: p, Since: u.Since, Locale: frame.Language(ctx, o.Locale)}, err
}

type consentIn struct {
	frame.IDParam
	Purpose string `path:"purpose" maxLength:"100"`
	Body    wire.ConsentChoice
}

func (s *server) ownerUnits() {
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/units/{id}", ID: "getMyUnit", Summary: "A unit: its condition, and what is collected and why", Tag: "owner", Access: frame.Owner}, s.myUnit)
	frame.Add(s.Server, frame.Route{Method: http.MethodPut, Path: "/owner/v1/units/{id}/consents/{purpose}", ID: "putConsent", Summary: "Give or withdraw consent", Doc: "The answer is the receipt.", Tag: "owner", Access: frame.Owner},
		func(ctx context.Context, in *consentIn) (consent.Choice, error) {
			u, p, err := s.mine(ctx, in.ID, people.Consent)
			if err != nil {
				return consent.Choice{}, err
			}
			lang := in.Body.Language
			if lang == "" {
				o, err := s.d.Fleet.Owner(ctx, frame.Who(ctx).ID)
				if err != nil {
					return consent.Choice{}, err
				}
				lang = frame.Language(ctx, o.Locale)
			}
			return data.Choose(ctx, &s.d.Data, s.d.Consents, u.Unit, &p, consent.Choice{
				UnitID: u.ID, Purpose: in.Purpose, Given: in.Body.Given, Notice: in.Body.Notice, Language: lang, By: "owner:" + frame.Who(ctx).ID,
			})
		})
}

// about is what a finding is called in the language that the owner reads.
func (s *server) about(ctx context.Context, f condition.Finding) (string, error) {
	o, err := s.d.Fleet.Owner(ctx, frame.Who(ctx).ID)
	if err != nil {
		return "", err
	}
	d, err := s.d.Condition.Detector(ctx, f.Detector.Name, f.Detector.Version)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", err
	}
	return cmp.Or(d.Words(frame.Language(ctx, o.Locale)).Title, f.Detector.Name), nil
}

func (s *server) myUnit(ctx context.Context, in *frame.IDParam) (wire.MyUnit, error) {
	u, p, err := s.mine(ctx, in.ID, people.See)
	if err != nil {
		return wire.MyUnit{}, err
	}
	health, err := s.d.Condition.ConditionOf(ctx, u.Unit)
	if err != nil {
		return wire.MyUnit{}, err
	}
	tasks, err := s.d.Runs.Tasks(ctx, campaign.TaskFilter{OwnerID: u.OwnerID, UnitID: u.ID, Wave: -1, States: open})
	if err != nil {
		return wire.MyUnit{}, err
	}
	owned, err := s.owned(ctx, u, &p, health.Condition, len(tasks))
	if err != nil {
		return wire.MyUnit{}, err
	}
	choices, err := s.d.Consents.Choices(ctx, u.ID)
	if err != nil {
		return wire.MyUnit{}, err
	}
	mask, chosen := consent.Mask{}, map[string]time.Time{}
	for _, c := range choices {
		mask[c.Purpose], chosen[c.Purpose] = c.Given, c.At
		if c.At.Before(u.Since) || c.By == people.ByHandover { // of somebody else
			delete(chosen, c.Purpose)
		}
	}
	out := wire.MyUnit{
		OwnedUnit: owned, Description: p.Description, Versions: u.Versions, Notice: consent.VersionOf(&p),
		Signals: []wire.MySignal{}, Purposes: []wire.MyPurpose{},
	}
	health.Open = slices.DeleteFunc(health.Open, func(f condition.Finding) bool { return f.Onset.Before(u.Since) }) // another's
	if len(health.Open) > 0 {
		oldest := slices.MinFunc(health.Open, func(a, b condition.Finding) int { return a.Onset.Compare(b.Onset) })
		about, err := s.about(ctx, oldest)
		if err != nil {
			return wire.MyUnit{}, err
		}
		out.Since, out.About = oldest.Onset, about
	}
	for _, q := range p.Purposes {
		out.Purposes = append(out.Purposes, wire.MyPurpose{
			Name: q.Name, Title: q.Title, Description: q.Description, Basis: q.Basis,
			Given: mask.PermitsPurpose(&p, q.Name), ChosenAt: chosen[q.Name],
		})
	}
	for _, sig := range p.Signals {
		out.Signals = append(out.Signals, wire.MySignal{
			Name: sig.Name, Title: sig.Title, Description: sig.Description, Type: sig.Type, Unit: sig.Unit,
			Purposes: append([]string{}, sig.Purposes...), Retention: sig.Retention, Kept: mask.Permits(&p, sig),
		})
	}
	return out, nil
}
