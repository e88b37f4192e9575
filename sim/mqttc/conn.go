package mqttc

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options say where and as whom to connect.
type Options struct {
	Addr      string // host:port
	TLS       *tls.Config
	Local     net.IP // source address; nil: the system's choice
	UnitID    string // user name and client id
	Token     string // password
	KeepAlive uint16 // seconds; 0: none
	Timeout   time.Duration
}

// Handler is told what the server sends. Its methods are called from the
// connection's reader and must not block.
type Handler interface {
	// Acked is called for each PUBACK.
	Acked(id uint16)
	// Message is called for each PUBLISH of the server; payload is valid during the call.
	Message(topic string, payload []byte)
	// Closed is called once when the connection has ended, unless Close ended it.
	Closed(err error)
}

// ErrRefused is the error of a CONNACK that refuses.
var ErrRefused = errors.New("connection refused by the server")

// Conn is one connection.
type Conn struct {
	conn    net.Conn
	handler Handler
	subs    chan struct{}
	pongs   chan struct{}
	done    chan struct{}
	closed  atomic.Bool

	mu  sync.Mutex // of writes
	buf []byte
}

// Dial connects, waits for the CONNACK and starts the reader.
func Dial(ctx context.Context, o Options, h Handler) (*Conn, error) {
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	d := net.Dialer{KeepAlive: -1}
	if o.Local != nil {
		d.LocalAddr = &net.TCPAddr{IP: o.Local}
	}
	nc, err := d.DialContext(ctx, "tcp", o.Addr)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		t := tls.Client(nc, o.TLS)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, fmt.Errorf("TLS handshake: %w", err)
		}
		nc = t
	}
	c := &Conn{conn: nc, handler: h, subs: make(chan struct{}, 4), pongs: make(chan struct{}, 1), done: make(chan struct{})}
	_ = nc.SetDeadline(time.Now().Add(o.Timeout))
	r := bufio.NewReaderSize(nc, 256)
	if err := c.hello(r, o); err != nil {
		_ = nc.Close()
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	go c.read(r)
	return c, nil
}

func (c *Conn) hello(r *bufio.Reader, o Options) error {
	if _, err := c.conn.Write(appendConnect(nil, o.UnitID, o.UnitID, o.Token, o.KeepAlive)); err != nil {
		return fmt.Errorf("CONNECT: %w", err)
	}
	p, _, err := read(r, nil)
	if err != nil {
		return fmt.Errorf("CONNACK: %w", err)
	}
	if p.kind() != typeConnack || len(p.body) != 2 {
		return fmt.Errorf("CONNACK: %w", errMalformed)
	}
	if p.body[1] != 0 {
		return fmt.Errorf("%w: return code %d", ErrRefused, p.body[1])
	}
	return nil
}

func (c *Conn) read(r *bufio.Reader) {
	var buf []byte
	var p packet
	var err error
	for {
		if p, buf, err = read(r, buf); err != nil {
			break
		}
		if err = c.dispatch(p); err != nil {
			break
		}
	}
	close(c.done)
	_ = c.conn.Close()
	if !c.closed.Load() {
		c.handler.Closed(err)
	}
}

func (c *Conn) dispatch(p packet) error {
	switch p.kind() {
	case typePuback:
		if len(p.body) < 2 {
			return errMalformed
		}
		c.handler.Acked(binary.BigEndian.Uint16(p.body))
	case typePublish:
		topic, id, payload, err := p.publish()
		if err != nil {
			return err
		}
		c.handler.Message(topic, payload)
		if id != 0 {
			return c.write(func(b []byte) []byte {
				return binary.BigEndian.AppendUint16(append(b, typePuback<<4, 2), id)
			})
		}
	case typeSuback:
		notify(c.subs)
	case typePingresp:
		notify(c.pongs)
	default:
		return fmt.Errorf("%w: unexpected type %d", errMalformed, p.kind())
	}
	return nil
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// write sends what fill appends to an empty buffer.
func (c *Conn) write(fill func([]byte) []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = fill(c.buf[:0])
	if len(c.buf) == 0 {
		return nil
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(30 * time.Second))
	_, err := c.conn.Write(c.buf)
	return err
}

// Subscribe subscribes to topics at QoS 1 and waits for the SUBACK.
func (c *Conn) Subscribe(ctx context.Context, topics ...string) error {
	if err := c.write(func(b []byte) []byte { return appendSubscribe(b, 0xffff, topics...) }); err != nil {
		return fmt.Errorf("SUBSCRIBE: %w", err)
	}
	return c.wait(ctx, c.subs, "SUBACK")
}

// Ping sends a PINGREQ and waits for the answer: what the server sent before
// has then been read.
func (c *Conn) Ping(ctx context.Context) error {
	if err := c.write(func(b []byte) []byte { return append(b, 0xc0, 0) }); err != nil {
		return fmt.Errorf("PINGREQ: %w", err)
	}
	return c.wait(ctx, c.pongs, "PINGRESP")
}

func (c *Conn) wait(ctx context.Context, ch chan struct{}, what string) error {
	select {
	case <-ch:
		return nil
	case <-c.done:
		return fmt.Errorf("waiting for %s: %w", what, net.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
	}
}

// Write sends packets that were built with AppendPublish.
func (c *Conn) Write(packets []byte) error {
	return c.write(func(b []byte) []byte { return append(b, packets...) })
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close says DISCONNECT and ends the connection; Closed is not called.
func (c *Conn) Close() {
	c.closed.Store(true)
	_ = c.write(func(b []byte) []byte { return append(b, 0xe0, 0) })
	_ = c.conn.Close()
}

// Drop cuts the connection without a word, as a loss of power does.
func (c *Conn) Drop() {
	c.closed.Store(true)
	_ = c.conn.Close()
}
