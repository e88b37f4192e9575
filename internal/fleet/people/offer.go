package people

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

const invitePrefix = "fei_"

// Invitation is what an owner offers somebody.
type Invitation struct {
	Kind      OfferKind
	Email     string
	MayUpdate bool
}

// Invite invites somebody by mail to drive or to own a unit. A second
// invitation to the same address replaces the first; only one person at a time
// is invited to own it.
func (s *Service) Invite(ctx context.Context, personID, unitID string, in Invitation) (Offer, error) {
	if s.c.Mailer == nil {
		return Offer{}, fault.New(fault.Unavailable, "this server has no mail server configured, so nobody can be invited; make a code for handing over instead")
	}
	in.Email = fleet.CanonicalEmail(in.Email)
	if in.Kind != ToDrive && in.Kind != ToOwn || !fleet.ValidEmail(in.Email) {
		return Offer{}, fault.Fields("invite", []fault.Field{{Path: "email", Expected: "a mail address, as anna@example.org", Got: in.Email}})
	}
	var o Offer
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		u, err := s.May(ctx, personID, unitID, Manage)
		if err != nil {
			return err
		}
		me, err := s.c.Fleet.Owner(ctx, personID)
		if err != nil {
			return err
		}
		if me.Email == in.Email {
			return fault.New(fault.Conflict, "this is your own address")
		}
		now := s.c.Wall.Now()
		if err := s.room(ctx, &u.Unit, in, now); err != nil {
			return err
		}
		if !s.mails.Allow("by "+personID, now) {
			return fault.New(fault.Unavailable, "you have invited many people within an hour: try again later")
		}
		p, err := s.c.Fleet.Product(ctx, u.Product)
		if err != nil {
			return err
		}
		secret, locale, known := fleet.NewSecret(invitePrefix), me.Locale, ""
		if them, err := s.c.Fleet.OwnerByEmail(ctx, in.Email); err == nil {
			locale, known = them.Locale, them.ID
		}
		o = Offer{
			ID: s.c.IDs.ID(), Kind: in.Kind, UnitID: unitID, OwnerID: personID, Email: in.Email, Hash: fleet.SecretHash(secret),
			MayUpdate: in.MayUpdate && in.Kind == ToDrive, State: Open, CreatedAt: now, ExpiresAt: now.Add(s.c.OfferLife),
		}
		if err := s.c.Store.AddOffer(ctx, o); err != nil {
			return err
		}
		words := MailDrive
		if in.Kind == ToOwn {
			words = MailOwn
		}
		return s.tell(ctx, Mail{
			Words: words, Key: "offer:" + o.ID, To: in.Email, PersonID: known, Locale: locale, Product: p.Title, Serial: u.Serial,
			By: shownAs(&me), Until: o.ExpiresAt, Path: "/my/invitation#" + secret, Secret: true,
		})
	})
	if err != nil {
		return Offer{}, fmt.Errorf("invite: %w", err)
	}
	return o, nil
}

// room makes room for an invitation, or says why there is none.
func (s *Service) room(ctx context.Context, u *fleet.Unit, in Invitation, now time.Time) error {
	drivers, err := s.c.Store.Drivers(ctx, u.ID)
	if err != nil {
		return err
	}
	if in.Kind == ToDrive && len(drivers) >= mostDrivers {
		return fault.New(fault.Conflict, "%d people are the most that use one product: remove one first", mostDrivers)
	}
	for _, d := range drivers {
		them, err := s.c.Fleet.Owner(ctx, d.PersonID)
		if err != nil {
			return err
		}
		if in.Kind == ToDrive && them.Email == in.Email {
			return fault.New(fault.Conflict, "%s uses this product already", in.Email)
		}
	}
	all, err := s.c.Store.OffersOf(ctx, u.ID)
	if err != nil {
		return err
	}
	open := 0
	for _, o := range all {
		if o.State != Open {
			continue
		}
		if o.Kind == in.Kind && (o.Email == in.Email || in.Kind == ToOwn) {
			if err := s.c.Store.Decide(ctx, o.ID, Revoked, "", now); err != nil {
				return err
			}
			continue
		}
		if o.At(now).State == Open {
			open++
		}
	}
	if open >= mostOpen {
		return fault.New(fault.Conflict, "%d invitations are open already: take one back first", mostOpen)
	}
	return nil
}

// OfferByLink finds the offer whose link was mailed; fault.Denied without.
func (s *Service) OfferByLink(ctx context.Context, secret string) (Offer, error) {
	o, err := s.c.Store.OfferByHash(ctx, fleet.SecretHash(secret))
	if len(secret) == 0 || fault.KindOf(err) == fault.NotFound {
		return Offer{}, fault.New(fault.NotFound, "this invitation is not known: open the link from the mail once more, as a whole")
	}
	return o.At(s.c.Wall.Now()), err
}

// AnswerByLink answers the invitation whose link was mailed. The address is
// proved by that, so whoever accepts gets an account if they have none; its id
// is given. Who declines stays who they are.
func (s *Service) AnswerByLink(ctx context.Context, secret string, accept bool, locale, zone string) (personID string, o Offer, err error) {
	o, err = s.OfferByLink(ctx, secret)
	if err != nil {
		return "", o, err
	}
	if err := stands(&o); err != nil {
		return "", o, err
	}
	if !accept {
		o, err = s.decide(ctx, "", o.ID, false)
		return "", o, err
	}
	me, err := s.account(ctx, o.Email, locale, zone)
	if err != nil {
		return "", o, err
	}
	o, err = s.decide(ctx, me.ID, o.ID, true)
	return me.ID, o, err
}

func stands(o *Offer) error {
	switch o.State {
	case Open:
		return nil
	case Accepted:
		return fault.New(fault.Conflict, "this was accepted already")
	case Declined:
		return fault.New(fault.Conflict, "this was declined already")
	case Expired:
		return fault.New(fault.Conflict, "this expired: ask to be invited again")
	default:
		return fault.New(fault.Conflict, "this was taken back")
	}
}

// Answer answers an offer that a person is asked about: an invitation to their
// address, or, of the owner, a request for their unit.
func (s *Service) Answer(ctx context.Context, personID, offerID string, accept bool) (Offer, error) {
	o, err := s.mine(ctx, personID, offerID)
	if err != nil {
		return Offer{}, err
	}
	if err := stands(&o); err != nil {
		return Offer{}, err
	}
	return s.decide(ctx, personID, offerID, accept)
}

// mine is an offer that a person may answer; others are not found.
func (s *Service) mine(ctx context.Context, personID, offerID string) (Offer, error) {
	o, err := s.c.Store.Offer(ctx, offerID)
	if err != nil {
		return Offer{}, err
	}
	me, err := s.c.Fleet.Owner(ctx, personID)
	if err != nil {
		return Offer{}, err
	}
	if o.Kind == Request && o.OwnerID == personID || o.Kind != Request && o.Email == me.Email {
		return o.At(s.c.Wall.Now()), nil
	}
	return Offer{}, fault.New(fault.NotFound, "no invitation %q", offerID)
}

// decide ends an open offer. personID is who decides; of an invitation that is
// declined by link, "".
func (s *Service) decide(ctx context.Context, personID, offerID string, accept bool) (o Offer, err error) {
	var changed *Handover
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if o, err = s.c.Store.Offer(ctx, offerID); err != nil {
			return err
		}
		now := s.c.Wall.Now()
		if o = o.At(now); o.State != Open {
			return stands(&o)
		}
		u, err := s.c.Fleet.Unit(ctx, o.UnitID)
		if err != nil {
			return err
		}
		if u.OwnerID != o.OwnerID {
			return fault.New(fault.Conflict, "the product has another owner meanwhile")
		}
		to, by := Declined, personID
		if accept {
			to = Accepted
		}
		if o.Kind == Request {
			by = o.PersonID
		}
		if err := s.c.Store.Decide(ctx, o.ID, to, by, now); err != nil {
			return err
		}
		o.State, o.DecidedAt, o.PersonID = to, now, by
		if err := s.tellDecided(ctx, &o, &u); err != nil || !accept {
			return err
		}
		if o.Kind != ToDrive {
			if u.OwnerID == by {
				return fault.New(fault.Conflict, "this product is yours already")
			}
			changed, err = s.change(ctx, &u, by)
			return err
		}
		if u.OwnerID == by {
			return fault.New(fault.Conflict, "this product is yours: its owner may do everything already")
		}
		return s.c.Store.PutDriver(ctx, DriverOf{UnitID: u.ID, PersonID: by, MayUpdate: o.MayUpdate, JoinedAt: s.c.Clock.Now()})
	})
	if err != nil {
		return o, err
	}
	return o, s.settle(ctx, changed)
}

// tellDecided tells who waited for an answer. That a unit has changed hands is
// told to the owner before in any case.
func (s *Service) tellDecided(ctx context.Context, o *Offer, u *fleet.Unit) error {
	to, words := o.OwnerID, MailAccepted
	switch {
	case o.Kind == Request && o.State == Accepted:
		to = o.PersonID
	case o.Kind == Request:
		to, words = o.PersonID, MailDeclined
	case o.State == Declined:
		words = MailDeclined
	case o.Kind == ToOwn:
		return nil
	}
	them, err := s.c.Fleet.Owner(ctx, to)
	if err != nil {
		return err
	}
	p, err := s.c.Fleet.Product(ctx, u.Product)
	if err != nil {
		return err
	}
	m := Mail{
		Words: words, Key: string(words) + ":" + o.ID, To: them.Email, PersonID: them.ID, Locale: them.Locale, Product: p.Title, Serial: u.Serial,
		By: o.Email, Path: "/my/units/" + u.ID + "/people",
	}
	if o.Kind == Request {
		m.By, m.Path = "", "/my/"
		if owner, err := s.c.Fleet.Owner(ctx, o.OwnerID); err == nil {
			m.By = shownAs(&owner)
		}
	}
	return s.tell(ctx, m)
}

// Withdraw takes back an offer that a person has made: the owner's invitation,
// or one's own request.
func (s *Service) Withdraw(ctx context.Context, personID, offerID string) error {
	o, err := s.c.Store.Offer(ctx, offerID)
	if err != nil {
		return err
	}
	if personID == "" || o.Kind == Request && o.PersonID != personID || o.Kind != Request && o.OwnerID != personID {
		return fault.New(fault.NotFound, "no invitation %q", offerID)
	}
	now := s.c.Wall.Now()
	if o = o.At(now); o.State != Open {
		return stands(&o)
	}
	return s.c.Store.Decide(ctx, o.ID, Revoked, o.PersonID, now)
}

// OpenOffers are the offers of a unit that wait for an answer, newest first.
func (s *Service) OpenOffers(ctx context.Context, unitID string) ([]Offer, error) {
	all, err := s.c.Store.OffersOf(ctx, unitID)
	return s.open(all), err
}

// Inbox is what waits for a person: invitations to their address, requests for
// their units, and their own requests.
func (s *Service) Inbox(ctx context.Context, personID string) ([]Offer, error) {
	me, err := s.c.Fleet.Owner(ctx, personID)
	if err != nil {
		return nil, err
	}
	all, err := s.c.Store.OffersTo(ctx, personID, me.Email)
	return s.open(all), err
}

func (s *Service) open(all []Offer) []Offer {
	out, now := []Offer{}, s.c.Wall.Now()
	for _, o := range all {
		if o = o.At(now); o.State == Open {
			out = append(out, o)
		}
	}
	return out
}

// PermitUpdates says whether a driver may decide on updates.
func (s *Service) PermitUpdates(ctx context.Context, ownerID, unitID, driverID string, yes bool) error {
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		d, err := s.driver(ctx, ownerID, unitID, driverID)
		if err != nil {
			return err
		}
		d.MayUpdate = yes
		return s.c.Store.PutDriver(ctx, d)
	})
}

// Remove ends somebody's use of a unit: the owner removes a driver, or a driver leaves.
func (s *Service) Remove(ctx context.Context, personID, unitID, driverID string) error {
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if personID == driverID {
			u, err := s.May(ctx, personID, unitID, See)
			if err != nil {
				return err
			}
			if u.Role == Owner {
				return fault.New(fault.Conflict, "you are the owner: hand the product over, or say farewell to it")
			}
			return s.c.Store.DropDriver(ctx, unitID, driverID)
		}
		if _, err := s.driver(ctx, personID, unitID, driverID); err != nil {
			return err
		}
		if err := s.c.Store.DropDriver(ctx, unitID, driverID); err != nil {
			return err
		}
		them, err := s.c.Fleet.Owner(ctx, driverID)
		if err != nil {
			return err
		}
		u, err := s.c.Fleet.Unit(ctx, unitID)
		if err != nil {
			return err
		}
		p, err := s.c.Fleet.Product(ctx, u.Product)
		if err != nil {
			return err
		}
		return s.tell(ctx, Mail{
			Words: MailRemoved, Key: "removed:" + s.c.IDs.ID(), To: them.Email, PersonID: them.ID, Locale: them.Locale, Product: p.Title, Path: "/my/",
		})
	})
}

// driver is a driver of a unit that a person may manage.
func (s *Service) driver(ctx context.Context, ownerID, unitID, driverID string) (DriverOf, error) {
	if _, err := s.May(ctx, ownerID, unitID, Manage); err != nil {
		return DriverOf{}, err
	}
	all, err := s.c.Store.Drivers(ctx, unitID)
	if err != nil {
		return DriverOf{}, err
	}
	for _, d := range all {
		if d.PersonID == driverID {
			return d, nil
		}
	}
	return DriverOf{}, fault.New(fault.NotFound, "no such person uses this product")
}
