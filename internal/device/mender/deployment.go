package mender

import (
	"fmt"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// instructions are what a client is to do.
type instructions struct {
	ID       string   `json:"id"`
	Artifact artifact `json:"artifact"`
	Control  *control `json:"update_control_map,omitempty"`
}

type artifact struct {
	Name    string   `json:"artifact_name"`
	Devices []string `json:"device_types_compatible"`
	Source  source   `json:"source"`
}

type source struct {
	URI    string    `json:"uri"`
	Expire time.Time `json:"expire"`
}

// control says what a client of version 3 does before each step. Its id is the
// deployment's, so that the client drops it with the deployment.
type control struct {
	ID       string          `json:"id"`
	Priority int             `json:"priority"` // -10 to 10; what the device itself sets stands at 0 by default
	States   map[string]step `json:"states"`
}

// step: OnExpire is what is done when the client could not ask for so long that
// the map is too old. An owner's hold then fails the update: the old version
// stays, which is what the owner had when they said not now.
type step struct {
	Action   string `json:"action"` // continue, force_continue, pause, fail
	OnExpire string `json:"on_map_expire"`
}

// controlOf is the map for where an assignment stands: an owner's hold pauses
// before the image is installed and before a restart into it. Once restarted
// into it nothing is held: an image that is not committed would run undecided.
func controlOf(a *update.Assignment) *control {
	s := step{"continue", "continue"}
	if a.Hold.Wanted() {
		s = step{"pause", "fail"}
	}
	return &control{ID: deploymentID(a.ID), States: map[string]step{"ArtifactInstall_Enter": s, "ArtifactReboot_Enter": s}}
}

// next tells a client what to install, if its owner's time has come. What the
// client provides says which artifact runs on it: that is the unit's version
// report, and alone makes an update installed.
func (h *Handler) next(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	b, err := body(w, r, maxBody)
	if err != nil {
		return err
	}
	p, err := parseProvides(b)
	if err != nil {
		return err
	}
	return h.offer(w, r, id, p)
}

// nextV1 is the call of clients before 3, with what they provide in the query.
func (h *Handler) nextV1(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	q := r.URL.Query()
	p := provides{artifact: q.Get("artifact_name"), device: q.Get("device_type")}
	if err := p.check(); err != nil {
		return err
	}
	return h.offer(w, r, id, p)
}

func (h *Handler) offer(w http.ResponseWriter, r *http.Request, id device.Identity, p provides) error {
	if err := h.report(r, id, p.artifact); err != nil {
		return err
	}
	work, err := h.cfg.Updates.Work(r.Context(), id.UnitID)
	if err != nil {
		return err
	}
	a := work.Action
	if a == nil || a.State == update.Canceling {
		if a != nil {
			// It asks for another deployment: what it had begun is given up.
			f := update.Feedback{State: update.Canceled, Details: []string{"the client has given the deployment up"}}
			if _, err := h.cfg.Updates.CancelFeedback(r.Context(), id.UnitID, a.ID, f); err != nil && fault.KindOf(err) != fault.Conflict {
				return err
			}
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	d, err := h.cfg.Updates.Deployment(r.Context(), id.UnitID, a.ID)
	if err != nil {
		return err
	}
	if len(d.Parts) > 1 {
		f := update.Feedback{State: update.Failed, Details: []string{fmt.Sprintf("a Mender client takes one artifact, and release %s has %d parts", d.Release.Name, len(d.Parts))}}
		if _, err := h.cfg.Updates.Feedback(r.Context(), id.UnitID, a.ID, f); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	out := instructions{ID: deploymentID(a.ID), Artifact: artifact{Name: d.Parts[0].Version, Devices: []string{p.device}}}
	out.Artifact.Source.URI, out.Artifact.Source.Expire = h.cfg.Link(r, &d)
	if p.control {
		if err := h.cfg.Updates.Holdable(r.Context(), id.UnitID, a.ID); err != nil {
			return err
		}
		out.Control = controlOf(&d.Assignment)
	}
	reply(w, http.StatusOK, out)
	return nil
}

// report takes which artifact runs on the unit.
func (h *Handler) report(r *http.Request, id device.Identity, artifact string) error {
	if artifact == "" || artifact == "unknown" { // a client that has never been told
		return nil
	}
	return h.cfg.Gateway.ReportVersions(r.Context(), id, map[string]string{fleet.MainComponent: artifact})
}

// controlMap is asked for before each step, and while a client waits.
func (h *Handler) controlMap(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, err := assignmentID(r)
	if err != nil {
		return err
	}
	a, err := h.cfg.Updates.Own(r.Context(), id.UnitID, n)
	if err != nil {
		return h.heard(r, err)
	}
	if a.Over() || a.State == update.Withheld {
		return fault.New(fault.NotFound, "deployment %s is not active", deploymentID(n))
	}
	reply(w, http.StatusOK, map[string]*control{"update_control_map": controlOf(&a)})
	return nil
}

// status takes how far a client is. 204: go on. 409: give the deployment up.
func (h *Handler) status(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, err := assignmentID(r)
	if err != nil {
		return err
	}
	b, err := body(w, r, maxBody)
	if err != nil {
		return err
	}
	s, err := parseStatus(b)
	if err != nil {
		return err
	}
	a, err := h.cfg.Updates.Own(r.Context(), id.UnitID, n)
	if err != nil {
		return h.heard(r, err)
	}
	f := s.feedback()
	switch {
	case a.State == update.Canceling && f.State != update.Claimed:
		// It stops at this answer, and says failure when it has.
		if f.State == update.Failed {
			f.State = update.Canceled
		} else {
			f.State = ""
		}
		if _, err := h.cfg.Updates.CancelFeedback(r.Context(), id.UnitID, n, f); err != nil {
			return err
		}
		if f.State != update.Canceled {
			return errAborted
		}
	case f.State == update.Claimed && (a.State == update.Claimed || a.State == update.Installed),
		f.State == update.Failed && (a.State == update.Failed || a.State == update.Canceled):
		// Said again, because the answer was lost.
	default:
		_, err := h.cfg.Updates.Feedback(r.Context(), id.UnitID, n, f)
		switch fault.KindOf(err) {
		case fault.NotFound, fault.Conflict: // withdrawn meanwhile, or over
			return errAborted
		default:
			if err != nil {
				return err
			}
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// log takes the client's log of a deployment that failed.
func (h *Handler) log(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, err := assignmentID(r)
	if err != nil {
		return err
	}
	b, err := body(w, r, maxLog)
	if err != nil {
		return err
	}
	lines, err := parseLog(b)
	if err != nil {
		return err
	}
	if err := h.cfg.Updates.KeepLog(r.Context(), id.UnitID, n, lines); err != nil {
		return h.heard(r, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// inventory takes what a client says of its unit: information for operators,
// and which artifact runs on it.
func (h *Handler) inventory(mode update.AttributeMode) handler {
	return func(w http.ResponseWriter, r *http.Request, id device.Identity) error {
		b, err := body(w, r, maxBody)
		if err != nil {
			return err
		}
		data, err := parseInventory(b)
		if err != nil {
			return err
		}
		if err := h.report(r, id, data["artifact_name"]); err != nil {
			return err
		}
		if err := h.cfg.Updates.SetAttributes(r.Context(), id.UnitID, mode, data); err != nil {
			return err
		}
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		return nil
	}
}
