package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	ways "fettle.dev/fettle/internal/api/signin"
	"fettle.dev/fettle/internal/app/deliver"
	"fettle.dev/fettle/internal/app/heap"
	"fettle.dev/fettle/internal/app/hold"
	"fettle.dev/fettle/internal/app/person"
	"fettle.dev/fettle/internal/app/rights"
	"fettle.dev/fettle/internal/app/settings"
	"fettle.dev/fettle/internal/app/tell"
	intips "fettle.dev/fettle/internal/app/tips"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/backtest"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/condition/watch"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/device/tips"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/outcome"
	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/roster"
	"fettle.dev/fettle/internal/sqldb/setting"
	"fettle.dev/fettle/internal/sqldb/trial"
	"fettle.dev/fettle/internal/sqldb/unitlog"
	"fettle.dev/fettle/internal/sqldb/wear"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/telemetry/guard"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/bench"
	"fettle.dev/fettle/internal/update/delta"
	"fettle.dev/fettle/internal/update/link"
	"fettle.dev/fettle/internal/update/trust"
	"fettle.dev/fettle/internal/update/upload"
)

// house is the rooms of one process, built on its engines.
type house struct {
	*engines
	offers *ddi.Offers // that are open, for how often units poll

	config  Config
	log     *slog.Logger
	version string
	clock   clock.Clock // the service's; scaled under dev
	ids     clock.IDs
	metrics *prometheus.Registry
	backing sync.Mutex // one backup is made at a time, and nothing that it needs goes meanwhile

	fleet      fleet.Store
	trail      *audit.Trail
	remembered time.Time // of remember
	privacy    *privacy.Service
	access     *access.Service
	owners     *people.Service
	tips       *intips.Rooms
	displays   *tips.Hub
	owned      *rights.Rooms // owners' rights over their data
	signIn     ways.Deps
	provision  *fleet.Provisioning
	consents   *consent.Service
	read       *guard.History // history, as owners permit: nobody reads the bare one
	gateway    *device.Gateway
	settings   *settings.Source
	writer     *telemetry.Writer
	conditions *condition.Service
	watcher    *watch.Watcher
	backtests  *backtest.Manager
	serviced   *maintenance.Service
	foreseen   *prognosis.Manager
	cohorts    *cohort.Service
	updates    *update.Service
	bench      *bench.Service // nil: off
	trust      *trust.Service

	versionRefused *prometheus.CounterVec
	links          *link.Signer
	uploads        *upload.Service
	deltas         *delta.Manager
	campaigns      *campaign.Manager
	outcomes       *outcome.Manager
	words          *notify.Words
	tells          *tell.Rooms
	digest         *notify.Digest
	delivery       *deliver.Delivery
	peers          *bus.Peers // nil: the stream is in this process
	closers        []func() error
	notes          []note
}

// speed is how much faster than the machine's the service's clock runs.
func (h *house) speed() float64 {
	if s, ok := h.clock.(clock.Scaled); ok {
		return s.Speed
	}
	return 1
}

func build(ctx context.Context, c Config, e *engines, log *slog.Logger, version string) (*house, error) {
	clk, err := c.clock()
	if err != nil {
		return nil, err
	}
	h := &house{engines: e, config: c, log: log, version: version, clock: clk, ids: clock.Random{}, metrics: prometheus.NewRegistry()}
	h.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	h.fleet = e.records.Fleet()
	h.trail = trailOf(c, e.records, log)

	if err := h.people(ctx); err != nil {
		return nil, err
	}
	h.consents = consent.NewService(h.delivery.Choices(e.records.Consent()), h.fleet, e.records, clk, h.ids)
	h.read = guard.New(e.history, e.records.Consent(), h.fleet)
	check, err := c.bundles()
	if err != nil {
		return nil, err
	}
	if h.updates, err = update.NewService(ctx, update.Config{
		Store: e.records.Update(), Logs: unitlog.New(e.records), Blobs: e.blobs, Fleet: h.fleet, Tx: e.records, Clock: clk, Log: log, Dir: c.path("uploads"), Room: e.disk.Fits, Check: check,
		Ledger: release.New(e.records), Settings: setting.New(e.records), State: h.read, Wake: func(id string) { h.gateway.Notify(id) }, // units are told after the request
	}); err != nil {
		return nil, err
	}
	if err := h.images(); err != nil {
		return nil, err
	}
	if err := h.trusts(ctx); err != nil {
		return nil, err
	}
	received, err := e.received(ctx)
	if err != nil {
		return nil, err
	}
	h.settings = settings.New(settings.Config{Desired: h.updates.Settings, Answer: h.updates.AnswerSettings, Assignment: h.updates.Assignment, Log: log, Metrics: h.metrics})
	h.gateway = device.New(device.Config{
		Units: reported{h.fleet, h.updates, e.records}, Credentials: e.records.Credentials(), Consents: e.records.Consent(),
		Stream: e.stream, Received: received, Clock: clk, Log: log, Metrics: h.metrics,
		MaxAge: c.MaxEventAge, UnitRate: c.UnitRate, Waiting: h.waiting, Peers: h.joinPeers(),
		Settings:  h.settings,
		MayReport: h.mayReport,
		Roll:      roster.New(e.records), Polls: c.pollLimits(),
	})
	if err := h.enlist(ctx); err != nil {
		return nil, err
	}
	h.offers = ddi.NewOffers(roster.New(e.records).Offered, log)
	h.provision = fleet.NewProvisioning(h.fleet, e.records.Credentials(), e.records.Claims(), e.records, clk, h.ids, h.gateway)
	h.consents.OnChange(h.consentChanged)

	stored := h.counter("history_rows_total", "Messages written to history since this process started.")
	h.writer = telemetry.NewWriter(e.stream, e.history, columns{h.fleet}, telemetry.WriterConfig{
		Stored: h.updates.Stored,
		Written: func(w telemetry.Written) {
			stored.Add(float64(w.Rows))
			e.reached.History(w.Applied)
		},
	}, log)
	h.conditions = condition.NewService(condition.Config{
		Store: e.records.Condition(), Fleet: h.fleet, Consents: e.records.Consent(), History: h.read,
		Clock: clk, IDs: h.ids, Changed: func() { h.watcher.Reload() },
	})
	h.watcher = watch.New(watch.Config{
		Stream: e.stream, Store: e.records.Condition(), Fleet: h.fleet, Tx: e.records, History: e.history, Log: log,
		Frozen: h.frozen, Told: h.told, Lessons: h.read, Permitted: h.conditions.Permitted, Memory: int(c.DetectorMem),
	})
	h.wear()
	h.cohorts = cohort.NewService(cohort.Config{
		Store: e.records.Cohort(), Tx: e.records, Fleet: h.fleet, Conditions: h.conditions, History: h.read,
		Last: e.stream.Last, Clock: clk, IDs: h.ids, Log: log,
		Foreseen: h.foreseen, Restricted: func(ctx context.Context, product, purpose string) (map[int64]bool, error) {
			return h.privacy.Restricted(ctx, product, purpose)
		},
	})
	h.backtests = backtest.NewManager(backtest.Config{
		Store: trial.New(e.records), History: h.read, Fleet: h.fleet, Conditions: h.conditions, Maintenance: wear.Maintenance(e.records),
		Applied: e.history.Applied, Clock: clk, Wall: clock.Real{}, IDs: h.ids, Log: log,
	})
	h.remedies()
	if err := h.tipped(); err != nil {
		return nil, err
	}
	if h.owners, h.signIn, err = person.New(person.Deps{
		Records: e.records, Fleet: h.fleet, Access: h.access, Consents: h.consents, Campaigns: h.campaigns, Clock: clk, Wall: clock.Real{}, IDs: h.ids, Log: log,
		PublicURL: c.publicURL(), Mails: h.access.MailAvailable(), Providers: c.OIDC, OnUnits: h.unitsChanged,
	}); err != nil {
		return nil, err
	}
	if err := h.rights(); err != nil {
		return nil, err
	}
	h.data()
	if err := h.tools(ctx); err != nil {
		return nil, err
	}
	h.gauges() // read when somebody asks, long after ctx
	return h, nil
}

// people builds what concerns operators, owners and what they are told.
func (h *house) people(ctx context.Context) error {
	words, err := notify.NewWords()
	if err != nil {
		return err
	}
	h.words = words
	store := message.New(h.records)
	wall := clock.Real{}
	if err := h.delivers(ctx); err != nil {
		return err
	}
	conf := access.Config{LinkLife: linkLife, LinkUsed: h.linkUsed}
	if h.delivery.Mails {
		conf.Links = notify.NewWriter(store, words, h.clock, h.ids, h.config.publicURL())
	}
	if h.config.Dev { // a fleet's owners all live at one address here
		conf.LinksPerAddress = 1 << 20
	}
	key, err := h.config.key(person.KeyFile)
	if err != nil {
		return err
	}
	h.access = person.Access(h.records, h.ids, h.log, key, h.config.FourEyes, conf)
	h.digest = notify.NewDigest(store, h.records, words, h.clock, wall, h.ids, h.config.publicURL(), 5*time.Second)
	return nil
}

// remedies builds campaigns and their outcomes.
func (h *house) remedies() {
	h.tells = tell.New(tell.Config{
		Records: h.records, Updates: h.updates, Clock: h.clock, IDs: h.ids, Log: h.log, URL: h.config.publicURL(), Trail: h.trail, Push: h.subscriptions, Carries: h.delivery.Carries,
	})
	h.delivery.Unsubscribe = h.tells.People.Unsubscribe
	h.campaigns = campaign.NewManager(campaign.Config{
		Store: h.delivery.Campaigns(h.records.Campaign()), Fleet: h.fleet, Cohorts: h.records.Cohort(), Detectors: h.records.Condition(),
		Updates: h.updates,
		Notices: h.tells,
		Tx:      h.records, Clock: h.clock, IDs: h.ids, Log: h.log, NotifyUnit: h.gateway.Notify,
	})
	h.campaigns.SetAhead(func(product string) bool { return h.trust.Required(product) })
	h.updates.SetGate(h.campaigns.Guard)
	h.outcomes = outcome.NewManager(outcome.Config{
		Store: h.records.Outcome(), Campaigns: h.campaigns, Runs: h.records.Campaign(), Fleet: h.fleet,
		Consent: h.records.Consent(), Condition: h.records.Condition(), Tx: h.records, Clock: h.clock, Log: h.log,
		Exposures: h.watcher.Exposures,
	})
}

func (h *house) consentChanged(ctx context.Context, changes []consent.Change) error {
	h.foreseen.Wake()
	// Each waits for its mark to be durable; together they share commits.
	var g errgroup.Group
	g.SetLimit(256)
	for _, c := range changes {
		g.Go(func() error { return h.gateway.ConsentChanged(ctx, c.UnitID) })
	}
	return g.Wait()
}

// waiting reports whether a unit would be shown an update if it asked now.
func (h *house) waiting(ctx context.Context, unitID string) bool {
	w, err := h.updates.Work(ctx, unitID)
	return err == nil && w.Action != nil
}

// frozen lists the detector versions that campaigns go on verifying with.
func (h *house) frozen(ctx context.Context) ([]condition.Ref, error) {
	runs, err := h.records.Campaign().Campaigns(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []condition.Ref
	for _, r := range runs {
		if r.Detector.Name != "" && r.Open() {
			out = append(out, r.Detector)
		}
	}
	return out, nil
}

func (h *house) told(ctx context.Context, opened, cleared []condition.Finding) error {
	if err := h.digest.Findings(ctx, opened); err != nil {
		return err
	}
	return h.delivery.Findings(ctx, opened, cleared)
}

// tidy removes what a process that was killed had half made: backups and uploads.
func (c *Config) tidy() error {
	for _, pattern := range []string{"backup-*", filepath.Join("uploads", "artifact-*")} {
		left, err := filepath.Glob(c.path(pattern))
		if err != nil {
			return fmt.Errorf("tidy up: %w", err)
		}
		for _, path := range left {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("tidy up: %w", err)
			}
		}
	}
	return nil
}

// Serve runs one process until ctx ends.
func Serve(ctx context.Context, c Config, log *slog.Logger, version string) (err error) {
	heap.Bound(ctx)
	if c.Role == roleIngest {
		return ingest(ctx, c, log, version)
	}
	syscall.Umask(0o077) // what stands in the data directory is for this user alone
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	release, err := hold.Lock(c.path("lock"))
	if err != nil {
		return err
	}
	defer release()
	if err := c.tidy(); err != nil {
		return err
	}
	e, err := openEngines(ctx, &c, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	h, err := build(ctx, c, e, log, version)
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range h.closers {
			err = errors.Join(err, f())
		}
	}()
	return h.run(ctx)
}

func (h *house) run(ctx context.Context) error {
	listeners, err := h.listen(ctx)
	if err != nil {
		return err
	}
	if err := h.publish(ctx); err != nil {
		return err
	}
	if err := h.welcome(ctx); err != nil {
		return err
	}
	for _, l := range listeners {
		h.log.Info("listening", "door", l.name, "address", l.Addr().String())
	}
	var others []part
	if h.peers != nil {
		others = []part{{"peers", h.peers.Run}}
	}
	return runStages(ctx, h.log, 30*time.Second,
		h.doors(listeners),
		[]part{{"gateway", h.gateway.Run}},
		[]part{
			{"history", h.writer.Run},
			{"detectors", h.watcher.Run},
			{"maintenance", h.serviced.Run},
			{"tips", h.tips.Run},
			{"prognosis", h.foreseen.Run},
			{"cohorts", h.cohorts.Run},
			{"backtests", h.backtests.Run},
			{"deltas", h.deltas.Run},
			{"updates", h.updates.Run},
			{"campaigns", h.campaigns.Run},
			{"notices", h.tells.People.Run},
			{"ladders", h.tells.Ladder.Run},
			{"outcomes", h.outcomes.Run},
			{"offers", h.offers.Run},
			{"digest", func(ctx context.Context) error { return h.digest.Run(ctx, h.log) }},
			{"messages", h.delivery.Dispatcher.Run},
			{"consents", func(ctx context.Context) error { return h.consents.Run(ctx, h.log) }},
			{"upkeep", h.upkeep},
			{"erasures", h.privacy.Run},
			{"withdrawals", h.owned.Withdrawals.Run},
			{"exports", h.owned.Exports.Run},
			{"live", h.owned.Live.Run},
			{"disk", h.disk.Run},
			{"reached", h.reached.Run},
		},
		others,
	)
}

// listener is a door's socket.
type listener struct {
	net.Listener
	name  string
	serve func(ctx context.Context, l net.Listener) error
}

func (h *house) doors(listeners []listener) []part {
	var out []part
	for _, l := range listeners {
		out = append(out, part{l.name, func(ctx context.Context) error { return l.serve(ctx, l.Listener) }})
	}
	return out
}

// firstLink is the file that holds the first operator's link.
const firstLink = "first-operator-link"

// linkLife is how long a one-time link is good for.
const linkLife = 15 * time.Minute

// linkUsed removes the first operator's link from the disk once it is used up.
func (h *house) linkUsed(secret string) {
	path := h.config.path(firstLink)
	line, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(line)), "#"+secret) {
		return // none there, or a newer one
	}
	if err := os.Remove(path); err != nil {
		h.log.Warn("a sign-in link that was used up is still in its file", "file", path, "error", err)
	}
}

// welcome writes the first operator's link while there is no operator.
func (h *house) welcome(ctx context.Context) error {
	secret, created, err := h.access.Bootstrap(ctx)
	if err != nil {
		return fmt.Errorf("first operator: %w", err)
	}
	path := h.config.path(firstLink)
	if !created { // what stands there has been used, or is of `fettle admin reset` and still good for a while
		info, err := os.Stat(path)
		if err == nil && (clock.Real{}).Now().Sub(info.ModTime()) > linkLife {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("first operator: %w", err)
		}
		return nil
	}
	if err := hold.Secret(path, h.config.publicURL()+"/console/sign-in#"+secret); err != nil {
		return fmt.Errorf("first operator: %w", err)
	}
	h.log.Info("there is no operator yet: a sign-in link stands in a file", "file", path)
	return nil
}
