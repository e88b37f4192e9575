package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"fettle.dev/fettle/bench/child"
)

// influx is InfluxDB as Debian has it, on a directory of its own.
type influx struct {
	*child.Process
	address string
}

const influxConf = `reporting-disabled = true
bind-address = "%[2]s"
[meta]
  dir = "%[1]s/meta"
[data]
  dir = "%[1]s/data"
  wal-dir = "%[1]s/wal"
  query-log-enabled = false
  cache-max-memory-size = "4g"
[http]
  bind-address = "%[3]s"
  log-enabled = false
[monitor]
  store-enabled = false
[logging]
  level = "warn"
`

func startInflux(ctx context.Context, dir string) (*influx, error) {
	meta, err := child.FreeAddress() //nolint:contextcheck // it only looks
	if err != nil {
		return nil, err
	}
	db := &influx{}
	if db.address, err = child.FreeAddress(); err != nil { //nolint:contextcheck // as above
		return nil, err
	}
	conf := filepath.Join(dir, "influxdb.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, influxConf, filepath.Join(dir, "influxdb"), meta, db.address), 0o600); err != nil {
		return nil, err
	}
	if db.Process, err = child.Start(dir, "influxd", "/usr/bin/influxd", "-config", conf); err != nil {
		return nil, fmt.Errorf("%w (Debian package influxdb)", err)
	}
	if err := db.Await(func() error { return child.Answers(http.DefaultClient, "http://"+db.address+"/ping") }); err != nil { //nolint:contextcheck // it has a time limit of its own
		return nil, err
	}
	_, err = db.query(ctx, "CREATE DATABASE bench")
	return db, err
}

// load writes what the fleet reports, 20,000 points at a time.
func (db *influx) load(ctx context.Context, f *fleet) error {
	var b bytes.Buffer
	n := 0
	flush := func() error {
		err := db.post(ctx, "/write?db=bench&precision=ms", "text/plain", &b)
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

func (db *influx) post(ctx context.Context, path, kind string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+db.address+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode/100 != 2 {
		text, _ := io.ReadAll(res.Body)
		return fmt.Errorf("influxdb: %s: %s", res.Status, text)
	}
	return nil
}

type series struct {
	Tags   map[string]string `json:"tags"`
	Values [][]any           `json:"values"`
}

func (db *influx) query(ctx context.Context, q string) ([]series, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+db.address+"/query?db=bench", strings.NewReader(url.Values{"q": {q}}.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Error   string
		Results []struct {
			Error  string
			Series []series
		}
	}
	d := json.NewDecoder(res.Body)
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		return nil, err
	}
	if out.Error != "" || len(out.Results) != 1 || out.Results[0].Error != "" {
		return nil, fmt.Errorf("influxdb: %s: %v", q, out)
	}
	return out.Results[0].Series, nil
}

// ask gives the columns of each series' last row, by its tags.
func (db *influx) ask(ctx context.Context, q, tags string, columns ...int) (answer, error) {
	found, err := db.query(ctx, q)
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
