// Package hawkbit is the part of hawkBit's Management API that existing tools
// and test suites call (eclipse.dev/hawkbit/apis/management_api), under
// /rest/v1. It is off unless the configuration switches it on, and opened by a
// credential of its own (HTTP Basic, the password an API token of scope
// hawkbit). What it gives to a unit is asked of the unit's owner; only units on
// a bench start at once.
package hawkbit

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/bench"
)

// Prefix is the path that all routes begin with.
const Prefix = "/rest/v1/"

// maxBody bounds a body that is no file.
const maxBody = 1 << 20

// Tokens finds API tokens; *access.Service is one.
type Tokens interface {
	APIToken(ctx context.Context, secret string) (access.APIToken, error)
}

// Config is what a Handler works with.
type Config struct {
	Bench   *bench.Service
	Updates *update.Service // takes artifacts
	Tokens  Tokens
	Log     *slog.Logger
	Base    func(r *http.Request) string // scheme and host of links
	Refused func()                       // counts wrong credentials; may be nil
	Trail   *audit.Trail                 // of changes and looks; nil: none

	// FourEyes says for which products a second person approves updates, which
	// these tools cannot ask for; nil: none.
	FourEyes func(product string) bool

	// Login, as user:password, is taken too, for tools whose credential is
	// written into them. It reaches bench units alone. Empty: there is none.
	Login string
}

// Handler serves /rest/v1/….
type Handler struct {
	cfg    Config
	mux    *http.ServeMux
	routes []string
}

// Routes are the patterns of all routes, as GET /rest/v1/targets/{target}.
func (h *Handler) Routes() []string { return h.routes }

// caller is who asks.
type caller struct {
	name      string // for the record
	benchOnly bool
	actor     audit.Actor // as the audit trail names it
}

type handler func(w http.ResponseWriter, r *http.Request, who caller) error

// New makes the API.
func New(cfg Config) *Handler {
	if cfg.Refused == nil {
		cfg.Refused = func() {}
	}
	h := &Handler{cfg: cfg, mux: http.NewServeMux()}
	route := func(pattern, operation, shows string, fn handler) {
		method, path, _ := strings.Cut(pattern, " ")
		h.mux.HandleFunc(method+" "+Prefix+path, h.known(recorded{"hawkbit" + operation, shows}, fn))
		h.routes = append(h.routes, method+" "+Prefix+path)
	}
	route("GET system/configs", "ListSettings", "", h.settings)
	route("GET system/configs/{key}", "GetSetting", "", h.setting)
	route("PUT system/configs/{key}", "PutSetting", "", h.set)

	route("POST targets", "CreateTargets", "", h.addTargets)
	route("GET targets", "ListTargets", audit.DataContact, h.targets)
	route("GET targets/{target}", "GetTarget", audit.DataContact, h.target)
	route("PUT targets/{target}", "PutTarget", "", h.changeTarget)
	route("DELETE targets/{target}", "DeleteTarget", "", h.dropTarget)
	route("GET targets/{target}/attributes", "GetAttributes", audit.DataCondition, h.attributes)
	route("GET targets/{target}/actions", "ListActions", audit.DataUpdates, h.actions)
	route("GET targets/{target}/actions/{action}", "GetAction", audit.DataUpdates, h.action)
	route("DELETE targets/{target}/actions/{action}", "CancelAction", "", h.cancel)
	route("GET targets/{target}/actions/{action}/status", "ListActionStatus", audit.DataUpdates, h.status)

	route("POST softwaremodules", "CreateModules", "", h.addModules)
	route("GET softwaremodules", "ListModules", "", h.modules)
	route("GET softwaremodules/{module}", "GetModule", "", h.module)
	route("DELETE softwaremodules/{module}", "DeleteModule", "", h.dropModule)
	route("POST softwaremodules/{module}/artifacts", "UploadArtifact", "", h.addFile)
	route("GET softwaremodules/{module}/artifacts", "ListArtifacts", "", h.files)
	route("GET softwaremodules/{module}/artifacts/{file}", "GetArtifact", "", h.file)
	route("DELETE softwaremodules/{module}/artifacts/{file}", "DeleteArtifact", "", h.dropFile)

	route("POST distributionsets", "CreateSets", "", h.addSets)
	route("GET distributionsets", "ListSets", "", h.sets)
	route("GET distributionsets/{set}", "GetSet", "", h.distribution)
	route("DELETE distributionsets/{set}", "DeleteSet", "", h.dropSet)
	route("POST distributionsets/{set}/assignedTargets", "AssignTargets", "", h.assign)
	h.mux.HandleFunc(Prefix, h.known(recorded{"hawkbitUnknown", ""}, func(_ http.ResponseWriter, r *http.Request, _ caller) error {
		return fault.New(fault.NotFound, "%s %s is not among the calls of hawkBit's Management API that are here: see docs/updates.md#hawkbit-management-api", r.Method, r.URL.Path)
	}))
	return h
}

// ServeHTTP serves a tool.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// known lets in who shows the right credential.
func (h *Handler) known(route recorded, fn handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := h.who(r)
		if err == nil {
			err = h.record(w, r, route, who, fn)
		} else {
			h.cfg.Refused()
			h.denied(r, route)
			w.Header().Set("WWW-Authenticate", `Basic realm="fettle hawkbit", charset="UTF-8"`)
		}
		if err != nil {
			h.refuse(w, r, err)
		}
	}
}

// benchLogin is how the audit trail names who has the login that the
// configuration allows for benches: whoever it is, it is no operator.
const benchLogin = "hawkbit-bench-login"

var errUnknown = fault.New(fault.Denied, "user or password is wrong: the password is an API token of scope hawkbit (fettle token create --scope hawkbit)")

func (h *Handler) who(r *http.Request) (caller, error) {
	user, password, ok := r.BasicAuth()
	if !ok {
		return caller{}, errUnknown
	}
	if h.cfg.Login != "" && same(user+":"+password, h.cfg.Login) {
		return caller{"a tool with the bench login, " + user, true, audit.Actor{Party: audit.Server, ID: benchLogin}}, nil
	}
	t, err := h.cfg.Tokens.APIToken(r.Context(), password)
	switch {
	case fault.KindOf(err) == fault.Denied || err == nil && !t.Scope.Includes(access.ScopeHawkbit):
		return caller{}, errUnknown
	case err != nil:
		return caller{}, err
	}
	return caller{"API token " + t.Name, false, audit.Actor{Party: audit.Operator, ID: t.OperatorID, Via: "token", Of: t.ID}}, nil
}

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// refuse maps an error to hawkBit's status and shape.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, code := statusOf(err)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		status, code = http.StatusRequestEntityTooLarge, "hawkbit.server.error.fileSizeExceeded"
	}
	if errors.Is(err, errUnknown) {
		status = http.StatusUnauthorized
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "10")
	}
	message := "see the server's log"
	if status < http.StatusInternalServerError {
		message = err.Error()
	} else if r.Context().Err() == nil {
		h.cfg.Log.ErrorContext(r.Context(), "hawkBit API failed", "path", r.URL.Path, "error", err)
	}
	reply(w, status, map[string]string{"errorCode": code, "message": message})
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // of our own types: cannot be
		status, body = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that is gone needs no answer
}

// body reads a JSON body. Fields that are not known here are ignored, as
// hawkBit does.
func body[T any](w http.ResponseWriter, r *http.Request) (v T, err error) {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&v); err != nil {
		return v, fault.Wrap(fault.Invalid, "read body", err)
	}
	return v, nil
}

// id reads a number of the path.
func id(r *http.Request, name string) (int64, error) {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil || n < 1 {
		return 0, fault.New(fault.NotFound, "no %s %q", name, r.PathValue(name))
	}
	return n, nil
}

// page cuts out what offset and limit of the query ask for.
type page[T any] struct {
	Content []T `json:"content"`
	Total   int `json:"total"`
	Size    int `json:"size"`
}

const (
	usualLimit = 50
	mostLimit  = 500
)

func cut[T any](r *http.Request, all []T) (page[T], error) {
	number := func(name string, def, most int) (int, error) {
		s := r.URL.Query().Get(name)
		if s == "" {
			return def, nil
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return 0, fault.New(fault.Invalid, "%s: a number from 0 on, got %q", name, s)
		}
		return min(n, most), nil
	}
	offset, err := number("offset", 0, len(all))
	if err != nil {
		return page[T]{}, err
	}
	limit, err := number("limit", usualLimit, mostLimit)
	if err != nil {
		return page[T]{}, err
	}
	part := all[offset:min(len(all), offset+limit)]
	if part == nil {
		part = []T{}
	}
	return page[T]{part, len(all), len(part)}, nil
}

// descending reads hawkBit's sort, as id:DESC. Ascending by id is the default.
func descending(r *http.Request) (bool, error) {
	s := r.URL.Query().Get("sort")
	field, order, _ := strings.Cut(s, ":")
	switch {
	case s == "":
		return false, nil
	case strings.EqualFold(field, "id"), strings.EqualFold(field, "reportedAt"), strings.EqualFold(field, "timestamp"),
		strings.EqualFold(field, "controllerId"), strings.EqualFold(field, "createdAt"):
		switch strings.ToUpper(order) {
		case "ASC", "":
			return false, nil
		case "DESC":
			return true, nil
		}
	}
	return false, fault.New(fault.Invalid, "sort: id:ASC or id:DESC, got %q", s)
}
