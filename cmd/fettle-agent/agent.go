package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"fettle.dev/fettle/cmd/fettle-agent/spool"
	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/install"
	"fettle.dev/fettle/unitkit/setting"
)

// agent is the program as it runs.
type agent struct {
	c        *config
	id       identity
	client   *unitkit.Client // of loop's goroutine alone; nil: no components
	updates  *install.Updater
	uplink   *uplink
	settings *setting.Keeper // nil: none
	http     *http.Client
	deltas   map[string]int // begun, by SHA-256; of loop's goroutine alone
	log      *slog.Logger
	now      func() time.Time

	woken chan struct{}
	mu    sync.Mutex
	stop  context.CancelFunc // of a download
	poll  bool               // at once
	asked time.Time          // the server answered
	why   string             // it did not, or could not be believed
}

// serve runs the agent until ctx ends.
func serve(ctx context.Context, c *config, log *slog.Logger) (err error) {
	if err := os.MkdirAll(c.State, 0o700); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	unlock, err := lock(filepath.Join(c.State, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	trust, err := c.tls()
	if err != nil {
		return err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, TLSHandshakeTimeout: 15 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true, MaxIdleConns: 4,
	}
	client := &http.Client{Transport: transport}
	a := &agent{c: c, http: client, log: log, now: time.Now, woken: make(chan struct{}, 1)} //nolint:forbidigo // the unit's own clock
	if a.updates, err = a.open(source{a}); err != nil {
		return err
	}
	if a.id, err = identify(ctx, c, client, log); err != nil {
		return err
	}
	if len(c.Components) > 0 {
		if a.client, err = a.trusting(ctx, client); err != nil {
			return err
		}
	}
	store, err := spool.Open(filepath.Join(c.State, "spool"), c.Spool.or(8<<20), a.now)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	allowed, err := loadPolicy(filepath.Join(c.State, "desired.json"))
	if err != nil {
		return err
	}
	if a.settings, err = a.keeper(); err != nil {
		return err
	}
	t := &telemetry{spool: store, policy: allowed, log: log, now: a.now}
	a.uplink = &uplink{
		t: t, id: a.id, server: c.Server, mqtt: c.MQTT, tls: trust, client: client, wake: func() { a.wake(true) }, log: log,
		settings: a.settings, settled: make(chan struct{}, 1), asked: make(chan struct{}, 1), every: min(readDesired, c.Poll.or(readDesired)),
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { a.uplink.run(ctx) })
	wg.Go(func() { t.collectAll(ctx, c.Telemetry) })
	if a.settings != nil {
		wg.Go(func() { a.keepSettings(ctx) })
	}
	failed := make(chan error, 1)
	wg.Go(func() {
		if err := a.serveControl(ctx); err != nil {
			failed <- err
			cancel()
		}
	})
	log.Info("fettle-agent runs", "unit", a.id.Unit, "version", programVersion)
	a.loop(ctx)
	cancel()
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// lock sees that one agent works on a state directory at a time.
func lock(name string) (func(), error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another fettle-agent works in %s", filepath.Dir(name)), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// open takes up updates where they were.
func (a *agent) open(from install.Source) (*install.Updater, error) {
	cfg := install.Config{
		Dir: filepath.Join(a.c.State, "update"), Source: from, Parts: a.c.parts(),
		MayBegin: a.c.mayBegin, Restart: a.c.restart, Healthy: a.c.healthy,
		Health: install.Health{
			Attempts: a.c.Health.Attempts, Passes: a.c.Health.Passes,
			Interval: time.Duration(a.c.Health.Interval), Deadline: time.Duration(a.c.Health.Deadline),
		},
		Delta: a.delta, Tell: a.tell, Now: a.now, Log: a.log,
	}
	if a.c.Restart.Machine {
		cfg.BootID = bootID
	}
	return install.Open(cfg)
}

// trusting is the client of updates, with the keys that the unit was made with.
func (a *agent) trusting(ctx context.Context, client *http.Client) (*unitkit.Client, error) {
	image, err := os.ReadFile(a.c.path(a.c.Roots.Image))
	if err != nil {
		return nil, fmt.Errorf("roots.image: %w", err)
	}
	director, err := os.ReadFile(a.c.path(a.c.Roots.Director))
	if err != nil {
		return nil, fmt.Errorf("roots.director: %w", err)
	}
	return unitkit.New(unitkit.Config{
		Server: a.c.Server, UnitID: a.id.Unit, Token: a.id.Token, Product: a.c.Product, HTTP: client,
		Dir: filepath.Join(a.c.State, "trust"), ImageRoot: image, DirectorRoot: director, Now: a.now,
		Components: func() map[string]unitkit.Component { return a.c.versions(ctx, a.updates.Journal().Versions) },
		Attributes: map[string]string{"delta": a.c.takes()},
	})
}

// source is the server, for install.
type source struct{ *agent }

var errNoClient = errors.New("the agent is starting")

func (s source) do(fn func(c *unitkit.Client) error) error {
	if s.client == nil {
		return errNoClient
	}
	return fn(s.client)
}

func (s source) Fetch(ctx context.Context, t unitkit.Target, w io.Writer, offset int64) (n int64, err error) {
	err = s.do(func(c *unitkit.Client) error { n, err = c.Fetch(ctx, t, w, offset); return err })
	return n, err
}

func (s source) Report(ctx context.Context, u *unitkit.Update, p unitkit.Progress) error {
	return s.do(func(c *unitkit.Client) error { return c.Report(ctx, u, p) })
}

func (s source) Confirm(ctx context.Context, u *unitkit.Update) error {
	return s.do(func(c *unitkit.Client) error { return c.Confirm(ctx, u) })
}

// tell tells the server what the owner said on the unit.
func (a *agent) tell(ctx context.Context, u *unitkit.Update, c install.Choice) error {
	body, err := json.Marshal(map[string]any{"action": u.Action, "choice": c.Choice, "until": c.Until, "at": c.At})
	if err != nil {
		return err
	}
	_, err = a.uplink.call(ctx, http.MethodPost, "/fettle/v1/choice", body)
	if s, ok := errors.AsType[*statusError](err); ok && s.code/100 == 4 && s.code != http.StatusUnauthorized && s.code != http.StatusTooManyRequests {
		return fmt.Errorf("%w: %w", install.ErrGone, err) // too late, or not the server's any more
	}
	return err
}

// wake makes the loop look again; poll: at the server, too.
func (a *agent) wake(poll bool) {
	if poll {
		a.uplink.ask()
	}
	a.mu.Lock()
	a.poll = a.poll || poll
	if a.stop != nil {
		a.stop()
	}
	a.mu.Unlock()
	select {
	case a.woken <- struct{}{}:
	default:
	}
}

// longest is the most that is waited without looking whether anything is to be
// done: clocks jump, and machines sleep.
const longest = time.Minute

// loop does what is to be done about updates, one thing after another.
func (a *agent) loop(ctx context.Context) {
	var next, again time.Time // of the next poll; of the next report, after one that failed
	failures := 0
	reported := false
	for ctx.Err() == nil {
		now := a.now()
		if a.polls() {
			next, again = now, now
		}
		if a.client != nil && !now.Before(again) {
			if err := a.updates.Deliver(ctx); err != nil {
				failures++
				again = now.Add(backoff(failures))
				a.problem(ctx, "the server was not told how the update goes", err)
			}
		}
		begun := a.updates.Status().State.Begun()
		if a.client != nil && !begun && !now.Before(next) && !now.Before(again) {
			err := a.look(ctx, &reported)
			if err == nil {
				failures = 0
				next = now.Add(min(a.client.Sleep(), a.c.Poll.or(time.Hour)))
			} else {
				failures++
				next = now.Add(backoff(failures))
				a.problem(ctx, "the server was not asked for updates", err)
			}
		}
		wait := a.step(ctx, next)
		if a.client != nil && !begun {
			wait = min(wait, next.Sub(a.now()))
		}
		if a.updates.Status().Unsent > 0 {
			wait = min(wait, again.Sub(a.now()))
		}
		a.sleep(ctx, min(wait, longest))
	}
}

func (a *agent) polls() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	poll := a.poll
	a.poll = false
	return poll
}

func backoff(failures int) time.Duration { return min(time.Second<<min(failures, 10), 5*time.Minute) }

// problem keeps, and logs, why the server is of no use now.
func (a *agent) problem(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	a.mu.Lock()
	a.why = err.Error()
	a.mu.Unlock()
	if attack, ok := errors.AsType[*unitkit.AttackError](err); ok {
		a.log.Error("an update is refused", "attack", attack.Attack, "role", attack.Role, "err", err)
		return
	}
	a.log.Warn(what, "err", err)
}

// look asks the server what there is to do.
func (a *agent) look(ctx context.Context, reported *bool) error {
	if !*reported { // what runs, once after each start
		if err := a.client.ReportVersions(ctx); err != nil {
			return err
		}
		*reported = true
	}
	u, err := a.client.Check(ctx)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.asked, a.why = a.now(), ""
	a.mu.Unlock()
	a.uplink.ask() // as often as the server wants to be asked for updates
	if u == nil {
		return a.updates.Nothing()
	}
	err = a.updates.Offer(ctx, *u)
	if errors.Is(err, install.ErrTooLate) {
		a.log.Info("the server wants the update stopped: it is too late", "action", u.Action)
		return nil
	}
	return err
}

// step does the next thing. A download is stopped when it is time to poll.
func (a *agent) step(ctx context.Context, next time.Time) time.Duration {
	run := ctx
	if a.updates.Status().State == install.Downloading {
		var cancel context.CancelFunc
		run, cancel = context.WithTimeout(ctx, max(next.Sub(a.now()), 10*time.Second))
		defer cancel()
		a.mu.Lock()
		a.stop = cancel
		a.mu.Unlock()
		defer func() {
			a.mu.Lock()
			a.stop = nil
			a.mu.Unlock()
		}()
	}
	wait, err := a.updates.Step(run)
	if err != nil && ctx.Err() == nil {
		a.log.Warn("update: it will be tried again", "in", wait, "err", err)
	}
	return wait
}

func (a *agent) sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-a.woken:
	case <-t.C:
	}
}

// versionsWithin is how long programs that tell versions may take together
// when a person asks: less than the command that asked waits.
const versionsWithin = 5 * time.Second

func (a *agent) status(ctx context.Context) status {
	a.mu.Lock()
	s := status{Unit: a.id.Unit, Version: programVersion, Polled: a.asked, Problem: a.why}
	a.mu.Unlock()
	s.Online = a.uplink.online.Load()
	s.Update = a.updates.Status()
	if len(a.c.Components) > 0 {
		ctx, cancel := context.WithTimeout(ctx, versionsWithin)
		defer cancel()
		s.Runs = map[string]string{}
		for name, k := range a.c.versions(ctx, a.updates.Journal().Versions) {
			s.Runs[name] = k.Version
		}
	}
	if a.settings != nil {
		s.Settings = a.settings.Status()
	}
	s.Spool.Messages, s.Spool.Bytes = a.uplink.t.spool.Waiting()
	s.Spool.Dropped = a.uplink.t.spool.Dropped()
	return s
}
