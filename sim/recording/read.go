// Package recording plays measured data, as CSV files hold it, as if units
// sent it: over MQTT, at the times recorded or shifted ones, as slowly or as
// fast as asked, until everything is acknowledged.
package recording

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Column maps a column of the file to a signal of the product.
type Column struct {
	Name   string
	Signal string
}

// ParseColumns reads col=signal pairs; "col" alone keeps its name.
func ParseColumns(pairs []string) ([]Column, error) {
	out := make([]Column, 0, len(pairs))
	for _, p := range pairs {
		name, signal, ok := strings.Cut(p, "=")
		if !ok {
			signal = name
		}
		name, signal = strings.TrimSpace(name), strings.TrimSpace(signal)
		if name == "" || signal == "" {
			return nil, fmt.Errorf("%q is not a mapping: write column=signal", p)
		}
		out = append(out, Column{name, signal})
	}
	return out, nil
}

// Format says how to read a file.
type Format struct {
	Time    string         // column of the time
	Unit    string         // column of the unit; empty: the file is of one unit
	Columns []Column       // what to play
	Step    time.Duration  // length of one count of Time, where Time counts (cycles); 0: Time is a time
	From    time.Time      // time of count 0
	Zone    *time.Location // of times that name none; nil: UTC
}

// Row is one line of the file.
type Row struct {
	At      time.Time
	Values  []byte // JSON object of values by signal
	Samples int
}

// Track is what one unit measured, in the order of the file.
type Track struct {
	Unit string // as the file names it; "" without a unit column
	Rows []Row
}

// ErrFile is the error of a file that cannot be played.
var ErrFile = errors.New("recording")

// Read reads a whole CSV file: comma, semicolon or tab, with a header.
func Read(r io.Reader, f Format) ([]Track, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	head, err := br.Peek(64 << 10)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	c := csv.NewReader(br)
	c.Comma = delimiter(head)
	c.ReuseRecord = true
	header, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: no header line: %w", ErrFile, err)
	}
	at, err := f.locate(header)
	if err != nil {
		return nil, err
	}
	var tracks []Track
	index := make(map[string]int)
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return tracks, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFile, err)
		}
		row, err := f.row(record, at)
		if err != nil {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("%w: line %d: %w", ErrFile, line, err)
		}
		unit := ""
		if at.unit >= 0 {
			unit = strings.TrimSpace(record[at.unit])
		}
		i, ok := index[unit]
		if !ok {
			i = len(tracks)
			index[unit] = i
			tracks = append(tracks, Track{Unit: strings.Clone(unit)})
		}
		if row.Samples > 0 {
			tracks[i].Rows = append(tracks[i].Rows, row)
		}
	}
}

func delimiter(head []byte) rune {
	line, _, _ := bytes.Cut(head, []byte{'\n'})
	best, most := ',', bytes.Count(line, []byte{','})
	for _, d := range []rune{';', '\t'} {
		if n := bytes.Count(line, []byte(string(d))); n > most {
			best, most = d, n
		}
	}
	return best
}

// places are the columns' indices.
type places struct {
	time, unit int
	values     []int
}

func (f *Format) locate(header []string) (places, error) {
	index := make(map[string]int, len(header))
	for i, h := range header {
		h = strings.TrimSpace(strings.TrimPrefix(h, "\ufeff"))
		if _, twice := index[h]; !twice {
			index[h] = i
		}
	}
	find := func(name string) (int, error) {
		i, ok := index[name]
		if !ok {
			return 0, fmt.Errorf("%w: no column %q; the file has %s", ErrFile, name, strings.Join(header, ", "))
		}
		return i, nil
	}
	at := places{unit: -1}
	var err error
	if at.time, err = find(f.Time); err != nil {
		return at, err
	}
	if f.Unit != "" {
		if at.unit, err = find(f.Unit); err != nil {
			return at, err
		}
	}
	if len(f.Columns) == 0 {
		return at, fmt.Errorf("%w: no column is mapped to a signal", ErrFile)
	}
	for _, c := range f.Columns {
		i, err := find(c.Name)
		if err != nil {
			return at, err
		}
		at.values = append(at.values, i)
	}
	return at, nil
}

func (f *Format) row(record []string, at places) (Row, error) {
	t, err := f.time(strings.TrimSpace(record[at.time]))
	if err != nil {
		return Row{}, fmt.Errorf("column %s: %w", f.Time, err)
	}
	row := Row{At: t, Values: []byte{'{'}}
	for i, c := range f.Columns {
		text := strings.TrimSpace(record[at.values[i]])
		if text == "" {
			continue
		}
		if row.Samples > 0 {
			row.Values = append(row.Values, ',')
		}
		row.Values = appendJSON(row.Values, c.Signal)
		row.Values = append(row.Values, ':')
		row.Values = appendValue(row.Values, text)
		row.Samples++
	}
	row.Values = append(row.Values, '}')
	return row, nil
}

func appendJSON(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil { // strings always marshal
		return append(b, `""`...)
	}
	return append(b, q...)
}

// appendValue writes a field as the JSON value that it looks like.
func appendValue(b []byte, text string) []byte {
	switch strings.ToLower(text) {
	case "true":
		return append(b, "true"...)
	case "false":
		return append(b, "false"...)
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
		return strconv.AppendFloat(b, n, 'g', -1, 64)
	}
	return appendJSON(b, text)
}

var layouts = []string{
	time.RFC3339Nano, "2006-01-02 15:04:05.999999999", "2006-01-02T15:04:05.999999999",
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02",
}

// Beyond these a number is no time that anyone recorded.
const (
	latest   = 253402300799 // the last second of the year 9999
	asMillis = 1e11         // a Unix time above is in milliseconds
)

func (f *Format) time(text string) (time.Time, error) {
	n, err := strconv.ParseFloat(text, 64)
	numeric := err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	if f.Step > 0 {
		if !numeric {
			return time.Time{}, fmt.Errorf("expected a count, got %q", text)
		}
		d := n * float64(f.Step)
		if math.Abs(d) > float64(math.MaxInt64)/2 {
			return time.Time{}, fmt.Errorf("count %q is too large", text)
		}
		return f.From.Add(time.Duration(d)).UTC(), nil
	}
	if numeric {
		if n > asMillis {
			n /= 1000
		}
		if n < 0 || n > latest {
			return time.Time{}, fmt.Errorf("expected a time, got %q", text)
		}
		sec, frac := math.Modf(n)
		return time.Unix(int64(sec), int64(frac*1e9)).UTC().Round(time.Millisecond), nil
	}
	zone := f.Zone
	if zone == nil {
		zone = time.UTC
	}
	for _, l := range layouts {
		if t, err := time.ParseInLocation(l, text, zone); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("expected a time as 2006-01-02 15:04:05, RFC 3339 or Unix seconds (counts need a step), got %q", text)
}

// Shift moves all tracks by d.
func Shift(tracks []Track, d time.Duration) {
	for _, t := range tracks {
		for i := range t.Rows {
			row := &t.Rows[i]
			row.At = row.At.Add(d)
		}
	}
}

// Extent is the first and last time of all tracks; ok is false without rows.
func Extent(tracks []Track) (first, last time.Time, ok bool) {
	for _, t := range tracks {
		for _, r := range t.Rows {
			if !ok || r.At.Before(first) {
				first = r.At
			}
			if !ok || r.At.After(last) {
				last = r.At
			}
			ok = true
		}
	}
	return first, last, ok
}
