package frame

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
)

// Route describes one operation.
type Route struct {
	Method, Path string
	ID, Summary  string
	Doc          string
	Tag          string
	Access       Access
	Status       int
	MaxBody      int64
	Raw          bool // the handler decodes the body strictly by itself
	Slow         bool // a large body may take a while to arrive

	// Personal is what of people's data the answer shows, one of audit.Data; ""
	// is none. The handler says whose by audit.Looked, before it answers.
	Personal string
	// Asks: it changes nothing, although its method is not GET.
	Asks bool
}

// Access says who may call an operation.
type Access int

// Who may. Nobody is the zero value: a route that forgot is refused to all.
const (
	Nobody Access = iota
	Anyone
	Read
	Write
	Admin
	Owner
)

var security = map[Access][]map[string][]string{
	Anyone: {},
	Read:   {{"token": {}}, {"operator": {}}},
	Write:  {{"token": {}}, {"operator": {}}},
	Admin:  {{"token": {}}, {"operator": {}}},
	Owner:  {{"owner": {}}},
}

// Operation is r as huma takes it, for handlers that Add and Do do not fit.
func (r Route) Operation() huma.Operation {
	op := huma.Operation{
		Method: r.Method, Path: r.Path, OperationID: r.ID, Summary: r.Summary, Description: r.Doc,
		Tags: []string{r.Tag}, Security: security[r.Access], DefaultStatus: r.Status,
		Metadata: map[string]any{"access": r.Access, "personal": r.Personal, "asks": r.Asks}, MaxBodyBytes: r.MaxBody, SkipValidateBody: r.Raw,
		Errors: []int{http.StatusUnprocessableEntity, http.StatusInternalServerError},
	}
	if r.Slow {
		op.BodyReadTimeout = 5 * time.Minute
	}
	if r.Access != Anyone {
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden)
	}
	if strings.Contains(r.Path, "{") {
		op.Errors = append(op.Errors, http.StatusNotFound)
	}
	if r.Method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusConflict)
	}
	return op
}

type reply[T any] struct{ Body T }

// Add registers an operation whose answer has a body.
func Add[I, O any](s *Server, r Route, handle func(context.Context, *I) (O, error)) {
	huma.Register(s.API, r.Operation(), func(ctx context.Context, in *I) (*reply[O], error) {
		if !r.Raw {
			audit.Changed(ctx, fields(in)...)
		}
		out, err := handle(ctx, in)
		if err = s.settle(ctx, err); err != nil {
			return nil, err
		}
		return &reply[O]{out}, nil
	})
}

// Do registers an operation that answers with nothing (204).
func Do[I any](s *Server, r Route, handle func(context.Context, *I) error) {
	if r.Status == 0 {
		r.Status = http.StatusNoContent
	}
	huma.Register(s.API, r.Operation(), func(ctx context.Context, in *I) (*struct{}, error) {
		if !r.Raw {
			audit.Changed(ctx, fields(in)...)
		}
		return nil, s.settle(ctx, handle(ctx, in))
	})
}

// None is an input without parameters.
type None struct{}

// IDParam is the id in a path. It is exported because huma leaves out embedded
// structs that are not.
type IDParam struct {
	ID string `path:"id" maxLength:"200"`
}

// NameParam is the name in a path.
type NameParam struct {
	Name string `path:"name" maxLength:"200"`
}

// Page cuts a page of limit out of items, of which limit+1 were asked for.
func Page[T any](items []T, limit int, cursor func(T) string) wire.Page[T] {
	if items == nil {
		items = []T{}
	}
	if len(items) <= limit {
		return wire.Page[T]{Items: items}
	}
	return wire.Page[T]{Items: items[:limit], Next: cursor(items[limit-1])}
}

// PageAfter cuts a page out of a whole list, after the item whose cursor is after.
func PageAfter[T any](items []T, p wire.PageParams, cursor func(T) string) wire.Page[T] {
	if p.After != "" {
		i := slices.IndexFunc(items, func(t T) bool { return cursor(t) == p.After })
		items = items[i+1:]
	}
	return Page(items, p.Limit, cursor)
}
