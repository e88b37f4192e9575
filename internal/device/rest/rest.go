// Package rest is the door for units that speak HTTPS: the same telemetry,
// attributes and desired state as over MQTT, and self-enrolment.
package rest

import (
	"context"
	"encoding/json"
	"net"
	"net/http"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/tips"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Enroller files claims; *fleet.Provisioning is one.
type Enroller interface {
	Enroll(ctx context.Context, r fleet.EnrolRequest) (fleet.Claim, error)
}

// Config limits what this door has beyond the shared one; zero values stand
// for the defaults named.
type Config struct {
	MaxBody    int64   // bytes of a request, as sent and decompressed: 1 MiB
	EnrolRate  float64 // enrolment requests a second from one address, before 429: 1
	EnrolBurst int     // and at once: 30

	Choose Chooser   // nil: owners choose in the portal alone
	Tips   *tips.Hub // for units' displays; nil: there are none
}

// Handler answers the paths under /fettle/v1/.
type Handler struct {
	mux     *http.ServeMux
	door    *door.Door
	gateway *device.Gateway
	enrol   Enroller
	cfg     Config
	callers *door.Callers
}

// New makes the handler. Behind a proxy, RemoteAddr must already be the
// client's: enrolment shows it to the operator and is limited by it.
func New(d *door.Door, enrol Enroller, cfg Config) *Handler {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 20
	}
	if cfg.EnrolRate == 0 {
		cfg.EnrolRate = 1
	}
	if cfg.EnrolBurst == 0 {
		cfg.EnrolBurst = 30
	}
	h := &Handler{mux: http.NewServeMux(), door: d, gateway: d.Gateway(), enrol: enrol, cfg: cfg, callers: door.NewCallers(cfg.EnrolRate, cfg.EnrolBurst)}
	unit := func(next door.Handler) http.HandlerFunc { return d.Unit(next, d.Fail, nil) }
	h.mux.HandleFunc("POST /fettle/v1/telemetry", unit(h.telemetry))
	h.mux.HandleFunc("POST /fettle/v1/events", unit(h.events))
	h.mux.HandleFunc("POST /fettle/v1/attributes", unit(h.attributes))
	h.mux.HandleFunc("GET /fettle/v1/desired", unit(h.desired))
	h.mux.HandleFunc("POST /fettle/v1/enroll", h.enroll)
	if cfg.Choose != nil {
		h.mux.HandleFunc("POST /fettle/v1/choice", unit(h.choice))
	}
	if cfg.Tips != nil {
		h.mux.HandleFunc("GET /fettle/v1/tips", unit(h.tips))
		h.mux.HandleFunc("POST /fettle/v1/tips/events", unit(h.tipEvents))
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// results is the answer to telemetry: what became of each message.
type results struct {
	Results []device.Outcome `json:"results"`
}

func (h *Handler) telemetry(w http.ResponseWriter, r *http.Request, id device.Identity) {
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	defer body.Free()
	payload := device.NewPayload()
	defer payload.Free()
	if err := payload.Parse(body.Bytes); err != nil {
		h.gateway.Malformed("https")
		h.door.Fail(w, r, err)
		return
	}
	out := results{Results: make([]device.Outcome, len(payload.Messages))}
	if err := h.door.Store(r.Context(), id, payload.Messages, out.Results); err != nil {
		h.door.Fail(w, r, err)
		return
	}
	door.Write(w, http.StatusOK, "application/json", out)
}

func (h *Handler) attributes(w http.ResponseWriter, r *http.Request, id device.Identity) {
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	defer body.Free()
	report, err := device.ParseReport(body.Bytes)
	if err != nil {
		h.gateway.Malformed("https")
		h.door.Fail(w, r, err)
		return
	}
	ctx, cancel := h.door.Waiting(r.Context())
	defer cancel()
	if err := h.gateway.Report(ctx, id, report); err != nil {
		h.door.Fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) desired(w http.ResponseWriter, r *http.Request, id device.Identity) {
	d, err := h.gateway.Desired(r.Context(), id)
	if err != nil {
		h.door.Fail(w, r, err)
		return
	}
	h.gateway.Contact(id) // Contact is not the caller's request: it may outlive it
	door.Desired(w, r, &d)
}

// body reads a request's body up to the limit.
func (h *Handler) body(w http.ResponseWriter, r *http.Request) (*door.Body, bool) {
	body, err := h.door.BodyOf(w, r, h.cfg.MaxBody)
	if err != nil {
		h.door.Fail(w, r, err)
		return nil, false
	}
	return body, true
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
	if !h.callers.Allow(host) {
		h.door.Fail(w, r, door.Refuse(http.StatusTooManyRequests, "too many enrolment requests from this address"))
		return
	}
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	defer body.Free()
	var req fleet.EnrolRequest
	if err := json.Unmarshal(body.Bytes, &req); err != nil {
		h.door.Fail(w, r, fault.Fields("enroll", []fault.Field{{Expected: "a JSON object of strings", Got: err.Error()}}))
		return
	}
	req.RemoteAddress = host
	claim, err := h.enrol.Enroll(r.Context(), req)
	if err != nil {
		h.door.Fail(w, r, err)
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
	door.Write(w, status, "application/json", enrolment{claim.ID, claim.UnitID, claim.State, claim.Why})
}
