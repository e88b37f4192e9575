package drive

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/unitkit"
)

// poll asks the update server soon. It is safe to call at any time.
func (u *unit) poll() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.leaving || u.fleet.stopping.Load() {
		return
	}
	if u.polling {
		u.pollAgain = true
		return
	}
	u.polling = true
	u.fleet.polls.submit(u.doPoll)
}

// pollEvery keeps the unit polling now and then. When many wait already it
// leaves one out, so that those who were told to poll need not wait for them.
func (u *unit) pollEvery(d time.Duration) {
	if u.fleet.polls.backlog() < 200 {
		u.poll()
	}
	next := time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
	u.queue.at(u.fleet.clock.Now().Add(next), func() { u.pollEvery(d) })
}

func (u *unit) doPoll(ctx context.Context) {
	u.fleet.polled.Add(1)
	err := u.pollOnce(ctx)
	u.mu.Lock()
	u.polling = false
	again := u.pollAgain
	u.pollAgain = false
	u.mu.Unlock()
	switch {
	case err != nil && ctx.Err() == nil:
		u.fleet.note(err)
		u.queue.at(u.fleet.clock.Now().Add(u.fleet.clock.Simulated(time.Duration(300+rand.IntN(700))*time.Millisecond)), u.poll)
	case again:
		u.poll()
	}
}

func (u *unit) pollOnce(ctx context.Context) error {
	p, err := u.ddi.Poll(ctx)
	if err != nil {
		return err
	}
	now := u.fleet.clock.Now()
	if p.ConfigData != "" {
		if err := u.ddi.PutConfigData(ctx, p.ConfigData, map[string]string{"serial": u.spec.Serial}, now); err != nil {
			return err
		}
	}
	u.mu.Lock()
	busy := u.installing
	u.mu.Unlock()
	if p.Cancel != "" {
		return ignoreGone(u.ddi.CancelFeedback(ctx, p.Cancel, !busy, now))
	}
	if p.Deployment == "" || busy {
		return nil
	}
	return u.deploy(ctx, p.Deployment)
}

// deploy downloads and begins to install, as SWUpdate does.
func (u *unit) deploy(ctx context.Context, href string) error {
	dep, err := u.ddi.Deployment(ctx, href)
	if err != nil {
		return ignoreGone(err)
	}
	u.mu.Lock()
	installed, known := u.actions[dep.ID]
	if !known {
		u.actions[dep.ID] = false
	}
	u.mu.Unlock()
	now := u.fleet.clock.Now
	if installed { // the end was not heard of: say it again, install nothing
		return ignoreGone(u.ddi.Feedback(ctx, dep.ID, "closed", "success", now(), "Update was installed before."))
	}
	if err := u.ddi.Feedback(ctx, dep.ID, "proceeding", "none", now(), "Installation started."); err != nil {
		return ignoreGone(err)
	}
	if err := u.fetch(ctx, dep); err != nil {
		if _, refused := errors.AsType[*unitkit.AttackError](err); refused || errors.Is(err, client.ErrBadImage) {
			u.fleet.note(err)
			return ignoreGone(u.ddi.Feedback(ctx, dep.ID, "closed", "failure", now(), "ERROR: "+err.Error()))
		}
		return err
	}
	if err := u.ddi.Feedback(ctx, dep.ID, "proceeding", "none", now(), "All Chunks Installed."); err != nil {
		return ignoreGone(err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.installing = true
	u.body.Advance(now())
	u.body.Pause()
	takes := time.Duration((35 + 20*rand.Float64()) * float64(time.Minute))
	u.queue.at(now().Add(takes), func() { u.drain(dep.ID) })
	return nil
}

// drain waits until everything measured before the restart is acknowledged.
func (u *unit) drain(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.deploying = id
	u.closeRows()
	u.draining = true
	switch {
	case len(u.out) == 0:
		u.emptied()
	case u.turns:
		u.visitNow()
	default:
		u.flush() // or the next connection does
	}
}

// finish reports success, restarts with the new software, and tells its version.
func (u *unit) finish(ctx context.Context) {
	err := client.Patiently(ctx, func() error {
		return ignoreGone(u.ddi.Feedback(ctx, u.deploying, "closed", "success", u.fleet.clock.Now(), "Update successful."))
	})
	if err != nil {
		u.fleet.note(err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.actions[u.deploying] = true
	u.installs++
	u.fleet.installs.Add(1)
	u.body.Firmware = charger.Firmware{Version: u.fleet.options.Remedy.Version, Protects: u.fleet.options.Remedy.Protects}
	if u.kit == nil {
		u.out = append(u.out, attributes(u.body.Firmware.Version))
	} else if err := u.confirm(ctx); err != nil {
		u.fleet.note(err)
	}
	u.installing = false
	if l := u.link; l != nil && !u.turns { // the restart
		u.link = nil
		u.fleet.connected.Add(-1)
		u.unsent()
		l.conn.Drop()
		u.reconnect(0)
	}
	u.body.Resume(u.fleet.clock.Now())
	u.reportNext(u.body.Due())
	if u.turns {
		u.visitNow()
	}
}

// ignoreGone drops the refusals that say "this is over": the action was
// canceled or closed meanwhile.
func ignoreGone(err error) error {
	switch client.Code(err) {
	case http.StatusGone, http.StatusNotFound, http.StatusConflict:
		return nil
	}
	return err
}
