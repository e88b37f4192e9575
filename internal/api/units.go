package api

import (
	"context"
	"maps"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

type unitList struct {
	wire.PageParams
	Product   string `query:"product"`
	State     string `query:"state" enum:"pending,active,revoked,retired"`
	Batch     string `query:"batch"`
	Hardware  string `query:"hardware"`
	Region    string `query:"region"`
	Version   string `query:"version" doc:"Of the main component."`
	Condition string `query:"condition" enum:"normal,degraded,failed,silent,unknown"`
	Q         string `query:"q" maxLength:"200" doc:"Part of an id or serial."`
}

type accountingIn struct {
	wire.PageParams
	Product string `query:"product" required:"true"`
}

type tokensIn struct {
	Body struct {
		Units []string `json:"units" minItems:"1" maxItems:"100000" doc:"Ids of units."`
	}
}

func (s *server) units() {
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/units", ID: "listUnits", Summary: "List units", Tag: "units", Access: access.Look, Sight: frame.ByUnit}, s.listUnits)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/units/{id}", ID: "getUnit", Personal: audit.DataContact, Summary: "A unit", Tag: "units", Access: access.Look, Sight: frame.ByUnit}, s.getUnit)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/units/{id}/latest", ID: "getLatest", Personal: audit.DataMeasurements, Summary: "Newest value of each signal", Tag: "units", Access: access.Look, Sight: frame.ByUnit}, s.latest)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/units/{id}/series", ID: "getSeries", Personal: audit.DataMeasurements, Summary: "A signal over time, with the bands that applied", Tag: "units", Access: access.Look, Sight: frame.ByUnit}, s.series)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/units/{id}/accounting", ID: "getUnitAccounting", Summary: "Accounting of a unit's samples", Tag: "units", Access: access.Look, Sight: frame.ByUnit}, s.unitAccounting)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/accounting", ID: "getAccounting", Summary: "Accounting of a product's samples", Tag: "units", Access: access.Look, Sight: frame.ByUnit}, s.accounting)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/units/{id}/token", ID: "issueUnitToken", Summary: "Issue a unit's token",
		Doc: "Replaces the token it has, and disconnects what uses that.", Tag: "units", Access: access.Enrol, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *frame.IDParam) (wire.UnitToken, error) {
		token, err := s.d.Provisioning.IssueToken(ctx, in.ID)
		return wire.UnitToken{UnitID: in.ID, Token: token}, err
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/unit-tokens", ID: "issueUnitTokens", Summary: "Issue tokens for many units",
		Doc: "All or nothing.", Tag: "units", Access: access.Enrol, Sight: frame.ByUnit, MaxBody: 16 << 20, Slow: true,
	}, func(ctx context.Context, in *tokensIn) (wire.List[wire.UnitToken], error) {
		issued, err := s.d.Provisioning.IssueTokens(ctx, in.Body.Units)
		out := wire.List[wire.UnitToken]{Items: make([]wire.UnitToken, 0, len(issued))}
		for _, t := range issued {
			out.Items = append(out.Items, wire.UnitToken(t))
		}
		return out, err
	})
	for _, verb := range []struct {
		verb, summary string
		do            func(context.Context, string) error
	}{
		{"revoke", "Refuse a unit from now on and disconnect it", func(ctx context.Context, id string) error { return s.d.Provisioning.RevokeUnit(ctx, id) }},
		{"retire", "Take a unit out of service: it is refused and no longer watched", func(ctx context.Context, id string) error { return s.d.Provisioning.RetireUnit(ctx, id) }},
		{"restore", "Take a revoked or retired unit back", func(ctx context.Context, id string) error { return s.d.Provisioning.RestoreUnit(ctx, id) }},
	} {
		frame.Add(s.Server, frame.Route{
			Method: http.MethodPost, Path: "/v1/units/{id}/" + verb.verb, ID: verb.verb + "Unit", Summary: verb.summary, Tag: "units", Access: access.Enrol, Sight: frame.ByUnit,
		}, func(ctx context.Context, in *frame.IDParam) (wire.Unit, error) {
			if err := verb.do(ctx, in.ID); err != nil {
				return wire.Unit{}, err
			}
			u, err := s.d.Fleet.Unit(ctx, in.ID)
			if err != nil {
				return wire.Unit{}, err
			}
			views, err := s.unitViews(ctx, []fleet.Unit{u})
			if err != nil {
				return wire.Unit{}, err
			}
			return views[0], nil
		})
	}
}

// unitViews adds to units their condition, by one query a product.
func (s *server) unitViews(ctx context.Context, units []fleet.Unit) ([]wire.Unit, error) {
	byProduct := map[string][]fleet.Unit{}
	for _, u := range units {
		byProduct[u.Product] = append(byProduct[u.Product], u)
	}
	conditions := map[string]condition.Condition{}
	for product, list := range byProduct {
		found, err := s.d.Condition.Conditions(ctx, product, list)
		if err != nil {
			return nil, err
		}
		maps.Copy(conditions, found)
	}
	out := make([]wire.Unit, 0, len(units))
	for _, u := range units {
		out = append(out, wire.Unit{
			ID: u.ID, Product: u.Product, Serial: u.Serial, Hardware: u.Hardware, Batch: u.Batch, Region: u.Region,
			Attributes: u.Attributes, Versions: u.Versions, VersionAt: u.VersionAt, State: u.State,
			Condition: conditions[u.ID], CreatedAt: u.CreatedAt,
		})
	}
	return out, nil
}

// chunk is how many units are looked at at a time for a condition.
const chunk = 2000

func (s *server) listUnits(ctx context.Context, in *unitList) (wire.Page[wire.Unit], error) {
	f := fleet.Filter{
		Product: in.Product, State: fleet.UnitState(in.State), Batch: in.Batch, Hardware: in.Hardware, Region: in.Region,
		Version: in.Version, Search: in.Q, After: in.After, Limit: in.Limit + 1,
	}
	switch condition.Condition(in.Condition) {
	case "":
	case condition.Normal, condition.Unknown:
		f.Limit = chunk
	default: // few of many: only they are read
		f.Limit, f.Unwell = chunk, true
	}
	id := func(u wire.Unit) string { return u.ID }
	var out []wire.Unit
	for {
		units, err := s.d.Fleet.Units(ctx, f)
		if err != nil {
			return wire.Page[wire.Unit]{}, err
		}
		views, err := s.unitViews(ctx, units)
		if err != nil {
			return wire.Page[wire.Unit]{}, err
		}
		for _, v := range views {
			if in.Condition == "" || string(v.Condition) == in.Condition {
				out = append(out, v)
			}
		}
		if in.Condition == "" || len(units) < f.Limit || len(out) > in.Limit {
			return frame.Page(out, in.Limit, id), nil
		}
		f.After = units[len(units)-1].ID
	}
}

func (s *server) getUnit(ctx context.Context, in *frame.IDParam) (wire.UnitDetail, error) {
	u, err := s.d.Fleet.Unit(ctx, in.ID)
	if err != nil {
		return wire.UnitDetail{}, err
	}
	views, err := s.unitViews(ctx, []fleet.Unit{u})
	if err != nil {
		return wire.UnitDetail{}, err
	}
	health, err := s.d.Condition.ConditionOf(ctx, u)
	if err != nil {
		return wire.UnitDetail{}, err
	}
	p, err := s.d.Fleet.Product(ctx, u.Product)
	if err != nil {
		return wire.UnitDetail{}, err
	}
	mask, err := s.d.Choices.Mask(ctx, u.ID)
	if err != nil {
		return wire.UnitDetail{}, err
	}
	creds, err := s.d.Provisioning.Credentials(ctx, u.ID)
	if err != nil {
		return wire.UnitDetail{}, err
	}
	detectors, err := s.d.Condition.Detectors(ctx, u.Product)
	if err != nil {
		return wire.UnitDetail{}, err
	}
	out := wire.UnitDetail{
		Unit: views[0], ConditionWhy: health.Why, JudgedAt: health.JudgedAt, Credential: credential(creds),
		Permitted: []wire.PermittedPurpose{}, Exposures: []wire.Exposure{}, Open: []wire.Finding{},
	}
	out.Condition = health.Condition
	if out.LastContact, err = s.lastContact(ctx, u); err != nil {
		return wire.UnitDetail{}, err
	}
	if s.d.ClockSkew != nil {
		if ahead, known := s.d.ClockSkew(u.ID); known {
			seconds := ahead.Seconds()
			out.ClockSkew = &seconds
		}
	}
	if o, err := s.ownerOf(ctx, u); err != nil {
		return wire.UnitDetail{}, err
	} else if o != nil {
		out.Owner = &wire.OwnerName{Email: o.Email, Name: o.Name, Locale: o.Locale, TimeZone: o.TimeZone}
	}
	for _, q := range p.Purposes {
		out.Permitted = append(out.Permitted, wire.PermittedPurpose{Name: q.Name, Title: q.Title, Basis: q.Basis, Permitted: mask.PermitsPurpose(&p, q.Name)})
	}
	for _, d := range detectors {
		found, err := s.d.Condition.Exposures(ctx, d.Ref(), []int64{u.Key})
		if err != nil {
			return wire.UnitDetail{}, err
		}
		for _, e := range found {
			out.Exposures = append(out.Exposures, wire.Exposure{Detector: d.Ref(), Since: e.Since, Hours: e.For.Hours(), LastAt: e.LastAt})
		}
	}
	titles := s.newTitles()
	for _, f := range health.Open {
		view, err := titles.view(ctx, f)
		if err != nil {
			return wire.UnitDetail{}, err
		}
		out.Open = append(out.Open, view)
	}
	return out, nil
}

func credential(c fleet.Credentials) string {
	switch token, certificate := c.TokenHash != "", len(c.Fingerprints) > 0; {
	case token && certificate:
		return "both"
	case token:
		return "token"
	case certificate:
		return "certificate"
	default:
		return "none"
	}
}

// lastContact is when a unit was last heard of: by the gateway since it
// started, else by what it last reported.
func (s *server) lastContact(ctx context.Context, u fleet.Unit) (time.Time, error) {
	last := u.VersionAt
	if s.d.LastContact != nil {
		if at := s.d.LastContact(u.ID); at.After(last) {
			return at, nil
		}
	}
	newest, err := s.d.History.Latest(consent.ForShown(ctx), u.Product, u.Key)
	if err != nil {
		return time.Time{}, err
	}
	for _, v := range newest {
		if v.At.After(last) {
			last = v.At
		}
	}
	return last, nil
}

func (s *server) latest(ctx context.Context, in *frame.IDParam) (wire.List[wire.LatestValue], error) {
	out := wire.List[wire.LatestValue]{Items: []wire.LatestValue{}}
	u, err := s.d.Fleet.Unit(ctx, in.ID)
	if err != nil {
		return out, err
	}
	p, err := s.d.Fleet.Product(ctx, u.Product)
	if err != nil {
		return out, err
	}
	mask, err := s.d.Choices.Mask(ctx, u.ID)
	if err != nil {
		return out, err
	}
	newest, err := s.d.History.Latest(consent.ForShown(ctx), u.Product, u.Key)
	if err != nil {
		return out, err
	}
	for _, sig := range p.Signals {
		v := wire.LatestValue{Signal: sig.Name, Title: sig.Title, Type: sig.Type, Unit: sig.Unit, Withheld: !mask.Permits(&p, sig)}
		if sample, ok := newest[sig.Name]; ok && !v.Withheld {
			v.At = sample.At
			if sample.IsText {
				v.Text = &sample.Text
			} else {
				v.Number = &sample.Number
			}
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}

func account(id string, a telemetry.Account) wire.Account {
	return wire.Account{
		UnitID: id, Acknowledged: a.Acknowledged, Stored: a.Stored, NotConsented: a.NotConsented,
		Undeclared: a.Undeclared, Duplicate: a.Duplicate, Invalid: a.Invalid,
	}
}

func (s *server) unitAccounting(ctx context.Context, in *frame.IDParam) (wire.Account, error) {
	u, err := s.d.Fleet.Unit(ctx, in.ID)
	if err != nil {
		return wire.Account{}, err
	}
	list, err := s.d.History.Accounts(ctx, []int64{u.Key})
	if err != nil || len(list) == 0 {
		return wire.Account{UnitID: u.ID}, err
	}
	return account(u.ID, list[0]), nil
}

func (s *server) accounting(ctx context.Context, in *accountingIn) (wire.Accounts, error) {
	if _, err := s.d.Fleet.Product(ctx, in.Product); err != nil {
		return wire.Accounts{}, err
	}
	units, err := s.d.Fleet.Units(ctx, fleet.Filter{Product: in.Product})
	if err != nil {
		return wire.Accounts{}, err
	}
	keys := make([]int64, 0, len(units))
	for _, u := range units {
		keys = append(keys, u.Key)
	}
	list, err := s.d.History.Accounts(ctx, keys)
	if err != nil {
		return wire.Accounts{}, err
	}
	byKey := make(map[int64]telemetry.Account, len(list))
	var total telemetry.Account
	for _, a := range list {
		byKey[a.Unit] = a
		total.Acknowledged += a.Acknowledged
		total.Stored += a.Stored
		total.NotConsented += a.NotConsented
		total.Undeclared += a.Undeclared
		total.Duplicate += a.Duplicate
		total.Invalid += a.Invalid
	}
	all := make([]wire.Account, 0, len(units))
	for _, u := range units {
		all = append(all, account(u.ID, byKey[u.Key]))
	}
	pg := frame.PageAfter(all, in.PageParams, func(a wire.Account) string { return a.UnitID })
	return wire.Accounts{Total: account("", total), Items: pg.Items, Next: pg.Next}, nil
}

// badTimes refuses a range that is empty.
func badTimes(from, to time.Time) error {
	if !from.Before(to) {
		return fault.Fields("range", []fault.Field{{Path: "query.to", Expected: "a time after from, " + from.Format(time.RFC3339), Got: to.Format(time.RFC3339)}})
	}
	return nil
}
