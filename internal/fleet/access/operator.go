package access

import (
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Operator runs the service.
type Operator struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name,omitempty"`
	Role  Role   `json:"role"`
	// Products and Regions bound what they see; none: all.
	Products  []string  `json:"products,omitempty"`
	Regions   []string  `json:"regions,omitempty"`
	Disabled  bool      `json:"disabled,omitempty"`
	CreatedAt time.Time `json:"createdAt,omitzero"`
}

// Sight is what the operator may see.
func (o Operator) Sight() fleet.Sight { return fleet.Sight{Products: o.Products, Regions: o.Regions} }

// hawkbit reports whether the operator may do, everywhere, what hawkBit's API does.
func (o Operator) hawkbit() bool {
	return !o.Disabled && !o.Sight().Limited() && len(o.Role.May().And(set(hawkbitNeeds...))) == len(hawkbitNeeds)
}

// May is what a token of an operator may do now.
func (t APIToken) May(o Operator) Set {
	s := t.Scope.May().And(o.Role.May())
	if len(t.Permissions) > 0 {
		s = s.And(set(t.Permissions...))
	}
	return s
}
