package campaign

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// singleDeadline is how long the owner of a unit may postpone what was given to
// this unit alone.
const singleDeadline = 14 * 24 * time.Hour

// Single begins a campaign of one unit, of kind service: its owner is asked as
// in any other, and nothing forces it. There is no detector and no gate:
// nobody named a fault that it is to cure. It gives the task's id, and takes
// part in the caller's transaction.
func (m *Manager) Single(ctx context.Context, name, unitID string, r update.Release, title, by string) (task string, err error) {
	err = m.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		u, err := m.cfg.Fleet.Unit(ctx, unitID)
		if err != nil {
			return err
		}
		if no := r.Refuse(&u); no != nil {
			return fault.New(fault.Conflict, "unit %s: %s", unitID, no.Why)
		}
		if u.OwnerID == "" {
			return fault.New(fault.Conflict, "unit %s has no owner to ask, and is not declared to stand on a bench", unitID)
		}
		c := Campaign{
			Name: name, Product: u.Product, Kind: Service, Release: r.Name,
			Title: map[string]string{"en": title}, Reason: r.Notes,
			Waves: []Wave{{Name: "unit", Share: 1}}, Deadline: fleet.Duration(singleDeadline),
		}
		if err := m.cfg.Store.PutCampaign(ctx, c); err != nil {
			return err
		}
		now := m.cfg.Clock.Now()
		run, err := m.cfg.Store.UpdateCampaign(ctx, name, func(r *Run) error {
			r.State, r.Why = Running, "for one unit, by "+by
			r.WaveOpen, r.WaveOpened, r.StartedAt, r.NextAt = 0, []time.Time{now}, now, now
			return nil
		})
		if err != nil {
			return err
		}
		task = m.cfg.IDs.ID()
		return m.cfg.Store.AddTasks(ctx, []Task{{
			ID: task, CampaignID: run.ID, Campaign: name, UnitID: unitID, UnitKey: u.Key, OwnerID: u.OwnerID, State: Planned, NextAt: now, Updated: now,
		}})
	})
	if err != nil {
		return "", fmt.Errorf("campaign for unit %s: %w", unitID, err)
	}
	return task, nil
}
