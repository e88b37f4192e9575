// Package artifacts is the operations about images: uploading them, whole or in
// pieces, and what units of each version fetch of a release.
package artifacts

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/delta"
	"fettle.dev/fettle/internal/update/upload"
)

// Deps is what the operations work with.
type Deps struct {
	Updates *update.Service
	Uploads *upload.Service
	Deltas  *delta.Manager
}

type server struct {
	*frame.Server
	d Deps
}

type artifactIn struct {
	SHA256 string `path:"sha256" pattern:"^[0-9a-f]{64}$"`
}

func view(a update.Artifact) wire.Artifact {
	return wire.Artifact{SHA256: a.SHA256, SHA1: a.SHA1, MD5: a.MD5, Size: a.Size, Filename: a.Filename, At: a.At}
}

// Register adds the operations.
func Register(f *frame.Server, d Deps) {
	s := &server{f, d}
	s.upload()
	s.uploads()
	frame.Add(f, frame.Route{Method: http.MethodGet, Path: "/v1/artifacts/{sha256}", ID: "getArtifact", Summary: "What is known of an artifact", Tag: "artifacts", Access: access.Look, Sight: frame.ByProduct},
		func(ctx context.Context, in *artifactIn) (wire.Artifact, error) {
			a, err := d.Updates.Artifact(ctx, in.SHA256)
			return view(a), err
		})
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/releases/{name}/sizes", ID: "listReleaseSizes", Summary: "What units of each version fetch of a release", Tag: "releases", Access: access.Look, Sight: frame.ByUnit,
		Doc: "For each version that units report, those that most have first: the bytes of the image, and the bytes that a unit fetches whose client takes deltas. Deltas are made in the background.",
	}, s.sizes)
}

func (s *server) sizes(ctx context.Context, in *frame.NameParam) (wire.Page[wire.ReleaseSize], error) {
	r, err := s.d.Updates.Release(ctx, in.Name)
	if err != nil {
		return wire.Page[wire.ReleaseSize]{}, err
	}
	rows, err := s.d.Deltas.Table(ctx, &r)
	out := wire.Page[wire.ReleaseSize]{Items: make([]wire.ReleaseSize, len(rows))}
	for i, row := range rows {
		out.Items[i] = wire.ReleaseSize{
			Component: row.Component, Version: row.Version, Units: row.Units, Full: row.Full, Size: row.Size, Coding: row.Coding,
			State: string(row.State), Done: row.Done, Window: row.Window, Seconds: row.Took.Seconds(), Why: row.Why,
		}
	}
	return out, err
}

// upload is registered by hand, because the bytes are streamed: huma would
// hold them in memory.
func (s *server) upload() {
	r := frame.Route{
		Method: http.MethodPost, Path: "/v1/artifacts", ID: "uploadArtifact", Summary: "Upload an artifact in one request",
		Doc: "The same bytes are kept once. An upload that may be cut goes by /v1/uploads.", Tag: "artifacts", Access: access.Release, Sight: frame.ByProduct, Status: http.StatusCreated,
	}
	op := r.Operation()
	one, most := 1, 200
	op.Parameters = []*huma.Param{{
		Name: "filename", In: "query", Required: true, Description: "A plain file name, ending in .swu for SWUpdate.",
		Schema: &huma.Schema{Type: huma.TypeString, MinLength: &one, MaxLength: &most},
	}}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}
	registry := s.API.OpenAPI().Components.Schemas
	op.Responses = map[string]*huma.Response{
		"201":     {Description: "Created", Content: map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(reflect.TypeFor[wire.Artifact](), true, "")}}},
		"default": s.problems(),
	}
	s.handle(op, s.receive)
}

func (s *server) problems() *huma.Response {
	problem := &huma.MediaType{Schema: s.API.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "")}
	return &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{"application/problem+json": problem}}
}

// handle registers an operation that reads and writes by itself.
func (s *server) handle(op huma.Operation, fn func(huma.Context)) {
	op.Errors = nil
	s.API.OpenAPI().AddOperation(&op)
	s.API.Adapter().Handle(&op, s.API.Middlewares().Handler(fn))
}

func (s *server) receive(ctx huma.Context) {
	r, w := humago.Unwrap(ctx)
	// Large images come over slow lines: the server's read deadline is for requests.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	a, err := s.d.Updates.PutArtifact(ctx.Context(), http.MaxBytesReader(w, r.Body, upload.MostSize), ctx.Query("filename"))
	if err != nil {
		s.answer(ctx, s.Problem(ctx.Context(), err))
		return
	}
	ctx.SetHeader("Content-Type", "application/json")
	ctx.SetStatus(http.StatusCreated)
	if err := s.API.Marshal(ctx.BodyWriter(), "application/json", view(a)); err != nil {
		s.Log.WarnContext(ctx.Context(), "answer", "error", err)
	}
}

// answer writes a problem.
func (s *server) answer(ctx huma.Context, err error) {
	p, ok := err.(*huma.ErrorModel) //nolint:errorlint // Problem made it
	if !ok {
		p = &huma.ErrorModel{Status: http.StatusInternalServerError, Title: http.StatusText(http.StatusInternalServerError)}
	}
	ctx.SetHeader("Content-Type", "application/problem+json")
	ctx.SetStatus(p.Status)
	if err := s.API.Marshal(ctx.BodyWriter(), "application/json", p); err != nil {
		s.Log.WarnContext(ctx.Context(), "answer", "error", err)
	}
}
