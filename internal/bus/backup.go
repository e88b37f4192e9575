package bus

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"

	"fettle.dev/fettle/internal/fault"
)

// A backup is one file: the magic, the sequence of the first entry and the
// number of entries (8 bytes each, little-endian), then for each entry its
// length (4 bytes) and its data.
const (
	backupFile  = "stream.fettle"
	backupMagic = "fettle stream 1\n"
	backupHead  = len(backupMagic) + 16
)

// Backup writes every entry held to a file in dir, with its sequence, while
// the stream goes on. Back up what keeps positions in the stream (history,
// records) before the stream: then the stream's copy has all that comes after
// those positions.
func (b *Bus) Backup(ctx context.Context, dir string) (err error) {
	s, err := b.Stats(ctx)
	if err != nil {
		return fmt.Errorf("back up stream: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, backupFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("back up stream: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	head := binary.LittleEndian.AppendUint64([]byte(backupMagic), s.First)
	_, _ = w.Write(binary.LittleEndian.AppendUint64(head, s.Entries)) // Flush gives the error

	if s.Entries > 0 {
		done := errors.New("all are written")
		err = b.consume(ctx, s.First-1, 256, func(_ context.Context, entries []entry) error {
			for _, e := range entries {
				_, _ = w.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(e.data))))
				_, _ = w.Write(e.data)
				if e.seq == s.Last {
					return done
				}
			}
			return nil
		})
		if !errors.Is(err, done) {
			return fmt.Errorf("back up stream: %w", err)
		}
	}
	if err := errors.Join(w.Flush(), f.Sync()); err != nil {
		return fmt.Errorf("back up stream: %w", err)
	}
	return nil
}

// Restore makes the stream of cfg, which must not be there, from a backup in
// dir: the same entries at the same sequences.
func Restore(ctx context.Context, cfg Config, dir string, logger *slog.Logger) (err error) {
	f, err := os.Open(filepath.Join(dir, backupFile))
	if err != nil {
		return fmt.Errorf("restore stream: %w", err)
	}
	defer func() { _ = f.Close() }()
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, backupHead)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:len(backupMagic)]) != backupMagic {
		return fault.New(fault.Invalid, "restore stream: %s is not a backup of a stream", f.Name())
	}
	first := binary.LittleEndian.Uint64(head[len(backupMagic):])
	entries := binary.LittleEndian.Uint64(head[len(backupMagic)+8:])

	b, err := open(ctx, cfg, logger, first)
	if err != nil {
		return fmt.Errorf("restore stream: %w", err)
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	s, err := b.Stats(ctx)
	if err != nil {
		return fmt.Errorf("restore stream: %w", err)
	}
	if s.Entries > 0 || s.Last+1 != first {
		return fault.New(fault.Conflict, "restore stream: there is one already, it ends at %d", s.Last)
	}
	for seq := first; seq < first+entries; seq++ {
		data, err := readEntry(r, b.maxEntry())
		if err != nil {
			return fault.Wrap(fault.Invalid, fmt.Sprintf("restore stream: entry %d", seq), err)
		}
		ack, err := b.js.Publish(ctx, b.subject(), data, jetstream.WithExpectStream(b.cfg.Stream))
		if err != nil {
			return fault.Wrap(fault.Unavailable, fmt.Sprintf("restore stream: entry %d", seq), err)
		}
		if ack.Sequence != seq {
			return fault.New(fault.Conflict, "restore stream: entry %d became entry %d", seq, ack.Sequence)
		}
	}
	return nil
}

func readEntry(r io.Reader, limit int) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(length[:]))
	if n > limit {
		return nil, fmt.Errorf("it has %d bytes, more than an entry may have, %d", n, limit)
	}
	data := make([]byte, n)
	_, err := io.ReadFull(r, data)
	return data, err
}
