package mqtt

import (
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Buffers that sockets are read into. A plain connection has one only while
// something that it sent is not yet handled, so that one which is idle keeps
// none. A TLS connection keeps a small one of its own: whether something is
// there shows only when it is decrypted.
const (
	readerSize = 8 << 10 // packets up to this are read in place
	tlsReader  = 1 << 10
)

var inputs = sync.Pool{New: func() any { return new([readerSize]byte) }}

// input is what was read from a connection and is not yet handled.
type input struct {
	raw  syscall.RawConn // nil: over TLS, or no socket
	try  func(fd uintptr) bool
	buf  []byte
	from *[readerSize]byte // the pool's, which buf is; nil: none, or buf is the connection's own
	r, w int               // buf[r:w] is unread
	n    int               // what the last try read
	err  error

	view headerView
}

// headerView reads bytes of the buffer one by one.
type headerView struct {
	b []byte
	n int
}

// ReadByte gives io.EOF where the bytes end.
func (v *headerView) ReadByte() (byte, error) {
	if v.n == len(v.b) {
		return 0, io.EOF
	}
	v.n++
	return v.b[v.n-1], nil
}

func (in *input) open(nc any) {
	if s, ok := nc.(syscall.Conn); ok {
		in.raw, _ = s.SyscallConn() // without it, reads take a buffer along
	}
	in.try = in.read
}

// read reads what there is, without waiting; it reports false when there is
// nothing. It is called by the runtime's poller.
func (in *input) read(fd uintptr) bool {
	in.grab()
	for {
		in.n, in.err = syscall.Read(int(fd), in.buf[in.w:])
		switch {
		case errors.Is(in.err, syscall.EINTR):
			continue
		case errors.Is(in.err, syscall.EAGAIN):
			in.release()
			return false
		case in.n == 0 && in.err == nil:
			in.err = io.EOF
		}
		return true
	}
}

// grab sees to it that there is a buffer.
func (in *input) grab() {
	if in.buf != nil {
		return
	}
	if in.raw == nil {
		in.buf = make([]byte, tlsReader)
		return
	}
	in.from = inputs.Get().(*[readerSize]byte)
	in.buf = in.from[:]
}

// release gives the buffer back if nothing is in it.
func (in *input) release() {
	if in.from != nil && in.r == in.w {
		inputs.Put(in.from)
		in.from, in.buf, in.r, in.w = nil, nil, 0, 0
	}
}

// fill reads more, behind what is unread, of which there is less than fits.
func (c *conn) fill() error {
	in := &c.in
	switch {
	case in.r == in.w:
		in.r, in.w = 0, 0
	case in.r > 0:
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	if in.raw == nil {
		in.grab()
		in.n, in.err = c.nc.Read(in.buf[in.w:])
	} else if err := in.raw.Read(in.try); err != nil {
		in.release()
		return err
	}
	if in.n > 0 {
		in.w += in.n
		return nil
	}
	in.release()
	return in.err
}

// packet reads the next packet: it may begin within idle (0: at any time) and
// must be whole within rest. The body is valid until packet is called again,
// or free, which is nil where nothing needs to be. Before it waits, what was
// gathered is submitted.
func (c *conn) packet(limit int, idle, rest time.Duration) (h header, body []byte, free func(), err error) {
	in := &c.in
	begun := false // a deadline is set for the rest of the packet
	for {
		if in.w > in.r {
			in.view = headerView{b: in.buf[in.r:in.w]}
			h, err = readHeader(&in.view, limit)
			if err == nil && in.view.n+h.length <= len(in.view.b) {
				body = in.view.b[in.view.n : in.view.n+h.length : in.view.n+h.length]
				in.r += in.view.n + h.length
				return h, body, free, nil
			}
			if err == nil && in.view.n+h.length > len(in.buf) {
				return c.large(h, rest)
			}
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return h, nil, free, err
			}
		}
		if err := c.flushBurst(); err != nil {
			return h, nil, free, err
		}
		var at time.Time // none
		switch {
		case in.w > in.r && !begun:
			begun, at = true, deadline(rest)
		case in.w == in.r && idle > 0:
			at = deadline(idle)
		}
		if in.w == in.r || !at.IsZero() {
			if err := c.nc.SetReadDeadline(at); err != nil {
				return h, nil, free, err
			}
		}
		if c.ended.Load() { // after the deadline is set: whoever ends us sets one after
			return h, nil, free, io.EOF
		}
		if err := c.fill(); err != nil {
			if in.w > in.r {
				err = unexpected(err)
			}
			return h, nil, free, err
		}
	}
}

// large reads a packet that is larger than the buffer.
func (c *conn) large(h header, rest time.Duration) (header, []byte, func(), error) {
	in := &c.in
	if err := c.flushBurst(); err != nil {
		return h, nil, nil, err
	}
	if err := c.nc.SetReadDeadline(deadline(rest)); err != nil {
		return h, nil, nil, err
	}
	if c.ended.Load() {
		return h, nil, nil, io.EOF
	}
	b := append(make([]byte, 0, 2*readerSize), in.buf[in.r+in.view.n:in.w]...)
	in.r = in.w
	in.release()
	// Memory grows with what has come, not with what was announced.
	for len(b) < h.length {
		n := len(b)
		b = slices.Grow(b, min(max(n, readerSize), h.length-n))
		b = b[:min(cap(b), h.length)]
		if _, err := io.ReadFull(c.nc, b[n:]); err != nil {
			return h, nil, nil, unexpected(err)
		}
	}
	return h, b, func() {}, nil
}

// read handles packets until the connection ends. What was gathered of those
// before one that ends it is submitted all the same.
func (c *conn) read() error {
	for {
		h, body, free, err := c.packet(c.srv.cfg.MaxPacket, c.keepAlive, bodyTimeout)
		if err == nil {
			err = c.handle(h, body)
			if err != nil || free != nil {
				err = errors.Join(err, c.flushBurst())
			}
		}
		if free != nil {
			free()
		}
		if err != nil {
			return err
		}
	}
}
