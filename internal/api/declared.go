package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/apply"
	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/update"
)

// DeclaredKind is the kind in a path.
type DeclaredKind struct {
	Kind string `path:"kind" enum:"product,unit,detector,release,campaign,template,ladder,tip"`
}

// DeclaredName is the kind and name in a path.
type DeclaredName struct {
	DeclaredKind
	Name string `path:"name" maxLength:"200"`
}

// maxApply bounds the body of an apply: 100,000 units and more.
const maxApply = 64 << 20

type applyIn struct{ Body wire.Apply }

type declaredList struct {
	DeclaredKind
	wire.PageParams
}

func document(kind declare.Kind, name string, spec any) (wire.Document, error) {
	raw, err := json.Marshal(spec)
	if err != nil {
		return wire.Document{}, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return wire.Document{APIVersion: declare.APIVersion, Kind: kind, Metadata: declare.Metadata{Name: name}, Spec: raw}, nil
}

func documents[T any](kind declare.Kind, items []T, p wire.PageParams, name func(*T) string, spec func(*T) any) (wire.Page[wire.Document], error) {
	docs := make([]wire.Document, 0, len(items))
	for i := range items {
		d, err := document(kind, name(&items[i]), spec(&items[i]))
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		docs = append(docs, d)
	}
	return frame.PageAfter(docs, p, func(d wire.Document) string { return d.Metadata.Name }), nil
}

func (s *server) listDeclared(ctx context.Context, in *declaredList) (wire.Page[wire.Document], error) {
	kind, err := declare.ParseKind(in.Kind)
	if err != nil {
		return wire.Page[wire.Document]{}, err
	}
	if kind != declare.Unit {
		_ = audit.Looked(ctx) // nobody's: it enters nothing
	}
	switch kind {
	case declare.Product:
		all, err := s.d.Fleet.Products(ctx)
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		return documents(kind, all, in.PageParams, func(p *fleet.Product) string { return p.Name }, func(p *fleet.Product) any { return p })
	case declare.Unit:
		return s.declaredUnits(ctx, in.PageParams)
	case declare.Detector:
		all, err := s.d.Condition.Detectors(ctx, "")
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		return documents(kind, all, in.PageParams, func(d *condition.Detector) string { return d.Name }, func(d *condition.Detector) any { return d })
	case declare.Release:
		all, err := s.d.Updates.Releases(ctx, "")
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		return documents(kind, all, in.PageParams, func(r *update.Release) string { return r.Name }, func(r *update.Release) any { return r })
	case declare.Tip:
		all, err := s.d.Tips.Tips(ctx, "")
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		all = slices.DeleteFunc(all, func(t tip.Tip) bool { return !seen(ctx, t.Product) })
		return documents(kind, all, in.PageParams, func(t *tip.Tip) string { return t.Name }, func(t *tip.Tip) any { return t })
	case declare.Template:
		all, err := s.d.Words.Templates.Templates(ctx)
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		all = slices.DeleteFunc(all, func(t template.Spec) bool { return !seen(ctx, t.Product) })
		return documents(kind, all, in.PageParams, func(t *template.Spec) string { return t.Name }, func(t *template.Spec) any { return t })
	case declare.Ladder:
		all, err := s.d.Words.Store.Ladders(ctx)
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		all = slices.DeleteFunc(all, func(l ladder.Spec) bool { return !seen(ctx, l.Product) })
		return documents(kind, all, in.PageParams, func(l *ladder.Spec) string { return l.Name }, func(l *ladder.Spec) any { return l })
	default:
		all, err := s.d.Runs.Campaigns(ctx, "")
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		return documents(kind, all, in.PageParams, func(r *campaign.Run) string { return r.Campaign.Name }, func(r *campaign.Run) any { return r.Campaign })
	}
}

func (s *server) declaredUnits(ctx context.Context, p wire.PageParams) (wire.Page[wire.Document], error) {
	units, err := s.d.Fleet.Units(ctx, fleet.Filter{After: p.After, Limit: p.Limit + 1})
	if err != nil {
		return wire.Page[wire.Document]{}, err
	}
	masks := map[string]map[string]consent.Mask{}
	docs := make([]wire.Document, 0, len(units))
	var owners []string
	for _, u := range units {
		if masks[u.Product] == nil {
			if masks[u.Product], err = s.d.Choices.Masks(ctx, u.Product); err != nil {
				return wire.Page[wire.Document]{}, err
			}
		}
		o, err := s.ownerOf(ctx, u)
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		d, err := document(declare.Unit, u.ID, apply.UnitSpec(u, o, masks[u.Product][u.ID]))
		if err != nil {
			return wire.Page[wire.Document]{}, err
		}
		docs, owners = append(docs, d), append(owners, u.OwnerID)
	}
	if err := audit.Looked(ctx, owners...); err != nil {
		return wire.Page[wire.Document]{}, err
	}
	return frame.Page(docs, p.Limit, func(d wire.Document) string { return d.Metadata.Name }), nil
}

// lookedAtUnit enters a look at what concerns a unit, which may be gone.
func (s *server) lookedAtUnit(ctx context.Context, id string) error {
	u, err := s.d.Fleet.Unit(ctx, id)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	return audit.Looked(ctx, u.OwnerID)
}

// ownerOf is a unit's owner; nil when it has none, or whoever asks may not know.
func (s *server) ownerOf(ctx context.Context, u fleet.Unit) (*fleet.Owner, error) {
	if u.OwnerID == "" || !frame.Who(ctx).May[access.Personal] {
		return nil, nil // a unit without an owner, or whose owner is not for this operator to see, is no error
	}
	o, err := s.d.Fleet.Owner(ctx, u.OwnerID)
	if err != nil {
		return nil, err
	}
	return &o, nil
}

func (s *server) getDeclared(ctx context.Context, in *DeclaredName) (wire.Document, error) {
	kind, err := declare.ParseKind(in.Kind)
	if err != nil {
		return wire.Document{}, err
	}
	if kind != declare.Unit {
		_ = audit.Looked(ctx) // nobody's: it enters nothing
	}
	var spec any
	switch kind {
	case declare.Product:
		spec, err = s.d.Fleet.Product(ctx, in.Name)
	case declare.Unit:
		var u fleet.Unit
		if u, err = s.d.Fleet.Unit(ctx, in.Name); err != nil {
			return wire.Document{}, err
		}
		o, ownerErr := s.ownerOf(ctx, u)
		if ownerErr != nil {
			return wire.Document{}, ownerErr
		}
		mask, maskErr := s.d.Choices.Mask(ctx, u.ID)
		spec, err = apply.UnitSpec(u, o, mask), errors.Join(maskErr, audit.Looked(ctx, u.OwnerID))
	case declare.Detector:
		spec, err = s.d.Condition.Detector(ctx, in.Name, 0)
	case declare.Release:
		spec, err = s.d.Updates.Release(ctx, in.Name)
	case declare.Tip, declare.Template, declare.Ladder:
		var product string
		spec, product, err = s.told(ctx, kind, in.Name)
		if err == nil && !seen(ctx, product) {
			err = fault.New(fault.NotFound, "no %s %q", strings.ToLower(string(kind)), in.Name)
		}
	default:
		var r campaign.Run
		r, err = s.d.Runs.Campaign(ctx, in.Name)
		spec = r.Campaign
	}
	if err != nil {
		return wire.Document{}, err
	}
	return document(kind, in.Name, spec)
}

// seen reports whether whoever asks sees what is of a product, or of none in particular.
func seen(ctx context.Context, product string) bool {
	return product == "" || fleet.SightOf(ctx).Product(product)
}

// told is a declared tip, template or ladder, and the product that it is for; "": all.
func (s *server) told(ctx context.Context, kind declare.Kind, name string) (spec any, product string, err error) {
	switch kind {
	case declare.Tip:
		t, err := s.d.Tips.Tip(ctx, name)
		return t, t.Product, err
	case declare.Template:
		t, err := s.d.Words.Templates.Get(ctx, name)
		return t, t.Product, err
	default:
		l, err := s.d.Words.Store.Ladder(ctx, name)
		return l, l.Product, err
	}
}

func (s *server) deleteDeclared(ctx context.Context, in *DeclaredName) error {
	kind, err := declare.ParseKind(in.Kind)
	if err != nil {
		return err
	}
	if err := frame.Who(ctx).Need(apply.Needs(kind)); err != nil {
		return err
	}
	if err := s.inSight(ctx, kind, in.Name); err != nil {
		return err
	}
	switch kind {
	case declare.Product:
		return s.deleteProduct(ctx, in.Name)
	case declare.Unit:
		return s.deleteUnit(ctx, in.Name)
	case declare.Detector:
		err = s.unlessUsed(ctx, "detector "+in.Name, func(c *campaign.Campaign) bool { return c.Detector == in.Name }, func(ctx context.Context) error {
			return s.d.Condition.DeleteDetector(ctx, in.Name)
		})
		if err == nil && s.d.OnDetectors != nil {
			err = s.d.OnDetectors(ctx)
		}
		return err
	case declare.Release:
		return s.unlessUsed(ctx, "release "+in.Name, func(c *campaign.Campaign) bool { return c.Release == in.Name }, func(ctx context.Context) error {
			return s.d.Updates.Delete(ctx, in.Name)
		})
	case declare.Tip:
		return s.d.Tips.Delete(ctx, in.Name)
	case declare.Template:
		return s.d.Words.Templates.DeleteTemplate(ctx, in.Name)
	case declare.Ladder:
		return s.d.Words.Store.DeleteLadder(ctx, in.Name)
	default:
		return s.d.Campaigns.Delete(ctx, in.Name)
	}
}

// inSight refuses what an operator of bounded sight does not see, as if it were not there.
func (s *server) inSight(ctx context.Context, kind declare.Kind, name string) (err error) {
	if !fleet.SightOf(ctx).Limited() {
		return nil
	}
	if kind != declare.Unit && len(fleet.SightOf(ctx).Regions) > 0 {
		return fault.New(fault.Denied, "this is about the units of all regions, and what you see is bounded to some")
	}
	switch kind {
	case declare.Product:
		_, err = s.d.Fleet.Product(ctx, name)
	case declare.Unit:
		_, err = s.d.Fleet.Unit(ctx, name)
	case declare.Detector:
		_, err = s.d.Condition.Detector(ctx, name, 0)
	case declare.Release:
		_, err = s.d.Updates.Release(ctx, name)
	case declare.Campaign:
		_, err = s.d.Runs.Campaign(ctx, name)
	default:
		var product string
		if _, product, err = s.told(ctx, kind, name); err == nil && product == "" {
			err = fault.New(fault.Denied, "it is for all products, and what you see is bounded to some")
		} else if err == nil && !seen(ctx, product) {
			err = fault.New(fault.NotFound, "no %s %q", strings.ToLower(string(kind)), name)
		}
	}
	return err
}

// unlessUsed deletes what no campaign that is not over refers to.
func (s *server) unlessUsed(ctx context.Context, what string, uses func(*campaign.Campaign) bool, remove func(context.Context) error) error {
	return s.d.Tx.InTx(ctx, func(ctx context.Context) error {
		runs, err := s.d.Runs.Campaigns(ctx, "")
		if err != nil {
			return err
		}
		var by []string
		for i := range runs {
			if r := &runs[i]; uses(&r.Campaign) && r.State != campaign.Canceled && r.State != campaign.Finished {
				by = append(by, "campaign "+r.Campaign.Name)
			}
		}
		if err := inUse(what, by); err != nil {
			return err
		}
		return remove(ctx)
	})
}

func inUse(what string, by []string) error {
	if len(by) == 0 {
		return nil
	}
	if n := len(by); n > 10 {
		by = append(by[:10:10], fmt.Sprintf("and %d more", n-10))
	}
	return fault.New(fault.Conflict, "%s is used by %s", what, strings.Join(by, ", "))
}

func (s *server) deleteProduct(ctx context.Context, name string) error {
	err := s.d.Tx.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.d.Fleet.Product(ctx, name); err != nil {
			return err
		}
		var by []string
		n, err := s.d.Fleet.CountUnits(ctx, fleet.Filter{Product: name})
		if err != nil {
			return err
		}
		if n > 0 {
			by = append(by, fmt.Sprintf("%d units", n))
		}
		detectors, err := s.d.Condition.Detectors(ctx, name)
		if err != nil {
			return err
		}
		for _, d := range detectors {
			by = append(by, "detector "+d.Name)
		}
		releases, err := s.d.Updates.Releases(ctx, name)
		if err != nil {
			return err
		}
		for _, r := range releases {
			by = append(by, "release "+r.Name)
		}
		runs, err := s.d.Runs.Campaigns(ctx, name)
		if err != nil {
			return err
		}
		for _, r := range runs {
			by = append(by, "campaign "+r.Campaign.Name)
		}
		tips, err := s.d.Tips.Tips(ctx, name)
		if err != nil {
			return err
		}
		for _, t := range tips {
			by = append(by, "tip "+t.Name)
		}
		if err := inUse("product "+name, by); err != nil {
			return err
		}
		return s.d.Fleet.DeleteProduct(ctx, name)
	})
	if err == nil && s.d.OnProducts != nil {
		err = s.d.OnProducts(ctx, []string{name})
	}
	return err
}

// deleteUnit forgets a unit: it is disconnected, and its history is erased.
func (s *server) deleteUnit(ctx context.Context, id string) error {
	var key int64
	err := s.d.Tx.InTx(ctx, func(ctx context.Context) error {
		u, err := s.d.Fleet.Unit(ctx, id)
		if err != nil {
			return err
		}
		key = u.Key
		tasks, err := s.d.Runs.Tasks(ctx, campaign.TaskFilter{UnitID: id, Wave: -1})
		if err != nil {
			return err
		}
		var by []string
		for _, t := range tasks {
			run, err := s.d.Runs.CampaignByID(ctx, t.CampaignID)
			if err != nil {
				return err
			}
			if run.State == campaign.Running || run.State == campaign.Paused {
				by = append(by, "campaign "+run.Campaign.Name)
			}
		}
		if err := inUse("unit "+id, by); err != nil {
			return err
		}
		if err := s.d.Updates.Forget(ctx, id); err != nil {
			return err
		}
		return s.d.Fleet.DeleteUnit(ctx, id)
	})
	if err != nil {
		return err
	}
	if s.d.OnUnits != nil {
		if err := s.d.OnUnits(ctx, []string{id}); err != nil {
			return err
		}
	}
	if s.d.EraseUnit != nil { // what was found of it, and what the detectors know
		if err := s.d.EraseUnit(ctx, id, key); err != nil {
			return err
		}
	}
	return s.d.History.EraseUnits(ctx, []int64{key}, nil)
}

func (s *server) declared() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/apply", ID: "apply", Summary: "Apply declared documents",
		Doc: "All or nothing; every mistake is told at once.", Tag: "declared", Access: access.Declare, Or: []access.Permission{access.Units, access.Release, access.Campaign}, Sight: frame.ByUnit, MaxBody: maxApply, Raw: true, Slow: true,
	}, func(ctx context.Context, in *applyIn) (wire.Applied, error) {
		d := s.applyDeps()
		d.Need = frame.Who(ctx).Need
		return apply.Documents(ctx, d, in.Body)
	})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/declared/{kind}", ID: "listDeclared", Personal: audit.DataContact, Summary: "List declared documents of a kind", Tag: "declared", Access: access.Look, Sight: frame.ByUnit}, s.listDeclared)
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/declared/{kind}/{name}", ID: "getDeclared", Personal: audit.DataContact, Summary: "A declared document", Tag: "declared", Access: access.Look, Sight: frame.ByUnit}, s.getDeclared)
	frame.Do(s.Server, frame.Route{
		Method: http.MethodDelete, Path: "/v1/declared/{kind}/{name}", ID: "deleteDeclared", Summary: "Delete a declared thing",
		Doc: "409 while something uses it: the detail says what.", Tag: "declared", Access: access.Declare, Or: []access.Permission{access.Units, access.Release, access.Campaign}, Sight: frame.ByUnit,
	}, s.deleteDeclared)
}

func (s *server) applyDeps() *apply.Deps {
	return &apply.Deps{
		Clock: s.d.Clock, IDs: s.d.IDs, Tx: s.d.Tx, Fleet: s.d.Fleet, Consents: s.d.Consents, Choices: s.d.Choices, Condition: s.d.Condition,
		Templates: s.d.Words.Templates, Ladders: s.d.Words.Store,
		Updates: s.d.Updates, Campaigns: s.d.Campaigns, Runs: s.d.Runs, Tips: s.d.Tips, People: s.d.People,
		Notices: s.d.Data.Notices, OnProducts: s.d.OnProducts, OnDetectors: s.d.OnDetectors, OnUnits: s.d.OnUnits, OnReleases: s.d.Deltas.Wake,
	}
}
