package preference

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/template"
)

// Notice is something that an owner was to be told, with what became of it.
type Notice struct {
	ID       string           `json:"id"`
	Key      string           `json:"-"`
	OwnerID  string           `json:"ownerId,omitempty"`
	UnitID   string           `json:"unitId,omitempty"`
	Kind     notify.Kind      `json:"kind"`
	Template string           `json:"template"`
	Product  string           `json:"product,omitempty"`
	Campaign string           `json:"campaign,omitempty"`
	About    string           `json:"about,omitempty"`
	Verdict  notify.Verdict   `json:"verdict"`
	Reason   notify.Reason    `json:"reason,omitempty" doc:"Why it was told later, or not at all."`
	Overrode []notify.Reason  `json:"overrode,omitempty" doc:"What a safety notice went over."`
	Channels []notify.Channel `json:"channels,omitempty"`

	CreatedAt   time.Time  `json:"createdAt"`
	DueAt       time.Time  `json:"dueAt,omitzero" doc:"When it is told, if later."`
	ToldAt      time.Time  `json:"toldAt,omitzero"`
	Into        string     `json:"into,omitempty" doc:"Notice that it was told as part of."`
	Language    string     `json:"language,omitempty"`
	Subject     string     `json:"subject,omitempty"`
	Body        string     `json:"body,omitempty"`
	Link        string     `json:"link,omitempty"`
	Acknowledge bool       `json:"acknowledge,omitempty" doc:"The owner is asked to say that it was read."`
	ReadAt      time.Time  `json:"readAt,omitzero"`
	AckedAt     time.Time  `json:"ackedAt,omitzero"`
	AckedVia    notify.Via `json:"ackedVia,omitempty"`

	Wanted    []notify.Channel `json:"-"` // exactly these; none: as the owner likes
	Values    template.Values  `json:"-"`
	ExpiresAt time.Time        `json:"-"`
}

// Filter picks notices; empty fields match all.
type Filter struct {
	OwnerID, UnitID, About string
	Kind                   notify.Kind
	Verdict                notify.Verdict
	Shown                  bool   // those that owners are shown: all but what stands in another
	Before                 string // id: those made before it
	Limit                  int
}

// Store keeps notices and contact data.
type Store interface {
	// AddNotice keeps a notice, unless its key is known.
	AddNotice(ctx context.Context, n Notice) (fresh bool, err error)
	SaveNotice(ctx context.Context, n Notice) error
	Notice(ctx context.Context, id string) (Notice, error)
	NoticeByKey(ctx context.Context, key string) (Notice, error)
	Notices(ctx context.Context, f Filter) ([]Notice, error) // newest first
	// DueNotices are those to be told later whose time has come, owner by owner.
	DueNotices(ctx context.Context, now time.Time, limit int) ([]Notice, error)
	// CountTold counts what an owner was told since, by kind.
	CountTold(ctx context.Context, ownerID string, since time.Time) (map[notify.Kind]int, error)
	// Messages are those that carry a notice.
	Messages(ctx context.Context, key string) ([]notify.Message, error)
	// Acked is when an owner first acknowledged, from a time on, anything that
	// they were told about something of a unit; zero: never.
	Acked(ctx context.Context, ownerID, unitID, about string, since time.Time) (time.Time, error)

	Contact(ctx context.Context, ownerID string) (Contact, error) // empty if never given
	PutContact(ctx context.Context, ownerID string, c Contact) error
}

// Keeper keeps what owners have set; fault.NotFound if never.
type Keeper interface {
	Preferences(ctx context.Context, ownerID string) (Preferences, error)
	PutPreferences(ctx context.Context, ownerID string, p Preferences) error
}

// Config is what a Service works with. Push may be nil.
type Config struct {
	Store     Store
	Keeper    Keeper
	Messages  notify.Store
	Templates *template.Catalogue
	Fleet     fleet.Store
	Tx        fleet.Transactor
	Clock     clock.Clock // the service's
	Machine   clock.Clock
	IDs       clock.IDs
	Log       *slog.Logger
	URL       string                                                      // where people reach the pages
	Push      func(ctx context.Context, ownerID string) ([]string, error) // subscriptions
	Carries   func(ch notify.Channel) bool                                // whether anything carries a channel's messages; nil: all are
	Contact   map[string]string                                           // placeholders that stand in every text, as Company
}

// Carries reports whether anything carries a channel's messages: a text without
// a gateway would wait for ever, and what comes after it with it.
func (s *Service) Carries(ch notify.Channel) bool { return s.c.Carries == nil || s.c.Carries(ch) }

// Service decides what owners are told, and keeps it. It is notify.Door.
type Service struct{ c Config }

var _ notify.Door = (*Service)(nil)

// NewService makes a service.
func NewService(c Config) *Service {
	c.URL = strings.TrimSuffix(c.URL, "/")
	return &Service{c}
}

const (
	day  = 24 * time.Hour
	week = 7 * day
)

func (s *Service) person(ctx context.Context, o fleet.Owner, now time.Time) (*person, error) {
	p := &person{email: o.Email, zone: o.Location(), carried: s.c.Carries}
	var err error
	if p.prefs, err = s.Preferences(ctx, o.ID); err != nil {
		return nil, err
	}
	if p.prefs.TimeZone != "" {
		o.TimeZone = p.prefs.TimeZone
		p.zone = o.Location()
	}
	if p.contact, err = s.c.Store.Contact(ctx, o.ID); err != nil {
		return nil, err
	}
	if s.c.Push != nil {
		if p.push, err = s.c.Push(ctx, o.ID); err != nil {
			return nil, err
		}
	}
	if p.day, err = s.c.Store.CountTold(ctx, o.ID, now.Add(-day)); err != nil {
		return nil, err
	}
	p.week, err = s.c.Store.CountTold(ctx, o.ID, now.Add(-week))
	return p, err
}

// ToOwner decides what becomes of a telling and keeps it, with the messages
// that carry it, in the caller's transaction.
func (s *Service) ToOwner(ctx context.Context, t notify.Telling) (d notify.Decision, err error) {
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		d, err = s.toOwner(ctx, t)
		return err
	})
	if err != nil {
		return d, fmt.Errorf("tell owner: %w", err)
	}
	return d, nil
}

func (s *Service) toOwner(ctx context.Context, t notify.Telling) (notify.Decision, error) {
	if _, err := s.c.Store.NoticeByKey(ctx, t.Key); fault.KindOf(err) != fault.NotFound {
		return notify.Decision{Verdict: notify.Withheld, Reason: notify.Repeated}, err
	}
	owner, err := s.c.Fleet.Owner(ctx, t.OwnerID)
	if fault.KindOf(err) == fault.NotFound {
		return notify.Decision{Verdict: notify.Withheld, Reason: notify.Gone}, nil
	}
	if err != nil {
		return notify.Decision{}, err
	}
	now := s.c.Clock.Now()
	n := Notice{
		ID: s.c.IDs.ID(), Key: t.Key, OwnerID: t.OwnerID, UnitID: t.UnitID, Kind: t.Kind, Template: t.Template, Product: t.Product, Campaign: t.Campaign,
		About: t.About, CreatedAt: now, Acknowledge: t.Acknowledge, Wanted: t.Channels, Values: t.Values, ExpiresAt: t.ExpiresAt,
	}
	fresh, err := s.c.Store.AddNotice(ctx, n)
	if err != nil {
		return notify.Decision{}, err
	}
	if !fresh {
		return notify.Decision{Verdict: notify.Withheld, Reason: notify.Repeated}, nil
	}
	p, err := s.person(ctx, owner, now)
	if err != nil {
		return notify.Decision{}, err
	}
	d := p.decide(&t, now)
	return d, s.settle(ctx, &n, owner, p, d, now)
}

// settle keeps what was decided of a notice, and its messages if it is told.
func (s *Service) settle(ctx context.Context, n *Notice, owner fleet.Owner, p *person, d notify.Decision, now time.Time) error {
	n.Verdict, n.Reason, n.Overrode, n.Channels, n.DueAt = d.Verdict, d.Reason, d.Overrode, d.Channels, d.At
	words, err := s.write(ctx, n, owner, p)
	if err != nil {
		return err
	}
	// Also what is not told is shown to its owner in words, with the reason.
	n.Language, n.Link = words.Language, words.Link
	n.Subject, n.Body = words.Mail.Subject, words.Mail.Text
	if d.Verdict == notify.Told {
		n.ToldAt = now
		if _, err := s.c.Messages.Enqueue(ctx, s.messages(n, p, words, now)...); err != nil {
			return err
		}
	}
	return s.c.Store.SaveNotice(ctx, *n)
}

// write fills the words of a notice for its owner.
func (s *Service) write(ctx context.Context, n *Notice, owner fleet.Owner, p *person) (*template.Rendered, error) {
	spec, err := s.c.Templates.Resolve(ctx, n.Template, n.Product, n.Campaign)
	if err != nil {
		return nil, err
	}
	values := template.Values{"Name": owner.Name, "Unit": n.UnitID, "Link": s.c.URL + "/my/notices"}
	for k, v := range s.c.Contact {
		values[k] = v // a Values from strings
	}
	if n.Product != "" {
		product, err := s.c.Fleet.Product(ctx, n.Product)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return nil, err
		}
		values["Product"] = product.Title
	}
	maps.Copy(values, n.Values)
	return spec.Render(reader(owner, p), values)
}

func reader(owner fleet.Owner, p *person) template.Reader {
	r := template.Reader{Locale: owner.Locale, Zone: p.zone, Units: p.prefs.Units}
	if p.prefs.Language != "" {
		r.Locale = p.prefs.Language
	}
	return r
}

// Reader is whom an owner's messages are written for.
func (s *Service) Reader(ctx context.Context, owner fleet.Owner) (template.Reader, error) {
	p, err := s.person(ctx, owner, s.c.Clock.Now())
	if err != nil {
		return template.Reader{}, err
	}
	return reader(owner, p), nil
}

// messages are those that carry a notice, keyed by it and their channel.
func (s *Service) messages(n *Notice, p *person, words *template.Rendered, now time.Time) []notify.Message {
	var expires time.Time
	if !n.ExpiresAt.IsZero() {
		expires = s.c.Machine.Now().Add(n.ExpiresAt.Sub(now))
	}
	var out []notify.Message
	for _, ch := range n.Channels {
		to := map[notify.Channel]string{notify.Mail: p.email, notify.SMS: p.contact.Phone, notify.Voice: p.contact.Phone, notify.Call: p.contact.Phone, notify.Letter: "post"}[ch]
		targets := []string{to}
		if ch == notify.Push {
			targets = p.push
		}
		for i, to := range targets {
			m := notify.Message{
				ID: s.c.IDs.ID(), Key: MessageKey(n.Key, ch), Channel: ch, To: to, OwnerID: n.OwnerID, UnitID: n.UnitID, Kind: n.Kind, Language: words.Language, About: n.About,
				Link: words.Link, Acknowledge: n.Acknowledge, CreatedAt: now, ExpiresAt: expires,
			}
			if i > 0 {
				m.Key += fmt.Sprint(":", i)
			}
			m.Subject, m.Body = words.Words(ch)
			if ch == notify.Mail {
				m.HTML = words.Mail.HTML
			}
			out = append(out, m)
		}
	}
	return out
}

// MessageKey is the key of the message that carries a notice on a channel.
func MessageKey(key string, ch notify.Channel) string { return key + ":" + string(ch) }

// Pass tells what waited and whose time has come: what of one owner may be put
// together is one message. It returns how many notices moved.
func (s *Service) Pass(ctx context.Context) (moved int, err error) {
	const most = 500
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		now := s.c.Clock.Now()
		due, err := s.c.Store.DueNotices(ctx, now, most)
		if err != nil {
			return err
		}
		for len(due) > 0 {
			i := slices.IndexFunc(due, func(n Notice) bool { return n.OwnerID != due[0].OwnerID })
			if i < 0 {
				i = len(due)
			}
			if err := s.release(ctx, due[:i], now); err != nil {
				return err
			}
			moved += i
			due = due[i:]
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("tell what waited: %w", err)
	}
	return moved, nil
}

// release tells an owner what waited for them.
func (s *Service) release(ctx context.Context, list []Notice, now time.Time) error {
	owner, err := s.c.Fleet.Owner(ctx, list[0].OwnerID)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	gone := err != nil
	var together []*Notice
	for i := range list {
		n := &list[i]
		if gone {
			n.Verdict, n.Reason, n.DueAt = notify.Withheld, notify.Gone, time.Time{}
			if err := s.c.Store.SaveNotice(ctx, *n); err != nil {
				return err
			}
			continue
		}
		if n.Kind.Optional() && len(n.Wanted) == 0 && !n.Acknowledge {
			together = append(together, n)
			continue
		}
		if err := s.again(ctx, n, owner, now); err != nil {
			return err
		}
	}
	if len(together) < 2 {
		for _, n := range together {
			if err := s.again(ctx, n, owner, now); err != nil {
				return err
			}
		}
		return nil
	}
	return s.merge(ctx, together, owner, now)
}

// again decides a notice anew: the owner may have set something since.
func (s *Service) again(ctx context.Context, n *Notice, owner fleet.Owner, now time.Time) error {
	p, err := s.person(ctx, owner, now)
	if err != nil {
		return err
	}
	return s.settle(ctx, n, owner, p, p.decide(n.telling(), now), now)
}

func (n *Notice) telling() *notify.Telling {
	return &notify.Telling{
		Key: n.Key, OwnerID: n.OwnerID, Kind: n.Kind, Template: n.Template, Values: n.Values, Product: n.Product, Campaign: n.Campaign, UnitID: n.UnitID,
		About: n.About, Channels: n.Wanted, Acknowledge: n.Acknowledge, ExpiresAt: n.ExpiresAt,
	}
}

// merge makes one message of several notices.
func (s *Service) merge(ctx context.Context, list []*Notice, owner fleet.Owner, now time.Time) error {
	p, err := s.person(ctx, owner, now)
	if err != nil {
		return err
	}
	var in []*Notice
	var titles []string
	h := sha256.New()
	kind := notify.Tip
	for _, n := range list {
		d := p.decide(n.telling(), now)
		if d.Verdict != notify.Told { // switched off meanwhile, or too much already
			if err := s.settle(ctx, n, owner, p, d, now); err != nil {
				return err
			}
			continue
		}
		in, titles = append(in, n), append(titles, n.Subject)
		h.Write([]byte(n.Key + "\n"))
		if n.Kind == notify.Service || n.Kind == notify.Feature && kind == notify.Tip {
			kind = n.Kind
		}
	}
	if len(in) == 0 {
		return nil
	}
	if len(in) == 1 {
		return s.again(ctx, in[0], owner, now)
	}
	key := "several:" + hex.EncodeToString(h.Sum(nil)[:16])
	d, err := s.toOwner(ctx, notify.Telling{
		Key: key, OwnerID: owner.ID, Kind: kind, Template: template.Several, Values: template.Values{"Count": len(titles), "Titles": titles}, About: "several",
	})
	if err != nil {
		return err
	}
	whole, err := s.c.Store.NoticeByKey(ctx, key)
	if err != nil {
		return err
	}
	for _, n := range in {
		n.Verdict, n.Reason, n.DueAt, n.ToldAt, n.Into, n.Channels = notify.Merged, "", time.Time{}, now, whole.ID, d.Channels
		if err := s.c.Store.SaveNotice(ctx, *n); err != nil {
			return err
		}
	}
	return nil
}

// Run tells what waits until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := s.Pass(ctx); err != nil && ctx.Err() == nil {
			s.c.Log.WarnContext(ctx, "notices wait", "error", err)
		}
	}
}
