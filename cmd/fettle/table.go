package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
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
// comma, semicolon or tab apart (the header tells which), quoted or not, gzipped or not. Rows may be
// shorter or longer than the header; blank lines are no rows.
type table struct {
	Header []string
	// Cut, if set, is told of a line longer than lineLimit, of which the fields
	// that end within it are read; else such a line is refused.
	Cut   func(line int)
	in    *bufio.Reader
	comma byte
	line  int // of the newest line read, from 1
	row   []string
	begun int      // the line on which the row began
	again [][]byte // lines to be read once more
}

const (
	lineLimit  = 1 << 20 // bytes of a line
	quoteLimit = 1 << 16 // bytes of a row that quoted fields spread over lines
)

var errReturns = fault.New(fault.Invalid, `its lines end in a carriage return alone: let them end in a line feed, as tr '\r' '\n' does`)

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
	if about, err := f.Stat(); err == nil && about.IsDir() {
		return nil, nil, errors.Join(fault.New(fault.Invalid, "%s is a directory: a CSV file is expected", path), f.Close())
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
	if sep, ok := bytes.CutPrefix(first, []byte("sep=")); ok && len(sep) == 1 { // for Excel
		first, err = t.line1()
	}
	if bytes.IndexByte(first, '\r') >= 0 {
		return nil, errReturns
	}
	if err == nil && bytes.IndexByte(first, 0) >= 0 {
		return nil, fault.New(fault.Invalid, "this is not text: a CSV file with a header is expected")
	}
	t.comma = separator(first)
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

// separator is what stands most often between the header's names: a comma, a
// semicolon or a tab, not counting those in quotes.
func separator(header []byte) byte {
	best, most, quoted := byte(','), 0, false
	count := map[byte]int{}
	for _, c := range header {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted:
			count[c]++
		}
	}
	for _, c := range []byte(",;\t") {
		if count[c] > most {
			best, most = c, count[c]
		}
	}
	return best
}

// number reads a value of the table: true and false are 1 and 0, and where
// semicolons stand between values, a comma may stand for the decimal point.
func (t *table) number(s string) (float64, bool) {
	v, ok := number(s)
	if !ok {
		switch s = strings.TrimSpace(s); {
		case strings.EqualFold(s, "true"):
			return 1, true
		case strings.EqualFold(s, "false"):
			return 0, true
		}
	}
	if !ok && t.comma == ';' && strings.Count(s, ",") == 1 && !strings.Contains(s, ".") {
		return number(strings.Replace(s, ",", ".", 1))
	}
	return v, ok
}

// Buffered says whether another row may be had without waiting for the sender.
func (t *table) Buffered() bool { return len(t.again) > 0 || t.in.Buffered() > 0 }

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
	return t.plain(line), nil
}

// plain returns the fields between separators, but for the one at which a long
// line was cut: half a number is none.
func (t *table) plain(line []byte) []string {
	t.row = t.row[:0]
	for f := range bytes.SplitSeq(line, []byte{t.comma}) {
		t.row = append(t.row, string(f))
	}
	if len(line) >= lineLimit {
		t.row = t.row[:len(t.row)-1]
	}
	return t.row
}

// quoted reads a row that has a quote in it. A quote at the beginning of a field
// opens it, a lone one closes it; any other, as in 19" rack, is a character. One
// that opens a field and never closes it is a slip, too: it must not swallow the
// rows that follow, which are read again as rows of their own.
func (t *table) quoted(line []byte) ([]string, error) {
	q := quoting{comma: t.comma, row: t.row}
	size, first := len(line), bytes.Clone(line)
	var more [][]byte
	for q.line(line); q.open && size < lineLimit; q.line(line) {
		var err error
		line, err = t.readLine()
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return nil, err
		}
		if size += len(line) + 1; !ended {
			more = append(more, bytes.Clone(line))
		}
		if ended || size > quoteLimit {
			t.again, t.line = append(more, t.again...), t.line-len(more)
			return t.plain(first), nil
		}
	}
	if t.row = q.row; size < lineLimit {
		t.row = append(t.row, string(q.field))
	}
	return t.row, nil
}

// quoting takes a row with quotes apart, line by line.
type quoting struct {
	comma        byte
	row          []string
	field        []byte
	open, closed bool // within quotes; after them, in the same field
}

// line takes the row's next line. The newest field is complete if no quote is
// open after it.
func (q *quoting) line(text []byte) {
	if q.open {
		q.field = append(q.field, '\n')
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case q.open && c == '"' && i+1 < len(text) && text[i+1] == '"':
			q.field = append(q.field, c)
			i++
		case q.open && c == '"':
			q.open, q.closed = false, true
		case !q.open && c == q.comma:
			q.row = append(q.row, string(q.field))
			q.field, q.closed = q.field[:0], false
		case c == '"' && !q.open && !q.closed && len(bytes.TrimSpace(q.field)) == 0:
			q.open, q.field = true, q.field[:0]
		default:
			q.field = append(q.field, c)
		}
	}
}

func (t *table) readLine() ([]byte, error) {
	if len(t.again) > 0 {
		line := t.again[0]
		t.again = t.again[1:]
		t.line++
		return line, nil
	}
	line, err := t.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) && len(long) < lineLimit {
			line, err = t.in.ReadSlice('\n')
			long = append(long, line...)
		}
		if line = long; errors.Is(err, bufio.ErrBufferFull) {
			switch {
			case t.line == 0 && bytes.IndexByte(long, '\r') >= 0:
				return nil, errReturns
			case t.Cut == nil:
				return nil, fault.New(fault.Invalid, "line %d is longer than %d KiB: shorten its texts, or see whether ends of lines are missing", t.line+1, lineLimit>>10)
			}
			t.Cut(t.line + 1)
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = t.in.ReadSlice('\n')
			}
		}
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
	"2006-01-02T15:04:05Z0700", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02T15:04Z07:00", "2006-01-02", "2006/1/2 15:04:05", "2006/1/2 15:04", "2006/1/2", "20060102T150405Z",
	"2.1.2006 15:04:05", "2.1.2006 15:04", "2.1.2006", "1/2/2006 15:04:05", "1/2/2006 15:04", "1/2/2006", "1/2/2006 3:04:05 PM", "1/2/2006 3:04 PM", time.RFC1123, time.RFC1123Z, time.ANSIC,
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
