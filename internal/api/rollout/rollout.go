// Package rollout gives what a campaign would do, and did, unit by unit: as a
// stream of lines, in the memory of a page, however large the campaign is.
package rollout

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/update"
)

// taskPage is how many tasks are read at a time.
const taskPage = 1000

type unitsIn struct {
	frame.NameParam
	Format string `query:"format" enum:"jsonl,csv" default:"jsonl" doc:"A JSON object a line, or CSV with a header."`
}

// planned is a line of a dry run.
type planned struct {
	Unit    string      `json:"unit"`
	Offered bool        `json:"offered"`
	Wave    string      `json:"wave,omitempty"` // "": not in the cohort
	Code    update.Code `json:"code,omitempty"`
	Why     string      `json:"why,omitempty"`
}

func (p *planned) cells() []string {
	return []string{p.Unit, strconv.FormatBool(p.Offered), p.Wave, string(p.Code), p.Why}
}

// reported is a line of a report.
type reported struct {
	Unit      string             `json:"unit"`
	Wave      string             `json:"wave"`
	State     campaign.TaskState `json:"state"`
	Code      update.Code        `json:"code,omitempty"`
	Why       string             `json:"why,omitempty"`
	Attempt   int                `json:"attempt,omitempty"`
	Joined    time.Time          `json:"joinedAt,omitzero"`
	Offered   time.Time          `json:"offeredAt,omitzero"`
	Accepted  time.Time          `json:"acceptedAt,omitzero"`
	Started   time.Time          `json:"startedAt,omitzero"`
	Claimed   time.Time          `json:"claimedAt,omitzero"`
	Installed time.Time          `json:"installedAt,omitzero"`
	Ended     time.Time          `json:"endedAt,omitzero"`
}

func (r *reported) cells() []string {
	out := []string{r.Unit, r.Wave, string(r.State), string(r.Code), r.Why, strconv.Itoa(r.Attempt)}
	for _, at := range []time.Time{r.Joined, r.Offered, r.Accepted, r.Started, r.Claimed, r.Installed, r.Ended} {
		cell := ""
		if !at.IsZero() {
			cell = at.UTC().Format(time.RFC3339)
		}
		out = append(out, cell)
	}
	return out
}

// line is one that can be written as either format.
type line interface{ cells() []string }

// Register adds the operations to a server.
func Register(s *frame.Server, campaigns *campaign.Manager, runs campaign.Store, updates *update.Service) {
	frame.Add(s, frame.Route{
		Method: http.MethodPost, Path: "/v1/campaigns/{name}/dry-run", ID: "dryRunCampaign", Summary: "Say who would be offered the remedy, who not, and why", Tag: "campaigns", Access: access.Campaign, Sight: frame.ByProduct,
	}, func(ctx context.Context, in *dryRunIn) (wire.DryRun, error) {
		return dryRun(ctx, in, campaigns, runs, updates)
	})
	stream(s, frame.Route{
		Method: http.MethodGet, Path: "/v1/campaigns/{name}/dry-run/units", ID: "dryRunUnits", Summary: "Who would be offered the remedy, who not, and why: every unit",
		Doc: "A line a unit, by unit: first the cohort's members, then those that are not. What would be offered and has a code waits for that whatever its owner chooses: signatures. The answer's length is not known before.", Access: access.Campaign, Sight: frame.ByProduct,
	}, []string{"unit", "offered", "wave", "code", "why"}, func(ctx context.Context, name string, write func(line) error) error {
		r, err := runs.Campaign(ctx, name)
		if err != nil {
			return err
		}
		waiting, err := Waiting(ctx, updates, &r)
		if err != nil {
			return err
		}
		_, err = campaigns.DryRun(ctx, name, func(u campaign.PlannedUnit) error {
			p := planned{Unit: u.UnitID, Offered: u.No == nil}
			if u.Wave >= 0 {
				p.Wave = r.Campaign.Waves[u.Wave].Name
			}
			if no := cmp.Or(u.No, waiting); no != nil {
				p.Code, p.Why = no.Code, no.Why
			}
			return write(&p)
		})
		return err
	})
	stream(s, frame.Route{
		Method: http.MethodGet, Path: "/v1/campaigns/{name}/report/units", ID: "reportUnits", Summary: "A campaign's report, unit by unit",
		Doc: "A line a task, in no order that means anything: its wave, its state and when it came to what. The answer's length is not known before.", Access: access.Look, Sight: frame.ByUnit, Personal: audit.DataUpdates,
	}, []string{"unit", "wave", "state", "code", "why", "attempt", "joined", "offered", "accepted", "started", "claimed", "installed", "ended"},
		func(ctx context.Context, name string, write func(line) error) error {
			r, err := runs.Campaign(ctx, name)
			if err != nil {
				return err
			}
			if r.State == campaign.Draft {
				return fault.New(fault.Conflict, "campaign %s has not started: there is nothing to report", name)
			}
			if err := audit.Looked(ctx, audit.EveryoneWith(r.Campaign.Product)); err != nil {
				return err
			}
			return campaign.EachTask(ctx, runs, campaign.TaskFilter{CampaignID: r.ID, Wave: -1, Limit: taskPage}, func(t *campaign.Task) error {
				return write(report(&r, t))
			})
		})
}

func report(r *campaign.Run, t *campaign.Task) *reported {
	out := &reported{
		Unit: t.UnitID, State: t.State, Why: t.Why, Attempt: t.Attempt, Joined: t.JoinedAt, Offered: t.OfferedAt, Accepted: t.AcceptedAt,
		Started: t.StartedAt, Claimed: t.ClaimedAt, Installed: t.InstalledAt, Ended: t.EndedAt,
	}
	if t.Wave >= 0 && t.Wave < len(r.Campaign.Waves) {
		out.Wave = r.Campaign.Waves[t.Wave].Name
	}
	if no := r.Refusal(t); no != nil {
		out.Code, out.Why = no.Code, no.Why
	}
	return out
}

// stream registers an operation whose answer is lines. What is refused before
// the first of them is a problem as always; what fails after it breaks the
// transfer off.
func stream(s *frame.Server, r frame.Route, columns []string, each func(ctx context.Context, name string, write func(line) error) error) {
	r.Tag = "campaigns"
	op := r.Operation()
	op.Errors = append(op.Errors, http.StatusConflict)
	op.Responses = map[string]*huma.Response{"200": {Description: "The lines.", Content: map[string]*huma.MediaType{
		"application/jsonl": {Schema: &huma.Schema{Type: "string"}}, "text/csv": {Schema: &huma.Schema{Type: "string"}},
	}}}
	huma.Register(s.API, op, func(_ context.Context, in *unitsIn) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			ctx, w, begun := hc.Context(), hc.BodyWriter(), false
			table, lines := csv.NewWriter(w), json.NewEncoder(w)
			begin := func() error {
				begun = true
				kind := "application/jsonl"
				if in.Format == "csv" {
					kind = "text/csv; charset=utf-8; header=present"
				}
				hc.SetHeader("Content-Type", kind)
				hc.SetHeader("Content-Disposition", `attachment; filename="`+in.Name+"."+in.Format+`"`)
				hc.SetStatus(http.StatusOK)
				if in.Format == "csv" {
					return table.Write(columns)
				}
				return nil
			}
			err := each(ctx, in.Name, func(x line) error {
				if !begun {
					if err := begin(); err != nil {
						return err
					}
				}
				if in.Format == "csv" {
					return table.Write(x.cells())
				}
				return lines.Encode(x)
			})
			if err == nil && !begun {
				err = begin()
			}
			if begun {
				table.Flush()
				if errors.Join(err, table.Error()) != nil {
					panic(http.ErrAbortHandler) // so that the client sees a broken transfer, not a whole one
				}
				return
			}
			refuse(hc, s.Problem(ctx, err))
		}}, nil
	})
}

// refuse answers with a problem in place of lines.
func refuse(hc huma.Context, err error) {
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[huma.StatusError](err); ok {
		status = e.GetStatus()
	}
	hc.SetHeader("Content-Type", "application/problem+json")
	hc.SetStatus(status)
	_ = json.NewEncoder(hc.BodyWriter()).Encode(err) // who has gone hears nothing
}
