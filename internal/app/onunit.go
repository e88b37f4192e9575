package app

import (
	"context"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/device/rest"
	"fettle.dev/fettle/internal/fault"
)

// choseOnUnit takes an owner's word that was said on the unit: whoever stands
// before it speaks for its owner, as the portal does for who is signed in.
func (h *house) choseOnUnit(ctx context.Context, unitID string, c rest.Choice) error {
	if h.campaigns == nil { // a process that takes data alone
		return fault.New(fault.Unavailable, "choices are taken by the process of role all: try again there, or in the portal")
	}
	a, err := h.updates.Assignment(ctx, c.Action)
	if err == nil && a.UnitID != unitID {
		err = fault.New(fault.NotFound, "no action %d", c.Action)
	}
	if fault.KindOf(err) == fault.NotFound {
		h.settings.Foreign(ctx, unitID, c.Action)
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
	ctx, op := h.trail.Begin(ctx, saidOnUnit(unitID, t.OwnerID, t.ID, c.Choice))
	audit.About(ctx, t.OwnerID)
	_, err = h.campaigns.Choose(ctx, t.OwnerID, t.ID, choice, c.Until)
	status := http.StatusOK
	if err != nil {
		status = http.StatusConflict
	}
	if failed := op.End(context.WithoutCancel(ctx), status); failed != nil && err == nil {
		return failed
	}
	return err
}

// saidOnUnit is what the audit trail says of a choice that was made on a unit:
// its owner's, by the unit and not by a session.
func saidOnUnit(unitID, ownerID, task, choice string) audit.Entry {
	actor := audit.Actor{Party: audit.Owner, ID: ownerID, Via: "unit", Of: unitID}
	if ownerID == "" {
		actor = audit.Actor{Party: audit.Server, ID: "unit", Of: unitID}
	}
	return audit.Entry{
		Kind: audit.Change, Actor: actor, Operation: "chooseUpdate", Object: "updates/" + task, Changed: []string{"choice=" + choice}, Request: uuid.NewString(),
	}
}
