package rest

import (
	"encoding/json"
	"net/http"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/fault"
)

// tips are what a unit's display is to show now.
func (h *Handler) tips(w http.ResponseWriter, r *http.Request, id device.Identity) {
	payload, err := h.cfg.Tips.Payload(r.Context(), id.UnitID)
	if err != nil {
		h.door.Fail(w, r, fault.Wrap(fault.Unavailable, "tips", err))
		return
	}
	h.gateway.Contact(id) // Contact is not the caller's request: it may outlive it
	door.Write(w, http.StatusOK, "application/json", json.RawMessage(payload))
}

// tipEvents takes what came of tips.
func (h *Handler) tipEvents(w http.ResponseWriter, r *http.Request, id device.Identity) {
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	defer body.Free()
	ctx, cancel := h.door.Waiting(r.Context())
	defer cancel()
	if _, err := h.cfg.Tips.Take(ctx, id.UnitID, body.Bytes); err != nil {
		h.door.Fail(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
