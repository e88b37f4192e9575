// Package share lets owners share a unit's data with a third party (Regulation
// (EU) 2023/2854, Data Act, art. 5): by a token that names whom, what and until
// when, that the owner ends whenever they like, and that gatekeepers are not
// given. What is fetched by it is noted for the owner.
package share

import (
	"context"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// TokenPrefix begins a share's token.
const TokenPrefix = "fts_"

// Longest is how long a share may last: who wants longer shares again.
const Longest = 2 * 366 * 24 * time.Hour

// Share is what an owner shares with a third party.
type Share struct {
	ID        string    `json:"id"`
	OwnerID   string    `json:"-"`
	UnitID    string    `json:"unitId"`
	Recipient string    `json:"recipient" doc:"Whom it is shared with."`
	Contact   string    `json:"contact" doc:"Their email address or web address."`
	Signals   []string  `json:"signals"`
	Events    bool      `json:"events" doc:"Features used, faults and log lines, too."`
	From      time.Time `json:"from,omitzero" doc:"History from here on; absent: all that is the owner's."`
	Until     time.Time `json:"until"`
	MadeAt    time.Time `json:"madeAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	Why       string    `json:"why,omitempty" doc:"Why it ended: ended by the owner, another owner, a gatekeeper."`
	Hash      string    `json:"-"`
}

// Open reports whether a share may be used at a time.
func (s *Share) Open(now time.Time) bool { return s.EndedAt.IsZero() && now.Before(s.Until) }

// Use is one fetch by a third party, or one live stream.
type Use struct {
	ID      string    `json:"-"`
	ShareID string    `json:"-"`
	At      time.Time `json:"at"`
	EndedAt time.Time `json:"endedAt,omitzero" doc:"Of a live stream; absent: it still runs."`
	What    string    `json:"what" enum:"described,history,events,live"`
	Samples int64     `json:"samples" doc:"Samples, or events, that were fetched."`
}

// Gatekeeper is a third party that data is not shared with.
type Gatekeeper struct {
	Name    string    `json:"name" maxLength:"100"`
	Domains []string  `json:"domains,omitempty" doc:"Its domains, with all below them."`
	Reason  string    `json:"reason" maxLength:"500" doc:"Told to owners who name it."`
	Law     bool      `json:"law,omitempty" readOnly:"true" doc:"Designated under the Digital Markets Act: Data Act art. 5(3) refuses it, and nobody can take it off the list."`
	By      string    `json:"by,omitempty" readOnly:"true"`
	At      time.Time `json:"at,omitzero" readOnly:"true"`
}

// Store keeps shares.
type Store interface {
	AddShare(ctx context.Context, s Share) error
	// ByHash finds a share by its token's hash; fault.NotFound.
	ByHash(ctx context.Context, hash string) (Share, error)
	Share(ctx context.Context, id string) (Share, error)
	// Shares are an owner's, the newest first.
	Shares(ctx context.Context, ownerID string) ([]Share, error)
	// End ends the open shares with an id, of an owner, or of units; it says how many.
	End(ctx context.Context, id, ownerID string, units []string, at time.Time, why string) (int, error)
	PutUse(ctx context.Context, u Use) error
	// Uses are those of a share, the newest first, at most limit.
	Uses(ctx context.Context, shareID string, limit int) ([]Use, error)
	Gatekeepers(ctx context.Context) ([]Gatekeeper, error)
	PutGatekeeper(ctx context.Context, g Gatekeeper) error
	DropGatekeeper(ctx context.Context, name string) error
}

// Designated are the gatekeepers that the European Commission has designated
// (Regulation (EU) 2022/1925, decisions of 5 September 2023, 29 April and 13
// May 2024).
func Designated() []Gatekeeper {
	const reason = "It is a gatekeeper under the Digital Markets Act, which may not receive data this way (Data Act, article 5(3))."
	var out []Gatekeeper
	for _, g := range []struct {
		name    string
		domains []string
	}{
		{"Alphabet", []string{"google.com", "abc.xyz", "youtube.com", "googlemail.com", "android.com"}},
		{"Amazon", []string{"amazon.com", "amazon.de", "amazon.co.uk", "amazon.fr", "amazon.es", "amazon.se", "amazonaws.com", "aws.com"}},
		{"Apple", []string{"apple.com"}},
		{"Booking", []string{"booking.com", "bookingholdings.com"}},
		{"ByteDance", []string{"bytedance.com", "tiktok.com"}},
		{"Meta", []string{"meta.com", "facebook.com", "instagram.com", "whatsapp.com", "fb.com"}},
		{"Microsoft", []string{"microsoft.com", "linkedin.com", "azure.com"}},
	} {
		out = append(out, Gatekeeper{Name: g.name, Domains: g.domains, Reason: reason, Law: true})
	}
	return out
}

// aliases are other names of designated gatekeepers and their services.
var aliases = map[string]string{
	"google": "Alphabet", "youtube": "Alphabet", "android": "Alphabet", "aws": "Amazon", "amazon web": "Amazon", "tiktok": "ByteDance",
	"facebook": "Meta", "instagram": "Meta", "whatsapp": "Meta", "linkedin": "Microsoft", "azure": "Microsoft",
}

// forms are words of a company's name that do not tell it apart.
var forms = strings.Fields("inc llc ltd limited gmbh ag ab sa sas sarl bv nv plc corp corporation company co ireland europe european international emea deutschland germany france uk usa us eu services platforms cloud group holdings com technologies operations")

func plain(name string) string {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return r <= 127 && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	for len(words) > 1 && slices.Contains(forms, words[len(words)-1]) {
		words = words[:len(words)-1]
	}
	return strings.Join(words, " ")
}

// Config is what a Service works with; all of it is needed.
type Config struct {
	Store Store
	Tx    fleet.Transactor
	Clock clock.Clock
	IDs   clock.IDs
}

// Service makes, ends and opens shares.
type Service struct {
	c Config

	mu    sync.Mutex
	ended map[string]chan struct{} // by share with open streams: closed when it ends
}

// New makes the service.
func New(c Config) *Service { return &Service{c: c, ended: map[string]chan struct{}{}} }

// Create shares a unit of an owner's, as a spec says, and gives the token,
// which is told once. since is where the owner's own time with it begins.
func (s *Service) Create(ctx context.Context, ownerID string, unitID string, p *fleet.Product, since time.Time, spec Share) (Share, string, error) {
	now := s.c.Clock.Now()
	var fields []fault.Field
	add := func(path, expected, got string) {
		fields = append(fields, fault.Field{Path: path, Expected: expected, Got: got})
	}
	spec.Recipient, spec.Contact = strings.TrimSpace(spec.Recipient), strings.TrimSpace(spec.Contact)
	if spec.Recipient == "" || len(spec.Recipient) > 200 {
		add("recipient", "whom you share it with, in at most 200 bytes", spec.Recipient)
	}
	domain := domainOf(spec.Contact)
	if domain == "" {
		add("contact", "their email address or web address", spec.Contact)
	}
	if !spec.Until.After(now) || spec.Until.Sub(now) > Longest {
		add("until", "a time to come, at most two years from now", spec.Until.Format(time.RFC3339))
	}
	if len(spec.Signals) == 0 && !spec.Events {
		add("signals", "at least one signal, or events", "nothing")
	}
	spec.Signals = slices.Clone(spec.Signals)
	slices.Sort(spec.Signals)
	spec.Signals = slices.Compact(spec.Signals)
	for _, name := range spec.Signals {
		if _, ok := p.Signal(name); !ok {
			add("signals", "names of what the product reports", name)
		}
	}
	if err := fault.Fields("share", fields); err != nil {
		return Share{}, "", err
	}
	g, refused, err := s.Refused(ctx, spec.Recipient, domain)
	if err != nil {
		return Share{}, "", err
	}
	if refused {
		return Share{}, "", fault.New(fault.Denied, "data cannot be shared with %s. %s", g.Name, g.Reason)
	}
	if spec.From.Before(since) {
		spec.From = since
	}
	secret := fleet.NewSecret(TokenPrefix)
	out := Share{
		ID: s.c.IDs.ID(), OwnerID: ownerID, UnitID: unitID, Recipient: spec.Recipient, Contact: spec.Contact, Signals: spec.Signals, Events: spec.Events,
		From: spec.From.UTC(), Until: spec.Until.UTC(), MadeAt: now, Hash: fleet.SecretHash(secret),
	}
	if err := s.c.Store.AddShare(ctx, out); err != nil {
		return Share{}, "", fmt.Errorf("share: %w", err)
	}
	return out, secret, nil
}

// domainOf is the domain of an email or web address, "" of anything else.
func domainOf(contact string) string {
	if a, err := mail.ParseAddress(contact); err == nil && a.Address == contact {
		_, domain, _ := strings.Cut(contact, "@")
		return strings.ToLower(domain)
	}
	if !strings.Contains(contact, "://") {
		contact = "https://" + contact
	}
	u, err := url.Parse(contact)
	if err != nil || !strings.Contains(u.Hostname(), ".") || strings.ContainsAny(u.Hostname(), " ") {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// Refused finds the gatekeeper that a third party is.
func (s *Service) Refused(ctx context.Context, recipient, domain string) (Gatekeeper, bool, error) {
	all, err := s.Gatekeepers(ctx)
	if err != nil {
		return Gatekeeper{}, false, err
	}
	name := plain(recipient)
	for _, g := range all {
		if name == plain(g.Name) || g.Law && aliases[name] == g.Name {
			return g, true, nil
		}
		for _, d := range g.Domains {
			if domain == d || strings.HasSuffix(domain, "."+d) {
				return g, true, nil
			}
		}
	}
	return Gatekeeper{}, false, nil
}

// Gatekeepers are those designated by law, and the operator's own.
func (s *Service) Gatekeepers(ctx context.Context) ([]Gatekeeper, error) {
	own, err := s.c.Store.Gatekeepers(ctx)
	return append(Designated(), own...), err
}

// RefuseTo adds a third party to the operator's list, and ends what is shared
// with it.
func (s *Service) RefuseTo(ctx context.Context, g Gatekeeper) (Gatekeeper, error) {
	g.Name, g.At, g.Law = strings.TrimSpace(g.Name), s.c.Clock.Now(), false
	var fields []fault.Field
	if g.Name == "" {
		fields = append(fields, fault.Field{Path: "name", Expected: "the third party's name", Got: "nothing"})
	}
	if strings.TrimSpace(g.Reason) == "" {
		fields = append(fields, fault.Field{Path: "reason", Expected: "why data is not shared with it, as owners are told", Got: "nothing"})
	}
	for i, d := range g.Domains {
		if g.Domains[i] = domainOf(d); g.Domains[i] == "" {
			fields = append(fields, fault.Field{Path: "domains", Expected: "domains, as example.com", Got: d})
		}
	}
	if err := fault.Fields("refuse a third party", fields); err != nil {
		return g, err
	}
	return g, s.c.Store.PutGatekeeper(ctx, g)
}

// AllowTo takes a third party off the operator's list.
func (s *Service) AllowTo(ctx context.Context, name string) error {
	return s.c.Store.DropGatekeeper(ctx, name)
}

// Shares are an owner's, the newest first.
func (s *Service) Shares(ctx context.Context, ownerID string) ([]Share, error) {
	return s.c.Store.Shares(ctx, ownerID)
}

// Uses is what was fetched by an owner's share, the newest first.
func (s *Service) Uses(ctx context.Context, ownerID, id string) ([]Use, error) {
	if _, err := s.mine(ctx, ownerID, id); err != nil {
		return nil, err
	}
	return s.c.Store.Uses(ctx, id, 500)
}

func (s *Service) mine(ctx context.Context, ownerID, id string) (Share, error) {
	v, err := s.c.Store.Share(ctx, id)
	if err == nil && v.OwnerID != ownerID {
		err = fault.New(fault.NotFound, "no share %q", id)
	}
	return v, err
}

// End ends an owner's share, at once, also for streams that are open.
func (s *Service) End(ctx context.Context, ownerID, id string) error {
	v, err := s.mine(ctx, ownerID, id)
	if err != nil || !v.EndedAt.IsZero() {
		return err
	}
	if _, err := s.c.Store.End(ctx, id, "", nil, s.c.Clock.Now(), "ended by the owner"); err != nil {
		return err
	}
	fleet.AtEnd(ctx, s.cut)
	return nil
}

// EndOf ends every share of an owner, or of units, as when a unit changes
// hands or its owner restricts its use. It takes part in the caller's transaction.
func (s *Service) EndOf(ctx context.Context, ownerID string, units []string, why string) error {
	if _, err := s.c.Store.End(ctx, "", ownerID, units, s.c.Clock.Now(), why); err != nil {
		return err
	}
	fleet.AtEnd(ctx, s.cut)
	return nil
}

// cut has every open stream look again whether it may go on.
func (s *Service) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, ch := range s.ended {
		close(ch)
		delete(s.ended, id)
	}
}

// Changed is closed when shares have ended: whoever streams looks again.
func (s *Service) Changed(id string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended[id] == nil {
		s.ended[id] = make(chan struct{})
	}
	return s.ended[id]
}

// Enter finds the share that a token opens now; fault.Denied where it does not.
func (s *Service) Enter(ctx context.Context, secret string) (Share, error) {
	refused := fault.New(fault.Denied, "this token is not known")
	if !strings.HasPrefix(secret, TokenPrefix) {
		return Share{}, refused
	}
	v, err := s.c.Store.ByHash(ctx, fleet.SecretHash(secret))
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return Share{}, refused
	case err != nil:
		return Share{}, fmt.Errorf("share: %w", err)
	case !v.EndedAt.IsZero():
		return v, fault.New(fault.Denied, "the share ended at %s: %s", v.EndedAt.UTC().Format(time.RFC3339), v.Why)
	case !s.c.Clock.Now().Before(v.Until):
		return v, fault.New(fault.Denied, "the share was good until %s", v.Until.Format(time.RFC3339))
	}
	return v, nil
}

// Note keeps what was fetched, and gives it back with its id: a live stream is
// noted again as it goes on.
func (s *Service) Note(ctx context.Context, u Use) (Use, error) {
	if u.ID == "" {
		u.ID, u.At = s.c.IDs.ID(), s.c.Clock.Now()
	}
	if err := s.c.Store.PutUse(ctx, u); err != nil {
		return u, fmt.Errorf("note what was fetched: %w", err)
	}
	return u, nil
}
