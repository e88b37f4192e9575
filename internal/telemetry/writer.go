package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
)

// Products tells what signals a product declares, by name with "number",
// "boolean" or "text"; fault.NotFound for one that is not declared (any more).
type Products interface {
	Signals(ctx context.Context, product string) (map[string]string, error)
}

// WriterConfig says how the writer packs its transactions. The zero value has
// defaults.
type WriterConfig struct {
	// Rows that are written at once, if as many are waiting (default 50,000).
	Rows int
	// Interval is the longest that a row waits for others (default 250 ms), or
	// four times as long as the last transaction took, if that is more, up to
	// 5 s: the more there is to write, the more is written at once.
	Interval time.Duration
	// Backoff is waited after an error, twice as long after each further one,
	// up to 64 times (default 100 ms).
	Backoff time.Duration
	// Stored, if given, is handed what a transaction has stored, and must neither
	// keep nor change it.
	Stored func([]Sequenced)
	// Written, if given, is told of every transaction.
	Written func(Written)
}

// Written is one transaction of the writer.
type Written struct {
	Batches, Rows, Events, Marks int
	Applied                      uint64
}

// Writer copies the stream into history, exactly once: history keeps the
// position in the transaction that stores the rows.
type Writer struct {
	stream   Stream
	history  History
	products Products
	cfg      WriterConfig
	log      *slog.Logger

	applied atomic.Uint64
	ensured map[string]bool // products whose tables fit, of the one Run
	waiters atomic.Int32    // of WaitFor
	hurry   chan struct{}   // a waiter has come

	mu       sync.Mutex
	progress chan struct{} // closed when applied changes
}

// longest bounds the wait that a slow transaction makes: one that waited for an
// erasure says nothing of how much there is to write.
const longest = 5 * time.Second

// NewWriter makes a writer; Run does the work.
func NewWriter(stream Stream, history History, products Products, cfg WriterConfig, logger *slog.Logger) *Writer {
	if cfg.Rows == 0 {
		cfg.Rows = 50_000
	}
	if cfg.Interval == 0 {
		cfg.Interval = 250 * time.Millisecond
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = 100 * time.Millisecond
	}
	return &Writer{
		stream: stream, history: history, products: products, cfg: cfg, log: logger,
		ensured: map[string]bool{}, hurry: make(chan struct{}, 1), progress: make(chan struct{}),
	}
}

// Run copies until ctx ends, and gives its error. Errors of the stream and of
// history are tried again: nothing is skipped, so that one that stays stops
// the copying, is logged, and shows in Lag.
func (w *Writer) Run(ctx context.Context) error {
	wait := w.cfg.Backoff
	for {
		before := w.applied.Load()
		err := w.run(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if w.applied.Load() > before {
			wait = w.cfg.Backoff
		}
		w.log.Error("history writer: trying again", "err", err, "position", w.applied.Load(), "wait", wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, 64*w.cfg.Backoff)
	}
}

// run copies until something fails.
func (w *Writer) run(ctx context.Context) error {
	from, err := w.history.Applied(ctx)
	if err != nil {
		return err
	}
	w.advance(from)

	// Entries wait in arrived while a transaction runs: the more there are, the
	// larger is the next one.
	arrived := make(chan []Sequenced, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return w.stream.Consume(ctx, from, 256, func(ctx context.Context, batches []Sequenced) error {
			select {
			case arrived <- batches:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	g.Go(func() error { return w.pack(ctx, arrived) })
	return g.Wait()
}

// pack collects what arrives and writes it when there is enough, when it has
// waited long enough, or when somebody waits for it.
func (w *Writer) pack(ctx context.Context, arrived <-chan []Sequenced) error {
	var waiting []Sequenced
	rows := 0
	interval := w.cfg.Interval
	due := time.NewTimer(interval)
	due.Stop()
	for {
		flush := false
		select {
		case <-ctx.Done():
			return ctx.Err()
		case batches := <-arrived:
			if len(waiting) == 0 {
				due.Reset(interval)
			}
			waiting = append(waiting, batches...)
			for _, b := range batches {
				rows += len(b.Batch.Rows) + len(b.Batch.Events) + len(b.Batch.Marks)
			}
			flush = rows >= w.cfg.Rows || w.waiters.Load() > 0
		case <-due.C:
			flush = true
		case <-w.hurry:
			flush = true
		}
		if flush && len(waiting) > 0 {
			due.Stop()
			begin := clock.Real{}.Now()
			if err := w.write(ctx, waiting); err != nil {
				return err
			}
			interval = max(w.cfg.Interval, min(4*clock.Real{}.Now().Sub(begin), longest))
			clear(waiting)
			waiting, rows = waiting[:0], 0
		}
	}
}

func (w *Writer) write(ctx context.Context, batches []Sequenced) error {
	done := Written{Batches: len(batches), Applied: batches[len(batches)-1].Seq}
	for _, b := range batches {
		done.Rows += len(b.Batch.Rows)
		done.Events += len(b.Batch.Events)
		done.Marks += len(b.Batch.Marks)
		if len(b.Batch.Rows)+len(b.Batch.Events) == 0 || w.ensured[b.Batch.Product] {
			continue
		}
		signals, err := w.products.Signals(ctx, b.Batch.Product)
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return fmt.Errorf("signals of product %s: %w", b.Batch.Product, err)
		}
		// History makes columns that it lacks, as those of a product that is
		// no longer declared.
		if err := w.history.EnsureProduct(ctx, b.Batch.Product, signals); err != nil {
			return err
		}
		w.ensured[b.Batch.Product] = true
	}
	if err := w.history.Append(ctx, batches); err != nil {
		return err
	}
	if w.cfg.Stored != nil {
		w.cfg.Stored(batches)
	}
	if w.cfg.Written != nil {
		w.cfg.Written(done)
	}
	w.advance(done.Applied) // who waits for it finds that everybody was told
	return nil
}

func (w *Writer) advance(to uint64) {
	w.applied.Store(to)
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.progress)
	w.progress = make(chan struct{})
}

// Applied is the position up to which history is written.
func (w *Writer) Applied() uint64 { return w.applied.Load() }

// Lag is how many entries of the stream are not in history yet.
func (w *Writer) Lag(ctx context.Context) (uint64, error) {
	last, err := w.stream.Last(ctx)
	if err != nil {
		return 0, err
	}
	return last - min(last, w.Applied()), nil
}

// WaitFor returns when history holds the stream up to seq. While somebody
// waits, whatever arrives is written at once.
func (w *Writer) WaitFor(ctx context.Context, seq uint64) error {
	w.waiters.Add(1)
	defer w.waiters.Add(-1)
	select {
	case w.hurry <- struct{}{}:
	default:
	}
	for {
		w.mu.Lock()
		progress := w.progress
		w.mu.Unlock()
		if w.applied.Load() >= seq {
			return nil
		}
		select {
		case <-progress:
		case <-ctx.Done():
			return fmt.Errorf("wait for position %d, history is at %d: %w", seq, w.Applied(), ctx.Err())
		}
	}
}
