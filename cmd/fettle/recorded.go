package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

// place is where a row stands in the temporary file. A file that is not in
// order costs 16 bytes a row.
type place struct{ arrived, at int64 }

// The temporary file holds a row as: unit (4 bytes), time and arrival (8 each),
// the number of values (2), and for each its signal (2) and its 8 bytes, or,
// if the signal is a text, its length (4) and bytes. All little-endian.

// read parses the whole file.
func (r *recorded) read(ctx context.Context, t *table) error {
	w := bufio.NewWriterSize(r.spool, 1<<18)
	var size int64
	var row []byte
	sorted, newest := true, int64(math.MinInt64)
	for {
		fields, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if r.rows%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		arrived, err := r.pack(&row, t, fields)
		if err != nil {
			return err
		}
		if _, err := w.Write(row); err != nil {
			return fmt.Errorf("keep rows in %s: %w", r.spool.Name(), err)
		}
		size += int64(len(row))
		sorted, newest = sorted && arrived >= newest, max(newest, arrived)
		r.rows++
	}
	if r.rows == 0 {
		return fault.New(fault.Invalid, "there are no rows below the header")
	}
	if err := w.Flush(); err != nil || sorted {
		return err
	}
	return r.sort(size)
}

// sort finds all rows' places and orders them by arrival; rows of one time stay
// in the order of the file.
func (r *recorded) sort(size int64) error {
	r.order = make([]place, 0, r.rows)
	in := bufio.NewReaderSize(io.NewSectionReader(r.spool, 0, size), 1<<18)
	var one telemetry.Row
	at := int64(0)
	for range r.rows {
		n, err := r.unpack(in, &one)
		if err != nil {
			return err
		}
		r.order = append(r.order, place{one.Received, at})
		at += n
	}
	slices.SortStableFunc(r.order, func(a, b place) int { return cmp.Compare(a.arrived, b.arrived) })
	return nil
}

// pack encodes a row.
func (r *recorded) pack(row *[]byte, t *table, fields []string) (arrived int64, err error) {
	field := func(i int) string {
		if i < len(fields) {
			return strings.TrimSpace(fields[i])
		}
		return ""
	}
	at, err := r.time(&r.times, field(r.timeCol))
	if err != nil {
		return 0, fault.New(fault.Invalid, "line %d, column %s: %v", t.begun, r.header[r.timeCol], err)
	}
	arrived = at
	if r.arrivedCol >= 0 {
		if arrived, err = r.time(&r.arrivals, field(r.arrivedCol)); err != nil {
			return 0, fault.New(fault.Invalid, "line %d, column %s: %v", t.begun, r.header[r.arrivedCol], err)
		}
	}
	id := "unit"
	if r.unitCol >= 0 {
		if id = field(r.unitCol); id == "" {
			return 0, fault.New(fault.Invalid, "line %d, column %s: expected a unit, got nothing", t.begun, r.header[r.unitCol])
		}
	}
	unit, ok := r.index[id]
	if !ok {
		unit = int32(len(r.units))
		id = strings.Clone(id)
		r.index[id], r.units = unit, append(r.units, id)
	}
	b := binary.LittleEndian.AppendUint32((*row)[:0], uint32(unit))
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.LittleEndian.AppendUint64(b, uint64(arrived))
	count := len(b)
	b = append(b, 0, 0)
	n := uint16(0)
	for i, s := range r.signals {
		text := field(s.col)
		if s.text && text != "" {
			b = binary.LittleEndian.AppendUint16(b, uint16(i))
			b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
			b = append(b, text...)
			n++
			continue
		}
		v, ok := t.number(text)
		if !ok || s.text {
			continue // a gap
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(i))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		n++
	}
	binary.LittleEndian.PutUint16(b[count:], n)
	*row = b
	return arrived, nil
}

func (r *recorded) time(times *timeReader, text string) (int64, error) {
	if r.step > 0 {
		n, ok := number(text)
		if !ok || math.Abs(n)*float64(r.step.Milliseconds()) > math.MaxInt64/4 {
			return 0, fmt.Errorf("expected a count, got %q", text)
		}
		return r.counted(n).UnixMilli(), nil
	}
	if at, ok := times.read(text); ok {
		return at, nil
	}
	if _, ok := number(text); ok {
		return 0, fmt.Errorf("%s is no time; if the column counts, say how long one count is with --step, as --step 1h", text)
	}
	return 0, fmt.Errorf("expected a time, as 2006-01-02 15:04:05, got %q", text)
}

// unpack reads a row and says how many bytes it was.
func (r *recorded) unpack(in io.Reader, row *telemetry.Row) (size int64, err error) {
	var head [22]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, fmt.Errorf("read rows back: %w", err)
	}
	row.Unit = int64(binary.LittleEndian.Uint32(head[:])) + 1
	row.Event = int64(binary.LittleEndian.Uint64(head[4:]))
	row.Received = int64(binary.LittleEndian.Uint64(head[12:]))
	row.Values = row.Values[:0]
	size = 22
	for range binary.LittleEndian.Uint16(head[20:]) {
		var place [2]byte
		if _, err := io.ReadFull(in, place[:]); err != nil {
			return 0, fmt.Errorf("read rows back: %w", err)
		}
		s := r.signals[binary.LittleEndian.Uint16(place[:])]
		if s.text {
			var long [4]byte
			if _, err := io.ReadFull(in, long[:]); err != nil {
				return 0, fmt.Errorf("read rows back: %w", err)
			}
			text := make([]byte, binary.LittleEndian.Uint32(long[:]))
			if _, err := io.ReadFull(in, text); err != nil {
				return 0, fmt.Errorf("read rows back: %w", err)
			}
			row.Values = append(row.Values, telemetry.Value{Signal: s.signal, Text: string(text), IsText: true})
			size += 6 + int64(len(text))
			continue
		}
		var bits [8]byte
		if _, err := io.ReadFull(in, bits[:]); err != nil {
			return 0, fmt.Errorf("read rows back: %w", err)
		}
		row.Values = append(row.Values, telemetry.Value{Signal: s.signal, Number: math.Float64frombits(binary.LittleEndian.Uint64(bits[:]))})
		size += 10
	}
	return size, nil
}

// Replay gives the rows in the order of arrival, and between them the ticks of
// a service that was never down.
func (r *recorded) Replay(_ context.Context, q telemetry.Query, fn func(*telemetry.Stored, *telemetry.StoredMark) error) error {
	wanted := make([]bool, len(r.units)+1)
	for _, key := range q.Units {
		wanted[key] = true
	}
	read := map[string]bool{}
	for _, s := range q.Signals {
		read[s] = true
	}
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !q.From.IsZero() {
		from = q.From.UnixMilli()
	}
	if !q.To.IsZero() {
		to = q.To.UnixMilli()
	}
	var row telemetry.Stored
	buffer := 1 << 18
	if r.order != nil {
		buffer = 1 << 12 // a row is seldom beside the one before
	}
	in := bufio.NewReaderSize(io.NewSectionReader(r.spool, 0, math.MaxInt64), buffer)
	ticked, at := int64(0), int64(0)
	for i := range r.rows {
		if r.order != nil && at != r.order[i].at {
			at = r.order[i].at
			in.Reset(io.NewSectionReader(r.spool, at, math.MaxInt64-at))
		}
		size, err := r.unpack(in, &row.Row)
		if err != nil {
			return err
		}
		at += size
		row.Seq = i + 1
		if i == 0 {
			ticked = row.Received
		} else if ticked, err = ticks(ticked, row.Received, fn); err != nil {
			return err
		}
		if !wanted[row.Unit] || row.Event < from || row.Event >= to {
			continue
		}
		row.Values = slices.DeleteFunc(row.Values, func(v telemetry.Value) bool { return q.Signals != nil && !read[v.Signal] })
		if err := fn(&row, nil); err != nil {
			return err
		}
	}
	return nil
}

// mostTicks bounds the ticks between two rows.
const mostTicks = 1000

// ticks are those after the newest one up to an instant: one a minute, however
// many rows there are in it, and fewer in a long gap.
func ticks(newest, until int64, fn func(*telemetry.Stored, *telemetry.StoredMark) error) (int64, error) {
	every := max(time.Minute.Milliseconds(), (until-newest)/mostTicks)
	text := strconv.FormatInt(every, 10)
	for ; newest+every <= until; newest += every {
		if err := fn(nil, &telemetry.StoredMark{Mark: telemetry.Mark{Kind: telemetry.MarkTick, At: newest + every, Text: text}}); err != nil {
			return newest, err
		}
	}
	return newest, nil
}
