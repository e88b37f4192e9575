package watch

import (
	"context"
	"errors"
)

// errForget ends a run of the watcher that has to start again from what was
// kept, less what is to be forgotten.
var errForget = errors.New("something is to be forgotten")

// forgetting is somebody who waits for something to be forgotten.
type forgetting struct {
	drop func(ctx context.Context) error
	done chan error
}

// Forget has drop take states of units out of the store while nobody holds
// them: a watcher that runs stops, drop is called, and it starts again from what
// was kept. So what it had in memory of those units is gone, too, and nothing
// of it is kept again.
func (w *Watcher) Forget(ctx context.Context, drop func(ctx context.Context) error) error {
	w.forget.Lock()
	if w.stop == nil { // it does not run
		defer w.forget.Unlock()
		return drop(ctx)
	}
	f := forgetting{drop, make(chan error, 1)}
	w.forgets = append(w.forgets, f)
	w.stop(errForget)
	w.forget.Unlock()
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forgetAll does what Forget was asked for, between two runs, and notes how the
// next one is stopped.
func (w *Watcher) forgetAll(ctx context.Context, stop context.CancelCauseFunc) {
	w.forget.Lock()
	defer w.forget.Unlock()
	for _, f := range w.forgets {
		f.done <- f.drop(ctx)
	}
	w.forgets, w.stop = nil, stop
}
