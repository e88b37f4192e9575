// Package code writes and reads the state of detectors as bytes: the shortest
// that hold it, equal bytes for equal state, and a reader that no damage makes
// fail in any way but being Bad.
package code

import (
	"encoding/binary"
	"math"
)

// AppendString appends a text with its length.
func AppendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// AppendFloat appends floats in 8 bytes each.
func AppendFloat(b []byte, values ...float64) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

// AppendFloat32 appends floats in 4 bytes each.
func AppendFloat32(b []byte, values ...float32) []byte {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
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

// Whole reports whether all was read, and well.
func (r *Reader) Whole() bool { return !r.bad && len(r.b) == 0 }

// Len is how many bytes are left.
func (r *Reader) Len() int { return len(r.b) }

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

// FiniteList reads n floats that are neither NaN nor infinite.
func (r *Reader) FiniteList(n int) []float64 {
	if n > len(r.b)/8 {
		r.Fail()
		return nil
	}
	list := make([]float64, n)
	for i := range list {
		list[i] = r.Finite()
	}
	return list
}

// Flag reads a byte that is 0 or 1.
func (r *Reader) Flag() bool {
	b := r.Byte()
	if b > 1 {
		r.Fail()
	}
	return b == 1
}

// String reads a text.
func (r *Reader) String() string {
	return string(r.Take(r.Count(1, math.MaxInt32)))
}

// Take reads the next n bytes; they are part of what is read from.
func (r *Reader) Take(n int) []byte {
	if n > len(r.b) {
		r.Fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// Bytes reads what AppendBytes wrote; it is part of what is read from.
func (r *Reader) Bytes() []byte {
	if len(r.b) < 4 || uint64(binary.LittleEndian.Uint32(r.b)) > uint64(len(r.b)-4) {
		r.Fail()
		return nil
	}
	n := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return r.Take(int(n))
}
