package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"

	"fettle.dev/fettle/internal/app/listen"
	"fettle.dev/fettle/internal/app/settings"
	intips "fettle.dev/fettle/internal/app/tips"
	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/setting"
	"fettle.dev/fettle/internal/update"
)

// peers are the other processes, as the gateway knows them.
type peers struct{ *bus.Peers }

// Tell returns when all others have applied a change.
func (p peers) Tell(ctx context.Context, c device.Change) error {
	word, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return p.Peers.Tell(ctx, word)
}

// Shout tells whoever hears it.
func (p peers) Shout(c device.Change) {
	word, _ := json.Marshal(c) // strings always encode
	p.Peers.Shout(word)
}

// joinPeers makes the gateway that is to be built one of several, where the
// stream is at an address; nil where it is not.
func (h *house) joinPeers() device.Peers {
	if h.config.Bus == "" {
		return nil
	}
	h.peers = h.stream.Peers(h.ids.ID(), h.config.Role == roleAll, func(ctx context.Context, word []byte) error {
		var c device.Change
		if err := json.Unmarshal(word, &c); err != nil {
			return fault.Wrap(fault.Invalid, "a change", err)
		}
		if err := h.gateway.Apply(ctx, c); err != nil {
			return err
		}
		if c.Kind == device.Reported && h.updates != nil {
			return h.reportedElsewhere(ctx, c.Units)
		}
		return nil
	}, func() { h.gateway.Forget() })
	return peers{h.peers}
}

// reportedElsewhere moves the updates of units on whose versions another
// process was told of.
func (h *house) reportedElsewhere(ctx context.Context, ids []string) error {
	for _, id := range ids {
		u, err := h.fleet.Unit(ctx, id)
		if err != nil {
			return err
		}
		if err := h.records.InTx(ctx, func(ctx context.Context) error {
			return h.updates.Reported(ctx, id, u.Versions, u.VersionAt)
		}); err != nil {
			return err
		}
	}
	return nil
}

// ingest runs the doors of units alone: it keeps no state. What it may take is
// in the records, what it takes goes into the stream, and the process of role
// all tells it of changes.
func ingest(ctx context.Context, c Config, log *slog.Logger, version string) (err error) {
	clk, err := c.clock()
	if err != nil {
		return err
	}
	h := &house{engines: &engines{}, config: c, log: log, version: version, clock: clk, ids: clock.Random{}, metrics: prometheus.NewRegistry()}
	h.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() { err = errors.Join(err, h.Close()) }()
	if h.records, err = sqldb.Open(ctx, c.recordsDSN()); err != nil {
		return err
	}
	stream := c.streamConfig()
	stream.Room = func() error {
		if err := h.peers.Leased(); err != nil {
			return fmt.Errorf("%w: %w", bus.ErrFull, err) // units wait
		}
		return nil
	}
	if h.stream, err = bus.Open(ctx, stream, log); err != nil {
		return err
	}
	received, err := h.received(ctx)
	if err != nil {
		return err
	}
	h.fleet = h.records.Fleet()
	h.reportRefused()
	h.gateway = device.New(device.Config{
		MayReport: h.mayReport,
		Units:     h.fleet, Credentials: h.records.Credentials(), Consents: h.records.Consent(),
		Stream: h.stream, Received: received, Clock: clk, Log: log, Metrics: h.metrics,
		MaxAge: c.MaxEventAge, UnitRate: c.UnitRate, Peers: h.joinPeers(), Quiet: true,
		Settings: settings.New(settings.Config{
			Desired: setting.New(h.records).Settings, Assignment: h.records.Update().Assignment, Log: log, Metrics: h.metrics,
			Answer: update.Answers(update.Config{
				Store: h.records.Update(), Ledger: release.New(h.records), Settings: setting.New(h.records), Fleet: h.fleet, Tx: h.records, Clock: clk, Log: log,
				Wake: func(id string) { h.gateway.Notify(id) }, // units are told after the request
			}),
		}),
	})
	h.provision = fleet.NewProvisioning(h.fleet, h.records.Credentials(), h.records.Claims(), h.records, clk, h.ids, h.gateway)
	h.displays = intips.Display(h.records, h.fleet, clk, log)
	listeners, err := h.listen(ctx)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		log.Info("listening", "door", l.name, "address", l.Addr().String())
	}
	return runStages(ctx, log, 30*time.Second, h.doors(listeners), []part{{"gateway", h.gateway.Run}}, []part{{"peers", h.peers.Run}, {"displays", h.displays.Run}})
}

// ingestRoutes is what HTTP serves of a process that takes data alone.
func (h *house) ingestRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", readyz([]check{
		{"records", h.records.Ping},
		{"stream", h.stream.Ready},
		{"all", func(context.Context) error { return h.peers.Leased() }},
		{"gateway", h.gateway.Ready},
	}, func() []note { return nil }))
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.metrics, promhttp.HandlerOpts{}))
	h.unitRoutes(mux)
	return listen.Secured(mux)
}

// sharePort lets several processes listen at one address; the kernel spreads
// connections among them.
func sharePort(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(err, failed)
}
