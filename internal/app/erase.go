package app

import (
	work "fettle.dev/fettle/internal/app/privacy"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/privacy"
	store "fettle.dev/fettle/internal/sqldb/privacy"
	"fettle.dev/fettle/internal/sqldb/signin"
)

// rights builds what people may ask for about their data.
func (h *house) rights() {
	h.privacy = privacy.NewService(privacy.Config{
		Store: store.New(h.records), Tx: h.records, Fleet: h.fleet, Trail: h.trail, Clock: clock.Real{}, IDs: h.ids, Log: h.log,
		Stores: work.Stores(work.Deps{
			Records: h.records, Sessions: signin.New(h.records), Consents: h.consents, Campaigns: h.campaigns, Gateway: h.gateway, Stream: h.stream,
			Writer: h.writer, Watcher: h.watcher, History: h.history, Data: h.config.Data, Busy: &backing,
		}),
	})
}
