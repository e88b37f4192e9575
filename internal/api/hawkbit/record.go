package hawkbit

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
)

// recorded is a route whose calls stand in the audit trail: each that changes
// something, and each that shows data about a unit with an owner.
type recorded struct {
	operation string // as the trail names it
	shows     string // what is shown of an owner's unit, one of audit.Data; "": nothing
}

// answer holds a handler's answer until the trail has its entry: what cannot be
// entered must not be said to be done.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// record runs a call of who and enters it.
func (h *Handler) record(w http.ResponseWriter, r *http.Request, route recorded, who caller, fn handler) error {
	changes := r.Method != http.MethodGet && r.Method != http.MethodHead
	if h.cfg.Trail == nil || (!changes && route.shows == "") {
		return fn(w, r, who)
	}
	e := entryOf(r, route, who)
	e.Kind, e.Data = audit.Look, route.shows
	if changes {
		e.Kind = audit.Change
	}
	ctx, op := h.cfg.Trail.Begin(r.Context(), e)
	if !changes { // whose unit it is says the handler, before anything is shown
		return fn(w, r.WithContext(ctx), who)
	}
	held := &answer{header: w.Header()}
	err := fn(held, r.WithContext(ctx), who)
	status := held.status
	if err != nil {
		status, _ = statusOf(err)
	}
	if err == nil && status == 0 {
		status = http.StatusOK
	}
	if failed := op.End(context.WithoutCancel(ctx), status); failed != nil && err == nil {
		return failed
	}
	if err != nil {
		return err
	}
	w.WriteHeader(status)
	_, _ = w.Write(held.body.Bytes()) // a client that is gone needs no answer
	return nil
}

// entryOf begins what the trail says of a call.
func entryOf(r *http.Request, route recorded, who caller) audit.Entry {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	return audit.Entry{
		Actor: who.actor, From: from, Operation: route.operation, Object: strings.TrimPrefix(r.URL.Path, "/"), Request: uuid.NewString(),
	}
}

// denied enters that a caller with a wrong credential was turned away, once for
// each address and operation in a while.
func (h *Handler) denied(r *http.Request, route recorded) {
	if h.cfg.Trail == nil || r.Header.Get("Authorization") == "" {
		return
	}
	e := entryOf(r, route, caller{actor: audit.Actor{Party: audit.Nobody}})
	e.Status = http.StatusUnauthorized
	h.cfg.Trail.Refused(context.WithoutCancel(r.Context()), e)
}

// statusOf maps an error to hawkBit's status and code.
func statusOf(err error) (status int, code string) {
	switch fault.KindOf(err) {
	case fault.Denied:
		return http.StatusForbidden, "hawkbit.server.error.insufficientpermission"
	case fault.NotFound:
		return http.StatusNotFound, "hawkbit.server.error.repo.entitiyNotFound" // spelled as hawkBit does
	case fault.Conflict:
		return http.StatusConflict, "hawkbit.server.error.repo.entitiyAlreayExists" // the like
	case fault.Invalid:
		return http.StatusBadRequest, "hawkbit.server.error.rest.body.notReadable"
	case fault.Unavailable:
		return http.StatusServiceUnavailable, "hawkbit.server.error.unexpected"
	case fault.Internal:
	}
	return http.StatusInternalServerError, "hawkbit.server.error.unexpected"
}
