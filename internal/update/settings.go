package update

import (
	"context"
	"fmt"
	"strings"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update/spec"
)

// maxSettingsList bounds a page.
const maxSettingsList = 1000

// Setting is the value that a unit is told to have of a parameter or feature.
type Setting = spec.Setting

// SettingStore keeps what units are told to be set to. What they report stands
// with their versions.
type SettingStore interface {
	// Settings are a unit's, by component, with what it reports.
	Settings(ctx context.Context, unitID string) ([]Setting, error)
	PutSettings(ctx context.Context, list []Setting) error
	// Unset takes an assignment's settings back to what the unit was told before.
	Unset(ctx context.Context, assignment int64) error
	// Drifted lists settings of which units of a product ("": any) report another value, by unit and component.
	Drifted(ctx context.Context, product, afterUnit, afterComponent string, limit int) ([]Setting, error)
}

// Settings are what a unit is told to be set to now, after a change of
// settings whose time has come, and of which nothing is in the way, has been
// taken up: from then on it is running, and the unit's report ends it.
func (s *Service) Settings(ctx context.Context, unitID string) ([]Setting, error) {
	if s.settings == nil || !s.idle.knows(unitID) {
		return nil, nil
	}
	list, err := s.store.OfUnit(ctx, unitID, ofUnit)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", unitID, err)
	}
	for i := len(list) - 1; i >= 0; i-- { // oldest first
		if a := &list[i]; a.State == Offered && a.Due(s.clock.Now()) {
			if err := s.take(ctx, a); err != nil {
				return nil, fmt.Errorf("settings of %s: %w", unitID, err)
			}
		}
	}
	return s.settings.Settings(ctx, unitID)
}

// take tells a unit a change of settings that is offered and due.
func (s *Service) take(ctx context.Context, a *Assignment) error {
	r, err := s.store.Release(ctx, a.Release)
	if err != nil || r.Settings == nil || r.Withdrawn != nil {
		return err
	}
	looked, err := s.look(ctx, *a)
	if err != nil || looked.Waiting != nil || looked.State != Offered {
		return err
	}
	return s.tx.InTx(ctx, func(ctx context.Context) error {
		old, err := s.settings.Settings(ctx, a.UnitID)
		if err != nil {
			return err
		}
		now := s.clock.Now()
		var list []Setting
		for _, p := range r.Settings.Parts() {
			x := Setting{UnitID: a.UnitID, Component: p.Component, Value: p.Version, Release: r.Name, Assignment: a.ID, At: now}
			for _, o := range old {
				if o.Component == p.Component {
					x.Before = o.Value
				}
			}
			list = append(list, x)
		}
		if err := s.settings.PutSettings(ctx, list); err != nil {
			return err
		}
		return s.Begun(ctx, a.ID)
	})
}

// SettingAnswer is a unit's word on a setting that it was told and has not taken.
type SettingAnswer struct {
	Refused  bool   // else it waits
	Why      string // in the unit's words
	Revision int64  // of what it was told, the assignment; 0: the last
}

// AnswerSettings takes a unit's word on settings, by component, that it was
// told and has not taken. The change that holds one it refuses has failed, and
// it is told what it was before; what it waits for is noted. A word on what no
// change under way asks for changes nothing.
func (s *Service) AnswerSettings(ctx context.Context, unitID string, answers map[string]SettingAnswer) error {
	if s.settings == nil || !s.idle.knows(unitID) {
		return nil
	}
	list, err := s.settings.Settings(ctx, unitID)
	if err != nil {
		return fmt.Errorf("unit %s on its settings: %w", unitID, err)
	}
	said := map[int64]*Feedback{}
	for _, x := range list {
		a, ok := answers[x.Component]
		if !ok || a.Revision != 0 && a.Revision != x.Assignment {
			continue
		}
		f := said[x.Assignment]
		if f == nil {
			f = &Feedback{State: Running}
			said[x.Assignment] = f
		}
		_, name, _ := strings.Cut(x.Component, ":")
		switch words := name + ": " + a.Why; {
		case a.Refused && f.State != Failed:
			f.State, f.Details = Failed, []string{words}
		case a.Refused:
			f.Details = append(f.Details, words)
		case f.State != Failed:
			f.Details = append(f.Details, "waiting: "+words)
		}
	}
	for id, f := range said {
		_, err := s.Feedback(ctx, unitID, id, *f)
		if k := fault.KindOf(err); err != nil && k != fault.Conflict && k != fault.NotFound { // ended already
			return err
		}
	}
	return nil
}

// Answers takes units' words on settings, as AnswerSettings does, in a process
// that has no Service: what they end stands in the records, where the process
// that has one finds it. Of cfg it needs Store, Ledger, Settings, Fleet, Tx,
// Clock and Wake.
func Answers(cfg Config) func(ctx context.Context, unitID string, answers map[string]SettingAnswer) error {
	s := &Service{store: cfg.Store, fleet: cfg.Fleet, tx: cfg.Tx, clock: cfg.Clock, log: cfg.Log, idle: newIdle(), ledger: cfg.Ledger, settings: cfg.Settings, wake: cfg.Wake}
	return func(ctx context.Context, unitID string, answers map[string]SettingAnswer) error {
		s.idle.add(unitID)
		return s.AnswerSettings(ctx, unitID, answers)
	}
}

// UnitSettings are what a unit was told, with what it reports.
func (s *Service) UnitSettings(ctx context.Context, unitID string) ([]Setting, error) {
	if s.settings == nil {
		return nil, nil
	}
	return s.settings.Settings(ctx, unitID)
}

// Drift lists settings of which units report another value than they were
// told, by unit and component; product "" means all.
func (s *Service) Drift(ctx context.Context, product, afterUnit, afterComponent string, limit int) ([]Setting, error) {
	if s.settings == nil {
		return nil, nil
	}
	if limit <= 0 || limit > maxSettingsList {
		limit = maxSettingsList
	}
	return s.settings.Drifted(ctx, product, afterUnit, afterComponent, limit)
}

// isSettings reports whether an assignment changes settings: those go with
// fettle/v1/desired and concern no update client.
func (s *Service) isSettings(ctx context.Context, a *Assignment) (bool, error) {
	if s.settings == nil {
		return false, nil
	}
	r, err := s.store.Release(ctx, a.Release)
	return r.Settings != nil, err
}

// unset takes back what the unit was told by an assignment that has come to
// nothing, and tells it.
func (s *Service) unset(ctx context.Context, a *Assignment) error {
	is, err := s.isSettings(ctx, a)
	if err != nil || !is {
		return err
	}
	fleet.AtEnd(ctx, func() { s.wakeUnit(a.UnitID) })
	return s.settings.Unset(ctx, a.ID)
}
