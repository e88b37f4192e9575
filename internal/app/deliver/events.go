package deliver

import (
	"context"
	"fmt"
	"sync"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/event"
)

// Findings tells endpoints of findings that opened and cleared, in the
// transaction that keeps them.
func (d *Delivery) Findings(ctx context.Context, opened, cleared []condition.Finding) error {
	var out []event.Event
	for _, f := range opened {
		out = append(out, finding(event.FindingOpened, f))
		if d.silence(ctx, f) {
			out = append(out, event.Event{
				ID: f.ID + ":silent", Type: event.UnitSilent, Subject: "units/" + f.UnitID, Time: f.OpenedAt, Product: f.Product,
				Data: map[string]any{"unitId": f.UnitID, "lastContact": f.Onset, "findingId": f.ID, "why": f.Why},
			})
		}
	}
	for _, f := range cleared {
		out = append(out, finding(event.FindingCleared, f))
	}
	return d.Events.Publish(ctx, out...)
}

// silence reports whether a finding says that a unit is not heard of.
func (d *Delivery) silence(ctx context.Context, f condition.Finding) bool {
	if f.UnitID == "" || !d.Events.Wanted(ctx, event.UnitSilent) {
		return false
	}
	found, err := d.detectors.Detector(ctx, f.Detector.Name, f.Detector.Version)
	return err == nil && found.Type == condition.TypeSilence
}

func finding(t event.Type, f condition.Finding) event.Event {
	e := event.Event{ID: f.ID + ":opened", Type: t, Subject: "findings/" + f.ID, Time: f.OpenedAt, Product: f.Product, Data: f}
	if t == event.FindingCleared {
		e.ID, e.Time = fmt.Sprintf("%s:cleared:%d", f.ID, f.Cleared.UnixMilli()), f.Cleared
	}
	return e
}

// Campaigns is a store of campaigns that tells endpoints of campaigns and tasks
// whose state changes, in the transaction that keeps it.
func (d *Delivery) Campaigns(s campaign.Store) campaign.Store {
	return &campaigns{Store: s, events: d.Events}
}

type campaigns struct {
	campaign.Store
	events   *event.Service
	products sync.Map // of campaigns, by id: they do not change
}

func (s *campaigns) product(ctx context.Context, id string) (string, error) {
	if p, ok := s.products.Load(id); ok {
		return p.(string), nil // nothing else is kept there
	}
	r, err := s.CampaignByID(ctx, id)
	if err != nil {
		return "", err
	}
	s.products.Store(id, r.Campaign.Product)
	return r.Campaign.Product, nil
}

func (s *campaigns) UpdateCampaign(ctx context.Context, name string, change func(*campaign.Run) error) (r campaign.Run, err error) {
	var before campaign.Run
	return s.Store.UpdateCampaign(ctx, name, func(r *campaign.Run) error {
		before = *r
		if err := change(r); err != nil || before.State == r.State {
			return err
		}
		return s.events.Publish(ctx, event.Event{
			ID: fmt.Sprintf("%s:%s:%d", r.ID, r.State, s.events.Now().UnixMilli()), Type: event.CampaignState, Subject: "campaigns/" + r.Campaign.Name,
			Time: s.events.Now(), Product: r.Campaign.Product,
			Data: map[string]any{"campaign": r.Campaign.Name, "kind": r.Campaign.Kind, "state": r.State, "before": before.State, "why": r.Why},
		})
	})
}

func (s *campaigns) UpdateTask(ctx context.Context, id string, change func(*campaign.Task) error) (campaign.Task, error) {
	if !s.events.Wanted(ctx, event.TaskState) {
		return s.Store.UpdateTask(ctx, id, change)
	}
	return s.Store.UpdateTask(ctx, id, func(t *campaign.Task) error {
		before := t.State
		if err := change(t); err != nil || before == t.State {
			return err
		}
		e, err := s.task(ctx, t, before)
		if err != nil {
			return err
		}
		return s.events.Publish(ctx, e)
	})
}

func (s *campaigns) SaveTasks(ctx context.Context, all []campaign.Task) error {
	if !s.events.Wanted(ctx, event.TaskState) {
		return s.Store.SaveTasks(ctx, all)
	}
	var out []event.Event
	for i := range all {
		old, err := s.Task(ctx, all[i].ID)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		if err == nil && old.State != all[i].State {
			e, err := s.task(ctx, &all[i], old.State)
			if err != nil {
				return err
			}
			out = append(out, e)
		}
	}
	if err := s.Store.SaveTasks(ctx, all); err != nil {
		return err
	}
	return s.events.Publish(ctx, out...)
}

func (s *campaigns) task(ctx context.Context, t *campaign.Task, before campaign.TaskState) (event.Event, error) {
	now := s.events.Now()
	product, err := s.product(ctx, t.CampaignID)
	return event.Event{
		ID: fmt.Sprintf("%s:%s:%d", t.ID, t.State, now.UnixNano()), Type: event.TaskState, Subject: "units/" + t.UnitID, Time: now, Product: product,
		Data: map[string]any{
			"task": t.ID, "campaign": t.Campaign, "unitId": t.UnitID, "state": t.State, "before": before, "why": t.Why, "attempt": t.Attempt,
		},
	}, err
}

// Choices is a store of owners' choices that tells endpoints of them. Who chose
// is not told.
func (d *Delivery) Choices(s consent.Store) consent.Store { return choices{s, d.Events} }

type choices struct {
	consent.Store
	events *event.Service
}

func (s choices) AddChoices(ctx context.Context, all []consent.Choice) error {
	if err := s.Store.AddChoices(ctx, all); err != nil {
		return err
	}
	out := make([]event.Event, len(all))
	for i, c := range all {
		out[i] = event.Event{
			ID: "consent:" + c.ID, Type: event.ConsentChanged, Subject: "units/" + c.UnitID, Time: c.At,
			Data: map[string]any{"receipt": c.ID, "unitId": c.UnitID, "purpose": c.Purpose, "given": c.Given, "notice": c.Notice},
		}
	}
	return s.events.Publish(ctx, out...)
}

// acknowledged tells endpoints of a message that was read.
func (d *Delivery) acknowledged(ctx context.Context, m notify.Message) error {
	return d.Events.Publish(ctx, event.Event{
		ID: m.ID + ":acknowledged", Type: event.MessageAcknowledged, Subject: "messages/" + m.ID, Time: m.AckedAt,
		Data: map[string]any{"messageId": m.ID, "kind": m.Kind, "channel": m.Channel, "about": m.About, "unitId": m.UnitID, "via": m.AckedVia},
	})
}
