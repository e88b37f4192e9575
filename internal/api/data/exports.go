package data

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/consent/takeout"
)

type askExport struct {
	Body struct {
		Language string `json:"language,omitempty" maxLength:"35" doc:"Of the descriptions; absent: the owner's."`
	}
}

// exports are everything about an owner and their units, as an archive.
func (s *server) exports() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/exports", ID: "askExport", Summary: "Ask for everything about me and my units",
		Doc: "It is made in the background: look at it until it is ready. One that is being made is given instead of another.", Tag: "owner", Access: frame.Owner, Session: true, Status: http.StatusAccepted,
	}, func(ctx context.Context, in *askExport) (takeout.Export, error) {
		o, err := s.Fleet.Owner(ctx, frame.Who(ctx).ID)
		if err != nil {
			return takeout.Export{}, err
		}
		if in.Body.Language == "" {
			in.Body.Language = frame.Language(ctx, o.Locale)
		}
		return s.d.Exports.Ask(ctx, o.ID, in.Body.Language)
	})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/exports", ID: "listExports", Summary: "My exports, the newest first", Tag: "owner", Access: frame.Owner, Session: true},
		func(ctx context.Context, _ *frame.None) (wire.List[takeout.Export], error) {
			all, err := s.d.Exports.Of(ctx, frame.Who(ctx).ID)
			return wire.List[takeout.Export]{Items: append([]takeout.Export{}, all...)}, err
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/exports/{id}", ID: "getExport", Summary: "How far an export is", Tag: "owner", Access: frame.Owner, Session: true},
		func(ctx context.Context, in *frame.IDParam) (takeout.Export, error) {
			return s.d.Exports.Export(ctx, frame.Who(ctx).ID, in.ID)
		})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: "/owner/v1/exports/{id}", ID: "deleteExport", Summary: "Remove an export before its link expires", Tag: "owner", Access: frame.Owner, Session: true},
		func(ctx context.Context, in *frame.IDParam) error {
			return s.d.Exports.Drop(ctx, frame.Who(ctx).ID, in.ID)
		})
	op := frame.Route{
		Method: http.MethodGet, Path: "/owner/v1/exports/{id}/archive", ID: "downloadExport", Summary: "Download an export",
		Doc: "A ZIP archive of CSV, Parquet and JSON; columns.json (W3C CSVW) describes each column. The address is good until the export's expiresAt, for its owner alone.", Tag: "owner", Access: frame.Owner, Session: true,
	}.Operation()
	op.Responses = map[string]*huma.Response{"200": {Description: "The archive.", Content: map[string]*huma.MediaType{"application/zip": {Schema: &huma.Schema{Type: "string", Format: "binary"}}}}}
	huma.Register(s.API, op, func(ctx context.Context, in *frame.IDParam) (*huma.StreamResponse, error) {
		e, err := s.d.Exports.Export(ctx, frame.Who(ctx).ID, in.ID)
		if err == nil {
			err = s.d.Exports.Good(e)
		}
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("Content-Type", "application/zip")
			hc.SetHeader("Content-Disposition", fmt.Sprintf(`attachment; filename="my-data-%s.zip"`, e.EndedAt.UTC().Format("2006-01-02")))
			hc.SetStatus(http.StatusOK)
			if err := s.d.Exports.Archive(ctx, e, hc.BodyWriter()); err != nil {
				panic(http.ErrAbortHandler) // so that the client sees a broken transfer, not a whole one
			}
		}}, nil
	})
}
