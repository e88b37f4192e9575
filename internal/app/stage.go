package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// part is something that runs until its context ends.
type part struct {
	name string
	run  func(ctx context.Context) error
}

// runStages runs every part of every stage until ctx ends or a part fails, then
// stops the stages one after the other, the first first: units' doors before
// the gateway, the gateway before the consumers of the stream. A part that
// returns before it was asked to is a failure. A stage that has not stopped
// after patience is left behind: everything acknowledged is durable already.
func runStages(ctx context.Context, log *slog.Logger, patience time.Duration, stages ...[]part) error {
	failed := make(chan error, 1)
	type running struct {
		cancel context.CancelFunc
		done   chan struct{}
		names  []string
	}
	var all []running
	for _, stage := range stages {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := running{cancel: cancel, done: make(chan struct{})}
		var wg sync.WaitGroup
		for _, p := range stage {
			r.names = append(r.names, p.name)
			wg.Go(func() {
				err := p.run(own)
				if own.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
					return
				}
				if err == nil {
					err = errors.New("ended by itself")
				}
				select {
				case failed <- fmt.Errorf("%s: %w", p.name, err):
				default:
					log.Error("part failed", "part", p.name, "error", err)
				}
			})
		}
		go func() { wg.Wait(); close(r.done) }()
		all = append(all, r)
	}
	var err error
	select {
	case <-ctx.Done():
		log.Info("stopping")
	case err = <-failed:
		log.Error("stopping: a part failed", "error", err)
	}
	for _, r := range all {
		r.cancel()
		t := time.NewTimer(patience)
		select {
		case <-r.done:
		case <-t.C:
			log.Warn("did not stop in time", "parts", r.names)
		}
		t.Stop()
	}
	return err
}
