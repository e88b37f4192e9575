package drive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/sim"
	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/unitkit"
)

// Options shape the life of a fleet.
type Options struct {
	Clock  sim.Clock
	MQTT   string // host:port
	HTTP   string // scheme://host:port
	Units  []*charger.Unit
	Tokens map[string]string // by unit id
	Start  time.Time         // simulated time at which life begins
	Remedy charger.Firmware  // what an installation leaves on a unit
	// Connected is how many units may be connected at once. A fifteenth of the
	// fleet and all that go beyond it report in turn.
	Connected int
	// PollEvery is how often units poll for updates unasked.
	PollEvery time.Duration
	// Roots are the image and director roots that every VerifyOf-th unit is made
	// with: it verifies its update by unitkit. Empty: none does.
	Roots    [2][]byte
	VerifyOf int
	// VisitEvery is about how often units that report in turn connect.
	VisitEvery time.Duration
}

// inTurn is how many of the places are kept for units that report in turn.
const inTurn = 300

// Fleet is a fleet alive.
type Fleet struct {
	options Options
	clock   sim.Clock
	units   []*unit
	owners  []*owner
	byEmail map[string]*owner
	queues  []*queue
	dials   *pool
	polls   *pool
	people  *pool
	http    *http.Client

	stopped  atomic.Bool // nothing more is measured
	stopping atomic.Bool // nothing more is begun

	connected, losses, refusals, waits         atomic.Int64
	ackedMessages, ackedSamples, notices, tips atomic.Int64
	polled, installs, verified                 atomic.Int64
	mails, secondNotices, choices              atomic.Int64
	worst                                      atomic.Int64 // lag, ns simulated

	noteMu sync.Mutex
	notes  map[string]int // errors lived with, by text
}

// Stats is how the fleet is doing.
type Stats struct {
	Connected, Messages, Samples, Installs int64
	Polls, Mails, Choices, Losses, Waits   int64
	Verified                               int64 // installations whose metadata and bytes the unit verified by unitkit
	SecondNotices                          int64
	Tips                                   int64         // that came to units' displays
	Lag, WorstLag                          time.Duration // simulated: how late the newest events were, and ever were when asked
}

// New puts the units into the world.
func New(o Options) (*Fleet, error) {
	f := &Fleet{
		options: o, clock: o.Clock, byEmail: make(map[string]*owner, len(o.Units)),
		dials: newPool(), polls: newPool(), people: newPool(),
		http: client.HTTP(96), notes: make(map[string]int),
	}
	for range max(2, runtime.NumCPU()) {
		f.queues = append(f.queues, newQueue(o.Clock))
	}
	standing := min(len(o.Units)-len(o.Units)/15, o.Connected-inTurn)
	if standing < 0 {
		return nil, fmt.Errorf("at least %d connections are needed", inTurn)
	}
	for i, spec := range o.Units {
		token, ok := o.Tokens[spec.ID]
		if !ok {
			return nil, fmt.Errorf("unit %s has no token", spec.ID)
		}
		u := &unit{
			fleet: f, spec: spec, queue: f.queues[i%len(f.queues)],
			local:   net.IPv4(127, 0, byte(1+i/200%200), byte(1+i%200)),
			ddi:     &client.DDI{HTTP: f.http, Base: o.HTTP, UnitID: spec.ID, Token: token},
			turns:   i >= standing,
			body:    charger.New(spec, o.Start),
			rng:     rand.New(rand.NewPCG(uint64(i), 77)),
			actions: make(map[string]bool, 1),
			packet:  uint16(i),
		}
		u.out = append(u.out, attributes(u.body.Firmware.Version))
		if o.VerifyOf > 0 && len(o.Roots[0]) > 0 && i%o.VerifyOf == 0 {
			if err := u.trust(); err != nil {
				return nil, err
			}
		}
		f.units = append(f.units, u)
		w := &owner{fleet: f, unit: u, spec: spec}
		w.browser.HTTP, w.browser.Base = f.http, o.HTTP
		f.owners = append(f.owners, w)
		f.byEmail[spec.Email] = w
	}
	return f, nil
}

// Run lives until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, q := range f.queues {
		wg.Go(func() { q.run(ctx) })
	}
	wg.Go(func() { f.dials.run(ctx, inTurn) })
	wg.Go(func() { f.polls.run(ctx, 24) })
	wg.Go(func() { f.people.run(ctx, 16) })
	for _, u := range f.units {
		u.begin()
	}
	wg.Wait()
	f.stopping.Store(true)
	for _, u := range f.units {
		u.mu.Lock()
		if u.link != nil {
			u.link.conn.Drop()
			u.link = nil
		}
		u.mu.Unlock()
	}
	f.http.CloseIdleConnections()
}

func (u *unit) begin() {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.fleet
	if u.turns {
		u.visitIn(time.Duration(rand.Float64() * float64(f.options.VisitEvery/2)))
	} else {
		u.connecting = true
		f.dials.submit(u.connect)
	}
	u.reportNext(u.body.Due())
	first := time.Duration(rand.Float64() * float64(f.options.PollEvery))
	u.queue.at(f.options.Start.Add(first), func() { u.pollEvery(f.options.PollEvery) })
	if u.spec.Leaves > 0 {
		u.queue.at(f.options.Start.Add(u.spec.Leaves), u.leave)
	}
}

// leave takes the unit off the network for good, once what it measured is acknowledged.
func (u *unit) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.installing || u.installs > 0 {
		return // it left too late to matter
	}
	u.leaving = true
	u.closeRows()
	if len(u.out) == 0 {
		u.emptied()
	}
}

// Quiesce stops measuring and waits until all that was measured is
// acknowledged; it reports how many units were not done when ctx ended.
func (f *Fleet) Quiesce(ctx context.Context) (left int) {
	f.stopped.Store(true)
	for _, u := range f.units {
		u.mu.Lock()
		u.closeRows()
		if u.turns && len(u.out) > 0 {
			u.visitIn(0)
		}
		u.mu.Unlock()
	}
	for {
		left = 0
		for _, u := range f.units {
			u.mu.Lock()
			if len(u.out) > 0 {
				left++
			}
			u.mu.Unlock()
		}
		if left == 0 || ctx.Err() != nil {
			return left
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Start is the simulated time at which life began.
func (f *Fleet) Start() time.Time { return f.options.Start }

// Stats tells how the fleet is doing.
func (f *Fleet) Stats() Stats {
	s := Stats{
		Connected: f.connected.Load(), Messages: f.ackedMessages.Load(), Samples: f.ackedSamples.Load(),
		Installs: f.installs.Load(), Polls: f.polled.Load(), Mails: f.mails.Load(), Choices: f.choices.Load(),
		Losses: f.losses.Load(), Waits: f.waits.Load(), SecondNotices: f.secondNotices.Load(), Tips: f.tips.Load(),
		Verified: f.verified.Load(),
	}
	for _, q := range f.queues {
		lag := time.Duration(q.lag.Load())
		f.worst.Store(max(f.worst.Load(), int64(lag)))
		s.Lag = max(s.Lag, lag)
	}
	s.WorstLag = time.Duration(f.worst.Load())
	return s
}

// note remembers an error that the simulated party lived with.
func (f *Fleet) note(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	text := "server not reached"
	if s, ok := errors.AsType[*client.StatusError](err); ok {
		text = fmt.Sprintf("%s %d %s", s.Method, s.Code, s.Body)
	} else if a, ok := errors.AsType[*unitkit.AttackError](err); ok {
		text = a.Error()
	} else if errors.Is(err, errOrder) {
		text = err.Error()
	}
	f.noteMu.Lock()
	defer f.noteMu.Unlock()
	if len(f.notes) < 50 {
		f.notes[text]++
	}
}

// Notes are the errors that simulated parties lived with, counted.
func (f *Fleet) Notes() map[string]int {
	f.noteMu.Lock()
	defer f.noteMu.Unlock()
	return maps.Clone(f.notes)
}
