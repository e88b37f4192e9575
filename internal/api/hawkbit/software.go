package hawkbit

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/bench"
)

type link struct {
	Href string `json:"href"`
}

type module struct {
	ID          int64           `json:"id"`
	Name        string          `json:"name"`
	Version     string          `json:"version"`
	Type        string          `json:"type"`
	Description string          `json:"description,omitempty"`
	Vendor      string          `json:"vendor,omitempty"`
	CreatedAt   int64           `json:"createdAt"`
	Links       map[string]link `json:"_links,omitempty"`
}

func (h *Handler) href(r *http.Request, path string, n int64) map[string]link {
	return map[string]link{"self": {h.cfg.Base(r) + Prefix + path + "/" + strconv.FormatInt(n, 10)}}
}

func (h *Handler) showModule(r *http.Request, m *bench.Module) module {
	return module{m.ID, m.Name, m.Version, m.Type, m.Description, m.Vendor, m.At.UnixMilli(), h.href(r, "softwaremodules", m.ID)}
}

func (h *Handler) addModules(w http.ResponseWriter, r *http.Request, _ caller) error {
	in, err := body[[]module](w, r)
	if err != nil {
		return err
	}
	out := make([]module, 0, len(in))
	for _, v := range in {
		m, err := h.cfg.Bench.AddModule(r.Context(), bench.Module{Name: v.Name, Version: v.Version, Type: v.Type, Description: v.Description, Vendor: v.Vendor})
		if err != nil {
			return err
		}
		out = append(out, h.showModule(r, &m))
	}
	reply(w, http.StatusCreated, out)
	return nil
}

func (h *Handler) modules(w http.ResponseWriter, r *http.Request, _ caller) error {
	all, err := h.cfg.Bench.Modules(r.Context())
	if err != nil {
		return err
	}
	return list(w, r, all, func(m *bench.Module) module { return h.showModule(r, m) })
}

// list answers a page of what there is.
func list[T, V any](w http.ResponseWriter, r *http.Request, all []T, show func(*T) V) error {
	down, err := descending(r)
	if err != nil {
		return err
	}
	if down {
		slices.Reverse(all)
	}
	part, err := cut(r, all)
	if err != nil {
		return err
	}
	out := page[V]{Content: []V{}, Total: part.Total, Size: part.Size}
	for i := range part.Content {
		out.Content = append(out.Content, show(&part.Content[i]))
	}
	reply(w, http.StatusOK, out)
	return nil
}

func (h *Handler) module(w http.ResponseWriter, r *http.Request, _ caller) error {
	n, err := id(r, "module")
	if err != nil {
		return err
	}
	m, err := h.cfg.Bench.Module(r.Context(), n)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, h.showModule(r, &m))
	return nil
}

func (h *Handler) dropModule(w http.ResponseWriter, r *http.Request, _ caller) error {
	return drop(w, r, "module", h.cfg.Bench.DropModule)
}

type file struct {
	ID     int64             `json:"id"`
	Name   string            `json:"providedFilename"`
	Size   int64             `json:"size"`
	Hashes map[string]string `json:"hashes"`
	Links  map[string]link   `json:"_links,omitempty"`
}

func (h *Handler) showFile(r *http.Request, m, n int64, a *update.Artifact) file {
	return file{
		n, a.Filename, a.Size,
		map[string]string{"sha1": a.SHA1, "md5": a.MD5, "sha256": a.SHA256},
		h.href(r, "softwaremodules/"+strconv.FormatInt(m, 10)+"/artifacts", n),
	}
}

// addFile takes an artifact, the part named file of a multipart body, of any
// size: it is streamed.
func (h *Handler) addFile(w http.ResponseWriter, r *http.Request, _ caller) error {
	n, err := id(r, "module")
	if err != nil {
		return err
	}
	if _, err := h.cfg.Bench.Module(r.Context(), n); err != nil {
		return err
	}
	parts, err := r.MultipartReader()
	if err != nil {
		return fault.Wrap(fault.Invalid, "read artifact", err)
	}
	for {
		p, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return fault.Fields("artifact", []fault.Field{{Path: "file", Expected: "a part named file in a multipart/form-data body"}})
		}
		if err != nil {
			return fault.Wrap(fault.Invalid, "read artifact", err)
		}
		if p.FormName() != "file" {
			continue
		}
		name := r.URL.Query().Get("filename")
		if name == "" {
			name = p.FileName()
		}
		a, err := h.cfg.Updates.PutArtifact(r.Context(), p, name)
		if err != nil {
			return err
		}
		f, err := h.cfg.Bench.AddFile(r.Context(), n, a)
		if err != nil {
			return err
		}
		reply(w, http.StatusCreated, h.showFile(r, n, f.ID, &a))
		return nil
	}
}

func (h *Handler) files(w http.ResponseWriter, r *http.Request, _ caller) error {
	n, err := id(r, "module")
	if err != nil {
		return err
	}
	m, err := h.cfg.Bench.Module(r.Context(), n)
	if err != nil {
		return err
	}
	out := []file{}
	for _, f := range m.Files {
		a, err := h.cfg.Bench.File(r.Context(), n, f.ID)
		if err != nil {
			return err
		}
		out = append(out, h.showFile(r, n, f.ID, &a))
	}
	reply(w, http.StatusOK, out)
	return nil
}

func (h *Handler) file(w http.ResponseWriter, r *http.Request, _ caller) error {
	n, err := id(r, "module")
	if err != nil {
		return err
	}
	f, err := id(r, "file")
	if err != nil {
		return err
	}
	a, err := h.cfg.Bench.File(r.Context(), n, f)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, h.showFile(r, n, f, &a))
	return nil
}

func (h *Handler) dropFile(w http.ResponseWriter, r *http.Request, _ caller) error {
	n, err := id(r, "module")
	if err != nil {
		return err
	}
	f, err := id(r, "file")
	if err != nil {
		return err
	}
	if err := h.cfg.Bench.DropFile(r.Context(), n, f); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type moduleID struct {
	ID int64 `json:"id"`
}

type set struct {
	ID          int64           `json:"id"`
	Name        string          `json:"name"`
	Version     string          `json:"version"`
	Type        string          `json:"type"`
	Description string          `json:"description,omitempty"`
	Modules     []moduleID      `json:"modules"`
	CreatedAt   int64           `json:"createdAt"`
	Complete    bool            `json:"complete"`
	Links       map[string]link `json:"_links,omitempty"`
}

func (h *Handler) showSet(r *http.Request, d *bench.Set) set {
	out := set{
		ID: d.ID, Name: d.Name, Version: d.Version, Type: d.Type, Description: d.Description, Modules: []moduleID{},
		CreatedAt: d.At.UnixMilli(), Complete: len(d.Modules) > 0, Links: h.href(r, "distributionsets", d.ID),
	}
	for _, m := range d.Modules {
		out.Modules = append(out.Modules, moduleID{m})
	}
	return out
}

func (h *Handler) addSets(w http.ResponseWriter, r *http.Request, _ caller) error {
	in, err := body[[]set](w, r)
	if err != nil {
		return err
	}
	out := make([]set, 0, len(in))
	for _, v := range in {
		d := bench.Set{Name: v.Name, Version: v.Version, Type: v.Type, Description: v.Description}
		for _, m := range v.Modules {
			d.Modules = append(d.Modules, m.ID)
		}
		if d, err = h.cfg.Bench.AddSet(r.Context(), d); err != nil {
			return err
		}
		out = append(out, h.showSet(r, &d))
	}
	reply(w, http.StatusCreated, out)
	return nil
}

func (h *Handler) sets(w http.ResponseWriter, r *http.Request, _ caller) error {
	all, err := h.cfg.Bench.Sets(r.Context())
	if err != nil {
		return err
	}
	return list(w, r, all, func(d *bench.Set) set { return h.showSet(r, d) })
}

func (h *Handler) distribution(w http.ResponseWriter, r *http.Request, _ caller) error {
	n, err := id(r, "set")
	if err != nil {
		return err
	}
	d, err := h.cfg.Bench.Set(r.Context(), n)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, h.showSet(r, &d))
	return nil
}

func (h *Handler) dropSet(w http.ResponseWriter, r *http.Request, _ caller) error {
	return drop(w, r, "set", h.cfg.Bench.DropSet)
}

// drop deletes what the path names under key.
func drop(w http.ResponseWriter, r *http.Request, key string, fn func(context.Context, int64) error) error {
	n, err := id(r, key)
	if err != nil {
		return err
	}
	if err := fn(r.Context(), n); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
