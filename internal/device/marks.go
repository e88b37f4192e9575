package device

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/device/payload"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// contactEvery is the clock time within which a unit's contacts are one.
const contactEvery = time.Minute

// markCost is roughly what a mark takes in the stream.
func markCost(m telemetry.Mark) int64 { return 24 + int64(len(m.Text)) }

// marksACommit bounds the marks submitted at once.
const marksACommit = 2048

// Mark puts marks into the stream, after every row submitted before and ahead
// of every row submitted later of the units they name. It returns when they
// are durable. Their time is that at which they were received here.
func (g *Gateway) Mark(ctx context.Context, marks ...telemetry.Mark) error {
	chunks := (len(marks) + marksACommit - 1) / marksACommit
	result := make(awaited, chunks)
	sent := 0
	var failed error
	for part := range slices.Chunk(marks, marksACommit) {
		var cost int64
		for _, m := range part {
			cost += markCost(m)
		}
		if failed = g.commits.full.refusal(); failed == nil { // marks are made by people, who are told
			cost, failed = g.commits.reserve(ctx, cost)
		}
		if failed == nil {
			failed = g.commits.submitMarks(part, submission{result, 0, cost})
		}
		if failed != nil {
			break
		}
		sent++
	}
	for range sent {
		select {
		case err := <-result:
			if err != nil && failed == nil {
				failed = err
			}
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, "mark the stream", ctx.Err())
		}
	}
	if failed != nil {
		return fmt.Errorf("mark the stream: %w", failed)
	}
	return nil
}

// Contact marks that a unit was heard of, at most once a minute of the clock
// and not at all while it sends data. It never waits: when too much is in
// flight the contact is dropped.
func (g *Gateway) Contact(id Identity) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	u, err := g.registry.unit(ctx, id.UnitID) // nearly always from memory
	if err != nil {
		return
	}
	at := g.cfg.Clock.Now().UnixMilli()
	last := u.times.contact.Load()
	if at-last < contactEvery.Milliseconds() || u.state != fleet.UnitActive || !u.times.contact.CompareAndSwap(last, at) {
		return
	}
	m := telemetry.Mark{Kind: telemetry.MarkContact, Unit: u.id.Key}
	cost := markCost(m)
	if !g.commits.budget.TryAcquire(cost) || g.commits.submitMarks([]telemetry.Mark{m}, submission{cost: cost}) != nil {
		u.times.contact.CompareAndSwap(at, last) // the next one counts
	}
}

// tick marks that the server is alive, now and at every interval until ctx
// ends. The mark's text is the interval on the clock, in milliseconds.
func (g *Gateway) tick(ctx context.Context) {
	interval := time.Duration(float64(g.cfg.Tick) * speed(g.cfg.Clock))
	mark := telemetry.Mark{Kind: telemetry.MarkTick, Text: strconv.FormatInt(interval.Milliseconds(), 10)}
	t := time.NewTicker(g.cfg.Tick)
	defer t.Stop()
	for {
		if err := g.Mark(ctx, mark); err != nil && ctx.Err() == nil {
			g.log.Error("the stream took no tick", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// ReportVersions takes a unit's version report. When it changes something, the
// stream is marked and the records are changed before it returns: the mark
// first, so that a crash between repeats the mark and never loses it.
func (g *Gateway) ReportVersions(ctx context.Context, id Identity, versions map[string]string) error {
	if err := payload.CheckVersions(versions); err != nil {
		return err
	}
	u, err := g.active(ctx, id.UnitID)
	if err != nil {
		return err
	}
	u.times.versions.Lock()
	defer u.times.versions.Unlock()
	if u, err = g.active(ctx, id.UnitID); err != nil { // what a report before this one changed
		return err
	}
	var marks []telemetry.Mark
	for _, component := range slices.Sorted(maps.Keys(versions)) {
		if known, ok := u.versions[component]; !ok || known != versions[component] {
			marks = append(marks, telemetry.Mark{Kind: telemetry.MarkVersion, Unit: u.id.Key, Text: component + "=" + versions[component]})
		}
	}
	if len(marks) == 0 {
		g.Contact(id) // Contact is not the caller's request: it may outlive it
		return nil
	}
	if g.cfg.MayReport != nil {
		if may, err := g.cfg.MayReport(ctx, id.UnitID); err != nil || !may {
			return err
		}
	}
	if err := g.Mark(ctx, marks...); err != nil {
		return err
	}
	if err := g.cfg.Units.SetVersions(ctx, id.UnitID, versions, g.cfg.Clock.Now()); err != nil {
		return fault.Wrap(fault.Unavailable, "keep versions", err)
	}
	g.registry.drop(id.UnitID)
	g.cfg.Peers.Shout(Change{Kind: Reported, Units: []string{id.UnitID}})
	return nil
}

// Enrolled marks that units are watched from here. Call it for units that are
// new or active again.
func (g *Gateway) Enrolled(ctx context.Context, units ...fleet.Unit) error {
	marks := make([]telemetry.Mark, 0, len(units))
	ids := make([]string, len(units))
	for i := range units {
		ids[i] = units[i].ID
		g.registry.drop(units[i].ID)
		if units[i].State == fleet.UnitActive {
			marks = append(marks, telemetry.Mark{Kind: telemetry.MarkEnrolled, Unit: units[i].Key})
		}
	}
	if err := g.tellUnits(ctx, Changed, ids); err != nil {
		return err
	}
	return g.Mark(ctx, marks...)
}

// Invalidate forgets what is cached of a unit. Call it after a change in the
// records that the methods below do not make known.
func (g *Gateway) Invalidate(unitID string) {
	g.registry.drop(unitID)
	g.cfg.Peers.Shout(Change{Kind: Changed, Units: []string{unitID}})
}

// InvalidateProduct forgets a product's declaration and all its units, and
// sends those connected what they are to do now.
func (g *Gateway) InvalidateProduct(ctx context.Context, product string) {
	g.registry.dropProduct(product)
	if err := g.cfg.Peers.Tell(ctx, Change{Kind: Declared, Product: product}); err != nil {
		g.log.Warn("other processes were not told of a product", "product", product, "error", err)
	}
	for _, id := range g.sessions.unitsOf(product) {
		g.pushDesired(ctx, id)
	}
}

// ConsentChanged applies an owner's new choice: nothing that is submitted from
// now on is kept against it, the stream is marked before anything is kept by
// it, and the unit is told.
func (g *Gateway) ConsentChanged(ctx context.Context, unitID string) error {
	err := g.cfg.Peers.Tell(ctx, Change{Kind: Held, Units: []string{unitID}})
	defer g.cfg.Peers.Shout(Change{Kind: Released, Units: []string{unitID}})
	if err != nil {
		return fmt.Errorf("apply consent: %w", err)
	}
	err = g.registry.change(ctx, unitID, func(u *unit) error {
		return g.Mark(ctx, telemetry.Mark{Kind: telemetry.MarkConsent, Unit: u.id.Key, Text: strings.Join(u.given, ",")})
	})
	g.pushDesired(ctx, unitID)
	if err != nil {
		return fmt.Errorf("apply consent: %w", err)
	}
	return nil
}

// UnitStateChanged acts on a unit that was activated, restored, revoked or
// retired: it is watched from now, or disconnected at once and watched no
// longer. A pending unit is only disconnected.
func (g *Gateway) UnitStateChanged(ctx context.Context, unitID string) error {
	g.registry.drop(unitID)
	u, err := g.registry.unit(ctx, unitID)
	if fault.KindOf(err) == fault.NotFound {
		g.sessions.revoke(unitID)
		return g.tellUnits(ctx, Ended, []string{unitID})
	}
	if err != nil {
		g.sessions.revoke(unitID)
		return fmt.Errorf("apply unit state: %w", err)
	}
	kind := Changed
	if u.state != fleet.UnitActive {
		kind = Ended
	}
	if err := g.tellUnits(ctx, kind, []string{unitID}); err != nil {
		return err
	}
	if u.state == fleet.UnitActive {
		return g.Mark(ctx, telemetry.Mark{Kind: telemetry.MarkEnrolled, Unit: u.id.Key})
	}
	g.sessions.revoke(unitID)
	if u.state == fleet.UnitPending {
		return nil
	}
	return g.Mark(ctx, telemetry.Mark{Kind: telemetry.MarkRetired, Unit: u.id.Key})
}

// Revoke disconnects a unit at once; the records say what it may do next.
func (g *Gateway) Revoke(unitID string) {
	g.registry.drop(unitID)
	g.sessions.revoke(unitID)
	ctx, cancel := context.WithTimeout(context.Background(), holdFor)
	defer cancel()
	if err := g.tellUnits(ctx, Ended, []string{unitID}); err != nil {
		g.log.Warn("other processes were not told to end connections", "unit", unitID, "error", err)
	}
}

// CredentialChanged disconnects a unit whose credential was replaced.
func (g *Gateway) CredentialChanged(unitID string) { g.Revoke(unitID) }

// Notify tells a unit, if it listens, that an update is waiting.
func (g *Gateway) Notify(unitID string) {
	for _, s := range g.sessions.of(unitID) {
		s.Notice()
	}
	g.tellSettings(unitID)
	g.cfg.Peers.Shout(Change{Kind: Noticed, Units: []string{unitID}})
}

// Waiting reports whether an update waits for a unit, as Config.Waiting knows.
func (g *Gateway) Waiting(ctx context.Context, id Identity) bool {
	return g.cfg.Waiting != nil && g.cfg.Waiting(ctx, id.UnitID)
}
