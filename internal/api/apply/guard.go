package apply

import (
	"context"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/update"
)

// Needs is the permission that declaring or deleting a thing of a kind takes.
func Needs(kind declare.Kind) access.Permission {
	switch kind {
	case declare.Unit:
		return access.Units
	case declare.Release:
		return access.Release
	case declare.Campaign:
		return access.Campaign
	case declare.Template, declare.Ladder: // words and ways of a campaign, and of what agents tell
		return access.Campaign
	default:
		return access.Declare
	}
}

// guard refuses what the operator may not declare: a kind that their role does
// not, and what is, or would go, out of their sight.
func (a *applying) guard(ctx context.Context) error {
	if a.d.Need != nil {
		for _, d := range a.docs {
			if err := a.d.Need(Needs(d.Kind)); err != nil {
				return err
			}
		}
	}
	sight := fleet.SightOf(ctx)
	if !sight.Limited() {
		return nil
	}
	all := fleet.Unbounded(ctx)
	for _, d := range a.docs {
		if d.broken {
			continue
		}
		var seen, known bool
		var err error
		switch spec := d.spec.(type) {
		case *fleet.Product:
			seen = sight.Product(d.Metadata.Name)
		case *fleet.UnitSpec:
			var u fleet.Unit
			u, err = a.d.Fleet.Unit(all, d.Metadata.Name)
			known = err == nil
			seen = sight.Unit(spec.Product, spec.Region) && (!known || sight.Unit(u.Product, u.Region))
		case *condition.Detector:
			var was condition.Detector
			was, err = a.d.Condition.Detector(all, d.Metadata.Name, 0)
			known = err == nil
			seen = sight.Product(spec.Product) && (!known || sight.Product(was.Product))
		case *update.Release:
			var was update.Release
			was, err = a.d.Updates.Release(all, d.Metadata.Name)
			known = err == nil
			seen = sight.Product(spec.Product) && (!known || sight.Product(was.Product))
		case *campaign.Campaign:
			var was campaign.Run
			was, err = a.d.Runs.Campaign(all, d.Metadata.Name)
			known = err == nil
			seen = sight.Product(spec.Product) && (!known || sight.Product(was.Campaign.Product))
		case *tip.Tip:
			seen = sight.Product(spec.Product)
			if a.d.Tips != nil {
				var was tip.Tip
				was, err = a.d.Tips.Tip(all, d.Metadata.Name)
				seen = seen && (err != nil || sight.Product(was.Product))
			}
		default:
			seen = false
		}
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		if d.Kind != declare.Unit && len(sight.Regions) > 0 { // it is about units of all regions
			seen = false
		}
		if !seen {
			return fault.New(fault.Denied, "%s is outside of the products and regions that you see", d.String())
		}
	}
	return nil
}
