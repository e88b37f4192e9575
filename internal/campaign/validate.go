package campaign

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
)

// Validate finds every mistake of a campaign that has been declared. The
// cohort is looked for when it starts, because it is made from findings, not
// from files.
func (m *Manager) Validate(ctx context.Context, c Campaign) error {
	var fields []fault.Field
	add := func(path, expected string, got any) {
		f := fault.Field{Path: "spec." + path, Expected: expected}
		if s := fmt.Sprint(got); got != nil {
			f.Got = s
		}
		fields = append(fields, f)
	}
	productKnown, err := known(m.cfg.Fleet.Product(ctx, c.Product))
	if err != nil {
		return fmt.Errorf("validate campaign %s: %w", c.Name, err)
	}
	if productKnown == nil {
		add("product", "the name of a product", c.Product)
	}
	release, err := known(m.cfg.Updates.Release(ctx, c.Release))
	switch {
	case err != nil:
		return fmt.Errorf("validate campaign %s: %w", c.Name, err)
	case release == nil:
		add("release", "the name of a release", c.Release)
	default:
		if release.Product != c.Product {
			add("release", "a release for product "+c.Product, c.Release+", for product "+release.Product)
		}
		if !c.Kind.Carries(release.Kind) {
			add("release", fmt.Sprintf("a release of kind security, safety or fix: a feature may not ride in a %s campaign", c.Kind), c.Release+", of kind feature")
		}
	}
	detector, err := known(m.cfg.Detectors.Detector(ctx, c.Detector, 0))
	switch {
	case err != nil:
		return fmt.Errorf("validate campaign %s: %w", c.Name, err)
	case detector == nil:
		add("detector", "the name of a detector", c.Detector)
	default:
		if detector.Product != c.Product {
			add("detector", "a detector of product "+c.Product, c.Detector+", of product "+detector.Product)
		}
		if detector.Type == condition.TypeSilence || detector.Type == condition.TypePrognosis {
			add("detector", "a detector that counts exposure: silence and prognosis show no use", c.Detector+", of type "+string(detector.Type))
		}
	}
	c.Mistakes(add)
	slices.SortStableFunc(fields, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	return fault.Fields("campaign "+c.Name, fields)
}

// known gives nil for what is not found.
func known[T any](v T, err error) (*T, error) {
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil // absent is an answer here
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// Put keeps a campaign that has not started. Putting what stands there already
// changes nothing, also while it runs.
func (m *Manager) Put(ctx context.Context, c Campaign) error {
	if err := m.Validate(ctx, c); err != nil {
		return err
	}
	return m.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		old, err := known(m.cfg.Store.Campaign(ctx, c.Name))
		if err != nil {
			return fmt.Errorf("put campaign %s: %w", c.Name, err)
		}
		if old != nil && reflect.DeepEqual(old.Campaign, c) {
			return nil
		}
		if err := m.cfg.Store.PutCampaign(ctx, c); err != nil {
			return fmt.Errorf("put campaign %s: %w", c.Name, err)
		}
		if old != nil {
			return nil
		}
		_, err = m.cfg.Store.UpdateCampaign(ctx, c.Name, func(r *Run) error {
			r.CreatedAt = m.cfg.Clock.Now()
			return nil
		})
		return err
	})
}

// Delete forgets a campaign that does not run.
func (m *Manager) Delete(ctx context.Context, name string) error {
	return m.cfg.Store.DeleteCampaign(ctx, name)
}
