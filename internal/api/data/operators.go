package data

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/aggregate"
	"fettle.dev/fettle/internal/consent/datasheet"
	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/telemetry"
)

type aggregateIn struct {
	frame.NameParam
	Signal  string    `query:"signal" required:"true" doc:"Of type number or boolean."`
	Purpose string    `query:"purpose" required:"true" doc:"That the figures are for: units whose owners permit it, and signals that name it."`
	By      string    `query:"by" enum:"none,hardware,batch,region,version" default:"none" doc:"Groups. One at a time: groups of groups would be small."`
	From    time.Time `query:"from" required:"true" doc:"Cut to a whole day in UTC."`
	To      time.Time `query:"to" required:"true"`
}

type aggregated struct {
	Product string    `json:"product"`
	Signal  string    `json:"signal"`
	Unit    string    `json:"unit,omitempty"`
	Purpose string    `json:"purpose"`
	By      string    `json:"by"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`
	aggregate.Table
}

func (s *server) operators() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/products/{name}/aggregates", ID: "aggregateSignal", Summary: "A signal over many units, for product development",
		Doc: "Figures of groups of at least 10 units whose owners permit the purpose; k, and what was left out, stand in the answer.", Tag: "products", Access: access.Analyse, Sight: frame.ByProduct,
	}, s.aggregate)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/products/{name}/consents", ID: "consentRates", Summary: "How owners chose, by purpose", Doc: "Of the units that you see. Counts below 10 are not told; others are rounded down to 5.", Tag: "products", Access: access.Look, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *frame.NameParam) (wire.List[wire.ConsentRate], error) {
		out := wire.List[wire.ConsentRate]{Items: []wire.ConsentRate{}}
		p, err := s.Fleet.Product(ctx, in.Name)
		if err != nil {
			return out, err
		}
		rates, err := s.d.Rates(ctx, p.Name)
		if err != nil {
			return out, err
		}
		n := rates[""].Given
		for _, q := range p.Purposes {
			v := wire.ConsentRate{Purpose: q.Name, Title: q.Title, Basis: string(q.Basis), K: aggregate.K, Units: told(n)}
			if q.Basis == fleet.BasisConsent {
				given := rates[q.Name].Given
				v.Given = told(given)
				if given >= aggregate.K && n-given >= aggregate.K { // else one of the two follows from the other
					share := math.Round(100*float64(given)/float64(n)) / 100
					v.Share = &share
				} else if n-given < aggregate.K && n-given > 0 {
					v.Given = nil
				}
			}
			out.Items = append(out.Items, v)
		}
		return out, nil
	})
	type sheetIn struct {
		frame.NameParam
		Language string `query:"lang" maxLength:"35"`
	}
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/products/{name}/datasheet", ID: "getDatasheet", Summary: "The data sheet of a product (Data Act, article 3)", Doc: "As buyers read it at /datasheets/{name}, without signing in.", Tag: "products", Access: access.Look, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *sheetIn) (datasheet.Sheet, error) {
		p, err := s.Fleet.Product(ctx, in.Name)
		if err != nil {
			return datasheet.Sheet{}, err
		}
		return datasheet.Of(&p, cmp.Or(in.Language, p.Tongue())), nil
	})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/gatekeepers", ID: "listGatekeepers", Summary: "Third parties that owners' data is not shared with", Tag: "privacy", Access: access.Look},
		func(ctx context.Context, _ *frame.None) (wire.List[share.Gatekeeper], error) {
			all, err := s.d.Shares.Gatekeepers(ctx)
			return wire.List[share.Gatekeeper]{Items: all}, err
		})
	type putIn struct {
		frame.NameParam
		Body struct {
			Domains []string `json:"domains,omitempty" maxItems:"50"`
			Reason  string   `json:"reason" minLength:"1" maxLength:"500" doc:"Told to owners who name it."`
		}
	}
	frame.Add(s.Server, frame.Route{Method: http.MethodPut, Path: "/v1/gatekeepers/{name}", ID: "putGatekeeper", Summary: "Refuse a third party", Doc: "What is shared with it already stays until it ends.", Tag: "privacy", Access: access.Privacy},
		func(ctx context.Context, in *putIn) (share.Gatekeeper, error) {
			return s.d.Shares.RefuseTo(ctx, share.Gatekeeper{Name: in.Name, Domains: in.Body.Domains, Reason: in.Body.Reason, By: frame.Who(ctx).Email})
		})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: "/v1/gatekeepers/{name}", ID: "deleteGatekeeper", Summary: "Allow a third party again", Doc: "Those that the law names stay.", Tag: "privacy", Access: access.Privacy},
		func(ctx context.Context, in *frame.NameParam) error { return s.d.Shares.AllowTo(ctx, in.Name) })
}

// told is a number of units as it may be told.
func told(n int) *int {
	if n, ok := aggregate.Units(n); ok {
		return &n
	}
	return nil
}

func (s *server) aggregate(ctx context.Context, in *aggregateIn) (aggregated, error) {
	out := aggregated{Product: in.Name, Signal: in.Signal, Purpose: in.Purpose, By: in.By}
	p, err := s.Fleet.Product(ctx, in.Name)
	if err != nil {
		return out, err
	}
	g, ok := p.Signal(in.Signal)
	var fields []fault.Field
	if !ok || g.Type == fleet.Text {
		fields = append(fields, fault.Field{Path: "query.signal", Expected: "a signal of the product, of type number or boolean", Got: in.Signal})
	}
	if _, known := p.Purpose(in.Purpose); !known || ok && !slices.Contains(g.Purposes, in.Purpose) {
		fields = append(fields, fault.Field{Path: "query.purpose", Expected: "a purpose that the signal names: " + strings.Join(g.Purposes, ", "), Got: in.Purpose})
	}
	if err := fault.Fields("aggregate", fields); err != nil {
		return out, err
	}
	out.Unit = g.Unit
	if out.From, out.To, err = aggregate.Days(in.From, in.To, s.d.Clock.Now()); err != nil {
		return out, err
	}
	units, err := s.Fleet.Units(ctx, fleet.Filter{Product: p.Name})
	if err != nil {
		return out, err
	}
	group := make(map[int64]string, len(units))
	for i := range units {
		u := &units[i]
		group[u.Key] = map[string]string{"hardware": u.Hardware, "batch": u.Batch, "region": u.Region, "version": u.Versions[fleet.MainComponent]}[in.By]
	}
	var all []aggregate.Value
	err = s.d.History.Windows(consent.For(ctx, in.Purpose), telemetry.WindowQuery{
		Product: p.Name, Signals: []string{g.Name}, From: out.From, To: out.To, Measures: telemetry.MeasureMean,
	}, func(w *telemetry.Window) error {
		if at, seen := group[w.Unit]; seen && w.Stats[0].Count > 0 {
			all = append(all, aggregate.Value{Group: at, Number: w.Stats[0].Mean()})
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	if err := aggregate.Enough(len(all), "a figure"); err != nil {
		return out, err
	}
	out.Table = aggregate.Of(all)
	return out, nil
}

// Public serves data sheets, and notices as they were, to whoever asks: a buyer
// has no account.
func Public(d *Deps, units fleet.Store) http.Handler {
	mux := http.NewServeMux()
	write := func(w http.ResponseWriter, r *http.Request, p *fleet.Product) {
		lang := cmp.Or(r.URL.Query().Get("lang"), preferred(r, p))
		sheet := datasheet.Of(p, lang)
		w.Header().Set("Content-Language", sheet.Language)
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Header().Set("Vary", "Accept-Language")
		switch format := r.URL.Query().Get("format"); format {
		case "json":
			w.Header().Set("Content-Type", "application/json")
			raw, err := huma.DefaultJSONFormat.Marshal, error(nil)
			if err = raw(w, sheet); err != nil {
				http.Error(w, "something went wrong", http.StatusInternalServerError)
			}
		case "text":
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(datasheet.Text(&sheet))) //nolint:gosec // plain text
		default:
			page, err := datasheet.HTML(&sheet, p.Languages())
			if err != nil {
				http.Error(w, "something went wrong", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'")
			_, _ = w.Write(page) //nolint:gosec // html/template has escaped it
		}
	}
	mux.HandleFunc("GET /datasheets/{name}", func(w http.ResponseWriter, r *http.Request) {
		p, err := units.Product(fleet.Unbounded(r.Context()), r.PathValue("name"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		write(w, r, &p)
	})
	mux.HandleFunc("GET /notices/{name}/{version}", func(w http.ResponseWriter, r *http.Request) {
		p, err := units.Product(fleet.Unbounded(r.Context()), r.PathValue("name"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		n, err := d.Notices.Version(r.Context(), &p, r.PathValue("version"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		write(w, r, &n.Words)
	})
	return mux
}

// preferred is the first language of a browser's that a notice has.
func preferred(r *http.Request, p *fleet.Product) string {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		base, _, _ := strings.Cut(tag, "-")
		for _, l := range p.Languages() {
			if b, _, _ := strings.Cut(l, "-"); tag != "" && strings.EqualFold(b, base) {
				return tag
			}
		}
	}
	return p.Tongue()
}
