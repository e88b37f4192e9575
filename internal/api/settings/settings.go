// Package settings serves what units are told to be set to, what they report,
// and where the two differ.
package settings

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Setting is a parameter or feature of a unit.
type Setting struct {
	UnitID     string          `json:"unitId"`
	Kind       string          `json:"kind" enum:"parameter,feature"`
	Name       string          `json:"name"`
	Unit       string          `json:"unit,omitempty" doc:"UCUM unit of measure."`
	Default    json.RawMessage `json:"default,omitempty" doc:"As the product declares it."`
	Desired    json.RawMessage `json:"desired,omitempty" doc:"What the unit was told; absent: nothing."`
	Reported   json.RawMessage `json:"reported,omitempty" doc:"What it says it has; absent: it never said."`
	ReportedAt time.Time       `json:"reportedAt,omitzero"`
	Drifted    bool            `json:"drifted" doc:"It reports another value than it was told."`
	Release    string          `json:"release,omitempty" doc:"That told it."`
	Assignment int64           `json:"assignment,omitempty"`
	At         time.Time       `json:"at,omitzero" doc:"When it was told first."`
}

type driftIn struct {
	wire.PageParams
	Product string `query:"product" doc:"Absent: all."`
}

// Register adds the operations to a server.
func Register(f *frame.Server, units fleet.Store, updates *update.Service) {
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/settings", ID: "listUnitSettings", Personal: audit.DataUpdates, Summary: "What a unit is set to",
		Doc: "Every parameter and feature that its product declares: the default, what the unit was told by which release, and what it reports.", Tag: "units", Access: access.Look, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *frame.IDParam) (wire.List[Setting], error) {
		out := wire.List[Setting]{Items: []Setting{}}
		u, err := units.Unit(ctx, in.ID)
		if err != nil {
			return out, err
		}
		p, err := units.Product(ctx, u.Product)
		if err != nil {
			return out, err
		}
		told, err := updates.UnitSettings(ctx, u.ID)
		out.Items = of(&p, &u, told)
		return out, err
	})
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/settings/drift", ID: "listDrift", Summary: "Units that are set otherwise than they were told",
		Doc: "By unit and name. A unit is told again whenever it connects, so what stays here needs somebody to look.", Tag: "units", Access: access.Look, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *driftIn) (wire.Page[Setting], error) {
		out := wire.Page[Setting]{Items: []Setting{}}
		unit, component, ok := strings.Cut(in.After, "/")
		if in.After != "" && !ok {
			return out, fault.Fields("drift", []fault.Field{{Path: "query.after", Expected: "the next of the page before", Got: in.After}})
		}
		list, err := updates.Drift(ctx, in.Product, unit, component, in.Limit)
		if err != nil {
			return out, err
		}
		for i := range list {
			out.Items = append(out.Items, one(&list[i]))
		}
		if n := len(list); n == in.Limit {
			out.Next = list[n-1].UnitID + "/" + list[n-1].Component
		}
		return out, nil
	})
}

func one(x *update.Setting) Setting {
	s := Setting{
		UnitID: x.UnitID, Kind: "parameter", Desired: json.RawMessage(x.Value), Reported: raw(x.Reported), ReportedAt: x.ReportedAt,
		Drifted: x.Drifted(), Release: x.Release, Assignment: x.Assignment, At: x.At,
	}
	name, ok := strings.CutPrefix(x.Component, fleet.ParameterComponent)
	if !ok {
		s.Kind, name = "feature", strings.TrimPrefix(x.Component, fleet.FeatureComponent)
	}
	s.Name = name
	return s
}

// of are all settings that a product declares, as a unit has them, then those
// that it was told and that are declared no more.
func of(p *fleet.Product, u *fleet.Unit, told []update.Setting) []Setting {
	by := make(map[string]Setting, len(told))
	var order []string
	for i := range told {
		by[told[i].Component] = one(&told[i])
		order = append(order, told[i].Component)
	}
	out := []Setting{}
	take := func(component, kind, name, measure string, def any) {
		s, ok := by[component]
		delete(by, component)
		if !ok {
			s = Setting{UnitID: u.ID, Kind: kind, Name: name, Reported: raw(u.Versions[component])}
			if s.Reported != nil {
				s.ReportedAt = u.VersionAt
			}
		}
		s.Unit = measure
		if def != nil {
			s.Default = json.RawMessage(update.SettingText(def))
		}
		out = append(out, s)
	}
	for _, q := range p.Parameters {
		take(fleet.ParameterComponent+q.Name, "parameter", q.Name, q.Unit, q.Default)
	}
	for _, f := range p.Features {
		take(fleet.FeatureComponent+f.Name, "feature", f.Name, "", nil)
	}
	for _, component := range order {
		if s, ok := by[component]; ok {
			out = append(out, s)
		}
	}
	return out
}

// raw is a value that is not a document where a unit reported something of its own making.
func raw(text string) json.RawMessage {
	if text == "" || !json.Valid([]byte(text)) {
		return nil
	}
	return json.RawMessage(text)
}
