// Package backtests serves the trial of detectors on history: jobs that run in
// the background, how far they are, and what they gave.
package backtests

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Deps is what the operations work with.
type Deps struct {
	Jobs       *backtest.Manager
	Conditions *condition.Service
	Members    func(ctx context.Context, cohort string) (units []string, err error) // of the units that are in it
	View       func(ctx context.Context, findings []condition.Finding) ([]wire.Finding, error)
}

type server struct {
	*frame.Server
	d Deps
}

type createIn struct{ Body wire.BacktestRequest }

type listIn struct {
	Detector string `query:"detector" doc:"Only those of a detector's name."`
	Limit    int    `query:"limit" default:"50" minimum:"1" maximum:"100"`
}

type findingsIn struct {
	frame.IDParam
	wire.PageParams
}

type unitsIn struct {
	frame.IDParam
	Unit  string `query:"unit" doc:"Only this unit."`
	Limit int    `query:"limit" default:"8" minimum:"1" maximum:"50" doc:"Units to give: those that failed first, then those with most alarms as declared."`
}

const maxBody = 32 << 20 // 100,000 failures

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) {
	s := &server{f, d}
	frame.Add(f, frame.Route{
		Method: http.MethodPost, Path: "/v1/backtests", ID: "createBacktest", Summary: "Try a detector on history",
		Doc: "Begins a job in the background: look at its state. Over history still held and permitted, by the code that runs live: " +
			"the findings of the threshold as declared are those that live gave, or would have given. All thresholds are tried in one pass. " +
			"Jobs run one after another; one that a restart of the service interrupts is begun again. They are kept for 30 days, at most 100.",
		Tag: "backtests", Access: access.Analyse, Sight: frame.ByProduct, Status: http.StatusAccepted, Raw: true, MaxBody: maxBody, Slow: true,
	}, s.create)
	frame.Add(f, frame.Route{Method: http.MethodGet, Path: "/v1/backtests", ID: "listBacktests", Summary: "List backtests, newest first, without results", Tag: "backtests", Access: access.Look, Sight: frame.ByProduct}, s.list)
	frame.Add(f, frame.Route{Method: http.MethodGet, Path: "/v1/backtests/{id}", ID: "getBacktest", Summary: "A backtest, with its result when it is done", Tag: "backtests", Access: access.Look, Sight: frame.ByProduct}, s.get)
	frame.Do(f, frame.Route{Method: http.MethodDelete, Path: "/v1/backtests/{id}", ID: "deleteBacktest", Summary: "Cancel a backtest, or delete one that has ended", Tag: "backtests", Access: access.Analyse, Sight: frame.ByProduct},
		func(ctx context.Context, in *frame.IDParam) error {
			return d.Jobs.Cancel(ctx, in.ID, frame.Who(ctx).Email)
		})
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/backtests/{id}/findings", ID: "listBacktestFindings", Summary: "The findings of the detector as declared, oldest first",
		Doc: "Those of units that may be looked at now.", Tag: "backtests", Access: access.Look, Sight: frame.ByProduct,
	}, s.findings)
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/backtests/{id}/units", ID: "listBacktestUnits", Summary: "Units with their alarms under every threshold, for charts",
		Doc: "Of units that may be looked at now.", Tag: "backtests", Access: access.Look, Sight: frame.ByProduct,
	}, s.units)
}

func (s *server) create(ctx context.Context, in *createIn) (wire.Backtest, error) {
	q, err := s.request(ctx, &in.Body)
	if err != nil {
		return wire.Backtest{}, err
	}
	j, err := s.d.Jobs.Create(ctx, *q, frame.Who(ctx).Email)
	if err != nil {
		return wire.Backtest{}, asDetector(err)
	}
	return view(&j), nil
}

// request reads what is asked for.
func (s *server) request(ctx context.Context, b *wire.BacktestRequest) (*backtest.Request, error) {
	q := &backtest.Request{
		From: b.From, To: b.To, Units: b.Units, Cohort: b.Cohort, Sweep: b.Sweep, Component: b.Component,
		Unrecorded: b.Unrecorded, Partial: b.Partial, Match: backtest.Match{Horizon: b.Horizon, Late: b.Late},
		Cost: backtest.Cost{False: b.CostFalse, Missed: b.CostMissed}, MostFindings: b.Limit,
	}
	for _, f := range b.Failures {
		q.Failures = append(q.Failures, backtest.Failure{Unit: f.Unit, At: f.At, Until: f.Until, Component: f.Component})
	}
	switch {
	case len(b.Detector) > 0:
		fields := declare.Decode(b.Detector, "detector", &q.Spec)
		if err := fault.Fields("backtest", fields); err != nil {
			return nil, err
		}
		q.Detector.Name = cmp.Or(b.Name, "backtest")
	case b.Name == "":
		return nil, fault.Fields("backtest", []fault.Field{{Path: "detector", Expected: "a detector, or the name of one that is kept"}})
	default:
		d, err := s.d.Conditions.Detector(ctx, b.Name, b.Version)
		if fault.KindOf(err) == fault.NotFound {
			return nil, fault.Fields("backtest", []fault.Field{{Path: "name", Expected: "the name of a detector, and a version that it has", Got: b.Name}})
		} else if err != nil {
			return nil, err
		}
		q.Detector, q.Spec, q.Basis = d.Ref(), d, d.Basis
	}
	if b.Cohort != "" {
		units, err := s.d.Members(ctx, b.Cohort)
		if fault.KindOf(err) == fault.NotFound {
			return nil, fault.Fields("backtest", []fault.Field{{Path: "cohort", Expected: "the id or name of a cohort", Got: b.Cohort}})
		} else if err != nil {
			return nil, err
		}
		if q.Units != nil {
			units = slices.DeleteFunc(units, func(id string) bool { return !slices.Contains(q.Units, id) })
		}
		q.Units = append([]string{}, units...)
	}
	return q, nil
}

// asDetector moves the mistakes of a detector to where it stands in the request.
func asDetector(err error) error {
	fields := fault.FieldsOf(err)
	if len(fields) == 0 {
		return err
	}
	for i := range fields {
		if rest, ok := strings.CutPrefix(fields[i].Path, "spec."); ok {
			fields[i].Path = "detector." + rest
		}
	}
	return fault.Fields("backtest", fields)
}

func view(j *backtest.Job) wire.Backtest {
	q := &j.Request
	spec := q.Spec
	return wire.Backtest{
		ID: j.ID, Detector: q.Detector, Product: spec.Product, Type: spec.Type, Title: cmp.Or(spec.Title, q.Detector.Name), By: j.By, At: j.At,
		State: j.State, Why: j.Why, Begun: j.Begun, BegunAt: j.BegunAt, EndedAt: j.EndedAt, Done: j.Done, Rows: j.Rows,
		From: q.From, To: q.To, Cohort: q.Cohort, Units: len(q.Units), Withheld: j.Withheld, Sources: j.Sources, Spec: &spec,
	}
}

func (s *server) list(ctx context.Context, in *listIn) (wire.Page[wire.Backtest], error) {
	jobs, err := s.d.Jobs.Jobs(ctx, in.Detector, in.Limit)
	out := wire.Page[wire.Backtest]{Items: []wire.Backtest{}}
	for i := range jobs {
		out.Items = append(out.Items, view(&jobs[i]))
	}
	return out, err
}

func (s *server) get(ctx context.Context, in *frame.IDParam) (wire.Backtest, error) {
	j, err := s.d.Jobs.Job(ctx, in.ID)
	if err != nil {
		return wire.Backtest{}, err
	}
	out := view(&j)
	if j.State == backtest.Done {
		out.Result, _, err = s.d.Jobs.Result(ctx, in.ID)
	}
	return out, err
}

// result is what a job gave, and those of its units that may be looked at now.
func (s *server) result(ctx context.Context, id string) (r *backtest.Result, known []backtest.Failure, may map[int64]fleet.Unit, err error) {
	j, err := s.d.Jobs.Job(ctx, id)
	if err != nil {
		return nil, nil, nil, err
	}
	if r, known, err = s.d.Jobs.Result(ctx, id); err != nil {
		return nil, nil, nil, err
	}
	p, err := s.Fleet.Product(ctx, j.Request.Spec.Product)
	if err != nil {
		return nil, nil, nil, err
	}
	units, err := s.Fleet.Units(ctx, fleet.Filter{Product: p.Name})
	if err != nil {
		return nil, nil, nil, err
	}
	if units, err = s.d.Conditions.Permitted(ctx, &p, j.Request.Spec.Purpose, units); err != nil {
		return nil, nil, nil, err
	}
	may = make(map[int64]fleet.Unit, len(units))
	for _, u := range units {
		may[u.Key] = u
	}
	return r, known, may, nil
}

func (s *server) findings(ctx context.Context, in *findingsIn) (wire.Page[wire.Finding], error) {
	j, err := s.d.Jobs.Job(ctx, in.ID)
	if err != nil {
		return wire.Page[wire.Finding]{}, err
	}
	r, _, may, err := s.result(ctx, in.ID)
	if err != nil {
		return wire.Page[wire.Finding]{}, err
	}
	list := slices.DeleteFunc(r.Findings, func(f condition.Finding) bool {
		_, ok := may[f.UnitKey]
		return !ok && f.UnitKey != 0
	})
	if in.After != "" {
		list = list[1+slices.IndexFunc(list, func(f condition.Finding) bool { return f.ID == in.After }):]
	}
	views, err := s.d.View(ctx, list[:min(len(list), in.Limit+1)])
	for i := range views {
		if t := j.Request.Spec.Title; t != "" {
			views[i].Title = t
		}
	}
	return frame.Page(views, in.Limit, func(f wire.Finding) string { return f.ID }), err
}

// mostAlarms bounds what is given of one unit under one threshold.
const mostAlarms = 500

func (s *server) units(ctx context.Context, in *unitsIn) (wire.Page[wire.BacktestUnit], error) {
	out := wire.Page[wire.BacktestUnit]{Items: []wire.BacktestUnit{}}
	r, known, may, err := s.result(ctx, in.ID)
	if err != nil {
		return out, err
	}
	failures := map[string][]wire.BacktestFailure{}
	for _, f := range known {
		if !f.Sound {
			failures[f.Unit] = append(failures[f.Unit], wire.BacktestFailure{Unit: f.Unit, At: f.At, Until: f.Until, Component: f.Component})
		}
	}
	most := make([]int, len(r.Keys)) // alarms as declared, then under any threshold
	for i, t := range r.Thresholds {
		for _, ep := range t.Episodes {
			if ep.Unit >= 0 && i == r.Declared {
				most[ep.Unit] += 1000
			} else if ep.Unit >= 0 {
				most[ep.Unit]++
			}
		}
	}
	var places []int
	for i, key := range r.Keys {
		u, ok := may[key]
		if ok && (in.Unit == "" || u.ID == in.Unit) && (in.Unit != "" || most[i] > 0 || len(failures[u.ID]) > 0) {
			places = append(places, i)
		}
	}
	slices.SortStableFunc(places, func(a, b int) int {
		fa, fb := len(failures[may[r.Keys[a]].ID]) > 0, len(failures[may[r.Keys[b]].ID]) > 0
		if fa != fb {
			return map[bool]int{true: -1, false: 1}[fa]
		}
		return cmp.Or(cmp.Compare(most[b], most[a]), cmp.Compare(may[r.Keys[a]].ID, may[r.Keys[b]].ID))
	})
	index := map[int32]int{}
	for _, at := range places[:min(len(places), in.Limit)] {
		id := may[r.Keys[at]].ID
		index[int32(at)] = len(out.Items)
		u := wire.BacktestUnit{UnitID: id, Failures: failures[id], Alarms: make([][]wire.BacktestAlarm, len(r.Thresholds))}
		if u.Failures == nil {
			u.Failures = []wire.BacktestFailure{}
		}
		for i := range u.Alarms {
			u.Alarms[i] = []wire.BacktestAlarm{}
		}
		out.Items = append(out.Items, u)
	}
	for i, t := range r.Thresholds {
		for _, ep := range t.Episodes {
			at, ok := index[ep.Unit]
			if !ok {
				continue
			}
			u := &out.Items[at]
			if len(u.Alarms[i]) == mostAlarms {
				u.Cut = true
				continue
			}
			a := wire.BacktestAlarm{From: time.UnixMilli(ep.Opened).UTC(), Was: [...]string{"unjudged", "true", "false"}[ep.Verdict]}
			if ep.Until != 0 {
				a.Until = time.UnixMilli(ep.Until).UTC()
			}
			u.Alarms[i] = append(u.Alarms[i], a)
		}
	}
	return out, nil
}
