package ddi

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

type artifact struct {
	Filename string            `json:"filename"`
	Hashes   map[string]string `json:"hashes"`
	Size     int64             `json:"size"`
	Links    map[string]link   `json:"_links"`
}

type chunk struct {
	Part      string     `json:"part"`
	Version   string     `json:"version"`
	Name      string     `json:"name"`
	Artifacts []artifact `json:"artifacts"`
}

type deployment struct {
	Download string  `json:"download"`
	Update   string  `json:"update"`
	Chunks   []chunk `json:"chunks"`
}

func (h *Handler) deploymentBase(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, err := actionID(r)
	if err != nil {
		return err
	}
	d, err := h.cfg.Updates.Deployment(r.Context(), id.UnitID, n)
	if err != nil {
		return err
	}
	h.deployment(w, r, id, d)
	return nil
}

func (h *Handler) installedBase(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, err := actionID(r)
	if err != nil {
		return err
	}
	d, err := h.cfg.Updates.InstalledDeployment(r.Context(), id.UnitID, n)
	if err != nil {
		return err
	}
	h.deployment(w, r, id, d)
	return nil
}

func (h *Handler) deployment(w http.ResponseWriter, r *http.Request, id device.Identity, d update.Deployment) {
	n := strconv.FormatInt(d.Assignment.ID, 10)
	at := h.href(r, id.UnitID, "/softwaremodules/"+n+"/artifacts/"+url.PathEscape(d.Artifact.Filename))
	reply(w, http.StatusOK, map[string]any{
		"id": n, // a numeric string: SWUpdate parses an int
		"deployment": deployment{
			Download: "forced", Update: "forced",
			Chunks: []chunk{{
				Part: "os", Version: d.Release.Version, Name: d.Release.Name,
				Artifacts: []artifact{{
					Filename: d.Artifact.Filename, Size: d.Artifact.Size,
					Hashes: map[string]string{"sha1": d.Artifact.SHA1, "md5": d.Artifact.MD5, "sha256": d.Artifact.SHA256},
					Links:  map[string]link{"download": at, "download-http": at},
				}},
			}},
		},
	})
}

// download gives the bytes of a deployment that the unit may have at this
// moment: the same link is dead once the owner has withdrawn or the update was
// canceled. The first byte asked for counts as begun.
func (h *Handler) download(w http.ResponseWriter, r *http.Request, id device.Identity) error {
	n, err := actionID(r)
	if err != nil {
		return err
	}
	d, err := h.cfg.Updates.Deployment(r.Context(), id.UnitID, n)
	if err != nil {
		return err
	}
	if d.Artifact.Filename != r.PathValue("filename") {
		return fault.New(fault.NotFound, "no file %q in action %d", r.PathValue("filename"), n)
	}
	if d.Assignment.State == update.Offered && r.Method == http.MethodGet {
		if _, err := h.cfg.Updates.Feedback(r.Context(), id.UnitID, n, update.Feedback{State: update.Running}); err != nil {
			return err
		}
	}
	_, content, err := h.cfg.Updates.OpenArtifact(r.Context(), d.Artifact.SHA256)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	sum, err := hex.DecodeString(d.Artifact.SHA256)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	w.Header().Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", d.Artifact.At, content)
	return nil
}
