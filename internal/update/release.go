package update

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// artifactPrefix begins a reference to an uploaded artifact.
const artifactPrefix = "sha256:"

// longestVersion bounds what a unit must be able to report.
const longestVersion = 128

// ArtifactSHA256 is the name of the uploaded artifact that r refers to, or ""
// while it still names a file beside the declaration.
func (r *Release) ArtifactSHA256() string {
	sum, ok := strings.CutPrefix(r.Artifact, artifactPrefix)
	if b, err := hex.DecodeString(sum); !ok || err != nil || len(b) != 32 || strings.ToLower(sum) != sum {
		return ""
	}
	return sum
}

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

// ValidateRelease finds every mistake of r; product is nil where there is none
// of its name.
func ValidateRelease(r Release, product *fleet.Product) error {
	var fields []fault.Field
	add := func(path, expected, got string) {
		fields = append(fields, fault.Field{Path: "spec." + path, Expected: expected, Got: got})
	}
	if product == nil {
		add("product", "the name of a product", r.Product)
	}
	if v := strings.TrimSpace(r.Version); v == "" || v != r.Version || len(v) > longestVersion {
		add("version", fmt.Sprintf("the version as the unit will report it, 1 to %d characters without spaces around", longestVersion), r.Version)
	}
	switch r.Kind {
	case Security, Safety, Fix, Feature:
	default:
		add("kind", "security, safety, fix or feature", string(r.Kind))
	}
	seen := map[string]bool{}
	for i, h := range r.Hardware {
		if h == "" || seen[h] {
			add(fmt.Sprintf("hardware[%d]", i), "each hardware revision once, not empty", h)
		}
		seen[h] = true
	}
	clear(seen)
	for i, v := range r.From {
		switch {
		case v == "" || seen[v]:
			add(fmt.Sprintf("from[%d]", i), "each version once, not empty", v)
		case v == r.Version:
			add(fmt.Sprintf("from[%d]", i), "another version than the release's own", v)
		}
		seen[v] = true
	}
	if r.Minutes < 1 || r.Minutes > 24*60 {
		add("minutes", "1 to 1440: how long an installation takes", fmt.Sprint(r.Minutes))
	}
	if len(r.Notes) == 0 {
		add("notes", "what changes, in plain words for owners, in at least one language", "")
	}
	for _, m := range []struct {
		name  string
		words map[string]string
	}{{"notes", r.Notes}, {"unavailable", r.Unavailable}} {
		for _, lang := range sortedKeys(m.words) {
			if lang == "" || strings.TrimSpace(m.words[lang]) == "" {
				add(m.name+"."+lang, "a language tag, as en, and words", m.words[lang])
			}
		}
	}
	if r.ArtifactSHA256() == "" {
		add("artifact", "sha256: and 64 lower-case hexadecimal digits of an uploaded artifact (fettle apply uploads a file beside the declaration)", r.Artifact)
	}
	return fault.Fields("release "+r.Name, fields)
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Put keeps a release. What units are being offered does not change under
// them: while an assignment of it goes on, only its words may change.
func (s *Service) Put(ctx context.Context, r Release) error {
	if err := s.Validate(ctx, r); err != nil {
		return err
	}
	if _, err := s.store.Artifact(ctx, r.ArtifactSHA256()); err != nil {
		if fault.KindOf(err) != fault.NotFound {
			return fmt.Errorf("put release %s: %w", r.Name, err)
		}
		return fault.Fields("release "+r.Name, []fault.Field{{Path: "spec.artifact", Expected: "an artifact that has been uploaded", Got: r.Artifact}})
	}
	return s.tx.InTx(ctx, func(ctx context.Context) error {
		old, err := s.store.Release(ctx, r.Name)
		switch {
		case fault.KindOf(err) == fault.NotFound:
		case err != nil:
			return fmt.Errorf("put release %s: %w", r.Name, err)
		case old.Version != r.Version || old.Artifact != r.Artifact || old.Product != r.Product || old.ComponentName() != r.ComponentName():
			used, err := s.store.ReleaseInUse(ctx, r.Name)
			if err != nil {
				return fmt.Errorf("put release %s: %w", r.Name, err)
			}
			if used {
				return fault.New(fault.Conflict, "release %s is on its way to units: declare a new release instead of changing its version or image", r.Name)
			}
		}
		if err := s.store.PutRelease(ctx, r); err != nil {
			return fmt.Errorf("put release %s: %w", r.Name, err)
		}
		return nil
	})
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
