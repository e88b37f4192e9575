package fleet

import (
	"context"
	"slices"
)

// Sight bounds what an operator may see: units of some products, in some
// regions. Empty lists bound nothing. What is outside is not there: stores that
// are asked with a context that has a Sight neither give nor count it.
type Sight struct {
	Products []string `json:"products,omitempty"`
	Regions  []string `json:"regions,omitempty"` // of units; a unit without a region is in none
}

// Limited reports whether s bounds anything.
func (s Sight) Limited() bool { return len(s.Products) > 0 || len(s.Regions) > 0 }

// Product reports whether a product is in sight.
func (s Sight) Product(name string) bool {
	return len(s.Products) == 0 || slices.Contains(s.Products, name)
}

// Unit reports whether units of a product in a region are in sight.
func (s Sight) Unit(product, region string) bool {
	return s.Product(product) && (len(s.Regions) == 0 || slices.Contains(s.Regions, region))
}

type sightKey struct{}

// WithSight bounds what is seen with the context.
func WithSight(ctx context.Context, s Sight) context.Context {
	return context.WithValue(ctx, sightKey{}, s)
}

// Unbounded is ctx without a Sight: for what the service does by itself after an
// operator's request, as to load a product anew.
func Unbounded(ctx context.Context) context.Context { return WithSight(ctx, Sight{}) }

// SightOf is what may be seen with ctx: everything, unless it was bounded.
func SightOf(ctx context.Context) Sight {
	s, _ := ctx.Value(sightKey{}).(Sight)
	return s
}
