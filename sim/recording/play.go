package recording

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fettle.dev/fettle/sim/mqttc"
)

// Part is a track and who plays it.
type Part struct {
	UnitID string
	Token  string
	Track  *Track
}

// Player sends parts to a server.
type Player struct {
	Addr  string // host:port
	TLS   *tls.Config
	Speed float64 // times as fast as recorded; 0: as fast as the server acknowledges
	// Patience is how long to go on trying when the server cannot be reached.
	Patience time.Duration

	Rows    atomic.Int64  // acknowledged
	Samples atomic.Int64  // acknowledged
	Again   atomic.Int64  // rows sent again after a loss of connection
	Took    time.Duration // set by Play
}

// ParseServer reads mqtt://host:port, mqtts://host:port or host:port.
func ParseServer(s string) (addr string, conf *tls.Config, err error) {
	if _, _, err := net.SplitHostPort(s); err == nil && !strings.Contains(s, "://") {
		s = "mqtt://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return "", nil, fmt.Errorf("%q is not a server: write mqtt://host:port or mqtts://host:port", s)
	}
	port := u.Port()
	switch u.Scheme {
	case "mqtt":
		if port == "" {
			port = "1883"
		}
	case "mqtts":
		if port == "" {
			port = "8883"
		}
		conf = &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	default:
		return "", nil, fmt.Errorf("%q is not a server: write mqtt://host:port or mqtts://host:port", s)
	}
	return net.JoinHostPort(u.Hostname(), port), conf, nil
}

const (
	topic      = "fettle/v1/telemetry"
	mostFlying = 64 // rows in flight a unit
)

// Play plays all parts at once and returns when everything is acknowledged.
func (p *Player) Play(ctx context.Context, parts []Part) error {
	tracks := make([]Track, len(parts))
	for i := range parts {
		tracks[i] = *parts[i].Track
	}
	first, _, ok := Extent(tracks)
	if !ok {
		return fmt.Errorf("%w: no rows to play", ErrFile)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	defer func() { p.Took = time.Since(began) }()
	var wg sync.WaitGroup
	for _, part := range parts {
		wg.Go(func() {
			if err := p.play(ctx, part, first, began); err != nil {
				cancel(fmt.Errorf("unit %s: %w", part.UnitID, err))
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// voice is one unit that plays.
type voice struct {
	mu     sync.Mutex
	flying []int // rows written and not acknowledged, in order
	ids    []uint16
	change chan struct{}
	closed bool
	acked  func(row int)
}

func (v *voice) signal() {
	select {
	case v.change <- struct{}{}:
	default:
	}
}

// Acked counts a row.
func (v *voice) Acked(id uint16) {
	v.mu.Lock()
	for i := range v.ids {
		if v.ids[i] == id {
			v.acked(v.flying[i])
			v.ids = append(v.ids[:i], v.ids[i+1:]...)
			v.flying = append(v.flying[:i], v.flying[i+1:]...)
			break
		}
	}
	v.mu.Unlock()
	v.signal()
}

// Message is ignored: a recording takes no orders.
func (v *voice) Message(string, []byte) {}

// Closed wakes the sender.
func (v *voice) Closed(error) {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.signal()
}

// play sends one part, over as many connections as it takes.
func (p *Player) play(ctx context.Context, part Part, first, began time.Time) error {
	rows := part.Track.Rows
	next, again := 0, 0 // rows below again were sent before
	done := make([]bool, len(rows))
	var id uint16
	for {
		v := &voice{change: make(chan struct{}, 1)}
		v.acked = func(row int) {
			done[row] = true
			p.Rows.Add(1)
			p.Samples.Add(int64(rows[row].Samples))
		}
		conn, err := p.dial(ctx, part, v)
		if err != nil {
			return err
		}
		var buf []byte
		for next < len(rows) {
			wait, full, lost := time.Duration(0), false, false
			v.mu.Lock()
			lost, full = v.closed, len(v.flying) >= mostFlying
			known := done[next]
			v.mu.Unlock()
			if lost {
				break
			}
			if known {
				next++
				continue
			}
			if p.Speed > 0 && next >= again {
				due := began.Add(time.Duration(float64(rows[next].At.Sub(first)) / p.Speed))
				wait = time.Until(due)
			}
			if full || wait > 0 {
				if err := v.wait(ctx, full, wait); err != nil {
					conn.Close()
					return err
				}
				continue
			}
			if id++; id == 0xffff {
				id = 1
			}
			v.mu.Lock()
			v.flying, v.ids = append(v.flying, next), append(v.ids, id)
			v.mu.Unlock()
			if next < again {
				p.Again.Add(1)
			}
			buf = mqttc.AppendPublish(buf[:0], topic, id, next < again, payload(rows[next]))
			if conn.Write(buf) != nil {
				break
			}
			next++
		}
		left, err := v.drain(ctx)
		conn.Close()
		if err != nil {
			return err
		}
		if next == len(rows) && left < 0 {
			return nil
		}
		again = max(again, next)
		if left >= 0 {
			next = left
		}
	}
}

func payload(r Row) []byte {
	b := append(make([]byte, 0, 32+len(r.Values)), `{"ts":`...)
	b = strconv.AppendInt(b, r.At.UnixMilli(), 10)
	b = append(b, `,"values":`...)
	b = append(b, r.Values...)
	return append(b, '}')
}

// wait waits for room (full), or until it is time.
func (v *voice) wait(ctx context.Context, full bool, d time.Duration) error {
	var timer <-chan time.Time
	if !full {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer:
	case <-v.change:
	}
	return nil
}

// drain waits until everything written is acknowledged or the connection is
// lost, and gives the oldest row that is not acknowledged, or -1.
func (v *voice) drain(ctx context.Context) (int, error) {
	for {
		v.mu.Lock()
		oldest, closed := -1, v.closed
		for _, row := range v.flying {
			if oldest < 0 || row < oldest {
				oldest = row
			}
		}
		v.mu.Unlock()
		if oldest < 0 || closed {
			return oldest, nil
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-v.change:
		}
	}
}

// dial connects, patiently unless the server refuses the unit.
func (p *Player) dial(ctx context.Context, part Part, v *voice) (*mqttc.Conn, error) {
	deadline := time.Now().Add(p.Patience)
	for {
		conn, err := mqttc.Dial(ctx, mqttc.Options{Addr: p.Addr, TLS: p.TLS, UnitID: part.UnitID, Token: part.Token, KeepAlive: 0}, v)
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, mqttc.ErrRefused):
			return nil, fmt.Errorf("%w: is the token right, and the unit active?", err)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case time.Now().After(deadline):
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(time.Duration(100+rand.IntN(200)) * time.Millisecond):
		}
	}
}
