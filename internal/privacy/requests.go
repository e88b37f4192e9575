package privacy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Ask is what a person asks for.
type Ask struct {
	OwnerID string
	Kind    Kind
	UnitID  string // "": all of theirs
	Purpose string // of an objection
	Text    string
}

const mostText = 4000

// Request takes what a person asks for. A restriction acts at once, since GDPR
// 18 means it to hold while it is looked at; so does an objection. An erasure
// is begun with Erase.
func (s *Service) Request(ctx context.Context, a Ask) (r Request, err error) {
	err = s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		units, err := s.units(ctx, a)
		if err != nil {
			return err
		}
		now := s.cfg.Clock.Now()
		r = Request{
			ID: s.cfg.IDs.ID(), OwnerID: a.OwnerID, Kind: a.Kind, UnitID: a.UnitID, Purpose: a.Purpose, Text: strings.TrimSpace(a.Text),
			State: Open, At: now, DueAt: Due(now),
		}
		if a.Kind == Restriction || a.Kind == Objection {
			for _, u := range units {
				if err := s.cfg.Store.PutLimit(ctx, Limit{OwnerID: a.OwnerID, UnitID: u.ID, Purpose: a.Purpose, Since: now}); err != nil {
					return err
				}
			}
		}
		return s.put(ctx, r)
	})
	if err != nil {
		return Request{}, fmt.Errorf("request: %w", err)
	}
	if r.Kind == Restriction || r.Kind == Objection {
		err = s.limited(ctx, a)
	}
	return r, err
}

// put keeps a request, and has its person told.
func (s *Service) put(ctx context.Context, r Request) error {
	if err := s.cfg.Store.PutRequest(ctx, r); err != nil || s.cfg.Told == nil {
		return err
	}
	return s.cfg.Told(ctx, r)
}

func (s *Service) limited(ctx context.Context, a Ask) error {
	units, err := s.units(ctx, a)
	if err != nil || s.cfg.Limited == nil {
		return err
	}
	var ids []string
	for _, u := range units {
		ids = append(ids, u.ID)
	}
	return s.cfg.Limited(ctx, ids)
}

// units are those that a request concerns, all the person's own.
func (s *Service) units(ctx context.Context, a Ask) ([]fleet.Unit, error) {
	var mistakes []fault.Field
	add := func(path, expected, got string) {
		mistakes = append(mistakes, fault.Field{Path: path, Expected: expected, Got: got})
	}
	if !slices.Contains(Kinds, a.Kind) || a.Kind == Erasure {
		add("kind", "access, rectification, restriction or objection", string(a.Kind))
	}
	if a.Kind == Objection && a.Purpose == "" {
		add("purpose", "the purpose that you object to", "")
	}
	if a.Kind != Objection && a.Purpose != "" {
		add("purpose", "nothing: a purpose goes with an objection alone", a.Purpose)
	}
	if len(a.Text) > mostText {
		add("text", fmt.Sprintf("at most %d bytes", mostText), fmt.Sprint(len(a.Text)))
	}
	all, err := s.cfg.Fleet.Units(ctx, fleet.Filter{OwnerID: a.OwnerID})
	if err != nil {
		return nil, err
	}
	if a.UnitID != "" {
		all = slices.DeleteFunc(all, func(u fleet.Unit) bool { return u.ID != a.UnitID })
		if len(all) == 0 {
			return nil, fault.New(fault.NotFound, "no unit %q", a.UnitID)
		}
	}
	if a.Kind == Objection && a.Purpose != "" {
		kept := all[:0]
		for _, u := range all {
			p, err := s.cfg.Fleet.Product(ctx, u.Product)
			if err != nil {
				return nil, err
			}
			if _, ok := p.Purpose(a.Purpose); ok {
				kept = append(kept, u)
			}
		}
		if all = kept; len(all) == 0 {
			add("purpose", "a purpose of one of your products", a.Purpose)
		}
	}
	return all, fault.Fields("request", mistakes)
}

// Lift ends a restriction or an objection of the person's own, on a unit or on
// all of theirs.
func (s *Service) Lift(ctx context.Context, ownerID, unitID, purpose string) error {
	var units []string
	err := s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		all, err := s.cfg.Store.LimitsOf(ctx, ownerID)
		if err != nil {
			return err
		}
		for _, l := range all {
			if l.Purpose != purpose || (unitID != "" && l.UnitID != unitID) {
				continue
			}
			units = append(units, l.UnitID)
			if err := s.cfg.Store.DropLimit(ctx, l.UnitID, l.Purpose); err != nil {
				return err
			}
		}
		if len(units) == 0 {
			return fault.New(fault.NotFound, "nothing is restricted there")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("lift a restriction: %w", err)
	}
	if s.cfg.Limited == nil {
		return nil
	}
	return s.cfg.Limited(ctx, units)
}

// Answering is what a privacy officer says to a request.
type Answering struct {
	State  State // done, refused, or open with Extend
	Text   string
	Extend bool // two months more, for the reason in Text
	By     string
}

// Answer answers a request. Refusing a restriction or an objection lifts it,
// after the person has been told (GDPR 18(3)).
func (s *Service) Answer(ctx context.Context, id string, a Answering) (r Request, err error) {
	err = s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		if r, err = s.cfg.Store.Request(ctx, id); err != nil {
			return err
		}
		if r.State == Done || r.State == Refused {
			return fault.New(fault.Conflict, "the request was answered at %s", r.AnsweredAt.Format(time.RFC3339))
		}
		text := strings.TrimSpace(a.Text)
		switch {
		case text == "" || len(text) > mostText:
			return fault.Fields("answer", []fault.Field{{Path: "text", Expected: "what the person is told, in at most 4000 bytes", Got: ""}})
		case a.Extend && r.Extended != "":
			return fault.New(fault.Conflict, "the request was extended already: three months are the most (GDPR 12(3))")
		case a.Extend && s.cfg.Clock.Now().After(r.DueAt):
			return fault.New(fault.Conflict, "the month is over: the person had to be told of the extension by %s (GDPR 12(3))", r.DueAt.Format(time.DateOnly))
		case a.Extend:
			r.Extended, r.DueAt = text, Extended(r.At)
			return s.put(ctx, r)
		case a.State != Done && a.State != Refused:
			return fault.Fields("answer", []fault.Field{{Path: "state", Expected: "done or refused", Got: string(a.State)}})
		}
		r.State, r.Answer, r.AnsweredBy, r.AnsweredAt = a.State, text, a.By, s.cfg.Clock.Now()
		return s.put(ctx, r)
	})
	if err != nil {
		return Request{}, fmt.Errorf("answer a request: %w", err)
	}
	if r.State == Refused && (r.Kind == Restriction || r.Kind == Objection) {
		if err := s.Lift(ctx, r.OwnerID, r.UnitID, r.Purpose); err != nil && fault.KindOf(err) != fault.NotFound {
			return r, err
		}
	}
	return r, nil
}

// Store is what keeps it all.
func (s *Service) Store() Store { return s.cfg.Store }

// Restricted are the units of a product, by key, whose data may not be used for
// a purpose because their owners had it restricted or objected.
func (s *Service) Restricted(ctx context.Context, product, purpose string) (map[int64]bool, error) {
	all, err := s.cfg.Store.Limits(ctx, product)
	if err != nil {
		return nil, fmt.Errorf("restricted units of %s: %w", product, err)
	}
	out := map[int64]bool{}
	for _, l := range all {
		if l.Purpose == "" || l.Purpose == purpose {
			out[l.UnitKey] = true
		}
	}
	return out, nil
}

// Handed ends what an owner had restricted of units that go to another; it
// takes part in the transaction of ctx.
func (s *Service) Handed(ctx context.Context, unitIDs []string) error {
	all, err := s.cfg.Store.Limits(ctx, "")
	if err != nil {
		return err
	}
	for _, l := range all {
		if slices.Contains(unitIDs, l.UnitID) {
			if err := s.cfg.Store.DropLimit(ctx, l.UnitID, l.Purpose); err != nil {
				return err
			}
		}
	}
	return nil
}
