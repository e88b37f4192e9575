package bench

import (
	"context"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/spec"
)

// Asked is how a set is given to a unit.
type Asked struct {
	Soft, DownloadOnly bool
	Window             *update.Recurs
	By                 string // for the record
}

// Assign gives a set to a unit and says under which action id. A bench unit is
// offered it at once, and what it was to install before is canceled. Any other
// unit's owner is asked, by a campaign of one unit.
func (s *Service) Assign(ctx context.Context, set int64, unitID string, ask Asked) (update.Assignment, error) {
	var a update.Assignment
	if ask.Window != nil {
		if err := ask.Window.Check(); err != nil {
			return a, err
		}
	}
	d, err := s.Set(ctx, set)
	if err != nil {
		return a, err
	}
	u, err := s.cfg.Fleet.Unit(ctx, unitID)
	if err != nil {
		return a, err
	}
	r, err := s.release(ctx, &d, u.Product)
	if err != nil {
		return a, err
	}
	if err := s.keep(ctx, r); err != nil {
		return a, err
	}
	if !u.OnBench() {
		return s.ask(ctx, &d, &u, r, ask)
	}
	err = s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		before, err := s.cfg.Updates.OfUnit(ctx, unitID, 50)
		if err != nil {
			return err
		}
		for i := range before {
			if before[i].Manner != nil && !before[i].Over() {
				if _, err := s.cfg.Updates.Cancel(ctx, before[i].ID); err != nil {
					return err
				}
			}
		}
		if a, err = s.cfg.Updates.Assign(ctx, unitID, r.Name, "bench:"+s.cfg.IDs.ID()); err != nil {
			return err
		}
		m := update.Manner{Soft: ask.Soft, DownloadOnly: ask.DownloadOnly, Window: ask.Window, By: ask.By, Set: set}
		if _, err = s.cfg.Updates.AsAsked(ctx, a.ID, m); err != nil {
			return err
		}
		a, err = s.cfg.Updates.Offer(ctx, a.ID, s.cfg.Clock.Now())
		return err
	})
	return a, err
}

// ask has the owner of a unit asked. The assignment is there at once, withheld,
// so that there is a number to follow.
func (s *Service) ask(ctx context.Context, d *Set, u *fleet.Unit, r update.Release, ask Asked) (update.Assignment, error) {
	var a update.Assignment
	if ask.Window != nil || ask.DownloadOnly {
		return a, fault.New(fault.Invalid, "unit %s has an owner, who says when: only bench units take a maintenance window or download alone", u.ID)
	}
	err := s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		name := fmt.Sprintf("hawkbit-%d-%s", d.ID, s.cfg.IDs.ID())
		task, err := s.cfg.Campaigns.Single(ctx, name, u.ID, r, d.Name, ask.By)
		if err != nil {
			return err
		}
		a, err = s.cfg.Updates.Assign(ctx, u.ID, r.Name, task)
		return err
	})
	return a, err
}

// release is a set as a release for a product.
func (s *Service) release(ctx context.Context, d *Set, product string) (update.Release, error) {
	notes := d.Description
	if notes == "" {
		notes = d.Name + " " + d.Version
	}
	r := update.Release{
		Name: fmt.Sprintf("hawkbit-%d-%s", d.ID, product), Product: product, Version: d.Version, Kind: update.Fix, Minutes: 5,
		Notes: map[string]string{"en": notes},
	}
	if len(d.Modules) == 0 {
		return r, fault.New(fault.Invalid, "distribution set %d has no modules", d.ID)
	}
	for i, id := range d.Modules {
		m, err := s.Module(ctx, id)
		if err != nil {
			return r, err
		}
		if len(m.Files) == 0 {
			return r, fault.New(fault.Invalid, "module %d of distribution set %d has no artifact: upload one first", id, d.ID)
		}
		if len(d.Modules) == 1 && len(m.Files) == 1 {
			r.Version, r.Artifact, r.Filename = m.Version, "sha256:"+m.Files[0].SHA256, m.Files[0].Name
			return r, nil
		}
		p := update.ReleasePart{Component: fleet.MainComponent, Version: m.Version, Artifact: "sha256:" + m.Files[0].SHA256, Filename: m.Files[0].Name}
		if i > 0 {
			p.Component = fmt.Sprintf("module-%d", id)
		}
		for _, f := range m.Files[1:] {
			p.Files, p.Filenames = append(p.Files, "sha256:"+f.SHA256), append(p.Filenames, f.Name)
		}
		r.Parts = append(r.Parts, p)
	}
	return r, nil
}

// keep declares a release, if it is not declared as it stands.
func (s *Service) keep(ctx context.Context, r update.Release) error {
	_, err := s.cfg.Updates.Release(ctx, r.Name)
	if err == nil || fault.KindOf(err) != fault.NotFound {
		return err // a set does not change once it was given to a unit
	}
	return s.cfg.Updates.Put(ctx, r)
}

// Action is an assignment of a unit.
func (s *Service) Action(ctx context.Context, unitID string, id int64) (update.Assignment, error) {
	a, err := s.cfg.Updates.Assignment(ctx, id)
	if err == nil && a.UnitID != unitID {
		err = fault.New(fault.NotFound, "unit %s has no action %d", unitID, id)
	}
	return a, err
}

// Actions are a unit's assignments, newest first.
func (s *Service) Actions(ctx context.Context, unitID string) ([]update.Assignment, error) {
	if _, err := s.cfg.Fleet.Unit(ctx, unitID); err != nil {
		return nil, err
	}
	return s.cfg.Updates.OfUnit(ctx, unitID, 500)
}

// Cancel asks a unit to stop; by force it is not waited for, which a unit's
// owner alone may decide.
func (s *Service) Cancel(ctx context.Context, unitID string, id int64, force bool) error {
	a, err := s.Action(ctx, unitID, id)
	if err != nil {
		return err
	}
	switch {
	case a.Over() || a.State == update.Claimed:
		return fault.New(fault.Conflict, "action %d is %s", id, a.State)
	case force && a.State != update.Canceling:
		return fault.New(fault.Conflict, "action %d is %s: cancel it first, then by force", id, a.State)
	case force:
		if _, err := s.bench(ctx, unitID); err != nil {
			return err
		}
		_, err = s.cfg.Updates.Abandon(ctx, id)
		return err
	case a.State == update.Canceling:
		return fault.New(fault.Conflict, "action %d is being canceled already", id)
	}
	_, err = s.cfg.Updates.Cancel(ctx, id)
	return err
}

// Entry is something that happened to an action.
type Entry struct {
	ID       int64
	Type     string // as hawkBit names it: running, finished, error, canceling, canceled, downloaded
	Messages []string
	At       time.Time
}

// History is what happened to an action, oldest first: a line of its client for
// each, the last one with how it stands.
func History(a *update.Assignment) []Entry {
	who := "a campaign"
	if a.Manner != nil && a.Manner.By != "" {
		who = a.Manner.By
	}
	out := []Entry{{1, "running", []string{"Assignment initiated by " + who}, a.Created}}
	state := spec.StateOf(a.Parts)
	for _, d := range a.Details {
		if last := &out[len(out)-1]; d == state && len(out) > 1 { // what the server adds to the client's words
			last.Messages = append(last.Messages, d)
			continue
		}
		out = append(out, Entry{int64(len(out) + 1), "running", []string{d}, a.Updated})
	}
	last := len(out) - 1
	if now := Detail(a); now != "running" && last == 0 {
		out = append(out, Entry{2, now, []string{}, a.Updated})
	} else {
		out[last].Type = now
	}
	return out
}

// Detail is how an action stands, as hawkBit names it.
func Detail(a *update.Assignment) string {
	switch a.State {
	case update.Claimed, update.Installed:
		return "finished"
	case update.Failed:
		return "error"
	case update.Canceling:
		return "canceling"
	case update.Canceled:
		if a.Manner != nil && a.Manner.Downloaded {
			return "downloaded"
		}
		return "canceled"
	case update.Withheld:
		return "wait_for_confirmation"
	default:
		return "running"
	}
}
