package rest

import (
	"net/http"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
)

// events takes what a unit tells of features used, fault codes and log lines;
// the answer says what became of each.
func (h *Handler) events(w http.ResponseWriter, r *http.Request, id device.Identity) {
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	defer body.Free()
	var payload device.EventPayload
	if err := payload.Parse(body.Bytes); err != nil {
		h.gateway.Malformed("https")
		h.door.Fail(w, r, err)
		return
	}
	out := results{Results: make([]device.Outcome, len(payload.Events))}
	if err := h.door.StoreEvents(r.Context(), id, payload.Events, out.Results); err != nil {
		h.door.Fail(w, r, err)
		return
	}
	door.Write(w, http.StatusOK, "application/json", out)
}
