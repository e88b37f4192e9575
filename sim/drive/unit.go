package drive

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/mqttc"
	"fettle.dev/fettle/unitkit"
)

const (
	topicTelemetry  = "fettle/v1/telemetry"
	topicAttributes = "fettle/v1/attributes"
	topicDesired    = "fettle/v1/desired"
	topicNotice     = "fettle/v1/notice"
	topicTips       = "fettle/v1/tips"

	window     = 16 // messages in flight a connection
	mostQueued = 64 // messages waiting a unit, before it waits with measuring
	mostRows   = 40 // rows a message, of units that report in turn
)

// unit is one charger with its radio. Its lock is held for moments only.
type unit struct {
	fleet *Fleet
	spec  *charger.Unit
	queue *queue
	local net.IP
	ddi   *client.DDI
	kit   *unitkit.Client // nil: believes the server, as stock clients do
	turns bool            // connects, reports, polls and leaves in turn

	mu       sync.Mutex
	body     *charger.Charger
	rng      *rand.Rand
	link     *link // present connection
	out      []*message
	written  int // the first of out, written on the present connection
	packet   uint16
	sequence int64
	rows     []byte // of a unit that reports in turn
	rowCount int
	rowSum   Account
	rowSince int64
	reportAt int64           // the event that is due next; others are stale
	collect  map[string]bool // nil: everything
	buf      []byte

	leaving    bool
	gone       bool
	connecting bool
	visiting   bool
	visitPlan  int // the plan that counts; older ones are stale
	polling    bool
	pollAgain  bool
	installing bool
	deploying  string // id of the deployment being installed
	draining   bool   // installed: waits until everything measured before is acknowledged

	acked     Account         // acknowledged by PUBACK
	uncertain Account         // written on a connection that was lost: the server may have it twice
	ordered   *unitkit.Update // verified, being installed
	installs  int
	actions   map[string]bool // ids of deployments, true when installed
}

// link is one connection of a unit; what a lost one still says is ignored.
type link struct {
	u    *unit
	conn *mqttc.Conn
}

// reportNext makes t the time of the next report. The caller holds the lock.
func (u *unit) reportNext(t time.Time) {
	u.reportAt = t.UnixNano()
	u.queue.push(event{at: u.reportAt, u: u})
}

// report is called by the queue when the unit is due.
func (u *unit) report(due int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if due != u.reportAt || u.leaving || u.installing || u.fleet.stopped.Load() {
		return
	}
	if len(u.out) >= mostQueued {
		u.fleet.waits.Add(1)
		u.reportNext(u.fleet.clock.Now().Add(u.fleet.clock.Simulated(20 * time.Millisecond)))
		return
	}
	r := u.body.Report()
	u.reportNext(u.body.Due())
	if u.turns {
		if u.rowCount > 0 {
			u.rows = append(u.rows, ',')
		} else {
			u.rowSince = r.At.UnixMilli()
		}
		var a Account
		u.rows, a = u.row(u.rows, r)
		u.rowSum.Add(a)
		if u.rowCount++; u.rowCount >= mostRows {
			u.closeRows()
		}
		return
	}
	payload, account := u.row(make([]byte, 0, 176), r)
	m := &message{topic: topicTelemetry, payload: payload, account: account, since: r.At.UnixMilli()}
	u.out = append(u.out, m)
	if u.rng.Float64() < shareRepeated {
		u.out = append(u.out, &message{topic: m.topic, payload: m.payload, account: m.account.repeated(), since: m.since})
	}
	u.flush()
}

// closeRows makes a message of the rows collected.
func (u *unit) closeRows() {
	if u.rowCount == 0 {
		return
	}
	payload := make([]byte, 0, len(u.rows)+2)
	payload = append(payload, '[')
	payload = append(payload, u.rows...)
	payload = append(payload, ']')
	u.out = append(u.out, &message{topic: topicTelemetry, payload: payload, account: u.rowSum, since: u.rowSince})
	u.rows, u.rowCount, u.rowSum = u.rows[:0], 0, Account{}
}

// flush writes what the window allows.
func (u *unit) flush() {
	if u.link == nil || u.written >= len(u.out) || u.written >= window {
		return
	}
	u.buf = u.buf[:0]
	for u.written < len(u.out) && u.written < window {
		m := u.out[u.written]
		u.written++
		if u.packet++; u.packet == 0xffff {
			u.packet = 1
		}
		m.id = u.packet
		u.buf = mqttc.AppendPublish(u.buf, m.topic, m.id, m.again, m.payload)
	}
	if err := u.link.conn.Write(u.buf); err != nil {
		u.link.conn.Drop() // the reader would tell, but Drop silences it
		u.lost()
	}
	if cap(u.buf) > 4096 {
		u.buf = nil
	}
}

// Acked takes the acknowledgement of one message.
func (l *link) Acked(id uint16) {
	u := l.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.link != l {
		return
	}
	for i := range u.written {
		m := u.out[i]
		if m.id != id {
			continue
		}
		u.acked.Add(m.account)
		u.fleet.ackedSamples.Add(m.account.Acknowledged)
		u.fleet.ackedMessages.Add(1)
		copy(u.out[i:], u.out[i+1:])
		u.out[len(u.out)-1] = nil
		u.out = u.out[:len(u.out)-1]
		u.written--
		break
	}
	if len(u.out) == 0 {
		u.emptied()
		return
	}
	u.flush()
}

// emptied acts on the moment when everything measured is acknowledged.
func (u *unit) emptied() {
	switch {
	case u.rowCount > 0:
	case u.leaving:
		u.gone = true
		if l := u.link; l != nil && !u.turns {
			u.link = nil
			u.fleet.connected.Add(-1)
			go l.conn.Close()
		}
	case u.draining:
		u.draining = false
		u.fleet.polls.ahead(u.finish)
	}
}

// Message takes what the server pushes.
func (l *link) Message(topic string, payload []byte) {
	u := l.u
	switch topic {
	case topicDesired:
		var in struct {
			Collect []string `json:"collect"`
		}
		if json.Unmarshal(payload, &in) != nil || in.Collect == nil || !u.spec.Obeys {
			return
		}
		collect := make(map[string]bool, len(in.Collect))
		for _, s := range in.Collect {
			collect[s] = true
		}
		u.mu.Lock()
		u.collect = collect
		u.mu.Unlock()
	case topicNotice:
		var in struct {
			Poll bool `json:"poll"`
		}
		if json.Unmarshal(payload, &in) == nil && in.Poll {
			u.fleet.notices.Add(1)
			u.poll()
		}
	case topicTips: // for the display; an empty list clears it
		var in struct {
			Tips []struct {
				ID string `json:"id"`
			} `json:"tips"`
		}
		if json.Unmarshal(payload, &in) == nil && len(in.Tips) > 0 {
			u.fleet.tips.Add(int64(len(in.Tips)))
		}
	}
}

// Closed takes the loss of the connection.
func (l *link) Closed(error) {
	u := l.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.link == l {
		u.lost()
	}
}

// lost forgets the connection: what is not acknowledged will be written again.
func (u *unit) lost() {
	u.link = nil
	u.fleet.connected.Add(-1)
	u.fleet.losses.Add(1)
	u.unsent()
	if !u.turns {
		u.reconnect(time.Duration(50+rand.IntN(400)) * time.Millisecond)
	}
}

func (u *unit) unsent() {
	for _, m := range u.out[:u.written] {
		m.again = true
		u.uncertain.Add(m.account)
	}
	u.written = 0
}

// reconnect dials after a real pause. The caller holds the lock.
func (u *unit) reconnect(after time.Duration) {
	if u.gone || u.connecting || u.fleet.stopping.Load() {
		return
	}
	u.connecting = true
	u.queue.at(u.fleet.clock.Now().Add(u.fleet.clock.Simulated(after)), func() { u.fleet.dials.submit(u.connect) })
}

// dial connects and subscribes.
func (u *unit) dial(ctx context.Context) (*link, error) {
	l := &link{u: u}
	ready := make(chan struct{})
	conn, err := mqttc.Dial(ctx, mqttc.Options{Addr: u.fleet.options.MQTT, Local: u.local, UnitID: u.spec.ID, Token: u.ddi.Token, KeepAlive: 1200}, held{ready, l})
	if err != nil {
		return nil, err
	}
	l.conn = conn
	close(ready)
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := conn.Subscribe(ctx, topicDesired, topicNotice, topicTips); err != nil {
		conn.Drop()
		return nil, err
	}
	return l, nil
}

// held lets the reader wait until the link knows its connection.
type held struct {
	ready chan struct{}
	*link
}

// Closed waits for the link to be complete.
func (h held) Closed(err error) {
	<-h.ready
	h.link.Closed(err)
}

// connect makes the standing connection of a unit that stays connected.
func (u *unit) connect(ctx context.Context) {
	l, err := u.dial(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.connecting = false
	if err != nil {
		u.fleet.refusals.Add(1)
		u.reconnect(time.Duration(200+rand.IntN(600)) * time.Millisecond)
		return
	}
	select {
	case <-l.conn.Done():
		u.reconnect(time.Duration(100+rand.IntN(300)) * time.Millisecond)
		return
	default:
	}
	u.link = l
	u.fleet.connected.Add(1)
	u.flush()
}

// visit is one turn of a unit that does not stay connected: connect, send
// everything, take what the server has to say, leave.
func (u *unit) visit(ctx context.Context) {
	u.mu.Lock()
	if u.visiting || u.gone {
		u.mu.Unlock()
		return
	}
	u.visiting = true
	u.closeRows()
	u.mu.Unlock()
	ok := u.stay(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.visiting = false
	if u.link != nil {
		l := u.link
		u.link = nil
		u.fleet.connected.Add(-1)
		u.unsent()
		l.conn.Close()
	}
	switch {
	case u.gone || u.fleet.stopping.Load():
	case !ok:
		u.fleet.refusals.Add(1)
		u.visitIn(u.fleet.clock.Simulated(time.Duration(200+rand.IntN(600)) * time.Millisecond))
	case len(u.out) > 0: // measured during the visit, and something waits for it
		u.visitIn(0)
	default:
		u.visitIn(time.Duration((0.8 + 0.4*rand.Float64()) * float64(u.fleet.options.VisitEvery)))
	}
}

// visitIn plans the next visit in place of the one planned. The caller holds
// the lock.
func (u *unit) visitIn(d time.Duration) { u.planVisit(d, u.fleet.dials.submit) }

// visitNow is visitIn at once and ahead of others, for an installation.
func (u *unit) visitNow() { u.planVisit(0, u.fleet.dials.ahead) }

func (u *unit) planVisit(d time.Duration, submit func(func(context.Context))) {
	u.visitPlan++
	plan := u.visitPlan
	u.queue.at(u.fleet.clock.Now().Add(d), func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if plan == u.visitPlan {
			submit(u.visit)
		}
	})
}

// stay is the part of a visit while connected; it says whether all went well.
func (u *unit) stay(ctx context.Context) bool {
	l, err := u.dial(ctx)
	if err != nil {
		return false
	}
	u.mu.Lock()
	select {
	case <-l.conn.Done():
		u.mu.Unlock()
		return false
	default:
	}
	u.link = l
	u.fleet.connected.Add(1)
	u.flush()
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for heard := false; ; {
		u.mu.Lock()
		u.flush() // what came since, as the version after a restart
		left := len(u.out)
		u.mu.Unlock()
		switch {
		case left == 0 && heard:
			return true
		case left == 0: // the answer comes after what the server had to say
			if err := l.conn.Ping(ctx); err != nil {
				return false
			}
			heard = true
			continue
		}
		select {
		case <-l.conn.Done():
			return false
		case <-ctx.Done():
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
}
