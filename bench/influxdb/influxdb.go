// Package influxdb runs InfluxDB 1.x, as Debian has it, beside Fettle.
package influxdb

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"fettle.dev/fettle/bench/child"
)

// DB is a server on a directory of its own, with an empty database "bench".
type DB struct {
	*child.Process
	Address string
}

// Series is one of a query's results.
type Series struct {
	Tags   map[string]string `json:"tags"`
	Values [][]any           `json:"values"` // numbers are json.Number
}

const program = "/usr/bin/influxd"

const config = `reporting-disabled = true
bind-address = "%[2]s"
[meta]
  dir = "%[1]s/meta"
[data]
  dir = "%[1]s/data"
  wal-dir = "%[1]s/wal"
  query-log-enabled = false
  max-series-per-database = 0
  cache-max-memory-size = "4g"
[http]
  bind-address = "%[3]s"
  log-enabled = false
[monitor]
  store-enabled = false
[logging]
  level = "warn"
`

// Start runs the server; its files are below dir.
func Start(ctx context.Context, dir string) (*DB, error) {
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("influxd is not installed: `make bench-deps` does it")
	}
	meta, err := child.FreeAddress()
	if err != nil {
		return nil, err
	}
	db := &DB{}
	if db.Address, err = child.FreeAddress(); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "influxdb.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, filepath.Join(dir, "influxdb"), meta, db.Address), 0o600); err != nil {
		return nil, err
	}
	if db.Process, err = child.Start(dir, "influxd", program, "-config", file); err != nil {
		return nil, err
	}
	if err := db.Await(func() error { return child.Answers(http.DefaultClient, "http://"+db.Address+"/ping") }); err != nil {
		return db, err
	}
	_, err = db.Query(ctx, "CREATE DATABASE bench")
	return db, err
}

func (db *DB) post(ctx context.Context, path, kind string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+db.Address+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	return http.DefaultClient.Do(req)
}

// Write stores lines, whose times are in milliseconds.
func (db *DB) Write(ctx context.Context, lines io.Reader) error {
	res, err := db.post(ctx, "/write?db=bench&precision=ms", "text/plain", lines)
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

// Query runs one statement.
func (db *DB) Query(ctx context.Context, q string) ([]Series, error) {
	res, err := db.post(ctx, "/query?db=bench", "application/x-www-form-urlencoded", strings.NewReader(url.Values{"q": {q}}.Encode()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Error   string
		Results []struct {
			Error  string
			Series []Series
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
