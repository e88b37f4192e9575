package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"fettle.dev/fettle/internal/telemetry"
)

// Past is where a Watcher reads what the stream no longer holds.
type Past interface {
	Applied(ctx context.Context) (uint64, error)
	Replay(ctx context.Context, q telemetry.Query, fn func(row *telemetry.Stored, mark *telemetry.StoredMark) error) error
}

// item is a row or a mark of history.
type item struct {
	row  *telemetry.Row
	mark *telemetry.Mark
	at   telemetry.Position
}

// consume watches the stream. Where it begins after what was kept, as when
// records of an older day were restored beside it, history tells what was
// between, in the order of the stream: the same is found as if the stream had
// told it.
func (r *watching) consume(ctx context.Context) error {
	for {
		err := r.c.Stream.Consume(ctx, r.seq, 256, r.feed)
		gap, is := errors.AsType[*telemetry.GapError](err)
		if !is || ctx.Err() != nil {
			return err
		}
		if err := r.bridge(ctx, gap.First-1); err != nil {
			return fmt.Errorf("take what the stream no longer holds from history: %w", err)
		}
	}
}

// bridge goes on up to an entry. What history lacks as well nobody has: it is
// left out, and the time is an outage of ours to the detectors of silence.
func (r *watching) bridge(ctx context.Context, upTo uint64) error {
	from, applied := r.seq, uint64(0)
	if r.c.History != nil {
		var err error
		if applied, err = r.c.History.Applied(ctx); err != nil {
			return err
		}
	}
	if held := min(applied, upTo); held > from {
		r.c.Log.Warn("the stream no longer holds what the detectors need; history tells it", "after", from, "up to", held)
		if err := r.replay(ctx, from, held); err != nil {
			return err
		}
		r.fromHistory.Add(held - from)
		from = held
	}
	if from < upTo {
		r.c.Log.Error("the detectors go on without entries that neither stream nor history holds; no finding tells of them", "first", from+1, "last", upTo)
		r.missed.Add(upTo - from)
		r.reach(upTo)
	}
	return nil
}

// replay takes entries (after, upTo] from history.
func (r *watching) replay(ctx context.Context, after, upTo uint64) error {
	r.mu.Lock()
	queries := []telemetry.Query{{}} // marks, which are of all products
	for _, name := range r.e.Products() {
		queries = append(queries, telemetry.Query{Product: name, Signals: r.e.Signals(name), NoMarks: true})
	}
	r.mu.Unlock()
	var heads []*head
	defer func() {
		for _, h := range heads {
			h.stop()
		}
	}()
	for _, q := range queries {
		q.After, q.UpTo = after, upTo
		h := &head{}
		h.next, h.stop = iter.Pull2(r.past(ctx, q))
		heads = append(heads, h)
		if err := h.advance(); err != nil {
			return err
		}
	}
	for {
		heads = slices.DeleteFunc(heads, func(h *head) bool { return h.done })
		if len(heads) == 0 {
			r.reach(upTo)
			return nil
		}
		if err := r.entry(ctx, heads); err != nil {
			return err
		}
		if err := r.relieve(ctx); err != nil {
			return err
		}
	}
}

// entry takes the next entry of the stream whole, so that it can be kept.
func (r *watching) entry(ctx context.Context, heads []*head) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = true
	for seq := uint64(0); ; {
		var first *head
		for _, h := range heads {
			if !h.done && (first == nil || h.at.Compare(first.at) < 0) {
				first = h
			}
		}
		if first == nil || seq > 0 && first.at.Seq != seq {
			r.seq, r.broken = seq, false
			return nil
		}
		seq = first.at.Seq
		var err error
		if first.row != nil {
			err = r.e.Row(ctx, first.row)
			r.count(1)
		} else {
			err = r.e.Mark(ctx, first.mark)
		}
		if err == nil {
			err = first.advance()
		}
		if err != nil {
			return err
		}
	}
}

// reach notes that everything up to an entry is taken.
func (r *watching) reach(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq, r.broken = seq, false
}

// head is the next item of a query.
type head struct {
	item
	done bool
	next func() (item, error, bool)
	stop func()
}

func (h *head) advance() error {
	i, err, ok := h.next()
	h.item, h.done = i, !ok
	return err
}

var errStopped = errors.New("no more is wanted")

// past is what a query gives. An item is valid until the next is asked for.
func (r *watching) past(ctx context.Context, q telemetry.Query) iter.Seq2[item, error] {
	return func(yield func(item, error) bool) {
		err := r.c.History.Replay(ctx, q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
			i := item{}
			if row != nil {
				i.row, i.at = &row.Row, row.Position
			} else {
				i.mark, i.at = &mark.Mark, mark.Position
			}
			if !yield(i, nil) {
				return errStopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStopped) {
			yield(item{}, err)
		}
	}
}
