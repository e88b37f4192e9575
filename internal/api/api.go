// Package api is the operations of operators (/v1) and owners (/owner/v1) over
// HTTP, described in OpenAPI 3.1 from these Go types. It decides who may ask
// and maps refusals to RFC 9457 problems; what is asked is done by the rooms.
package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"fettle.dev/fettle/internal/api/apply"
	"fettle.dev/fettle/internal/api/approvals"
	"fettle.dev/fettle/internal/api/artifacts"
	"fettle.dev/fettle/internal/api/backtests"
	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/api/detectors"
	"fettle.dev/fettle/internal/api/events"
	"fettle.dev/fettle/internal/api/export"
	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/logs"
	"fettle.dev/fettle/internal/api/messages"
	"fettle.dev/fettle/internal/api/mine"
	"fettle.dev/fettle/internal/api/operators"
	"fettle.dev/fettle/internal/api/outlook"
	"fettle.dev/fettle/internal/api/ownerapi"
	"fettle.dev/fettle/internal/api/owners"
	"fettle.dev/fettle/internal/api/preferences"
	"fettle.dev/fettle/internal/api/privacy"
	"fettle.dev/fettle/internal/api/releases"
	"fettle.dev/fettle/internal/api/rollout"
	"fettle.dev/fettle/internal/api/settings"
	"fettle.dev/fettle/internal/api/signin"
	"fettle.dev/fettle/internal/api/tips"
	"fettle.dev/fettle/internal/api/trust"
	"fettle.dev/fettle/internal/api/wear"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/api/words"
	"fettle.dev/fettle/internal/condition"
	foresight "fettle.dev/fettle/internal/condition/outlook"
)

type server struct {
	*frame.Server
	d         Deps
	approvals *approvals.Server
}

// New serves the operations. The description is at /v1/openapi.json and /v1/openapi.yaml.
func New(d Deps) http.Handler {
	mux := http.NewServeMux()
	newServer(d, mux)
	return mux
}

func newServer(d Deps, mux *http.ServeMux) *server {
	d.unbound()
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
					"app":      {Type: "http", Scheme: "bearer", Description: "A token of an owner's app, feo_…"},
					"share":    {Type: "http", Scheme: "bearer", Description: "A third party's token of a share, fts_…"},
					"owner":    {Type: "apiKey", In: "cookie", Name: wire.OwnerCookie, Description: "An owner's session."},
				},
			},
		},
		OpenAPIPath:   "/v1/openapi",
		Formats:       huma.DefaultFormats,
		DefaultFormat: "application/json",
	}
	s := &server{d: d, Server: &frame.Server{
		API: humago.New(mux, config), Log: d.Log, Wall: d.Wall, Access: d.Access, Fleet: d.Fleet, People: d.People, PublicURL: d.PublicURL, Trail: d.Trail,
	}}
	s.API.UseMiddleware(frame.Listen)
	s.Guard()
	s.session()
	s.tokens()
	operators.Register(s.Server, operators.Deps{Describe: s.describe, Page: d.PublicURL + "/console/sign-in"})
	s.approvals = approvals.Register(s.Server, approvals.Deps{Campaigns: d.Campaigns, Runs: d.Runs, Updates: d.Updates, Condition: d.Condition})
	s.backups()
	s.backupKeys()
	s.declared()
	s.units()
	events.Register(s.Server, d.Choices, d.History)
	export.Register(s.Server, d.Choices, d.History)
	d.Data.Apply = func(ctx context.Context, in wire.Apply) (wire.Applied, error) {
		return apply.Documents(ctx, s.applyDeps(), in)
	}
	data.Register(s.Server, d.Data)
	s.claims()
	s.findings()
	s.cohorts()
	s.campaigns()
	rollout.Register(s.Server, d.Campaigns, d.Runs, d.Updates)
	detectors.Register(s.Server, d.Condition)
	backtests.Register(s.Server, backtests.Deps{
		Jobs: d.Backtests, Conditions: d.Condition, Members: s.members,
		View: func(ctx context.Context, f []condition.Finding) ([]wire.Finding, error) {
			return s.newTitles().views(ctx, f)
		},
	})
	outlook.Register(s.Server, &foresight.Service{Detectors: d.Condition, Fleet: d.Fleet, Consents: d.Choices, History: d.History})
	wear.Register(s.Server, wear.Deps{Clock: d.Clock, Maintenance: d.Maintenance, Prognosis: d.Prognosis, Conditions: d.Condition})
	s.overview()
	s.routes()
	releases.Register(s.Server, releases.Deps{Updates: d.Updates, Register: d.Register, Fleet: d.Fleet, Cohorts: d.Cohorts, Campaigns: d.Campaigns, Runs: d.Runs})
	artifacts.Register(s.Server, artifacts.Deps{Updates: d.Updates, Uploads: d.Uploads, Deltas: d.Deltas})
	logs.Register(s.Server, d.Updates)
	preferences.Register(s.Server, d.Campaigns)
	words.Register(s.Server, d.Words)
	messages.Register(s.Server, d.Messages)
	trust.Register(s.Server, d.Trust)
	settings.Register(s.Server, d.Fleet, d.Updates)
	tips.Register(s.Server, tips.Deps{Tips: d.Tips, Fleet: d.Fleet, Clock: d.Clock, Feeds: d.Feeds})
	privacy.Register(s.Server, privacy.Deps{Privacy: d.Privacy, Trail: d.Trail, Access: d.Access, Fleet: d.Fleet})
	signin.Register(s.Server, d.SignIn)
	owners.Register(s.Server)
	s.ownerSession()
	s.ownerUnits()
	s.ownerUpdates()
	ownerapi.Register(mux, s.API)
	mine.Register(s.Server, mine.Deps{
		See: s.see, Conditions: d.Condition, Maintenance: d.Maintenance, Runs: d.Runs, Update: s.newShowcase().show,
		Series: func(ctx context.Context, unit, signal string, from, to time.Time, points int) (wire.Series, error) {
			return s.series(ctx, &seriesIn{IDParam: frame.IDParam{ID: unit}, Signal: signal, From: from, To: to, Buckets: points})
		},
	})
	return s
}
