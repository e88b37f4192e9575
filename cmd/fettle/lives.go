package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/detect/rul"
	"fettle.dev/fettle/internal/fault"
)

// recordedLives are units' readings from a file.
type recordedLives struct {
	units   []rul.Unit // in the order of their first rows
	columns []string   // of the units' values
	rows    []livesRow // in the file's order
}

type livesRow struct {
	unit int
	time string // as it was given
}

// readLives reads a file with a row a reading. Columns names the signals, nil
// for all that c doesn't name. If c has not been used yet, whether times are
// dates is found out and kept in it. A text among numbers is a gap; warn is told
// of those, and of columns left out because they hold nothing else.
func readLives(path string, stdin io.Reader, warn io.Writer, c *columnsOf, columns []string) (l *recordedLives, err error) {
	t, file, err := openTable(path, stdin)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	where := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "%s: %s", path, fmt.Sprintf(format, args...))
	}
	column := func(what, name string) (int, error) {
		i := slices.Index(t.Header, strings.TrimSpace(name))
		if i < 0 {
			return 0, where("there is no column %q%s; there are %s", name, what, strings.Join(t.Header, ", "))
		}
		return i, nil
	}
	unitAt, err := column(" of units", c.Unit)
	if err != nil {
		return nil, err
	}
	timeAt, err := column(" of times", c.Time)
	if err != nil {
		return nil, err
	}
	first := columns == nil // the recording that says what there is
	if first {
		for _, name := range c.ignore {
			if _, err := column(" to ignore", name); err != nil {
				return nil, err
			}
		}
		for i, name := range t.Header {
			if slices.Index(t.Header, name) != i {
				return nil, where("two columns are called %q", name)
			}
			if i != unitAt && i != timeAt && !slices.Contains(c.ignore, name) {
				columns = append(columns, name)
			}
		}
		if len(columns) == 0 {
			return nil, where("there is no column beside %s and %s to learn from", c.Unit, c.Time)
		}
	}
	at := make([]int, len(columns))
	for k, name := range columns {
		if at[k], err = column(", which the model needs", name); err != nil {
			return nil, err
		}
	}
	l = &recordedLives{columns: columns}
	texts := make([]struct { // of columns
		n, line int
		text    string
	}, len(columns))
	numbers := make([]bool, len(columns))
	index := map[string]int{}
	var times timeReader
	for {
		row, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		field := func(i int) string {
			if i < len(row) {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		id := field(unitAt)
		if id == "" {
			return nil, where("line %d names no unit in column %q", t.begun, c.Unit)
		}
		k, known := index[id]
		if !known {
			k = len(l.units)
			index[id] = k
			l.units = append(l.units, rul.Unit{ID: id, Values: make([][]float64, len(columns))})
		}
		u := &l.units[k]
		v, isNumber := t.number(field(timeAt))
		if first && len(l.rows) == 0 {
			if c.Dated = !isNumber; c.Dated && !times.looksLikeTime(field(timeAt)) {
				return nil, where("line %d: %q in column %q is neither a number nor a date", t.begun, field(timeAt), c.Time)
			}
		}
		if c.Dated {
			ms, ok := times.read(field(timeAt))
			if v = float64(ms) / 3_600_000; !ok || isNumber {
				return nil, where("line %d: %q in column %q is no date, as the first row to learn from has", t.begun, field(timeAt), c.Time)
			}
		} else if !isNumber {
			return nil, where("line %d: %q in column %q is no number, as the first row to learn from has", t.begun, field(timeAt), c.Time)
		}
		if n := len(u.Time); n > 0 && v < u.Time[n-1] {
			return nil, where("line %d: unit %s goes back in time, to %s: sort its rows by %s", t.begun, id, field(timeAt), c.Time)
		}
		u.Time = append(u.Time, v)
		for j, i := range at {
			v, ok := t.number(field(i))
			if !ok {
				if v = math.NaN(); !isGap(field(i)) {
					if texts[j].n++; texts[j].n == 1 {
						texts[j].line, texts[j].text = t.begun, field(i)
					}
				}
			}
			numbers[j] = numbers[j] || ok
			u.Values[j] = append(u.Values[j], v)
		}
		l.rows = append(l.rows, livesRow{k, field(timeAt)})
	}
	if len(l.units) == 0 {
		return nil, where("there is no row below the header")
	}
	for j, x := range slices.Backward(texts) {
		switch {
		case first && !numbers[j]:
			fmt.Fprintf(warn, "fettle: %s: left out, as it holds no numbers: %s\n", path, columns[j])
			l.drop(j)
		case x.n > 0:
			fmt.Fprintf(warn, "fettle: %s: %d values of column %q are no numbers and taken as gaps; the first is %q on line %d\n", path, x.n, columns[j], x.text, x.line)
		}
	}
	if len(l.columns) == 0 {
		return nil, where("no column beside %s and %s holds numbers", c.Unit, c.Time)
	}
	return l, nil
}

// drop leaves out a column.
func (l *recordedLives) drop(j int) {
	l.columns = slices.Delete(slices.Clone(l.columns), j, j+1)
	for k := range l.units {
		l.units[k].Values = slices.Delete(l.units[k].Values, j, j+1)
	}
}

// isGap says whether a field stands for no value.
func isGap(s string) bool {
	switch strings.ToLower(s) {
	case "", "nan", "na", "n/a", "null", "none", "-", "?", "inf", "+inf", "-inf":
		return true
	}
	return false
}
