package api

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

type findingList struct {
	wire.PageParams
	Product  string    `query:"product"`
	Unit     string    `query:"unit"`
	Detector string    `query:"detector"`
	State    string    `query:"state" enum:"open,cleared"`
	Severity string    `query:"severity" enum:"warning,minor,major,critical"`
	Shelved  bool      `query:"shelved" doc:"Include shelved findings."`
	From     time.Time `query:"from" doc:"Only those that overlap from and to."`
	To       time.Time `query:"to"`
}

type shelveIn struct {
	frame.IDParam
	Body struct {
		Until time.Time `json:"until,omitzero" doc:"Absent: back in sight."`
	}
}

type assessIn struct {
	frame.IDParam
	Body struct {
		Assessment condition.Assessment `json:"assessment"`
	}
}

type commentIn struct {
	frame.IDParam
	Body struct {
		Text string `json:"text" minLength:"1" maxLength:"10000"`
	}
}

func (s *server) findings() {
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/findings", ID: "listFindings", Summary: "List findings, newest first", Tag: "findings", Access: access.Look, Sight: frame.ByUnit}, s.listFindings)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/findings/{id}", ID: "getFinding", Personal: audit.DataCondition, Summary: "A finding", Tag: "findings", Access: access.Look, Sight: frame.ByUnit}, s.getFinding)
	change := func(verb, id, summary string, fn func(ctx context.Context, id string) (condition.Finding, error)) {
		frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/v1/findings/{id}/" + verb, ID: id, Summary: summary, Tag: "findings", Access: access.Findings, Sight: frame.ByUnit},
			func(ctx context.Context, in *frame.IDParam) (wire.Finding, error) {
				f, err := fn(ctx, in.ID)
				if err != nil {
					return wire.Finding{}, err
				}
				return s.newTitles().view(ctx, f)
			})
	}
	change("ack", "ackFinding", "Acknowledge a finding", func(ctx context.Context, id string) (condition.Finding, error) {
		return s.d.Condition.Ack(ctx, id, frame.Who(ctx).Email)
	})
	change("unack", "unackFinding", "Take an acknowledgement back", func(ctx context.Context, id string) (condition.Finding, error) {
		return s.d.Condition.Unack(ctx, id)
	})
	frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/v1/findings/{id}/shelve", ID: "shelveFinding", Summary: "Put a finding out of sight until a time", Tag: "findings", Access: access.Findings, Sight: frame.ByUnit},
		func(ctx context.Context, in *shelveIn) (wire.Finding, error) {
			f, err := s.d.Condition.Shelve(ctx, in.ID, in.Body.Until)
			if err != nil {
				return wire.Finding{}, err
			}
			return s.newTitles().view(ctx, f)
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/v1/findings/{id}/assess", ID: "assessFinding", Summary: "Say what a person found", Tag: "findings", Access: access.Findings, Sight: frame.ByUnit},
		func(ctx context.Context, in *assessIn) (wire.Finding, error) {
			f, err := s.d.Condition.Assess(ctx, in.ID, in.Body.Assessment, frame.Who(ctx).Email)
			if err != nil {
				return wire.Finding{}, err
			}
			return s.newTitles().view(ctx, f)
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/v1/findings/{id}/comments", ID: "commentFinding", Summary: "Remark on a finding", Tag: "findings", Access: access.Findings, Sight: frame.ByUnit, Status: http.StatusCreated},
		func(ctx context.Context, in *commentIn) (condition.Comment, error) {
			return s.d.Condition.Comment(ctx, in.ID, frame.Who(ctx).Email, in.Body.Text)
		})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/findings/{id}/who-else", ID: "whoElse", Summary: "Who else?",
		Doc: "A cohort definition to start from, and what the affected units share; edit it and post it to /v1/cohorts.", Tag: "cohorts", Access: access.Look, Sight: frame.ByProduct,
	}, func(ctx context.Context, in *frame.IDParam) (cohort.Suggestion, error) {
		sg, err := s.d.Cohorts.SuggestFrom(ctx, in.ID)
		if sg.Shared == nil {
			sg.Shared = []cohort.Shared{}
		}
		return sg, err
	})
}

// titles looks up detectors' titles and signals, each once.
type titles struct {
	s        *server
	rules    map[condition.Ref]condition.Detector
	products map[string]fleet.Product
}

func (s *server) newTitles() *titles {
	return &titles{s: s, rules: map[condition.Ref]condition.Detector{}, products: map[string]fleet.Product{}}
}

// rule is a detector version with its tolerance; a detector that is gone gives
// an empty one, for a finding outlives it.
func (t *titles) rule(ctx context.Context, ref condition.Ref, product string) (d condition.Detector, tol fleet.Tolerance, p fleet.Product, err error) {
	d, ok := t.rules[ref]
	if !ok {
		if d, err = t.s.d.Condition.Detector(ctx, ref.Name, ref.Version); err != nil && fault.KindOf(err) != fault.NotFound {
			return d, tol, p, err
		}
		t.rules[ref] = d
	}
	p, ok = t.products[product]
	if !ok {
		if p, err = t.s.d.Fleet.Product(ctx, product); err != nil && fault.KindOf(err) != fault.NotFound {
			return d, tol, p, err
		}
		t.products[product] = p
	}
	if d.Basis != nil {
		tol = d.Basis.Tolerance
	} else {
		tol, _ = p.Tolerance(d.Tolerance)
	}
	switch {
	case d.Trend != nil && tol.Name == "":
		tol = fleet.Tolerance{Signal: d.Trend.Signal, Bands: []fleet.Band{{Min: d.Trend.Min, Max: d.Trend.Max}}}
		if named, ok := p.Tolerance(d.Trend.Tolerance); ok {
			tol = named
		}
	case d.Peers != nil:
		tol = fleet.Tolerance{Signal: d.Peers.Signal}
	}
	return d, tol, p, nil
}

func (t *titles) view(ctx context.Context, f condition.Finding) (wire.Finding, error) {
	d, tol, p, err := t.rule(ctx, f.Detector, f.Product)
	if err != nil {
		return wire.Finding{}, err
	}
	if !f.ShelvedUntil.After(t.s.d.Clock.Now()) {
		f.ShelvedUntil = time.Time{} // its time is over: it is back in sight
	}
	out := wire.Finding{Finding: f, Title: d.Title, Signal: tol.Signal}
	if out.Title == "" {
		out.Title = f.Detector.Name
	}
	if d.Type == condition.TypeSilence {
		if f.UnitID != "" {
			out.Unit = "s" // of a place: units
		}
	} else if d.Type == condition.TypePrognosis {
		out.Unit = "d" // remaining life
	} else if d.Share > 0 {
		out.Unit = "%"
	} else if sig, ok := p.Signal(tol.Signal); ok && d.Count == 0 {
		out.Unit = sig.Unit
	}
	return out, nil
}

func (t *titles) views(ctx context.Context, list []condition.Finding) ([]wire.Finding, error) {
	out := make([]wire.Finding, 0, len(list))
	for _, f := range list {
		v, err := t.view(ctx, f)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (s *server) listFindings(ctx context.Context, in *findingList) (wire.Page[wire.Finding], error) {
	f := condition.FindingFilter{
		Product: in.Product, UnitID: in.Unit, Detector: in.Detector, State: condition.FindingState(in.State),
		Severity: condition.Severity(in.Severity), From: in.From, To: in.To, Before: in.After, Limit: in.Limit + 1,
	}
	if !in.Shelved {
		f.HideShelvedAt = s.d.Clock.Now()
	}
	list, err := s.d.Condition.Findings(ctx, f)
	if err != nil {
		return wire.Page[wire.Finding]{}, err
	}
	views, err := s.newTitles().views(ctx, list)
	return frame.Page(views, in.Limit, func(f wire.Finding) string { return f.ID }), err
}

func (s *server) getFinding(ctx context.Context, in *frame.IDParam) (wire.FindingDetail, error) {
	f, comments, err := s.d.Condition.Finding(ctx, in.ID)
	if err != nil {
		return wire.FindingDetail{}, err
	}
	if err := s.lookedAtUnit(ctx, f.UnitID); err != nil {
		return wire.FindingDetail{}, err
	}
	t := s.newTitles()
	view, err := t.view(ctx, f)
	if err != nil {
		return wire.FindingDetail{}, err
	}
	rule, tol, _, err := t.rule(ctx, f.Detector, f.Product)
	out := wire.FindingDetail{Finding: view, Comments: comments, Rule: rule, Bands: tol.Bands}
	if out.Comments == nil {
		out.Comments = []condition.Comment{}
	}
	if out.Bands == nil {
		out.Bands = []fleet.Band{}
	}
	return out, err
}
