package campaign

import (
	"context"

	"fettle.dev/fettle/internal/fault"
)

// hold takes an owner's "not now" about an update that the unit has begun, or
// the end of it. It reaches units whose client asks before each step; for the
// others it is too late.
func (m *Manager) hold(ctx context.Context, t *Task, c Choice) error {
	switch c {
	case NotNow:
		if _, err := m.cfg.Updates.Hold(ctx, t.AssignmentID); err != nil {
			return err
		}
		t.Why = "the owner asked the unit to wait before its next step"
	case StartNow:
		if _, err := m.cfg.Updates.Continue(ctx, t.AssignmentID); err != nil {
			return err
		}
		t.Why = ""
	default:
		return fault.New(fault.Conflict, "the update has begun: it can wait or go on, but no other time can be set")
	}
	return nil
}
