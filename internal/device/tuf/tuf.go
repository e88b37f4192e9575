// Package tuf is the door at which units fetch signed metadata about their
// updates, and prove what they run (room update/trust):
//
//	GET  /tuf/image/{timestamp.json|N.snapshot.json|N.targets.json|N.root.json}     the same for all
//	GET  /tuf/director/{timestamp.json|N.snapshot.json|N.targets.json|N.root.json}  the asking unit's own
//	GET  /tuf/targets/{sha256}/{filename}   307 to the bytes' signed address, while the unit may fetch them
//	POST /tuf/director/report               a signed version report
//
// Whoever asks must be a unit, by its target token or client certificate. The
// paths are those of a TUF repository with consistent snapshots, so that any
// TUF client can follow the metadata.
package tuf

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/fault"
)

// Prefix is the path that all routes begin with.
const Prefix = "/tuf/"

// maxReport is how many bytes a version report may have.
const maxReport = 64 << 10

// Trust is what the door needs of the room trust; *trust.Service is one.
type Trust interface {
	Image(ctx context.Context, role string, version int64) ([]byte, error)
	Director(ctx context.Context, unitID, role string, version int64) ([]byte, error)
	Timestamp(ctx context.Context, unitID, tag string) (body []byte, newTag string, err error)
	Report(ctx context.Context, unitID string, body []byte) error
}

// Config is what a Door works with.
type Config struct {
	Trust Trust
	// Address gives where a unit may fetch an image now, or refuses.
	Address  func(ctx context.Context, unitID, sha256, filename string) (string, error)
	Contacts device.Contacts
}

// Door serves Prefix.
type Door struct {
	cfg Config
	mux *http.ServeMux
}

// New makes the door behind what all doors share.
func New(units *door.Door, cfg Config) *Door {
	d := &Door{cfg: cfg, mux: http.NewServeMux()}
	route := func(pattern string, fn func(http.ResponseWriter, *http.Request, device.Identity) error) {
		d.mux.HandleFunc(pattern, units.Unit(func(w http.ResponseWriter, r *http.Request, id device.Identity) {
			cfg.Contacts.Contact(id)
			if err := fn(w, r, id); err != nil {
				units.Fail(w, r, err) // a report's refusal begins with its name
			}
		}, units.Fail, credentials))
	}
	route("GET "+Prefix+"image/{file}", d.image)
	route("GET "+Prefix+"director/{file}", d.director)
	route("GET "+Prefix+"targets/{sha256}/{filename}", d.target)
	route("POST "+Prefix+"director/report", d.report)
	return d
}

// ServeHTTP serves a unit.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

// credentials reads the target token as hawkBit's clients send it, or what the
// other doors take.
func credentials(r *http.Request) (unitID, token string, ok bool) {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "TargetToken") {
		value = strings.TrimSpace(value)
		return "", value, value != ""
	}
	return door.Credentials(r)
}

// file reads a file's name: role and version.
func file(name string) (role string, version int64, err error) {
	unknown := fault.New(fault.NotFound, "no file %q: timestamp.json, or root, snapshot or targets with a version, as 1.root.json", name)
	if name == "timestamp.json" {
		return "timestamp", 0, nil
	}
	number, rest, _ := strings.Cut(name, ".")
	version, err = strconv.ParseInt(number, 10, 64)
	if err != nil || version < 1 || strconv.FormatInt(version, 10) != number {
		return "", 0, unknown
	}
	switch rest {
	case "root.json", "snapshot.json", "targets.json":
		return strings.TrimSuffix(rest, ".json"), version, nil
	}
	return "", 0, unknown
}

func (d *Door) image(w http.ResponseWriter, r *http.Request, _ device.Identity) error {
	role, version, err := file(r.PathValue("file"))
	if err != nil {
		return err
	}
	body, err := d.cfg.Trust.Image(r.Context(), role, version)
	if err != nil {
		return err
	}
	answer(w, role, body)
	return nil
}

func (d *Door) director(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	role, version, err := file(r.PathValue("file"))
	if err != nil {
		return err
	}
	if role != "timestamp" {
		body, err := d.cfg.Trust.Director(r.Context(), id.UnitID, role, version)
		if err != nil {
			return err
		}
		answer(w, role, body)
		return nil
	}
	body, tag, err := d.cfg.Trust.Timestamp(r.Context(), id.UnitID, strings.Trim(r.Header.Get("If-None-Match"), `"`))
	if err != nil {
		return err
	}
	w.Header().Set("ETag", `"`+tag+`"`)
	w.Header().Set("Cache-Control", "private, no-cache")
	if body == nil {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	answer(w, role, body)
	return nil
}

func answer(w http.ResponseWriter, role string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private, max-age=86400, immutable") // a version never changes
		if role == "timestamp" {
			h.Set("Cache-Control", "private, no-cache")
		}
	}
	_, _ = w.Write(body) //nolint:gosec // signed JSON, said to be JSON
}

func (d *Door) target(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	at, err := d.cfg.Address(r.Context(), id.UnitID, r.PathValue("sha256"), r.PathValue("filename"))
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, at, http.StatusTemporaryRedirect)
	return nil
}

func (d *Door) report(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return door.Refuse(http.StatusRequestEntityTooLarge, "a version report has at most 64 KiB")
	}
	if err != nil {
		return fault.Wrap(fault.Invalid, "read version report", err)
	}
	if err := d.cfg.Trust.Report(r.Context(), id.UnitID, body); err != nil {
		return err
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusOK)
	return nil
}
