package fleet

import (
	"context"
	"errors"
)

// Before is called within a transaction before it is committed; what it writes
// is part of the transaction. committed, if given, is called once it is durable.
type Before func(ctx context.Context) (committed func(), err error)

type commitKey struct{}

// WithCommit has fn called before each outermost transaction of ctx that has
// written is committed; nil: nothing, whatever was asked for before.
func WithCommit(ctx context.Context, fn Before) context.Context {
	return context.WithValue(ctx, commitKey{}, fn)
}

// WaitsForCommit reports whether WithCommit was called for ctx: then each
// write belongs in a transaction.
func WaitsForCommit(ctx context.Context) bool {
	fn, _ := ctx.Value(commitKey{}).(Before)
	return fn != nil
}

// BeforeCommit has fn called before the transaction of ctx is committed, and
// reports whether there is one.
func BeforeCommit(ctx context.Context, fn Before) bool {
	e, ok := ctx.Value(endKey{}).(*ending)
	if ok {
		e.before = append(e.before, fn)
	}
	return ok
}

// Committing is for a Transactor: it calls what waits for the transaction of
// ctx to be committed; wrote says whether it has written.
func Committing(ctx context.Context, wrote bool) (committed func(), err error) {
	var all []Before
	if fn, _ := ctx.Value(commitKey{}).(Before); fn != nil && wrote {
		all = append(all, fn)
	}
	if e, ok := ctx.Value(endKey{}).(*ending); ok {
		all = append(all, e.before...)
	}
	var then []func()
	var failed []error
	for _, fn := range all {
		done, err := fn(ctx)
		failed = append(failed, err)
		if done != nil {
			then = append(then, done)
		}
	}
	return func() {
		for _, fn := range then {
			fn()
		}
	}, errors.Join(failed...)
}
