package people

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// IssuedCode is a code, shown once.
type IssuedCode struct {
	UnitID    string    `json:"unitId"`
	Product   string    `json:"product"`
	Serial    string    `json:"serial"`
	Code      string    `json:"code"`
	URL       string    `json:"url" doc:"What a QR code says: the page for claiming, with the code behind #, where no server and no log sees it."`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

// MostCodes is how many units one call gives codes to.
const MostCodes = 10_000

// IssueCodes gives units new printed codes, all or none, in the order given;
// codes that were printed before work no more. A zero expires means never.
func (s *Service) IssueCodes(ctx context.Context, unitIDs []string, expires time.Time, by string) ([]IssuedCode, error) {
	now := s.c.Wall.Now()
	var fields []fault.Field
	if len(unitIDs) == 0 || len(unitIDs) > MostCodes {
		fields = append(fields, fault.Field{Path: "units", Expected: fmt.Sprintf("1 to %d units", MostCodes), Got: fmt.Sprint(len(unitIDs))})
	}
	if !expires.IsZero() && !expires.After(now) {
		fields = append(fields, fault.Field{Path: "expires", Expected: "a time to come", Got: expires.Format(time.RFC3339)})
	}
	if err := fault.Fields("claim codes", fields); err != nil {
		return nil, err
	}
	out := make([]IssuedCode, 0, len(unitIDs))
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		codes, seen := make([]Code, 0, len(unitIDs)), map[string]bool{}
		for i, id := range unitIDs {
			u, err := s.c.Fleet.Unit(ctx, id)
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return err
			}
			path := fmt.Sprintf("units[%d]", i)
			switch {
			case err != nil:
				fields = append(fields, fault.Field{Path: path, Expected: "a known unit", Got: id})
				continue
			case u.State == fleet.UnitRetired:
				fields = append(fields, fault.Field{Path: path, Expected: "a unit in service", Got: id + ", which is retired"})
				continue
			case seen[id]:
				fields = append(fields, fault.Field{Path: path, Expected: "each unit once", Got: id})
				continue
			}
			seen[id] = true
			code := NewCode()
			codes = append(codes, Code{ID: s.c.IDs.ID(), Hash: hash(code), UnitID: id, Kind: Printed, CreatedAt: now, MadeBy: by, ExpiresAt: expires})
			out = append(out, s.issued(&u, code, expires))
		}
		if err := fault.Fields("no code was made", fields); err != nil {
			return err
		}
		if err := s.c.Store.RevokeCodes(ctx, unitIDs, Printed, now); err != nil {
			return err
		}
		return s.c.Store.AddCodes(ctx, codes)
	})
	return out, err
}

func (s *Service) issued(u *fleet.Unit, code string, expires time.Time) IssuedCode {
	return IssuedCode{UnitID: u.ID, Product: u.Product, Serial: u.Serial, Code: code, URL: s.c.PublicURL + "/claim#" + code, ExpiresAt: expires}
}

// Codes are the codes of a unit, newest first; what they say is kept nowhere.
func (s *Service) Codes(ctx context.Context, unitID string) ([]Code, error) {
	if _, err := s.c.Fleet.Unit(ctx, unitID); err != nil {
		return nil, err
	}
	return s.c.Store.Codes(ctx, unitID)
}

// RevokeCodes ends a unit's codes, printed and for handing over.
func (s *Service) RevokeCodes(ctx context.Context, unitID string) error {
	if _, err := s.c.Fleet.Unit(ctx, unitID); err != nil {
		return err
	}
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		for _, kind := range []CodeKind{Printed, Handing} {
			if err := s.c.Store.RevokeCodes(ctx, []string{unitID}, kind, s.c.Wall.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// HandoverCode makes a code for the next owner, shown once; one that was made
// before works no more.
func (s *Service) HandoverCode(ctx context.Context, personID, unitID string) (IssuedCode, error) {
	var out IssuedCode
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		u, err := s.May(ctx, personID, unitID, Manage)
		if err != nil {
			return err
		}
		now, code := s.c.Wall.Now(), NewCode()
		if err := s.c.Store.RevokeCodes(ctx, []string{unitID}, Handing, now); err != nil {
			return err
		}
		c := Code{ID: s.c.IDs.ID(), Hash: hash(code), UnitID: unitID, Kind: Handing, CreatedAt: now, MadeBy: "owner:" + personID, ExpiresAt: now.Add(handLife)}
		out = s.issued(&u.Unit, code, c.ExpiresAt)
		return s.c.Store.AddCodes(ctx, []Code{c})
	})
	return out, err
}

// EndHandover takes back the code for the next owner.
func (s *Service) EndHandover(ctx context.Context, personID, unitID string) error {
	if _, err := s.May(ctx, personID, unitID, Manage); err != nil {
		return err
	}
	return s.c.Store.RevokeCodes(ctx, []string{unitID}, Handing, s.c.Wall.Now())
}

// Claimed is what came of a claim.
type Claimed struct {
	State   string `json:"state" enum:"claimed,asked" doc:"claimed: the unit is yours. asked: it has an owner, who was asked to hand it over."`
	UnitID  string `json:"unitId,omitempty"`
	Product string `json:"product" doc:"Title."`
	Serial  string `json:"serial,omitempty"`
	OfferID string `json:"offerId,omitempty"`
}

// Looked is what a code opens, before anybody claims it.
type Looked struct {
	Product string `json:"product" doc:"Title."`
	Owned   bool   `json:"owned" doc:"It has an owner, who would be asked."`
}

// guess reads a code that somebody typed and finds it. Whoever tries codes
// that do not exist is slowed down, by account and by address; a code that was
// mistyped tells nothing and is not counted.
func (s *Service) guess(ctx context.Context, who, address, typed string) (Code, error) {
	code, err := ParseCode(typed)
	if err != nil {
		return Code{}, err
	}
	return s.known(ctx, who, address, hash(code))
}

func (s *Service) known(ctx context.Context, who, address, hash string) (Code, error) {
	now := s.c.Wall.Now()
	if who != "" && !s.accounts.Left(who, now) || address != "" && !s.addresses.Left(address, now) {
		return Code{}, fault.New(fault.Unavailable, "too many codes that do not exist were tried: try again in an hour, and ask whoever sold you the product if the code cannot be read")
	}
	c, err := s.c.Store.CodeByHash(ctx, hash)
	if fault.KindOf(err) == fault.NotFound {
		s.accounts.Allow(who, now)
		s.addresses.Allow(address, now)
		return Code{}, fault.New(fault.NotFound, "no product has this code: compare it with the label once more")
	}
	switch {
	case err != nil:
		return Code{}, err
	case !c.RevokedAt.IsZero():
		return Code{}, fault.New(fault.Conflict, "this code was replaced or taken back and works no more: ask whoever gave it to you for the new one")
	case !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt):
		return Code{}, fault.New(fault.Conflict, "this code expired on %s: ask whoever gave it to you for a new one", c.ExpiresAt.UTC().Format("2 January 2006"))
	case c.Kind == Handing && !c.UsedAt.IsZero():
		return Code{}, fault.New(fault.Conflict, "this code was used already: a code for handing over works once")
	}
	return c, nil
}

// Look says what a code opens. It changes nothing.
func (s *Service) Look(ctx context.Context, personID, address, typed string) (Looked, error) {
	c, err := s.guess(ctx, personID, address, typed)
	if err != nil {
		return Looked{}, err
	}
	u, err := s.c.Fleet.Unit(ctx, c.UnitID)
	if err != nil {
		return Looked{}, err
	}
	p, err := s.c.Fleet.Product(ctx, u.Product)
	return Looked{Product: p.Title, Owned: u.OwnerID != "" && c.Kind != Handing}, err
}

// Claim makes a person the owner of the unit whose code they hold. Where it has
// an owner, that one is asked: a printed code never takes a unit over. address
// is where the request comes from.
func (s *Service) Claim(ctx context.Context, personID, address, typed string) (Claimed, error) {
	c, err := s.guess(ctx, personID, address, typed)
	if err != nil {
		return Claimed{}, err
	}
	return s.claim(ctx, personID, c)
}

func (s *Service) claim(ctx context.Context, personID string, c Code) (out Claimed, err error) {
	var changed *Handover
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		u, err := s.c.Fleet.Unit(ctx, c.UnitID)
		if err != nil {
			return err
		}
		p, err := s.c.Fleet.Product(ctx, u.Product)
		if err != nil {
			return err
		}
		me, err := s.c.Fleet.Owner(ctx, personID)
		if err != nil {
			return err
		}
		out = Claimed{Product: p.Title}
		switch {
		case u.State == fleet.UnitRetired || u.State == fleet.UnitRevoked:
			return fault.New(fault.Conflict, "this product was taken out of service: ask its maker")
		case u.OwnerID == personID:
			return fault.New(fault.Conflict, "this product is yours already")
		case u.OwnerID != "" && c.MadeBy != "owner:"+u.OwnerID:
			out.State = "asked"
			out.OfferID, err = s.ask(ctx, &u, &p, &me)
			return err
		}
		if err := s.c.Store.UseCode(ctx, c.ID, s.c.Wall.Now()); err != nil {
			return err
		}
		out.State, out.UnitID, out.Serial = "claimed", u.ID, u.Serial
		changed, err = s.change(ctx, &u, personID)
		return err
	})
	if err != nil {
		return Claimed{}, fmt.Errorf("claim: %w", err)
	}
	return out, s.settle(ctx, changed)
}

// ask asks the present owner to hand a unit over, once while it is open.
func (s *Service) ask(ctx context.Context, u *fleet.Unit, p *fleet.Product, me *fleet.Owner) (string, error) {
	now := s.c.Wall.Now()
	all, err := s.c.Store.OffersOf(ctx, u.ID)
	if err != nil {
		return "", err
	}
	declined := 0
	for _, o := range all {
		o = o.At(now)
		switch {
		case o.Kind != Request || o.PersonID != me.ID || o.OwnerID != u.OwnerID:
		case o.State == Open:
			return o.ID, nil
		case o.State == Declined && now.Sub(o.DecidedAt) < 30*24*time.Hour:
			declined++
		}
	}
	if declined > 0 {
		return "", fault.New(fault.Conflict, "the owner of this product has declined: speak with them, or with whoever sold it to you")
	}
	owner, err := s.c.Fleet.Owner(ctx, u.OwnerID)
	if err != nil {
		return "", err
	}
	o := Offer{
		ID: s.c.IDs.ID(), Kind: Request, UnitID: u.ID, OwnerID: u.OwnerID, PersonID: me.ID, Email: me.Email, State: Open,
		CreatedAt: now, ExpiresAt: now.Add(s.c.OfferLife),
	}
	if err := s.c.Store.AddOffer(ctx, o); err != nil {
		return "", err
	}
	return o.ID, s.tell(ctx, Mail{
		Words: MailRequest, Key: "request:" + o.ID, To: owner.Email, PersonID: owner.ID, Locale: owner.Locale,
		Product: p.Title, Serial: u.Serial, By: shownAs(me), Until: o.ExpiresAt, Path: "/my/units/" + u.ID + "/people",
	})
}

// shownAs is how one person is shown to another.
func shownAs(o *fleet.Owner) string {
	if o.Name == "" {
		return o.Email
	}
	return o.Name + " (" + o.Email + ")"
}

// Kinds of what is pending.
const (
	signingUp = "claim"
	moving    = "email"
)

// signUp is what a link that claims holds.
type signUp struct{ Code, Locale, TimeZone string }

const (
	claimLinkPrefix = "fek_"
	emailLinkPrefix = "fem_"
)

// ClaimByMail mails a link to somebody who is not signed in and holds a code:
// opening it signs them in, makes their account if they have none, and claims.
func (s *Service) ClaimByMail(ctx context.Context, email, typed, locale, zone, address string) error {
	email, now := fleet.CanonicalEmail(email), s.c.Wall.Now()
	if !fleet.ValidEmail(email) {
		return fault.Fields("claim", []fault.Field{{Path: "email", Expected: "a mail address, as anna@example.org", Got: email}})
	}
	if s.c.Mailer == nil {
		return fault.New(fault.Unavailable, "this server has no mail server configured, so nobody can sign up")
	}
	c, err := s.guess(ctx, "", address, typed)
	if err != nil {
		return err
	}
	if !s.mails.Allow("to "+email, now) || !s.mails.Allow("from "+address, now) {
		return fault.New(fault.Unavailable, "too many links were asked for: look into your mail, or try again in an hour")
	}
	u, err := s.c.Fleet.Unit(ctx, c.UnitID)
	if err != nil {
		return err
	}
	p, err := s.c.Fleet.Product(ctx, u.Product)
	if err != nil {
		return err
	}
	if o, err := s.c.Fleet.OwnerByEmail(ctx, email); err == nil {
		locale, zone = o.Locale, o.TimeZone
	}
	doc, err := json.Marshal(signUp{c.Hash, inWords(locale), zoneOf(zone)})
	if err != nil {
		return err
	}
	secret := fleet.NewSecret(claimLinkPrefix)
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.c.Store.Keep(ctx, access.Pending{
			Hash: fleet.SecretHash(secret), Kind: signingUp, Party: access.PartyOwner, Address: email, Doc: string(doc), ExpiresAt: now.Add(linkLife),
		}); err != nil {
			return err
		}
		return s.tell(ctx, Mail{
			Words: MailClaim, Key: "claim:" + fleet.SecretHash(secret), To: email, Locale: inWords(locale), Product: p.Title,
			Until: now.Add(linkLife), Path: "/my/claim#" + secret, Secret: true,
		})
	})
}

// ClaimedByMail uses up a link that ClaimByMail has mailed. The person's
// address is proved by it, so their account is made if there is none. A code
// that meanwhile cannot be used any more is told by err, with the account made.
func (s *Service) ClaimedByMail(ctx context.Context, secret string) (personID string, out Claimed, err error) {
	p, err := s.take(ctx, signingUp, claimLinkPrefix, secret)
	if err != nil {
		return "", Claimed{}, err
	}
	var in signUp
	if err := json.Unmarshal([]byte(p.Doc), &in); err != nil {
		return "", Claimed{}, fmt.Errorf("link in the records: %w", err)
	}
	o, err := s.account(ctx, p.Address, in.Locale, in.TimeZone)
	if err != nil {
		return "", Claimed{}, err
	}
	c, err := s.known(ctx, "", "", in.Code)
	if err != nil {
		return o.ID, Claimed{}, err
	}
	out, err = s.claim(ctx, o.ID, c)
	return o.ID, out, err
}

// account is the owner with a mail address that was proved, made if there is none.
func (s *Service) account(ctx context.Context, email, locale, zone string) (fleet.Owner, error) {
	var out fleet.Owner
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) (err error) {
		out, err = s.c.Fleet.OwnerByEmail(ctx, email)
		if fault.KindOf(err) == fault.NotFound {
			out, err = s.c.Fleet.PutOwner(ctx, fleet.Owner{ID: s.c.IDs.ID(), Email: email, Locale: inWords(locale), TimeZone: zoneOf(zone)})
		}
		return err
	})
	return out, err
}

func (s *Service) take(ctx context.Context, kind, prefix, secret string) (access.Pending, error) {
	refused := fault.New(fault.Denied, "this link is not valid any more: links work once and for a while; begin again")
	if !strings.HasPrefix(secret, prefix) {
		return access.Pending{}, refused
	}
	p, err := s.c.Store.Take(ctx, kind, fleet.SecretHash(secret))
	if fault.KindOf(err) == fault.NotFound || err == nil && !s.c.Wall.Now().Before(p.ExpiresAt) {
		return access.Pending{}, refused
	}
	return p, err
}

// inWords is a language tag that may be kept; "en" for anything strange.
func inWords(locale string) string {
	if len(locale) < 2 || len(locale) > 35 || strings.Trim(locale, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return "en"
	}
	return locale
}

func zoneOf(zone string) string {
	if _, err := time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
		return "UTC"
	}
	return zone
}
