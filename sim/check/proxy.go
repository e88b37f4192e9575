package check

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
)

// Proxy stands between units and a server on the wire and cuts connections so
// that answers of the server are lost: what it answered last never arrives.
type Proxy struct {
	Addr string // where it listens
	Lost atomic.Int64

	to     string
	lose   float64
	mu     sync.Mutex
	random *rand.Rand
	open   map[net.Conn]struct{}
}

// Lossy listens on 127.0.0.1 until ctx ends. Of what the server sends, a part
// given by lose (in reads) is thrown away, and both ends are cut then.
func Lossy(ctx context.Context, to string, lose float64, seed uint64) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, lose: lose, random: rand.New(rand.NewPCG(seed, 1)), open: map[net.Conn]struct{}{}}
	context.AfterFunc(ctx, func() {
		_ = l.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for c := range p.open {
			_ = c.Close()
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(ctx, c)
		}
	}()
	return p, nil
}

func (p *Proxy) serve(ctx context.Context, unit net.Conn) {
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.to)
	if err != nil {
		_ = unit.Close()
		return
	}
	for _, c := range []net.Conn{unit, server} {
		p.mu.Lock()
		p.open[c] = struct{}{}
		p.mu.Unlock()
		defer func() {
			_ = c.Close()
			p.mu.Lock()
			delete(p.open, c)
			p.mu.Unlock()
		}()
	}
	go func() {
		_, _ = io.Copy(server, unit)
		_ = server.Close()
	}()
	b := make([]byte, 4096)
	for {
		n, err := server.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		lost := p.random.Float64() < p.lose
		p.mu.Unlock()
		if lost {
			p.Lost.Add(1)
			return
		}
		if _, err := unit.Write(b[:n]); err != nil {
			return
		}
	}
}
