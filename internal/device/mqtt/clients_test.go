package mqtt

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
)

// Libraries that devices are written with, each in a process of its own: paho
// for Python from Debian, MQTT.js from npm. They know nothing of us.

type job struct {
	Host      string   `json:"host"`
	Port      int      `json:"port"`
	Version   int      `json:"version"` // 4: 3.1.1
	Client    string   `json:"client"`
	User      string   `json:"user"`
	Password  *string  `json:"password,omitempty"`
	Will      string   `json:"will"`
	Keep      bool     `json:"keep"` // ask for a session
	KeepAlive int      `json:"keepalive,omitempty"`
	Linger    float64  `json:"linger,omitempty"`   // seconds to stay
	Patience  float64  `json:"patience,omitempty"` // seconds until it gives up
	Subscribe string   `json:"subscribe,omitempty"`
	Messages  []letter `json:"messages"`
}

type letter struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	QoS     int    `json:"qos"`
}

type done struct {
	OK         bool
	Connects   []int // return codes
	Left       int   // messages without an answer
	Failed     []any // MQTT.js: reasons of those refused
	Subscribed []string
	Heard      []string
}

var libraries = map[string][]string{
	"paho":   {"/usr/bin/python3", "../../../e2e/testdata/mqtt/publish.py"},
	"MQTTjs": {"node", "../../../e2e/testdata/mqtt/publish.cjs"},
}

func runLibrary(t *testing.T, library string, j job) (d done) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	raw, err := json.Marshal(j)
	require.NoError(t, err)
	command := libraries[library]
	cmd := exec.CommandContext(ctx, command[0], command[1], string(raw))
	cmd.Env = append(os.Environ(), "NODE_PATH=../../../web/node_modules")
	out, err := cmd.Output()
	if err != nil && os.Getenv("CI") == "" {
		check := map[string][]string{"paho": {command[0], "-c", "import paho.mqtt"}, "MQTTjs": {command[0], "-e", "require('mqtt')"}}[library]
		probe := exec.CommandContext(ctx, check[0], check[1:]...)
		probe.Env = cmd.Env
		if probe.Run() != nil {
			t.Skip(library + " is not installed: make deps web")
		}
	}
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("%s: %v\n%s", library, err, failed.Stderr)
	}
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(out, &d), string(out))
	return d
}

func (r *rig) job(version int, user, password string, letters ...letter) job {
	host, port, _ := net.SplitHostPort(r.addr)
	n, _ := strconv.Atoi(port)
	j := job{Host: host, Port: n, Version: version, Client: "a client", User: user, Will: TopicTelemetry, Messages: letters}
	if password != "" {
		j.Password = &password
	}
	if letters == nil {
		j.Messages = []letter{}
	}
	return j
}

// each runs a test for each library and version.
func each(t *testing.T, test func(t *testing.T, library string, version int)) {
	t.Helper()
	t.Parallel()
	for library := range libraries {
		for name, version := range map[string]int{"3.1.1": 4, "5": 5} {
			t.Run(library+" "+name, func(t *testing.T) {
				t.Parallel()
				test(t, library, version)
			})
		}
	}
}

// Many messages of every quality of service at once: all are answered, all are
// stored, each kind in its order.
func TestLibrariesPublish(t *testing.T) {
	each(t, func(t *testing.T, library string, version int) {
		r := newRig(t, Config{Window: 50}, nil)
		unit := r.Units(1)[0]
		var all []letter
		for i := range 300 {
			all = append(all, letter{TopicTelemetry, fmt.Sprintf(`{"ts":1401624000000,"seq":%d,"values":{"current":%d,"charging":true}}`, i+1, i), i % 3})
		}
		j := r.job(version, unit, r.Token(unit), all...)
		j.Subscribe, j.Linger = TopicDesired, 0.3
		d := runLibrary(t, library, j)
		require.True(t, d.OK, "%+v", d)
		require.Equal(t, []int{0}, d.Connects)
		require.Empty(t, d.Failed)
		require.Len(t, d.Heard, 1)
		require.JSONEq(t, `{"collect":["current","plug_temperature","charging","label","error"]}`, d.Heard[0])
		require.Eventually(t, func() bool { return len(r.Stream.Rows()) == 300 }, time.Minute, 10*time.Millisecond) // those of service 0
		last := [3]int64{}
		for _, row := range r.Stream.Rows() {
			require.Greater(t, row.Sequence, last[(row.Sequence-1)%3])
			last[(row.Sequence-1)%3] = row.Sequence
		}
	})
}

// ThingsBoard's ways through a library: the token as user name, no password,
// an arbitrary client id.
func TestLibrariesAsThingsBoards(t *testing.T) {
	each(t, func(t *testing.T, library string, version int) {
		r := newRig(t, Config{}, nil)
		r.declared(t, "thingsboard.yaml", fleet.Unit{ID: "FZ-1", Product: "freezer"})
		j := r.job(version, r.issue(t, "FZ-1"), "",
			letter{"v1/devices/me/attributes", `{"fw_version":"9"}`, 1},
			letter{"v1/devices/me/telemetry", `{"temperature":-18}`, 1},
			letter{"v1/devices/me/telemetry", `[{"ts":1401624000000,"values":{"door_open":true}}]`, 0},
			letter{"v1/devices/me/attributes/request/1", `{"sharedKeys":"fw_version"}`, 1},
			letter{"v1/devices/me/telemetry", `{"temperature":-17}`, 1})
		j.Subscribe, j.Linger = "v1/devices/me/attributes", 0.2
		d := runLibrary(t, library, j)
		require.True(t, d.OK, "%+v", d)
		require.Empty(t, d.Failed)
		require.Len(t, r.Stream.Rows(), 3)
		require.Equal(t, map[string]string{"software": "9"}, r.version(t, "FZ-1"))
	})
}

// A wrong credential is told; nothing is stored, and the client may try again.
func TestLibrariesAreRefused(t *testing.T) {
	each(t, func(t *testing.T, library string, version int) {
		r := newRig(t, Config{}, nil)
		ids := r.Units(2)
		require.NoError(t, r.Provide.RevokeUnit(t.Context(), ids[1]))
		j := r.job(version, ids[1], r.Token(ids[1]), letter{TopicTelemetry, sample, 1})
		j.Patience = 1.5
		d := runLibrary(t, library, j)
		require.False(t, d.OK)
		require.NotEmpty(t, d.Connects)
		for _, code := range d.Connects {
			require.Equal(t, map[int]int{4: refusedAuthorized, 5: reasonNotAuthorized}[version], code)
		}
		require.Empty(t, r.Stream.Rows())
	})
}

// A connection that is cut before the answers come: the library sends again
// what was not acknowledged, so that all of it is in the stream at least once,
// the same as it was.
func TestLibrariesSendAgain(t *testing.T) {
	each(t, func(t *testing.T, library string, version int) {
		r := newRig(t, Config{}, nil)
		unit := r.Units(1)[0]
		cut, wires := cutAnswers(t, r.addr, 3)
		var all []letter
		for i := range 12 {
			all = append(all, letter{TopicTelemetry, fmt.Sprintf(`{"ts":%d,"values":{"current":%d}}`, 1401624000000+i, i), 1 + i%2})
		}
		j := r.job(version, unit, r.Token(unit), all...)
		_, port, _ := net.SplitHostPort(cut)
		j.Port, _ = strconv.Atoi(port)
		j.Keep = true
		d := runLibrary(t, library, j)
		require.True(t, d.OK, "%+v", d)
		require.Equal(t, int32(4), wires.Load())
		rows := r.Stream.Rows()
		require.Greater(t, len(rows), 12, "something was sent again")
		seen := map[int64]bool{}
		for _, row := range rows {
			require.InDelta(t, float64(row.Event-1401624000000), row.Values[0].Number, 0)
			seen[row.Event] = true
		}
		require.Len(t, seen, 12)
	})
}

// cutAnswers is a wire between clients and a server that is cut when the first
// PUBACK or PUBREC would come back, times connections long.
func cutAnswers(t *testing.T, to string, times int) (addr string, wires *atomic.Int32) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	wires = new(atomic.Int32)
	go func() {
		for n := 0; ; n++ {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			wires.Add(1)
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				return
			}
			go func() {
				buf := make([]byte, 64<<10)
				for {
					n, err := near.Read(buf)
					if err != nil {
						_ = far.Close()
						return
					}
					_, _ = far.Write(buf[:n])
				}
			}()
			go func() {
				defer near.Close()
				back := bufio.NewReader(far)
				for {
					h, err := readHeader(anyFlags{back}, 1<<20)
					if err != nil || n < times && (h.kind == typePuback || h.kind == typePubrec) {
						return
					}
					packet := append(appendLength([]byte{h.kind<<4 | h.flags}, h.length), make([]byte, h.length)...)
					if _, err := io.ReadFull(back, packet[len(packet)-h.length:]); err != nil {
						return
					}
					_, _ = near.Write(packet)
				}
			}()
		}
	}()
	return ln.Addr().String(), wires
}
