package mqtt

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
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
	with   int  // so many slots up to this one are committed together
	why    string
}

// conn is one connection. Its reader is its only lasting goroutine; a writer
// lives while there is something to write.
type conn struct {
	srv    *Server
	socket net.Conn
	nc     net.Conn // socket, or TLS over it
	in     input
	burst  *burst // the reader's
	holds  bool   // one of the server's hands; the reader's

	tryWrite func(fd uintptr) bool
	ctx      context.Context // ends with the connection, which is what Submit must wait no longer than
	cancel   context.CancelFunc
	ended    atomic.Bool // nothing more is read

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
	wrote   int  // by the last tryWrite
	last    bool // close when everything is written
	flush   bool // Flush is due
	joined  bool
	desired bool // subscribed
	notice  bool // subscribed
	tips    bool // subscribed
	slots   []slot
	first   uint64 // tag of slots[0]
}

// Limits of one connection.
const (
	maxOut      = 64 << 10 // bytes that may wait for a client that does not read
	maxSpare    = 512
	bodyTimeout = 30 * time.Second // for the rest of a packet that has begun
)

func deadline(d time.Duration) time.Time { return clock.Real{}.Now().Add(d) }

func newConn(ctx context.Context, srv *Server, socket, nc net.Conn) *conn {
	c := &conn{srv: srv, socket: socket, nc: nc}
	c.in.open(nc)
	c.tryWrite = c.give
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.changed = sync.NewCond(&c.mu)
	return c
}

// serve runs a connection to its end.
func (c *conn) serve() {
	defer c.cancel()
	defer c.Yield()
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
		c.Yield()
		if c.srv.cfg.Tips != nil {
			c.srv.cfg.Tips.Leave(c.id.UnitID, c)
		}
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
	if !c.last { // else a later writeNow would be too late
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
	c.writing = false
	c.changed.Broadcast()
}

// writeNow gives the socket what it takes without waiting: nearly always all
// of it. With mu held.
func (c *conn) writeNow() {
	if c.writing || c.in.raw == nil || len(c.out) == 0 {
		return
	}
	c.wrote = 0
	_ = c.in.raw.Write(c.tryWrite) // an error shows when a writer writes the rest
	if c.out = c.out[:copy(c.out, c.out[c.wrote:])]; len(c.out) == 0 && cap(c.out) > maxSpare {
		c.out = nil
	}
}

// give is called by the runtime for writeNow.
func (c *conn) give(fd uintptr) bool {
	c.wrote, _ = syscall.Write(int(fd), c.out) // as there
	c.wrote = max(c.wrote, 0)
	return true
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

// reserve makes slots for the answers to messages that are submitted together,
// and gives the tag of the last. It waits while the window is full: nothing
// more is read from the socket.
func (c *conn) reserve(s ...slot) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fits := func() bool {
		return len(c.slots) == 0 || len(c.slots)+len(s) <= c.srv.cfg.Window || c.ended.Load()
	}
	if !fits() {
		c.Yield() // a client that reads no answers holds up itself alone
		c.await(fits)
	}
	if c.ended.Load() {
		return 0, io.EOF
	}
	c.slots = append(c.slots, s...)
	c.slots[len(c.slots)-1].with = len(s)
	return c.first + uint64(len(c.slots)) - 1, nil
}

// answer fills a slot and sends what is ready in order.
func (c *conn) answer(tag uint64, reason byte, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at := tag - c.first; at < uint64(len(c.slots)) { // else the connection has failed
		c.slots[at].reason, c.slots[at].why = reason, why
		c.slots[at].wait--
		c.ready()
		c.startWriter()
	}
}

// ready queues the answers that are due. With mu held.
func (c *conn) ready() {
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
	if at := tag - c.first; at < uint64(len(c.slots)) { // else the connection has failed
		for n := uint64(c.slots[at].with); n > 0; n-- {
			c.slots[at+1-n].wait--
		}
		c.ready()
	}
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
	c.writeNow()
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

// Listening reports whether the unit has asked for notices.
func (c *conn) Listening() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.notice
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
