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
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
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
	SetAttributes(ctx context.Context, unitID string, mode update.AttributeMode, data map[string]string) error
	OpenArtifact(ctx context.Context, sha256 string) (update.Artifact, io.ReadSeekCloser, error)
}

// Config is what a Handler works with.
type Config struct {
	Updates  Updates
	Auth     device.Authenticator
	Contacts device.Contacts
	Log      *slog.Logger
	Polling  time.Duration                // sleep between two polls that clients are told, at least 1 s (default 5 min)
	BaseURL  func(r *http.Request) string // scheme and host of the links (default: those of the request)
}

// Handler serves /DEFAULT/controller/v1/{unit}….
type Handler struct {
	cfg   Config
	mux   *http.ServeMux
	sleep string
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
	s := int(max(cfg.Polling, time.Second) / time.Second)
	s = min(s, 23*3600+59*60+59) // hawkBit's format ends there
	h := &Handler{cfg: cfg, mux: http.NewServeMux(), sleep: fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)}
	route := func(pattern string, fn func(http.ResponseWriter, *http.Request, device.Identity) error) {
		method, path, _ := strings.Cut(pattern, " ")
		h.mux.HandleFunc(method+" "+Prefix+"{unit}"+path, h.authenticated(fn))
	}
	route("GET ", h.poll)
	route("PUT /configData", h.configData)
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
	route("GET /softwaremodules/{id}/artifacts/{filename}", h.download)
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

// ServeHTTP serves a client.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// authenticated lets in the unit that the path names, by its own token or its
// client certificate. There is no gateway token: whoever holds one could speak
// for every unit.
func (h *Handler) authenticated(fn func(http.ResponseWriter, *http.Request, device.Identity) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := h.identify(r)
		if err == nil {
			h.cfg.Contacts.Contact(id)
			err = fn(w, r, id)
		}
		if err != nil {
			h.refuse(w, r, err)
		}
	}
}

func (h *Handler) identify(r *http.Request) (device.Identity, error) {
	unit := r.PathValue("unit")
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(scheme, "TargetToken") && token != "":
		return h.cfg.Auth.Token(r.Context(), unit, strings.TrimSpace(token))
	case scheme == "" && r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		id, err := h.cfg.Auth.Certificate(r.Context(), r.TLS.PeerCertificates[0])
		if err == nil && id.UnitID != unit {
			err = fault.New(fault.Denied, "the certificate is of another unit")
		}
		return id, err
	}
	return device.Identity{}, fault.New(fault.Denied, "a target token or a client certificate is wanted")
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
	}
	reply(w, status, map[string]string{"message": message})
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

type link struct {
	Href string `json:"href"`
}

func (h *Handler) href(r *http.Request, unit, path string) link {
	return link{h.cfg.BaseURL(r) + Prefix + url.PathEscape(unit) + path}
}

func (h *Handler) poll(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	work, err := h.cfg.Updates.Work(r.Context(), id.UnitID)
	if err != nil {
		return err
	}
	links := map[string]link{}
	if work.Attributes {
		links["configData"] = h.href(r, id.UnitID, "/configData")
	}
	if a := work.Action; a != nil {
		n := strconv.FormatInt(a.ID, 10)
		if a.State == update.Canceling {
			links["cancelAction"] = h.href(r, id.UnitID, "/cancelAction/"+n)
		} else {
			links["deploymentBase"] = h.href(r, id.UnitID, "/deploymentBase/"+n+"?c="+version(a))
		}
	}
	if n := work.Installed; n != 0 {
		links["installedBase"] = h.href(r, id.UnitID, "/installedBase/"+strconv.FormatInt(n, 10))
	}
	out := map[string]any{"config": map[string]any{"polling": map[string]string{"sleep": h.sleep}}}
	if len(links) > 0 {
		out["_links"] = links
	}
	reply(w, http.StatusOK, out)
	return nil
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
	if _, err := h.cfg.Updates.Feedback(r.Context(), id.UnitID, n, s.update()); err != nil {
		return err
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
		return err
	}
	done(w)
	return nil
}
