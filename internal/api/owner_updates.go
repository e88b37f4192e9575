package api

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/stage"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

type myUpdateList struct {
	wire.PageParams
	Unit string `query:"unit"`
}

type chooseIn struct {
	frame.IDParam
	Body wire.UpdateChoice
}

func (s *server) ownerUpdates() {
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/updates", ID: "listMyUpdates", Summary: "Updates of the owner's units, newest first", Tag: "owner", Access: frame.Owner}, s.myUpdates)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/updates/{id}", ID: "getMyUpdate", Summary: "An update", Tag: "owner", Access: frame.Owner},
		func(ctx context.Context, in *frame.IDParam) (wire.MyUpdate, error) {
			t, err := s.d.Runs.Task(ctx, in.ID)
			if err == nil && (t.OwnerID != frame.Who(ctx).ID || !shown(&t)) {
				err = fault.New(fault.NotFound, "no update %q", in.ID)
			}
			if err != nil {
				return wire.MyUpdate{}, err
			}
			return s.newShowcase().show(ctx, &t)
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/owner/v1/updates/{id}", ID: "chooseUpdate", Summary: "Start an update now, set a time, postpone or decline it", Tag: "owner", Access: frame.Owner},
		func(ctx context.Context, in *chooseIn) (wire.MyUpdate, error) {
			t, err := s.d.Campaigns.Choose(ctx, frame.Who(ctx).ID, in.ID, in.Body.Choice, in.Body.At)
			if err != nil {
				return wire.MyUpdate{}, err
			}
			return s.newShowcase().show(ctx, &t)
		})
}

// shown reports whether an owner has been told of a task.
func shown(t *campaign.Task) bool { return !t.OfferedAt.IsZero() }

func (s *server) myUpdates(ctx context.Context, in *myUpdateList) (wire.Page[wire.MyUpdate], error) {
	tasks, err := s.d.Runs.Tasks(ctx, campaign.TaskFilter{OwnerID: frame.Who(ctx).ID, UnitID: in.Unit, Wave: -1})
	if err != nil {
		return wire.Page[wire.MyUpdate]{}, err
	}
	tasks = slices.DeleteFunc(tasks, func(t campaign.Task) bool { return !shown(&t) })
	slices.SortFunc(tasks, func(a, b campaign.Task) int {
		if c := b.OfferedAt.Compare(a.OfferedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	pg := frame.PageAfter(tasks, in.PageParams, func(t campaign.Task) string { return t.ID })
	out := wire.Page[wire.MyUpdate]{Items: make([]wire.MyUpdate, 0, len(pg.Items)), Next: pg.Next}
	show := s.newShowcase()
	for i := range pg.Items {
		v, err := show.show(ctx, &pg.Items[i])
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}

// showcase puts a task into an owner's words; campaigns are looked up once.
type showcase struct {
	s    *server
	runs map[string]campaign.Run
}

func (s *server) newShowcase() *showcase { return &showcase{s: s, runs: map[string]campaign.Run{}} }

func (c *showcase) show(ctx context.Context, t *campaign.Task) (wire.MyUpdate, error) {
	d := &c.s.d
	run, ok := c.runs[t.CampaignID]
	if !ok {
		var err error
		if run, err = d.Runs.CampaignByID(ctx, t.CampaignID); err != nil {
			return wire.MyUpdate{}, err
		}
		c.runs[t.CampaignID] = run
	}
	o, err := d.Fleet.Owner(ctx, t.OwnerID)
	if err != nil {
		return wire.MyUpdate{}, err
	}
	u, err := d.Fleet.Unit(ctx, t.UnitID)
	if err != nil {
		return wire.MyUpdate{}, err
	}
	p, err := d.Fleet.Product(ctx, u.Product)
	if err != nil {
		return wire.MyUpdate{}, err
	}
	r, err := d.Updates.Release(ctx, run.Campaign.Release)
	if err != nil {
		return wire.MyUpdate{}, err
	}
	out := wire.MyUpdate{
		ID: t.ID, UnitID: u.ID, Serial: u.Serial, ProductTitle: p.Title, Kind: run.Campaign.Kind,
		Title: fleet.InLanguage(run.Campaign.Title, o.Locale), Reason: fleet.InLanguage(run.Campaign.Reason, o.Locale), Version: r.Version, SupportEnd: r.SupportEnd,
		WhatChanges: fleet.InLanguage(r.Notes, o.Locale), Unavailable: fleet.InLanguage(r.Unavailable, o.Locale), State: t.State, Why: t.Why,
		At: t.At, Deadline: t.Deadline, OfferedAt: t.OfferedAt, InstalledAt: t.InstalledAt, Choices: choicesFor(t, run.Open()),
	}
	if out.Size, err = d.Deltas.Size(ctx, &r, &u); err != nil && fault.KindOf(err) != fault.NotFound {
		return wire.MyUpdate{}, err
	}
	takes, err := d.Updates.Minutes(ctx, &r)
	if err != nil {
		return wire.MyUpdate{}, err
	}
	out.Minutes, out.Measured, out.MeasuredOf = takes.Minutes, takes.Measured, takes.Of
	if t.State == campaign.Accepted && d.NextPoll != nil {
		out.LatestStart = d.NextPoll(t.UnitID)
	}
	held := run.Refusal(t)
	var assigned *update.Assignment
	if t.AssignmentID != 0 {
		as, err := d.Updates.Assignment(ctx, t.AssignmentID)
		if err != nil {
			return wire.MyUpdate{}, err
		}
		assigned = &as
		out.Progress = wire.Progress{Done: as.Done, Of: as.Of}
		no, err := d.Updates.Waits(ctx, as)
		if err != nil {
			return wire.MyUpdate{}, err
		}
		if no != nil || held != nil && held.Passes() && as.State == update.Offered { // newer than the task's
			held = no
		}
		if n := len(as.Details); n > 0 {
			out.Progress.Words = as.Details[n-1]
		}
		if t.State == campaign.Installing && as.State == update.Running && as.Hold.Possible && run.Open() {
			out.Held, out.Choices = as.Hold.Wanted(), []campaign.Choice{campaign.NotNow}
			if out.Held {
				out.Choices = []campaign.Choice{campaign.StartNow}
			}
		}
	}
	out.Waiting, out.Stage = waiting(held, o.Locale), stage.Of(t, assigned, held, &u)
	if t.State == campaign.FailedTask || t.State == campaign.Retrying {
		f := stage.WhatFailed(t, assigned, &u)
		out.Failure = &f
	}
	out.Reminded, out.Attempt = t.Reminded, t.Attempt
	return out, nil
}

// waiting is what holds an update, with what the owner can do in their language.
func waiting(no *update.Refusal, locale string) *wire.Waiting {
	if no == nil {
		return nil
	}
	return &wire.Waiting{
		Code: no.Code, Why: no.Why, Words: fleet.InLanguage(no.Words, locale), Signal: no.Signal, Title: no.Title,
		Have: no.Have, Op: no.Op, Need: no.Need, Unit: no.Unit, At: no.At, Until: no.Until,
	}
}

// choicesFor are the choices that would be taken, but for times that may have passed.
func choicesFor(t *campaign.Task, open bool) []campaign.Choice {
	if !open {
		return []campaign.Choice{}
	}
	switch t.State {
	case campaign.Offered, campaign.Snoozed, campaign.Scheduled:
		return []campaign.Choice{campaign.StartNow, campaign.Tonight, campaign.SetTime, campaign.NotNow, campaign.Decline}
	case campaign.Accepted, campaign.Retrying:
		return []campaign.Choice{campaign.Tonight, campaign.SetTime, campaign.NotNow, campaign.Decline}
	case campaign.Declined:
		return []campaign.Choice{campaign.StartNow, campaign.Tonight, campaign.SetTime}
	default:
		return []campaign.Choice{}
	}
}
