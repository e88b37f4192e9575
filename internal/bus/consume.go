package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

const (
	// fetchBytes is how much is fetched ahead of a consumer.
	fetchBytes = 8 << 20
	// fetchEntries is how many of them wait, at most, in a queue of their own.
	fetchEntries = 32
	// handBytes is about how much a consumer is handed at once, as encoded, or one
	// entry: a consumer that is behind, with what it has packed and what it is
	// given next, keeps little of it in memory.
	handBytes = 1 << 20
)

// entry is a message of the stream as it came.
type entry struct {
	seq  uint64
	data []byte
}

// Consume hands batches after position from to handle, in order, as many as
// are waiting and at most max, until ctx ends (then its error is returned) or
// handle fails. Lost connections are made again. ErrGap says that entries
// after from are gone, or that the stream ends before from.
func (b *Bus) Consume(ctx context.Context, from uint64, max int, handle func(ctx context.Context, batches []telemetry.Sequenced) error) error {
	if max < 1 {
		return fault.New(fault.Invalid, "consume: max must be at least 1, is %d", max)
	}
	if b.tail == nil { // others publish too: what this process did is not all
		return b.decoded(ctx, from, max, handle)
	}
	if err := b.holds(ctx, from); err != nil {
		return err
	}
	for r := (&reader{from}); ; {
		if err := b.catchUp(ctx, r, max, handle); err != nil {
			return err
		}
		if err := b.follow(ctx, r, max, handle); err != nil {
			return err
		}
	}
}

// decoded reads the stream.
func (b *Bus) decoded(ctx context.Context, from uint64, max int, handle func(ctx context.Context, batches []telemetry.Sequenced) error) error {
	return b.consume(ctx, from, max, func(ctx context.Context, entries []entry) error {
		batches := make([]telemetry.Sequenced, len(entries))
		for i, e := range entries {
			batch, err := telemetry.Decode(e.data)
			if err != nil {
				return fmt.Errorf("consume: entry %d: %w", e.seq, err)
			}
			batches[i] = telemetry.Sequenced{Seq: e.seq, Batch: batch}
		}
		return handle(ctx, batches)
	})
}

func (b *Bus) consume(ctx context.Context, from uint64, max int, handle func(ctx context.Context, entries []entry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	if err := b.holds(ctx, from); err != nil {
		return err
	}
	consumer, err := b.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy:    jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:      from + 1,
		MaxResetAttempts: -1,
	})
	if err != nil {
		return fault.Wrap(fault.Unavailable, "consume", err)
	}
	waiting := make(chan entry, min(max, fetchEntries))
	delivery, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			b.log.Error("stream: entry without metadata", "err", err) // the next shows the gap
			return
		}
		select {
		case waiting <- entry{seq: meta.Sequence.Stream, data: m.Data()}:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessagesWithBytesLimit(max, fetchBytes), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if ctx.Err() == nil {
			b.log.Debug("stream: consumer starts again", "err", err)
		}
	}))
	if err != nil {
		return fault.Wrap(fault.Unavailable, "consume", err)
	}
	defer func() {
		delivery.Stop()
		if info := consumer.CachedInfo(); info != nil && b.closing.Err() == nil {
			b.leave(ctx, info.Name)
		}
	}()

	entries := make([]entry, 0, max)
	last := from
	for {
		entries = entries[:0]
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.closing.Done():
			return fault.New(fault.Unavailable, "consume: the stream was closed")
		case <-delivery.Closed():
			return fault.New(fault.Unavailable, "consume: the consumer was closed")
		case e := <-waiting:
			entries = append(entries, e)
		}
		for bytes := len(entries[0].data); len(entries) < max && len(waiting) > 0 && bytes < handBytes; {
			e := <-waiting
			entries, bytes = append(entries, e), bytes+len(e.data)
		}
		for _, e := range entries {
			if e.seq != last+1 {
				return fmt.Errorf("consume: the position is %d but the next entry is %d: %w", last, e.seq, ErrGap)
			}
			last = e.seq
		}
		if err := handle(ctx, entries); err != nil {
			return err
		}
	}
}

// leave removes a consumer that nobody uses any more: the server would keep it
// for minutes, and a stream has only so many.
func (b *Bus) leave(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.Timeout)
	defer cancel()
	if err := b.stream.DeleteConsumer(ctx, name); err != nil {
		b.log.Debug("stream: a consumer goes by itself later", "consumer", name, "err", err)
	}
}

// holds reports ErrGap when the stream does not hold what comes after from.
func (b *Bus) holds(ctx context.Context, from uint64) error {
	s, err := b.Stats(ctx)
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	if from > s.Last {
		return fmt.Errorf("consume: the position is %d but the stream ends at %d: %w", from, s.Last, ErrGap)
	}
	if from+1 < s.First {
		return fmt.Errorf("consume: %w", &telemetry.GapError{Position: from, First: s.First})
	}
	return nil
}
