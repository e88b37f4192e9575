package mqtt

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device"
)

// slot is the answer to one PUBLISH. Answers go out in the order in which the
// messages came, so one that is ready waits for those before it.
type slot struct {
	id     uint16
	kind   byte // typePuback, typePubrec, or 0 where none is due
	reason byte
	wait   byte // events until it is ready: the commit, and for MQTT 5 the verdict
	why    string
}

// conn is one connection. Its reader is its only lasting goroutine; a writer
// lives while there is something to write.
type conn struct {
	srv    *Server
	socket net.Conn
	nc     net.Conn // socket, or TLS over it
	r      *bufio.Reader
	ctx    context.Context //nolint:containedctx // ends with the connection, which is what Submit must wait no longer than
	cancel context.CancelFunc
	ended  atomic.Bool // nothing more is read

	// Set by the CONNECT, before the session is known to anyone else.
	v5        bool
	id        device.Identity
	keepAlive time.Duration
	maxPacket int
	quiet     bool

	outcomes   []device.Outcome // the reader's
	unreleased identifiers      // the reader's

	mu      sync.Mutex
	changed *sync.Cond // slots, ended
	out     []byte     // not yet given to the writer
	spare   []byte
	writing bool
	last    bool // close when everything is written
	flush   bool // Flush is due
	joined  bool
	desired bool // subscribed
	notice  bool // subscribed
	slots   []slot
	first   uint64 // tag of slots[0]
}

// Limits of one connection.
const (
	readerSize  = 2048     // packets up to this are read in place
	maxOut      = 64 << 10 // bytes that may wait for a client that does not read
	maxSpare    = 4 << 10
	maxHeader   = 5
	bodyTimeout = 30 * time.Second // for the rest of a packet that has begun
)

func deadline(d time.Duration) time.Time { return clock.Real{}.Now().Add(d) }

func newConn(ctx context.Context, srv *Server, socket, nc net.Conn) *conn {
	c := &conn{srv: srv, socket: socket, nc: nc, r: bufio.NewReaderSize(nc, readerSize)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.changed = sync.NewCond(&c.mu)
	return c
}

// serve runs a connection to its end.
func (c *conn) serve() {
	defer c.cancel()
	defer func() {
		if p := recover(); p != nil {
			c.srv.log.Error("a connection was ended by a panic", "unit", c.id.UnitID, "panic", p, "stack", string(debug.Stack()))
			c.abort()
		}
	}()
	err := c.handshake()
	if err == nil {
		defer c.srv.gateway.Leave(c.id, c)
		gauge := c.srv.gateway.Connections("mqtt")
		gauge.Inc()
		defer gauge.Dec()
		err = c.read()
	}
	c.finish(err)
}

// finish says goodbye where that is due, and waits until it is written.
func (c *conn) finish(err error) {
	var v *violation
	draining := c.srv.draining.Load() && !c.kicked()
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case draining && c.joined: // what was taken is still answered
		c.await(func() bool { return len(c.slots) == 0 || c.last })
		c.goodbye(reasonShutdown)
	case errors.As(err, &v):
		c.srv.log.Info("a connection was ended", "unit", c.id.UnitID, "from", c.nc.RemoteAddr().String(), "why", v.text)
		c.goodbye(v.reason)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.joined && !c.last:
		c.goodbye(reasonKeepAlive)
	}
	c.last = true
	c.startWriter()
	c.await(func() bool { return !c.writing })
	c.mu.Unlock()
	_ = c.nc.Close() // it may be closed already; over TLS it may wait for the client
	c.mu.Lock()
}

// await waits, with mu held, until done, a change at a time.
func (c *conn) await(done func() bool) {
	for !done() {
		c.changed.Wait()
	}
}

func (c *conn) kicked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// goodbye queues a DISCONNECT, which only MQTT 5 servers send. With mu held.
func (c *conn) goodbye(reason byte) {
	if c.v5 && c.joined && !c.last {
		c.out = appendDisconnect(c.out, reason)
	}
	c.end()
}

// end stops reading and closes once everything is written. With mu held.
func (c *conn) end() {
	c.last = true
	c.ended.Store(true)
	c.cancel()
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the reader; a connection that is closed needs no waking
	c.changed.Broadcast()
	c.startWriter()
}

// abort closes without a word.
func (c *conn) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
}

// drop forgets what is not written and closes the socket under whoever is
// stuck in it; a TLS goodbye could wait for the client. With mu held.
func (c *conn) drop() {
	c.out = nil
	c.end()
	_ = c.socket.Close() // it may be closed already
}

// startWriter starts a writer if there is something to write and none runs.
// With mu held.
func (c *conn) startWriter() {
	if !c.writing && len(c.out) > 0 {
		c.writing = true
		go c.write()
	}
}

func (c *conn) write() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) > 0 {
		b := c.out
		c.out, c.spare = c.spare, nil
		c.mu.Unlock()
		_ = c.nc.SetWriteDeadline(deadline(c.srv.cfg.WriteTimeout)) // the write tells
		_, err := c.nc.Write(b)
		c.mu.Lock()
		if cap(b) <= maxSpare {
			c.spare = b[:0]
		}
		if err != nil {
			c.out = nil
			c.end()
			break
		}
	}
	c.writing = false
	c.changed.Broadcast()
}

// send queues bytes and sees to it that they go out. With mu held.
func (c *conn) send(add func([]byte) []byte) {
	if c.last {
		return
	}
	c.out = add(c.out)
	if len(c.out) > maxOut {
		c.srv.log.Info("a client that does not read was disconnected", "unit", c.id.UnitID)
		c.drop()
		return
	}
	c.startWriter()
}

// packet reads the next packet: it may begin within idle (0: at any time) and
// must be whole within rest. The body is valid until free is called.
func (c *conn) packet(limit int, idle, rest time.Duration) (h header, body []byte, free func(), err error) {
	free = func() {}
	if c.r.Buffered() < maxHeader { // else the header is read without waiting
		var at time.Time // none
		if idle > 0 {
			at = deadline(idle)
		}
		if err := c.nc.SetReadDeadline(at); err != nil {
			return h, nil, free, err
		}
	}
	if c.ended.Load() { // after the deadline is set: whoever ends us sets one after
		return h, nil, free, io.EOF
	}
	if h, err = readHeader(c.r, limit); err != nil {
		return h, nil, free, err
	}
	if h.length > c.r.Buffered() {
		if err := c.nc.SetReadDeadline(deadline(rest)); err != nil {
			return h, nil, free, err
		}
		if c.ended.Load() {
			return h, nil, free, io.EOF
		}
	}
	if h.length <= readerSize {
		body, err = c.r.Peek(h.length)
		return h, body, func() { _, _ = c.r.Discard(h.length) }, err // what was peeked can be discarded
	}
	large := largeBodies.Get().(*[]byte)
	if cap(*large) < h.length {
		*large = make([]byte, h.length)
	}
	body = (*large)[:h.length]
	_, err = io.ReadFull(c.r, body)
	return h, body, func() { largeBodies.Put(large) }, err
}

var largeBodies = sync.Pool{New: func() any { return new([]byte) }}

// read handles packets until the connection ends.
func (c *conn) read() error {
	for {
		h, body, free, err := c.packet(c.srv.cfg.MaxPacket, c.keepAlive, bodyTimeout)
		if err == nil {
			err = c.handle(h, body)
			free()
		}
		if err != nil {
			return err
		}
	}
}

// reserve makes a slot for the answer to a message and gives its tag. It waits
// while the window is full: nothing more is read from the socket.
func (c *conn) reserve(s slot) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.await(func() bool { return len(c.slots) < c.srv.cfg.Window || c.ended.Load() })
	if c.ended.Load() {
		return 0, io.EOF
	}
	c.slots = append(c.slots, s)
	return c.first + uint64(len(c.slots)) - 1, nil
}

// answer fills a slot and sends what is ready in order.
func (c *conn) answer(tag uint64, reason byte, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := tag - c.first; at < uint64(len(c.slots)) { // else the connection has failed
		c.slots[at].reason, c.slots[at].why = reason, why
		c.ready(tag)
		c.startWriter()
	}
}

// ready takes note that one event of a slot has come, and queues the answers
// that are due. With mu held.
func (c *conn) ready(tag uint64) {
	at := tag - c.first
	if at >= uint64(len(c.slots)) {
		return // the connection has failed
	}
	c.slots[at].wait--
	n := 0
	for n < len(c.slots) && c.slots[n].wait == 0 {
		if s := &c.slots[n]; s.kind != 0 && !c.last {
			c.out = appendAck(c.out, s.kind, s.id, c.v5, s.reason, s.why)
		}
		n++
	}
	if n > 0 {
		c.first += uint64(n)
		c.slots = append(c.slots[:0], c.slots[n:]...)
		c.changed.Broadcast()
	}
}

// Committed implements device.Receipt. A message that could not be stored is
// never acknowledged: the connection ends.
func (c *conn) Committed(tag uint64, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.slots = nil
		c.goodbye(reasonBusy)
		return false
	}
	c.ready(tag)
	first := !c.flush
	c.flush = true
	return first
}

// Flush implements device.Receipt: one write for all answers of a commit.
func (c *conn) Flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush = false
	if len(c.out) > maxOut {
		c.drop()
		return
	}
	c.startWriter()
}

// Desired implements device.Session.
func (c *conn) Desired(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.desired {
		c.push(TopicDesired, payload)
	}
}

// Notice implements device.Session.
func (c *conn) Notice() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notice {
		c.push(TopicNotice, []byte(`{"poll":true}`))
	}
}

// push sends a message, unless it is larger than the client takes. With mu held.
func (c *conn) push(topic string, payload []byte) {
	if c.maxPacket > 0 && len(topic)+len(payload)+8 > c.maxPacket {
		return
	}
	c.send(func(b []byte) []byte { return appendPublish(b, topic, payload, c.v5) })
}

// Kick implements device.Session.
func (c *conn) Kick(why device.Why) {
	reason := byte(reasonAdministrative)
	switch why {
	case device.Revoked:
	case device.TakenOver:
		reason = reasonTakenOver
	case device.Crowded:
		reason = reasonQuota
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.goodbye(reason)
	if c.writing { // a client that does not read must not hold its session open
		_ = c.nc.SetWriteDeadline(deadline(time.Second))
	}
}
