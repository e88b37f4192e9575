package update

import (
	"context"
	"fmt"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Validate finds every mistake of a release that has been declared, against
// the products that are known.
func (s *Service) Validate(ctx context.Context, r Release) error {
	var product *fleet.Product
	p, err := s.fleet.Product(ctx, r.Product)
	switch {
	case err == nil:
		product = &p
	case fault.KindOf(err) != fault.NotFound:
		return fmt.Errorf("validate release %s: %w", r.Name, err)
	}
	return ValidateRelease(r, product)
}

// Put keeps a release. What units are being offered does not change under
// them: while an assignment of it goes on, only its words may change.
func (s *Service) Put(ctx context.Context, r Release) error {
	if err := s.Validate(ctx, r); err != nil {
		return err
	}
	if err := s.uploaded(ctx, &r); err != nil {
		return err
	}
	return s.tx.InTx(ctx, func(ctx context.Context) error {
		if err := s.Complete(ctx, &r); err != nil {
			return err
		}
		if err := s.unique(ctx, &r); err != nil {
			return err
		}
		old, err := s.store.Release(ctx, r.Name)
		switch {
		case fault.KindOf(err) == fault.NotFound:
		case err != nil:
			return fmt.Errorf("put release %s: %w", r.Name, err)
		case !old.SameContent(&r):
			used, err := s.store.ReleaseInUse(ctx, r.Name)
			if err != nil {
				return fmt.Errorf("put release %s: %w", r.Name, err)
			}
			if used {
				return fault.New(fault.Conflict, "release %s is on its way to units: declare a new release instead of changing its version, counter or images", r.Name)
			}
		}
		if err := s.store.PutRelease(ctx, r); err != nil {
			return fmt.Errorf("put release %s: %w", r.Name, err)
		}
		return nil
	})
}

// uploaded refuses a release of which an artifact is not there.
func (s *Service) uploaded(ctx context.Context, r *Release) error {
	var fields []fault.Field
	look := func(path string, p ReleasePart) error {
		_, err := s.store.Artifact(ctx, p.SHA256())
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return fmt.Errorf("put release %s: %w", r.Name, err)
		}
		if err != nil {
			fields = append(fields, fault.Field{Path: path, Expected: "an artifact that has been uploaded", Got: p.Artifact})
		}
		return nil
	}
	if len(r.Parts) == 0 && r.Settings == nil {
		if err := look("spec.artifact", ReleasePart{Artifact: r.Artifact}); err != nil {
			return err
		}
	}
	for i, p := range r.Parts {
		if err := look(fmt.Sprintf("spec.parts[%d].artifact", i), p); err != nil {
			return err
		}
	}
	return fault.Fields("release "+r.Name, fields)
}

// Release is a release by name.
func (s *Service) Release(ctx context.Context, name string) (Release, error) {
	return s.store.Release(ctx, name)
}

// Releases are those of a product; "" means all.
func (s *Service) Releases(ctx context.Context, product string) ([]Release, error) {
	return s.store.Releases(ctx, product)
}

// Delete forgets a release that no unit is being offered.
func (s *Service) Delete(ctx context.Context, name string) error {
	return s.tx.InTx(ctx, func(ctx context.Context) error {
		used, err := s.store.ReleaseInUse(ctx, name)
		if err != nil {
			return fmt.Errorf("delete release %s: %w", name, err)
		}
		if used {
			return fault.New(fault.Conflict, "release %s is on its way to units: cancel its campaign first", name)
		}
		return s.store.DeleteRelease(ctx, name)
	})
}
