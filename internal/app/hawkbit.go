package app

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"fettle.dev/fettle/internal/api/hawkbit"
	"fettle.dev/fettle/internal/device/door"
	benchdb "fettle.dev/fettle/internal/sqldb/bench"
	"fettle.dev/fettle/internal/update/bench"
)

// benchKey is the file of the key that seals what tools may read again: tokens
// of bench units. It stands in no backup.
const benchKey = "bench-key"

// tools builds what tools for hawkBit work with, where the configuration has
// switched it on.
func (h *house) tools(ctx context.Context) error {
	if !h.config.HawkbitAPI {
		return nil
	}
	key, err := h.config.key(benchKey)
	if err != nil {
		return err
	}
	h.bench, err = bench.New(ctx, bench.Config{
		Store: benchdb.New(h.records), Updates: h.updates, Fleet: h.fleet, Tokens: h.provision, Campaigns: h.campaigns, Tx: h.records,
		Clock: h.clock, IDs: h.ids, Key: key, Product: h.config.HawkbitProduct,
		Changed: func(ctx context.Context, products, units []string) error {
			for _, p := range products {
				h.gateway.InvalidateProduct(ctx, p)
			}
			if len(products) > 0 {
				h.watcher.Reload()
			}
			for _, u := range units {
				h.gateway.CredentialChanged(u) // sessions end whether or not the request lasts
			}
			return h.unitsChanged(ctx, units)
		},
	})
	return err
}

// hawkbit is the API for tools written for hawkBit.
func (h *house) hawkbit() http.Handler {
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "fettle", Name: "hawkbit_refused_total", Help: "Requests of tools for hawkBit with a wrong credential.",
	})
	h.metrics.MustRegister(refused)
	return hawkbit.New(hawkbit.Config{
		Bench: h.bench, Updates: h.updates, Tokens: h.access, Log: h.log, Base: door.Base, Refused: refused.Inc, Login: h.config.HawkbitLogin, FourEyes: h.access.FourEyes,
		Trail: h.trail,
	})
}
