package campaign

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

// SetAhead says of which products units keep their owner's time themselves;
// call it before Run. Without it none do.
func (m *Manager) SetAhead(of func(product string) bool) { m.keepTime = of }

// ahead gives an update to a unit that keeps its owner's time itself, so that
// it fetches it before and installs it then, also offline. Clients that poll
// are shown nothing before that time. What is to be looked at when the time
// comes is not given ahead: limits, hours and preconditions.
func (m *Manager) ahead(ctx context.Context, e *env, t *Task, when time.Time) error {
	c := &e.run.Campaign
	if m.keepTime == nil || !m.keepTime(c.Product) || e.run.State != Running || c.MaxConcurrent > 0 || c.MaxPerHour > 0 || len(e.release.Preconditions) > 0 {
		return nil
	}
	if no, err := m.closed(ctx, c, t, when); err != nil || no != nil {
		return err
	}
	list, err := m.cfg.Updates.OfUnit(ctx, t.UnitID, chunk)
	if err != nil {
		return err
	}
	for i := range list {
		if a := &list[i]; a.ID != t.AssignmentID && !a.Over() && a.State != update.Withheld {
			return nil // one after the other
		}
	}
	if t.AssignmentID == 0 {
		t.Attempt++
	}
	a, err := m.cfg.Updates.AssignFor(ctx, t.UnitID, e.release.Name, t.ref(), e.origin())
	if k := fault.KindOf(err); k == fault.Conflict || k == fault.NotFound {
		if t.AssignmentID == 0 {
			t.Attempt--
		}
		return nil // it is said when the time has come
	}
	if err != nil {
		return err
	}
	t.AssignmentID = a.ID
	if _, err := m.cfg.Updates.Offer(ctx, a.ID, when); err != nil {
		return err
	}
	e.wake = append(e.wake, t.UnitID)
	return nil
}
