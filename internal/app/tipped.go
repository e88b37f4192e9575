package app

import (
	intips "fettle.dev/fettle/internal/app/tips"
	"fettle.dev/fettle/internal/reach"
)

// tipped builds tips in context.
func (h *house) tipped() error {
	private, err := reach.Parse(h.config.FeedNetworks)
	if err != nil {
		return err
	}
	h.tips = intips.New(intips.Config{
		Records: h.records, Fleet: h.fleet, Read: h.read, Used: h.history, Stream: h.stream, Conditions: h.conditions, Owners: h.campaigns.Preferences,
		Mark: h.gateway.Mark, Clock: h.clock, IDs: h.ids, Log: h.log, Secrets: h.config.FeedSecrets, Private: private, PerDay: int(h.config.TipsPerDay),
	})
	h.displays = h.tips.Hub
	h.tips.Through(h.tells.People)
	return nil
}
