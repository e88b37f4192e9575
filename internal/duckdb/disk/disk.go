// Package disk reads what DuckDB has written, without DuckDB: whether its blocks
// are as they were, and where its log stops being right.
package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// ErrDamaged says that history on disk is not as it was written; kind Internal,
// since nothing but a restore helps.
var ErrDamaged = errors.New("history is damaged")

// DuckDB's log (history.duckdb.wal) is a row of entries, each with its length
// and a checksum before it, 8 bytes each. It is synced at each commit. When
// DuckDB opens a log that ends in the middle of an entry it takes the
// transactions before; a log that goes on with anything else it refuses, also
// when that was never synced. So what follows the last whole entry is cut off
// here, and then the position tells whether that was more than had been
// promised to nobody.

// badEntry is how DuckDB says where its log is not right: behind the entry's
// length and checksum.
var badEntry = regexp.MustCompile(`Failure while replaying WAL file(?:.*entry at byte position (\d+) )?`)

const entryHead = 16

// BadBlock is what DuckDB says of a block that does not have its checksum.
const BadBlock = "Corrupt database file"

// Damaged tells an error that a damaged file gives when it is opened or read.
func Damaged(err error) error {
	for _, sign := range []string{
		BadBlock, "is not a valid DuckDB database file", "Could not read enough bytes",
		"Failure while replaying WAL", "Serialization Error", "Failed to load metadata",
	} {
		if err != nil && strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return err
}

// TornAt reads from DuckDB's refusal where the first entry begins that is not right.
func TornAt(err error) (at int64, ok bool) {
	m := badEntry.FindStringSubmatch(err.Error())
	if m == nil {
		return 0, false
	}
	if n, err := strconv.ParseInt(m[1], 10, 64); err == nil && n >= entryHead {
		return n - entryHead, true
	}
	return 0, true // not even its beginning is
}

// CutOff ends a log at a byte and keeps what it was in another file.
func CutOff(log, kept string, at int64) error {
	data, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	if at >= int64(len(data)) {
		return fmt.Errorf("%s has no byte %d", log, at)
	}
	if err := os.Rename(log, kept); err != nil {
		return err
	}
	f, err := os.OpenFile(log, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data[:at])
	return errors.Join(err, f.Sync(), f.Close())
}

// blocksBegin is where the blocks of a DuckDB file begin: after three headers.
const blocksBegin = 3 * 4096

// CheckBlocks reads blocks, each of which begins with a checksum of the rest
// (duckdb v1.5, src/common/checksum.cpp).
func CheckBlocks(file string, size int64, blocks []int64) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("check history: %w", err)
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, size)
	for _, id := range blocks {
		at := blocksBegin + id*size
		if _, err := f.ReadAt(block, at); err != nil {
			return fmt.Errorf("%w: %s: block %d, at byte %d: %w", ErrDamaged, file, id, at, err)
		}
		if checksum(block[8:]) != binary.LittleEndian.Uint64(block) {
			return fmt.Errorf("%w: %s: block %d, at byte %d, does not have its checksum", ErrDamaged, file, id, at)
		}
	}
	return nil
}

// checksum is DuckDB's, of whole words of 8 bytes.
func checksum(b []byte) uint64 {
	const factor = 0xbf58476d1ce4e5b9
	le := binary.LittleEndian
	sum := uint64(5381)
	for ; len(b) >= 32; b = b[32:] {
		w := b[:32]
		sum ^= le.Uint64(w)*factor ^ le.Uint64(w[8:])*factor ^ le.Uint64(w[16:])*factor ^ le.Uint64(w[24:])*factor
	}
	for ; len(b) >= 8; b = b[8:] {
		sum ^= le.Uint64(b) * factor
	}
	return sum
}
