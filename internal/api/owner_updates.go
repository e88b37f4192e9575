package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/campaign/stage"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/people"
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
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/updates", ID: "listMyUpdates", Summary: "Updates of the units that one owns or uses, newest first", Tag: "owner", Access: frame.Owner, EachUnit: true}, s.myUpdates)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/updates/{id}", ID: "getMyUpdate", Summary: "An update", Tag: "owner", Access: frame.Owner, EachUnit: true},
		func(ctx context.Context, in *frame.IDParam) (wire.MyUpdate, error) {
			t, err := s.myTask(ctx, in.ID, people.See)
			if err != nil {
				return wire.MyUpdate{}, err
			}
			return s.newShowcase().show(ctx, &t)
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/owner/v1/updates/{id}", ID: "chooseUpdate", Summary: "Start an update now, set a time, postpone or decline it", Tag: "owner", Access: frame.Owner, EachUnit: true},
		func(ctx context.Context, in *chooseIn) (wire.MyUpdate, error) {
			t, err := s.myTask(ctx, in.ID, people.Update)
			if err != nil {
				return wire.MyUpdate{}, err
			}
			t, err = s.d.Campaigns.Choose(ctx, t.OwnerID, in.ID, in.Body.Choice, in.Body.At)
			if err != nil {
				return wire.MyUpdate{}, err
			}
			return s.newShowcase().show(ctx, &t)
		})
}

// shown reports whether an owner has been told of a task.
func shown(t *campaign.Task) bool { return !t.OfferedAt.IsZero() }

// myTask is a task that whoever asks may do something with: of a unit that they
// own or use, offered to its owner since they do.
func (s *server) myTask(ctx context.Context, id string, a people.Action) (campaign.Task, error) {
	missing := fault.New(fault.NotFound, "no update %q", id)
	t, err := s.d.Runs.Task(ctx, id)
	if err != nil {
		return t, err
	}
	u, err := s.May(ctx, t.UnitID, a)
	if fault.KindOf(err) == fault.NotFound || err == nil && !ours(&u, &t) {
		err = missing
	}
	return t, err
}

// ours reports whether a task is of the unit's present owner, and a driver used the unit then.
func ours(u *people.Unit, t *campaign.Task) bool {
	return t.OwnerID == u.OwnerID && shown(t) && (u.Role == people.Owner || slices.Contains(open, t.State) || !t.Updated.Before(u.Since))
}

func (s *server) myUpdates(ctx context.Context, in *myUpdateList) (wire.Page[wire.MyUpdate], error) {
	units, err := s.Units(ctx)
	if err != nil {
		return wire.Page[wire.MyUpdate]{}, err
	}
	var tasks []campaign.Task
	by := map[string]*people.Unit{}
	for i := range units {
		by[units[i].ID] = &units[i]
		if units[i].Role == people.Owner || in.Unit != "" && in.Unit != units[i].ID {
			continue
		}
		more, err := s.d.Runs.Tasks(ctx, campaign.TaskFilter{OwnerID: units[i].OwnerID, UnitID: units[i].ID, Wave: -1})
		if err != nil {
			return wire.Page[wire.MyUpdate]{}, err
		}
		tasks = append(tasks, more...)
	}
	owned, err := s.d.Runs.Tasks(ctx, campaign.TaskFilter{OwnerID: frame.Who(ctx).ID, UnitID: in.Unit, Wave: -1})
	if err != nil {
		return wire.Page[wire.MyUpdate]{}, err
	}
	tasks = slices.DeleteFunc(append(tasks, owned...), func(t campaign.Task) bool {
		u := by[t.UnitID]
		return u == nil || !ours(u, &t)
	})
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
	o.Locale = frame.Language(ctx, o.Locale)
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
	if !t.InstalledAt.IsZero() {
		out.Proof, err = c.proof(ctx, t, &run, o.Locale)
	}
	return out, err
}

// proof is how much use without the fault has been seen since a remedy; nil
// where the campaign has no detector that would show it.
func (c *showcase) proof(ctx context.Context, t *campaign.Task, run *campaign.Run, locale string) (*wire.Proof, error) {
	need := time.Duration(run.Campaign.Exposure)
	if run.Detector.Name == "" || need <= 0 {
		return nil, nil
	}
	d, err := c.s.d.Condition.Detector(ctx, run.Detector.Name, run.Detector.Version)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return nil, err
	}
	out := &wire.Proof{Needed: need.Hours(), Since: t.InstalledAt, Title: d.Words(locale).Title}
	if t.State == campaign.Verified { // what is counted after does not matter any more
		out.Seen = out.Needed
		return out, nil
	}
	xs, err := c.s.d.Condition.Exposures(ctx, run.Detector, []int64{t.UnitKey})
	if err != nil {
		return nil, err
	}
	began := cmp.Or(t.StartedAt, t.InstalledAt).Truncate(time.Millisecond)
	for _, x := range xs {
		if out.LastAt = x.LastAt; !x.Since.Before(began) { // as outcome counts it
			out.Seen = min(x.For, need).Hours()
		}
	}
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
