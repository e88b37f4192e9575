// Package withdrawal does what a product states becomes of what was collected
// for a purpose when its owner withdraws: it is erased from every store, or
// kept where a law requires it, out of every reader's sight but the owner's.
// The work is written with the choice, in one transaction, and goes on where a
// crash left it.
package withdrawal

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Withdrawal is one withdrawn purpose of one unit, and how far it is.
type Withdrawal struct {
	ID      string    `json:"id"`
	UnitID  string    `json:"unitId"`
	UnitKey int64     `json:"-"`
	Product string    `json:"product"`
	Purpose string    `json:"purpose"`
	At      time.Time `json:"at"`
	Erase   []string  `json:"erase"`          // signals, and events as consent.EventItem names them
	Kept    []string  `json:"kept,omitempty"` // what stays, because of Reason
	Reason  string    `json:"reason,omitempty"`
	Step    int       `json:"step"` // how many steps are done
	Steps   int       `json:"steps"`
	Doing   string    `json:"doing,omitempty"`
	Failed  string    `json:"failed,omitempty"` // why the step last failed; it is tried again
	Tries   int       `json:"-"`
	EndedAt time.Time `json:"endedAt,omitzero"`
}

// Open reports whether there is something left to do.
func (w *Withdrawal) Open() bool { return w.EndedAt.IsZero() }

// Store keeps withdrawals.
type Store interface {
	Add(ctx context.Context, w Withdrawal) error
	// Open are those with something to do, the oldest first, at most limit; of a
	// unit, if it is not "".
	Open(ctx context.Context, unitID string, limit int) ([]Withdrawal, error)
	// Of are a unit's, the newest first, at most limit.
	Of(ctx context.Context, unitID string, limit int) ([]Withdrawal, error)
	// Advance keeps Step, Tries, Failed and EndedAt.
	Advance(ctx context.Context, w []Withdrawal) error
	// Drop removes those that ended before a time.
	Drop(ctx context.Context, before time.Time) error
}

// Step is one store's part. Do must bear repetition. It is given withdrawals
// of one product, purpose and list of what is erased.
type Step struct {
	Name string // as owners are told: "waits until what was on its way is stored"
	Do   func(ctx context.Context, of []Withdrawal) error
}

// Config is what a Manager works with; all of it is needed.
type Config struct {
	Store   Store
	Choices consent.Store
	Clock   clock.Clock
	IDs     clock.IDs
	Log     *slog.Logger
	Steps   []Step
}

// Manager plans withdrawals and carries them out.
type Manager struct {
	c    Config
	wake chan struct{}

	mu      sync.Mutex
	waiting map[string]time.Time // after a failure, until when
}

// New makes the manager.
func New(c Config) *Manager {
	return &Manager{c: c, wake: make(chan struct{}, 1), waiting: map[string]time.Time{}}
}

// Plan is what becomes of what was collected for a purpose, if it is withdrawn
// of a unit with a mask.
func Plan(p *fleet.Product, mask consent.Mask, purpose string) (erase, kept []string, reason string) {
	after := consent.Mask{}
	maps.Copy(after, mask)
	after[purpose] = false
	part := func(item string, purposes []string) {
		if !slices.Contains(purposes, purpose) || after.PermitsItem(p, purposes, item) {
			return
		}
		for _, name := range purposes {
			q, _ := p.Purpose(name)
			if _, chosen := mask[name]; q.Keeps() && (chosen || name == purpose) {
				kept, reason = append(kept, item), q.KeepReason
				return
			}
		}
		erase = append(erase, item)
	}
	for _, s := range p.Signals {
		part(s.Name, s.Purposes)
	}
	for _, f := range p.Features {
		part(consent.EventItem(p, fleet.EventFeature, f.Name), f.Purposes)
	}
	for _, f := range p.Faults {
		part(consent.EventItem(p, fleet.EventFault, f.Code), f.Purposes)
	}
	if p.Log != nil {
		part(consent.EventItem(p, fleet.EventLog, ""), p.Log.Purposes)
	}
	return erase, kept, reason
}

// Choosing writes down what a withdrawal makes to be done, in the choice's own
// transaction. A purpose is not given again while what was collected for it is
// still being erased: what is collected anew would go, too.
func (m *Manager) Choosing(ctx context.Context, u fleet.Unit, p *fleet.Product, c consent.Choice, before bool) error {
	if c.Given {
		open, err := m.c.Store.Open(ctx, u.ID, 100)
		if err != nil {
			return err
		}
		for _, w := range open {
			if w.Purpose == c.Purpose || len(shared(p, c.Purpose, w.Erase)) > 0 {
				return fault.New(fault.Conflict, "what was collected before is still being erased: try again in a moment")
			}
		}
		return nil
	}
	if !before {
		return nil
	}
	mask, err := m.c.Choices.Mask(ctx, u.ID)
	if err != nil {
		return err
	}
	w := Withdrawal{ID: m.c.IDs.ID(), UnitID: u.ID, UnitKey: u.Key, Product: p.Name, Purpose: c.Purpose, At: m.c.Clock.Now()}
	w.Erase, w.Kept, w.Reason = Plan(p, mask, c.Purpose)
	if err := m.c.Store.Add(ctx, w); err != nil {
		return err
	}
	fleet.AtEnd(ctx, m.Wake)
	return nil
}

// shared are the items of a list that a purpose is named for.
func shared(p *fleet.Product, purpose string, items []string) (out []string) {
	for _, item := range items {
		if s, ok := p.Signal(item); ok && slices.Contains(s.Purposes, purpose) {
			out = append(out, item)
		}
	}
	return out
}

// Settled waits until nothing is being erased of a unit, or ctx ends.
func (m *Manager) Settled(ctx context.Context, unitID string) error {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		open, err := m.c.Store.Open(ctx, unitID, 1)
		if err != nil || len(open) == 0 {
			return err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Of are a unit's withdrawals, the newest first.
func (m *Manager) Of(ctx context.Context, unitID string) ([]Withdrawal, error) {
	all, err := m.c.Store.Of(ctx, unitID, 100)
	for i := range all {
		all[i].Steps = len(m.c.Steps)
		if all[i].Open() && all[i].Step < len(m.c.Steps) {
			all[i].Doing = m.c.Steps[all[i].Step].Name
		}
	}
	return all, err
}

// Wake has the manager look at once.
func (m *Manager) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// remembered is how long a withdrawal that is done is told of.
const remembered = 400 * 24 * time.Hour

// Run carries out what is to be done, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		if err := m.pass(ctx); err != nil && ctx.Err() == nil {
			m.c.Log.WarnContext(ctx, "what was withdrawn waits", "error", err)
		}
		if n%7200 == 0 {
			if err := m.c.Store.Drop(ctx, m.c.Clock.Now().Add(-remembered)); err != nil && ctx.Err() == nil {
				m.c.Log.WarnContext(ctx, "old withdrawals", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-m.wake:
		}
	}
}

// pass carries out everything that is open, those alike together.
func (m *Manager) pass(ctx context.Context) error {
	for {
		open, err := m.c.Store.Open(ctx, "", 1000)
		if err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(w Withdrawal) bool { return m.waits(w.ID) })
		if len(open) == 0 {
			return nil
		}
		groups := map[string][]Withdrawal{}
		var order []string
		for _, w := range open {
			k := fmt.Sprint(w.Product, " ", w.Purpose, " ", w.Step, " ", strings.Join(w.Erase, ","))
			if groups[k] == nil {
				order = append(order, k)
			}
			groups[k] = append(groups[k], w)
		}
		for _, k := range order {
			if err := m.carryOut(ctx, groups[k]); err != nil {
				return err
			}
		}
	}
}

// waits reports whether a withdrawal failed a moment ago.
func (m *Manager) waits(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.waiting[id]
	if ok && (clock.Real{}).Now().After(until) {
		delete(m.waiting, id)
		ok = false
	}
	return ok
}

func (m *Manager) carryOut(ctx context.Context, of []Withdrawal) error {
	for of[0].Step < len(m.c.Steps) {
		step := m.c.Steps[of[0].Step]
		err := step.Do(ctx, of)
		if ctx.Err() != nil {
			return ctx.Err() // tried again at the next start
		}
		for i := range of {
			of[i].Failed = ""
			if err != nil {
				of[i].Failed, of[i].Tries = step.Name+": "+err.Error(), of[i].Tries+1
				m.mu.Lock()
				m.waiting[of[i].ID] = (clock.Real{}).Now().Add(min(time.Minute, time.Duration(of[i].Tries)*time.Second))
				m.mu.Unlock()
				continue
			}
			if of[i].Step++; of[i].Step == len(m.c.Steps) {
				of[i].EndedAt = m.c.Clock.Now()
			}
		}
		if err != nil {
			m.c.Log.ErrorContext(ctx, "what was withdrawn is not erased yet", "step", step.Name, "product", of[0].Product, "units", len(of), "error", err)
		}
		if kept := m.c.Store.Advance(ctx, of); kept != nil || err != nil {
			return kept
		}
	}
	return nil
}
