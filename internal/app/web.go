package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof" // served by an address of its own, if one is given
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"fettle.dev/fettle/internal/api"
	"fettle.dev/fettle/internal/api/hawkbit"
	"fettle.dev/fettle/internal/app/listen"
	"fettle.dev/fettle/internal/app/person"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/influx"
	"fettle.dev/fettle/internal/device/mender"
	"fettle.dev/fettle/internal/device/mqtt"
	"fettle.dev/fettle/internal/device/otlp"
	"fettle.dev/fettle/internal/device/rest"
	"fettle.dev/fettle/internal/device/senml"
	"fettle.dev/fettle/internal/device/tuf"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/reach"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/update/link"
	"fettle.dev/fettle/web"
)

// listen opens every door's socket, so that an address in use is an error
// before anything runs.
func (h *house) listen(ctx context.Context) (out []listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range out {
				_ = l.Close()
			}
		}
	}()
	var certs *listen.Certificates
	if h.config.TLSCert != "" {
		if certs, err = listen.NewCertificates(h.config.TLSCert, h.config.TLSKey, h.log); err != nil {
			return nil, err
		}
	}
	lc := net.ListenConfig{}
	if h.config.Role == roleIngest {
		lc.Control = sharePort
	}
	open := func(name, address string, encrypted bool, serve func(context.Context, net.Listener) error) error {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if encrypted {
			config := certs.Config()
			if name == "http" {
				config.NextProtos = []string{"h2", "http/1.1"}
			}
			l = tls.NewListener(l, config)
		}
		out = append(out, listener{l, name, serve})
		return nil
	}
	proxies, err := reach.Parse(h.config.TrustedProxies)
	if err != nil {
		return nil, err
	}
	routes := h.routes
	if h.config.Role == roleIngest {
		routes = h.ingestRoutes
	}
	handler := listen.BehindProxies(proxies, routes())
	err = open("http", h.config.Listen, certs != nil, func(ctx context.Context, l net.Listener) error {
		return listen.Serve(ctx, l, handler, h.log)
	})
	if err != nil {
		return out, err
	}
	units := mqtt.New(h.gateway, h.gateway, mqtt.Config{Tips: h.displays}, h.log)
	if h.config.MQTT != "" {
		if err := open("mqtt", h.config.MQTT, false, units.Serve); err != nil {
			return out, err
		}
	}
	if h.config.MQTTS != "" {
		if err := open("mqtts", h.config.MQTTS, true, units.Serve); err != nil {
			return out, err
		}
	}
	if h.config.Profiles != "" {
		err := open("profiles", h.config.Profiles, false, func(ctx context.Context, l net.Listener) error {
			return listen.Serve(ctx, l, profiles(), h.log)
		})
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// profiles serves Go's profiles of this process.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return mux
}

// routes is everything that HTTP serves.
func (h *house) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /readyz", readyz([]check{
		{"records", h.records.Ping},
		{"stream", h.stream.Ready},
		{"history", h.history.Ready},
		{"artifacts", h.blobs.Ready},
		{"disk", h.disk.Ready},
		{"gateway", h.gateway.Ready},
	}, func() []note { return append(h.room(), h.notes...) }))
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.metrics, promhttp.HandlerOpts{}))

	h.unitRoutes(mux)
	files := h.downloads()
	mux.Handle(link.Prefix, files)
	mux.Handle(tuf.Prefix, h.metadata())
	mux.Handle(mender.Prefix, h.mender())
	operations := api.New(h.deps())
	mux.Handle("/v1/", operations)
	mux.Handle(ticket.Path, h.delivery.Pages())
	h.dataRoutes(mux, operations)
	person.Pages(mux, operations, h.config.OwnerOrigins)
	if h.bench != nil {
		mux.Handle(hawkbit.Prefix, h.hawkbit())
	}
	mux.Handle("/", web.Handler())
	return pollsFirst(h.updateClients(files), listen.Secured(mux))
}

// updateClients is the door of DDI clients.
func (h *house) updateClients(files http.Handler) http.Handler {
	c := ddi.Config{
		Updates: h.updates, Units: h.gateway, Links: h.links, Trust: h.config.UnitTrust, Log: h.log, Metrics: h.metrics, Clock: h.clock,
		Polling: h.config.PollInterval, Offered: h.config.PollOffered, Offers: h.offers,
	}
	if h.bench != nil {
		c.Bench, c.Download = h.bench, files
	}
	return ddi.New(c)
}

// pollsFirst takes the calls of DDI clients, nearly all that come, before the
// others are told apart. They are no browsers: what those are told in headers
// is not for them.
func pollsFirst(clients, others http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, ddi.Prefix) {
			clients.ServeHTTP(w, r)
			return
		}
		others.ServeHTTP(w, r)
	})
}

// unitRoutes are the doors of units that send data.
func (h *house) unitRoutes(mux *http.ServeMux) {
	units := door.New(h.gateway, h.gateway, door.Config{}, h.log)
	mux.Handle("/fettle/v1/", rest.New(units, h.provision, rest.Config{Choose: h.choseOnUnit, Tips: h.displays}))
	mux.Handle(senml.Pattern, senml.New(units))
	lines := influx.New(units)
	for _, path := range influx.Paths {
		mux.Handle(path, lines)
	}
	mux.Handle(otlp.Pattern, otlp.New(units))
}

func (h *house) deps() api.Deps {
	return api.Deps{
		Log: h.log, Clock: h.clock, Wall: clock.Real{}, IDs: h.ids, Tx: h.records,
		Trail: h.trail, Privacy: h.privacy, PublicURL: h.config.publicURL(), Speed: h.speed(),
		Access: h.access, Fleet: h.fleet, People: h.owners, SignIn: h.signIn, Versions: h.records, Provisioning: h.provision,
		Consents: h.consents, Choices: h.records.Consent(), Condition: h.conditions, Backtests: h.backtests, Cohorts: h.cohorts,
		Maintenance: h.serviced, Prognosis: h.foreseen, Trust: h.trust,
		Updates: h.updates, Uploads: h.uploads, Deltas: h.deltas, Register: release.New(h.records), Campaigns: h.campaigns, Runs: h.records.Campaign(),
		Outcomes: h.outcomes, Tips: h.tips.Service, Feeds: h.tips.Feeds.Status, Notify: message.New(h.records), Messages: h.delivery.Operations(h.clock, h.ids), Words: h.tells.Operations(), History: h.read, Data: h.owned.Operations(),
		LastContact: h.gateway.LastContact, ClockSkew: h.gateway.ClockSkew, NextPoll: h.nextPoll,
		EraseUnit:  h.eraseUnit,
		Backup:     h.backup,
		BackupKeys: func(ctx context.Context) (any, error) { return h.backups().Keys(ctx) },
		OnProducts: func(ctx context.Context, names []string) error {
			for _, n := range names {
				h.gateway.InvalidateProduct(ctx, n)
			}
			h.watcher.Reload()
			h.tips.Watcher.Reload()
			return nil
		},
		OnDetectors: func(context.Context) error { h.watcher.Reload(); return nil },
		OnUnits:     h.unitsChanged,
	}
}

// nextPoll is by when a unit that is on and connected asks for its update: at
// once where it hears of it, else after the time it was told to wait.
func (h *house) nextPoll(unitID string) time.Time {
	now := h.clock.Now()
	if h.gateway.Listening(unitID) {
		return now
	}
	at, again := h.gateway.Polled(unitID)
	if again == 0 {
		again = h.config.PollInterval
	}
	if at.IsZero() || now.After(at.Add(again)) { // it has missed its time: nobody knows
		return time.Time{}
	}
	return at.Add(again)
}

// unitsChanged lets the gateway read the units anew and the detectors watch
// those that are active.
func (h *house) unitsChanged(ctx context.Context, ids []string) error {
	units := make([]fleet.Unit, 0, len(ids))
	for _, id := range ids {
		u, err := h.fleet.Unit(ctx, id)
		if err != nil {
			h.gateway.Invalidate(id) // deleted
			continue
		}
		units = append(units, u)
	}
	return h.gateway.Enrolled(ctx, units...)
}

// upkeep does what is due now and then: the stream is trimmed to what every
// consumer has taken, history to each signal's retention, credentials that
// have expired are removed, the first operator's link is renewed.
func (h *house) upkeep(ctx context.Context) error {
	trim, hour := time.NewTicker(5*time.Second), time.NewTicker(time.Hour)
	defer trim.Stop()
	defer hour.Stop()
	renew := time.NewTicker(10 * time.Minute)
	defer renew.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-trim.C:
			if h.backing.TryLock() { // a backup needs what stands after the positions it has copied
				_, err = h.stream.Trim(ctx, min(h.writer.Applied(), h.watcher.Position(), h.tips.Watcher.Position()))
				h.backing.Unlock()
			}
		case <-renew.C:
			err = h.welcome(ctx)
		case <-hour.C:
			err = h.expire(ctx)
		}
		if err != nil && ctx.Err() == nil {
			h.log.Warn("upkeep", "error", err)
		}
	}
}

func (h *house) expire(ctx context.Context) error {
	if err := errors.Join(h.access.Clean(ctx), h.owners.Clean(ctx)); err != nil {
		return err
	}
	if err := h.uploads.Expire(ctx); err != nil {
		return err
	}
	products, err := h.fleet.Products(ctx)
	if err != nil {
		return err
	}
	longest := 7 * 24 * time.Hour
	for _, p := range products {
		before := make(map[string]time.Time, len(p.Signals))
		for _, s := range p.Signals {
			longest = max(longest, time.Duration(s.Retention))
			before[s.Name] = h.clock.Now().Add(-time.Duration(s.Retention))
		}
		if err := h.history.Expire(ctx, p.Name, before); err != nil {
			return fmt.Errorf("retention of %s: %w", p.Name, err)
		}
		if err := h.history.ExpireEvents(ctx, p.Name, eventsBefore(&p, h.clock.Now())); err != nil {
			return fmt.Errorf("retention of events of %s: %w", p.Name, err)
		}
	}
	// Marks belong to the samples around them.
	return errors.Join(h.history.ExpireMarks(ctx, h.clock.Now().Add(-longest)), h.remember(ctx))
}

// counter is a figure that only grows.
func (h *house) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "fettle", Name: name, Help: help})
	h.metrics.MustRegister(c)
	return c
}

// gauges are figures read when somebody asks.
func (h *house) gauges() {
	gauge := func(name, help string, read func() float64) {
		h.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "fettle", Name: name, Help: help}, read))
	}
	gauge("disk_used_bytes", "What the data directory takes on the disk.", func() float64 { used, _ := h.disk.Bytes(); return float64(used) })
	gauge("disk_free_bytes", "What the disk of the data directory has free.", func() float64 { _, free := h.disk.Bytes(); return float64(free) })
	gauge("disk_full", "1 while there is no room and units wait.", func() float64 {
		if h.disk.Room() != nil {
			return 1
		}
		return 0
	})
	gauge("history_position", "Stream sequence up to which history is written.", func() float64 { return float64(h.writer.Applied()) })
	gauge("detectors_position", "Stream sequence up to which findings are kept.", func() float64 { return float64(h.watcher.Position()) })
	h.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "fettle", Name: "detectors_rows_total", Help: "Messages judged by the detectors since this process started.",
	}, func() float64 { return float64(h.watcher.Rows()) }))
	gauge("detectors_from_history_entries", "Entries that the stream no longer held and the detectors took from history, since this process started.", func() float64 {
		n, _ := h.watcher.Bridged()
		return float64(n)
	})
	gauge("detectors_missed_entries", "Entries that neither stream nor history held any more: no finding tells of them.", func() float64 {
		_, n := h.watcher.Bridged()
		return float64(n)
	})
	gauge("stream_position", "Newest stream sequence.", func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		last, err := h.stream.Last(ctx)
		if err != nil {
			return -1
		}
		return float64(last)
	})
}
