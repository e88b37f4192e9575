package hawkbit

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update/bench"
)

func (h *Handler) settings(w http.ResponseWriter, _ *http.Request, _ caller) error {
	out := map[string]any{}
	for k, v := range h.cfg.Bench.Settings() {
		out[k] = value{typed(v)}
	}
	reply(w, http.StatusOK, out)
	return nil
}

type value struct {
	Value any `json:"value"`
}

// typed gives true and false as JSON has them.
func typed(s string) any {
	switch s {
	case "true", "false":
		return s == "true"
	default:
		return s
	}
}

func (h *Handler) setting(w http.ResponseWriter, r *http.Request, _ caller) error {
	v, err := h.cfg.Bench.Setting(r.PathValue("key"))
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, value{typed(v)})
	return nil
}

func (h *Handler) set(w http.ResponseWriter, r *http.Request, _ caller) error {
	in, err := body[value](w, r)
	if err != nil {
		return err
	}
	var v string
	switch x := in.Value.(type) {
	case string:
		v = x
	case bool:
		v = strconv.FormatBool(x)
	default:
		return fault.Fields("setting", []fault.Field{{Path: "value", Expected: "a string, true or false"}})
	}
	audit.Changed(r.Context(), changed(r.PathValue("key"), v))
	if err := h.cfg.Bench.SetSetting(r.Context(), r.PathValue("key"), v); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// changed says which setting was set, and to what where that can be no secret.
func changed(key, value string) string {
	if key == bench.GatewayKey || key == bench.HeaderIssuer || len(value) > len("00:00:00") {
		return key
	}
	return key + "=" + value
}

type newTarget struct {
	ControllerID string `json:"controllerId"`
	Name         string `json:"name"`
	Token        string `json:"securityToken"`
}

type target struct {
	ControllerID string `json:"controllerId"`
	Name         string `json:"name"`
	Token        string `json:"securityToken,omitempty"` // of bench units alone
	CreatedAt    int64  `json:"createdAt"`
	Status       string `json:"updateStatus"`
	Type         string `json:"targetTypeName"` // the product
	Bench        bool   `json:"bench"`
}

func (h *Handler) show(r *http.Request, u *fleet.Unit) (target, error) {
	name := u.Attributes["name"]
	if name == "" {
		name = u.ID
	}
	out := target{ControllerID: u.ID, Name: name, CreatedAt: u.CreatedAt.UnixMilli(), Status: "registered", Type: u.Product, Bench: u.OnBench()}
	if u.State == fleet.UnitPending {
		out.Status = "unknown"
	}
	var err error
	out.Token, err = h.cfg.Bench.Token(r.Context(), u)
	return out, err
}

func (h *Handler) addTargets(w http.ResponseWriter, r *http.Request, _ caller) error {
	in, err := body[[]newTarget](w, r)
	if err != nil {
		return err
	}
	out := make([]target, 0, len(in))
	for _, t := range in {
		audit.Changed(r.Context(), "targets/"+t.ControllerID)
		u, err := h.cfg.Bench.AddTarget(r.Context(), t.ControllerID, t.Name, t.Token)
		if err != nil {
			return err
		}
		v, err := h.show(r, &u)
		if err != nil {
			return err
		}
		out = append(out, v)
	}
	reply(w, http.StatusCreated, out)
	return nil
}

// unit is the one that the path names. Who has the bench login alone sees no
// other than bench units. The trail hears whose it is.
func (h *Handler) unit(r *http.Request, who caller) (fleet.Unit, error) {
	u, err := h.cfg.Bench.Target(r.Context(), r.PathValue("target"))
	switch {
	case err != nil:
		return u, err
	case who.benchOnly && !u.OnBench():
		return u, fault.New(fault.NotFound, "no unit %q", u.ID)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return u, audit.Looked(r.Context(), u.OwnerID)
	}
	audit.About(r.Context(), u.OwnerID)
	return u, nil
}

func (h *Handler) targets(w http.ResponseWriter, r *http.Request, who caller) error {
	units, err := h.cfg.Bench.Targets(r.Context())
	if err != nil {
		return err
	}
	if who.benchOnly {
		units = slices.DeleteFunc(units, func(u fleet.Unit) bool { return !u.OnBench() })
	}
	down, err := descending(r)
	if err != nil {
		return err
	}
	if down {
		slices.Reverse(units)
	}
	part, err := cut(r, units)
	if err != nil {
		return err
	}
	out := page[target]{Content: []target{}, Total: part.Total, Size: part.Size}
	owners := make([]string, len(part.Content))
	for i := range part.Content {
		owners[i] = part.Content[i].OwnerID
	}
	if err := audit.Looked(r.Context(), owners...); err != nil {
		return err
	}
	for i := range part.Content {
		v, err := h.show(r, &part.Content[i])
		if err != nil {
			return err
		}
		out.Content = append(out.Content, v)
	}
	reply(w, http.StatusOK, out)
	return nil
}

func (h *Handler) target(w http.ResponseWriter, r *http.Request, who caller) error {
	u, err := h.unit(r, who)
	if err != nil {
		return err
	}
	v, err := h.show(r, &u)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, v)
	return nil
}

// changeTarget replaces the token of a bench unit.
func (h *Handler) changeTarget(w http.ResponseWriter, r *http.Request, who caller) error {
	in, err := body[newTarget](w, r)
	if err != nil {
		return err
	}
	u, err := h.unit(r, who)
	if err != nil {
		return err
	}
	if in.Token != "" {
		audit.Changed(r.Context(), "securityToken")
		if err := h.cfg.Bench.SetToken(r.Context(), u.ID, in.Token); err != nil {
			return err
		}
	}
	return h.target(w, r, who)
}

func (h *Handler) dropTarget(w http.ResponseWriter, r *http.Request, who caller) error {
	u, err := h.unit(r, who)
	if err != nil {
		return err
	}
	if err := h.cfg.Bench.DropTarget(r.Context(), u.ID); err != nil {
		return err
	}
	reply(w, http.StatusOK, struct{}{})
	return nil
}

func (h *Handler) attributes(w http.ResponseWriter, r *http.Request, who caller) error {
	u, err := h.unit(r, who)
	if err != nil {
		return err
	}
	out, err := h.cfg.Bench.Attributes(r.Context(), u.ID)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, out)
	return nil
}

func (h *Handler) cancel(w http.ResponseWriter, r *http.Request, who caller) error {
	u, err := h.unit(r, who)
	if err != nil {
		return err
	}
	n, err := id(r, "action")
	if err != nil {
		return err
	}
	force := strings.EqualFold(r.URL.Query().Get("force"), "true")
	if err := h.cfg.Bench.Cancel(r.Context(), u.ID, n, force); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type entry struct {
	ID       int64    `json:"id"`
	Type     string   `json:"type"`
	Messages []string `json:"messages"`
	At       int64    `json:"reportedAt"`
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request, who caller) error {
	a, err := h.named(r, who)
	if err != nil {
		return err
	}
	down, err := descending(r)
	if err != nil {
		return err
	}
	all := bench.History(&a)
	if down {
		slices.Reverse(all)
	}
	part, err := cut(r, all)
	if err != nil {
		return err
	}
	out := page[entry]{Content: []entry{}, Total: part.Total, Size: part.Size}
	for _, e := range part.Content {
		out.Content = append(out.Content, entry{e.ID, e.Type, e.Messages, e.At.UnixMilli()})
	}
	reply(w, http.StatusOK, out)
	return nil
}
