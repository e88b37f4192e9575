package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"fettle.dev/fettle/bench/influxdb"
)

// influx is InfluxDB with what the fleet reports.
type influx struct{ *influxdb.DB }

// load writes what the fleet reports, 20,000 points at a time.
func (db influx) load(ctx context.Context, f *fleet) error {
	var b bytes.Buffer
	n := 0
	flush := func() error {
		err := db.Write(ctx, &b)
		b.Reset()
		n = 0
		return err
	}
	line := func(measurement string, at int64, t *truck, names []string, values []float64) {
		fmt.Fprintf(&b, "%s,name=%s,fleet=%s,model=%s ", measurement, t.name, t.fleet, t.model)
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(name)
			b.WriteByte('=')
			b.WriteString(number(values[i]))
		}
		if measurement == "diagnostics" {
			b.WriteString(",load_capacity=" + number(t.capacity))
		}
		b.WriteString(" " + strconv.FormatInt(at, 10) + "\n")
		n++
	}
	err := f.each(func(at int64, t *truck, r, d []float64) error {
		line("readings", at, t, readings, r)
		line("diagnostics", at, t, diagnostics, d)
		if n >= 20_000 {
			return flush()
		}
		return nil
	})
	if err == nil && n > 0 {
		err = flush()
	}
	return err
}

// ask gives the columns of each series' last row, by its tags.
func (db influx) ask(ctx context.Context, q, tags string, columns ...int) (answer, error) {
	found, err := db.Query(ctx, q)
	a := answer{}
	for _, s := range found {
		var key, value []string
		for tag := range strings.FieldsSeq(tags) {
			key = append(key, s.Tags[tag])
		}
		row := s.Values[len(s.Values)-1]
		for _, c := range columns {
			n, err := row[c].(json.Number).Float64()
			if err != nil {
				return nil, err
			}
			value = append(value, number(n))
		}
		a[strings.Join(key, " ")] = strings.Join(value, " ")
	}
	return a, err
}
