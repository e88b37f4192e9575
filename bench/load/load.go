// Package load sends what many units would, as cheaply as one process can:
// ready-made MQTT packets over non-blocking sockets, two threads with an epoll
// each (Linux). It is the same for every server that is measured.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Unit is who connects.
type Unit struct {
	ID    string
	Token string // "": without user name and password
	Topic string
}

// Fleet is many connections to one MQTT server.
type Fleet struct {
	workers []*worker
	n       int
	begin   int64 // event time of every unit's first message
}

// conn is one unit's connection.
type conn struct {
	fd     int
	unit   *template
	total  uint32 // messages ever made
	sent   uint32 // of this load
	acked  uint32 // of this load
	out    []byte // what the kernel has not taken yet
	waits  bool   // epoll tells when it takes more
	rest   int    // bytes of a PUBACK that has come in part
	random uint64
}

// worker serves its connections on one thread.
type worker struct {
	fleet *Fleet
	epoll int
	conns []*conn
	byFD  map[int]*conn
	buf   []byte
	total int // acknowledged
	next  int // whose turn it is, when messages are paced
}

// Connect opens a connection for every unit and waits for all CONNACKs. At
// most ahead handshakes are under way at a time.
func Connect(ctx context.Context, address string, units []Unit, ahead int) (*Fleet, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	f := &Fleet{n: len(units), begin: time.Now().Add(-12 * time.Hour).Truncate(time.Second).UnixMilli()}
	for range 2 {
		epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("epoll: %w", err)
		}
		f.workers = append(f.workers, &worker{fleet: f, epoll: epoll, byFD: map[int]*conn{}, buf: make([]byte, 64<<10)})
	}
	conns := make([]*conn, len(units))
	var mu sync.Mutex
	var failed error
	var group sync.WaitGroup
	slots := make(chan struct{}, ahead)
	for i := range units {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			c, err := dial(ctx, to, &units[i], i)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && failed == nil {
				failed = fmt.Errorf("unit %s: %w", units[i].ID, err)
			}
			conns[i] = c
		})
	}
	group.Wait()
	for i, c := range conns {
		if c == nil {
			continue
		}
		w := f.workers[i%len(f.workers)]
		w.conns = append(w.conns, c)
		w.byFD[c.fd] = c
		if err := syscall.EpollCtl(w.epoll, syscall.EPOLL_CTL_ADD, c.fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.fd)}); err != nil && failed == nil {
			failed = fmt.Errorf("epoll: %w", err)
		}
	}
	if failed != nil {
		f.Close()
		return nil, failed
	}
	return f, nil
}

var dials atomic.Uint32

// SourcesFrom lets Source begin with the address of the nth connection, for
// one of several processes.
func SourcesFrom(n int) { dials.Store(uint32(n)) }

// Source is the address to connect from: another one after 5,000 connections,
// for each has 28,232 ports, and those of connections that were closed rest for
// a minute.
func Source() net.Addr {
	n := dials.Add(1) / 5000
	return &net.TCPAddr{IP: net.IPv4(127, 1, byte(n/250), byte(1+n%250))}
}

// dial connects one unit, with blocking calls, and leaves a non-blocking socket.
func dial(ctx context.Context, to netip.AddrPort, u *Unit, i int) (*conn, error) {
	d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: Source()}
	nc, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }() // its descriptor is duplicated below
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := nc.Write(ConnectPacket(u)); err != nil {
		return nil, err
	}
	var answer [4]byte
	if _, err := readFull(nc, answer[:]); err != nil {
		return nil, fmt.Errorf("CONNACK: %w", err)
	}
	if answer[3] != 0 {
		return nil, fmt.Errorf("the connection was refused with code %d", answer[3])
	}
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &conn{unit: newTemplate(u.Topic, i), random: uint64(i+1) * 0x9E3779B97F4A7C15}
	err2 := raw.Control(func(fd uintptr) { c.fd, err = syscall.Dup(int(fd)) })
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	return c, syscall.SetNonblock(c.fd, true)
}

func readFull(nc net.Conn, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := nc.Read(b[n:])
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ConnectPacket is a unit's CONNECT (MQTT 3.1.1).
func ConnectPacket(u *Unit) []byte {
	flags, size := byte(0x02), 10+2+len(u.ID)
	if u.Token != "" {
		flags |= 0xc0
		size += 4 + len(u.ID) + len(u.Token)
	}
	b := []byte{1 << 4}
	for n := size; ; {
		digit := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			b = append(b, digit)
			break
		}
		b = append(b, digit|0x80)
	}
	text := func(s string) { b = append(append(b, byte(len(s)>>8), byte(len(s))), s...) }
	text("MQTT")
	b = append(b, 4, flags, 0, 0) // no keep-alive
	text(u.ID)
	if u.Token != "" {
		text(u.ID)
		text(u.Token)
	}
	return b
}

// Result is what came of a load.
type Result struct {
	Sent, Acked int
	Took        time.Duration // from the first message to the last acknowledgement
}

// Burst sends n messages, shared out evenly, each connection as fast as its
// acknowledgements come, with at most window messages in flight. It returns
// when all are acknowledged, or with fewer when none has come for ten seconds.
func (f *Fleet) Burst(n, window int) (Result, error) {
	each := max(1, n/f.n)
	return f.run(each*f.n, func(w *worker) error { return w.burst(uint32(each), uint32(window)) })
}

// Pace sends rate messages a second for a while, each on the next connection
// in turn, acknowledged or not, and waits for the acknowledgements.
func (f *Fleet) Pace(rate int, d time.Duration) (Result, error) {
	total := int(float64(rate) * d.Seconds())
	mine := total / len(f.workers)
	return f.run(mine*len(f.workers), func(w *worker) error { return w.pace(mine, float64(rate)/float64(len(f.workers))) })
}

func (f *Fleet) run(sent int, work func(w *worker) error) (Result, error) {
	begin := time.Now()
	errs := make([]error, len(f.workers))
	var group sync.WaitGroup
	for i, w := range f.workers {
		w.total = 0
		group.Go(func() { errs[i] = work(w) })
	}
	group.Wait()
	r := Result{Sent: sent, Took: time.Since(begin)}
	for _, w := range f.workers {
		r.Acked += w.total
	}
	return r, errors.Join(errs...)
}

// Close ends all connections.
func (f *Fleet) Close() {
	for _, w := range f.workers {
		for _, c := range w.conns {
			_ = syscall.Close(c.fd)
		}
		_ = syscall.Close(w.epoll)
	}
}
