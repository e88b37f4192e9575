package device

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Config is what a Gateway is made of. Zero values of the second group stand
// for the defaults named.
type Config struct {
	Units       fleet.Store
	Credentials fleet.CredentialStore
	Consents    consent.Store
	Stream      telemetry.Stream
	Clock       clock.Clock
	Log         *slog.Logger
	Metrics     prometheus.Registerer

	// Peers are the other processes that take data; nil: there are none.
	Peers Peers
	// Quiet leaves it to another process to publish ticks.
	Quiet bool

	// Waiting tells whether an update is offered to a unit now, for units that
	// begin to listen for notices; nil: they hear of the next one only.
	Waiting func(ctx context.Context, unitID string) bool

	// Settings tells what units are to be set to; nil: nothing.
	Settings Settings

	// MayReport tells whether versions count that a unit is said to have with
	// ctx; those that do not are ignored. Nil: all do.
	MayReport func(ctx context.Context, unitID string) (bool, error)

	// Received is the newest receive time that the stream has, Unix ms: none is
	// given an earlier one, whatever the clock shows.
	Received int64

	// Roll lists the units that poll; nil: each is looked up at its first poll.
	Roll  Roll
	Polls PollLimits

	MaxAhead time.Duration // an event time further ahead of its receive time is refused: 24 h
	MaxAge   time.Duration // one further behind is refused: 180 days
	UnitRate float64       // samples a second of one unit before it is slowed; its product may say otherwise; 0: any
	InFlight int64         // bytes submitted and not yet durable before Submit waits: 32 MiB
	MaxRows  int           // rows a commit: 4096
	Linger   time.Duration // real time a commit waits for company at most; an eighth of it when none comes: 8 ms
	Tick     time.Duration // real time between ticks: 30 s divided by the clock's speed, at least 200 ms
}

// earliest is the first event time that is believed.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// maxText bounds a text sample, in bytes; beyond longWhy no more of a message's
// invalid samples are named.
const maxText, longWhy = 4096, 160

// Gateway decides what of a unit's message may be kept and makes it durable.
type Gateway struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	registry *registry
	polls    polls
	commits  *committer
	sessions sessions
	holds    holds
}

var (
	_ Authenticator     = (*Gateway)(nil)
	_ Contacts          = (*Gateway)(nil)
	_ fleet.UnitWatcher = (*Gateway)(nil)
)

// New makes a Gateway. Nothing becomes durable until Run is called.
func New(cfg Config) *Gateway {
	setDefault(&cfg.MaxAhead, 24*time.Hour)
	setDefault(&cfg.MaxAge, 180*24*time.Hour)
	setDefault(&cfg.InFlight, 32<<20)
	setDefault(&cfg.MaxRows, 4096)
	setDefault(&cfg.Linger, 8*time.Millisecond)
	setDefault(&cfg.Tick, max(time.Duration(float64(30*time.Second)/speed(cfg.Clock)), 200*time.Millisecond))
	setDefault(&cfg.Log, slog.New(slog.DiscardHandler))
	if cfg.Peers == nil {
		cfg.Peers = alone{}
	}
	m := newMetrics(cfg.Metrics)
	registry := newRegistry(cfg.Units, cfg.Credentials, cfg.Consents)
	registry.unitRate = cfg.UnitRate
	polls := newPolls(cfg.Polls, speed(cfg.Clock))
	registry.roster = polls.roster
	return &Gateway{
		cfg: cfg, log: cfg.Log, metrics: m,
		registry: registry, polls: polls,
		commits: &committer{
			stream: cfg.Stream, clock: cfg.Clock, received: cfg.Received, log: cfg.Log, metrics: m,
			linger: cfg.Linger, maxRows: cfg.MaxRows, maxCost: min(2<<20, cfg.InFlight),
			budget: semaphore.NewWeighted(cfg.InFlight), size: cfg.InFlight, wake: make(chan struct{}, 1),
			full: full{ending: make(chan struct{})},
		},
		sessions: sessions{byUnit: map[string][]*session{}},
		holds:    holds{byUnit: map[string]*hold{}},
	}
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// speed is how much faster than the machine's a clock runs.
func speed(c clock.Clock) float64 {
	if s, ok := c.(clock.Scaled); ok && s.Speed > 0 {
		return s.Speed
	}
	return 1
}

// Run makes submissions durable and publishes ticks until ctx ends; then it
// takes no more, answers what it took, and returns. Stop the frontends first.
func (g *Gateway) Run(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.commits.run(context.WithoutCancel(ctx))
	}()
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		g.hear(ctx)
	}()
	if g.cfg.Quiet {
		<-ctx.Done()
	} else {
		g.tick(ctx)
	}
	<-heard
	g.commits.close()
	<-done
	return nil
}

// Outcome says what became of one message. What is dropped on purpose is
// acknowledged all the same, else a unit would send it for ever.
type Outcome struct {
	Kept         int    `json:"kept"`
	NotConsented int    `json:"notConsented"`
	Undeclared   int    `json:"undeclared"`
	Invalid      int    `json:"invalid"`
	Why          string `json:"why,omitempty"` // of the samples refused as invalid, the first some

	// Dropped lists every sample that was not kept, if it is not nil before Submit.
	Dropped []Dropped `json:"-"`
}

// Fate is why a sample was not kept.
type Fate uint8

// The fates, as Outcome counts them.
const (
	NotConsented Fate = iota + 1
	Undeclared
	Invalid
)

// Dropped is a sample that was not kept.
type Dropped struct {
	Value int // index into the message's Values
	Fate  Fate
	Why   string // of Invalid
}

func (o *Outcome) drop(value int, f Fate, why string) {
	if o != nil && o.Dropped != nil {
		o.Dropped = append(o.Dropped, Dropped{value, f, why})
	}
}

// Submit takes messages of a unit. It waits while too much is in flight, which
// is how a full store slows units down. When it returns an error nothing was
// taken; otherwise receipt is told once, with tag, and outcomes, unless nil,
// holds what was decided about each message.
func (g *Gateway) Submit(ctx context.Context, id Identity, messages []Message, outcomes []Outcome, receipt Receipt, tag uint64) error {
	for first := true; ; first = false {
		u, err := g.active(ctx, id.UnitID)
		if err != nil {
			return err
		}
		if first {
			if err := g.slow(ctx, u, samples(messages), receipt); err != nil {
				return err
			}
		}
		err = g.submit(ctx, u, messages, outcomes, submission{receipt: receipt, tag: tag})
		if !errors.Is(err, errStale) {
			return err
		}
	}
}

// Store submits messages and returns when they are durable.
func (g *Gateway) Store(ctx context.Context, id Identity, messages []Message, outcomes []Outcome) error {
	done := make(awaited, 1)
	if err := g.Submit(ctx, id, messages, outcomes, done, 0); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fault.Wrap(fault.Unavailable, "store", ctx.Err())
	}
}

func samples(messages []Message) (n int) {
	for i := range messages {
		n += len(messages[i].Values)
	}
	return n
}

func (g *Gateway) submit(ctx context.Context, u *unit, messages []Message, outcomes []Outcome, s submission) error {
	at := g.cfg.Clock.Now()
	n := samples(messages)
	rows := make([]telemetry.Row, 0, len(messages))
	values := make([]telemetry.Value, 0, n)
	var total counts
	s.cost = 48
	for i := range messages {
		var row telemetry.Row
		var why string
		first := len(values)
		var o *Outcome
		if outcomes != nil {
			o = &outcomes[i]
			o.Dropped = o.Dropped[:0]
		}
		row, values, why = g.row(u, &messages[i], at, values, o)
		kept := len(values) - first
		total.add(counts{kept, row.NotConsented, row.Undeclared, row.Invalid})
		if o != nil {
			*o = Outcome{kept, row.NotConsented, row.Undeclared, row.Invalid, strings.TrimPrefix(why, "; "), o.Dropped}
		}
		if messages[i].HasEvent {
			u.times.skew.Note(messages[i].Event, at.UnixMilli())
		}
		if len(messages[i].Values) > 0 {
			rows = append(rows, row)
			s.cost += rowCost(&row)
		}
	}
	var err error
	if s.cost, err = g.commits.reserve(ctx, s.cost); err != nil {
		return err
	}
	u.times.contact.Store(at.UnixMilli()) // data is contact
	return g.commits.submitRows(u, rows, nil, total, s)
}

// active looks a unit up and refuses it unless it is active.
func (g *Gateway) active(ctx context.Context, unitID string) (*unit, error) {
	u, err := g.registry.unit(ctx, unitID)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return nil, ErrCredential
	case err != nil:
		return nil, fault.Wrap(fault.Unavailable, "", err)
	}
	if err := u.refusal(); err != nil {
		return nil, fault.New(fault.Denied, "%w: %w", ErrInactive, err)
	}
	return u, nil
}

// row applies declaration, consent and sense to one message. Values are
// appended to values, which is large enough; what is dropped is listed in o.
func (g *Gateway) row(u *unit, m *Message, at time.Time, values []telemetry.Value, o *Outcome) (row telemetry.Row, _ []telemetry.Value, why string) {
	row = telemetry.Row{Unit: u.id.Key, Event: m.Event, Sequence: m.Sequence}
	refused := ""
	if !m.HasEvent {
		row.Event = u.times.stampFor(at)
	} else if refused = g.clockRefusal(m.Event, at); refused != "" {
		row.Event = at.UnixMilli() // the row carries counts only
	}
	first := len(values)
	var kept mask
	index := -1
	for i := range m.Values {
		v := &m.Values[i]
		declared := true
		if index++; index >= len(u.product.Signals) || u.product.Signals[index].Name != string(v.Name) {
			index, declared = u.product.index[string(v.Name)] // else in the order declared, as most units send
		}
		if !declared {
			row.Undeclared++
			o.drop(i, Undeclared, "")
			continue
		}
		if !u.permitted[index] {
			row.NotConsented++
			o.drop(i, NotConsented, "")
			continue
		}
		signal := &u.product.Signals[index]
		bad := refused
		if bad == "" {
			bad = valueRefusal(signal, v)
		}
		if bad == "" && kept.has(index) {
			bad = "named twice in one message"
		}
		if bad != "" {
			row.Invalid++
			o.drop(i, Invalid, bad)
			if o != nil && len(why) < longWhy && (refused == "" || why == "") {
				why += "; " + signal.Name + ": " + bad
			}
			continue
		}
		kept.set(index)
		out := telemetry.Value{Signal: signal.Name, Number: v.Number}
		if signal.Type == fleet.Text {
			out = telemetry.Value{Signal: signal.Name, Text: string(v.Text), IsText: true}
		}
		values = append(values, out)
	}
	row.Values = values[first:len(values):len(values)]
	return row, values, why
}

// clockRefusal says why an event time is not believed, or nothing.
func (g *Gateway) clockRefusal(event int64, at time.Time) string {
	switch received := at.UnixMilli(); {
	case event > received+g.cfg.MaxAhead.Milliseconds():
		return fmt.Sprintf("event time is more than %s ahead of the server's clock", fleet.Duration(g.cfg.MaxAhead))
	case event < earliest:
		return "event time is before the year 2000"
	case event < received-g.cfg.MaxAge.Milliseconds():
		return fmt.Sprintf("event time is more than %s behind the server's clock", fleet.Duration(g.cfg.MaxAge))
	default:
		return ""
	}
}

// valueRefusal says why a value is not one of the signal, or nothing.
func valueRefusal(s *fleet.Signal, v *Value) string {
	if v.Kind == KindRefused {
		return string(v.Text)
	}
	switch s.Type {
	case fleet.Number:
		if v.Kind != KindNumber {
			return "expected a number"
		}
		if math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
			return "expected a finite number"
		}
	case fleet.Boolean: // some units know no booleans and send 0 and 1
		if v.Kind != KindBoolean && (v.Kind != KindNumber || v.Number != 0 && v.Number != 1) {
			return "expected true or false"
		}
	case fleet.Text:
		if v.Kind != KindText {
			return "expected a string"
		}
		if len(v.Text) > maxText || !utf8.Valid(v.Text) {
			return fmt.Sprintf("expected at most %d bytes of UTF-8", maxText)
		}
	}
	return ""
}

// Token authenticates a unit by its token.
func (g *Gateway) Token(ctx context.Context, unitID, token string) (Identity, error) {
	u, err := g.registry.unit(ctx, unitID)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return Identity{}, ErrCredential
	case err != nil:
		return Identity{}, fault.Wrap(fault.Unavailable, "authenticate", err)
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], u.tokenHash) != 1 {
		return Identity{}, ErrCredential
	}
	if err := u.refusal(); err != nil {
		return Identity{}, fault.New(fault.Denied, "%w: %w", ErrInactive, err)
	}
	return u.id, nil
}

// TokenAlone authenticates a unit by its token, which is unique in the records.
// The look-up is by hash, so its time tells nothing about the token; a token
// that was replaced or removed meanwhile is refused by Token.
func (g *Gateway) TokenAlone(ctx context.Context, token string) (Identity, error) {
	if !strings.HasPrefix(token, fleet.UnitTokenPrefix) {
		return Identity{}, ErrCredential
	}
	id, err := g.cfg.Credentials.UnitIDByTokenHash(ctx, fleet.SecretHash(token))
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return Identity{}, ErrCredential
	case err != nil:
		return Identity{}, fault.Wrap(fault.Unavailable, "authenticate", err)
	}
	return g.Token(ctx, id, token)
}

// Certificate authenticates a unit by a client certificate that is bound to
// it. The TLS handshake has proved that the client holds its key.
func (g *Gateway) Certificate(ctx context.Context, leaf *x509.Certificate) (Identity, error) {
	if t := g.cfg.Clock.Now(); t.After(leaf.NotAfter) || t.Before(leaf.NotBefore) {
		return Identity{}, fault.New(fault.Denied, "the client certificate is valid from %s to %s",
			leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
	}
	return g.Fingerprint(ctx, fleet.CertificateFingerprint(leaf.Raw))
}

// Fingerprint gives the unit that a certificate or public key is bound to. The
// frontend has had its client prove that it holds the private key.
func (g *Gateway) Fingerprint(ctx context.Context, fingerprint string) (Identity, error) {
	id, err := g.cfg.Credentials.UnitIDByFingerprint(ctx, fingerprint)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return Identity{}, ErrCredential
	case err != nil:
		return Identity{}, fault.Wrap(fault.Unavailable, "authenticate", err)
	}
	u, err := g.active(ctx, id)
	if err != nil {
		return Identity{}, err
	}
	return u.id, nil
}

// Desired is what a unit is to do now.
func (g *Gateway) Desired(ctx context.Context, id Identity) (Desired, error) {
	u, err := g.active(ctx, id.UnitID)
	if err != nil {
		return Desired{}, err
	}
	return g.desired(ctx, u)
}

// Malformed counts a message that a frontend could not read.
func (g *Gateway) Malformed(protocol string) { g.metrics.malformed.WithLabelValues(protocol).Inc() }

// Unrouted counts a message on a topic that no mapping reads: "refused" or
// "ignored".
func (g *Gateway) Unrouted(protocol, result string) {
	g.metrics.unrouted.WithLabelValues(protocol, result).Inc()
}

// Connections is the gauge of a protocol's open connections.
func (g *Gateway) Connections(protocol string) prometheus.Gauge {
	return g.metrics.sessions.WithLabelValues(protocol)
}

// mask is a set of signals by index.
type mask struct {
	first uint64
	more  map[int]struct{} // those beyond
}

func (m *mask) has(i int) bool {
	if i < 64 {
		return m.first&(1<<i) != 0
	}
	_, ok := m.more[i]
	return ok
}

func (m *mask) set(i int) {
	if i < 64 {
		m.first |= 1 << i
		return
	}
	if m.more == nil {
		m.more = map[int]struct{}{}
	}
	m.more[i] = struct{}{}
}
