package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/cmd/fettle-agent/spool"
)

// telemetry brings what collectors print into the spool.
type telemetry struct {
	spool  *spool.Spool
	policy *policy
	log    *slog.Logger
	now    func() time.Time
}

// collectAll runs every collector until ctx ends.
func (t *telemetry) collectAll(ctx context.Context, list []collector) {
	var wg sync.WaitGroup
	for _, c := range list {
		wg.Go(func() {
			if len(c.Command) > 0 && c.Every == 0 {
				t.follow(ctx, c)
				return
			}
			for {
				if err := t.once(ctx, c); err != nil && ctx.Err() == nil {
					t.log.Warn("telemetry was not collected", "err", err)
				}
				if !pause(ctx, time.Duration(c.Every)) {
					return
				}
			}
		})
	}
	wg.Wait()
}

// once runs a command, or reads a file, and takes what is there.
func (t *telemetry) once(ctx context.Context, c collector) error {
	var out []byte
	if c.File != "" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		out, err = io.ReadAll(io.LimitReader(f, 1<<20))
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	} else {
		text, err := run(ctx, c.Command, c.Timeout.or(30*time.Second))
		if err != nil {
			return err
		}
		out = []byte(text)
	}
	list, bad := spool.Lines(out)
	for _, line := range list {
		bad = errors.Join(bad, t.take(line))
	}
	return bad
}

// follow reads the lines of a command that goes on printing, and starts it
// again when it has ended.
func (t *telemetry) follow(ctx context.Context, c collector) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		begun := t.now()
		err := t.stream(ctx, c.Command)
		if ctx.Err() != nil {
			return
		}
		if t.now().Sub(begun) > time.Minute {
			wait = time.Second
		}
		t.log.Warn("the collector ended and is started again", "command", c.Command[0], "in", wait, "err", err)
		if !pause(ctx, wait) {
			return
		}
	}
}

func (t *telemetry) stream(ctx context.Context, argv []string) error {
	cmd := program(ctx, argv)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 4096), 256<<10)
	for lines.Scan() {
		list, bad := spool.Lines(lines.Bytes())
		for _, line := range list {
			bad = errors.Join(bad, t.take(line))
		}
		if bad != nil {
			t.log.Warn("telemetry was not collected", "err", bad)
		}
	}
	return errors.Join(lines.Err(), cmd.Wait())
}

// line is what a collector may print: {"signal": value, …}, the same in
// {"ts": …, "values": {…}}, or an event, {"kind": "fault", "name": …}.
type line struct {
	TS     *json.Number               `json:"ts"`
	Seq    uint64                     `json:"seq"`
	Values map[string]json.RawMessage `json:"values"`
	Kind   string                     `json:"kind"`
	Name   string                     `json:"name"`
	State  string                     `json:"state"`
	Level  string                     `json:"level"`
	Text   string                     `json:"text"`
}

// take keeps of one line what may be collected. Without a time of its own it
// gets one, and a number, so that the server recognises it when it comes twice.
func (t *telemetry) take(raw []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return err
	}
	_, nested := all["values"]
	_, event := all["kind"]
	var l line
	if nested || event {
		if err := json.Unmarshal(raw, &l); err != nil {
			return fmt.Errorf("%.80s: %w", raw, err)
		}
	} else {
		l.Values = all
	}
	ts, number := t.now().UnixMilli(), func(seq uint64) uint64 { return seq }
	if l.TS != nil {
		f, err := l.TS.Float64()
		if err != nil || f != f || f < 0 || f > 1e14 {
			return fmt.Errorf("ts: want Unix time in milliseconds, got %s", l.TS)
		}
		ts, number = int64(f), func(uint64) uint64 { return l.Seq }
	}
	if event {
		if !t.policy.event(l.Kind, l.Name, l.Level) {
			return nil
		}
		return t.spool.Put(spool.Events, func(seq uint64) (json.RawMessage, error) {
			return json.Marshal(eventBody{ts, number(seq), l.Kind, l.Name, l.State, l.Level, l.Text})
		})
	}
	kept := t.policy.values(l.Values)
	if len(kept) == 0 {
		return nil
	}
	return t.spool.Put(spool.Telemetry, func(seq uint64) (json.RawMessage, error) {
		return json.Marshal(telemetryBody{ts, number(seq), kept})
	})
}

type telemetryBody struct {
	TS     int64                      `json:"ts"`
	Seq    uint64                     `json:"seq,omitempty"`
	Values map[string]json.RawMessage `json:"values"`
}

type eventBody struct {
	TS    int64  `json:"ts"`
	Seq   uint64 `json:"seq,omitempty"`
	Kind  string `json:"kind"`
	Name  string `json:"name,omitempty"`
	State string `json:"state,omitempty"`
	Level string `json:"level,omitempty"`
	Text  string `json:"text,omitempty"`
}

// batch makes one payload of messages that may still be collected: an owner may
// have said otherwise since.
func (t *telemetry) batch(list []spool.Message) (payload []byte, n int, err error) {
	out := make([]json.RawMessage, 0, len(list))
	for _, m := range list {
		switch m.Kind {
		case spool.Events:
			var e eventBody
			if json.Unmarshal(m.Body, &e) == nil && t.policy.event(e.Kind, e.Name, e.Level) {
				out = append(out, m.Body)
			}
		default:
			var b telemetryBody
			if json.Unmarshal(m.Body, &b) != nil {
				continue
			}
			if b.Values = t.policy.values(b.Values); len(b.Values) == 0 {
				continue
			}
			raw, err := json.Marshal(b)
			if err != nil {
				return nil, 0, err
			}
			out = append(out, raw)
		}
	}
	payload, err = json.Marshal(out)
	return payload, len(out), err
}

// dropped tells the server of what was lost, if it may hear log lines.
func (t *telemetry) dropped() error {
	n := t.spool.Dropped()
	if n == 0 {
		return nil
	}
	raw, err := json.Marshal(eventBody{
		TS: t.now().UnixMilli(), Kind: "log", Name: "fettle-agent", Level: "warn",
		Text: strings.Join([]string{strconv.FormatUint(n, 10), "messages were dropped, the oldest: the unit's store was full"}, " "),
	})
	if err != nil {
		return err
	}
	if err := t.take(raw); err != nil {
		return err
	}
	t.log.Warn("messages were dropped, the oldest: the store was full", "messages", n)
	return t.spool.Told(n)
}
