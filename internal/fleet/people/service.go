package people

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// How long links live, and how often things may be tried in an hour.
const (
	linkLife      = time.Hour
	offerLife     = 7 * 24 * time.Hour
	tokenLife     = 365 * 24 * time.Hour
	wrongCodes    = 10 // of one account
	wrongCodesBy  = 30 // from one address
	mailsAnHour   = 20
	mostOpen      = 20 // offers of a unit
	mostDrivers   = 20
	mostTokens    = 50
	keptOfferDays = 90
)

// Words says what a mail tells.
type Words string

// The mails.
const (
	MailClaim      Words = "claim"       // confirm that you want to register a product
	MailRequest    Words = "request"     // somebody who holds its code asks for your product
	MailDrive      Words = "drive"       // you are invited to use a product
	MailOwn        Words = "own"         // a product is handed over to you
	MailAccepted   Words = "accepted"    // your invitation was accepted
	MailHandedOver Words = "handed-over" // the product is another's now; what becomes of your data
	MailRemoved    Words = "removed"     // you do not use a product any more
	MailDeclined   Words = "declined"    // your request was declined
	MailEmail      Words = "email"       // confirm your new address
	MailEmailGone  Words = "email-gone"  // your address was changed; this is the old one
	MailPasskey    Words = "passkey"     // a passkey opens your account now
	MailLinked     Words = "linked"      // an account at a provider opens yours now
	MailAsked      Words = "asked"       // what you asked for about your data was received; By is the kind
	MailExtended   Words = "extended"    // and takes longer
	MailAnswered   Words = "answered"    // and is answered
)

// Mail is something to be told by mail, also to somebody without an account.
type Mail struct {
	Words    Words
	Key      string // once for this key
	To       string
	PersonID string // of the owner, if it is one
	Locale   string
	Product  string // title
	Serial   string
	By       string // whoever did it, as they are shown
	Until    time.Time
	Path     string // page of the portal, with the link's secret behind #
	Secret   bool   // Path signs in
}

// Mailer takes mails over, in the caller's transaction.
type Mailer interface {
	Mail(ctx context.Context, m Mail) error
}

// Config is what the service works with.
type Config struct {
	Store     Store
	Fleet     fleet.Store
	Tx        fleet.Transactor
	Clock     clock.Clock // the service's: when units change hands
	Wall      clock.Clock // the machine's: how long codes, links and tokens live
	IDs       clock.IDs
	Log       *slog.Logger
	Mailer    Mailer // nil: no mail
	PublicURL string
	OfferLife time.Duration // of invitations and requests: 7 days

	// Reset undoes what the owner before chose (consents, schedules), in the
	// transaction of a claim, transfer or farewell.
	Reset func(ctx context.Context, unitIDs []string) error
	// Settled is called after it: what was cached of the units is read anew.
	Settled func(ctx context.Context, unitIDs []string) error
	// Ended signs a person out everywhere but in a session; of links, too.
	Ended func(ctx context.Context, personID, keepSession string) error
}

// Service decides who owns and drives what.
type Service struct {
	c         Config
	accounts  access.Limiter
	addresses access.Limiter
	mails     access.Limiter
	hooks     []func(ctx context.Context, all []Handover) error
}

// New makes the service.
func New(c Config) *Service {
	if c.OfferLife == 0 {
		c.OfferLife = offerLife
	}
	return &Service{
		c: c, accounts: access.NewLimiter(wrongCodes, time.Hour), addresses: access.NewLimiter(wrongCodesBy, time.Hour),
		mails: access.NewLimiter(mailsAnHour, time.Hour),
	}
}

// OnHandover adds a hook that runs in the transaction in which units change
// hands. Add hooks before use.
func (s *Service) OnHandover(fn func(ctx context.Context, all []Handover) error) {
	s.hooks = append(s.hooks, fn)
}

// Mails reports whether people can be told anything by mail.
func (s *Service) Mails() bool { return s.c.Mailer != nil }

func (s *Service) tell(ctx context.Context, m Mail) error {
	if s.c.Mailer == nil {
		return nil
	}
	return s.c.Mailer.Mail(ctx, m)
}

// Handed takes note that units have changed hands, in the transaction in which
// they did: the period of the owner before ends, drivers go, and what was
// offered or coded by them is void.
func (s *Service) Handed(ctx context.Context, all []Handover) error {
	if len(all) == 0 {
		return nil
	}
	var begun []Period
	for _, h := range all {
		u, err := s.c.Fleet.Unit(ctx, h.UnitID)
		if err != nil {
			return err
		}
		past, err := s.c.Store.PeriodsOf(ctx, h.UnitID)
		if err != nil {
			return err
		}
		switch n := len(past); {
		case n > 0 && past[n-1].To.IsZero():
			if err := s.c.Store.EndPeriod(ctx, past[n-1].ID, h.At); err != nil {
				return err
			}
		case n == 0 && h.From != "": // declared with that owner
			begun = append(begun, Period{ID: s.c.IDs.ID(), UnitID: u.ID, OwnerID: h.From, From: u.CreatedAt, To: h.At})
		}
		if h.To != "" {
			begun = append(begun, Period{ID: s.c.IDs.ID(), UnitID: u.ID, OwnerID: h.To, From: h.At})
		}
		if err := s.c.Store.DropDriver(ctx, u.ID, ""); err != nil {
			return err
		}
		if err := s.c.Store.RevokeOffers(ctx, u.ID, s.c.Wall.Now()); err != nil {
			return err
		}
		if err := s.c.Store.RevokeCodes(ctx, []string{u.ID}, Handing, s.c.Wall.Now()); err != nil {
			return err
		}
	}
	if err := s.c.Store.AddPeriods(ctx, begun); err != nil {
		return err
	}
	for _, hook := range s.hooks {
		if err := hook(ctx, all); err != nil {
			return err
		}
	}
	return nil
}

// change gives a unit to another owner ("": none) with all that follows, in the
// caller's transaction; call settle after it.
func (s *Service) change(ctx context.Context, u *fleet.Unit, to string) (*Handover, error) {
	h := Handover{UnitID: u.ID, From: u.OwnerID, To: to, At: s.c.Clock.Now()}
	if err := s.c.Store.SetOwner(ctx, u.ID, u.OwnerID, to); err != nil {
		return nil, err
	}
	if s.c.Reset != nil {
		if err := s.c.Reset(ctx, []string{u.ID}); err != nil {
			return nil, err
		}
	}
	if err := s.Handed(ctx, []Handover{h}); err != nil {
		return nil, err
	}
	if h.From == "" {
		return &h, nil
	}
	was, err := s.c.Fleet.Owner(ctx, h.From)
	if err != nil {
		return nil, err
	}
	p, err := s.c.Fleet.Product(ctx, u.Product)
	if err != nil {
		return nil, err
	}
	return &h, s.tell(ctx, Mail{
		Words: MailHandedOver, Key: fmt.Sprintf("handed-over:%s:%d", u.ID, h.At.UnixMilli()), To: was.Email, PersonID: was.ID, Locale: was.Locale,
		Product: p.Title, Serial: u.Serial, Path: "/my/account",
	})
}

// settle tells others after the transaction; it may be repeated.
func (s *Service) settle(ctx context.Context, h *Handover) error {
	if h == nil || s.c.Settled == nil {
		return nil
	}
	return fault.Wrap(fault.Unavailable, "this is done, but not everything has heard of it yet", s.c.Settled(ctx, []string{h.UnitID}))
}

// Farewell ends a person's ownership of a unit that they no longer have.
// Whoever has it can claim it by its printed code.
func (s *Service) Farewell(ctx context.Context, personID, unitID string) error {
	var h *Handover
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		u, err := s.May(ctx, personID, unitID, Manage)
		if err != nil {
			return err
		}
		h, err = s.change(ctx, &u.Unit, "")
		return err
	})
	if err != nil {
		return fmt.Errorf("farewell: %w", err)
	}
	return s.settle(ctx, h)
}

// Erase forgets a person: passkeys, linked accounts, invitations, tokens, what
// they drive. Of the periods in which they owned units the times stay, without
// the name: they bound what the next owner sees. Units that they own must be
// said farewell to first. It takes part in the caller's transaction.
func (s *Service) Erase(ctx context.Context, party access.Party, personID, email string) error {
	return s.c.Store.Erase(ctx, party, personID, email)
}

// Clean removes what ended long ago; call it now and then.
func (s *Service) Clean(ctx context.Context) error {
	return s.c.Store.Clean(ctx, s.c.Wall.Now())
}
