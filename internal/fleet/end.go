package fleet

import "context"

type endKey struct{}

// ending is what waits for a transaction to end. It is used by the goroutine
// of the transaction alone.
type ending struct {
	before []Before
	then   []func()
}

// WithEnd is for a Transactor: it gives the context of a new transaction and a
// function to call once the transaction was committed or rolled back.
func WithEnd(ctx context.Context) (within context.Context, ended func()) {
	e := &ending{}
	return context.WithValue(ctx, endKey{}, e), func() {
		for _, fn := range e.then {
			fn()
		}
	}
}

// AtEnd runs fn when the transaction of ctx has ended, whichever way, or at
// once where there is none: whoever remembers what the records say asks them
// again from then on.
func AtEnd(ctx context.Context, fn func()) {
	if e, ok := ctx.Value(endKey{}).(*ending); ok {
		e.then = append(e.then, fn)
		return
	}
	fn()
}
