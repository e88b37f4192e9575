package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
)

// The words an owner may say on the unit.
const (
	StartNow = "start-now"
	NotNow   = "not-now"
	Postpone = "postpone"
)

// Choice is what an owner said on the unit about an update, while it may have
// been offline.
type Choice struct {
	Action int64     `json:"action"`         // the assignment's id
	Choice string    `json:"choice"`         // start-now, not-now or postpone
	Until  time.Time `json:"until,omitzero"` // of postpone
	At     time.Time `json:"at,omitzero"`    // when it was said, by the unit's clock
}

// Chooser takes what an owner said on the unit: fault.NotFound when the action
// is not this unit's, fault.Conflict when it comes too late.
type Chooser func(ctx context.Context, unitID string, c Choice) error

func (h *Handler) choice(w http.ResponseWriter, r *http.Request, id device.Identity) {
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	defer body.Free()
	c, err := parseChoice(body.Bytes)
	if err == nil {
		ctx, cancel := h.door.Waiting(r.Context())
		defer cancel()
		err = h.cfg.Choose(ctx, id.UnitID, c)
	}
	if err != nil {
		h.door.Fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func parseChoice(body []byte) (Choice, error) {
	var c Choice
	wrong := func(path, expected, got string) (Choice, error) {
		return Choice{}, fault.Fields("choice", []fault.Field{{Path: path, Expected: expected, Got: got}})
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return wrong("", "a JSON object with action and choice", err.Error())
	}
	switch {
	case c.Action < 1:
		return wrong("action", "the action's id", "")
	case c.Choice != StartNow && c.Choice != NotNow && c.Choice != Postpone:
		return wrong("choice", "start-now, not-now or postpone", c.Choice)
	case c.Choice == Postpone && c.Until.IsZero():
		return wrong("until", "until when, as 2026-11-23T02:00:00Z", "")
	}
	return c, nil
}
