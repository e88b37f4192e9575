package template

import (
	"context"
	"fmt"

	"fettle.dev/fettle/internal/fault"
)

// Store keeps declared templates.
type Store interface {
	PutTemplate(ctx context.Context, s Spec) error
	Template(ctx context.Context, name string) (Spec, error) // fault.NotFound
	Templates(ctx context.Context) ([]Spec, error)           // by name
	// TemplatesFor are those that take a text's place, of any product or campaign.
	TemplatesFor(ctx context.Context, text string) ([]Spec, error)
	DeleteTemplate(ctx context.Context, name string) error // fault.NotFound
}

// Catalogue gives the words for what is to be told.
type Catalogue struct {
	Store
	// Before looks at a template before it is kept, as the linter does; it may be nil.
	Before func(s *Spec) error
}

// Put keeps a template, unless it has mistakes.
func (s *Catalogue) Put(ctx context.Context, t Spec) error {
	if err := fault.Fields("template "+t.Name, t.Validate()); err != nil {
		return err
	}
	if s.Before != nil {
		if err := s.Before(&t); err != nil {
			return err
		}
	}
	return s.PutTemplate(ctx, t)
}

// Get is a declared template by name, or a built-in text.
func (s *Catalogue) Get(ctx context.Context, name string) (Spec, error) {
	t, err := s.Template(ctx, name)
	if fault.KindOf(err) != fault.NotFound {
		return t, err
	}
	all, builtinErr := Builtin()
	if builtinErr != nil {
		return Spec{}, builtinErr
	}
	if b, ok := all[name]; ok {
		return *b, nil
	}
	return Spec{}, err
}

// Resolve picks the words of a text: those declared for the campaign, else for
// the product, else for all, else the built-in ones. The nearest has the say in
// all languages: what it lacks in an owner's language comes in its own fall-back.
func (s *Catalogue) Resolve(ctx context.Context, text, product, campaign string) (*Spec, error) {
	list, err := s.TemplatesFor(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("words of %s: %w", text, err)
	}
	var best *Spec
	nearest := -1
	for i := range list {
		t := &list[i]
		if t.Campaign != "" && t.Campaign != campaign || t.Product != "" && t.Product != product {
			continue
		}
		near := 0
		if t.Campaign != "" {
			near += 2
		}
		if t.Product != "" {
			near++
		}
		if near > nearest {
			best, nearest = t, near
		}
	}
	if best != nil {
		return best, nil
	}
	all, err := Builtin()
	if err != nil {
		return nil, err
	}
	if t, ok := all[text]; ok {
		return t, nil
	}
	return nil, fault.New(fault.NotFound, "no template %q", text)
}
