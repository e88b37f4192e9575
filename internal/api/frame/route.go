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
	"fettle.dev/fettle/internal/fleet/access"
)

// Route describes one operation.
type Route struct {
	Method, Path string
	ID, Summary  string
	Doc          string
	Tag          string
	Access       Access
	Or           []Access // of which one is enough, too; the handler decides more
	Sight        Sight    // which operators of bounded sight may call it
	Status       int
	MaxBody      int64
	Raw          bool // the handler decodes the body strictly by itself
	Slow         bool // a large body may take a while to arrive

	// Session: an owner has to be signed in for it; no app's token opens it.
	Session bool
	// EachUnit: the handler shows only units that Server.May and Server.Units
	// give, so a token that is for some units may call it.
	EachUnit bool

	// Personal is what of people's data the answer shows, one of audit.Data; ""
	// is none. The handler says whose by audit.Looked, before it answers.
	Personal string
	// Asks: it changes nothing, although its method is not GET.
	Asks bool
	// SignIn: somebody proves who they are. The trail has each such try, whatever
	// the method, and how it ended.
	SignIn bool
}

// Access says who may call an operation: a permission of operators, or one of
// the words below. The zero value is refused to all: a route that forgot.
type Access = access.Permission

// Who else may.
const (
	Anyone Access = "anyone"
	Owner  Access = "owner"
	Self   Access = "self" // every operator, about themselves
)

// Sight says how an operation keeps to what an operator may see. The zero value
// refuses it to all whose sight is bounded: a route that forgot, or that
// concerns the whole service.
type Sight int

// ByProduct keeps products apart but not regions: it counts or compares units.
// ByUnit keeps both.
const (
	ByProduct Sight = iota + 1
	ByUnit
)

func security(a Access) []map[string][]string {
	switch a {
	case Anyone:
		return []map[string][]string{}
	case Owner:
		return []map[string][]string{{"owner": {}}, {"app": {}}}
	default:
		return []map[string][]string{{"token": {}}, {"operator": {}}}
	}
}

// PersonalData is where the description says what of people's data an
// operation shows: whoever calls it stands in the audit trail.
const PersonalData = "x-personal-data"

// Operation is r as huma takes it, for handlers that Add and Do do not fit.
func (r Route) Operation() huma.Operation {
	op := huma.Operation{
		Method: r.Method, Path: r.Path, OperationID: r.ID, Summary: r.Summary, Description: r.Doc,
		Tags: []string{r.Tag}, Security: security(r.Access), DefaultStatus: r.Status,
		Metadata: map[string]any{"access": r.Access, "or": r.Or, "sight": r.Sight, "personal": r.Personal, "asks": r.Asks, "signIn": r.SignIn, "session": r.Session, "eachUnit": r.EachUnit}, MaxBodyBytes: r.MaxBody, SkipValidateBody: r.Raw,
		Errors: []int{http.StatusUnprocessableEntity, http.StatusInternalServerError},
	}
	if r.Personal != "" {
		op.Extensions = map[string]any{PersonalData: r.Personal}
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
