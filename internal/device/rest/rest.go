// Package rest is the door for units that speak HTTPS: the same telemetry,
// attributes and desired state as over MQTT, and self-enrolment.
package rest

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Enroller files claims; *fleet.Provisioning is one.
type Enroller interface {
	Enroll(ctx context.Context, r fleet.EnrolRequest) (fleet.Claim, error)
}

// Config limits the door; zero values stand for the defaults named.
type Config struct {
	MaxBody     int64         // bytes of a request: 1 MiB
	Wait        time.Duration // for room in the store and for durability, before 503: 10 s
	Concurrent  int           // requests of one unit at once, before 429: 8
	EnrolRate   float64       // enrolment requests a second from one address, before 429: 1
	EnrolBurst  int           // and at once: 30
	MaxAttempts int           // addresses remembered for that: 10000
}

// Handler answers the paths under /fettle/v1/.
type Handler struct {
	mux     *http.ServeMux
	gateway *device.Gateway
	auth    device.Authenticator
	enrol   Enroller
	cfg     Config
	log     *slog.Logger

	mu      sync.Mutex
	running map[string]int // requests by unit
	callers map[string]*rate.Limiter
}

// New makes the handler. Behind a proxy, RemoteAddr must already be the
// client's: enrolment shows it to the operator and is limited by it.
func New(gateway *device.Gateway, auth device.Authenticator, enrol Enroller, cfg Config, log *slog.Logger) *Handler {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 20
	}
	if cfg.Wait == 0 {
		cfg.Wait = 10 * time.Second
	}
	if cfg.Concurrent == 0 {
		cfg.Concurrent = 8
	}
	if cfg.EnrolRate == 0 {
		cfg.EnrolRate = 1
	}
	if cfg.EnrolBurst == 0 {
		cfg.EnrolBurst = 30
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = 10_000
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{
		mux: http.NewServeMux(), gateway: gateway, auth: auth, enrol: enrol, cfg: cfg, log: log,
		running: map[string]int{}, callers: map[string]*rate.Limiter{},
	}
	h.mux.HandleFunc("POST /fettle/v1/telemetry", h.unit(h.telemetry))
	h.mux.HandleFunc("POST /fettle/v1/events", h.unit(h.events))
	h.mux.HandleFunc("POST /fettle/v1/attributes", h.unit(h.attributes))
	h.mux.HandleFunc("GET /fettle/v1/desired", h.unit(h.desired))
	h.mux.HandleFunc("POST /fettle/v1/enroll", h.enroll)
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// unit authenticates and bounds what one unit may have open.
func (h *Handler) unit(next func(w http.ResponseWriter, r *http.Request, id device.Identity)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := h.authenticate(r)
		if err != nil {
			h.fail(w, r, err)
			return
		}
		if !h.enter(id.UnitID) {
			w.Header().Set("Retry-After", "1")
			answer(w, http.StatusTooManyRequests, problem{Detail: "the unit has " + strconv.Itoa(h.cfg.Concurrent) + " requests open"})
			return
		}
		defer h.leave(id.UnitID)
		next(w, r, id)
	}
}

// authenticate tells the unit from its client certificate, else from HTTP
// basic authentication with its id and token.
func (h *Handler) authenticate(r *http.Request) (device.Identity, error) {
	user, token, basic := r.BasicAuth()
	if leaf := certificate(r); leaf != nil {
		id, err := h.auth.Certificate(r.Context(), leaf)
		switch {
		case err == nil && (!basic || user == id.UnitID):
			return id, nil
		case err == nil:
			return device.Identity{}, device.ErrCredential
		case !basic:
			return device.Identity{}, err
		}
	}
	if !basic {
		return device.Identity{}, device.ErrCredential
	}
	return h.auth.Token(r.Context(), user, token)
}

func certificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

func (h *Handler) enter(unitID string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[unitID] >= h.cfg.Concurrent {
		return false
	}
	h.running[unitID]++
	return true
}

func (h *Handler) leave(unitID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[unitID]--; h.running[unitID] == 0 {
		delete(h.running, unitID)
	}
}

// results is the answer to telemetry: what became of each message.
type results struct {
	Results []device.Outcome `json:"results"`
}

func (h *Handler) telemetry(w http.ResponseWriter, r *http.Request, id device.Identity) {
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	payload := device.NewPayload()
	defer payload.Free()
	if err := payload.Parse(body); err != nil {
		h.gateway.Malformed("https")
		h.fail(w, r, err)
		return
	}
	out := results{Results: make([]device.Outcome, len(payload.Messages))}
	if len(payload.Messages) > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Wait)
		defer cancel()
		if err := h.gateway.Store(ctx, id, payload.Messages, out.Results); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	write(w, http.StatusOK, "application/json", out)
}

func (h *Handler) attributes(w http.ResponseWriter, r *http.Request, id device.Identity) {
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	versions, err := device.ParseVersions(body)
	if err != nil {
		h.gateway.Malformed("https")
		h.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Wait)
	defer cancel()
	if err := h.gateway.ReportVersions(ctx, id, versions); err != nil {
		h.fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) desired(w http.ResponseWriter, r *http.Request, id device.Identity) {
	d, err := h.gateway.Desired(r.Context(), id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.gateway.Contact(id) //nolint:contextcheck // Contact is not the caller's request: it may outlive it
	write(w, http.StatusOK, "application/json", d)
}

// body reads a request's body up to the limit.
func (h *Handler) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.cfg.MaxBody))
	if err == nil {
		return body, true
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		answer(w, http.StatusRequestEntityTooLarge, problem{Detail: "at most " + strconv.FormatInt(h.cfg.MaxBody, 10) + " bytes are taken at once"})
	} else {
		answer(w, http.StatusBadRequest, problem{Detail: "the body ended early"})
	}
	return nil, false
}

// enrolment is the answer to a claim.
type enrolment struct {
	ClaimID string           `json:"claimId"`
	UnitID  string           `json:"unitId"`
	State   fleet.ClaimState `json:"state"`
	Why     string           `json:"why,omitempty"`
}

func (h *Handler) enroll(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !h.limiter(host).Allow() {
		w.Header().Set("Retry-After", "10")
		answer(w, http.StatusTooManyRequests, problem{Detail: "too many enrolment requests from this address"})
		return
	}
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	var req fleet.EnrolRequest
	if err := json.Unmarshal(body, &req); err != nil {
		h.fail(w, r, fault.Fields("enroll", []fault.Field{{Expected: "a JSON object of strings", Got: err.Error()}}))
		return
	}
	req.RemoteAddress = host
	claim, err := h.enrol.Enroll(r.Context(), req)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	status := http.StatusAccepted
	switch claim.State {
	case fleet.ClaimPending:
	case fleet.ClaimApproved:
		status = http.StatusOK
	case fleet.ClaimRejected:
		status = http.StatusForbidden
	}
	write(w, status, "application/json", enrolment{claim.ID, claim.UnitID, claim.State, claim.Why})
}

// limiter is that of an address. When too many are remembered all are
// forgotten: that grants each a burst more, and bounds memory.
func (h *Handler) limiter(host string) *rate.Limiter {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.callers[host]
	if l == nil {
		if len(h.callers) >= h.cfg.MaxAttempts {
			clear(h.callers)
		}
		l = rate.NewLimiter(rate.Limit(h.cfg.EnrolRate), h.cfg.EnrolBurst)
		h.callers[host] = l
	}
	return l
}

// problem is an error as RFC 9457 has it.
type problem struct {
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail"`
	Errors []mistake `json:"errors,omitempty"`
}

type mistake struct {
	Location string `json:"location"`
	Message  string `json:"message"`
	Value    string `json:"value,omitempty"`
}

// fail answers an error by its kind.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problem{Detail: err.Error()}
	status := http.StatusInternalServerError
	switch fault.KindOf(err) {
	case fault.Invalid:
		status = http.StatusBadRequest
		for _, f := range fault.FieldsOf(err) {
			p.Errors = append(p.Errors, mistake{location(f.Path), "expected " + f.Expected, f.Got})
		}
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Conflict:
		status = http.StatusConflict
	case fault.Denied:
		status = http.StatusForbidden
		if errors.Is(err, device.ErrCredential) {
			status = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", `Basic realm="fettle", charset="UTF-8"`)
		}
	case fault.Unavailable:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
		h.log.Warn("a unit was asked to come again", "path", r.URL.Path, "error", err)
		p.Detail = "the service cannot store this now"
	case fault.Internal:
		h.log.Error("a unit's request failed", "path", r.URL.Path, "error", err)
		p.Detail = "the service failed"
	}
	answer(w, status, p)
}

func location(path string) string {
	switch {
	case path == "":
		return "body"
	case path[0] == '[':
		return "body" + path
	default:
		return "body." + path
	}
}

func answer(w http.ResponseWriter, status int, p problem) {
	p.Status, p.Title = status, http.StatusText(status)
	write(w, status, "application/problem+json", p)
}

func write(w http.ResponseWriter, status int, kind string, v any) {
	b, _ := json.Marshal(v) // what is written here always encodes
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that is gone needs no answer
}
