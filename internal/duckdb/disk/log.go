package disk

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Log keeps, in a file beside DuckDB's log, a CRC-32C of that log as far as it
// was committed: DuckDB's own checksum is the exclusive or of its words' hashes,
// which does not see an even number of equal words become zeros (ADR 10).
//
// What is kept is always true of a sound log, so that no sound log is refused:
// it ends behind a whole commit, and before the mark of a checkpoint, which
// DuckDB takes out again where the checkpoint fails; and it names the database's
// checkpoint that the log follows. That number is written before DuckDB removes
// or replaces the log, so of any other log nothing is said.
//
// The file is one record within a sector: magic 8, checkpoint 8, length 8,
// CRC-32C of the log 4, CRC-32C of all this 4, little-endian.
type Log struct {
	database, path string
	log            *slog.Logger

	mu     sync.Mutex
	f      *os.File // nil: closed
	at     extent
	synced time.Time
	failed bool
}

// extent is a beginning of a log.
type extent struct {
	checkpoint uint64
	length     int64
	crc        uint32
}

const (
	logMagic  = "fettlew1"
	logRecord = 8 + 8 + 8 + 4 + 4
	syncEvery = 2 * time.Second
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	// Of a log of version 2 (duckdb v1.5, src/storage/write_ahead_log.cpp): its
	// beginning, what ends a commit, and how the mark of a checkpoint begins, both
	// behind their heads.
	logBegins  = []byte{100, 0, 98, 101, 0, 2, 0xff, 0xff}
	commitEnds = []byte{100, 0, 100, 0xff, 0xff}
	checkpoint = []byte{100, 0, 99}
)

// OpenLog begins to keep the log of a database. What was kept before stays until
// the next commit.
func OpenLog(database string, log *slog.Logger) (l *Log, err error) {
	l = &Log{database: database, path: database + ".wal", log: log}
	l.f, err = os.OpenFile(l.path+".sum", os.O_CREATE|os.O_RDWR, 0o600)
	return l, err
}

// Committed takes note of what was committed since.
func (l *Log) Committed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return
	}
	err := l.note()
	if err != nil && !l.failed {
		l.log.Warn("history: the log's checksum cannot be kept", "err", err)
	}
	l.failed = err != nil
}

// Forget has the log be read from its beginning at the next commit: after an
// error its end may be another.
func (l *Log) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at = extent{}
}

// Close ends the keeping.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return errors.Join(f.Sync(), f.Close())
}

func (l *Log) note() error {
	number, ok := lastCheckpoint(l.database)
	if !ok {
		return nil // between two states
	}
	file, err := os.Open(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a checkpoint has taken it
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	at := l.at
	if info, err := file.Stat(); err != nil || number != at.checkpoint || info.Size() < at.length {
		at = extent{checkpoint: number}
	}
	if at, err = at.follow(file); err != nil || at.length == 0 || at == l.at {
		return err
	}
	l.at = at
	le := binary.LittleEndian
	b := append(make([]byte, 0, logRecord), logMagic...)
	b = le.AppendUint64(b, at.checkpoint)
	b = le.AppendUint64(b, uint64(at.length))
	b = le.AppendUint32(b, at.crc)
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := l.f.WriteAt(b, 0); err != nil {
		return err
	}
	if now := time.Now(); now.Sub(l.synced) >= syncEvery { //nolint:forbidigo // paces syncs
		l.synced = now
		return l.f.Sync()
	}
	return nil
}

// follow goes on to the end of the last commit, or stays: while a checkpoint
// runs it is not known whose log the file is.
func (e extent) follow(file *os.File) (extent, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(file, e.length, 1<<62), 64<<10)
	to, at := e, e
	take := func(n int64) bool {
		for n > 0 {
			b, err := r.Peek(int(min(n, int64(r.Size()))))
			if len(b) == 0 || (err != nil && int64(len(b)) < n) {
				return false
			}
			at.crc = crc32.Update(at.crc, castagnoli, b)
			at.length += int64(len(b))
			n -= int64(len(b))
			_, _ = r.Discard(len(b))
		}
		return true
	}
	if at.length == 0 {
		if b, _ := r.Peek(len(logBegins)); !bytes.Equal(b, logBegins) {
			return e, nil // of another version
		}
		take(int64(len(logBegins)))
	}
	for {
		b, err := r.Peek(entryHead + len(commitEnds))
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return to, err
		}
		size, entry := binary.LittleEndian.Uint64(b), b[entryHead:]
		if size < uint64(len(commitEnds)) || size > 1<<40 || bytes.HasPrefix(entry, checkpoint) {
			return e, nil
		}
		commit := size == uint64(len(commitEnds)) && bytes.Equal(entry, commitEnds)
		if !take(entryHead + int64(size)) {
			return to, nil // another commit is being written
		}
		if commit {
			to = at
		}
	}
}

// CheckLog looks whether the log of a database is as it was when it was
// committed, before DuckDB opens it. Where nothing is known of it, it is.
func CheckLog(database string) error {
	path := database + ".wal"
	kept, ok := keptExtent(path + ".sum")
	if number, known := lastCheckpoint(database); !ok || !known || number != kept.checkpoint {
		return nil
	}
	damaged := func(how string) error {
		return fmt.Errorf("%w: %s: its first %d bytes were committed, %s (kept in %s.sum)", ErrDamaged, path, kept.length, how, path)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return damaged("it is not there")
	}
	if err != nil {
		return fmt.Errorf("check history: %w", err)
	}
	defer func() { _ = file.Close() }()
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, io.LimitReader(file, kept.length))
	switch {
	case err != nil:
		return damaged(err.Error())
	case n < kept.length:
		return damaged(fmt.Sprintf("it has %d", n))
	case sum.Sum32() != kept.crc:
		return damaged("they do not have their checksum")
	}
	return nil
}

func keptExtent(path string) (e extent, ok bool) {
	b, err := os.ReadFile(path)
	le := binary.LittleEndian
	if err != nil || len(b) != logRecord || string(b[:8]) != logMagic || crc32.Checksum(b[:logRecord-4], castagnoli) != le.Uint32(b[logRecord-4:]) {
		return e, false
	}
	return extent{checkpoint: le.Uint64(b[8:]), length: int64(le.Uint64(b[16:])), crc: le.Uint32(b[24:])}, true
}

// lastCheckpoint reads the number of a database's last checkpoint: of its two
// headers behind the first, which are written in turn, the newer one that has
// its checksum says it.
func lastCheckpoint(database string) (number uint64, ok bool) {
	f, err := os.Open(database)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	const size = blocksBegin / 3
	b := make([]byte, blocksBegin-size)
	if _, err := f.ReadAt(b, size); err != nil {
		return 0, false
	}
	for ; len(b) > 0; b = b[size:] {
		if checksum(b[8:size]) == binary.LittleEndian.Uint64(b) {
			number, ok = max(number, binary.LittleEndian.Uint64(b[8:])), true
		}
	}
	return number, ok
}
