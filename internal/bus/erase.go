package bus

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"fettle.dev/fettle/internal/fault"
)

// blockBytes is more than a block of JetStream's holds: removing what is in the
// same block as what stays leaves its bytes there, so that much is overwritten.
const blockBytes = 17 << 20

// Erase removes all entries up to one, however young, so that their bytes are
// on no disk any more: every consumer must have read them, and something must
// have come after them.
func (b *Bus) Erase(ctx context.Context, upTo uint64) error {
	s, err := b.Stats(ctx)
	if err != nil {
		return fmt.Errorf("erase from the stream: %w", err)
	}
	if s.Entries == 0 || s.First > upTo {
		return nil
	}
	if s.Last <= upTo { // the newest holds the sequence
		return fault.New(fault.Unavailable, "erase from the stream: nothing has come yet after entry %d", upTo)
	}
	from, size := upTo, 0
	for ; from > s.First && size < blockBytes; from-- {
		m, err := b.stream.GetMsg(ctx, from)
		if err != nil {
			return fault.Wrap(fault.Unavailable, fmt.Sprintf("erase from the stream: get entry %d", from), err)
		}
		size += len(m.Data)
	}
	if from > s.First {
		if err := b.stream.Purge(ctx, jetstream.WithPurgeSequence(from)); err != nil {
			return fault.Wrap(fault.Unavailable, "erase from the stream", err)
		}
	}
	for seq := from; seq <= upTo; seq++ {
		if err := b.stream.SecureDeleteMsg(ctx, seq); err != nil {
			return fault.Wrap(fault.Unavailable, fmt.Sprintf("erase entry %d of the stream", seq), err)
		}
	}
	if err := b.stream.Purge(ctx, jetstream.WithPurgeSequence(upTo+1)); err != nil {
		return fault.Wrap(fault.Unavailable, "erase from the stream", err)
	}
	return nil
}
