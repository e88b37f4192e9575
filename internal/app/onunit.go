package app

import (
	"context"
	"strings"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/device/rest"
	"fettle.dev/fettle/internal/fault"
)

// choseOnUnit takes an owner's word that was said on the unit: whoever stands
// before it speaks for its owner, as the portal does for who is signed in.
func (h *house) choseOnUnit(ctx context.Context, unitID string, c rest.Choice) error {
	a, err := h.updates.Assignment(ctx, c.Action)
	if err == nil && a.UnitID != unitID {
		err = fault.New(fault.NotFound, "no action %d", c.Action)
	}
	if err != nil {
		return err
	}
	task, _, _ := strings.Cut(a.Ref, "/") // what follows is the attempt's number
	t, err := h.records.Campaign().Task(ctx, task)
	if err != nil {
		return err
	}
	choice := map[string]campaign.Choice{rest.StartNow: campaign.StartNow, rest.NotNow: campaign.NotNow, rest.Postpone: campaign.SetTime}[c.Choice]
	_, err = h.campaigns.Choose(ctx, t.OwnerID, t.ID, choice, c.Until)
	return err
}
