package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/mail"
	"net/url"
	"slices"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
)

func (s *server) overview() {
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/overview", ID: "getOverview", Summary: "The fleet at a glance", Tag: "units", Access: access.Look, Sight: frame.ByUnit},
		func(ctx context.Context, _ *frame.None) (wire.Overview, error) {
			products, err := s.d.Fleet.Products(ctx)
			if err != nil {
				return wire.Overview{}, err
			}
			out := wire.Overview{At: s.d.Clock.Now(), Products: make([]wire.ProductOverview, 0, len(products))}
			for _, p := range products {
				v, err := s.productOverview(ctx, &p)
				if err != nil {
					return wire.Overview{}, err
				}
				out.Products = append(out.Products, v)
			}
			return out, nil
		})
}

func (s *server) productOverview(ctx context.Context, p *fleet.Product) (wire.ProductOverview, error) {
	out := wire.ProductOverview{
		Name: p.Name, Title: p.Title, Conditions: map[string]int{}, States: map[string]int{}, Open: map[string]int{},
		Versions: []wire.VersionCount{}, Campaigns: []wire.Campaign{},
	}
	for _, state := range []fleet.UnitState{fleet.UnitPending, fleet.UnitActive, fleet.UnitRevoked, fleet.UnitRetired} {
		n, err := s.d.Fleet.CountUnits(ctx, fleet.Filter{Product: p.Name, State: state})
		if err != nil {
			return out, err
		}
		out.States[string(state)] = n
		out.Units += n
	}
	conditions, err := s.d.Condition.CountConditions(ctx, p.Name)
	if err != nil {
		return out, err
	}
	for c, n := range conditions {
		out.Conditions[string(c)] = n
	}
	versions, err := s.d.Versions.CountVersions(ctx, p.Name)
	if err != nil {
		return out, err
	}
	for v, n := range versions {
		out.Versions = append(out.Versions, wire.VersionCount{Version: v, Units: n})
	}
	slices.SortFunc(out.Versions, func(a, b wire.VersionCount) int {
		return cmp.Or(cmp.Compare(b.Units, a.Units), cmp.Compare(a.Version, b.Version))
	})
	for _, severity := range []condition.Severity{condition.Warning, condition.Minor, condition.Major, condition.Critical} {
		n, err := s.d.Condition.CountFindings(ctx, condition.FindingFilter{
			Product: p.Name, State: condition.Open, Severity: severity, HideShelvedAt: s.d.Clock.Now(),
		})
		if err != nil {
			return out, err
		}
		out.Open[string(severity)] = n
	}
	runs, err := s.d.Runs.Campaigns(ctx, p.Name)
	if err != nil {
		return out, err
	}
	for _, r := range runs {
		if r.State != campaign.Running && r.State != campaign.Paused {
			continue
		}
		c, _, err := s.campaignView(ctx, r)
		if err != nil {
			return out, err
		}
		out.Campaigns = append(out.Campaigns, c)
	}
	return out, nil
}

type routeIn struct {
	frame.NameParam
	Body wire.NewRoute
}

func (s *server) routes() {
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/notify/routes", ID: "listRoutes", Summary: "List where new findings are told", Tag: "notify", Access: access.Administer},
		func(ctx context.Context, in *wire.PageParams) (wire.Page[notify.Route], error) {
			all, err := s.d.Notify.Routes(ctx)
			return frame.PageAfter(all, *in, func(r notify.Route) string { return r.Name }), err
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodPut, Path: "/v1/notify/routes/{name}", ID: "putRoute", Summary: "Make or change a route", Tag: "notify", Access: access.Administer},
		func(ctx context.Context, in *routeIn) (notify.Route, error) {
			r := notify.Route{Name: in.Name, Product: in.Body.Product, Severity: string(in.Body.Severity), Channel: in.Body.Channel, To: in.Body.To}
			if err := s.checkRoute(ctx, &r); err != nil {
				return r, err
			}
			return r, s.d.Notify.PutRoute(ctx, r)
		})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: "/v1/notify/routes/{name}", ID: "deleteRoute", Summary: "Delete a route", Tag: "notify", Access: access.Administer},
		func(ctx context.Context, in *frame.NameParam) error { return s.d.Notify.DeleteRoute(ctx, in.Name) })
}

func (s *server) checkRoute(ctx context.Context, r *notify.Route) error {
	var fields []fault.Field
	switch r.Channel {
	case notify.Mail:
		if a, err := mail.ParseAddress(r.To); err != nil || a.Address != r.To {
			fields = append(fields, fault.Field{Path: "to", Expected: "a mail address", Got: fmt.Sprintf("%q", r.To)})
		}
	default:
		if u, err := url.Parse(r.To); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			fields = append(fields, fault.Field{Path: "to", Expected: "a URL, as https://example.com/hook", Got: fmt.Sprintf("%q", r.To)})
		}
	}
	if r.Product != "" {
		if _, err := s.d.Fleet.Product(ctx, r.Product); fault.KindOf(err) == fault.NotFound {
			fields = append(fields, fault.Field{Path: "product", Expected: "the name of a product", Got: fmt.Sprintf("%q", r.Product)})
		} else if err != nil {
			return err
		}
	}
	return fault.Fields("route "+r.Name, fields)
}
