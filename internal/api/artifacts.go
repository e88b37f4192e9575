package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/update"
)

// maxArtifact bounds one image.
const maxArtifact = 8 << 30

type artifactIn struct {
	SHA256 string `path:"sha256" pattern:"^[0-9a-f]{64}$"`
}

func artifactView(a update.Artifact) wire.Artifact {
	return wire.Artifact{SHA256: a.SHA256, SHA1: a.SHA1, MD5: a.MD5, Size: a.Size, Filename: a.Filename, At: a.At}
}

func (s *server) artifacts() {
	s.upload()
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/artifacts/{sha256}", ID: "getArtifact", Summary: "What is known of an artifact", Tag: "artifacts", Access: frame.Read},
		func(ctx context.Context, in *artifactIn) (wire.Artifact, error) {
			a, err := s.d.Updates.Artifact(ctx, in.SHA256)
			return artifactView(a), err
		})
}

// upload is registered by hand, because the bytes are streamed: huma would
// hold them in memory.
func (s *server) upload() {
	r := frame.Route{
		Method: http.MethodPost, Path: "/v1/artifacts", ID: "uploadArtifact", Summary: "Upload an artifact",
		Doc: "The same bytes are kept once.", Tag: "artifacts", Access: frame.Write, Status: http.StatusCreated,
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
	problem := &huma.MediaType{Schema: registry.Schema(reflect.TypeFor[huma.ErrorModel](), true, "")}
	op.Responses = map[string]*huma.Response{
		"201":     {Description: "Created", Content: map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(reflect.TypeFor[wire.Artifact](), true, "")}}},
		"default": {Description: "Error", Content: map[string]*huma.MediaType{"application/problem+json": problem}},
	}
	op.Errors = nil
	s.API.OpenAPI().AddOperation(&op)
	s.API.Adapter().Handle(&op, s.API.Middlewares().Handler(s.receive))
}

func (s *server) receive(ctx huma.Context) {
	r, w := humago.Unwrap(ctx)
	// Large images come over slow lines: the server's read deadline is for requests.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	a, err := s.d.Updates.PutArtifact(ctx.Context(), http.MaxBytesReader(w, r.Body, maxArtifact), ctx.Query("filename"))
	if err != nil {
		s.answer(ctx, s.Problem(ctx.Context(), err))
		return
	}
	ctx.SetHeader("Content-Type", "application/json")
	ctx.SetStatus(http.StatusCreated)
	if err := s.API.Marshal(ctx.BodyWriter(), "application/json", artifactView(a)); err != nil {
		s.d.Log.WarnContext(ctx.Context(), "answer", "error", err)
	}
}

// answer writes a problem.
func (s *server) answer(ctx huma.Context, err error) {
	p, ok := err.(*huma.ErrorModel) //nolint:errorlint // problem made it
	if !ok {
		p = &huma.ErrorModel{Status: http.StatusInternalServerError, Title: http.StatusText(http.StatusInternalServerError)}
	}
	ctx.SetHeader("Content-Type", "application/problem+json")
	ctx.SetStatus(p.Status)
	if err := s.API.Marshal(ctx.BodyWriter(), "application/json", p); err != nil {
		s.d.Log.WarnContext(ctx.Context(), "answer", "error", err)
	}
}
