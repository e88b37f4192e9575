// Package api is the operations of operators (/v1) and owners (/owner/v1) over
// HTTP, described in OpenAPI 3.1 from these Go types. It decides who may ask
// and maps refusals to RFC 9457 problems; what is asked is done by the rooms.
package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"fettle.dev/fettle/internal/api/wire"
)

// page cuts a page of limit out of items, of which limit+1 were asked for.
func page[T any](items []T, limit int, cursor func(T) string) wire.Page[T] {
	if items == nil {
		items = []T{}
	}
	if len(items) <= limit {
		return wire.Page[T]{Items: items}
	}
	return wire.Page[T]{Items: items[:limit], Next: cursor(items[limit-1])}
}

// pageAfter cuts a page out of a whole list, after the item whose cursor is after.
func pageAfter[T any](items []T, p wire.PageParams, cursor func(T) string) wire.Page[T] {
	if p.After != "" {
		i := slices.IndexFunc(items, func(t T) bool { return cursor(t) == p.After })
		items = items[i+1:]
	}
	return page(items, p.Limit, cursor)
}

type server struct {
	d       Deps
	api     huma.API
	origins *http.CrossOriginProtection
}

type none struct{}

// IDParam is the id in a path. It is exported because huma leaves out embedded
// structs that are not.
type IDParam struct {
	ID string `path:"id" maxLength:"200"`
}

// NameParam is the name in a path.
type NameParam struct {
	Name string `path:"name" maxLength:"200"`
}

// New serves the operations. The description is at /v1/openapi.json and /v1/openapi.yaml.
func New(d Deps) http.Handler {
	mux := http.NewServeMux()
	newServer(d, mux)
	return mux
}

func newServer(d Deps, mux *http.ServeMux) *server {
	registry := wire.NewRegistry()
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Fettle", Version: "1",
				Description: "Operators work under /v1, owners under /owner/v1. Lists are paged: give `next` as `after`. " +
					"Mistakes are RFC 9457 problems whose `errors` say where. Times are RFC 3339 in UTC.",
			},
			Components: &huma.Components{
				Schemas: registry,
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":    {Type: "http", Scheme: "bearer", Description: "An API token of an operator, fet_…"},
					"operator": {Type: "apiKey", In: "cookie", Name: wire.OperatorCookie, Description: "An operator's session."},
					"owner":    {Type: "apiKey", In: "cookie", Name: wire.OwnerCookie, Description: "An owner's session."},
				},
			},
		},
		OpenAPIPath:   "/v1/openapi",
		Formats:       huma.DefaultFormats,
		DefaultFormat: "application/json",
	}
	s := &server{d: d, api: humago.New(mux, config), origins: crossOrigin(d.PublicURL)}
	s.api.UseMiddleware(s.authorize)
	s.session()
	s.tokens()
	s.backups()
	s.declared()
	s.units()
	s.claims()
	s.findings()
	s.cohorts()
	s.campaigns()
	s.backtest()
	s.overview()
	s.routes()
	s.artifacts()
	s.ownerSession()
	s.ownerUnits()
	s.ownerUpdates()
	return s
}

// route describes one operation.
type route struct {
	method, path string
	id, summary  string
	doc          string
	tag          string
	access       access
	status       int
	maxBody      int64
	raw          bool // the handler decodes the body strictly by itself
	slow         bool // a large body may take a while to arrive
}

// access says who may call an operation.
type access int

const (
	nobody access = iota // zero value: a route that forgot is refused to all
	anyone
	read
	write
	admin
	owner
)

var security = map[access][]map[string][]string{
	anyone: {},
	read:   {{"token": {}}, {"operator": {}}},
	write:  {{"token": {}}, {"operator": {}}},
	admin:  {{"token": {}}, {"operator": {}}},
	owner:  {{"owner": {}}},
}

func (r route) operation() huma.Operation {
	op := huma.Operation{
		Method: r.method, Path: r.path, OperationID: r.id, Summary: r.summary, Description: r.doc,
		Tags: []string{r.tag}, Security: security[r.access], DefaultStatus: r.status,
		Metadata: map[string]any{"access": r.access}, MaxBodyBytes: r.maxBody, SkipValidateBody: r.raw,
		Errors: []int{http.StatusUnprocessableEntity, http.StatusInternalServerError},
	}
	if r.slow {
		op.BodyReadTimeout = 5 * time.Minute
	}
	if r.access != anyone {
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(r.path, "{") {
		op.Errors = append(op.Errors, http.StatusNotFound)
	}
	if r.method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusConflict)
	}
	return op
}

type reply[T any] struct{ Body T }

// add registers an operation whose answer has a body.
func add[I, O any](s *server, r route, handle func(context.Context, *I) (O, error)) {
	huma.Register(s.api, r.operation(), func(ctx context.Context, in *I) (*reply[O], error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return &reply[O]{out}, nil
	})
}

// do registers an operation that answers with nothing (204).
func do[I any](s *server, r route, handle func(context.Context, *I) error) {
	if r.status == 0 {
		r.status = http.StatusNoContent
	}
	huma.Register(s.api, r.operation(), func(ctx context.Context, in *I) (*struct{}, error) {
		if err := handle(ctx, in); err != nil {
			return nil, s.problem(ctx, err)
		}
		return nil, nil
	})
}
