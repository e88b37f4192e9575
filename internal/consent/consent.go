// Package consent keeps what owners chose: for each unit and purpose whether
// data may be collected, with a receipt of every choice, and the mask that the
// gateway and every query apply.
package consent

import (
	"context"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Choice is one decision of an owner about one purpose of one unit. Choices
// are only ever added; the latest counts. No choice means no.
type Choice struct {
	ID       string    `json:"id"` // the receipt's number
	UnitID   string    `json:"unitId"`
	Purpose  string    `json:"purpose"`
	Given    bool      `json:"given"`
	At       time.Time `json:"at"`
	Notice   string    `json:"notice,omitempty"`   // version of the text that was shown
	Language string    `json:"language,omitempty"` // that it was shown in
	By       string    `json:"by"`                 // "owner:<id>", "import" (declared with the unit by the maker, who holds the proof)
}

// Mask says which signals of a unit may be kept, and for which purposes. Beside
// purposes it holds what a purpose does not cover yet, as "care+humidity":
// false, because its owner chose before a notice added it; and what its owner
// objected to or had restricted (GDPR art. 18, 21), under names that begin
// with "!".
type Mask map[string]bool // by purpose name

// Restricted is the entry of a unit of which what is stored stays, but is not
// used nor added to, and Objected begins that of a purpose that its owner
// objected to.
const (
	Restricted = "!restricted"
	Objected   = "!objected:"
)

// covers parts a purpose from what it does not cover yet.
const covers = "+"

// Items, as a mask names them, of what is collected beside signals.
func featureItem(name string) string { return "feature:" + name }
func faultItem(code string) string   { return "fault:" + code }

const logItem = "log"

// EventItem is what a mask calls events of a kind and name.
func EventItem(p *fleet.Product, kind, name string) string {
	switch kind {
	case fleet.EventFeature:
		return featureItem(name)
	case fleet.EventFault:
		if i := p.FaultIndex(name); i >= 0 {
			return faultItem(p.Faults[i].Code)
		}
		return faultItem(name)
	default:
		return logItem
	}
}

// Permits reports whether signal s may be kept: some purpose of it is
// necessary or given.
func (m Mask) Permits(p *fleet.Product, s fleet.Signal) bool {
	return m.PermitsItem(p, s.Purposes, s.Name)
}

// PermitsEvent is Permits for events of a kind and name.
func (m Mask) PermitsEvent(p *fleet.Product, kind, name string) bool {
	d, ok := p.Event(kind, name)
	return ok && m.PermitsItem(p, d.Purposes, EventItem(p, kind, name))
}

// PermitsItem reports whether an item, as EventItem or a signal's name has it,
// may be kept for one of purposes.
func (m Mask) PermitsItem(p *fleet.Product, purposes []string, item string) bool {
	for _, name := range purposes {
		if m.PermitsPurpose(p, name) && m.covers(name, item) {
			return true
		}
	}
	return false
}

// covers reports whether the choice for a purpose was made knowing of item.
func (m Mask) covers(purpose, item string) bool {
	_, apart := m[purpose+covers+item]
	return !apart
}

// PermitsAny reports whether data may be kept for one of purposes.
func (m Mask) PermitsAny(p *fleet.Product, purposes []string) bool {
	for _, name := range purposes {
		if m.PermitsPurpose(p, name) {
			return true
		}
	}
	return false
}

// PermitsPurpose reports whether data may be used for a purpose: it is
// necessary or given, and neither restricted nor objected to.
func (m Mask) PermitsPurpose(p *fleet.Product, purpose string) bool {
	q, ok := p.Purpose(purpose)
	if !ok || m[Restricted] || m[Objected+purpose] {
		return false
	}
	return q.Basis == fleet.BasisNecessary || m[purpose]
}

// PermitsUse reports whether signal s may be read for a purpose: the signal
// names the purpose, and the purpose is permitted and covers it.
func (m Mask) PermitsUse(p *fleet.Product, s fleet.Signal, purpose string) bool {
	return slices.Contains(s.Purposes, purpose) && m.PermitsPurpose(p, purpose) && m.covers(purpose, s.Name)
}

// Given are the purposes whose data may be used, of those that are the owner's
// to permit, in order of name.
func (m Mask) Given() []string {
	var out []string
	for name, given := range m {
		if given && !strings.HasPrefix(name, "!") && !m[Restricted] && !m[Objected+name] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Uncovered are the items that the choice for a purpose does not cover yet.
func (m Mask) Uncovered(purpose string) []string {
	var out []string
	for name := range m {
		if item, ok := strings.CutPrefix(name, purpose+covers); ok {
			out = append(out, item)
		}
	}
	slices.Sort(out)
	return out
}

// Change is a unit whose choices changed, with its mask as it is now.
type Change struct {
	UnitID  string
	Key     int64
	Product string
	Mask    Mask
	Changes int64 // counts the unit's changes since it was last told
}

// Store keeps choices.
type Store interface {
	AddChoices(ctx context.Context, c []Choice) error
	// Mask is the latest choice per purpose of a unit.
	Mask(ctx context.Context, unitID string) (Mask, error)
	// Masks is the same for every unit of a product, by unit id; a unit that never chose is absent.
	Masks(ctx context.Context, product string) (map[string]Mask, error)
	// Choices is a unit's history, oldest first.
	Choices(ctx context.Context, unitID string) ([]Choice, error)
	// Permits says for every unit of a product, by key, whether data may be used
	// for a purpose: the owner gave it, or it is necessary, and nobody restricted
	// it or objected.
	Permits(ctx context.Context, product, purpose string, necessary bool) (map[int64]bool, error)

	// MasksOf is the same by unit key, for some units (nil: all).
	MasksOf(ctx context.Context, product string, units []int64) (map[int64]Mask, error)
	// Uncovered is the part of the masks of a product's units that says what
	// choices do not cover; units without are absent.
	Uncovered(ctx context.Context, product string) (map[int64]Mask, error)

	// Uncover notes, for every unit of a product whose owner gave a purpose, that
	// the choice does not cover items; Cover, that a unit's now covers all.
	Uncover(ctx context.Context, product, purpose string, items []string) error
	Cover(ctx context.Context, unitID, purpose string) error

	// Untold are units whose mask changed since it was last told, at most limit.
	Untold(ctx context.Context, limit int) ([]Change, error)
	// Told forgets them, but those that changed meanwhile.
	Told(ctx context.Context, told []Change) error
}
