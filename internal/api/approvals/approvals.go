// Package approvals serves the four-eyes rule: what one operator asks for,
// another decides.
package approvals

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/update"
)

// Deps is what the operations work with.
type Deps struct {
	Campaigns *campaign.Manager
	Runs      campaign.Store
	Updates   *update.Service
	Condition *condition.Service
}

// Server asks for approvals, and decides.
type Server struct {
	*frame.Server
	d Deps
}

type listIn struct {
	State string `query:"state" enum:"pending,approved,rejected" doc:"Absent: all."`
	Limit int    `query:"limit" default:"100" minimum:"1" maximum:"1000"`
}

// Decision is why it was decided so.
type Decision struct {
	Why string `json:"why,omitempty" maxLength:"1000"`
}

type decideIn struct {
	frame.IDParam
	Body *Decision `required:"false"`
}

func (in *decideIn) why() string {
	if in.Body == nil {
		return ""
	}
	return in.Body.Why
}

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) *Server {
	s := &Server{f, d}
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/approvals", ID: "listApprovals", Summary: "What operators asked for and others decide, newest first",
		Tag: "approvals", Access: access.Look, Sight: frame.ByProduct,
	}, func(ctx context.Context, in *listIn) (wire.List[access.Approval], error) {
		all, err := s.Access.Approvals(ctx, "", in.Limit)
		out := wire.List[access.Approval]{Items: []access.Approval{}}
		for _, a := range all {
			if in.State == "" || string(a.State) == in.State {
				out.Items = append(out.Items, a)
			}
		}
		return out, err
	})
	route := func(verb, id, summary, doc string) frame.Route {
		return frame.Route{
			Method: http.MethodPost, Path: "/v1/approvals/{id}/" + verb, ID: id, Summary: summary, Doc: doc,
			Tag: "approvals", Access: access.Approve, Sight: frame.ByProduct,
		}
	}
	frame.Add(f, route("approve", "approve", "Say yes: what was asked for is done", "Nobody approves what they asked for themselves, and no API token does."),
		func(ctx context.Context, in *decideIn) (access.Approval, error) {
			return s.Access.Approve(ctx, who(ctx), in.ID, in.why(), s.digest, func(ctx context.Context, a access.Approval) error {
				_, err := d.Campaigns.Start(ctx, a.Object, a.AskedBy+", approved by "+a.DecidedBy, a.AskedID)
				return err
			})
		})
	reject := route("reject", "reject", "Say no, or take back what you asked for", "")
	reject.Or = []access.Permission{access.Campaign}
	frame.Add(f, reject, func(ctx context.Context, in *decideIn) (access.Approval, error) {
		p := frame.Who(ctx)
		if !p.May[access.Approve] {
			mine, err := s.Access.Approvals(ctx, "", 1000)
			if err != nil {
				return access.Approval{}, err
			}
			for _, a := range mine {
				if a.ID == in.ID && a.AskedID != p.ID {
					return a, p.Need(access.Approve)
				}
			}
		}
		return s.Access.Reject(ctx, who(ctx), in.ID, in.why())
	})
	return s
}

func who(ctx context.Context) access.Who {
	p := frame.Who(ctx)
	return access.Who{ID: p.ID, Email: p.Email, Token: p.Via == "token"}
}

// digest is of all that a start puts before owners: the campaign, its release
// and its detector as they are now.
func (s *Server) digest(ctx context.Context, a access.Approval) (string, error) {
	run, err := s.d.Runs.Campaign(ctx, a.Object)
	if err != nil {
		return "", err
	}
	return s.of(ctx, &run)
}

func (s *Server) of(ctx context.Context, run *campaign.Run) (string, error) {
	release, err := s.d.Updates.Release(ctx, run.Campaign.Release)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", err
	}
	detector, err := s.d.Condition.Detector(ctx, run.Campaign.Detector, 0)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", err
	}
	return access.Digest(map[string]any{"campaign": run.Campaign, "release": release, "detector": detector})
}

// Start starts a campaign, or where four eyes are asked for, asks for it: then
// the campaign stays a draft.
func (s *Server) Start(ctx context.Context, name, why string) (campaign.Run, error) {
	run, err := s.d.Runs.Campaign(ctx, name)
	if err != nil {
		return run, err
	}
	p := frame.Who(ctx)
	if !s.Access.FourEyes(run.Campaign.Product) {
		return s.d.Campaigns.Start(ctx, name, p.Email, p.ID)
	}
	if run.State != campaign.Draft {
		return run, fault.New(fault.Conflict, "campaign %s is %s: only a draft is started", name, run.State)
	}
	digest, err := s.of(ctx, &run)
	if err != nil {
		return run, err
	}
	_, err = s.Access.Ask(ctx, who(ctx), access.StartCampaign, name, run.Campaign.Product, digest, why)
	return run, err
}

// Of is what was last asked for about a campaign; nil if nothing was.
func (s *Server) Of(ctx context.Context, name string) (*access.Approval, error) {
	all, err := s.Access.Approvals(ctx, name, 1)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}
