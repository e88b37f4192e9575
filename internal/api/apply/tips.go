package apply

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/tip"
)

// putTips keeps tips, and refuses a change of a product that breaks a tip which
// stands outside these documents.
func (a *applying) putTips(ctx context.Context) error {
	given := map[string]bool{}
	for _, d := range a.of(declare.Tip) {
		t := d.spec.(*tip.Tip)
		t.Name = d.Metadata.Name
		given[t.Name] = true
		if a.d.Tips == nil {
			a.note(d, []fault.Field{{Path: "kind", Expected: "a kind that this service keeps", Got: "Tip"}})
			continue
		}
		old, err := a.d.Tips.Tip(ctx, t.Name)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
		var before any
		if err == nil {
			before = old
		}
		if !a.changed(d, before, *t) && !d.broken {
			continue
		}
		a.tips = true
		if err := a.d.Tips.Put(ctx, *t); err != nil {
			if err := a.fail(d, err); err != nil {
				return err
			}
		}
	}
	for _, d := range a.of(declare.Product) {
		if a.d.Tips == nil || !slices.Contains(a.products, d.Metadata.Name) {
			continue
		}
		broken, err := a.d.Tips.Fits(ctx, d.spec.(*fleet.Product))
		if err != nil {
			return err
		}
		for name, fields := range broken {
			for _, f := range fields {
				if !given[name] && !strings.HasPrefix(f.Path, "product ") {
					a.note(d, []fault.Field{{Path: "spec", Expected: fmt.Sprintf("a product that tip %s, which is not among these documents, still fits (%s)", name, f)}})
				}
			}
		}
		a.tips = true
	}
	return nil
}
