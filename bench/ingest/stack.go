package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"fettle.dev/fettle/bench/child"
	"fettle.dev/fettle/bench/influxdb"
	"fettle.dev/fettle/bench/load"
	"fettle.dev/fettle/bench/served"
)

// stack is Mosquitto, and unless telegraf is empty, Telegraf and InfluxDB
// behind it. They are set up so that they lose as little as they can: no limit
// to Mosquitto's queue, and Telegraf reads on only when it has written.
type stack struct {
	telegraf string

	broker, agent *child.Process
	influx        *influxdb.DB
	mqtt          string
	n             int
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

	if s.influx, err = influxdb.Start(context.Background(), dir); err != nil {
		return err
	}
	conf = filepath.Join(dir, "telegraf.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, telegrafConf, s.mqtt, s.influx.Address), 0o600); err != nil {
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
	if s.agent != nil {
		out = append(out, s.agent)
	}
	if s.influx != nil && s.influx.Process != nil {
		out = append(out, s.influx.Process)
	}
	if s.broker != nil {
		out = append(out, s.broker)
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
	res, err := http.Get("http://" + s.influx.Address + "/debug/vars") //nolint:noctx // a local server that we started
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
	found, err := s.influx.Query(context.Background(), "SELECT count(values_error) FROM mqtt_consumer")
	if err != nil || len(found) == 0 {
		return 0, err
	}
	n, err := found[0].Values[0][1].(json.Number).Int64()
	return int(n), err
}
