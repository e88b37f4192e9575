package ddi

import (
	"net/http"
	"strconv"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/link"
)

type artifact struct {
	Filename string            `json:"filename"`
	Hashes   map[string]string `json:"hashes"`
	Size     int64             `json:"size"`
	Links    map[string]ref    `json:"_links"`
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
	Window   string  `json:"maintenanceWindow,omitempty"`
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

// deployment describes what is to be installed: a chunk for each image, in the
// order of installation. Each address is signed, for this assignment alone, and
// dead at once when the update is withdrawn.
func (h *Handler) deployment(w http.ResponseWriter, r *http.Request, id device.Identity, d update.Deployment) {
	chunks := make([]chunk, len(d.Parts))
	for i, p := range d.Parts {
		chunks[i] = chunk{Part: "os", Version: p.Version, Name: d.Release.Name}
		for _, a := range append([]update.Artifact{p.Artifact}, p.More...) {
			c := link.Claims{Assignment: d.Assignment.ID, SHA256: a.SHA256, Filename: a.Filename}
			path := h.cfg.Links.Path(c)
			if d.Assignment.Manner != nil && h.cfg.Download != nil {
				path = hawkBitPath(id.UnitID, c, path)
			}
			at := ref{h.cfg.BaseURL(r) + path}
			chunks[i].Artifacts = append(chunks[i].Artifacts, artifact{
				Filename: a.Filename, Size: a.Size,
				Hashes: map[string]string{"sha1": a.SHA1, "md5": a.MD5, "sha256": a.SHA256},
				Links:  map[string]ref{"download": at, "download-http": at},
			})
		}
		if len(d.Parts) > 1 {
			chunks[i].Name += " " + p.Component
		}
	}
	download, install, window := d.Assignment.Manner.Wire(h.cfg.Clock.Now())
	reply(w, http.StatusOK, map[string]any{
		"id":         strconv.FormatInt(d.Assignment.ID, 10), // a numeric string: SWUpdate parses an int
		"deployment": deployment{Download: download, Update: install, Window: window, Chunks: chunks},
	})
}
