package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// tail holds the newest entries as they were published by this process, after
// they became durable. A consumer that keeps up is handed the very batch that
// the gateway made: it is decoded by nobody and asked of no server. One that
// falls behind the tail reads the stream.
type tail struct {
	mu      sync.Mutex
	entries map[uint64]entered
	order   []held // as they came, which is nearly that of sequence
	bytes   int    // of all, encoded
	newest  uint64
	readers map[*reader]struct{}
	changed chan struct{} // closed when an entry comes
}

// entered is an entry as it is held, and its size as encoded.
type entered struct {
	*telemetry.Batch
	bytes int
}

// held is where an entry of the tail stands.
type held struct {
	seq   uint64
	bytes int
}

// reader is a consumer that follows the tail; at is the last that it has taken.
type reader struct{ at uint64 }

// maxTail is how much the tail holds, in bytes as encoded; decoded it is about
// eight times as much.
const maxTail = 8 << 20

func newTail() *tail {
	return &tail{entries: map[uint64]entered{}, readers: map[*reader]struct{}{}, changed: make(chan struct{})}
}

// put adds an entry that is durable. The batch must not be changed any more.
func (t *tail) put(seq uint64, b *telemetry.Batch, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries[seq] = entered{b, bytes}
	t.order = append(t.order, held{seq, bytes})
	t.bytes += bytes
	t.newest = max(t.newest, seq)
	t.drop()
	close(t.changed)
	t.changed = make(chan struct{})
}

// drop forgets what every reader has taken, and the oldest of what is too much.
func (t *tail) drop() {
	taken := t.newest
	for r := range t.readers {
		taken = min(taken, r.at)
	}
	n := 0
	for n < len(t.order) && (t.bytes > maxTail || len(t.readers) > 0 && t.order[n].seq <= taken) {
		delete(t.entries, t.order[n].seq)
		t.bytes -= t.order[n].bytes
		n++
	}
	t.order = append(t.order[:0], t.order[n:]...)
}

// take gives the entries after r's position that are held without a gap, at
// most limit and about handBytes, and notes that all before are taken. Without any it gives what to
// wait for; behind says that the tail has only entries further on.
func (t *tail) take(r *reader, limit int) (batches []telemetry.Sequenced, changed <-chan struct{}, behind bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers[r] = struct{}{}
	for seq, bytes := r.at+1, 0; len(batches) < limit && bytes < handBytes; seq++ {
		b, ok := t.entries[seq]
		if !ok {
			break
		}
		batches = append(batches, telemetry.Sequenced{Seq: seq, Batch: b.Batch})
		bytes += b.bytes
	}
	return batches, t.changed, len(batches) == 0 && t.newest > r.at
}

func (t *tail) has(seq uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, ok := t.entries[seq]
	return ok
}

// advance notes what a reader has taken.
func (t *tail) advance(r *reader, to uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.at = to
	t.drop()
}

// leave forgets a reader.
func (t *tail) leave(r *reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.readers, r)
}

const (
	// settle is how long an entry may be missing from the tail while later ones
	// are there: publishers side by side finish in any order.
	settle = 50 * time.Millisecond
	// lookAgain is how often a consumer that hears nothing asks the server
	// whether the stream has gone on: a publish that failed may have been stored.
	lookAgain = 5 * time.Second
)

// follow hands the tail's entries to handle until it must read the stream
// itself: then it returns nil, and r is at the last that was taken.
func (b *Bus) follow(ctx context.Context, r *reader, max int, handle func(ctx context.Context, batches []telemetry.Sequenced) error) error {
	defer b.tail.leave(r)
	timer := time.NewTimer(lookAgain)
	defer timer.Stop()
	var missing time.Time // since when an entry is missing
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		batches, changed, behind := b.tail.take(r, max)
		if len(batches) > 0 {
			if err := handle(ctx, batches); err != nil {
				return err
			}
			b.tail.advance(r, batches[len(batches)-1].Seq)
			missing = time.Time{}
			continue
		}
		patience := lookAgain
		if behind {
			now := clock.Real{}.Now()
			if missing.IsZero() {
				missing = now
			}
			if patience = settle - now.Sub(missing); patience <= 0 {
				return nil
			}
		}
		timer.Reset(patience)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.closing.Done():
			return fault.New(fault.Unavailable, "consume: the stream was closed")
		case <-changed:
		case <-timer.C:
			return nil
		}
	}
}

var errCaughtUp = errors.New("the tail goes on from here")

// catchUp reads the stream from r's position up to its present end, or until
// the tail has what comes next.
func (b *Bus) catchUp(ctx context.Context, r *reader, max int, handle func(ctx context.Context, batches []telemetry.Sequenced) error) error {
	s, err := b.Stats(ctx)
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	if r.at == s.Last {
		return nil
	}
	err = b.decoded(ctx, r.at, max, func(ctx context.Context, batches []telemetry.Sequenced) error {
		if err := handle(ctx, batches); err != nil {
			return err
		}
		r.at = batches[len(batches)-1].Seq
		if r.at >= s.Last || b.tail.has(r.at+1) {
			return errCaughtUp
		}
		return nil
	})
	if errors.Is(err, errCaughtUp) {
		return nil
	}
	return err
}
