package api

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/rollout"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/outcome"
	"fettle.dev/fettle/internal/update"
)

type campaignList struct {
	wire.PageParams
	Product string `query:"product"`
	State   string `query:"state" enum:"draft,planning,running,paused,canceled,finished"`
	Release string `query:"release" doc:"Name of the release that they install."`
}

type controlIn struct {
	frame.NameParam
	Body *wire.Why `required:"false"`
}

type taskList struct {
	frame.NameParam
	wire.PageParams
	State string `query:"state" enum:"planned,blocked,offered,scheduled,snoozed,accepted,retrying,installing,claimed,verifying,verified,relapsed,not judgeable,declined,failed,expired,canceled,unreachable,superseded"`
	Code  string `query:"code" maxLength:"100" doc:"Code of the refusal that holds it."`
	Wave  int    `query:"wave" default:"-1" minimum:"-1" doc:"Index of a wave; -1: all."`
	Unit  string `query:"unit"`
}

func (s *server) campaigns() {
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/campaigns", ID: "listCampaigns", Summary: "List campaigns", Tag: "campaigns", Access: access.Look, Sight: frame.ByUnit}, s.listCampaigns)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/campaigns/{name}", ID: "getCampaign", Summary: "A campaign with its waves, gates and effect", Tag: "campaigns", Access: access.Look, Sight: frame.ByProduct}, s.getCampaign)
	for _, v := range []struct {
		verb, summary string
		do            func(ctx context.Context, name, by, why string) (campaign.Run, error)
	}{
		{"start", "Start a campaign, or where four eyes are asked for, ask for its start", func(ctx context.Context, name, _, why string) (campaign.Run, error) {
			return s.approvals.Start(ctx, name, why)
		}},
		{"pause", "Pause a campaign", func(ctx context.Context, name, _, why string) (campaign.Run, error) {
			return s.d.Campaigns.Pause(ctx, name, why)
		}},
		{"resume", "Resume a paused campaign", func(ctx context.Context, name, _, why string) (campaign.Run, error) {
			return s.d.Campaigns.Resume(ctx, name, why)
		}},
		{"cancel", "Cancel a campaign: what no unit has begun is withdrawn", func(ctx context.Context, name, _, why string) (campaign.Run, error) {
			return s.d.Campaigns.Cancel(ctx, name, why)
		}},
	} {
		frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/v1/campaigns/{name}/" + v.verb, ID: v.verb + "Campaign", Summary: v.summary, Tag: "campaigns", Access: access.Campaign, Sight: frame.ByProduct},
			func(ctx context.Context, in *controlIn) (wire.Campaign, error) {
				by := frame.Who(ctx).Email
				run, err := v.do(ctx, in.Name, by, why(in.Body, "asked for")+" ("+by+")")
				if err != nil {
					return wire.Campaign{}, err
				}
				out, _, err := s.campaignView(ctx, run)
				return out, err
			})
	}
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/campaigns/{name}/tasks", ID: "listTasks", Personal: audit.DataUpdates, Summary: "List a campaign's tasks", Tag: "campaigns", Access: access.Look, Sight: frame.ByUnit}, s.listTasks)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/campaigns/{name}/report", ID: "getReport", Summary: "A campaign's report", Tag: "campaigns", Access: access.Look, Sight: frame.ByProduct}, s.report)
}

func (s *server) campaignView(ctx context.Context, r campaign.Run) (wire.Campaign, []campaign.Count, error) {
	counts, err := s.d.Runs.CountTasks(ctx, r.ID)
	out := wire.Campaign{
		Name: r.Campaign.Name, Spec: r.Campaign, ID: r.ID, State: r.State, Why: r.Why, SnapshotID: r.SnapshotID, Detector: r.Detector,
		WaveOpen: r.WaveOpen, Planned: r.Planned, Joined: r.Joined, Closing: r.Closing, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, EndedAt: r.EndedAt, Counts: map[string]int{},
	}
	for _, c := range counts {
		out.Counts[string(c.State)] += c.N
	}
	if len(fleet.SightOf(ctx).Regions) > 0 { // of all regions
		out.Planned, out.Joined = 0, 0
	}
	if err == nil {
		out.Approval, err = s.approvals.Of(ctx, r.Campaign.Name)
	}
	if err == nil {
		out.Waiting, err = rollout.Waiting(ctx, s.d.Updates, &r)
	}
	return out, counts, err
}

func (s *server) listCampaigns(ctx context.Context, in *campaignList) (wire.Page[wire.Campaign], error) {
	runs, err := s.d.Runs.Campaigns(ctx, in.Product)
	if err != nil {
		return wire.Page[wire.Campaign]{}, err
	}
	kept := runs[:0]
	for _, r := range runs {
		if (in.State == "" || string(r.State) == in.State) && (in.Release == "" || r.Campaign.Release == in.Release) {
			kept = append(kept, r)
		}
	}
	pg := frame.PageAfter(kept, in.PageParams, func(r campaign.Run) string { return r.Campaign.Name })
	out := wire.Page[wire.Campaign]{Items: make([]wire.Campaign, 0, len(pg.Items)), Next: pg.Next}
	for _, r := range pg.Items {
		c, _, err := s.campaignView(ctx, r)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, c)
	}
	return out, nil
}

func at(times []time.Time, i int) time.Time {
	if i < len(times) {
		return times[i]
	}
	return time.Time{}
}

func (s *server) getCampaign(ctx context.Context, in *frame.NameParam) (wire.CampaignDetail, error) {
	run, err := s.d.Runs.Campaign(ctx, in.Name)
	if err != nil {
		return wire.CampaignDetail{}, err
	}
	view, counts, err := s.campaignView(ctx, run)
	if err != nil {
		return wire.CampaignDetail{}, err
	}
	out := wire.CampaignDetail{Campaign: view, Waves: make([]wire.Wave, len(run.Campaign.Waves))}
	for i, w := range run.Campaign.Waves {
		out.Waves[i] = wire.Wave{
			Index: i, Name: w.Name, Share: w.Share, Count: w.Count, Random: w.Random(), OpenedAt: at(run.WaveOpened, i), PassedAt: at(run.GatePassed, i),
			Gate: outcome.GateWaiting, GateWhy: "the wave is not open", Counts: map[string]int{},
		}
	}
	for _, c := range counts {
		if c.Wave >= 0 && c.Wave < len(out.Waves) {
			out.Waves[c.Wave].Counts[string(c.State)] += c.N
			out.Waves[c.Wave].Units += c.N
		}
	}
	if out.Refusals, err = s.d.Campaigns.Refusals(ctx, &run, counts); err != nil {
		return wire.CampaignDetail{}, err
	}
	if run.State == campaign.Draft || run.State == campaign.Planning {
		return out, nil
	}
	status, err := s.d.Outcomes.Status(ctx, in.Name)
	if fault.KindOf(err) == fault.NotFound {
		return out, nil
	} else if err != nil {
		return wire.CampaignDetail{}, err
	}
	for _, g := range status.Gates {
		if g.Wave >= 0 && g.Wave < len(out.Waves) {
			out.Waves[g.Wave].Gate, out.Waves[g.Wave].GateWhy = g.State, g.Why
		}
	}
	out.Evidence, out.Usual = status.Evidence, status.Usual
	out.Effect, out.EffectFinal = status.Latest, false
	if status.Primary != nil {
		out.Effect, out.EffectFinal = status.Primary, true
	}
	return out, nil
}

func (s *server) listTasks(ctx context.Context, in *taskList) (wire.Page[wire.Task], error) {
	run, err := s.d.Runs.Campaign(ctx, in.Name)
	if err != nil {
		return wire.Page[wire.Task]{}, err
	}
	f := campaign.TaskFilter{CampaignID: run.ID, UnitID: in.Unit, Code: update.Code(in.Code), Wave: in.Wave, After: in.After, Limit: in.Limit + 1}
	if in.State != "" {
		f.States = []campaign.TaskState{campaign.TaskState(in.State)}
	}
	list, err := s.d.Runs.Tasks(ctx, f)
	if err != nil {
		return wire.Page[wire.Task]{}, err
	}
	out, owners := make([]wire.Task, 0, len(list)), make([]string, 0, len(list))
	for _, t := range list {
		owners = append(owners, t.OwnerID)
		if no := run.Refusal(&t); no != nil {
			t.Refusal, t.Why = no, no.Why
		}
		v := wire.Task{Task: t}
		if t.Wave >= 0 && t.Wave < len(run.Campaign.Waves) {
			v.WaveName = run.Campaign.Waves[t.Wave].Name
		}
		out = append(out, v)
	}
	if err := audit.Looked(ctx, owners...); err != nil {
		return wire.Page[wire.Task]{}, err
	}
	return frame.Page(out, in.Limit, func(t wire.Task) string { return t.ID }), nil
}

func (s *server) report(ctx context.Context, in *frame.NameParam) (wire.Report, error) {
	r, err := s.d.Outcomes.Report(ctx, in.Name)
	if err != nil {
		return wire.Report{}, err
	}
	reach, err := s.d.Words.Ladder.Reach(ctx, in.Name)
	if err != nil {
		return wire.Report{}, err
	}
	out := wire.Report{
		Campaign: r.Campaign, Title: r.Title, At: r.At, Involved: r.Involved, Offered: r.Offered, Started: r.Started, Claimed: r.Claimed,
		Installed: r.Installed, Verified: r.Verified, Relapsed: r.Relapsed, NotJudgeable: r.NotJudgeable, NotExposed: r.NotExposed,
		Declined: r.Declined, Failed: r.Failed, Unreachable: r.Unreachable + reach.Unreachable, Reach: reach, Effect: r.Effect, ByWave: []wire.ReportWave{},
		OnsetToFindingP50: float64(r.OnsetToFindingP50), FindingToVerifiedP50: float64(r.FindingToVerifiedP50),
	}
	for _, w := range r.ByWave {
		out.ByWave = append(out.ByWave, wire.ReportWave{
			Name: w.Name, OpenedAt: w.OpenedAt, Units: w.Units, Installed: w.Installed, Verified: w.Verified,
			Relapsed: w.Relapsed, Failed: w.Failed, Gate: w.Gate,
		})
	}
	return out, nil
}
