package hawkbit

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/bench"
)

type action struct {
	ID        int64  `json:"id"`
	Type      string `json:"type"`   // update, cancel
	Status    string `json:"status"` // pending, finished
	Detail    string `json:"detailStatus"`
	ForceType string `json:"forceType"`
	CreatedAt int64  `json:"createdAt"`
	By        string `json:"initiatedBy,omitempty"`
}

func shown(a *update.Assignment) action {
	out := action{ID: a.ID, Type: "update", Status: "pending", Detail: bench.Detail(a), ForceType: "forced", CreatedAt: a.Created.UnixMilli()}
	if a.State == update.Canceling || a.State == update.Canceled && out.Detail == "canceled" {
		out.Type = "cancel"
	}
	if a.Over() || a.State == update.Claimed {
		out.Status = "finished"
	}
	if m := a.Manner; m != nil {
		out.By = m.By
		switch {
		case m.DownloadOnly:
			out.ForceType = "downloadonly"
		case m.Soft:
			out.ForceType = "soft"
		}
	}
	return out
}

// named is the action that the path names, of a unit that the caller may see.
func (h *Handler) named(r *http.Request, who caller) (update.Assignment, error) {
	u, err := h.unit(r, who)
	if err != nil {
		return update.Assignment{}, err
	}
	n, err := id(r, "action")
	if err != nil {
		return update.Assignment{}, err
	}
	return h.cfg.Bench.Action(r.Context(), u.ID, n)
}

func (h *Handler) action(w http.ResponseWriter, r *http.Request, who caller) error {
	a, err := h.named(r, who)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, shown(&a))
	return nil
}

func (h *Handler) actions(w http.ResponseWriter, r *http.Request, who caller) error {
	u, err := h.unit(r, who)
	if err != nil {
		return err
	}
	list, err := h.cfg.Bench.Actions(r.Context(), u.ID)
	if err != nil {
		return err
	}
	down, err := descending(r)
	if err != nil {
		return err
	}
	out := make([]action, len(list))
	for i := range list { // newest first
		at := len(list) - 1 - i
		if down {
			at = i
		}
		out[at] = shown(&list[i])
	}
	part, err := cut(r, out)
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, part)
	return nil
}

// assigned is one target of an assignment.
type assigned struct {
	ID     string `json:"id"`
	Type   string `json:"type"` // forced, soft, timeforced, downloadonly
	Window *struct {
		Schedule string `json:"schedule"`
		Duration string `json:"duration"`
		Zone     string `json:"timezone"`
	} `json:"maintenanceWindow"`
}

// asked reads how an assignment is to be taken. Forced is what hawkBit has
// where nothing is said; on an owner's unit it forces nothing.
func (t *assigned) asked(by string) (bench.Asked, error) {
	out := bench.Asked{By: by}
	switch strings.ToLower(t.Type) {
	case "", "forced":
	case "soft", "timeforced": // no forcing later: a bench's client decides
		out.Soft = true
	case "downloadonly":
		out.DownloadOnly = true
	default:
		return out, fault.Fields("assignment", []fault.Field{{Path: "type", Expected: "forced, soft, timeforced or downloadonly", Got: t.Type}})
	}
	if t.Window == nil {
		return out, nil
	}
	length, ok := clockTime(t.Window.Duration)
	if !ok {
		return out, fault.Fields("assignment", []fault.Field{{Path: "maintenanceWindow.duration", Expected: "hours, minutes and seconds, as 02:00:00", Got: t.Window.Duration}})
	}
	at, err := time.Parse("Z07:00", t.Window.Zone)
	if err != nil {
		return out, fault.Fields("assignment", []fault.Field{{Path: "maintenanceWindow.timezone", Expected: "an offset from UTC, as +02:00", Got: t.Window.Zone}})
	}
	_, offset := at.Zone()
	out.Window = &update.Recurs{Schedule: t.Window.Schedule, Offset: offset, Length: length}
	return out, out.Window.Check()
}

// clockTime reads hours, minutes and seconds.
func clockTime(s string) (time.Duration, bool) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return 0, false
	}
	var d time.Duration
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, err := strconv.ParseUint(parts[i], 10, 8)
		if err != nil || i > 0 && n > 59 {
			return 0, false
		}
		d += time.Duration(n) * unit
	}
	return d, d > 0
}

type assignment struct {
	Assigned int        `json:"assigned"`
	Already  int        `json:"alreadyAssigned"`
	Total    int        `json:"total"`
	Actions  []actionID `json:"assignedActions"`
}

type actionID struct {
	ID int64 `json:"id"`
}

func (h *Handler) assign(w http.ResponseWriter, r *http.Request, who caller) error {
	set, err := id(r, "set")
	if err != nil {
		return err
	}
	in, err := body[[]assigned](w, r)
	if err != nil {
		return err
	}
	out := assignment{Actions: []actionID{}}
	asked := make([]bench.Asked, len(in))
	for i := range in {
		if asked[i], err = in[i].asked(who.name); err != nil {
			return err
		}
		r.SetPathValue("target", in[i].ID)
		audit.Changed(r.Context(), "targets/"+in[i].ID)
		u, err := h.unit(r, who)
		if err != nil {
			return err
		}
		if h.cfg.FourEyes != nil && h.cfg.FourEyes(u.Product) && !u.OnBench() {
			return fault.New(fault.Denied, "updates of product %s need two people: make a campaign, whose start another operator approves", u.Product)
		}
	}
	for i := range in {
		a, err := h.cfg.Bench.Assign(r.Context(), set, in[i].ID, asked[i])
		if err != nil {
			return err
		}
		out.Actions = append(out.Actions, actionID{a.ID})
	}
	out.Assigned, out.Total = len(in), len(in)
	reply(w, http.StatusOK, out)
	return nil
}
