// Package apply makes the records as declared documents say: all or nothing,
// with every mistake told at once.
package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/tip/outside"
	"fettle.dev/fettle/internal/update"
)

// Deps is what applying works with.
type Deps struct {
	Clock     clock.Clock
	IDs       clock.IDs
	Tx        fleet.Transactor
	Fleet     fleet.Store
	Consents  *consent.Service
	Choices   consent.Store
	Notices   *consent.Notices // nil: words are not kept by version
	Condition *condition.Service
	Updates   *update.Service
	Campaigns *campaign.Manager
	Runs      campaign.Store
	Templates *template.Catalogue // nil: none may be declared
	Ladders   ladder.Store
	Tips      *tip.Service
	People    *people.Service

	// Need refuses an operator who lacks a permission; nil: everything is permitted.
	Need func(access.Permission) error

	// Hooks are called after the records have changed; each may be nil.
	OnProducts  func(ctx context.Context, names []string) error
	OnDetectors func(ctx context.Context) error
	OnReleases  func() // also where none changed
	OnUnits     func(ctx context.Context, ids []string) error
}

// errDryRun ends the transaction of a dry run that found no mistake.
var errDryRun = errors.New("dry run")

// one is a document on its way through an apply.
type one struct {
	declare.Document
	at     int // in the request
	spec   any
	broken bool // the envelope or the types are wrong
}

// applying is one apply: everything is tried, every mistake is noted, and what
// was written is rolled back if there was any.
type applying struct {
	d        *Deps
	docs     []*one
	mistakes []fault.Field
	seen     map[string]bool // paths with a mistake, so that one is told once
	changes  []wire.Change

	products  []string
	detectors bool
	tips      bool // tips, or products of theirs
	units     []string
	consents  bool
	newOwners []string          // units that go to another owner
	handed    []people.Handover // those, and units that get their first
}

// Documents applies documents, or with DryRun says what that would change.
func Documents(ctx context.Context, d *Deps, in wire.Apply) (wire.Applied, error) {
	a := &applying{d: d, seen: map[string]bool{}, changes: make([]wire.Change, len(in.Documents))}
	a.decode(in.Documents)
	err := d.Tx.InTx(ctx, func(ctx context.Context) error {
		for _, step := range []func(context.Context) error{
			a.guard, a.putProducts, a.putUnits, a.putDetectors, a.checkDependents, a.putReleases, a.putCampaigns, a.putTemplates, a.putLadders, a.putTips,
		} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		if len(a.mistakes) > 0 {
			slices.SortStableFunc(a.mistakes, func(x, y fault.Field) int { return documentOf(x.Path) - documentOf(y.Path) })
			return fault.Fields("apply", a.mistakes)
		}
		if in.DryRun {
			return errDryRun
		}
		for _, c := range a.changes {
			if c.Action != "unchanged" {
				audit.Changed(ctx, c.Action+" "+string(c.Kind)+"/"+c.Name)
			}
		}
		return nil
	})
	out := wire.Applied{Changes: a.changes, DryRun: in.DryRun}
	if errors.Is(err, errDryRun) {
		return out, nil
	}
	if err != nil {
		return wire.Applied{}, err
	}
	return out, a.tell(ctx)
}

// tell calls the hooks of what changed.
func (a *applying) tell(ctx context.Context) error {
	d := a.d
	var errs []error
	if len(a.products) > 0 && d.OnProducts != nil {
		errs = append(errs, d.OnProducts(ctx, a.products))
	}
	if a.detectors && d.OnDetectors != nil {
		errs = append(errs, d.OnDetectors(ctx))
	}
	if len(a.units) > 0 && d.OnUnits != nil {
		errs = append(errs, d.OnUnits(ctx, a.units))
	}
	if a.consents {
		errs = append(errs, d.Consents.Tell(ctx))
	}
	if a.tips && d.Tips != nil {
		d.Tips.Reload()
	}
	d.OnReleases()
	return fault.Wrap(fault.Unavailable, "the documents were applied, but not everything has heard of it yet; apply them again", errors.Join(errs...))
}

func documentOf(path string) (n int) {
	_, _ = fmt.Sscanf(path, "body.documents[%d]", &n)
	return n
}

func (a *applying) note(d *one, fields []fault.Field) {
	for _, f := range fields {
		if strings.HasPrefix(f.Path, "product ") {
			continue // a mistake of the product, which is told there
		}
		a.noteAt(fmt.Sprintf("body.documents[%d].%s", d.at, f.Path), f)
	}
}

func (a *applying) noteAt(path string, f fault.Field) {
	// A value that could not be read at all is not also called wrong by the room.
	for p := path; ; {
		if a.seen[p] {
			return
		}
		i := strings.LastIndexAny(p, ".[")
		if i <= len("body.documents") {
			break
		}
		p = p[:i]
	}
	a.seen[path] = true
	f.Path = path
	a.mistakes = append(a.mistakes, f)
}

// fail notes the mistakes in err; anything else goes on as an error.
func (a *applying) fail(d *one, err error) error {
	if fields := fault.FieldsOf(err); fault.KindOf(err) == fault.Invalid && len(fields) > 0 {
		a.note(d, fields)
		return nil
	}
	if k := fault.KindOf(err); k == fault.Conflict || k == fault.NotFound || k == fault.Invalid {
		a.note(d, []fault.Field{{Path: "spec", Expected: "something else: " + err.Error()}})
		return nil
	}
	return err
}

func (a *applying) decode(docs []wire.Document) {
	first := map[string]int{}
	for i, doc := range docs {
		d := &one{Document: declare.Document{APIVersion: doc.APIVersion, Kind: doc.Kind, Metadata: doc.Metadata, Spec: []byte(doc.Spec)}, at: i}
		a.changes[i] = wire.Change{Kind: doc.Kind, Name: doc.Metadata.Name}
		spec, fields := d.Check()
		if j, twice := first[d.String()]; twice {
			again := fault.Field{Path: "metadata.name", Expected: "each " + strings.ToLower(string(d.Kind)) + " once: it stands here and elsewhere", Got: d.Metadata.Name}
			a.noteAt(fmt.Sprintf("body.documents[%d].metadata.name", j), again)
			fields = append(fields, again)
		}
		first[d.String()] = i
		d.spec, d.broken = spec, len(fields) > 0
		a.note(d, fields)
		if spec != nil {
			a.docs = append(a.docs, d)
		}
	}
}

func (a *applying) of(kind declare.Kind) []*one {
	var out []*one
	for _, d := range a.docs {
		if d.Kind == kind {
			out = append(out, d)
		}
	}
	return out
}

// changed notes what applying d does, and reports whether there is anything to write.
func (a *applying) changed(d *one, old, now any) bool {
	c := &a.changes[d.at]
	if old == nil {
		c.Action, c.Diff = "created", diff(nil, now)
		return true
	}
	if c.Diff = diff(old, now); c.Diff == "" {
		c.Action = "unchanged"
		return false
	}
	c.Action = "changed"
	return true
}

func (a *applying) putProducts(ctx context.Context) error {
	for _, d := range a.of(declare.Product) {
		p := d.spec.(*fleet.Product)
		p.Name = d.Metadata.Name
		a.note(d, fleet.ValidateProduct(*p))
		a.note(d, condition.ValidateProduct(p))
		a.note(d, outside.Validate(p))
		old, err := a.d.Fleet.Product(ctx, p.Name)
		known := err == nil
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		if known {
			a.note(d, sameTypes(&old, p))
		}
		var before any
		if known {
			before = old
		}
		if !a.changed(d, before, *p) {
			continue
		}
		a.products = append(a.products, p.Name)
		// Also a product with mistakes is put: documents that refer to it are
		// judged against what stands there, and all of it is rolled back.
		if err := a.d.Fleet.PutProduct(ctx, *p); err != nil {
			return err
		}
		if a.d.Notices != nil {
			err := a.d.Notices.Publish(ctx, p)
			if fields := fault.FieldsOf(err); len(fields) > 0 {
				a.note(d, fields)
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// sameTypes refuses to change what history has a column for.
func sameTypes(old, now *fleet.Product) []fault.Field {
	var fields []fault.Field
	for i, s := range now.Signals {
		if was, ok := old.Signal(s.Name); ok && was.Type != s.Type {
			fields = append(fields, fault.Field{
				Path: fmt.Sprintf("spec.signals[%d].type", i), Got: string(s.Type),
				Expected: fmt.Sprintf("%s, as it is already: history holds values of it; declare a signal of a new name", was.Type),
			})
		}
	}
	return fields
}

func (a *applying) putDetectors(ctx context.Context) error {
	for _, d := range a.of(declare.Detector) {
		def := d.spec.(*condition.Detector)
		def.Name = d.Metadata.Name
		old, err := a.d.Condition.Detector(ctx, def.Name, 0)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		var before any
		if err == nil {
			before = old
			if old.Product != def.Product && !d.broken {
				a.note(d, []fault.Field{{Path: "spec.product", Expected: old.Product + ", as it is already: declare a detector of a new name", Got: def.Product}})
			}
		}
		a.changed(d, before, *def)
		if _, err := a.d.Condition.PutDetector(ctx, *def); err != nil {
			if err := a.fail(d, err); err != nil {
				return err
			}
			continue
		}
		a.detectors = true
	}
	return nil
}

// checkDependents refuses a change of a product that breaks a detector which
// stands outside these documents, and gives the others their new version.
func (a *applying) checkDependents(ctx context.Context) error {
	given := map[string]bool{}
	for _, d := range a.of(declare.Detector) {
		given[d.Metadata.Name] = true
	}
	for _, d := range a.of(declare.Product) {
		if !slices.Contains(a.products, d.Metadata.Name) {
			continue
		}
		p := d.spec.(*fleet.Product)
		detectors, err := a.d.Condition.Detectors(ctx, p.Name)
		if err != nil {
			return err
		}
		broken := false
		for i := range detectors {
			if given[detectors[i].Name] {
				continue
			}
			detectors[i].Basis = nil
			for _, f := range condition.Validate(p, &detectors[i]) {
				if broken = true; strings.HasPrefix(f.Path, "product ") {
					continue
				}
				a.note(d, []fault.Field{{Path: "spec", Expected: fmt.Sprintf("a product that detector %s, which is not among these documents, still fits (%s)", detectors[i].Name, f)}})
			}
		}
		if broken || len(a.mistakes) > 0 {
			continue
		}
		if err := a.d.Condition.ProductChanged(ctx, p.Name); err != nil {
			if err := a.fail(d, err); err != nil {
				return err
			}
		}
		a.detectors = true
	}
	return nil
}

func (a *applying) putReleases(ctx context.Context) error {
	for _, d := range a.of(declare.Release) {
		r := d.spec.(*update.Release)
		r.Name = d.Metadata.Name
		old, err := a.d.Updates.Release(ctx, r.Name)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		var before any
		if err == nil {
			before = old
		}
		if err := a.d.Updates.Complete(ctx, r); err != nil {
			return err
		}
		if !a.changed(d, before, *r) && !d.broken {
			continue
		}
		if err := a.d.Updates.Put(ctx, *r); err != nil {
			if err := a.fail(d, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *applying) putCampaigns(ctx context.Context) error {
	for _, d := range a.of(declare.Campaign) {
		c := d.spec.(*campaign.Campaign)
		c.Name = d.Metadata.Name
		old, err := a.d.Runs.Campaign(ctx, c.Name)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		var before any
		if err == nil {
			before = old.Campaign
		}
		if !a.changed(d, before, *c) && !d.broken {
			continue
		}
		if err := a.d.Campaigns.Put(ctx, *c); err != nil {
			if err := a.fail(d, err); err != nil {
				return err
			}
		}
	}
	return nil
}
