package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// script makes wrk poll as another unit each time, with the headers that
// SWUpdate sends: unit after unit in an order that a cache cannot foresee.
// 7,919 and 104,729 are primes.
const script = `
local threads = 0
function setup(thread)
  thread:set("first", threads * 104729)
  threads = threads + 1
end
local i, units
function init(args)
  units, i = tonumber(args[1]), first + tonumber(args[2]) * 31
end
local form = "GET /DEFAULT/controller/v1/WC-%07d HTTP/1.1\r\nHost: fettle\r\nAuthorization: TargetToken fut_%043d\r\nContent-Type: application/json\r\nAccept: application/json\r\ncharsets: utf-8\r\n\r\n"
function request()
  i = (i + 7919) % units
  return form:format(i, i)
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"us":%d,"failed":%d,"p50":%d,"p99":%d,"max":%d}\n',
    summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
`

type load struct {
	dir         string
	connections int
	length      time.Duration
}

func (l *load) script() string { return filepath.Join(l.dir, "poll.lua") }

func (l *load) write() error { return os.WriteFile(l.script(), []byte(script), 0o600) }

// result of a measurement; latencies in milliseconds.
type result struct{ rate, p50, p99, longest float64 }

func (r result) String() string {
	return fmt.Sprintf("%7.0f polls/s  p50 %5.2f ms  p99 %5.2f ms  longest %5.1f ms", r.rate, r.p50, r.p99, r.longest)
}

// run polls a server as so many units. Any answer but success is an error.
func (l *load) run(address string, units, turn int) (result, error) {
	cmd := exec.Command("wrk", "-t", "2", "-c", fmt.Sprint(l.connections), "-d", l.length.String(), "--timeout", "10s", //nolint:gosec,noctx // ends by itself
		"-s", l.script(), "http://"+address, "--", fmt.Sprint(units), fmt.Sprint(turn))
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	var last struct {
		Requests, US, Failed int64
		P50, P99, Max        float64
	}
	for i := len(out) - 2; i >= 0; i-- {
		if out[i] == '\n' {
			out = out[i+1:]
			break
		}
	}
	if err := json.Unmarshal(out, &last); err != nil {
		return result{}, fmt.Errorf("wrk said %q: %w", out, err)
	}
	if last.Failed > 0 || last.Requests == 0 {
		return result{}, fmt.Errorf("%d of %d polls failed", last.Failed, last.Requests)
	}
	return result{float64(last.Requests) / float64(last.US) * 1e6, last.P50 / 1000, last.P99 / 1000, last.Max / 1000}, nil
}
