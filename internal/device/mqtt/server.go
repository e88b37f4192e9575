// Package mqtt is the door for units that speak MQTT 3.1.1 or 5. It only takes
// in: there is no broker behind it, no retained message and no session that
// outlives its connection. What it answers is written in api/asyncapi.yaml.
package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/tips"
)

// Config limits the server; zero values stand for the defaults named.
type Config struct {
	MaxPacket      int           // bytes of a packet after its fixed header: 256 KiB
	MaxConnections int           // further ones are closed at once: 16000
	Window         int           // messages of one connection not yet answered before it is read no further: 256
	ConnectTimeout time.Duration // for TLS handshake and CONNECT: 10 s each
	WriteTimeout   time.Duration // for a client that does not read: 20 s
	MaxKeepAlive   time.Duration // told to MQTT 5 clients that ask for more or for none: 20 min
	DrainTimeout   time.Duration // for what is not yet durable when the server stops: 10 s

	Tips *tips.Hub // for units' displays; nil: there are no such topics
}

// Server serves MQTT on any number of listeners.
type Server struct {
	gateway *device.Gateway
	auth    device.Authenticator
	cfg     Config
	log     *slog.Logger

	hands chan struct{} // see hold

	draining atomic.Bool
	mu       sync.Mutex
	conns    map[*conn]struct{}
	running  sync.WaitGroup
}

// New makes a server.
func New(gateway *device.Gateway, auth device.Authenticator, cfg Config, log *slog.Logger) *Server {
	if cfg.MaxPacket == 0 {
		cfg.MaxPacket = 256 << 10
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 16000
	}
	if cfg.Window == 0 {
		cfg.Window = 256
	}
	for _, d := range []struct {
		v  *time.Duration
		to time.Duration
	}{
		{&cfg.ConnectTimeout, 10 * time.Second},
		{&cfg.WriteTimeout, 20 * time.Second},
		{&cfg.MaxKeepAlive, 20 * time.Minute},
		{&cfg.DrainTimeout, 10 * time.Second},
	} {
		if *d.v == 0 {
			*d.v = d.to
		}
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{gateway: gateway, auth: auth, cfg: cfg, log: log, hands: make(chan struct{}, hands), conns: map[*conn]struct{}{}}
}

// Serve accepts connections until ctx ends. Then it reads no more, answers
// what becomes durable within DrainTimeout, says goodbye and returns nil. It
// closes the listener. For TLS give it a tls.NewListener; for client
// certificates that one's ClientAuth is tls.RequestClientCert, since what
// counts is the fingerprint bound to a unit, not who signed it.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() }) // Accept tells
	defer stop()
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx)) // connections outlive ctx by the drain
	defer cancel()
	err := s.accept(ctx, alive, listener)
	s.drain()
	return err
}

func (s *Server) accept(ctx, alive context.Context, listener net.Listener) error {
	pause := 5 * time.Millisecond
	for {
		socket, err := listener.Accept()
		switch {
		case err == nil:
			pause = 5 * time.Millisecond
			s.start(alive, socket)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // Accept fails because ctx ended
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept MQTT connections: %w", err)
		default: // as out of file descriptors
			s.log.Error("cannot accept a connection", "error", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			pause = min(2*pause, time.Second)
		}
	}
}

func (s *Server) start(alive context.Context, socket net.Conn) {
	nc := socket
	if t, ok := nc.(*tls.Conn); ok {
		socket = t.NetConn()
	}
	if t, ok := socket.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(maxOut) // else the kernel keeps megabytes for a client that does not read
	}
	c := newConn(alive, s, socket, nc)
	s.mu.Lock()
	full := len(s.conns) >= s.cfg.MaxConnections
	if !full {
		s.conns[c] = struct{}{}
		s.running.Add(1)
	}
	s.mu.Unlock()
	if full {
		s.log.Warn("a connection was closed: there are too many", "limit", s.cfg.MaxConnections)
		c.cancel()
		_ = socket.Close()
		return
	}
	go func() { // a connection has its own context, made of alive
		defer s.running.Done()
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// drain ends all connections, politely until DrainTimeout is over.
func (s *Server) drain() {
	s.draining.Store(true)
	done := make(chan struct{})
	for _, c := range s.live() {
		c.stopReading()
	}
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-time.After(s.cfg.DrainTimeout):
	}
	for _, c := range s.live() {
		c.abort()
	}
	<-done
}

func (s *Server) live() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		out = append(out, c)
	}
	return out
}

// stopReading makes the reader return; what was taken is still answered.
func (c *conn) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // a connection that is closed needs no waking
	c.changed.Broadcast()
}
