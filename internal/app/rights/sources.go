package rights

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/privacy"
)

// Sources are what an export is made from.
type Sources struct {
	Base     string // the service's address, as owners reach it
	People   *people.Service
	Findings interface {
		Findings(ctx context.Context, f condition.FindingFilter) ([]condition.Finding, error)
	}
	Tasks interface {
		Tasks(ctx context.Context, f campaign.TaskFilter) ([]campaign.Task, error)
	}
	Messages notify.Store
	Sessions access.Store
	Privacy  *privacy.Service
	Trail    *audit.Trail
}

// record is a list of what is known of an owner beside their units' data.
type record struct {
	name, about string
	list        func(ctx context.Context, ownerID string, of []people.Period) (any, error)
}

func within(p *people.Period, t time.Time) bool {
	return !t.Before(p.From) && (p.To.IsZero() || t.Before(p.To))
}

// findings are a unit's that began in an owner's time with it.
func (s *Sources) findings(ctx context.Context, u fleet.Unit, p *people.Period) ([]condition.Finding, error) {
	all, err := s.Findings.Findings(ctx, condition.FindingFilter{UnitID: u.ID})
	out := []condition.Finding{}
	for _, f := range all {
		if within(p, f.Onset) {
			out = append(out, f)
		}
	}
	return out, err
}

// records are the lists.
func (s *Sources) records() []record {
	return []record{
		{"updates", "Updates that were offered to you, what you chose and how they went.", func(ctx context.Context, owner string, of []people.Period) (any, error) {
			out := []campaign.Task{}
			all, err := s.Tasks.Tasks(ctx, campaign.TaskFilter{OwnerID: owner, Wave: -1})
			for _, t := range all {
				for i := range of {
					if of[i].UnitID == t.UnitID && within(&of[i], t.OfferedAt) {
						out = append(out, t)
						break
					}
				}
			}
			return out, err
		}},
		{"messages", "Messages that were sent to you, and what became of them.", s.messages},
		{"sessions", "Where you are signed in.", func(ctx context.Context, owner string, _ []people.Period) (any, error) {
			return s.Sessions.Sessions(ctx, access.PartyOwner, owner)
		}},
		{"people", "Who else drives your units, and apps that you gave access.", func(ctx context.Context, owner string, of []people.Period) (any, error) {
			drivers := map[string]any{}
			for _, p := range of {
				if p.To.IsZero() {
					list, err := s.People.Drivers(ctx, p.UnitID)
					if err != nil {
						return nil, err
					}
					drivers[p.UnitID] = list
				}
			}
			apps, err := s.People.Tokens(ctx, owner)
			return map[string]any{"drivers": drivers, "apps": apps}, err
		}},
		{"requests", "What you asked for about your data, and what became of it.", func(ctx context.Context, owner string, _ []people.Period) (any, error) {
			all, err := s.Privacy.Store().Requests(ctx, privacy.Filter{OwnerID: owner})
			return append([]privacy.Request{}, all...), err
		}},
		{"looks", "Who looked at your data, or changed it, and when.", func(ctx context.Context, owner string, _ []people.Period) (any, error) {
			out := []audit.Entry{}
			p, err := s.Trail.Person(ctx, owner)
			if err != nil {
				return nil, err
			}
			err = s.Trail.Each(ctx, audit.Filter{About: []string{p.Alias}}, func(_ audit.Record, e audit.Entry) error {
				e.Sealed = nil
				out = append(out, e)
				return nil
			})
			return out, err
		}},
	}
}

func (s *Sources) messages(ctx context.Context, owner string, _ []people.Period) (any, error) {
	type sent struct {
		notify.Message
		Text string `json:"text,omitempty"`
	}
	out := []sent{}
	f := notify.Filter{OwnerID: owner, Limit: 500}
	for {
		some, err := s.Messages.Messages(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, m := range some {
			v := sent{m, m.Body}
			if m.Secret { // it held a link that signs in
				v.Text = ""
			}
			out = append(out, v)
			f.Before = m.ID
		}
		if len(some) < f.Limit {
			return out, nil
		}
	}
}

// Handed ends what a former owner shared, in the transaction in which units
// change hands.
func (r *Rooms) Handed(ctx context.Context, all []people.Handover) error {
	units := make([]string, len(all))
	for i, h := range all {
		units[i] = h.UnitID
	}
	return r.Shares.EndOf(ctx, "", units, "the unit has another owner")
}
