package app

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"sync"
	"time"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
)

// reached keeps, in a file beside the stores, how far each had come when it
// last said that something was durable. A store whose log is damaged takes what
// stands before the damage for all there is; this file is the second place that
// knows better. It is written after the stores and synced now and then: after
// kill -9 it is exact, after a power cut it may be some seconds old, so what it
// says was always true.
//
// The file has two halves of 512 bytes that are written in turn; the newer one
// that is right counts: magic 8, generation 8, stream 8, records 8, history 8,
// CRC-32C 4, little-endian.
type reached struct {
	log *slog.Logger

	mu         sync.Mutex
	f          *os.File
	generation uint64
	at         positions
	dirty      bool
	failed     bool
}

// positions is how far the stores have come.
type positions struct {
	Stream  uint64 // newest entry acknowledged
	Records uint64 // number of the newest transaction, of SQLite only
	History uint64 // stream entry up to which history is written
}

const (
	reachedFile  = "reached"
	reachedMagic = "fettle1\n"
	reachedHalf  = 512
	reachedSize  = 8 + 8 + 3*8 + 4
	reachedSync  = 2 * time.Second
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openReached reads the file, or begins one.
func openReached(path string, log *slog.Logger) (*reached, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	r := &reached{log: log, f: f}
	data := make([]byte, 2*reachedHalf)
	n, _ := f.ReadAt(data, 0) // shorter when it is new
	for half := range 2 {
		r.read(data[half*reachedHalf:][:reachedSize])
	}
	if n > 0 && r.generation == 0 {
		log.Warn("what the stores had reached is not readable and is noted anew; damage at their ends is not recognised in this start", "file", path)
	}
	if _, err := f.WriteAt(data[n:], int64(n)); err != nil { // so that a full disk has room for it later
		return nil, errors.Join(fmt.Errorf("begin %s: %w", path, err), f.Close())
	}
	return r, nil
}

func (r *reached) read(b []byte) {
	le := binary.LittleEndian
	if string(b[:8]) != reachedMagic || crc32.Checksum(b[:reachedSize-4], castagnoli) != le.Uint32(b[reachedSize-4:]) {
		return
	}
	if generation := le.Uint64(b[8:]); generation > r.generation {
		r.generation = generation
		r.at = positions{Stream: le.Uint64(b[16:]), Records: le.Uint64(b[24:]), History: le.Uint64(b[32:])}
	}
}

// note changes what is reached and writes it.
func (r *reached) note(change func(p *positions)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.at
	change(&r.at)
	if r.at == before {
		return
	}
	r.generation++
	le := binary.LittleEndian
	b := make([]byte, 0, reachedSize)
	b = append(b, reachedMagic...)
	for _, n := range []uint64{r.generation, r.at.Stream, r.at.Records, r.at.History} {
		b = le.AppendUint64(b, n)
	}
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := r.f.WriteAt(b, int64(r.generation%2)*reachedHalf)
	r.dirty = true
	if err != nil && !r.failed {
		r.log.Warn("what the stores have reached cannot be noted", "error", err)
	}
	r.failed = err != nil
}

func (r *reached) stream(seq uint64) {
	r.note(func(p *positions) { p.Stream = max(p.Stream, seq) })
}

func (r *reached) history(seq uint64) {
	r.note(func(p *positions) { p.History = max(p.History, seq) })
}

func (r *reached) records(number uint32) {
	r.note(func(p *positions) {
		if p.Records == 0 || sqldb.Before(uint32(p.Records), number) {
			p.Records = uint64(number)
		}
	})
}

// run syncs the file now and then.
func (r *reached) run(ctx context.Context) error {
	t := time.NewTicker(reachedSync)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			r.sync()
		}
	}
}

func (r *reached) sync() {
	r.mu.Lock()
	dirty := r.dirty
	r.dirty = false
	r.mu.Unlock()
	if dirty {
		if err := r.f.Sync(); err != nil {
			r.log.Warn("sync what the stores have reached", "error", err)
		}
	}
}

func (r *reached) Close() error {
	r.sync()
	return r.f.Close()
}

// consumed looks whether the stream holds what history and the detectors have
// yet to take, and has not fallen behind what they took.
func (e *engines) consumed(ctx context.Context) error {
	history, err := e.history.Applied(ctx)
	if err != nil {
		return err
	}
	first, last, err := e.records.EvaluatorPositions(ctx)
	if err != nil {
		return err
	}
	end, err := e.stream.Last(ctx)
	if err != nil {
		return err
	}
	if taken := max(history, last); taken > end {
		return fmt.Errorf("%w: its entries up to %d were taken, it ends with entry %d", bus.ErrDamaged, taken, end)
	}
	return e.stream.Holds(ctx, min(history, first))
}

// received is the newest receive time that the stream has, Unix ms. The clock
// may have been set back while nothing ran.
func (e *engines) received(ctx context.Context) (int64, error) {
	newest, err := e.stream.Newest(ctx)
	if err != nil || newest == nil {
		return 0, err
	}
	var at int64
	for i := range newest.Rows {
		at = max(at, newest.Rows[i].Received)
	}
	for i := range newest.Events {
		at = max(at, newest.Events[i].Received)
	}
	for i := range newest.Marks {
		at = max(at, newest.Marks[i].At)
	}
	return at, nil
}

// damage makes of a store's finding what an operator can act on.
func (c *Config) damage(err error) error {
	what := ""
	switch {
	case errors.Is(err, bus.ErrDamaged):
		what = c.path("stream")
	case errors.Is(err, sqldb.ErrDamaged):
		what = c.recordsFile()
	case errors.Is(err, duckdb.ErrDamaged):
		what = c.path("history")
	default:
		return err
	}
	return fault.New(fault.Internal, "%w (in %s). Fettle does not go on with what is left, since units were told that the rest is safe. "+
		"Restore a backup into a new directory with \"fettle restore --data NEW FILE\" and start on that; what to look at first: docs/operations.md, \"When a disk lies\"", err, what)
}
