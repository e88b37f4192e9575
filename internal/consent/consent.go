// Package consent keeps what owners chose: for each unit and purpose whether
// data may be collected, with a receipt of every choice, and the mask that the
// gateway and every query apply.
package consent

import (
	"context"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Choice is one decision of an owner about one purpose of one unit. Choices
// are only ever added; the latest counts. No choice means no.
type Choice struct {
	ID      string    `json:"id"` // the receipt's number
	UnitID  string    `json:"unitId"`
	Purpose string    `json:"purpose"`
	Given   bool      `json:"given"`
	At      time.Time `json:"at"`
	Notice  string    `json:"notice,omitempty"` // version of the text that was shown
	By      string    `json:"by"`               // "owner:<id>", "import" (declared with the unit by the maker, who holds the proof)
}

// Mask says which signals of a unit may be kept, and for which purposes.
type Mask map[string]bool // by purpose name

// Permits reports whether signal s may be kept: some purpose of it is
// necessary or given.
func (m Mask) Permits(p *fleet.Product, s fleet.Signal) bool {
	return m.PermitsAny(p, s.Purposes)
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
// necessary or given.
func (m Mask) PermitsPurpose(p *fleet.Product, purpose string) bool {
	q, ok := p.Purpose(purpose)
	if !ok {
		return false
	}
	return q.Basis == fleet.BasisNecessary || m[purpose]
}

// PermitsUse reports whether signal s may be read for a purpose: the signal
// names the purpose, and the purpose is permitted.
func (m Mask) PermitsUse(p *fleet.Product, s fleet.Signal, purpose string) bool {
	return slices.Contains(s.Purposes, purpose) && m.PermitsPurpose(p, purpose)
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
	// Permits says for every unit of a product, by key, whether the owner gave a purpose.
	Permits(ctx context.Context, product, purpose string) (map[int64]bool, error)

	// Untold are units whose mask changed since it was last told, at most limit.
	Untold(ctx context.Context, limit int) ([]Change, error)
	// Told forgets them, but those that changed meanwhile.
	Told(ctx context.Context, told []Change) error
}
