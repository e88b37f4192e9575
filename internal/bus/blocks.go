package bus

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
)

// JetStream keeps entries in files of records, N.blk, each record with a
// checksum. When it starts it cuts a file off before the first record that is
// not right, wherever that stands, and then gives sequences to new entries that
// consumers have seen already. So the files are read here first, and nothing is
// started on a stream that has lost what was durable.
//
// A record (nats-server v2.15, server/filestore.go, writeMsgRecordLocked) is, in
// little-endian: its length 4 (the highest bit: it has headers), sequence 8 (the
// two highest bits: erased, tombstone), time 8, length of the subject 2; subject,
// with headers their length 4 and they, data; a HighwayHash-64 of all after the
// length but for the subject's and the headers' lengths. The hash's key is the
// SHA-256 of STREAM-N.
const (
	recordHead    = 4 + 8 + 8 + 2
	recordHash    = 8
	recordHeaders = 1 << 31
	recordErased  = 1 << 63
	recordTomb    = 1 << 62
	recordMost    = 32 << 20
)

// checkFiles reads the files of a stream that no server has open. Whatever
// follows the entry that was acknowledged last may be missing or not right: it
// was not synced. Anything else that is missing or not right is ErrDamaged.
func checkFiles(dir, stream string, acknowledged uint64) error {
	dir = filepath.Join(dir, "jetstream", "$G", "streams", stream, "msgs")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("check stream: %w", err)
	}
	var indices []uint64
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".blk"); ok {
			if n, err := strconv.ParseUint(name, 10, 32); err == nil {
				indices = append(indices, n)
			}
		}
	}
	slices.Sort(indices)
	var end reached
	var torn error // what is not right, if no entry has come after it
	for _, index := range indices {
		name := filepath.Join(dir, strconv.FormatUint(index, 10)+".blk")
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("check stream: %w", err)
		}
		if len(data) == 0 { // the next file that was begun, unless more come
			torn = cmp.Or(torn, fmt.Errorf("%w: %s is empty", ErrDamaged, name))
			continue
		}
		if torn != nil {
			return torn
		}
		if err := end.file(data, stream, index); err != nil {
			torn = fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
			if tail, ok := errors.AsType[*tornError](err); !ok || tail.followed || end.sequence < acknowledged {
				return torn
			} // else never synced: JetStream cuts it off
		}
	}
	if end.sequence < acknowledged {
		return fmt.Errorf("%w: %s: entry %d was acknowledged, the files end with entry %d", ErrDamaged, dir, acknowledged, end.sequence)
	}
	return nil
}

// tornError is a record that is not right.
type tornError struct {
	offset   int
	entry    uint64 // before it
	followed bool   // by an entry that is right: all before it was synced with it
}

func (e *tornError) Error() string {
	return fmt.Sprintf("what follows entry %d, at byte %d, is not right", e.entry, e.offset)
}

// reached is how far the files have been read.
type reached struct {
	entry    uint64 // newest held, or erased right after one that was, 0 before the first
	sequence uint64 // newest given, to an entry that is held or was trimmed
}

// file reads one file's records.
func (r *reached) file(data []byte, stream string, index uint64) error {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		return err
	}
	for at := 0; at < len(data); {
		seq, n := record(data[at:], sum)
		if n == 0 {
			torn := &tornError{offset: at, entry: r.entry}
			for next := at + 1; next < len(data) && !torn.followed; next++ {
				later, m := record(data[next:], sum)
				torn.followed = m > 0 && later&recordTomb == 0
			}
			return torn
		}
		at += n
		erased, gone := seq&recordErased != 0, seq&(recordErased|recordTomb) != 0
		seq &^= recordErased | recordTomb
		r.sequence = max(r.sequence, seq)
		if gone {
			if erased && r.entry != 0 && seq == r.entry+1 { // it still stands in its place: before it is what was trimmed
				r.entry = seq
			}
			continue
		}
		if r.entry != 0 && seq > r.entry+1 {
			return fmt.Errorf("entry %d is followed by entry %d", r.entry, seq)
		}
		r.entry = max(r.entry, seq)
	}
	return nil
}

// record reads the sequence and the length of the record that b begins with; the
// length is 0 when it is not right. Its checksum leaves out the length of the
// headers, which end with an empty line; erased ones are garbage.
func record(b []byte, sum hash.Hash64) (seq uint64, n int) {
	if len(b) < recordHead+recordHash {
		return 0, 0
	}
	length := binary.LittleEndian.Uint32(b)
	headers := length&recordHeaders != 0
	length &^= recordHeaders
	subject := int(binary.LittleEndian.Uint16(b[20:]))
	least := recordHead + subject + recordHash
	if headers {
		least += 4
	}
	if length > recordMost || int(length) < least || int(length) > len(b) {
		return 0, 0
	}
	n = int(length)
	rest := b[recordHead : n-recordHash]
	sum.Reset()
	_, _ = sum.Write(b[4:20])
	_, _ = sum.Write(rest[:subject])
	rest = rest[subject:]
	ends := true
	if headers {
		size := uint64(binary.LittleEndian.Uint32(rest))
		rest = rest[4:]
		ends = size <= uint64(len(rest)) && bytes.HasSuffix(rest[:size], []byte("\r\n\r\n"))
	}
	_, _ = sum.Write(rest)
	var got [recordHash]byte
	if !bytes.Equal(sum.Sum(got[:0]), b[n-recordHash:n]) {
		return 0, 0
	}
	seq = binary.LittleEndian.Uint64(b[4:])
	if !ends && seq&(recordErased|recordTomb) == 0 {
		return 0, 0
	}
	return seq, n
}
