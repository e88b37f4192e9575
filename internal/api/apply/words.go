package apply

import (
	"context"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/lint"
	"fettle.dev/fettle/internal/notify/template"
)

// about refuses a product or campaign that is not there, which is a slip more
// often than it is meant.
func (a *applying) about(ctx context.Context, d *one, product, campaign string) error {
	if product != "" {
		if _, err := a.d.Fleet.Product(ctx, product); fault.KindOf(err) == fault.NotFound {
			a.note(d, []fault.Field{{Path: "spec.product", Expected: "a product that is declared", Got: product}})
		} else if err != nil {
			return err
		}
	}
	if campaign != "" {
		if _, err := a.d.Runs.Campaign(ctx, campaign); fault.KindOf(err) == fault.NotFound {
			a.note(d, []fault.Field{{Path: "spec.campaign", Expected: "a campaign that is declared", Got: campaign}})
		} else if err != nil {
			return err
		}
	}
	return nil
}

// putTemplates keeps templates. What the linter finds in one of kind recall or
// safety is a mistake; in any other it is said beside the change.
func (a *applying) putTemplates(ctx context.Context) error {
	for _, d := range a.of(declare.Template) {
		t := d.spec.(*template.Spec)
		t.Name = d.Metadata.Name
		old, err := a.d.Templates.Template(ctx, t.Name)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		var before any
		if err == nil {
			before = old
		}
		if err := a.about(ctx, d, t.Product, t.Campaign); err != nil {
			return err
		}
		for _, f := range lint.Template(t) {
			if f.Severity == lint.Warning {
				a.changes[d.at].Warnings = append(a.changes[d.at].Warnings, f.String())
			}
		}
		changed := a.changed(d, before, *t)
		if d.broken {
			a.note(d, t.Validate())
			continue
		}
		if !changed {
			continue
		}
		if err := a.d.Templates.Put(ctx, *t); err != nil {
			if err := a.fail(d, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *applying) putLadders(ctx context.Context) error {
	for _, d := range a.of(declare.Ladder) {
		l := d.spec.(*ladder.Spec)
		l.Name = d.Metadata.Name
		old, err := a.d.Ladders.Ladder(ctx, l.Name)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		var before any
		if err == nil {
			before = old
		}
		if err := a.about(ctx, d, l.Product, l.Campaign); err != nil {
			return err
		}
		if !a.changed(d, before, *l) && !d.broken {
			continue
		}
		if err := ladder.Put(ctx, a.d.Ladders, *l); err != nil {
			if err := a.fail(d, err); err != nil {
				return err
			}
		}
	}
	return nil
}
