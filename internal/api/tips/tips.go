// Package tips serves tips in context: to operators what they say, who would
// get them and what they did; to owners those of now, and the switches.
package tips

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/tip/outside"
)

// Deps is what the operations work with.
type Deps struct {
	Tips  *tip.Service
	Fleet fleet.Store
	Clock clock.Clock
	Feeds func() []outside.Status // nil: there are none
}

// Trying asks who would have got a tip.
type Trying struct {
	Name string    `json:"name,omitempty" doc:"A declared tip."`
	Tip  *tip.Tip  `json:"tip,omitempty" doc:"Or the specification of one that need not be declared."`
	From time.Time `json:"from,omitzero" doc:"Default: a week ago."`
	To   time.Time `json:"to,omitzero" doc:"Default: now."`
}

type tryIn struct{ Body Trying }

// Preview is a tip as owners see it in a language. Values of the moment stand
// by their names in braces.
type Preview struct {
	Language string `json:"language"`
	Title    string `json:"title"`
	Text     string `json:"text"`
	Action   string `json:"action,omitempty"`
}

// Register adds the operations to a server.
func Register(s *frame.Server, d Deps) {
	h := &handlers{s, d}
	h.operators()
	h.owners()
}

type handlers struct {
	s *frame.Server
	d Deps
}

func (h *handlers) operators() {
	frame.Add(h.s, frame.Route{
		Method: http.MethodGet, Path: "/v1/tips/{name}/effect", ID: "getTipEffect", Summary: "What a tip did", Tag: "tips", Access: access.Look, Sight: frame.ByProduct,
		Doc: "Units that were given the newest version of the tip, each by its first, compared with those held back by lot, whether owners looked at it or not. No figure is of fewer than 10 units.",
	}, func(ctx context.Context, in *frame.NameParam) (tip.Effect, error) {
		if _, err := h.tip(ctx, in.Name); err != nil {
			return tip.Effect{}, err
		}
		return h.d.Tips.Effect(ctx, in.Name)
	})
	frame.Add(h.s, frame.Route{
		Method: http.MethodGet, Path: "/v1/tips/{name}/preview", ID: "previewTip", Summary: "A tip in each of its languages", Tag: "tips", Access: access.Look, Sight: frame.ByProduct,
	}, func(ctx context.Context, in *frame.NameParam) (wire.List[Preview], error) {
		out := wire.List[Preview]{Items: []Preview{}}
		t, err := h.tip(ctx, in.Name)
		if err != nil {
			return out, err
		}
		for _, l := range slices.Sorted(maps.Keys(t.Title)) {
			p := Preview{Language: l, Title: tip.In(t.Title, l, nil), Text: tip.In(t.Text, l, nil)}
			if t.Action != nil {
				p.Action = fleet.InLanguage(t.Action.Label, l)
			}
			out.Items = append(out.Items, p)
		}
		return out, nil
	})
	frame.Add(h.s, frame.Route{
		Method: http.MethodPost, Path: "/v1/tips/try", ID: "tryTip", Summary: "Who would have got a tip", Tag: "tips", Access: access.Analyse, Sight: frame.ByProduct, Asks: true, Slow: true,
		Doc: "Runs the tip on history, at most 31 days of it. Nothing is given to anybody. No figure is of 1 to 9 units.",
	}, func(ctx context.Context, in *tryIn) (tip.Trial, error) {
		t := tip.Tip{}
		switch {
		case (in.Body.Tip == nil) == (in.Body.Name == ""):
			return tip.Trial{}, fault.Fields("try", []fault.Field{{Path: "name", Expected: "either the name of a tip or the specification of one"}})
		case in.Body.Tip != nil:
			t = *in.Body.Tip
			t.Name, t.Version = "trial", 1
		default:
			declared, err := h.tip(ctx, in.Body.Name)
			if err != nil {
				return tip.Trial{}, err
			}
			t = declared
		}
		if _, err := h.d.Fleet.Product(ctx, t.Product); err != nil { // also whether the operator may see it
			return tip.Trial{}, err
		}
		to := in.Body.To
		if to.IsZero() {
			to = h.d.Clock.Now()
		}
		from := in.Body.From
		if from.IsZero() {
			from = to.AddDate(0, 0, -7)
		}
		return h.d.Tips.Try(ctx, t, from, to)
	})
	frame.Add(h.s, frame.Route{
		Method: http.MethodGet, Path: "/v1/feeds", ID: "listFeeds", Summary: "How outside context is doing", Tag: "tips", Access: access.Look, Sight: frame.ByProduct,
		Doc: "Every feed that a product declares: when it was last heard, for how many places, and why it says nothing.",
	}, func(ctx context.Context, _ *frame.None) (wire.List[outside.Status], error) {
		out := wire.List[outside.Status]{Items: []outside.Status{}}
		if h.d.Feeds == nil {
			return out, nil
		}
		for _, f := range h.d.Feeds() {
			switch _, err := h.d.Fleet.Product(ctx, f.Product); {
			case err == nil:
				out.Items = append(out.Items, f)
			case fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Denied:
				return out, err
			}
		}
		return out, nil
	})
}

// tip is a declared tip of a product that the operator may see.
func (h *handlers) tip(ctx context.Context, name string) (tip.Tip, error) {
	t, err := h.d.Tips.Tip(ctx, name)
	if err == nil {
		_, err = h.d.Fleet.Product(ctx, t.Product)
	}
	return t, err
}

// Mine are an owner's tips.
type Mine struct {
	Now      []tip.Shown  `json:"now" doc:"To be shown in the portal at this moment, the newest first."`
	Earlier  []Earlier    `json:"earlier" doc:"Of the last 30 days, the newest first."`
	Switches []tip.Switch `json:"switches" doc:"The first, whose tip is empty, is for all tips."`
}

// Earlier is a tip that was given.
type Earlier struct {
	tip.Shown
	ShownAt time.Time `json:"shownAt,omitzero"`
	Via     string    `json:"via,omitempty" enum:"display,portal,push"`
	Ended   string    `json:"ended,omitempty" doc:"Why it is shown no more."`
}

// Said tells what an owner did with a tip in the portal.
type Said struct {
	Event string `json:"event" enum:"shown,dismissed,acted"`
}

type saidIn struct {
	frame.IDParam
	Body Said
}

// Switching switches a tip.
type Switching struct {
	Tip string `json:"tip" maxLength:"200" doc:"Its name; empty: all tips."`
	On  bool   `json:"on"`
}

type switchIn struct{ Body Switching }

func (h *handlers) owners() {
	frame.Add(h.s, frame.Route{
		Method: http.MethodGet, Path: "/owner/v1/tips", ID: "getMyTips", Summary: "Tips of now and before, and the switches", Tag: "owner", Access: frame.Owner, EachUnit: true,
	}, func(ctx context.Context, _ *frame.None) (Mine, error) { return h.mine(ctx) })
	frame.Do(h.s, frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/tips/{id}", ID: "reportMyTip", Summary: "What the owner did with a tip", Tag: "owner", Access: frame.Owner, EachUnit: true,
		Doc: "shown when it is on the screen; dismissed and acted end it, on the unit's display, too.",
	}, func(ctx context.Context, in *saidIn) error {
		_, since, err := h.units(ctx)
		if err != nil {
			return err
		}
		return h.d.Tips.Report(ctx, in.ID, in.Body.Event, tip.Portal, h.d.Clock.Now(), func(g *tip.Given) bool { return since.shows(g.UnitID, g.At) })
	})
	frame.Do(h.s, frame.Route{
		Method: http.MethodPut, Path: "/owner/v1/tips/switches", ID: "switchMyTip", Summary: "Switch a tip, or all, on or off", Tag: "owner", Access: frame.Owner,
		Doc: "For all units of the owner. Off holds at once.",
	}, func(ctx context.Context, in *switchIn) error {
		units, _, err := h.units(ctx)
		if err != nil {
			return err
		}
		return h.d.Tips.SetSwitch(ctx, frame.Who(ctx).ID, in.Body.Tip, in.Body.On, units)
	})
}

// since is from when a person is shown tips, by unit.
type since map[string]time.Time

func (s since) shows(unitID string, at time.Time) bool {
	from, ok := s[unitID]
	return ok && !at.Before(from)
}

// units are those whose tips the person who asks sees: their own, and those that
// they drive, since they joined.
func (h *handlers) units(ctx context.Context) (out []fleet.Unit, from since, err error) {
	all, err := h.s.Units(ctx)
	from = since{}
	for _, u := range all {
		if u.May(people.Tips) {
			out, from[u.ID] = append(out, u.Unit), u.Since
		}
	}
	return out, from, err
}

func (h *handlers) mine(ctx context.Context) (Mine, error) {
	out := Mine{Now: []tip.Shown{}, Earlier: []Earlier{}, Switches: []tip.Switch{}}
	units, since, err := h.units(ctx)
	if err != nil {
		return out, err
	}
	o, err := h.d.Fleet.Owner(ctx, frame.Who(ctx).ID)
	if err != nil {
		return out, err
	}
	if out.Now, err = h.d.Tips.Now(ctx, tip.Portal, units, o.Locale); err != nil {
		return out, err
	}
	if out.Switches, err = h.d.Tips.Switches(ctx, o, units); err != nil {
		return out, err
	}
	off := map[string]bool{}
	for _, s := range out.Switches {
		off[s.Tip] = !s.On
	}
	// What an owner has switched off is not there; a driver's own switches are.
	out.Now = slices.DeleteFunc(out.Now, func(s tip.Shown) bool { return off[""] || off[s.Tip] || !since.shows(s.UnitID, s.At) })
	ids, owner := make([]string, len(units)), map[string]string{}
	for i, u := range units {
		ids[i], owner[u.ID] = u.ID, u.OwnerID
	}
	given, err := h.d.Tips.Owned(ctx, ids, h.d.Clock.Now().AddDate(0, 0, -30))
	if err != nil {
		return out, err
	}
	products := map[string]fleet.Product{}
	for i := range given {
		g := &given[i]
		if g.OwnerID != owner[g.UnitID] || !since.shows(g.UnitID, g.At) || slices.ContainsFunc(out.Now, func(s tip.Shown) bool { return s.ID == g.ID }) || g.ShownAt.IsZero() {
			continue
		}
		t, err := h.d.Tips.Tip(ctx, g.Tip)
		if err != nil {
			return out, err
		}
		if _, ok := products[t.Product]; !ok {
			if products[t.Product], err = h.d.Fleet.Product(ctx, t.Product); err != nil {
				return out, err
			}
		}
		p := products[t.Product]
		e := Earlier{Shown: t.In(g, &p, o.Locale), ShownAt: g.ShownAt, Via: string(g.ShownVia), Ended: g.Why}
		if len(out.Earlier) < 50 {
			out.Earlier = append(out.Earlier, e)
		}
	}
	return out, nil
}
