package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// margin is left of the server's largest payload for what travels beside the
// data.
const margin = 1024

// Publish returns when b is on disk; b must not be changed afterwards, the
// consumers in this process are handed it. A batch that is larger than an entry may
// be becomes several, one after the other; when one of them fails the earlier
// ones stay, and publishing all of them again makes duplicates that history
// finds. A single value larger than an entry is fault.Invalid; whatever may
// pass is fault.Unavailable.
func (b *Bus) Publish(ctx context.Context, batch *telemetry.Batch) error {
	if batch.Empty() {
		return nil
	}
	data := telemetry.Encode(batch)
	if len(data) <= b.maxEntry() {
		return b.publish(ctx, batch, data)
	}
	first, second, ok := halve(batch)
	if !ok {
		return fault.New(fault.Invalid, "publish: one value of %d bytes is larger than an entry of the stream may be, %d", len(data), b.maxEntry())
	}
	if err := b.Publish(ctx, first); err != nil {
		return err
	}
	return b.Publish(ctx, second)
}

func (b *Bus) maxEntry() int { return max(int(b.nc.MaxPayload())-margin, 1) }

// halve splits a batch: marks from the rest, events from rows, then each by
// half, then the values of one row, whose counts go with the first half.
func halve(b *telemetry.Batch) (first, second *telemetry.Batch, ok bool) {
	rows, events, marks := len(b.Rows), len(b.Events), len(b.Marks)
	switch {
	case rows+events > 0 && marks > 0:
		return &telemetry.Batch{Product: b.Product, Rows: b.Rows, Events: b.Events}, &telemetry.Batch{Product: b.Product, Marks: b.Marks}, true
	case rows > 0 && events > 0:
		return &telemetry.Batch{Product: b.Product, Rows: b.Rows}, &telemetry.Batch{Product: b.Product, Events: b.Events}, true
	case events > 1:
		return &telemetry.Batch{Product: b.Product, Events: b.Events[:events/2]}, &telemetry.Batch{Product: b.Product, Events: b.Events[events/2:]}, true
	case rows > 1:
		return &telemetry.Batch{Product: b.Product, Rows: b.Rows[:rows/2]}, &telemetry.Batch{Product: b.Product, Rows: b.Rows[rows/2:]}, true
	case marks > 1:
		return &telemetry.Batch{Product: b.Product, Marks: b.Marks[:marks/2]}, &telemetry.Batch{Product: b.Product, Marks: b.Marks[marks/2:]}, true
	case rows == 1 && len(b.Rows[0].Values) > 1:
		r, half := b.Rows[0], len(b.Rows[0].Values)/2
		rest := r
		r.Values, rest.Values = r.Values[:half], rest.Values[half:]
		rest.NotConsented, rest.Undeclared, rest.Invalid = 0, 0, 0
		return &telemetry.Batch{Product: b.Product, Rows: []telemetry.Row{r}}, &telemetry.Batch{Product: b.Product, Rows: []telemetry.Row{rest}}, true
	}
	return nil, nil, false
}

func (b *Bus) publish(ctx context.Context, batch *telemetry.Batch, data []byte) error {
	if b.embedded != nil {
		if err := b.embedded.room(b.cfg.MinFree); err != nil {
			return fault.Wrap(fault.Unavailable, "publish", err)
		}
	}
	if b.cfg.Room != nil {
		if err := b.cfg.Room(); err != nil {
			return fault.Wrap(fault.Unavailable, "publish", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	ack, err := b.js.Publish(ctx, b.subject(), data, jetstream.WithExpectStream(b.cfg.Stream))
	if err == nil {
		b.acknowledged(ack.Sequence)
		if b.tail != nil {
			b.tail.put(ack.Sequence, batch, len(data))
		}
		return nil
	}
	if b.embedded != nil {
		b.embedded.revive(clock.Real{}.Now())
	}
	const maximumBytesExceeded = 10077
	if refused, ok := errors.AsType[*jetstream.APIError](err); ok && refused.ErrorCode == maximumBytesExceeded {
		err = fmt.Errorf("%w: %w", ErrFull, err)
	}
	return fault.Wrap(fault.Unavailable, "publish", err)
}

// acknowledged notes that an entry is durable.
func (b *Bus) acknowledged(seq uint64) {
	if b.embedded != nil {
		for old := b.embedded.reached.Load(); old < seq && !b.embedded.reached.CompareAndSwap(old, seq); {
			old = b.embedded.reached.Load()
		}
	}
	if b.cfg.Acknowledged != nil {
		b.cfg.Acknowledged(seq)
	}
}
