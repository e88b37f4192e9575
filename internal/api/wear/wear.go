// Package wear serves maintenance records, how long parts last, and what is
// foreseen of units.
package wear

import (
	"context"
	"net/http"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// Deps is what the operations work with.
type Deps struct {
	Clock       clock.Clock
	Maintenance *maintenance.Service
	Prognosis   *prognosis.Manager
	Conditions  *condition.Service
}

type server struct {
	*frame.Server
	d Deps
}

type recordList struct {
	wire.PageParams
	Product string           `query:"product"`
	Unit    string           `query:"unit"`
	Part    string           `query:"part"`
	Kind    maintenance.Kind `query:"kind"`
}

type addIn struct{ Body wire.NewMaintenance }

type lifeIn struct {
	frame.NameParam
	Part   string       `query:"part" doc:"Absent: the unit as a whole."`
	By     prognosis.By `query:"by" default:"batch"`
	Months int          `query:"months" default:"12" minimum:"1" maximum:"60" doc:"How far ahead failures are expected."`
}

type productIn struct {
	Product string `query:"product"`
}

type riskList struct {
	wire.PageParams
	Product  string          `query:"product"`
	Detector string          `query:"detector"`
	Unit     string          `query:"unit"`
	State    prognosis.State `query:"state"`
}

type unitIn struct {
	frame.IDParam
	Detector string `query:"detector"`
	Limit    int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Most of the history to return."`
}

// maxBody holds 10,000 records and more.
const maxBody = 16 << 20

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) {
	s := &server{f, d}
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/maintenance", ID: "listMaintenance", Summary: "Maintenance records, newest first", Tag: "maintenance", Access: access.Look, Sight: frame.ByUnit,
	}, s.list)
	frame.Add(f, frame.Route{
		Method: http.MethodPost, Path: "/v1/maintenance", ID: "addMaintenance", Summary: "Record what was done to units, and what failed",
		Doc: "All or none; every mistake is told at once, with the place of its record. What is on record already (same unit, part, kind and time) is not added again, so that an import may be repeated. " +
			"Detectors start anew on a unit that was put right; records older than 30 days are history and start nothing anew.",
		Tag: "maintenance", Access: access.Findings, Sight: frame.ByUnit, Status: http.StatusCreated, MaxBody: maxBody, Raw: true, Slow: true,
	}, s.add)
	frame.Do(f, frame.Route{
		Method: http.MethodDelete, Path: "/v1/maintenance/{id}", ID: "deleteMaintenance", Summary: "Take back a record that was entered by mistake", Tag: "maintenance", Access: access.Findings, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *frame.IDParam) error {
		if err := d.Maintenance.Delete(ctx, in.ID); err != nil {
			return err
		}
		d.Prognosis.Wake()
		return nil
	})
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/products/{name}/parts", ID: "listParts", Summary: "The parts that stand in a product's maintenance records", Tag: "maintenance", Access: access.Look, Sight: frame.ByProduct,
	}, s.parts)
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/products/{name}/part-life", ID: "getPartLife", Summary: "How long a part lasts, by batch or version",
		Doc: "From maintenance records alone: Kaplan and Meier's curve and Weibull's distribution, with parts that still work counted as such. Ages are calendar days since the part was put in. A part that no record names is not found.",
		Tag: "maintenance", Access: access.Look, Sight: frame.ByProduct,
	}, s.life)
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/prognoses", ID: "listPrognoses", Summary: "Where the detectors of type prognosis stand", Tag: "prognosis", Access: access.Look, Sight: frame.ByProduct,
	}, s.prognoses)
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/prognoses/{name}/models", ID: "listModels", Summary: "What was learned for a detector, newest first",
		Doc: "The champion, those it took over from, and those that did not make it, each with its figures on units held out.", Tag: "prognosis", Access: access.Look, Sight: frame.ByProduct,
	}, s.models)
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/risks", ID: "listRisks", Summary: "Units by remaining life, shortest first", Tag: "prognosis", Access: access.Look, Sight: frame.ByUnit,
	}, s.risks)
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/prognosis", ID: "getUnitPrognosis", Personal: audit.DataCondition, Summary: "What is foreseen of a unit, and was before", Tag: "prognosis", Access: access.Look, Sight: frame.ByUnit,
	}, s.unit)
}

func (s *server) list(ctx context.Context, in *recordList) (wire.Page[maintenance.Record], error) {
	f := maintenance.Filter{Product: in.Product, UnitID: in.Unit, Kind: in.Kind, Before: in.After, Limit: in.Limit + 1}
	if in.Part != "" {
		f.Part = &in.Part
	}
	found, err := s.d.Maintenance.Records(ctx, f)
	return frame.Page(found, in.Limit, func(r maintenance.Record) string { return r.ID }), err
}

func (s *server) add(ctx context.Context, in *addIn) (wire.MaintenanceAdded, error) {
	records := make([]maintenance.Record, len(in.Body.Records))
	for i, e := range in.Body.Records {
		records[i] = maintenance.Record{
			UnitID: e.UnitID, At: e.At, Part: e.Part, Kind: e.Kind, Reason: e.Reason, Batch: e.Batch, Serial: e.Serial, Version: e.Version, Note: e.Note,
		}
	}
	n, err := s.d.Maintenance.Add(ctx, records, frame.Who(ctx).Email)
	if err != nil {
		return wire.MaintenanceAdded{}, err
	}
	s.d.Prognosis.Wake()
	return wire.MaintenanceAdded{Added: n, Known: len(records) - n}, nil
}

func (s *server) parts(ctx context.Context, in *frame.NameParam) (wire.List[wire.Part], error) {
	out := wire.List[wire.Part]{Items: []wire.Part{}}
	if _, err := s.Fleet.Product(ctx, in.Name); err != nil {
		return out, err
	}
	counts, err := s.d.Maintenance.Parts(ctx, in.Name)
	for _, c := range counts {
		out.Items = append(out.Items, wire.Part(c))
	}
	return out, err
}

func (s *server) life(ctx context.Context, in *lifeIn) (prognosis.PartLife, error) {
	if err := s.named(ctx, in.Name, in.Part); err != nil {
		return prognosis.PartLife{}, err
	}
	return prognosis.PartLives(ctx, s.d.Maintenance, s.d.Clock, in.Name, in.Part, in.By, in.Months)
}

// named refuses a part that stands in no record of a product: a name typed
// wrong would have as many unbroken lives as there are units.
func (s *server) named(ctx context.Context, product, part string) error {
	if _, err := s.Fleet.Product(ctx, product); err != nil || part == "" {
		return err
	}
	counts, err := s.d.Maintenance.Parts(ctx, product)
	if err != nil {
		return err
	}
	var known []string
	for _, c := range counts {
		if c.Part == part {
			return nil
		}
		if c.Part != "" {
			known = append(known, c.Part)
		}
	}
	if len(known) == 0 {
		known = []string{"none"}
	}
	return fault.New(fault.NotFound, "no maintenance record of %s names a part %q; parts on record: %s", product, part, strings.Join(known, ", "))
}

func (s *server) prognoses(ctx context.Context, in *productIn) (wire.List[wire.Prognosis], error) {
	out := wire.List[wire.Prognosis]{Items: []wire.Prognosis{}}
	detectors, err := s.d.Conditions.Detectors(ctx, in.Product)
	if err != nil {
		return out, err
	}
	statuses, err := s.d.Prognosis.Status(ctx, in.Product)
	if err != nil {
		return out, err
	}
	known := map[string]prognosis.Status{}
	for _, st := range statuses {
		known[st.Detector] = st
	}
	for _, d := range detectors {
		if d.Type != condition.TypePrognosis || d.Prognosis == nil {
			continue
		}
		st, ok := known[d.Name]
		if !ok { // declared a moment ago
			st = prognosis.Status{Detector: d.Name, Version: d.Version, Product: d.Product, Part: d.Prognosis.Part, Needed: d.Prognosis.Needed(), Why: "it has not looked yet"}
		}
		title := d.Title
		if title == "" {
			title = d.Name
		}
		out.Items = append(out.Items, wire.Prognosis{Status: st, Title: title, Horizon: time.Duration(d.Prognosis.Horizon).Hours() / 24})
	}
	return out, nil
}

func (s *server) models(ctx context.Context, in *frame.NameParam) (wire.List[wire.PrognosisModel], error) {
	out := wire.List[wire.PrognosisModel]{Items: []wire.PrognosisModel{}}
	models, err := s.d.Prognosis.Models(ctx, in.Name)
	for i := range models {
		m := &models[i]
		v := wire.PrognosisModel{
			Number: m.Number, State: m.State, TrainedAt: m.TrainedAt, RetiredAt: m.RetiredAt,
			Figures: m.Figures, Before: m.Before, Than: m.Than, Age: m.Age, Widening: m.Widening, Verdict: m.Verdict,
		}
		for _, l := range m.Training {
			if l.Failed {
				v.Failures++
			} else {
				v.Censored++
			}
		}
		out.Items = append(out.Items, v)
	}
	return out, err
}

func (s *server) risks(ctx context.Context, in *riskList) (wire.Page[prognosis.Prediction], error) {
	found, err := s.d.Prognosis.Risks(ctx, prognosis.RiskFilter{
		Product: in.Product, Detector: in.Detector, UnitID: in.Unit, State: in.State, After: in.After, Limit: in.Limit + 1,
	})
	return frame.Page(found, in.Limit, func(p prognosis.Prediction) string { return p.Cursor() }), err
}

func (s *server) unit(ctx context.Context, in *unitIn) (wire.UnitPrognosis, error) {
	out := wire.UnitPrognosis{Current: []prognosis.Prediction{}, History: []prognosis.Prediction{}}
	u, err := s.Fleet.Unit(ctx, in.ID)
	if err != nil {
		return out, err
	}
	current, err := s.d.Prognosis.Risks(ctx, prognosis.RiskFilter{UnitID: u.ID, Detector: in.Detector})
	if err != nil {
		return out, err
	}
	history, err := s.d.Prognosis.Predictions(ctx, u.ID, in.Detector, in.Limit)
	out.Current, out.History = append(out.Current, current...), append(out.History, history...)
	return out, err
}
