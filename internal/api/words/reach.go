package words

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ladder"
)

// Plan is what a campaign's ladder would do: a dry run.
type Plan struct {
	Ladder      string     `json:"ladder" doc:"Name of the declared ladder, or built-in."`
	Kind        string     `json:"kind"`
	Units       int        `json:"units"`
	NoOwner     int        `json:"noOwner" doc:"Units without an owner: nobody to tell."`
	Steps       []PlanStep `json:"steps"`
	Unreachable int        `json:"unreachable" doc:"Owners whom no step has an address for."`
	GiveUp      string     `json:"giveUp" doc:"After the last step."`
}

// PlanStep is how many a step can reach, at most.
type PlanStep struct {
	Channel notify.Channel `json:"channel"`
	After   string         `json:"after" doc:"Since the offer, where no step before it bounces."`
	Always  bool           `json:"always,omitempty"`
	Owners  int            `json:"owners" doc:"With an address for it."`
	Without int            `json:"without" doc:"Without: they go on to the next step at once."`
}

type climbList struct {
	wire.PageParams
	Campaign string       `query:"campaign" maxLength:"63"`
	Unit     string       `query:"unit" maxLength:"64"`
	State    ladder.State `query:"state" enum:"climbing,acknowledged,remedied,opted out,unreachable,ended"`
}

func (s *server) ladders() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/campaigns/{name}/ladder", ID: "planLadder", Summary: "Dry run of a campaign's ladder: how many owners each step can reach",
		Doc: "Of the campaign's units once it has begun, else of its cohort. Nothing is sent.", Tag: "words", Access: access.Look, Sight: frame.ByProduct,
	}, s.plan)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/campaigns/{name}/reach", ID: "getReach", Summary: "How far a campaign's owners could be reached",
		Doc: "unreachable is TTLUNREACH of NHTSA's quarterly file.", Tag: "words", Access: access.Look, Sight: frame.ByProduct,
	}, func(ctx context.Context, in *frame.NameParam) (ladder.Reach, error) {
		if _, err := s.d.Runs.Campaign(ctx, in.Name); err != nil {
			return ladder.Reach{}, err
		}
		return s.d.Ladder.Reach(ctx, in.Name)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/climbs", ID: "listClimbs", Summary: "Owners on their way up a ladder, with the steps that were taken", Tag: "words", Access: access.Personal, Personal: audit.DataMessages,
	}, func(ctx context.Context, in *climbList) (wire.Page[ladder.Climb], error) {
		list, err := s.d.Store.Climbs(ctx, ladder.Filter{Campaign: in.Campaign, UnitID: in.Unit, State: in.State, After: in.After, Limit: in.Limit + 1})
		if err != nil {
			return wire.Page[ladder.Climb]{}, err
		}
		page := frame.Page(list, in.Limit, func(c ladder.Climb) string { return c.ID })
		return page, audit.Looked(ctx, owners(page.Items, func(c ladder.Climb) string { return c.OwnerID })...)
	})
}

func (s *server) plan(ctx context.Context, in *frame.NameParam) (Plan, error) {
	run, err := s.d.Runs.Campaign(ctx, in.Name)
	if err != nil {
		return Plan{}, err
	}
	c := &run.Campaign
	l, err := ladder.For(ctx, s.d.Store, string(c.Kind), c.Product, c.Name)
	if err != nil {
		return Plan{}, err
	}
	n, err := s.d.Store.CountReachable(ctx, run.ID, c.Cohort)
	if err != nil {
		return Plan{}, err
	}
	out := Plan{Ladder: l.Name, Kind: string(c.Kind), Units: n.Units, NoOwner: n.NoOwner, GiveUp: fleet.Duration(l.Patience()).String(), Steps: []PlanStep{}, Unreachable: n.None}
	var after time.Duration
	for _, step := range l.Steps {
		after += time.Duration(step.After)
		have := n.By[step.Channel]
		if !s.d.People.Carries(step.Channel) {
			have = 0
		}
		out.Steps = append(out.Steps, PlanStep{Channel: step.Channel, After: fleet.Duration(after).String(), Always: step.Always, Owners: have, Without: n.Units - n.NoOwner - have})
	}
	return out, nil
}
