package rest

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/device"
)

// events takes what a unit tells of features used, fault codes and log lines;
// the answer says what became of each.
func (h *Handler) events(w http.ResponseWriter, r *http.Request, id device.Identity) {
	body, ok := h.body(w, r)
	if !ok {
		return
	}
	var payload device.EventPayload
	if err := payload.Parse(body); err != nil {
		h.gateway.Malformed("https")
		h.fail(w, r, err)
		return
	}
	out := results{Results: make([]device.Outcome, len(payload.Events))}
	if len(payload.Events) > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Wait)
		defer cancel()
		if err := h.gateway.StoreEvents(ctx, id, payload.Events, out.Results); err != nil {
			h.fail(w, r, err)
			return
		}
	}
	write(w, http.StatusOK, "application/json", out)
}
