// Package devicetest is a house around a gateway, for tests and benchmarks of
// the gateway and of every frontend: records on SQLite, a stream in memory
// that can fail and can be held, a product, and units with tokens.
package devicetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
)

// Start is where the house's clock stands at first.
var Start = time.Date(2014, 6, 1, 12, 0, 0, 0, time.UTC)

// Product is the name of the product that all units are of.
const Product = "wall-charger"

// Charger is its declaration: current, charging and label are for the purpose
// "care", which needs consent; error is for "operation", which is necessary.
func Charger() fleet.Product {
	signal := func(name string, t fleet.ValueType, purposes ...string) fleet.Signal {
		return fleet.Signal{Name: name, Type: t, Purposes: purposes, Retention: fleet.Duration(90 * 24 * time.Hour)}
	}
	return fleet.Product{
		Name: Product, Title: "Wall charger",
		Purposes: []fleet.Purpose{
			{Name: "care", Title: "Care", Basis: fleet.BasisConsent},
			{Name: "operation", Title: "Operation", Basis: fleet.BasisNecessary},
		},
		Signals: []fleet.Signal{
			signal("current", fleet.Number, "care"), signal("plug_temperature", fleet.Number, "care"),
			signal("charging", fleet.Boolean, "care"), signal("label", fleet.Text, "care"),
			signal("error", fleet.Number, "operation"),
		},
	}
}

// Eventful is Charger with events: the feature solar and log lines from info on
// are for "care", fault codes E1 and those that begin with F for "operation".
func Eventful() fleet.Product {
	const day = fleet.Duration(24 * time.Hour)
	p := Charger()
	p.Features = []fleet.Feature{
		{Name: "solar", Title: "Solar charging", Purposes: []string{"care"}, Retention: 90 * day},
		{Name: "lock", Title: "Cable lock"},
	}
	p.Faults = []fleet.Fault{
		{Code: "E1", Title: "Relay welded", Severity: "critical", Purposes: []string{"operation"}, Retention: 365 * day},
		{Code: "F*", Title: "Ground fault", Severity: "major", Purposes: []string{"operation"}, Retention: 365 * day},
	}
	p.Log = &fleet.Log{Level: "info", Purposes: []string{"care"}, Retention: 30 * day}
	return p
}

// Declare puts another declaration of the product in place, as Eventful.
func (h *House) Declare(p fleet.Product) {
	h.tb.Helper()
	require.NoError(h.tb, h.DB.Fleet().PutProduct(h.tb.Context(), p))
	h.Gateway.InvalidateProduct(h.tb.Context(), p.Name)
}

// House is everything around a gateway.
type House struct {
	DB      *sqldb.DB
	Clock   *clock.Manual
	Stream  *Stream
	Gateway *device.Gateway
	Provide *fleet.Provisioning
	Metrics *prometheus.Registry

	tb     testing.TB
	tokens map[string]string
	stop   func()
}

// New builds a house whose gateway runs until the test ends. Change may set
// limits before it is made.
func New(tb testing.TB, change func(*device.Config)) *House {
	tb.Helper()
	h := &House{
		DB: sqldbtest.SQLite(tb), Clock: clock.NewManual(Start), Stream: NewStream(), Metrics: prometheus.NewRegistry(),
		tb: tb, tokens: map[string]string{},
	}
	cfg := device.Config{
		Units: h.DB.Fleet(), Credentials: h.DB.Credentials(), Consents: h.DB.Consent(),
		Stream: h.Stream, Clock: h.Clock, Metrics: h.Metrics, Tick: time.Hour,
	}
	if change != nil {
		change(&cfg)
	}
	h.Gateway = device.New(cfg)
	h.Provide = fleet.NewProvisioning(cfg.Units, cfg.Credentials, h.DB.Claims(), h.DB, h.Clock, clock.Random{}, h.Gateway)
	require.NoError(tb, h.DB.Fleet().PutProduct(tb.Context(), Charger()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Gateway.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		h.Stream.Release()
		cancel()
		require.NoError(tb, <-done)
	})
	tb.Cleanup(h.stop)
	if !cfg.Quiet && cfg.Stream == telemetry.Stream(h.Stream) {
		// A tick under way would take what a test prepares: that the stream is full, or held.
		require.Eventually(tb, func() bool { return len(h.Stream.Marks(telemetry.MarkTick)) > 0 }, time.Minute, time.Millisecond, "the gateway ticks by itself")
	}
	return h
}

// Stop stops the gateway before the test ends.
func (h *House) Stop() { h.stop() }

// Units adds n active units WC-0… with tokens. Their owners permit "care".
func (h *House) Units(n int) []string {
	h.tb.Helper()
	ctx := context.Background()
	ids := make([]string, n)
	units := make([]fleet.Unit, n)
	choices := make([]consent.Choice, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("WC-%06d", i)
		units[i] = fleet.Unit{
			ID: ids[i], Key: int64(i + 1), Product: Product, Serial: fmt.Sprint(i), State: fleet.UnitActive, CreatedAt: Start,
		}
		choices[i] = consent.Choice{ID: "receipt-" + ids[i], UnitID: ids[i], Purpose: "care", Given: true, At: Start, By: "import"}
	}
	require.NoError(h.tb, h.DB.Fleet().PutUnits(ctx, units))
	require.NoError(h.tb, h.DB.Consent().AddChoices(ctx, choices))
	issued, err := h.Provide.IssueTokens(ctx, ids)
	require.NoError(h.tb, err)
	for _, i := range issued {
		h.tokens[i.UnitID] = i.Token
	}
	return ids
}

// Token is the token of a unit that Units added.
func (h *House) Token(unitID string) string { return h.tokens[unitID] }

// Identity authenticates a unit that Units added.
func (h *House) Identity(unitID string) device.Identity {
	h.tb.Helper()
	id, err := h.Gateway.Token(context.Background(), unitID, h.tokens[unitID])
	require.NoError(h.tb, err)
	return id
}

// Consent records an owner's choice about "care" and tells the gateway.
func (h *House) Consent(unitID string, given bool) {
	h.tb.Helper()
	ctx := context.Background()
	require.NoError(h.tb, h.DB.Consent().AddChoices(ctx, []consent.Choice{{
		ID: clock.Random{}.ID(), UnitID: unitID, Purpose: "care", Given: given, At: h.Clock.Now(), By: "owner:1",
	}}))
	require.NoError(h.tb, h.Gateway.ConsentChanged(ctx, unitID))
}

// Stream keeps batches in memory.
type Stream struct {
	mu      sync.Mutex
	batches []*telemetry.Batch
	fail    error
	hold    chan struct{}
	tried   int
	discard bool
}

// NewStream makes an empty stream.
func NewStream() *Stream { return &Stream{} }

// Fail makes every later Publish fail; nil ends that.
func (s *Stream) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// Hold makes every later Publish wait until Release.
func (s *Stream) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == nil {
		s.hold = make(chan struct{})
	}
}

// Tried is how many batches came, also those that wait and those that failed.
func (s *Stream) Tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tried
}

// Release ends Hold.
func (s *Stream) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		close(s.hold)
		s.hold = nil
	}
}

// Discard keeps nothing from now on, for benchmarks.
func (s *Stream) Discard() { s.discard = true }

// Publish appends a batch, unless told otherwise.
func (s *Stream) Publish(ctx context.Context, b *telemetry.Batch) error {
	s.mu.Lock()
	hold := s.hold
	s.tried++
	s.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	if !s.discard {
		s.batches = append(s.batches, b)
	}
	return nil
}

// Consume is not for this stream's users.
func (s *Stream) Consume(ctx context.Context, _ uint64, _ int, _ func(context.Context, []telemetry.Sequenced) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// Last is the number of batches.
func (s *Stream) Last(context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.batches)), nil
}

// Rows is every row so far, in order.
func (s *Stream) Rows() (rows []telemetry.Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		rows = append(rows, b.Rows...)
	}
	return rows
}

// Events is every event so far, in order.
func (s *Stream) Events() (events []telemetry.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		events = append(events, b.Events...)
	}
	return events
}

// Marks is every mark of some kinds so far, in order.
func (s *Stream) Marks(kinds ...telemetry.MarkKind) (marks []telemetry.Mark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		for _, m := range b.Marks {
			for _, k := range kinds {
				if m.Kind == k {
					marks = append(marks, m)
				}
			}
		}
	}
	return marks
}

// Batches is every batch so far, in order.
func (s *Stream) Batches() []*telemetry.Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*telemetry.Batch(nil), s.batches...)
}
