package consent

import "context"

// Use is what stored data is read for. Whoever reads says so in the context;
// the guard of history refuses who does not (package telemetry/guard).
type Use struct {
	Purpose string // a purpose's name: what names it, and is permitted for it
	Shown   bool   // what is permitted for any purpose, to people who look at a unit
	Own     bool   // everything held, to the owner whose it is
}

type useKey struct{}

// For says that data is read for a purpose.
func For(ctx context.Context, purpose string) context.Context {
	return context.WithValue(ctx, useKey{}, Use{Purpose: purpose})
}

// ForShown says that data is read for people who look at units: what may be
// kept for any purpose.
func ForShown(ctx context.Context) context.Context {
	return context.WithValue(ctx, useKey{}, Use{Shown: true})
}

// ForOwner says that data is read for the owner whose it is (GDPR art. 15 and
// 20): also what is kept for a law alone.
func ForOwner(ctx context.Context) context.Context {
	return context.WithValue(ctx, useKey{}, Use{Own: true})
}

// UseOf is what data is read for; false where nobody said.
func UseOf(ctx context.Context) (Use, bool) {
	u, ok := ctx.Value(useKey{}).(Use)
	return u, ok
}
