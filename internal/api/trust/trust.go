// Package trust serves what operators do about signed update metadata: how
// things stand, what travels to the holders of offline keys and back, which
// products require signatures.
package trust

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update/trust"
	"fettle.dev/fettle/internal/update/trust/ceremony"
)

type exportIn struct {
	Expires string `query:"expires" doc:"What is to be signed expires after this, as 365d (the default)."`
}

// bundleIn is a file of fettle keys: its shape is the command's own matter.
type bundleIn struct {
	Body map[string]any `doc:"The file that fettle keys sign has written."`
}

type rootIn struct {
	Repository string `path:"repository" enum:"image,director"`
	Version    int64  `query:"version" minimum:"0" doc:"Absent: the newest."`
}

// longestLife is how far ahead targets may expire.
const longestLife = 10 * 366 * 24 * time.Hour

// Register adds the operations to a server.
func Register(f *frame.Server, s *trust.Service) {
	route := func(method, path, id, summary, doc string, may frame.Access) frame.Route {
		return frame.Route{Method: method, Path: "/v1/trust" + path, ID: id, Summary: summary, Doc: doc, Tag: "trust", Access: may}
	}
	frame.Add(f, route(http.MethodGet, "", "getTrust", "How signing stands, and what to do next", "Roots and who holds their keys, what is signed, what waits to be, and what expires.", access.Look),
		func(ctx context.Context, _ *frame.None) (trust.Status, error) { return s.Status(ctx) })
	frame.Add(f, route(http.MethodPost, "/export", "exportTrust", "Give what the holders of offline keys need", "The server's public keys, what is in force, and targets to be signed, for fettle keys. It holds no secret. The first call makes the server's keys.", access.Release),
		func(ctx context.Context, in *exportIn) (map[string]any, error) {
			life := trust.TargetsLife
			if in.Expires != "" {
				d, err := fleet.ParseDuration(in.Expires)
				if err != nil || d <= 0 || time.Duration(d) > longestLife {
					return nil, fault.Fields("export", []fault.Field{{Path: "query.expires", Expected: "a time span of at most ten years, as 365d", Got: in.Expires}})
				}
				life = time.Duration(d)
			}
			b, err := s.Export(ctx, life)
			if err != nil {
				return nil, err
			}
			raw, err := json.Marshal(b)
			if err != nil {
				return nil, err
			}
			var out map[string]any
			return out, json.Unmarshal(raw, &out)
		})
	frame.Add(f, route(http.MethodPost, "/import", "importTrust", "Put signed roots and targets into force", "All of the file or nothing: each must follow what is in force by one version and carry enough signatures.", access.Administer),
		func(ctx context.Context, in *bundleIn) (trust.Imported, error) {
			raw, err := json.Marshal(in.Body)
			if err != nil {
				return trust.Imported{}, err
			}
			b, err := ceremony.ReadBundle(raw)
			if err != nil {
				return trust.Imported{}, err
			}
			return s.Import(ctx, b)
		})
	frame.Do(f, route(http.MethodPost, "/renew-online", "renewTrustKeys", "Make new online keys, used once a root names them", "After a key of the server may have been stolen, or now and then: export, rotate the roots, sign, import.", access.Administer),
		func(ctx context.Context, _ *frame.None) error { return s.RenewOnline(ctx) })
	frame.Add(f, route(http.MethodGet, "/roots/{repository}", "getTrustRoot", "The root that units are made with", "", access.Look),
		func(ctx context.Context, in *rootIn) (map[string]any, error) {
			b, err := s.Root(ctx, in.Repository, in.Version)
			if err != nil {
				return nil, err
			}
			var out map[string]any
			return out, json.Unmarshal(b, &out)
		})
	frame.Do(f, route(http.MethodPut, "/products/{name}", "requireTrust", "Offer only signed releases of a product", "Releases that are not signed wait, with the refusal \"unsigned\".", access.Administer),
		func(ctx context.Context, in *frame.NameParam) error {
			if _, err := f.Fleet.Product(ctx, in.Name); err != nil {
				return err
			}
			return s.Require(ctx, in.Name, frame.Who(ctx).Email)
		})
	frame.Do(f, route(http.MethodDelete, "/products/{name}", "releaseTrust", "Offer unsigned releases of a product, too", "", access.Administer),
		func(ctx context.Context, in *frame.NameParam) error {
			if _, err := f.Fleet.Product(ctx, in.Name); err != nil && !s.Required(in.Name) {
				return err
			}
			return s.Release(ctx, in.Name)
		})
	frame.Do(f, route(http.MethodDelete, "/units/{id}", "forgetTrustUnit", "Let a unit that was set up anew sign its version reports with a new key", "", access.Administer),
		func(ctx context.Context, in *frame.IDParam) error {
			if _, err := f.Fleet.Unit(ctx, in.ID); err != nil {
				return err
			}
			return s.ForgetUnit(ctx, in.ID)
		})
}
