// Package reached keeps how far each store had come when it last said that
// something was durable.
package reached

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

	"fettle.dev/fettle/internal/sqldb"
)

// File keeps, in a file beside the stores, how far each had come when it
// last said that something was durable. A store whose log is damaged takes what
// stands before the damage for all there is; this file is the second place that
// knows better. It is written after the stores and synced now and then: after
// kill -9 it is exact, after a power cut it may be some seconds old, so what it
// says was always true.
//
// The file has two halves of 512 bytes that are written in turn; the newer one
// that is right counts: magic 8, generation 8, stream 8, records 8, history 8,
// CRC-32C 4, little-endian.
type File struct {
	log *slog.Logger

	mu         sync.Mutex
	f          *os.File
	generation uint64
	at         Positions
	dirty      bool
	failed     bool
}

// Positions is how far the stores have come.
type Positions struct {
	Stream  uint64 // newest entry acknowledged
	Records uint64 // number of the newest transaction, of SQLite only
	History uint64 // stream entry up to which history is written
}

const (
	magic     = "fettle1\n"
	half      = 512
	size      = 8 + 8 + 3*8 + 4
	syncEvery = 2 * time.Second
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Open reads the file, or begins one.
func Open(path string, log *slog.Logger) (*File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	r := &File{log: log, f: f}
	data := make([]byte, 2*half)
	n, _ := f.ReadAt(data, 0) // shorter when it is new
	for i := range 2 {
		r.read(data[i*half:][:size])
	}
	if n > 0 && r.generation == 0 {
		log.Warn("what the stores had reached is not readable and is noted anew; damage at their ends is not recognised in this start", "file", path)
	}
	if _, err := f.WriteAt(data[n:], int64(n)); err != nil { // so that a full disk has room for it later
		return nil, errors.Join(fmt.Errorf("begin %s: %w", path, err), f.Close())
	}
	return r, nil
}

func (r *File) read(b []byte) {
	le := binary.LittleEndian
	if string(b[:8]) != magic || crc32.Checksum(b[:size-4], castagnoli) != le.Uint32(b[size-4:]) {
		return
	}
	if generation := le.Uint64(b[8:]); generation > r.generation {
		r.generation = generation
		r.at = Positions{Stream: le.Uint64(b[16:]), Records: le.Uint64(b[24:]), History: le.Uint64(b[32:])}
	}
}

// note changes what is reached and writes it.
func (r *File) note(change func(p *Positions)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.at
	change(&r.at)
	if r.at == before {
		return
	}
	r.generation++
	le := binary.LittleEndian
	b := make([]byte, 0, size)
	b = append(b, magic...)
	for _, n := range []uint64{r.generation, r.at.Stream, r.at.Records, r.at.History} {
		b = le.AppendUint64(b, n)
	}
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	_, err := r.f.WriteAt(b, int64(r.generation%2)*half)
	r.dirty = true
	if err != nil && !r.failed {
		r.log.Warn("what the stores have reached cannot be noted", "error", err)
	}
	r.failed = err != nil
}

// Stream notes the newest entry acknowledged.
func (r *File) Stream(seq uint64) {
	r.note(func(p *Positions) { p.Stream = max(p.Stream, seq) })
}

// History notes up to which entry history is written.
func (r *File) History(seq uint64) {
	r.note(func(p *Positions) { p.History = max(p.History, seq) })
}

// Records notes the number of the newest transaction.
func (r *File) Records(number uint32) {
	r.note(func(p *Positions) {
		if p.Records == 0 || sqldb.Before(uint32(p.Records), number) {
			p.Records = uint64(number)
		}
	})
}

// Run syncs the file now and then.
func (r *File) Run(ctx context.Context) error {
	t := time.NewTicker(syncEvery)
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

func (r *File) sync() {
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

// At is what the file said when it was opened, and what was noted since.
func (r *File) At() Positions {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.at
}

// Close syncs and closes the file.
func (r *File) Close() error {
	r.sync()
	return r.f.Close()
}
