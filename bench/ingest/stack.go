package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/bench/load"
	"fettle.dev/fettle/bench/served"
)

// stack is Mosquitto, and unless telegraf is empty, Telegraf and InfluxDB
// behind it. They are set up so that they lose as little as they can: no limit
// to Mosquitto's queue, and Telegraf reads on only when it has written.
type stack struct {
	telegraf string

	broker, influx, agent *child.Process
	mqtt, http            string
	n                     int
}

func (s *stack) name() string {
	if s.telegraf == "" {
		return "mosquitto"
	}
	return "stack"
}

const mosquittoConf = `listener %s 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_inflight_messages 0
set_tcp_nodelay true
log_type error
log_type warning
`

const influxConf = `reporting-disabled = true
bind-address = "%[2]s"
[meta]
  dir = "%[1]s/meta"
[data]
  dir = "%[1]s/data"
  wal-dir = "%[1]s/wal"
  query-log-enabled = false
  max-series-per-database = 0
[monitor]
  store-enabled = false
[http]
  bind-address = "%[3]s"
  log-enabled = false
[logging]
  level = "warn"
`

const telegrafConf = `[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_buffer_limit = 1000000
  omit_hostname = true
  quiet = true
[[inputs.mqtt_consumer]]
  servers = ["tcp://%s"]
  topics = ["units/+/telemetry"]
  qos = 1
  client_id = "telegraf"
  persistent_session = true
  max_undelivered_messages = 50000
  data_format = "json"
  json_time_key = "ts"
  json_time_format = "unix_ms"
[[outputs.influxdb]]
  urls = ["http://%s"]
  database = "bench"
  timeout = "30s"
`

func (s *stack) start(dir string, units int) (err error) {
	s.n = units
	mosquitto, err := find("mosquitto", "/usr/sbin/mosquitto")
	if err != nil {
		return err
	}
	if s.mqtt, err = child.FreeAddress(); err != nil {
		return err
	}
	conf := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, mosquittoConf, s.mqtt[len("127.0.0.1:"):]), 0o600); err != nil {
		return err
	}
	if s.broker, err = child.Start(dir, "mosquitto", mosquitto, "-c", conf); err != nil {
		return err
	}
	if err := s.broker.Await(func() error { return child.Connects(s.mqtt) }); err != nil || s.telegraf == "" {
		return err
	}

	influxd, err := find("influxd", "/usr/bin/influxd")
	if err != nil {
		return err
	}
	if s.http, err = child.FreeAddress(); err != nil {
		return err
	}
	meta, err := child.FreeAddress()
	if err != nil {
		return err
	}
	conf = filepath.Join(dir, "influxdb.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, influxConf, filepath.Join(dir, "influxdb"), meta, s.http), 0o600); err != nil {
		return err
	}
	if s.influx, err = child.Start(dir, "influxd", influxd, "-config", conf); err != nil {
		return err
	}
	if err := s.influx.Await(func() error { return child.Answers(http.DefaultClient, "http://"+s.http+"/ping") }); err != nil {
		return err
	}
	if _, err := s.query("CREATE DATABASE bench"); err != nil {
		return err
	}
	conf = filepath.Join(dir, "telegraf.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, telegrafConf, s.mqtt, s.http), 0o600); err != nil {
		return err
	}
	if s.agent, err = child.Start(dir, "telegraf", s.telegraf, "--config", conf); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // it tells nobody when it has subscribed; the warm-up shows whether it has
	return nil
}

// find gives the program of a Debian package.
func find(name, path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s is not installed: `make bench-deps` does it", name)
	}
	return path, nil
}

func (s *stack) target() target {
	t := target{address: s.mqtt}
	for i := range s.n {
		id := served.UnitID(i)
		t.units = append(t.units, load.Unit{ID: id, Topic: "units/" + id + "/telemetry"})
	}
	return t
}

func (s *stack) processes() []*child.Process {
	var out []*child.Process
	for _, p := range []*child.Process{s.agent, s.influx, s.broker} {
		if p != nil {
			out = append(out, p)
		}
	}
	return out
}

func (s *stack) settle() time.Duration {
	if s.telegraf == "" {
		return 0
	}
	return 5 * time.Second
}

// progress reads InfluxDB's own counter of points, which costs it nothing.
func (s *stack) progress() (stored, evaluated int, err error) {
	if s.telegraf == "" {
		return 0, 0, nil
	}
	res, err := http.Get("http://" + s.http + "/debug/vars") //nolint:noctx // a local server that we started
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	var vars map[string]json.RawMessage
	if err := json.NewDecoder(res.Body).Decode(&vars); err != nil {
		return 0, 0, err
	}
	var write struct {
		Values struct{ PointReq int }
	}
	if err := json.Unmarshal(vars["write"], &write); err != nil {
		return 0, 0, fmt.Errorf("/debug/vars: %w", err)
	}
	return write.Values.PointReq, 0, nil
}

func (s *stack) exact() (int, error) {
	if s.telegraf == "" {
		return 0, nil
	}
	return s.query("SELECT count(values_error) FROM mqtt_consumer")
}

// query gives the last number of a query's first row, 0 when there is none.
func (s *stack) query(q string) (int, error) {
	res, err := http.PostForm("http://"+s.http+"/query", url.Values{"db": {"bench"}, "q": {q}}) //nolint:noctx // a local server that we started
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	var out struct {
		Error   string
		Results []struct {
			Error  string
			Series []struct{ Values [][]any }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return 0, err
	}
	if len(out.Results) != 1 || out.Error != "" || out.Results[0].Error != "" {
		return 0, fmt.Errorf("InfluxDB: %s: %+v", q, out)
	}
	if len(out.Results[0].Series) == 0 {
		return 0, nil
	}
	r := out.Results[0].Series[0].Values[0]
	n, _ := r[len(r)-1].(float64)
	return int(n), nil
}
