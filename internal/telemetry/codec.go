package telemetry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"fettle.dev/fettle/internal/fault"
)

// The encoding of a batch, version 2. Integers are varints, signed ones
// zigzag; times are differences from the row before, so that a row of three
// values takes about 30 bytes.
//
//	version  1 byte
//	product  string (length, bytes)
//	signals  count, strings: the names, each once
//	values   count of all values, so that they are allocated at once
//	rows     count, then for each row:
//	           flags (1: has sequence, 2: has counts), unit (8 bytes, unit keys
//	           are random), received - received of the row before,
//	           event - received, [sequence], [not consented, undeclared,
//	           invalid], count of values, then for each value
//	           signal<<2 | type, and the value
//	marks    count, then for each mark: kind, unit (8 bytes), at - at of the
//	           mark before, text
//	events   count, then the events; see codec_event.go. Version 1 ends before.
//
// Types: a number as 8 bytes, a number as a varint when it is a small whole
// one (flags, counters), a number that is some hundredths (most readings), a text.
const (
	codecVersion = 2
	beforeEvents = 1 // the version that had no events; it is still read

	rowHasSequence = 1
	rowHasCounts   = 2

	valueFloat     = 0
	valueWhole     = 1
	valueHundredth = 2
	valueText      = 3

	maxSmall = 1 << 30 // whole numbers beyond are kept as floats

	// Least bytes a row, a value, a mark and a string take: what a count
	// promises must fit into what is left.
	minRow, minValue, minMark, minString = 12, 2, 11, 1
)

// ErrEncoding is the cause of every error of Decode.
var ErrEncoding = errors.New("not an encoded batch")

// Encode gives the bytes of a batch. A value that is text keeps no number, one
// that is not keeps no text.
func Encode(b *Batch) []byte {
	return AppendEncoded(make([]byte, 0, 64+48*len(b.Rows)+24*len(b.Marks)), b)
}

// AppendEncoded appends the bytes of a batch to dst.
func AppendEncoded(dst []byte, b *Batch) []byte {
	dst = append(dst, codecVersion)
	dst = appendString(dst, b.Product)

	table := make(map[string]uint64, 16)
	var names []string
	values := 0
	for i := range b.Rows {
		values += len(b.Rows[i].Values)
		for j := range b.Rows[i].Values {
			name := b.Rows[i].Values[j].Signal
			if _, ok := table[name]; !ok {
				table[name] = uint64(len(names))
				names = append(names, name)
			}
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	for _, name := range names {
		dst = appendString(dst, name)
	}
	dst = binary.AppendUvarint(dst, uint64(values))

	dst = binary.AppendUvarint(dst, uint64(len(b.Rows)))
	var last int64
	for i := range b.Rows {
		dst = appendRow(dst, &b.Rows[i], last, table)
		last = b.Rows[i].Received
	}

	dst = binary.AppendUvarint(dst, uint64(len(b.Marks)))
	last = 0
	for i := range b.Marks {
		m := &b.Marks[i]
		dst = append(dst, byte(m.Kind))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(m.Unit))
		dst = binary.AppendVarint(dst, m.At-last)
		dst = appendString(dst, m.Text)
		last = m.At
	}
	return appendEvents(dst, b.Events)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendRow(dst []byte, r *Row, last int64, table map[string]uint64) []byte {
	var flags byte
	if r.Sequence != 0 {
		flags |= rowHasSequence
	}
	if r.NotConsented != 0 || r.Undeclared != 0 || r.Invalid != 0 {
		flags |= rowHasCounts
	}
	dst = append(dst, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Unit))
	dst = binary.AppendVarint(dst, r.Received-last)
	dst = binary.AppendVarint(dst, r.Event-r.Received)
	if flags&rowHasSequence != 0 {
		dst = binary.AppendVarint(dst, r.Sequence)
	}
	if flags&rowHasCounts != 0 {
		dst = binary.AppendVarint(dst, int64(r.NotConsented))
		dst = binary.AppendVarint(dst, int64(r.Undeclared))
		dst = binary.AppendVarint(dst, int64(r.Invalid))
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Values)))
	for j := range r.Values {
		v := &r.Values[j]
		signal := table[v.Signal] << 2
		if v.IsText {
			dst = binary.AppendUvarint(dst, signal|valueText)
			dst = appendString(dst, v.Text)
			continue
		}
		if n, ok := small(v.Number); ok {
			dst = binary.AppendUvarint(dst, signal|valueWhole)
			dst = binary.AppendVarint(dst, n)
		} else if n, ok := small(v.Number * 100); ok && same(float64(n)/100, v.Number) {
			dst = binary.AppendUvarint(dst, signal|valueHundredth)
			dst = binary.AppendVarint(dst, n)
		} else {
			dst = binary.AppendUvarint(dst, signal|valueFloat)
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Number))
		}
	}
	return dst
}

// small gives f as an integer when it is a small whole number, and is not -0.
func small(f float64) (int64, bool) {
	if !(f > -maxSmall && f < maxSmall) { // false for NaN
		return 0, false
	}
	n := int64(f)
	return n, same(float64(n), f)
}

func same(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// Decode reads what Encode wrote. It refuses anything else, and allocates no
// more than a small multiple of len(data).
func Decode(data []byte) (*Batch, error) {
	d := decoder{data: data}
	b := d.batch()
	if d.failed != "" {
		return nil, fault.Wrap(fault.Invalid, fmt.Sprintf("decode batch: %s at byte %d of %d", d.failed, len(data)-len(d.data), len(data)), ErrEncoding)
	}
	return b, nil
}

// decoder reads on until something is wrong; failed says what, and from then
// on every read gives zero.
type decoder struct {
	data   []byte
	failed string
}

func (d *decoder) batch() *Batch {
	version := d.byte()
	if d.failed == "" && version != codecVersion && version != beforeEvents {
		d.fail(fmt.Sprintf("unknown version %d", version))
	}
	b := &Batch{Product: d.string()}

	names := make([]string, d.count(minString))
	for i := range names {
		names[i] = d.string()
	}
	values := make([]Value, d.count(minValue))

	if n := d.count(minRow); n > 0 {
		b.Rows = make([]Row, n)
	}
	var last int64
	for i := range b.Rows {
		r := &b.Rows[i]
		n := d.row(r, last)
		last = r.Received
		if n > len(values) {
			d.fail("more values than announced")
		}
		if d.failed != "" {
			return nil
		}
		if n > 0 {
			r.Values, values = values[:n:n], values[n:]
		}
		for j := range r.Values {
			d.value(&r.Values[j], names)
		}
	}
	if len(values) != 0 {
		d.fail("fewer values than announced")
	}

	if n := d.count(minMark); n > 0 {
		b.Marks = make([]Mark, n)
	}
	last = 0
	for i := range b.Marks {
		m := &b.Marks[i]
		m.Kind = MarkKind(d.byte())
		m.Unit = int64(d.fixed())
		m.At = last + d.varint()
		m.Text = d.string()
		last = m.At
	}
	if version != beforeEvents {
		b.Events = d.events()
	}
	if len(d.data) != 0 {
		d.fail("bytes left over")
	}
	return b
}

func (d *decoder) row(r *Row, last int64) (values int) {
	flags := d.byte()
	if flags&^(rowHasSequence|rowHasCounts) != 0 {
		d.fail("unknown flags")
	}
	r.Unit = int64(d.fixed())
	r.Received = last + d.varint()
	r.Event = r.Received + d.varint()
	if flags&rowHasSequence != 0 {
		r.Sequence = d.varint()
	}
	if flags&rowHasCounts != 0 {
		r.NotConsented = int(d.varint())
		r.Undeclared = int(d.varint())
		r.Invalid = int(d.varint())
	}
	return d.count(minValue)
}

func (d *decoder) value(v *Value, names []string) {
	tag := d.uvarint()
	signal := tag >> 2
	if d.failed != "" {
		return
	}
	if signal >= uint64(len(names)) {
		d.fail("unknown signal")
		return
	}
	v.Signal = names[signal]
	switch tag & 3 {
	case valueFloat:
		v.Number = math.Float64frombits(d.fixed())
	case valueWhole:
		v.Number = float64(d.varint())
	case valueHundredth:
		v.Number = float64(d.varint()) / 100
	case valueText:
		v.Text, v.IsText = d.string(), true
	}
}

func (d *decoder) fail(why string) {
	if d.failed == "" {
		d.failed = why
	}
}

func (d *decoder) take(n int) []byte {
	if d.failed != "" || n > len(d.data) {
		d.fail("it ends too soon")
		return nil
	}
	taken := d.data[:n]
	d.data = d.data[n:]
	return taken
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) fixed() uint64 {
	if b := d.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	if d.failed != "" {
		return 0
	}
	v, n := binary.Uvarint(d.data)
	if n <= 0 {
		d.fail("it ends too soon")
		return 0
	}
	d.data = d.data[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// count reads a number of things that take at least least bytes each.
func (d *decoder) count(least int) int {
	n := d.uvarint()
	if n > uint64(len(d.data)/least) {
		d.fail("a count is more than there are bytes for")
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	return string(d.take(d.count(1)))
}
