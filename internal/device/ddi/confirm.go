package ddi

import (
	"net/http"
	"strconv"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
)

// hawkBit lets a unit confirm an action before it is deployed. Here the owner
// does that in the portal, and an action is not shown before: so no action ever
// waits for its unit, and no unit can confirm in its owner's place.

// confirmationBase says so: nothing is confirmed by itself, nothing waits.
func (h *Handler) confirmationBase(w http.ResponseWriter, _ *http.Request, _ device.Identity) error {
	reply(w, http.StatusOK, map[string]any{"autoConfirm": map[string]bool{"active": false}})
	return nil
}

func nothingToConfirm(_ http.ResponseWriter, r *http.Request, _ device.Identity) error {
	return fault.New(fault.NotFound, "action %s does not wait for a confirmation: its owner decides", strconv.Quote(r.PathValue("id")))
}

// activateAutoConfirm is refused: it would take the owner's choice away.
func (h *Handler) activateAutoConfirm(w http.ResponseWriter, _ *http.Request, _ device.Identity) error {
	reply(w, http.StatusForbidden, map[string]string{"message": "the owner decides, in the portal: nothing is confirmed by itself"})
	return nil
}

// deactivateAutoConfirm changes nothing: it is never active.
func (h *Handler) deactivateAutoConfirm(w http.ResponseWriter, _ *http.Request, _ device.Identity) error {
	done(w)
	return nil
}
