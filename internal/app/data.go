package app

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/app/rights"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/signin"
)

// data builds what concerns owners' rights over their data.
func (h *house) data() {
	h.owned = rights.New(rights.Config{
		Records: h.records, Fleet: h.fleet, Read: h.read, Consents: h.consents, History: h.history, Stream: h.stream, Flow: h.stream,
		Settled: h.settled, Clock: h.clock, IDs: h.ids, Log: h.log, Exports: h.config.path("exports"),
		Alone: func(fn func() error) error {
			h.backing.Lock()
			defer h.backing.Unlock()
			return fn()
		},
		Sources: rights.Sources{
			Base: h.config.publicURL(), People: h.owners, Findings: h.records.Condition(), Tasks: h.records.Campaign(),
			Messages: message.New(h.records), Sessions: signin.New(h.records), Privacy: h.privacy, Trail: h.trail,
		},
	})
	h.owners.OnHandover(h.owned.Handed)
}

// settled waits until history and detectors hold what the stream does up to a
// position, and hurries them.
func (h *house) settled(ctx context.Context, position uint64) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := h.writer.WaitFor(ctx, position)
	for err == nil && min(h.watcher.Awaited(), h.tips.Watcher.Awaited()) < position {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err != nil {
		return fault.New(fault.Unavailable, "history and detectors have not taken entry %d of the stream yet", position)
	}
	return nil
}

// dataRoutes are those of third parties, and of buyers who have no account.
func (h *house) dataRoutes(mux *http.ServeMux, operations http.Handler) {
	mux.Handle("/share/v1", operations)
	mux.Handle("/share/v1/", operations)
	d := h.owned.Operations()
	public := data.Public(&d, h.fleet)
	mux.Handle("/datasheets/", public)
	mux.Handle("/notices/", public)
}

// publish takes up the words of products that were declared by an older Fettle.
func (h *house) publish(ctx context.Context) error { return h.owned.Published(ctx) }
