package frame

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/fault"
)

var statusOf = map[fault.Kind]int{
	fault.Internal:    http.StatusInternalServerError,
	fault.Invalid:     http.StatusUnprocessableEntity,
	fault.NotFound:    http.StatusNotFound,
	fault.Conflict:    http.StatusConflict,
	fault.Denied:      http.StatusForbidden,
	fault.Unavailable: http.StatusServiceUnavailable,
}

// Problem is the one mapping from kinds of fault to RFC 9457 problems. What
// nobody classified is logged, and told without its words.
func (s *Server) Problem(ctx context.Context, err error) error {
	if _, ok := errors.AsType[huma.StatusError](err); ok {
		return err
	}
	kind := fault.KindOf(err)
	p := &huma.ErrorModel{Status: statusOf[kind], Title: http.StatusText(statusOf[kind])}
	switch {
	case ctx.Err() != nil && kind == fault.Internal:
		p.Status, p.Title, p.Detail = http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable), "the request was given up"
		return p
	case kind == fault.Internal:
		s.Log.ErrorContext(ctx, "operation failed", "error", err)
		p.Detail = "something went wrong on our side; the log says what"
		return p
	case kind == fault.Unavailable:
		s.Log.WarnContext(ctx, "operation refused for now", "error", err)
	}
	fields := fault.FieldsOf(err)
	p.Detail = err.Error()
	if len(fields) > 0 {
		p.Detail = "there are mistakes"
		if len(fields) == 1 {
			p.Detail = "there is a mistake"
		}
	}
	for _, f := range fields {
		p.Errors = append(p.Errors, detail(f))
	}
	return p
}

// detail tells one mistake. Paths of the input are relative to the body unless
// they say otherwise.
func detail(f fault.Field) *huma.ErrorDetail {
	location := f.Path
	if first, _, _ := strings.Cut(location, "."); first != "body" && first != "query" && first != "path" {
		location = "body." + location
	}
	d := &huma.ErrorDetail{Location: location, Message: "expected " + f.Expected}
	if f.Got != "" {
		d.Message += ", got " + f.Got
		d.Value = f.Got
	}
	return d
}
