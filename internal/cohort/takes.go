package cohort

import "fettle.dev/fettle/internal/fleet"

// Takes says whether a unit belongs by the definition as it stands now, where
// found tells how it is involved by evidence ("": it is not), and why.
func (d *Definition) Takes(u *fleet.Unit, found string) (ok bool, why string) {
	if u.Product != d.Product || u.State == fleet.UnitPending || u.State == fleet.UnitRetired {
		return false, ""
	}
	attributes := false
	if d.Attributes != nil {
		attributes, why = d.Attributes.Holds(u)
	}
	switch {
	case d.Evidence == nil:
		return attributes, why
	case d.Attributes == nil:
		return found != "", found
	case d.Match == "all":
		return attributes && found != "", found + "; " + why
	case found != "":
		return true, found
	default:
		return attributes, why
	}
}
