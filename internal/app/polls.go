package app

import (
	"context"
	"runtime/debug"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/reach"
)

func (c *Config) pollLimits() device.PollLimits {
	exempt, _ := reach.Parse(c.PollAddressExempt) // check has looked
	return device.PollLimits{Unit: c.PollUnitRate, Address: c.PollAddressRate, Exempt: exempt}
}

// enlist reads all units that may poll into memory, about two seconds a million.
func (h *house) enlist(ctx context.Context) error {
	began := clock.Real{}.Now()
	n, err := h.gateway.Enlist(ctx)
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // what reading them took
	h.log.Info("units that may poll are in memory", "units", n, "took", clock.Real{}.Now().Sub(began).String())
	return nil
}
