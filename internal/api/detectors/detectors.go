// Package detectors serves detectors as people look at them: what each does in
// words, how its versions differ, what became of its findings.
package detectors

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/fault"
)

type server struct {
	*frame.Server
	conditions *condition.Service
}

type listIn struct {
	wire.PageParams
	Product string `query:"product"`
}

// Register adds the operations to a server.
func Register(f *frame.Server, conditions *condition.Service) {
	s := &server{f, conditions}
	frame.Add(f, frame.Route{Method: http.MethodGet, Path: "/v1/detectors", ID: "listDetectors", Summary: "List detectors with what became of their findings, by name", Tag: "detectors", Access: access.Look, Sight: frame.ByUnit}, s.list)
	frame.Add(f, frame.Route{Method: http.MethodGet, Path: "/v1/detectors/{name}", ID: "getDetector", Summary: "A detector in words, with its versions and how often it raises alarms", Tag: "detectors", Access: access.Look, Sight: frame.ByUnit}, s.get)
}

func (s *server) list(ctx context.Context, in *listIn) (wire.Page[wire.Detector], error) {
	all, err := s.conditions.Detectors(ctx, in.Product)
	if err != nil {
		return wire.Page[wire.Detector]{}, err
	}
	slices.SortFunc(all, func(a, b condition.Detector) int { return strings.Compare(a.Name, b.Name) })
	all = slices.DeleteFunc(all, func(d condition.Detector) bool { return d.Name <= in.After && in.After != "" })
	titles := map[string]string{}
	out := []wire.Detector{}
	for _, d := range all[:min(len(all), in.Limit+1)] {
		if titles[d.Product] == "" {
			p, err := s.Fleet.Product(ctx, d.Product)
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return wire.Page[wire.Detector]{}, err
			}
			titles[d.Product] = cmp.Or(p.Title, d.Product)
		}
		v, err := s.view(ctx, &d, titles[d.Product])
		if err != nil {
			return wire.Page[wire.Detector]{}, err
		}
		out = append(out, v)
	}
	return frame.Page(out, in.Limit, func(d wire.Detector) string { return d.Name }), nil
}

func (s *server) view(ctx context.Context, d *condition.Detector, product string) (wire.Detector, error) {
	counts, err := s.counts(ctx, condition.Ref{Name: d.Name})
	return wire.Detector{
		Name: d.Name, Version: d.Version, Product: d.Product, ProductTitle: product, Title: cmp.Or(d.Title, d.Name),
		Type: d.Type, Severity: d.Severity, Purpose: d.Purpose, Counts: counts,
	}, err
}

// counts are of one version; 0: of all.
func (s *server) counts(ctx context.Context, ref condition.Ref) (c wire.DetectorCounts, err error) {
	f := condition.FindingFilter{Detector: ref.Name, Version: ref.Version}
	if c.Findings, err = s.conditions.CountFindings(ctx, f); err != nil || c.Findings == 0 {
		return c, err
	}
	open := f
	open.State = condition.Open
	if c.Open, err = s.conditions.CountFindings(ctx, open); err != nil {
		return c, err
	}
	f.Assessment = condition.Confirmed
	if c.Confirmed, err = s.conditions.CountFindings(ctx, f); err != nil {
		return c, err
	}
	f.Assessment = condition.NoFaultFound
	c.NoFaultFound, err = s.conditions.CountFindings(ctx, f)
	return c, err
}

func (s *server) get(ctx context.Context, in *frame.NameParam) (wire.DetectorDetail, error) {
	var out wire.DetectorDetail
	d, err := s.conditions.Detector(ctx, in.Name, 0)
	if err != nil {
		return out, err
	}
	p, err := s.Fleet.Product(ctx, d.Product)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return out, err
	}
	if out.Detector, err = s.view(ctx, &d, cmp.Or(p.Title, d.Product)); err != nil {
		return out, err
	}
	out.Words = inWords(&p, &d)
	out.Threshold = backtest.ThresholdOf(d.Type)
	raw, err := json.Marshal(&d)
	if err != nil {
		return out, err
	}
	out.Spec = wire.Spec(raw)
	if out.Versions, err = s.versions(ctx, &d); err != nil {
		return out, err
	}
	out.Use, err = s.use(ctx, &d)
	return out, err
}

// mostVersions bounds how far back versions are told.
const mostVersions = 50

func (s *server) versions(ctx context.Context, newest *condition.Detector) ([]wire.DetectorVersion, error) {
	out := []wire.DetectorVersion{}
	after := settings(newest)
	for v := newest.Version; v > 0 && len(out) < mostVersions; v-- {
		one := wire.DetectorVersion{Version: v, Changes: []wire.DetectorChange{}}
		var err error
		if one.Counts, err = s.counts(ctx, condition.Ref{Name: newest.Name, Version: v}); err != nil {
			return nil, err
		}
		if v > 1 {
			d, err := s.conditions.Detector(ctx, newest.Name, v-1)
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return nil, err
			}
			before := settings(&d)
			one.Changes = differences(before, after)
			after = before
		}
		out = append(out, one)
	}
	return out, nil
}

// settings are a version's definition by field, with what it took from its product.
func settings(d *condition.Detector) map[string]string {
	out := map[string]string{}
	var flatten func(prefix string, v any)
	flatten = func(prefix string, v any) {
		raw, err := json.Marshal(v)
		if err != nil {
			return
		}
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(raw, &fields) // what is no object has no fields
		for k, v := range fields {
			text := string(v)
			var s string
			if json.Unmarshal(v, &s) == nil {
				text = s
			} else if strings.HasPrefix(text, "{") {
				flatten(prefix+k+".", v)
				continue
			}
			out[prefix+k] = text
		}
	}
	flatten("", d)
	if d.Basis != nil {
		flatten("product: ", d.Basis)
	}
	return out
}

func differences(before, after map[string]string) []wire.DetectorChange {
	out := []wire.DetectorChange{}
	names := map[string]bool{}
	for k := range before {
		names[k] = true
	}
	for k := range after {
		names[k] = true
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if before[k] != after[k] {
			out = append(out, wire.DetectorChange{Field: k, Before: before[k], After: after[k]})
		}
	}
	return out
}

const (
	year         = 365.25 * 24 * time.Hour
	leastJudged  = 24 * time.Hour // of judged use, before a rate is told
	mostFindings = 20_000         // that are looked at for it
)

// use is how often the newest version has raised alarms in the use that it has
// judged since each unit's last reset.
func (s *server) use(ctx context.Context, d *condition.Detector) (*wire.DetectorUse, error) {
	judged, err := s.conditions.Exposures(ctx, d.Ref(), nil)
	if err != nil {
		return nil, err
	}
	since := make(map[int64]time.Time, len(judged))
	var total time.Duration
	for _, e := range judged {
		total += e.For
		since[e.UnitKey] = e.Since
	}
	out := &wire.DetectorUse{Stated: stated(d), UnitYears: total.Hours() / year.Hours()}
	if total < leastJudged && out.Stated > 0 {
		return out, nil
	} else if total < leastJudged {
		return nil, nil // too little to say
	}
	alarms := 0
	f := condition.FindingFilter{Detector: d.Name, Version: d.Version, Limit: 1000}
	for seen := 0; seen < mostFindings; {
		list, err := s.conditions.Findings(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			if from, ok := since[v.UnitKey]; ok && !v.SeenAt.Before(from) {
				alarms++
			}
		}
		if seen += len(list); len(list) < f.Limit {
			break
		}
		f.Before = list[len(list)-1].ID
	}
	used := float64(alarms) / out.UnitYears
	out.Used = &used
	return out, nil
}
