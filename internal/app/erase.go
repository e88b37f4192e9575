package app

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/app/person"
	work "fettle.dev/fettle/internal/app/privacy"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify/account"
	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb/message"
	store "fettle.dev/fettle/internal/sqldb/privacy"
	"fettle.dev/fettle/internal/sqldb/signin"
)

// rights builds what people may ask for about their data.
func (h *house) rights() error {
	var told func(context.Context, privacy.Request) error
	if h.access.MailAvailable() {
		words, err := account.NewWriter(message.New(h.records), h.clock, h.ids, h.config.publicURL())
		if err != nil {
			return err
		}
		told = person.Requests(h.fleet, words)
	}
	h.privacy = privacy.NewService(privacy.Config{
		Told:    told,
		Backups: max(h.config.BackupLife, time.Second), Limited: func(ctx context.Context, _ []string) error { return h.consents.Tell(ctx) },
		Store: store.New(h.records), Tx: h.records, Fleet: h.fleet, Trail: h.trail, Clock: clock.Real{}, IDs: h.ids, Log: h.log,
		Stores: work.Stores(work.Deps{
			Records: h.records, Sessions: signin.New(h.records), Consents: h.consents, Campaigns: h.campaigns, Gateway: h.gateway, Stream: h.stream,
			Settled: h.settled, Watcher: h.watcher, History: h.history, Data: h.config.Data, Busy: &h.backing,
		}),
	})
	h.owners.OnHandover(func(ctx context.Context, all []people.Handover) error {
		var units []string
		for _, o := range all {
			units = append(units, o.UnitID)
		}
		return h.privacy.Handed(ctx, units)
	})
	return nil
}

// eraseUnit takes what was found of a deleted unit out of the records, and out
// of the detectors' memory.
func (h *house) eraseUnit(ctx context.Context, id string, key int64) error {
	return h.watcher.Forget(context.WithoutCancel(ctx), func(ctx context.Context) error {
		return store.New(h.records).EraseUnit(ctx, id, key)
	})
}
