package bus

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
)

// Peers lets the processes of one service tell one another what they must not
// go on without, beside the stream: a word is told when every other process has
// taken it. One process is the keeper; the others hold a lease of it, and may
// take nothing while they have none. So a word that one of them cannot hear is
// told once its lease is over.
type Peers struct {
	nc      *nats.Conn
	subject string
	id      string
	keeper  bool
	hear    func(ctx context.Context, word []byte) error
	gap     func()
	log     *slog.Logger
	began   time.Time

	mu      sync.Mutex
	members map[string]time.Time // keeper: when each last asked for its lease
	leased  time.Time            // else: when the lease was asked for that was given last
	by      string               // else: who gave it
	lapsed  bool
}

const (
	leaseFor   = 3 * time.Second  // without a new lease nothing is taken any more
	memberFor  = 10 * time.Second // longer by what a publish may take that began in time
	leaseEvery = time.Second
	tellAgain  = time.Second
)

// Peers makes this process one of several. hear takes a word of another in; it
// may be told the same one again. gap is called when words may have been
// missed, before anything more may be taken. Run does the work.
func (b *Bus) Peers(id string, keeper bool, hear func(ctx context.Context, word []byte) error, gap func()) *Peers {
	return &Peers{
		nc: b.nc, subject: b.cfg.Stream + ".peers", id: id, keeper: keeper, hear: hear, gap: gap, log: b.log, began: now(),
		members: map[string]time.Time{}, lapsed: !keeper,
	}
}

const (
	fromHeader = "Fettle-From"
	askedFor   = ".lease" // a lease
	called     = ".call"  // all are to ask for one
	told       = ".word"
)

// Run hears until ctx ends.
func (p *Peers) Run(ctx context.Context) error {
	var subscribed []*nats.Subscription
	defer func() {
		for _, s := range subscribed {
			_ = s.Unsubscribe()
		}
	}()
	on := func(what string, f nats.MsgHandler) error {
		s, err := p.nc.Subscribe(p.subject+what, func(m *nats.Msg) {
			if m.Header.Get(fromHeader) != p.id {
				f(m)
			}
		})
		if err != nil {
			return fault.Wrap(fault.Unavailable, "hear other processes", err)
		}
		subscribed = append(subscribed, s)
		return nil
	}
	var words sync.WaitGroup
	defer words.Wait()
	err := on(told, func(m *nats.Msg) {
		words.Go(func() {
			err := p.hear(ctx, m.Data)
			if err == nil && m.Reply != "" {
				err = p.send(m.Reply, "", nil)
			}
			if err != nil && ctx.Err() == nil {
				p.log.Warn("a word of another process was not taken in", "from", m.Header.Get(fromHeader), "error", err)
			}
		})
	})
	if err != nil {
		return err
	}
	if p.keeper {
		if err := on(askedFor, p.lease); err != nil {
			return err
		}
		if err := p.send(p.subject+called, "", nil); err != nil {
			return fault.Wrap(fault.Unavailable, "call other processes", err)
		}
		<-ctx.Done()
		return nil
	}
	again := make(chan struct{}, 1)
	if err := on(called, func(*nats.Msg) {
		select {
		case again <- struct{}{}:
		default:
		}
	}); err != nil {
		return err
	}
	every := time.NewTicker(leaseEvery)
	defer every.Stop()
	for {
		p.ask(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		case <-again:
		}
	}
}

// now is the machine's time: leases are of real time, whatever the clock shows.
func now() time.Time { return clock.Real{}.Now() }

func (p *Peers) send(subject, reply string, word []byte) error {
	return p.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: word, Header: nats.Header{fromHeader: {p.id}}})
}

// lease gives one.
func (p *Peers) lease(m *nats.Msg) {
	from := m.Header.Get(fromHeader)
	p.mu.Lock()
	_, known := p.members[from]
	p.members[from] = now()
	p.mu.Unlock()
	if !known {
		p.log.Info("another process takes data", "process", from)
	}
	if err := p.send(m.Reply, "", nil); err != nil {
		p.log.Warn("a lease could not be given", "process", from, "error", err)
	}
}

// ask asks for a lease.
func (p *Peers) ask(ctx context.Context) {
	asked := now()
	ctx, cancel := context.WithTimeout(ctx, leaseEvery)
	defer cancel()
	given, err := p.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: p.subject + askedFor, Header: nats.Header{fromHeader: {p.id}}})
	if err != nil {
		p.mu.Lock()
		lapsed := !p.lapsed && now().Sub(p.leased) > leaseFor
		p.lapsed = p.lapsed || lapsed
		p.mu.Unlock()
		if lapsed {
			p.log.Warn("the process that keeps the order of changes does not answer: units wait", "error", err)
		}
		return
	}
	p.mu.Lock()
	by := given.Header.Get(fromHeader)
	another := p.by != by
	p.by = by
	p.mu.Unlock()
	// The one before may have ended between a change and its word, and this one has not known us since it began.
	if p.Leased() != nil || another {
		p.gap()
		p.log.Info("the process that keeps the order of changes answers: units are served", "process", by)
	}
	p.mu.Lock()
	p.leased, p.lapsed = asked, false
	p.mu.Unlock()
}

// Leased reports why nothing may be taken now, or nil.
func (p *Peers) Leased() error {
	if p.keeper {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lapsed || now().Sub(p.leased) > leaseFor {
		p.lapsed = true
		return fault.New(fault.Unavailable, "the process that keeps the order of changes does not answer")
	}
	return nil
}

// Shout tells a word to whoever hears it.
func (p *Peers) Shout(word []byte) {
	if err := p.send(p.subject+told, "", word); err != nil {
		p.log.Warn("other processes were not told", "error", err)
	}
}

// Tell returns when every other process has taken a word in, or may take
// nothing any more. Only the keeper knows who the others are: of another
// process it is a Shout. A keeper that has just begun does not know yet who
// holds a lease of the one before: it tells all who hear, and waits until that
// lease is over.
func (p *Peers) Tell(ctx context.Context, word []byte) error {
	if !p.keeper {
		p.Shout(word)
		return nil
	}
	known := p.began.Add(leaseFor) // when all who may take anything have asked
	p.mu.Lock()
	waiting := maps.Clone(p.members)
	p.mu.Unlock()
	if len(waiting) == 0 && now().After(known) {
		return nil
	}
	answered := map[string]bool{}
	inbox := p.nc.NewRespInbox()
	answers, err := p.nc.SubscribeSync(inbox)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "tell other processes", err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	for {
		if err := p.send(p.subject+told, inbox, word); err != nil {
			return fault.Wrap(fault.Unavailable, "tell other processes", err)
		}
		for until := now().Add(tellAgain); ; {
			young := now().Before(known)
			p.mu.Lock()
			if young {
				for id, last := range p.members {
					if !answered[id] {
						waiting[id] = last
					}
				}
			}
			for id := range waiting {
				last := p.members[id]
				if now().Sub(last) > memberFor {
					delete(waiting, id)
					delete(p.members, id)
				}
			}
			p.mu.Unlock()
			left := until.Sub(now())
			if len(waiting) == 0 && !young {
				return nil
			}
			if left <= 0 {
				break
			}
			if young {
				left = min(left, known.Sub(now()))
			}
			short, cancel := context.WithTimeout(ctx, left)
			m, err := answers.NextMsgWithContext(short)
			cancel()
			switch {
			case err == nil:
				answered[m.Header.Get(fromHeader)] = true
				delete(waiting, m.Header.Get(fromHeader))
			case ctx.Err() != nil:
				return fault.Wrap(fault.Unavailable, fmt.Sprintf("tell %d other processes", len(waiting)), ctx.Err())
			case short.Err() == nil:
				return fault.Wrap(fault.Unavailable, "tell other processes", err)
			}
		}
	}
}
