// Package mender is the frontend that speaks Mender's device API to unmodified
// update clients: mender-client 3 and 4. The contract is in
// docs/updates.md#mender; the paths and answers are those of Mender's own
// documentation (docs.mender.io/api, "Device APIs").
//
// An owner's time is kept by answering that there is no deployment (204) before
// it has come. What a client of version 3 has begun, its owner can still hold
// before it is installed, by the update control map that the client asks for.
package mender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Prefix is the path that all routes begin with.
const Prefix = "/api/devices/"

// Bounds of what a client may send, in bytes.
const (
	maxBody = 64 << 10
	maxLog  = 1 << 20
)

// Updates is what the frontend needs of the room update; *update.Service is one.
type Updates interface {
	Work(ctx context.Context, unitID string) (update.Work, error)
	Deployment(ctx context.Context, unitID string, id int64) (update.Deployment, error)
	Own(ctx context.Context, unitID string, id int64) (update.Assignment, error)
	Feedback(ctx context.Context, unitID string, id int64, f update.Feedback) (update.Assignment, error)
	CancelFeedback(ctx context.Context, unitID string, id int64, f update.Feedback) (update.Assignment, error)
	Holdable(ctx context.Context, unitID string, id int64) error
	SetAttributes(ctx context.Context, unitID string, mode update.AttributeMode, data map[string]string) error
	KeepLog(ctx context.Context, unitID string, id int64, lines []update.LogLine) error
}

// Gateway is what the frontend needs of the gateway; *device.Gateway is one.
type Gateway interface {
	device.Contacts
	// Fingerprint gives the active unit that a public key is bound to.
	Fingerprint(ctx context.Context, fingerprint string) (device.Identity, error)
	ReportVersions(ctx context.Context, id device.Identity, versions map[string]string) error
	// Desired is what a unit is to do: what its owner permits it to send, and how it is set.
	Desired(ctx context.Context, id device.Identity) (device.Desired, error)
}

// Enroller files claims; *fleet.Provisioning is one.
type Enroller interface {
	Enroll(ctx context.Context, r fleet.EnrolRequest) (fleet.Claim, error)
}

// Config is what a Handler works with. All but the limits must be set.
type Config struct {
	Updates Updates
	Gateway Gateway
	Enrol   Enroller
	Log     *slog.Logger
	Wall    clock.Clock // the machine's: tokens live in its time
	Key     []byte      // signs tokens; 32 random bytes
	// Link is the whole address that an artifact of an assignment can be fetched
	// at without a credential, and until when.
	Link    func(r *http.Request, d *update.Deployment) (uri string, expire time.Time)
	Refused func(reason string) // counts who was not believed, by one of Reasons; may be nil

	TokenLife time.Duration // 1 hour
}

// Reasons are why clients are not believed.
var Reasons = []string{whyCredential, whyAction}

const (
	whyCredential = "credential" // wrong, forged or expired, or of a unit that waits to be approved
	whyAction     = "action"     // a deployment that is not this unit's
)

// Handler serves /api/devices/….
type Handler struct {
	cfg     Config
	told    rate.Sometimes // a flood of refusals is counted, not written down
	mux     *http.ServeMux
	callers *door.Callers
}

// handler serves an authenticated unit.
type handler func(w http.ResponseWriter, r *http.Request, id device.Identity) error

// New makes the frontend.
func New(cfg Config) *Handler {
	if cfg.TokenLife == 0 {
		cfg.TokenLife = time.Hour
	}
	if cfg.Refused == nil {
		cfg.Refused = func(string) {}
	}
	h := &Handler{cfg: cfg, mux: http.NewServeMux(), callers: door.NewCallers(1, 30), told: rate.Sometimes{First: 20, Interval: time.Second}}
	h.mux.HandleFunc("POST "+Prefix+"v1/authentication/auth_requests", func(w http.ResponseWriter, r *http.Request) {
		if err := h.authenticate(w, r); err != nil {
			h.refuse(w, r, err)
		}
	})
	const deployments = "deployments/device/deployments/"
	route := func(pattern string, fn handler) {
		method, path, _ := strings.Cut(pattern, " ")
		h.mux.HandleFunc(method+" "+Prefix+path, h.authenticated(fn))
	}
	route("POST v2/"+deployments+"next", h.next)
	route("GET v1/"+deployments+"next", h.nextV1)
	route("GET v2/"+deployments+"{id}/update_control_map", h.controlMap)
	route("PUT v1/"+deployments+"{id}/status", h.status)
	route("PUT v1/"+deployments+"{id}/log", h.log)
	route("PUT v1/inventory/device/attributes", h.inventory(update.AttributesReplace))
	route("PATCH v1/inventory/device/attributes", h.inventory(update.AttributesMerge))
	route("GET v1/fettle/desired", h.desired) // no part of Mender's API: its client has no other token
	h.mux.HandleFunc(Prefix, func(w http.ResponseWriter, r *http.Request) {
		h.refuse(w, r, fault.New(fault.NotFound, "no such call of Mender's device API here"))
	})
	return h
}

// desired tells a unit whose only token is its Mender client's what its owner
// permits it to send.
func (h *Handler) desired(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	d, err := h.cfg.Gateway.Desired(r.Context(), id)
	if err != nil {
		return err
	}
	door.Desired(w, r, &d)
	return nil
}

// ServeHTTP serves a client.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// authenticated lets in the unit that the token was given to.
func (h *Handler) authenticated(fn handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := h.identify(r)
		if err == nil {
			h.cfg.Gateway.Contact(id)
			err = fn(w, r, id)
		}
		if err != nil {
			h.refuse(w, r, err)
		}
	}
}

// errTooMany answers 429.
var errTooMany = errors.New("too many authentication requests from this address")

// errAborted answers 409: the client gives the deployment up.
var errAborted = errors.New("the deployment was aborted")

// refuse maps an error to the status that clients know: 401 authenticate
// anew, 404 not theirs or not there, 409 give the deployment up.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch kind := fault.KindOf(err); {
	case tooLarge:
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, errTooMany):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "10")
	case errors.Is(err, errAborted), kind == fault.Conflict:
		status = http.StatusConflict
	case kind == fault.Denied, errors.Is(err, device.ErrInactive):
		status = http.StatusUnauthorized
		h.denied(r, whyCredential, err)
	case kind == fault.NotFound:
		status = http.StatusNotFound
	case kind == fault.Invalid:
		status = http.StatusBadRequest
	case kind == fault.Unavailable:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "10")
	}
	message := "see the server's log"
	if status < http.StatusInternalServerError {
		message = err.Error()
	} else if r.Context().Err() == nil {
		h.cfg.Log.ErrorContext(r.Context(), "update client could not be served", "path", r.URL.Path, "err", err)
	}
	reply(w, status, map[string]string{"error": message})
}

// denied counts a client that was not believed, and writes it down. The log
// never holds a credential.
func (h *Handler) denied(r *http.Request, reason string, err error) {
	h.cfg.Refused(reason)
	ctx := r.Context()
	h.told.Do(func() {
		h.cfg.Log.WarnContext(ctx, "a Mender client was refused", "reason", reason, "path", r.URL.Path, "address", host(r), "error", err)
	})
}

// heard denies a client that speaks of a deployment that is not its unit's.
func (h *Handler) heard(r *http.Request, err error) error {
	if fault.KindOf(err) == fault.NotFound {
		h.denied(r, whyAction, err)
	}
	return err
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // of our own types: cannot be
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func body(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "read body", err)
	}
	return b, nil
}

// deploymentID is an assignment's id as clients know it. They want a UUID: one
// of version 8 (RFC 9562, 5.8) that holds the number. It is a name, no secret:
// what a unit may do with it depends on whose assignment it is.
func deploymentID(id int64) string { return fmt.Sprintf("fe771e00-0000-8000-8000-%012x", id) }

// assignmentID reads what deploymentID has written.
func assignmentID(r *http.Request) (int64, error) {
	s := r.PathValue("id")
	if len(s) == 36 {
		id, err := strconv.ParseInt(s[24:], 16, 64)
		if err == nil && id >= 1 && strings.EqualFold(s, deploymentID(id)) {
			return id, nil
		}
	}
	return 0, fault.New(fault.NotFound, "no deployment %q", s)
}

func host(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
