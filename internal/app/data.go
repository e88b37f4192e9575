package app

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/app/rights"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/signin"
)

// data builds what concerns owners' rights over their data.
func (h *house) data() {
	h.owned = rights.New(rights.Config{
		Records: h.records, Fleet: h.fleet, Read: h.read, Consents: h.consents, History: h.history, Stream: h.stream, Flow: h.stream,
		Written: func() uint64 { return h.writer.Applied() }, Judged: func() uint64 { return min(h.watcher.Awaited(), h.tips.Watcher.Position()) },
		Clock: h.clock, IDs: h.ids, Log: h.log, Exports: h.config.path("exports"),
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
