// Package ddi is the frontend that speaks hawkBit's Direct Device Integration
// API to unmodified update clients: SWUpdate's suricatta, rauc-hawkbit-updater
// and others like them. An owner's time is kept by not showing the deployment
// before it has come, never by a deployment marked "skip": SWUpdate reports a
// skipped update as a success.
package ddi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/link"
)

// tenant is the one tenant there is, under its usual name.
const tenant = "DEFAULT"

// maxBody bounds what a client may send.
const maxBody = 64 << 10

// Updates is what the frontend needs of the room update; *update.Service is one.
type Updates interface {
	Work(ctx context.Context, unitID string) (update.Work, error)
	Deployment(ctx context.Context, unitID string, id int64) (update.Deployment, error)
	InstalledDeployment(ctx context.Context, unitID string, id int64) (update.Deployment, error)
	Canceling(ctx context.Context, unitID string, id int64) (update.Assignment, error)
	Feedback(ctx context.Context, unitID string, id int64, f update.Feedback) (update.Assignment, error)
	CancelFeedback(ctx context.Context, unitID string, id int64, f update.Feedback) (update.Assignment, error)
	Downloaded(ctx context.Context, unitID string, id int64, f update.Feedback) (update.Assignment, error)
	SetAttributes(ctx context.Context, unitID string, mode update.AttributeMode, data map[string]string) error
}

// Units tells who a client is; *device.Gateway is one.
type Units interface {
	device.Authenticator
	device.Contacts
	// Poll is Token for the one call that idle clients make, again and again.
	Poll(ctx context.Context, unitID, token string, from netip.Addr) (device.Identity, error)
	// Vouched is a unit that somebody else has proved to be itself: a gateway, or a proxy before us.
	Vouched(ctx context.Context, unitID string) (device.Identity, error)
	// Desired is what a unit is to do: what its owner permits it to send, and how it is set.
	Desired(ctx context.Context, id device.Identity) (device.Desired, error)
	// Listening reports whether a unit hears at once when an update waits for it.
	Listening(unitID string) bool
	// Told notes after how long a unit was told to poll again, where that is not as usual.
	Told(unitID string, again time.Duration)
}

// Config is what a Handler works with.
type Config struct {
	Updates Updates
	Units   Units
	Links   *link.Signer
	Offers  *Offers // nil: only what was accepted makes a unit poll more often
	Trust   Trust
	Bench   Bench // nil: no unit is on a bench
	// Download serves link.Prefix, for bench units also at hawkBit's own address.
	Download http.Handler

	Log     *slog.Logger
	Metrics prometheus.Registerer

	Clock   clock.Clock                  // opens the windows of bench units (default: the machine's)
	Polling time.Duration                // sleep between two polls that clients are told, at least 1 s (default 5 min)
	Offered time.Duration                // the like while an update is offered to the owner of a unit that hears of nothing in between (default 30 s, at most Polling); longer when so many are that they would poll more than openRate times a second
	BaseURL func(r *http.Request) string // scheme and host of the links (default: those of the request)
}

// Handler serves /DEFAULT/controller/v1/{unit}….
type Handler struct {
	cfg     Config
	mux     *http.ServeMux
	trust   trust
	metrics *metrics
	usual   sleep
	offered atomic.Pointer[sleep]
}

// Prefix is the path that all routes begin with.
const Prefix = "/" + tenant + "/controller/v1/"

// New makes the frontend.
func New(cfg Config) *Handler {
	if cfg.Polling <= 0 {
		cfg.Polling = 5 * time.Minute
	}
	if cfg.BaseURL == nil {
		cfg.BaseURL = requestBase
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.Real{}
	}
	if cfg.Offered <= 0 {
		cfg.Offered = 30 * time.Second
	}
	h := &Handler{
		cfg: cfg, mux: http.NewServeMux(), trust: newTrust(cfg.Trust), metrics: newMetrics(cfg.Metrics),
		usual: newSleep(cfg.Polling),
	}
	route := func(pattern string, fn func(http.ResponseWriter, *http.Request, device.Identity) error) {
		method, path, _ := strings.Cut(pattern, " ")
		h.mux.HandleFunc(method+" "+Prefix+"{unit}"+path, h.authenticated(fn))
	}
	if cfg.Download != nil {
		h.mux.HandleFunc("GET "+Prefix+"{unit}/softwaremodules/{sum}/artifacts/{filename}", h.fetch)
	}
	route("PUT /configData", h.configData)
	route("GET /desired", h.desired)
	route("GET /deploymentBase/{id}", h.deploymentBase)
	route("POST /deploymentBase/{id}/feedback", h.feedback)
	route("GET /installedBase/{id}", h.installedBase)
	route("GET /cancelAction/{id}", h.cancelAction)
	route("POST /cancelAction/{id}/feedback", h.cancelFeedback)
	route("GET /confirmationBase", h.confirmationBase)
	route("GET /confirmationBase/{id}", nothingToConfirm)
	route("POST /confirmationBase/{id}/feedback", nothingToConfirm)
	route("POST /confirmationBase/activateAutoConfirm", h.activateAutoConfirm)
	route("POST /confirmationBase/deactivateAutoConfirm", h.deactivateAutoConfirm)
	return h
}

// requestBase is how the client reached us. A trusted proxy's word on the
// scheme, which stands in the URL, counts more than the connection to it.
func requestBase(r *http.Request) string {
	switch {
	case r.URL.Scheme == "https", r.URL.Scheme == "" && r.TLS != nil:
		return "https://" + r.Host
	default:
		return "http://" + r.Host
	}
}

// ServeHTTP serves a client. Nearly all that comes are polls: they take the
// short way.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	unit, ours := strings.CutPrefix(r.URL.Path, Prefix)
	if ours && unit != "" && strings.IndexByte(unit, '/') < 0 {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			reply(w, http.StatusMethodNotAllowed, map[string]string{"message": "a unit's own address is polled with GET"})
			return
		}
		if err := h.poll(w, r, unit); err != nil {
			h.refuse(w, r, err)
		}
		return
	}
	h.mux.ServeHTTP(w, r)
}

// authenticated lets in the unit that the path names.
func (h *Handler) authenticated(fn func(http.ResponseWriter, *http.Request, device.Identity) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := h.identify(r, r.PathValue("unit"), h.cfg.Units.Token)
		if err == nil {
			h.cfg.Units.Contact(id)
			err = fn(w, r, id)
		}
		if err != nil {
			h.refuse(w, r, err)
		}
	}
}

// refuse maps an error to the status that clients know: 401 wrong credential,
// 404 not theirs or not there, 410 over.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusInternalServerError
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch fault.KindOf(err) {
	case fault.Denied:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "TargetToken")
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Conflict:
		status = http.StatusGone
	case fault.Invalid:
		status = http.StatusBadRequest
	case fault.Unavailable:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "10")
		if often, ok := errors.AsType[*device.OftenError](err); ok {
			status = http.StatusTooManyRequests
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(often.After.Seconds()))))
		}
	case fault.Internal:
	}
	if tooLarge {
		status = http.StatusRequestEntityTooLarge
	}
	message := "see the server's log"
	if status < 500 {
		message = err.Error()
	} else if r.Context().Err() == nil {
		h.cfg.Log.ErrorContext(r.Context(), "update client could not be served", "path", r.URL.Path, "err", err)
	}
	if status == http.StatusUnauthorized {
		message = "unit or token is wrong"
		h.denied(r, err)
	}
	reply(w, status, map[string]string{"message": message})
}

func reply(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // of our own types: cannot be
		status, body = http.StatusInternalServerError, nil
	}
	w.Header()["Content-Type"] = isJSON
	w.Header()["Cache-Control"] = notKept
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// done answers exactly 200 with an empty body: rauc-hawkbit-updater takes
// nothing else.
func done(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
}

func body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "read body", err)
	}
	return b, nil
}

func actionID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	if err != nil || id < 1 {
		return 0, fault.New(fault.NotFound, "no action %q", r.PathValue("id"))
	}
	return id, nil
}

type ref struct {
	Href string `json:"href"`
}

func (h *Handler) href(r *http.Request, unit, path string) ref {
	return ref{h.cfg.BaseURL(r) + Prefix + url.PathEscape(unit) + path}
}

// version stands in the deployment's link, so that a client that caches sees a
// new link after the offer was taken back and made again.
func version(a *update.Assignment) string {
	return strconv.FormatInt(a.ID, 36) + "-" + strconv.FormatInt(a.NotBefore.UnixMilli(), 36)
}

func (h *Handler) configData(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	b, err := body(w, r)
	if err != nil {
		return err
	}
	mode, data, err := parseConfigData(b)
	if err != nil {
		return err
	}
	if err := h.cfg.Updates.SetAttributes(r.Context(), id.UnitID, mode, data); err != nil {
		return err
	}
	done(w)
	return nil
}

// desired is no part of hawkBit's API: it tells a unit that is known at this
// door alone, by a gateway's token or by a proxy, what its owner permits it to
// send. Update clients do not ask for it; what stands beside them on the unit does.
func (h *Handler) desired(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	d, err := h.cfg.Units.Desired(r.Context(), id)
	if err != nil {
		return err
	}
	door.Desired(w, r, &d)
	return nil
}

func (h *Handler) said(w http.ResponseWriter, r *http.Request) (int64, said, error) {
	n, err := actionID(r)
	if err != nil {
		return 0, said{}, err
	}
	b, err := body(w, r)
	if err != nil {
		return 0, said{}, err
	}
	s, err := parseFeedback(b)
	if err == nil && s.id != 0 && s.id != n {
		err = invalid("id", "the id in the path, "+strconv.FormatInt(n, 10), strconv.FormatInt(s.id, 10))
	}
	return n, s, err
}

func (h *Handler) feedback(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, s, err := h.said(w, r)
	if err != nil {
		return err
	}
	if s.execution == "downloaded" {
		_, err = h.cfg.Updates.Downloaded(r.Context(), id.UnitID, n, s.update())
	} else {
		_, err = h.cfg.Updates.Feedback(r.Context(), id.UnitID, n, s.update())
	}
	if err != nil {
		return h.heard(r, err)
	}
	done(w)
	return nil
}

func (h *Handler) cancelAction(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, err := actionID(r)
	if err != nil {
		return err
	}
	a, err := h.cfg.Updates.Canceling(r.Context(), id.UnitID, n)
	if err != nil {
		return err
	}
	s := strconv.FormatInt(a.ID, 10)
	reply(w, http.StatusOK, map[string]any{"id": s, "cancelAction": map[string]string{"stopId": s}})
	return nil
}

func (h *Handler) cancelFeedback(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, s, err := h.said(w, r)
	if err != nil {
		return err
	}
	if _, err := h.cfg.Updates.CancelFeedback(r.Context(), id.UnitID, n, s.cancel()); err != nil {
		return h.heard(r, err)
	}
	done(w)
	return nil
}
