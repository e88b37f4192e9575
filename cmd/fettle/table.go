package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// A table is a CSV file with a header, read row by row in constant memory:
// comma, semicolon or tab apart, quoted or not, gzipped or not. Rows may be
// shorter or longer than the header; blank lines are no rows.
type table struct {
	Header []string
	in     *bufio.Reader
	comma  byte
	line   int // of the newest line read, from 1
	row    []string
	begun  int // the line on which the row began
}

const (
	lineLimit  = 1 << 20 // bytes of a line
	quoteLimit = 1 << 16 // bytes of a row that quoted fields spread over lines
)

// openTable opens a file, or standard input for "" and "-".
func openTable(path string, stdin io.Reader) (*table, io.Closer, error) {
	if path == "" || path == "-" {
		t, err := newTable(stdin)
		return t, io.NopCloser(nil), err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	t, err := newTable(f)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return t, f, nil
}

// newTable reads the header.
func newTable(r io.Reader) (*table, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	if mark, _ := in.Peek(2); len(mark) == 2 && (mark[0] == 0xff && mark[1] == 0xfe || mark[0] == 0xfe && mark[1] == 0xff) {
		return nil, fault.New(fault.Invalid, "the text is UTF-16: save it as UTF-8")
	}
	if mark, _ := in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = in.Discard(3)
	}
	t := &table{in: in, comma: ','}
	first, err := t.line1()
	if err == nil && bytes.IndexByte(first, 0) >= 0 {
		return nil, fault.New(fault.Invalid, "this is not text: a CSV file with a header is expected")
	}
	if !bytes.Contains(first, []byte(",")) {
		if i := bytes.IndexAny(first, ";\t"); i >= 0 {
			t.comma = first[i]
		}
	}
	var header []string
	if err == nil {
		header, err = t.split(first)
	}
	if errors.Is(err, io.EOF) {
		return nil, fault.New(fault.Invalid, "empty: a CSV file with a header is expected")
	}
	if err != nil {
		return nil, err
	}
	t.Header = slices.Clone(header)
	named := false
	for i, name := range t.Header {
		t.Header[i] = strings.TrimSpace(name)
		_, number := number(name)
		named = named || !number && t.Header[i] != "" && !new(timeReader).looksLikeTime(t.Header[i])
	}
	if !named {
		return nil, fault.New(fault.Invalid, "the first row holds no column names: a header such as %q is expected, got %q", "time,value", strings.Join(t.Header, ","))
	}
	return t, nil
}

// Buffered says whether another row may be had without waiting for the sender.
func (t *table) Buffered() bool { return t.in.Buffered() > 0 }

// Next returns the next row's fields, valid until the following call; io.EOF
// when there is none.
func (t *table) Next() ([]string, error) {
	line, err := t.line1()
	if err != nil {
		return nil, err
	}
	return t.split(line)
}

// line1 returns the next row's first line.
func (t *table) line1() ([]byte, error) {
	for {
		line, err := t.readLine()
		if err != nil || len(line) > 0 {
			t.begun = t.line
			return line, err
		}
	}
}

// split returns the fields of the row that begins with a line.
func (t *table) split(line []byte) ([]string, error) {
	t.row = t.row[:0]
	if bytes.IndexByte(line, '"') >= 0 {
		return t.quoted(line)
	}
	for f := range bytes.SplitSeq(line, []byte{t.comma}) {
		t.row = append(t.row, string(f))
	}
	return t.row, nil
}

// quoted reads a row that has a quote in it.
func (t *table) quoted(line []byte) ([]string, error) {
	text := bytes.Clone(line)
	for bytes.Count(text, []byte{'"'})%2 == 1 && balanced(text, t.comma) {
		more, err := t.readLine()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if text = append(append(text, '\n'), more...); len(text) > quoteLimit {
			return nil, fault.New(fault.Invalid, "line %d: a quote opens a field that does not close within %d KiB", t.begun, quoteLimit>>10)
		}
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = rune(t.comma), -1, true
	row, err := r.Read()
	if err != nil {
		return nil, fault.New(fault.Invalid, "line %d: %v", t.begun, err)
	}
	t.row = append(t.row, row...)
	return t.row, nil
}

// balanced says whether an odd count of quotes means an open field: one of the
// quotes stands at the beginning of a field. A lone quote within a field, as
// in 19" rack, opens nothing.
func balanced(text []byte, comma byte) bool {
	return text[0] == '"' || bytes.Contains(text, []byte{comma, '"'})
}

func (t *table) readLine() ([]byte, error) {
	line, err := t.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > lineLimit {
				return nil, fault.New(fault.Invalid, "line %d is longer than %d KiB", t.line+1, lineLimit>>10)
			}
			line, err = t.in.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, err
	}
	t.line++
	return bytes.TrimRight(line, "\r\n"), nil
}

// column finds a column by its name.
func (t *table) column(flag, name string) (int, error) {
	if i := slices.Index(t.Header, strings.TrimSpace(name)); i >= 0 {
		return i, nil
	}
	return 0, fault.New(fault.Invalid, "%s: there is no column %q; there are %s", flag, name, strings.Join(t.Header, ", "))
}

// number reads a value; text, nothing, an infinity and NaN are none.
func number(s string) (float64, bool) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return v, err == nil && v-v == 0
}

// timeLayouts are the forms of a time that are understood, beside numbers.
var timeLayouts = []string{
	"2006-01-02 15:04:05", time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST",
	"2006-01-02T15:04:05Z0700", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02T15:04Z07:00", "2006-01-02", "2006/01/02 15:04:05", "2006/01/02 15:04", "2006/01/02", "20060102T150405Z",
	"02.01.2006 15:04:05", "02.01.2006 15:04", "02.01.2006", "01/02/2006 15:04:05", "01/02/2006 15:04", "01/02/2006", time.RFC1123, time.RFC1123Z, time.ANSIC,
}

// timeReader reads times that mostly have one form.
type timeReader struct {
	layout string
	clock  int64 // the newest time of day, in milliseconds, when there is no date
	days   int64 // passed since, as seen by the clock going back
}

// looksLikeTime says whether s is a written time.
func (r *timeReader) looksLikeTime(s string) bool {
	if _, ok := number(s); ok {
		return false
	}
	_, ok := r.read(s)
	return ok
}

// read returns a time in Unix milliseconds. Numbers are seconds, milliseconds,
// microseconds or nanoseconds since 1970, told apart by their size; smaller
// ones, as of a counter, are no times.
func (r *timeReader) read(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if len(s) < 5 {
		return 0, false
	}
	if v, ok := number(s); ok {
		switch {
		case v >= 1e20 || v < 1e8:
			return 0, false
		case v >= 1e17:
			return int64(v / 1e6), true
		case v >= 1e14:
			return int64(v / 1e3), true
		case v >= 1e11:
			return int64(v), true
		default:
			return int64(v * 1e3), true
		}
	}
	if r.layout != "" {
		if t, err := time.Parse(r.layout, s); err == nil {
			return r.dated(t), true
		}
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			r.layout = layout
			return r.dated(t), true
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			r.layout = layout
			return r.dated(t), true
		}
	}
	return 0, false
}

// dated gives times of day the days that their order shows.
func (r *timeReader) dated(t time.Time) int64 {
	at := t.UnixMilli()
	if t.Year() != 0 {
		return at
	}
	at -= time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	const day = 24 * 3600 * 1000
	if at < r.clock-day/2 {
		r.days++
	}
	r.clock = at
	return at + r.days*day
}
