package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"

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
	path := h.config.path(benchKey)
	line, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails since Go 1.24
		line = []byte(hex.EncodeToString(key))
		err = writeSecret(path, string(line))
	}
	if err != nil {
		return fmt.Errorf("key of bench units' tokens: %w", err)
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(line)))
	if err != nil || len(key) != 32 {
		return fmt.Errorf("%s does not hold a key of 32 bytes in hexadecimal digits", path)
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
				h.gateway.CredentialChanged(u)
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
		Bench: h.bench, Updates: h.updates, Tokens: h.access, Log: h.log, Base: door.Base, Refused: refused.Inc, Login: h.config.HawkbitLogin,
	})
}
