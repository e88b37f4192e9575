package apply

import (
	"context"
	"fmt"
	"maps"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
)

// fleetView is what the records hold of the products that units are declared for.
type fleetView struct {
	products map[string]*fleet.Product // nil: not known
	units    map[string]fleet.Unit
	serials  map[[2]string]string // product and serial to unit id
	masks    map[string]consent.Mask
	owners   map[string]fleet.Owner // by canonical email
	byID     map[string]fleet.Owner
}

// putUnits checks and keeps units in bulk: no query a unit but for owners that are new.
func (a *applying) putUnits(ctx context.Context) error {
	docs := a.of(declare.Unit)
	if len(docs) == 0 {
		return nil
	}
	view, err := a.view(ctx, docs)
	if err != nil {
		return err
	}
	var units []fleet.Unit
	var choices []consent.Choice
	for _, d := range docs {
		spec := d.spec.(*fleet.UnitSpec)
		u, chosen, err := a.unit(ctx, view, d, spec)
		if err != nil {
			return err
		}
		if u != nil {
			units = append(units, *u)
			a.units = append(a.units, u.ID)
		}
		if len(chosen) > 0 {
			choices = append(choices, chosen...)
			a.consents = true
		}
	}
	if len(a.mistakes) > 0 || len(units)+len(choices) == 0 {
		return nil
	}
	a.consents = a.consents || len(a.newOwners) > 0
	if len(units) > 0 {
		if err := a.d.Fleet.PutUnits(ctx, units); err != nil {
			return err
		}
	}
	if err := a.d.Consents.Reset(ctx, a.newOwners, people.ByHandover); err != nil {
		return err
	}
	ids, to := make([]string, len(a.handed)), make(map[string]string, len(units))
	for _, u := range units {
		to[u.ID] = u.OwnerID
	}
	for i := range a.handed {
		ids[i], a.handed[i].To, a.handed[i].At = a.handed[i].UnitID, to[a.handed[i].UnitID], a.d.Clock.Now()
	}
	if err := a.d.Campaigns.OwnersChanged(ctx, ids); err != nil {
		return err
	}
	if err := a.d.People.Handed(ctx, a.handed); err != nil {
		return err
	}
	return a.d.Choices.AddChoices(ctx, choices)
}

func (a *applying) view(ctx context.Context, docs []*one) (*fleetView, error) {
	v := &fleetView{
		products: map[string]*fleet.Product{}, units: map[string]fleet.Unit{}, serials: map[[2]string]string{},
		masks: map[string]consent.Mask{}, owners: map[string]fleet.Owner{}, byID: map[string]fleet.Owner{},
	}
	for _, d := range docs {
		name := d.spec.(*fleet.UnitSpec).Product
		if _, done := v.products[name]; done {
			continue
		}
		p, err := a.d.Fleet.Product(ctx, name)
		if fault.KindOf(err) == fault.NotFound {
			v.products[name] = nil
			continue
		} else if err != nil {
			return nil, err
		}
		v.products[name] = &p
		masks, err := a.d.Choices.Masks(ctx, name)
		if err != nil {
			return nil, err
		}
		maps.Copy(v.masks, masks)
	}
	all, err := a.d.Fleet.Units(ctx, fleet.Filter{})
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		v.units[u.ID] = u
		v.serials[[2]string{u.Product, u.Serial}] = u.ID
	}
	return v, nil
}

// unit checks one unit. It gives the unit when it must be written, and the
// choices that it declares and that are not there yet.
func (a *applying) unit(ctx context.Context, v *fleetView, d *one, spec *fleet.UnitSpec) (*fleet.Unit, []consent.Choice, error) {
	id := d.Metadata.Name
	fields := fleet.ValidateUnit(id, *spec)
	p := v.products[spec.Product]
	if p == nil {
		fields = append(fields, fault.Field{Path: "spec.product", Expected: "the name of a product", Got: fmt.Sprintf("%q", spec.Product)})
	} else {
		fields = append(fields, fleet.ValidateConsents(*p, spec.Consents)...)
	}
	if other, taken := v.serials[[2]string{spec.Product, spec.Serial}]; taken && other != id {
		fields = append(fields, fault.Field{Path: "spec.serial", Expected: "a serial that no other unit of the product has (it is " + other + "'s)", Got: spec.Serial})
	}
	old, known := v.units[id]
	if known && old.Product != spec.Product && p != nil {
		fields = append(fields, fault.Field{Path: "spec.product", Expected: old.Product + ", as it is already: a unit stays of its product", Got: spec.Product})
	}
	a.note(d, fields)
	if d.broken || len(fields) > 0 {
		return nil, nil, nil
	}
	v.serials[[2]string{spec.Product, spec.Serial}] = id

	now := *spec
	if now.Owner != nil { // what is left out is the default
		o := withDefaults(*now.Owner)
		now.Owner = &o
	}
	mask := v.masks[id]
	var before any
	if known {
		was, err := a.specOf(ctx, v, old)
		if err != nil {
			return nil, nil, err
		}
		before = was
		if was.Owner != nil && a.d.Need != nil {
			// Who may not see owners cannot leave them out by sending back what was shown, nor change them.
			if err := a.d.Need(access.Personal); err != nil && now.Owner != nil && email(now.Owner) != email(was.Owner) {
				return nil, nil, fmt.Errorf("change the owner of unit %s: %w", id, err)
			} else if err != nil {
				now.Owner = was.Owner
			}
		}
		if email(now.Owner) != email(was.Owner) {
			a.handed = append(a.handed, people.Handover{UnitID: id, From: old.OwnerID})
			if was.Owner != nil { // another owner has chosen nothing yet
				mask = nil
				a.newOwners = append(a.newOwners, id)
			}
		}
	}
	choices := a.choices(mask, id, &now)
	if !a.changed(d, before, now) {
		return nil, choices, nil
	}
	u := fleet.Unit{
		ID: id, Key: old.Key, Product: spec.Product, Serial: spec.Serial, Hardware: spec.Hardware, Batch: spec.Batch, Region: spec.Region,
		Attributes: spec.Declared(), State: old.State, CreatedAt: old.CreatedAt, Versions: old.Versions, VersionAt: old.VersionAt,
	}
	if !known {
		u.Key, u.State, u.CreatedAt = a.d.IDs.Key(), fleet.UnitActive, a.d.Clock.Now()
	}
	if now.Owner != nil {
		var err error
		if u.OwnerID, err = a.owner(ctx, v, *now.Owner); err != nil {
			return nil, nil, err
		}
	}
	return &u, choices, nil
}

func email(o *fleet.OwnerSpec) string {
	if o == nil {
		return ""
	}
	return o.Email
}

func withDefaults(o fleet.OwnerSpec) fleet.OwnerSpec {
	o.Email = fleet.CanonicalEmail(o.Email)
	if o.Locale == "" {
		o.Locale = "en"
	}
	if o.TimeZone == "" {
		o.TimeZone = "UTC"
	}
	return o
}

// owner keeps an owner once in an apply, and gives the id.
func (a *applying) owner(ctx context.Context, v *fleetView, o fleet.OwnerSpec) (string, error) {
	want := fleet.Owner{Email: o.Email, Name: o.Name, Locale: o.Locale, TimeZone: o.TimeZone}
	if have, ok := v.owners[o.Email]; ok {
		want.ID = have.ID
		if have == want {
			return have.ID, nil
		}
	}
	want.ID = a.d.IDs.ID()
	kept, err := a.d.Fleet.PutOwner(ctx, want)
	if err != nil {
		return "", err
	}
	v.owners[o.Email], v.byID[kept.ID] = kept, kept
	return kept.ID, nil
}

// specOf is a known unit as it would be declared.
func (a *applying) specOf(ctx context.Context, v *fleetView, u fleet.Unit) (fleet.UnitSpec, error) {
	var o *fleet.Owner
	if u.OwnerID != "" {
		have, ok := v.byID[u.OwnerID]
		if !ok {
			var err error
			if have, err = a.d.Fleet.Owner(ctx, u.OwnerID); err != nil {
				return fleet.UnitSpec{}, err
			}
			v.byID[u.OwnerID], v.owners[have.Email] = have, have
		}
		o = &have
	}
	return UnitSpec(u, o, v.masks[u.ID]), nil
}

// UnitSpec is a unit as it would be declared.
func UnitSpec(u fleet.Unit, o *fleet.Owner, mask consent.Mask) fleet.UnitSpec {
	attributes, bench := u.SpecAttributes()
	spec := fleet.UnitSpec{Product: u.Product, Serial: u.Serial, Hardware: u.Hardware, Batch: u.Batch, Region: u.Region, Attributes: attributes, Bench: bench}
	if o != nil {
		spec.Owner = &fleet.OwnerSpec{Email: o.Email, Name: o.Name, Locale: o.Locale, TimeZone: o.TimeZone}
	}
	spec.Consents = mask.Given()
	return spec
}

// choices are the consents that a file declares and that nobody has chosen on
// yet: what an owner chose is never overruled by a file. now.Consents becomes
// what will stand.
func (a *applying) choices(mask consent.Mask, id string, now *fleet.UnitSpec) []consent.Choice {
	var out []consent.Choice
	stand := maps.Clone(mask)
	for _, purpose := range now.Consents {
		if _, chosen := stand[purpose]; chosen {
			continue
		}
		if stand == nil {
			stand = consent.Mask{}
		}
		stand[purpose] = true
		out = append(out, consent.Choice{
			ID: a.d.IDs.ID(), UnitID: id, Purpose: purpose, Given: true, At: a.d.Clock.Now(), By: consent.ByImport,
		})
	}
	now.Consents = stand.Given()
	return out
}
