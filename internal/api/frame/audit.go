package frame

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
)

// actor is how the audit trail names who asks.
func (p *Principal) actor() audit.Actor {
	if p == nil || p.ID == "" {
		return audit.Actor{Party: audit.Nobody}
	}
	return audit.Actor{Party: string(p.Party), ID: p.ID, Role: string(p.Role), Via: p.Via, Of: p.SessionID}
}

// changes reports whether an operation changes something by its method, or is
// a try to sign in.
func changes(op *huma.Operation) bool {
	if tries, _ := op.Metadata["signIn"].(bool); tries {
		return true
	}
	switch op.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	asks, _ := op.Metadata["asks"].(bool)
	return !asks
}

// object is what a request is about: the path as it was asked for, without the
// version in front, as "units/WC-1".
func object(ctx huma.Context) string {
	if !strings.Contains(ctx.Operation().Path, "{") {
		return ""
	}
	u := ctx.URL()
	path := strings.TrimPrefix(u.Path, "/owner")
	if strings.HasPrefix(ctx.Operation().Path, "/v1/owners/{id}") { // the trail names people by an alias alone
		path = strings.Replace(path, ctx.Param("id"), "-", 1)
	}
	return strings.TrimPrefix(path, "/v1/")
}

// entry begins what the trail will say of a request.
func (s *Server) entry(ctx huma.Context, p *Principal) audit.Entry {
	op := ctx.Operation()
	e := audit.Entry{
		Kind: audit.Change, Actor: p.actor(), From: CallerOf(ctx.Context()).Address,
		Operation: op.OperationID, Object: object(ctx), Request: uuid.NewString(),
	}
	e.Data, _ = op.Metadata["personal"].(string)
	if !changes(op) {
		e.Kind = audit.Look
	}
	return e
}

// record lets the trail watch a request that changes something or shows
// personal data. Add and Do end the operation before they answer; what answers
// by itself is ended after it has.
func (s *Server) record(ctx huma.Context, p *Principal, next func(huma.Context)) {
	personal, _ := ctx.Operation().Metadata["personal"].(string)
	// What nobody need sign in for changes nothing until it succeeds; what owners read is their own.
	looks := personal != "" && p != nil && p.ID != ""
	if s.Trail == nil || (!changes(ctx.Operation()) && !looks) {
		next(ctx)
		return
	}
	within, op := s.Trail.Begin(ctx.Context(), s.entry(ctx, p))
	ctx = huma.WithContext(ctx, within)
	if err := s.ofUnit(ctx, looks); err != nil {
		s.Log.ErrorContext(within, "whose data a request shows", "error", err)
		s.Refuse(ctx, http.StatusServiceUnavailable, "try again later")
		return
	}
	next(ctx)
	if err := op.End(context.WithoutCancel(within), max(ctx.Status(), http.StatusOK)); err != nil {
		s.Log.ErrorContext(within, "a request is not in the audit trail", "operation", ctx.Operation().OperationID, "error", err)
	}
}

// ofUnit says whose the data is where the path names a unit: its owner's.
func (s *Server) ofUnit(ctx huma.Context, looks bool) error {
	if !strings.HasPrefix(ctx.Operation().Path, "/v1/units/{id}") {
		return nil
	}
	u, err := s.Fleet.Unit(ctx.Context(), ctx.Param("id"))
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return nil // as the handler will find, too
	case err != nil:
		return err
	case looks:
		return audit.Looked(ctx.Context(), u.OwnerID)
	}
	audit.About(ctx.Context(), u.OwnerID)
	return nil
}

// settle enters how the operation of ctx ended, before it is answered: what
// cannot be entered is refused. It gives the problem to answer with.
func (s *Server) settle(ctx context.Context, err error) error {
	status := http.StatusOK
	if err != nil {
		err = s.Problem(ctx, err)
		status = http.StatusInternalServerError
		if p, ok := errors.AsType[huma.StatusError](err); ok {
			status = p.GetStatus()
		}
	}
	if failed := audit.End(context.WithoutCancel(ctx), status); failed != nil && err == nil {
		return s.Problem(ctx, failed)
	}
	return err
}

// denied enters that a request was refused.
func (s *Server) denied(ctx huma.Context, p *Principal, status int) {
	if s.Trail == nil || (status != http.StatusForbidden && status != http.StatusUnauthorized) {
		return
	}
	r := ctx.Header("Authorization")
	if p == nil && status == http.StatusUnauthorized && r == "" { // nobody has signed in yet: no attempt at anything
		return
	}
	e := s.entry(ctx, p)
	e.Status = status
	s.Trail.Refused(context.WithoutCancel(ctx.Context()), e)
}

// fields names the top-level fields that a request's body sets, with the value
// of those that can hold no words: "given=true".
func fields(in any) []string {
	v := reflect.Indirect(reflect.ValueOf(in))
	if v.Kind() != reflect.Struct {
		return nil
	}
	body := v.FieldByName("Body")
	if !body.IsValid() || body.Kind() != reflect.Struct {
		return nil
	}
	raw, err := json.Marshal(body.Interface())
	var values map[string]json.RawMessage
	if err != nil || json.Unmarshal(raw, &values) != nil {
		return nil
	}
	var out []string
	for name, value := range values {
		text := string(value)
		_, err := strconv.ParseFloat(text, 64)
		switch {
		case text == "true" || text == "false" || err == nil:
			out = append(out, name+"="+text)
		case text != "null" && text != `""`:
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// SignedIn tells the trail who has just proved themselves, in an operation that
// anyone may call.
func SignedIn(ctx context.Context, p *Principal) { audit.As(ctx, p.actor()) }

// Tried tells the trail whose account somebody tries to sign in to who has not
// proved anything yet: an owner sees it among what was done with their data.
func Tried(ctx context.Context, party access.Party, personID string) {
	switch {
	case personID == "":
	case party == access.PartyOwner:
		audit.About(ctx, personID)
	default:
		audit.Object(ctx, "operators/"+personID)
	}
}
