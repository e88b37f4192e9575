package campaign

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// OwnersChanged gives the tasks of units to the owners that the units have
// now. What the owner before chose about an update that the unit has not begun
// does not bind the next one: it is withheld from the unit and offered anew.
// It takes part in the caller's transaction.
func (m *Manager) OwnersChanged(ctx context.Context, unitIDs []string) error {
	known := envs{}
	err := m.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		for _, id := range unitIDs {
			u, err := m.cfg.Fleet.Unit(ctx, id)
			if err != nil {
				return err
			}
			tasks, err := m.cfg.Store.Tasks(ctx, TaskFilter{UnitID: id, Wave: -1})
			if err != nil {
				return err
			}
			for _, t := range tasks {
				if t.OwnerID == u.OwnerID {
					continue
				}
				e, err := m.env(ctx, known, t.Campaign)
				if err != nil {
					return err
				}
				if !e.run.Open() {
					continue // history, of the owner who had the unit then
				}
				if _, err := m.cfg.Store.UpdateTask(ctx, t.ID, func(t *Task) error { return m.hand(ctx, t, u.OwnerID) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("hand updates to the units' new owners: %w", err)
	}
	return nil
}

// hand gives a task to another owner ("": none).
func (m *Manager) hand(ctx context.Context, t *Task, ownerID string) error {
	now := m.cfg.Clock.Now()
	switch t.State {
	case FailedTask, Withdrawn, Unreachable, Superseded:
		return nil
	case Expired:
		if t.NextAt.IsZero() { // it is not offered again
			return nil
		}
	case Blocked:
		if t.OwnerID != "" { // it waits for something else than an owner
			return nil
		}
	case Offered, Scheduled, Snoozed, Accepted, Declined, Retrying:
	default: // not offered yet, or begun: it goes on under the new owner's eyes
		t.OwnerID, t.Updated = ownerID, now
		return nil
	}
	t.OwnerID, t.Updated = ownerID, now
	if t.AssignmentID != 0 {
		_, err := m.cfg.Updates.Withhold(ctx, t.AssignmentID)
		if fault.KindOf(err) == fault.Conflict {
			return nil // the unit was faster
		}
		if err != nil {
			return err
		}
	}
	t.State, t.Why, t.NextAt = Planned, "the unit has another owner, who is asked anew", now
	t.At, t.Deadline, t.OfferedAt, t.AcceptedAt, t.EndedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
	t.Reminded, t.Nudges, t.Told, t.Round, t.Refusal, t.Queue = 0, 0, "", 0, nil, NotQueued
	t.Handed++
	return nil
}
