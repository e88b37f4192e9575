// Package bus is the durable stream between the gateway and its consumers, on
// NATS JetStream: a server inside this process by default, a cluster at an
// address when one machine is outgrown. There is one client; only the
// connection differs.
//
// The server in this process syncs every entry to disk before it acknowledges
// it. A server at an address must be told to (`jetstream { sync_interval:
// always }`): JetStream's own default loses acknowledged entries when the
// machine stops.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// Config says where the stream is and how much it may hold. Dir or URL is
// needed; the rest has defaults.
type Config struct {
	Dir string // data of the server in this process; unused with URL
	URL string // nats://[user:password@]host[:port],...: connect there instead

	Credentials string // with URL: file with a user's JWT and key, may be empty
	Replicas    int    // with URL: copies of the stream (default 1)

	Stream string // its name (default "fettle"); its subject is <name>.telemetry

	// MaxAge is how long Trim leaves entries that every consumer has read
	// (default 48 h, real time). Entries that are not read stay.
	MaxAge time.Duration
	// MaxBytes is the most that the stream may hold (default 8 GiB). A full
	// stream refuses what is new, it never drops what is old.
	MaxBytes int64
	// MinFree is how much of the disk under Dir must stay free (default
	// 64 MiB): with less, nothing is published.
	MinFree int64
	// MaxPayload is the largest entry of the server in this process (default
	// 1 MiB). At an address the server says.
	MaxPayload int
	// Room, if given, is asked before each publish and refuses what there is no
	// room for with ErrFull.
	Room func() error
	// Timeout is how long a publish may take (default 5 s).
	Timeout time.Duration

	// Reached is a sequence that the stream is known to have had: one that was
	// acknowledged, or taken by a consumer. A stream that ends before it is
	// refused as ErrDamaged.
	Reached uint64
	// Acknowledged, if given, is told of each sequence that has become durable.
	Acknowledged func(seq uint64)
}

func (c *Config) setDefaults() {
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.Stream == "" {
		c.Stream = "fettle"
	}
	if c.MaxAge == 0 {
		c.MaxAge = 48 * time.Hour
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = 8 << 30
	}
	if c.MinFree == 0 {
		c.MinFree = 64 << 20
	}
	if c.MaxPayload == 0 {
		c.MaxPayload = 1 << 20
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
}

// Errors of the stream. ErrFull: it holds MaxBytes, or the disk has less free
// than MinFree, and it refuses more; kind Unavailable. ErrGap: entries that a consumer has not read are gone; kind
// Internal, since nothing but a restore helps.
var (
	ErrFull = telemetry.ErrFull
	ErrGap  = telemetry.ErrGap
	// ErrDamaged: Open found that the stream has lost what was durable, and
	// changed nothing; kind Internal.
	ErrDamaged = errors.New("the stream is damaged")
)

// Bus is a telemetry.Stream. It is safe for concurrent use.
type Bus struct {
	cfg      Config
	log      *slog.Logger
	embedded *embedded // nil with a server at an address
	tail     *tail     // nil with a server at an address
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   jetstream.Stream

	closing   context.Context
	close     context.CancelFunc
	closeOnce sync.Once
}

var _ telemetry.Stream = (*Bus)(nil)

// Open starts the server in this process, or connects to the one at cfg.URL,
// and makes the stream if it is not there.
func Open(ctx context.Context, cfg Config, logger *slog.Logger) (*Bus, error) {
	return open(ctx, cfg, logger, 0)
}

// open makes the stream, if it is new, begin at sequence first.
func open(ctx context.Context, cfg Config, logger *slog.Logger, first uint64) (_ *Bus, err error) {
	cfg.setDefaults()
	b := &Bus{cfg: cfg, log: logger}
	b.closing, b.close = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			_ = b.Close()
		}
	}()

	url := cfg.URL
	options := []nats.Option{
		nats.Name("fettle"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if b.closing.Err() == nil {
				logger.Warn("stream: connection lost", "err", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { logger.Info("stream: connected again") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			logger.Warn("stream: client error", "err", err)
		}),
	}
	if url == "" {
		if b.embedded, err = startEmbedded(ctx, cfg, logger); err != nil {
			return nil, fmt.Errorf("open stream: %w", err)
		}
		options = append(options, nats.InProcessServer(b.embedded.server))
		b.tail = newTail()
	} else if cfg.Credentials != "" {
		options = append(options, nats.UserCredentials(cfg.Credentials))
	}
	if b.nc, err = nats.Connect(url, options...); err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open stream: connect", err)
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(cfg.Timeout)); err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	// No MaxAge and no other limit that would drop entries: Trim does, when
	// every consumer has read them.
	b.stream, err = b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        cfg.Stream,
		Description: "Fettle: what units reported",
		Subjects:    []string{b.subject()},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    cfg.MaxBytes,
		Replicas:    cfg.Replicas,
		AllowDirect: true,
		FirstSeq:    first,
	})
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, "open stream: create", err)
	}
	if last, err := b.Last(ctx); err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	} else if last < cfg.Reached {
		return nil, fmt.Errorf("open stream: %w: it had entry %d and ends with entry %d", ErrDamaged, cfg.Reached, last)
	}
	return b, nil
}

// Holds reports whether the stream has every entry after from: ErrDamaged names
// the first that it lacks.
func (b *Bus) Holds(ctx context.Context, from uint64) error {
	info, err := b.stream.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return fault.Wrap(fault.Unavailable, "ask for the stream's state", err)
	}
	if first := info.State.FirstSeq; from+1 < first {
		return fmt.Errorf("%w: entry %d is needed, the first held is %d", ErrDamaged, from+1, first)
	}
	for _, seq := range info.State.Deleted {
		if seq > from {
			return fmt.Errorf("%w: it lacks entry %d", ErrDamaged, seq)
		}
	}
	return nil
}

func (b *Bus) subject() string { return b.cfg.Stream + ".telemetry" }

// Close disconnects and stops the server in this process.
func (b *Bus) Close() error {
	b.closeOnce.Do(func() {
		b.close()
		if b.nc != nil {
			b.nc.Close()
		}
		if b.embedded != nil {
			b.embedded.stop()
		}
	})
	return nil
}

// Last is the sequence of the newest entry, 0 when there never was one.
func (b *Bus) Last(ctx context.Context) (uint64, error) {
	s, err := b.Stats(ctx)
	return s.Last, err
}

// Newest is the newest entry, nil when the stream holds none.
func (b *Bus) Newest(ctx context.Context) (*telemetry.Batch, error) {
	s, err := b.Stats(ctx)
	if err != nil || s.Entries == 0 {
		return nil, err
	}
	m, err := b.stream.GetMsg(ctx, s.Last)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, fmt.Sprintf("get entry %d", s.Last), err)
	}
	batch, err := telemetry.Decode(m.Data)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", s.Last, err)
	}
	return batch, nil
}

// Stats is what the stream holds.
type Stats struct {
	First, Last uint64 // sequences; First is Last+1 when it holds nothing
	Entries     uint64
	Bytes       uint64
	MaxBytes    int64
}

// Stats asks the server what the stream holds.
func (b *Bus) Stats(ctx context.Context) (Stats, error) {
	info, err := b.stream.Info(ctx)
	if err != nil {
		return Stats{}, fault.Wrap(fault.Unavailable, "ask for the stream's state", err)
	}
	s := Stats{
		First: info.State.FirstSeq, Last: info.State.LastSeq,
		Entries: info.State.Msgs, Bytes: info.State.Bytes, MaxBytes: info.Config.MaxBytes,
	}
	if s.Entries == 0 {
		s.First = s.Last + 1
	}
	return s, nil
}

// Ready reports why entries cannot be published now, or nil.
func (b *Bus) Ready(ctx context.Context) error {
	s, err := b.Stats(ctx)
	if err != nil {
		return err
	}
	if s.MaxBytes > 0 && s.Bytes >= uint64(s.MaxBytes) {
		return fault.Wrap(fault.Unavailable, "stream", ErrFull)
	}
	if b.embedded != nil {
		return fault.Wrap(fault.Unavailable, "stream", b.embedded.room(b.cfg.MinFree))
	}
	return nil
}

// Trim removes entries that may go: those at or below upTo, which every
// consumer has read and stored, and older than MaxAge; younger ones as well
// while the stream is more than half full. The newest entry always stays, it
// holds the sequence. It reports how many were removed.
func (b *Bus) Trim(ctx context.Context, upTo uint64) (removed uint64, err error) {
	s, err := b.Stats(ctx)
	if err != nil {
		return 0, fmt.Errorf("trim stream: %w", err)
	}
	if s.Entries == 0 {
		return 0, nil
	}
	end := min(upTo+1, s.Last) // the first that stays
	if end <= s.First {
		return 0, nil
	}
	keep, err := b.firstSince(ctx, s.First, end, clock.Real{}.Now().Add(-b.cfg.MaxAge))
	if err != nil {
		return 0, fmt.Errorf("trim stream: %w", err)
	}
	if half := uint64(s.MaxBytes / 2); s.MaxBytes > 0 && s.Bytes > half {
		excess := (s.Bytes - half) * s.Entries / s.Bytes
		keep = max(keep, min(end, s.First+excess+1))
	}
	if keep <= s.First {
		return 0, nil
	}
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSequence(keep)); err != nil {
		return 0, fault.Wrap(fault.Unavailable, "trim stream", err)
	}
	return keep - s.First, nil
}

// firstSince finds the first entry of [from, to) that is not older than t, or
// to, by halving.
func (b *Bus) firstSince(ctx context.Context, from, to uint64, t time.Time) (uint64, error) {
	for from < to {
		middle := from + (to-from)/2
		m, err := b.stream.GetMsg(ctx, middle)
		if err != nil {
			return 0, fault.Wrap(fault.Unavailable, fmt.Sprintf("get entry %d", middle), err)
		}
		if m.Time.Before(t) {
			from = middle + 1
		} else {
			to = middle
		}
	}
	return from, nil
}
