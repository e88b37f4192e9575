package check

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"fettle.dev/fettle/sim/mqttc"
)

// Unit is one simulated unit: who it is and by which door it comes.
type Unit struct {
	ID, Token string
	Silent    bool // its owner gave no consent
	HTTP      bool // it posts; else it publishes at QoS 1
}

// sent is a message on its way.
type sent struct {
	n     int
	again bool // the second sending of a message that is sent twice
}

// driver sends one unit's messages and keeps what it saw. What it keeps does
// not grow with what it has sent.
type driver struct {
	Unit
	script
	fleet *Fleet

	mu     sync.Mutex
	made   int             // messages begun
	behind bool            // the last message made is to be sent once more
	next   uint16          // packet id
	open   map[uint16]sent // sent and not acknowledged, by packet id
	order  []uint16        // of open, oldest first

	first counts // of messages acknowledged, each once
	least counts // of copies acknowledged: the server has counted these
	most  counts // of copies sent: it has counted no more
	acked int    // copies
	wake  chan struct{}
}

const window = 32

// take begins the next message, or gives false when none shall be sent now.
func (d *driver) take(more bool) (sent, bool) {
	switch {
	case d.behind:
		d.behind = false
		return sent{d.made - 1, true}, true
	case !more || d.made >= d.fleet.options.Most:
		return sent{}, false
	}
	d.made++
	d.behind = d.kind(d.made-1) == twice
	return sent{n: d.made - 1}, true
}

// saw notes an acknowledgement.
func (d *driver) saw(s sent) {
	c := d.counts(s.n)
	if !s.again {
		d.first.add(c)
	}
	d.least.add(c)
	d.acked++
}

// Acked is part of mqttc.Handler.
func (d *driver) Acked(id uint16) {
	d.mu.Lock()
	if s, ok := d.open[id]; ok {
		d.saw(s)
		delete(d.open, id)
		d.order = slices.DeleteFunc(d.order, func(o uint16) bool { return o == id })
	}
	d.mu.Unlock()
	d.rouse()
}

// Message is part of mqttc.Handler.
func (d *driver) Message(string, []byte) {}

// Closed is part of mqttc.Handler.
func (d *driver) Closed(error) { d.rouse() }

func (d *driver) rouse() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func pause(ctx context.Context, t time.Duration) {
	if t <= 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(t):
	}
}

const (
	topicTelemetry = "fettle/v1/telemetry"
	topicEvents    = "fettle/v1/events"

	again = 50 * time.Millisecond // after a refusal
)

// run sends until ctx ends or nothing is left to send and to be acknowledged.
func (d *driver) run(ctx context.Context) {
	if d.HTTP {
		d.post(ctx)
		return
	}
	for ctx.Err() == nil {
		o := mqttc.Options{Addr: d.fleet.options.MQTT, UnitID: d.ID, Token: d.Token, KeepAlive: 30, Timeout: 5 * time.Second}
		conn, err := mqttc.Dial(ctx, o, d)
		if err != nil {
			pause(ctx, again)
			continue
		}
		if d.publish(ctx, conn) {
			conn.Close()
			return
		}
		conn.Drop()
	}
}

// publish uses one connection; it says whether everything is done.
func (d *driver) publish(ctx context.Context, conn *mqttc.Conn) (done bool) {
	d.mu.Lock()
	var packets []byte
	for _, id := range d.order { // what was not acknowledged, in order
		packets = d.packet(packets, id, true)
	}
	d.mu.Unlock()
	if len(packets) > 0 && conn.Write(packets) != nil {
		return false
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-conn.Done():
			return false
		default:
		}
		d.mu.Lock()
		var p []byte
		s, some := sent{}, false
		if len(d.open) < window {
			s, some = d.take(!d.fleet.quieted())
		}
		if some {
			for d.next++; d.next == 0 || d.open[d.next] != (sent{}); d.next++ {
			}
			d.open[d.next] = s
			d.order = append(d.order, d.next)
			p = d.packet(nil, d.next, false)
		}
		done := !some && len(d.open) == 0
		d.mu.Unlock()
		switch {
		case done:
			return true
		case some:
			if conn.Write(p) != nil {
				return false
			}
			pause(ctx, d.fleet.options.Every)
		default:
			select {
			case <-ctx.Done():
			case <-conn.Done():
			case <-d.wake:
			case <-time.After(100 * time.Millisecond): // the fleet may have been quieted
			}
		}
	}
}

// packet appends an open message and counts the copy. d.mu is held.
func (d *driver) packet(b []byte, id uint16, dup bool) []byte {
	n := d.open[id].n
	d.most.add(d.counts(n))
	topic := topicTelemetry
	if d.kind(n) == event {
		topic = topicEvents
	}
	return mqttc.AppendPublish(b, topic, id, dup, d.payload(nil, n))
}

// batch is how many messages a unit posts at once.
const batch = 20

// post sends by HTTPS, what is refused again until it is taken.
func (d *driver) post(ctx context.Context) {
	var waiting []sent
	for ctx.Err() == nil {
		d.mu.Lock()
		for len(waiting) < batch {
			s, ok := d.take(!d.fleet.quieted())
			if !ok {
				break
			}
			waiting = append(waiting, s)
		}
		d.mu.Unlock()
		if len(waiting) == 0 {
			return
		}
		if !d.posted(ctx, waiting) {
			pause(ctx, again)
			continue
		}
		d.mu.Lock()
		for _, s := range waiting {
			d.saw(s)
		}
		d.mu.Unlock()
		waiting = waiting[:0]
		pause(ctx, batch*d.fleet.options.Every)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, s := range waiting {
		d.open[uint16(i+1)] = s
	}
}

// posted posts messages, those that are events by themselves.
func (d *driver) posted(ctx context.Context, messages []sent) bool {
	for _, events := range []bool{false, true} {
		body := []byte{'['}
		for _, s := range messages {
			if (d.kind(s.n) == event) != events {
				continue
			}
			if len(body) > 1 {
				body = append(body, ',')
			}
			body = d.payload(body, s.n)
			d.mu.Lock()
			d.most.add(d.counts(s.n))
			d.mu.Unlock()
		}
		topic := topicTelemetry
		if events {
			topic = topicEvents
		}
		if len(body) > 1 && !d.postedTo(ctx, topic, append(body, ']')) {
			return false
		}
	}
	return true
}

func (d *driver) postedTo(ctx context.Context, topic string, body []byte) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.fleet.options.HTTP+"/"+topic, bytes.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth(d.ID, d.Token)
	res, err := d.fleet.client.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return false
	case res.StatusCode == http.StatusOK:
		return true
	case res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusTooManyRequests:
	default:
		d.fleet.note(fmt.Errorf("%s: an answer that a unit does not expect: %d %s", d.ID, res.StatusCode, answer))
	}
	return false
}
