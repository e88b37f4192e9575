package artifacts

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update/upload"
)

// Uploads in pieces speak tus 1.0.0 (https://tus.io/protocols/resumable-upload),
// with its extensions creation, termination and expiration, so that any client
// of it serves. Upload-Metadata names the file as filename; sha256 may tell its
// hash in hexadecimal digits, and what is known by it is not sent again.

const (
	tusVersion    = "1.0.0"
	tusExtensions = "creation,termination,expiration"
	tusContent    = "application/offset+octet-stream"
)

const uploadsPath = "/v1/uploads"

func (s *server) uploads() {
	header := func(name, text string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: text, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	id := &huma.Param{Name: "id", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}}
	resumable := header("Tus-Resumable", "1.0.0.")
	add := func(r frame.Route, status int, words string, params []*huma.Param, fn func(ctx huma.Context) error) {
		r.Tag, r.Status = "artifacts", status
		op := r.Operation()
		op.Parameters = params
		op.Responses = map[string]*huma.Response{strconv.Itoa(status): {Description: words}, "default": s.problems()}
		if r.Method == http.MethodPatch {
			op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
				tusContent: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
			}}
		}
		s.handle(op, func(ctx huma.Context) { s.tus(ctx, status, fn) })
	}
	add(frame.Route{Method: http.MethodOptions, Path: uploadsPath, ID: "describeUploads", Summary: "What uploads in pieces can do (tus 1.0.0)", Access: access.Look, Sight: frame.ByProduct},
		http.StatusNoContent, "Described in Tus-Version, Tus-Extension and Tus-Max-Size", nil, func(ctx huma.Context) error {
			ctx.SetHeader("Tus-Version", tusVersion)
			ctx.SetHeader("Tus-Extension", tusExtensions)
			ctx.SetHeader("Tus-Max-Size", strconv.FormatInt(upload.MostSize, 10))
			return nil
		})
	add(frame.Route{
		Method: http.MethodPost, Path: uploadsPath, ID: "createUpload", Summary: "Begin an upload in pieces (tus 1.0.0)", Access: access.Release, Sight: frame.ByProduct,
		Doc: "Any tus client serves. Upload-Metadata names the file as filename, and may name its sha256 in hexadecimal digits: bytes that are known are not sent again.",
	}, http.StatusCreated, "Begun; Location says where", []*huma.Param{
		resumable, header("Upload-Length", "Bytes of the file."), header("Upload-Metadata", "filename and a space and the name in base64, and so sha256, separated by a comma."),
	}, s.createUpload)
	add(frame.Route{Method: http.MethodHead, Path: uploadsPath + "/{id}", ID: "getUpload", Summary: "How much of an upload has arrived", Access: access.Release, Sight: frame.ByProduct},
		http.StatusOK, "Upload-Offset and Upload-Length say it", []*huma.Param{id, resumable}, func(ctx huma.Context) error {
			u, err := s.d.Uploads.Upload(ctx.Context(), ctx.Param("id"))
			if err == nil {
				told(ctx, &u)
			}
			return err
		})
	add(frame.Route{Method: http.MethodPatch, Path: uploadsPath + "/{id}", ID: "appendUpload", Summary: "Send the next piece of an upload", Access: access.Release, Sight: frame.ByProduct},
		http.StatusNoContent, "Arrived; Upload-Offset says how far it is. When that is the length, the bytes are an artifact",
		[]*huma.Param{id, resumable, header("Upload-Offset", "Where the piece begins.")}, s.appendUpload)
	add(frame.Route{Method: http.MethodDelete, Path: uploadsPath + "/{id}", ID: "cancelUpload", Summary: "Cancel an upload", Access: access.Release, Sight: frame.ByProduct},
		http.StatusNoContent, "Canceled", []*huma.Param{id, resumable}, func(ctx huma.Context) error {
			return s.d.Uploads.Cancel(ctx.Context(), ctx.Param("id"))
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: uploadsPath, ID: "listUploads", Summary: "Uploads in pieces, finished ones for a week", Tag: "artifacts", Access: access.Release},
		func(ctx context.Context, _ *frame.None) (wire.Page[wire.Upload], error) {
			list, err := s.d.Uploads.List(ctx)
			out := wire.Page[wire.Upload]{Items: []wire.Upload{}}
			for i := range list {
				u := &list[i]
				out.Items = append(out.Items, wire.Upload{ID: u.ID, Filename: u.Filename, Length: u.Length, Offset: u.Offset, Announced: u.Announced, SHA256: u.SHA256, At: u.At, Expires: u.Expires()})
			}
			return out, err
		})
}

// tus answers a request of the protocol.
func (s *server) tus(ctx huma.Context, status int, fn func(huma.Context) error) {
	ctx.SetHeader("Tus-Resumable", tusVersion)
	ctx.SetHeader("Cache-Control", "no-store")
	err := error(nil)
	if v := ctx.Header("Tus-Resumable"); v != tusVersion && ctx.Method() != http.MethodOptions {
		ctx.SetHeader("Tus-Version", tusVersion)
		err = &huma.ErrorModel{Status: http.StatusPreconditionFailed, Title: "Precondition Failed", Detail: "Tus-Resumable: 1.0.0 is wanted, as clients of the tus protocol send it"}
	} else {
		err = fn(ctx)
	}
	if err == nil {
		ctx.SetStatus(status)
		return
	}
	p := s.Problem(ctx.Context(), err)
	if m, ok := errors.AsType[*huma.ErrorModel](p); ok && errors.Is(err, upload.ErrRoom) {
		m.Status, m.Title = http.StatusInsufficientStorage, http.StatusText(http.StatusInsufficientStorage)
	}
	s.answer(ctx, p)
}

// told says where an upload stands.
func told(ctx huma.Context, u *upload.Upload) {
	ctx.SetHeader("Upload-Offset", strconv.FormatInt(u.Offset, 10))
	ctx.SetHeader("Upload-Length", strconv.FormatInt(u.Length, 10))
	if !u.Whole() {
		ctx.SetHeader("Upload-Expires", u.Expires().UTC().Format(http.TimeFormat))
	}
}

func bad(header, expected, got string) error {
	return fault.Fields("upload", []fault.Field{{Path: header, Expected: expected, Got: got}})
}

func (s *server) createUpload(ctx huma.Context) error {
	length, err := strconv.ParseInt(ctx.Header("Upload-Length"), 10, 64)
	if err != nil {
		return bad("Upload-Length", "the number of bytes of the file", ctx.Header("Upload-Length"))
	}
	meta, err := metadata(ctx.Header("Upload-Metadata"))
	if err != nil {
		return err
	}
	sum := strings.ToLower(meta["sha256"])
	if b, err := hex.DecodeString(sum); sum != "" && (err != nil || len(b) != 32) {
		return bad("Upload-Metadata.sha256", "64 hexadecimal digits", sum)
	}
	u, err := s.d.Uploads.Create(ctx.Context(), meta["filename"], length, sum)
	if err != nil {
		return err
	}
	ctx.SetHeader("Location", uploadsPath+"/"+u.ID)
	told(ctx, &u)
	return nil
}

// metadata reads Upload-Metadata: pairs of a key and, in base64, its value.
func metadata(header string) (map[string]string, error) {
	out := map[string]string{}
	if len(header) > 4096 {
		return nil, bad("Upload-Metadata", "at most 4096 bytes", "")
	}
	for pair := range strings.SplitSeq(header, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), " ")
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err != nil {
			return nil, bad("Upload-Metadata."+key, "a value in base64", value)
		}
		out[key] = string(b)
	}
	if out["filename"] == "" {
		return nil, bad("Upload-Metadata", "the file's name as filename", "")
	}
	return out, nil
}

// stalledAfter is how long a piece may bring nothing before it is cut: what
// has arrived is kept.
const stalledAfter = 2 * time.Minute

func (s *server) appendUpload(ctx huma.Context) error {
	offset, err := strconv.ParseInt(ctx.Header("Upload-Offset"), 10, 64)
	if err != nil || offset < 0 {
		return bad("Upload-Offset", "the number of bytes that have arrived", ctx.Header("Upload-Offset"))
	}
	if kind, _, _ := strings.Cut(ctx.Header("Content-Type"), ";"); strings.TrimSpace(kind) != tusContent {
		return &huma.ErrorModel{Status: http.StatusUnsupportedMediaType, Title: "Unsupported Media Type", Detail: "a piece has Content-Type " + tusContent}
	}
	r, w := humago.Unwrap(ctx)
	u, err := s.d.Uploads.Append(ctx.Context(), ctx.Param("id"), offset, &body{Reader: r.Body, control: http.NewResponseController(w), wall: s.Wall})
	if u.ID != "" {
		told(ctx, &u)
	}
	return err
}

// body is a request's body that is not waited for endlessly.
type body struct {
	io.Reader
	control *http.ResponseController
	wall    clock.Clock
	cut     atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(b.wall.Now().Add(stalledAfter)) // where it cannot be set, none is needed
	if b.cut.Load() {
		return 0, context.Canceled
	}
	return b.Reader.Read(p)
}

// Cut wakes a read that waits, and lets none begin.
func (b *body) Cut() {
	b.cut.Store(true)
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}
