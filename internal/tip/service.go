package tip

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/tip/outside"
)

// Config is what a Service is made of.
type Config struct {
	Store    Store
	Fleet    fleet.Store
	Consents consent.Store
	History  History
	Tx       fleet.Transactor
	Clock    clock.Clock
	Wall     clock.Clock
	Log      *slog.Logger

	Condition func(ctx context.Context, unitID string) string
	Quiet     func(ctx context.Context, o fleet.Owner, now time.Time) (until time.Time, err error) // see WatcherConfig
	PerDay    int                                                                                  // see WatcherConfig
	// Push sends a tip to an owner's browsers or phones, once for its id, in the transaction of ctx; nil: there is no such channel.
	Push    func(ctx context.Context, g Given, t Tip) error
	Told    func(unitIDs ...string) // see WatcherConfig
	Changed func()                  // tips were declared anew
}

func (c *Config) condition(ctx context.Context) func(string) string {
	if c.Condition == nil {
		return nil
	}
	return func(unitID string) string { return c.Condition(ctx, unitID) }
}

// Service keeps tips, shows what was given, and takes what owners do with it.
type Service struct{ c Config }

// NewService makes the service.
func NewService(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{c}
}

// Put keeps a tip's declaration. What changes its condition, its words or whom
// it is for makes a new version, which is measured anew.
func (s *Service) Put(ctx context.Context, t Tip) error {
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		p, err := s.c.Fleet.Product(ctx, t.Product)
		if fault.KindOf(err) == fault.NotFound {
			return fault.Fields("tip "+t.Name, []fault.Field{{Path: "spec.product", Expected: "a product that is declared", Got: fmt.Sprintf("%q", t.Product)}})
		} else if err != nil {
			return err
		}
		if err := fault.Fields("tip "+t.Name, Validate(&p, &t)); err != nil {
			return err
		}
		old, err := s.c.Store.Tip(ctx, t.Name)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			t.Version = 1
		case err != nil:
			return err
		case old.Product != t.Product:
			return fault.Fields("tip "+t.Name, []fault.Field{{Path: "spec.product", Expected: old.Product + ", as it is already: declare a tip of a new name", Got: t.Product}})
		default:
			t.Version = old.Version
			if !alike(old, t) {
				t.Version++
			}
		}
		return s.c.Store.PutTip(ctx, t)
	})
}

// alike reports whether two declarations differ in limits alone.
func alike(a, b Tip) bool {
	for _, t := range []*Tip{&a, &b} {
		t.Version, t.Paused, t.PerHour, t.Most = 0, false, 0, 0
	}
	return reflect.DeepEqual(a, b)
}

// Fits lists why tips that are declared no longer fit a product.
func (s *Service) Fits(ctx context.Context, p *fleet.Product) (map[string][]fault.Field, error) {
	tips, err := s.c.Store.Tips(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	out := map[string][]fault.Field{}
	for i := range tips {
		if wrong := Validate(p, &tips[i]); len(wrong) > 0 {
			out[tips[i].Name] = wrong
		}
	}
	return out, nil
}

// Reload lets those who run tips look at them anew.
func (s *Service) Reload() {
	if s.c.Changed != nil {
		s.c.Changed()
	}
}

// Tips are those of a product ("": all), by name.
func (s *Service) Tips(ctx context.Context, product string) ([]Tip, error) {
	return s.c.Store.Tips(ctx, product)
}

// Tip is one of them.
func (s *Service) Tip(ctx context.Context, name string) (Tip, error) { return s.c.Store.Tip(ctx, name) }

// Delete removes a tip and all that is known of whom it was given.
func (s *Service) Delete(ctx context.Context, name string) error {
	if err := s.c.Store.DeleteTip(ctx, name); err != nil {
		return err
	}
	s.Reload()
	return nil
}

// Effect is how a tip is used, as its newest version has it.
func (s *Service) Effect(ctx context.Context, name string) (Effect, error) {
	t, err := s.c.Store.Tip(ctx, name)
	if err != nil {
		return Effect{}, err
	}
	given, held, err := s.c.Store.Measure(ctx, name, t.Version, s.c.Clock.Now().Add(-or(t.Within, defaultWithin)))
	if err != nil {
		return Effect{}, err
	}
	return effectOf(&t, given, held), nil
}

// Shown is a tip in an owner's words.
type Shown struct {
	ID      string    `json:"id"`
	Tip     string    `json:"tip" doc:"Its name, for switching it off."`
	UnitID  string    `json:"unitId,omitempty"`
	Title   string    `json:"title"`
	Text    string    `json:"text"`
	Action  string    `json:"action,omitempty" doc:"What the button says; absent: none."`
	Link    string    `json:"link,omitempty"`
	Command string    `json:"command,omitempty" doc:"For the unit, when the button is pressed."`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until" doc:"Not shown after."`
	Sources []string  `json:"sources,omitempty" doc:"Where what it rests on comes from, beside the unit itself."`
}

// In is a tip in a language.
func (t *Tip) In(g *Given, p *fleet.Product, locale string) Shown {
	out := Shown{ID: g.ID, Tip: t.Name, UnitID: g.UnitID, At: g.At, Until: g.Until, Title: In(t.Title, locale, g.Values), Text: In(t.Text, locale, g.Values)}
	if t.Action != nil {
		out.Action, out.Link, out.Command = fleet.InLanguage(t.Action.Label, locale), t.Action.Link, t.Action.Command
	}
	if r, wrong := compile(p, t); len(wrong) == 0 {
		for _, i := range r.feeds {
			out.Sources = append(out.Sources, p.Feeds[i].Title)
		}
	}
	return out
}

// Now are the tips that units may show on a channel at this moment, the newest
// first. What the owner permits and has switched off is looked up anew.
func (s *Service) Now(ctx context.Context, on Channel, units []fleet.Unit, locale string) ([]Shown, error) {
	out := []Shown{}
	if len(units) == 0 {
		return out, nil
	}
	ids := make([]string, len(units))
	for i := range units {
		ids[i] = units[i].ID
	}
	now := s.c.Clock.Now()
	list, err := s.c.Store.Given(ctx, Filter{UnitIDs: ids, Open: now})
	if err != nil {
		return nil, err
	}
	for i := range list {
		g := &list[i]
		u := units[slices.Index(ids, g.UnitID)]
		t, p, ok, err := s.may(ctx, g, &u)
		if err != nil {
			return nil, err
		}
		if ok && g.Open(&t, on, now) {
			out = append(out, t.In(g, &p, locale))
		}
	}
	return out, nil
}

// may looks a given tip's declaration up, and whether its unit's owner still
// wants it.
func (s *Service) may(ctx context.Context, g *Given, u *fleet.Unit) (t Tip, p fleet.Product, ok bool, err error) {
	if t, err = s.c.Store.Tip(ctx, g.Tip); err != nil {
		return t, p, false, err
	}
	if p, err = s.c.Fleet.Product(ctx, t.Product); err != nil {
		return t, p, false, err
	}
	mask, err := s.c.Consents.Mask(ctx, u.ID)
	if err != nil {
		return t, p, false, err
	}
	off, err := s.c.Store.Switches(ctx, u.OwnerID)
	if err != nil {
		return t, p, false, err
	}
	ok = t.Version == g.Version && !t.Paused && u.OwnerID == g.OwnerID && mask.PermitsPurpose(&p, t.Purpose) && !slices.Contains(off, "") && !slices.Contains(off, t.Name)
	return t, p, ok, nil
}

// OnDisplay are the tips that a unit's own display may show now, in its owner's
// language.
func (s *Service) OnDisplay(ctx context.Context, unitID string) ([]Shown, error) {
	// Units ask whenever they connect, and mostly there is nothing.
	if open, err := s.c.Store.Given(ctx, Filter{UnitIDs: []string{unitID}, Open: s.c.Clock.Now()}); err != nil || len(open) == 0 {
		return []Shown{}, err
	}
	u, err := s.c.Fleet.Unit(ctx, unitID)
	if err != nil || u.OwnerID == "" {
		return []Shown{}, err
	}
	o, err := s.c.Fleet.Owner(ctx, u.OwnerID)
	if err != nil {
		return nil, err
	}
	return s.Now(ctx, Display, []fleet.Unit{u}, o.Locale)
}

// Report takes what happened to a tip on a channel: mine says whether it is
// the reporter's. One that is reported again stays as it was told first; one
// that is not known is fault.NotFound.
func (s *Service) Report(ctx context.Context, id, what string, via Channel, at time.Time, mine func(g *Given) bool) error {
	var unit string
	err := s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		g, err := s.c.Store.GivenByID(ctx, id)
		if err == nil && (g.Held || !mine(&g)) {
			err = fault.New(fault.NotFound, "no tip %q", id)
		}
		if err != nil {
			return err
		}
		now := s.c.Clock.Now()
		if at.IsZero() || at.After(now) || at.Before(g.At) {
			at = now // a clock that is wrong
		}
		before := g
		note := func(t *time.Time) {
			if t.IsZero() {
				*t = at
			}
		}
		if g.ShownAt.IsZero() {
			g.ShownVia = via
			note(&g.ShownAt)
		}
		switch what {
		case ReportShown:
		case ReportDismissed:
			note(&g.DismissedAt)
		case ReportActed:
			note(&g.ActedAt)
		default:
			return fault.Fields("tip", []fault.Field{{Path: "event", Expected: "shown, dismissed or acted", Got: fmt.Sprintf("%q", what)}})
		}
		if what != ReportShown && g.EndedAt.IsZero() {
			g.EndedAt, g.Why = at, map[string]string{ReportDismissed: Dismissed, ReportActed: Acted}[what]
		}
		if g.TurnAt = (time.Time{}); reflect.DeepEqual(before, g) { // it has been seen: no push
			return nil
		}
		unit, g.ChangedAt = g.UnitID, s.c.Wall.Now()
		return s.c.Store.Update(ctx, g)
	})
	if err == nil && unit != "" && s.c.Told != nil {
		s.c.Told(unit)
	}
	return err
}

// Switch is a tip that an owner may switch off.
type Switch struct {
	Tip     string `json:"tip" doc:"Empty: all of them."`
	Product string `json:"product,omitempty"`
	Title   string `json:"title,omitempty"`
	On      bool   `json:"on"`
}

// Switches are an owner's: that for all tips first, then those of the products
// of their units.
func (s *Service) Switches(ctx context.Context, o fleet.Owner, units []fleet.Unit) ([]Switch, error) {
	off, err := s.c.Store.Switches(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	out := []Switch{{On: !slices.Contains(off, "")}}
	var products []string
	for i := range units {
		if p := units[i].Product; !slices.Contains(products, p) {
			products = append(products, p)
			tips, err := s.c.Store.Tips(ctx, p)
			if err != nil {
				return nil, err
			}
			for j := range tips {
				if t := &tips[j]; !t.Paused {
					out = append(out, Switch{Tip: t.Name, Product: p, Title: plain(fleet.InLanguage(t.Title, o.Locale)), On: !slices.Contains(off, t.Name)})
				}
			}
		}
	}
	return out, nil
}

// plain leaves the names of values out of a text.
func plain(text string) string {
	for _, name := range outside.Names(text) {
		text = strings.ReplaceAll(text, "{"+name+"}", "…")
	}
	return text
}

// SetSwitch switches a tip ("": all) on or off for an owner; off holds at once.
func (s *Service) SetSwitch(ctx context.Context, ownerID, tip string, on bool, units []fleet.Unit) error {
	if tip != "" {
		if _, err := s.c.Store.Tip(ctx, tip); err != nil {
			return err
		}
	}
	if err := s.c.Store.SetSwitch(ctx, ownerID, tip, !on); err != nil {
		return err
	}
	if s.c.Told != nil {
		for i := range units {
			s.c.Told(units[i].ID)
		}
	}
	return nil
}

// Owned are tips that were given to an owner's units and what became of them,
// the newest first: not those held back, of which the owner saw nothing.
func (s *Service) Owned(ctx context.Context, unitIDs []string, since time.Time) ([]Given, error) {
	return s.c.Store.Given(ctx, Filter{UnitIDs: unitIDs, Since: since})
}

// keep is how long it is known whom a tip was given.
const keep = 400 * 24 * time.Hour

// Run sees to channels whose turn it is since none before has shown the tip,
// until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	var cleaned time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
		if err := s.turns(ctx); err != nil && ctx.Err() == nil {
			s.c.Log.Warn("tips wait to be pushed", "error", err)
		}
		if now := s.c.Clock.Now(); now.Sub(cleaned) > 24*time.Hour {
			if err := s.c.Store.Expire(ctx, now.Add(-keep)); err != nil && ctx.Err() == nil {
				s.c.Log.Warn("old tips wait to be removed", "error", err)
			}
			cleaned = now
		}
	}
}

func (s *Service) turns(ctx context.Context) error {
	now := s.c.Clock.Now()
	due, err := s.c.Store.TurnDue(ctx, now, 500)
	if err != nil {
		return err
	}
	for i := range due {
		g, shows := due[i], false
		err := s.c.Tx.InTx(ctx, func(ctx context.Context) error {
			u, err := s.c.Fleet.Unit(ctx, g.UnitID)
			if err != nil {
				return err
			}
			t, _, ok, err := s.may(ctx, &g, &u)
			if err != nil {
				return err
			}
			if ok && s.c.Push != nil && g.ShownAt.IsZero() && g.Open(&t, Push, now) { // once: the message's key is the tip's
				if err := s.c.Push(ctx, g, t); err != nil {
					return err
				}
			}
			shows = ok && g.Open(&t, Display, now)
			g.TurnAt, g.ChangedAt = g.turn(&t, now), s.c.Wall.Now()
			return s.c.Store.Update(ctx, g)
		})
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		if shows && s.c.Told != nil {
			s.c.Told(g.UnitID)
		}
	}
	return nil
}
