package download

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/clock"
)

// Share is a rate that downloads of one name have together.
type Share struct {
	Name string  // as campaign/recall-1 or site/198.51.100.7
	Rate float64 // bytes a second, above 0
}

// Bytes of one turn: what is sent between two looks at clock, rates and
// withdrawal. Without a rate a turn is long, so that it costs nothing; with
// one it is what a download may send in quarterTurn, so that all those that
// share it get the same and none waits for long.
const (
	freeTurn    = 1 << 20
	leastTurn   = 1 << 10
	quarterTurn = 0.25 // seconds
)

// stalled is how long a client may take none of a turn's bytes before it is cut.
const stalled = 5 * time.Minute

// limits holds the rates that are shared at this moment.
type limits struct {
	mu sync.Mutex
	m  map[string]*shared
}

type shared struct {
	*rate.Limiter
	name  string
	users int
}

// turns is one download's place in what it shares.
type turns struct {
	l      *limits
	shared []*shared
}

func burst(r float64) int { return max(leastTurn, min(freeTurn, int(r*quarterTurn))) }

func (l *limits) join(shares []Share) *turns {
	t := &turns{l: l}
	t.change(shares)
	return t
}

// change makes the download share other rates, or the same at other values.
func (t *turns) change(shares []Share) {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	before := t.shared
	t.shared = nil
	for _, s := range shares {
		if !(s.Rate > 0) {
			continue
		}
		b, ok := t.l.m[s.Name]
		if !ok {
			b = &shared{Limiter: rate.NewLimiter(rate.Limit(s.Rate), burst(s.Rate)), name: s.Name}
			if t.l.m == nil {
				t.l.m = map[string]*shared{}
			}
			t.l.m[s.Name] = b
		}
		if float64(b.Limit()) != s.Rate {
			b.SetLimit(rate.Limit(s.Rate))
			b.SetBurst(burst(s.Rate))
		}
		b.users++
		t.shared = append(t.shared, b)
	}
	t.release(before)
}

func (t *turns) release(list []*shared) {
	for _, b := range list {
		if b.users--; b.users == 0 {
			delete(t.l.m, b.name)
		}
	}
}

func (t *turns) leave() {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	t.release(t.shared)
	t.shared = nil
}

// next waits for the download's turn and tells how many bytes it has. Those
// that share a rate wait in line, each for the same number of bytes: the rate
// is parted evenly among those that take it. Nothing is held while it waits.
func (t *turns) next(ctx context.Context) (int, error) {
	for {
		t.l.mu.Lock()
		n := freeTurn
		list := t.shared
		for _, b := range list {
			n = min(n, max(leastTurn, int(float64(b.Limit())*quarterTurn)/b.users), b.Burst())
		}
		t.l.mu.Unlock()
		err := wait(ctx, list, n)
		if err == nil || ctx.Err() != nil {
			return n, err
		} // else a rate was lowered meanwhile: look again
	}
}

func wait(ctx context.Context, list []*shared, n int) error {
	for _, b := range list {
		if err := b.WaitN(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// paced sends in turns. From a file it sends without the bytes passing through
// this process (sendfile), so that a thousand downloads take no memory.
type paced struct {
	http.ResponseWriter

	ctx     context.Context
	control *http.ResponseController
	turns   *turns
	sent    prometheus.Counter
	size    int64                           // of the whole
	may     func(ctx context.Context) error // nil: always
	recheck time.Duration
	checked time.Time // when it was asked last
	left    int       // bytes of this turn that are left
	err     error     // why it was cut
	gone    bool      // the client went, or stalled
}

// Unwrap lets http.ResponseController reach the connection.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// WriteHeader says the length where ServeContent does not, because the content
// is coded: only with it can a client resume, and the file be sent unread.
func (p *paced) WriteHeader(status int) {
	if status == http.StatusOK && p.Header().Get("Content-Length") == "" {
		p.Header().Set("Content-Length", strconv.FormatInt(p.size, 10))
	}
	p.ResponseWriter.WriteHeader(status)
}

// turn makes sure that some bytes may be sent.
func (p *paced) turn() error {
	if p.err != nil {
		return p.err
	}
	if p.left > 0 {
		return nil
	}
	if p.may != nil {
		now := clock.Real{}.Now() // how often is asked is of the machine's time
		if p.checked.IsZero() {
			p.checked = now // asked when the request came
		}
		if now.Sub(p.checked) >= p.recheck {
			if p.err = p.may(p.ctx); p.err != nil {
				return p.err
			}
			p.checked = now
		}
	}
	if p.left, p.err = p.turns.next(p.ctx); p.err != nil {
		return p.err
	}
	_ = p.control.SetWriteDeadline(clock.Real{}.Now().Add(stalled)) // where it cannot be set, none is needed
	return nil
}

func (p *paced) took(n int, err error) {
	p.left -= n
	p.sent.Add(float64(n))
	if err != nil && p.err == nil {
		p.err, p.gone = err, true
	}
}

// Write sends b in turns.
func (p *paced) Write(b []byte) (n int, err error) {
	for n < len(b) {
		if err := p.turn(); err != nil {
			return n, err
		}
		m, err := p.ResponseWriter.Write(b[n:min(len(b), n+p.left)])
		n += m
		p.took(m, err)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// ReadFrom sends what r gives in turns.
func (p *paced) ReadFrom(r io.Reader) (n int64, err error) {
	from, ok := p.ResponseWriter.(io.ReaderFrom)
	limited, bounded := r.(*io.LimitedReader)
	if !ok || !bounded {
		return io.Copy(writerOnly{p}, r)
	}
	for limited.N > 0 {
		if err := p.turn(); err != nil {
			return n, err
		}
		// The file itself, not limited twice: sendfile sees through one limit only.
		m, err := from.ReadFrom(&io.LimitedReader{R: limited.R, N: min(limited.N, int64(p.left))})
		n += m
		limited.N -= m
		if m == 0 && err == nil {
			p.err = io.ErrUnexpectedEOF // the store has fewer bytes than it said
			return n, p.err
		}
		p.took(int(m), err)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// writerOnly hides ReadFrom from io.Copy.
type writerOnly struct{ io.Writer }

// address is where a request comes from: of IPv6 the network of one site.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
