// Package chain is what the audit trail and the register of versions have in
// common: records that hold the hash of the one before, so that none can be
// changed, left out or moved unseen.
package chain

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"fettle.dev/fettle/internal/fault"
)

// Record is an entry as it is kept and exported: its exact bytes and their
// hash, the SHA-256 in lower-case hexadecimal digits.
type Record struct {
	Hash  string          `json:"hash"`
	Entry json.RawMessage `json:"entry"`
}

// Seal makes a record of an entry, which names its number and the hash before it.
func Seal(entry any) (Record, error) {
	raw, err := json.Marshal(entry)
	return Record{Hash: Sum(raw), Entry: raw}, err
}

// Sum is the hash of an entry's bytes.
func Sum(entry []byte) string {
	h := sha256.Sum256(entry)
	return hex.EncodeToString(h[:])
}

// BreakError says which entry is the first that is wrong, and why.
type BreakError struct {
	Seq int64
	Why string
}

func (e *BreakError) Error() string { return fmt.Sprintf("entry %d %s", e.Seq, e.Why) }

// Follows checks that a record, whose entry says seq and previous of itself, is
// the one after entry number last with its hash.
func (r Record) Follows(last int64, hash string, seq int64, previous string) *BreakError {
	at, why := last+1, ""
	switch {
	case seq > at:
		why = fmt.Sprintf("is missing: entry %d stands in its place", seq)
	case seq != at:
		why = fmt.Sprintf("is not in its place: entry %d stands there", seq)
	case Sum(r.Entry) != r.Hash:
		why = fmt.Sprintf("was changed: its hash is %s, not %s", Sum(r.Entry), r.Hash)
	case previous != hash:
		why = fmt.Sprintf("does not follow entry %d: it names %q as the hash before it, which is %q", last, previous, hash)
	default:
		return nil
	}
	return &BreakError{at, why}
}

// longest bounds a line of an export.
const longest = 4 << 20

// Read calls fn for each record of an export: a line a record, {"hash":...,
// "entry":{...}}. Lines that are empty are passed over; errors name the line.
func Read(r io.Reader, fn func(Record) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longest)
	n := 0
	for lines.Scan() {
		n++
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var rec Record
		if err := json.Unmarshal(lines.Bytes(), &rec); err != nil {
			return fault.New(fault.Invalid, "line %d is no record: %w", n, err)
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fault.New(fault.Invalid, "line %d is longer than %d bytes: no record", n+1, longest)
	}
	return lines.Err()
}
