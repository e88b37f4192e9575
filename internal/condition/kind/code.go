package kind

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrState is the cause of every refusal of an encoded state.
var ErrState = errors.New("state is damaged")

// ErrNewer is the cause of a refusal of state that a later Fettle has written.
var ErrNewer = errors.New("state was written by a later version of Fettle")

// ReadState begins to read an encoded state that starts with a version byte, which
// must be from 1 to newest.
func ReadState(data []byte, newest byte) (r *Reader, version byte, err error) {
	r = &Reader{b: data}
	version = r.Byte()
	switch {
	case r.bad || version == 0:
		return nil, 0, ErrState
	case version > newest:
		return nil, version, fmt.Errorf("%w: state version %d, this one reads up to %d; start that version again, or restore a backup from before it", ErrNewer, version, newest)
	}
	return r, version, nil
}

// AppendString appends a text with its length.
func AppendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendFloat appends a float in 8 bytes.
func AppendFloat(b []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
}

// AppendFloat32 appends a float in 4 bytes.
func AppendFloat32(b []byte, v float32) []byte {
	return binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
}

// AppendInt appends signed varints.
func AppendInt(b []byte, values ...int64) []byte {
	for _, v := range values {
		b = binary.AppendVarint(b, v)
	}
	return b
}

// AppendCount appends a number of things.
func AppendCount(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }

// AppendBytes appends what write appends, with its length in 4 bytes.
func AppendBytes(b []byte, write func([]byte) []byte) []byte {
	begin := len(b)
	b = write(append(b, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(b[begin:], uint32(len(b)-begin-4))
	return b
}

// Bits packs up to eight flags, the first lowest.
func Bits(flags ...bool) byte {
	var b byte
	for i, f := range flags {
		if f {
			b |= 1 << i
		}
	}
	return b
}

// Reader reads what the above wrote; after an error everything is zero.
type Reader struct {
	b   []byte
	bad bool
}

// NewReader reads data.
func NewReader(data []byte) *Reader { return &Reader{b: data} }

// Fail says that what was read cannot be.
func (r *Reader) Fail() { r.b, r.bad = nil, true }

// Bad reports whether something could not be read.
func (r *Reader) Bad() bool { return r.bad }

// End is ErrState unless all was read, and well.
func (r *Reader) End() error {
	if r.bad || len(r.b) > 0 {
		return ErrState
	}
	return nil
}

// Byte reads a byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.Fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// Int reads a signed varint.
func (r *Reader) Int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Count reads a number of things of at least size bytes each, at most limit.
func (r *Reader) Count(size, limit int) int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(limit) || v > uint64((len(r.b)-n)/max(size, 1)) && size > 0 {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

// Float reads a float.
func (r *Reader) Float() float64 {
	if len(r.b) < 8 {
		r.Fail()
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

// Float32 reads a float of 4 bytes.
func (r *Reader) Float32() float32 {
	if len(r.b) < 4 {
		r.Fail()
		return 0
	}
	v := math.Float32frombits(binary.LittleEndian.Uint32(r.b))
	r.b = r.b[4:]
	return v
}

// Finite reads a float that is neither NaN nor infinite.
func (r *Reader) Finite() float64 {
	v := r.Float()
	if math.IsNaN(v) || math.IsInf(v, 0) {
		r.Fail()
		return 0
	}
	return v
}

// String reads a text.
func (r *Reader) String() string {
	n := r.Count(1, math.MaxInt32)
	if r.bad {
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// Bytes reads what AppendBytes wrote; it is part of what is read from.
func (r *Reader) Bytes() []byte {
	if len(r.b) < 4 || uint64(binary.LittleEndian.Uint32(r.b)) > uint64(len(r.b)-4) {
		r.Fail()
		return nil
	}
	n := binary.LittleEndian.Uint32(r.b)
	v := r.b[4 : 4+n : 4+n]
	r.b = r.b[4+n:]
	return v
}
