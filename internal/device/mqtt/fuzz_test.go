package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"fettle.dev/fettle/internal/device/devicetest"
)

func seeds(f *testing.F) {
	f.Helper()
	for _, v5 := range []bool{false, true} {
		f.Add(connectBytes(v5, "c", "WC-000000", "x", 60))
		f.Add(publishBytes(v5, 1, 1, TopicTelemetry, sample))
		f.Add(publishBytes(v5, 1, 1, TopicEvents, `{"kind":"fault","name":"E1"}`))
		f.Add(publishBytes(v5, 0, 0, "x/+", "\x00"))
		f.Add(subscribeBytes(v5, 1, TopicDesired, "#"))
	}
	f.Add([]byte{typeUnsubscribe<<4 | 2, 5, 0, 1, 0, 1, 'x'})
	f.Add([]byte{typePublish << 4, 8, 0, 1, 'x', 3, 35, 0, 1, 'y'}) // a topic alias
	f.Add([]byte{typePublish << 4, 7, 0, 1, 'x', 0xff, 0xff, 0xff, 0x7f})
	f.Add([]byte{typePingreq << 4, 0, typeDisconnect << 4, 0})
}

// FuzzPackets reads any bytes as packets of either version: they are decoded
// or refused, never a panic, and never more memory than the limit.
func FuzzPackets(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v5 := range []bool{false, true} {
			r := bufio.NewReader(bytes.NewReader(b))
			for {
				h, err := readHeader(r, 1<<16)
				if err != nil {
					break
				}
				body := make([]byte, h.length)
				if n, _ := r.Read(body); n < h.length {
					break
				}
				switch h.kind {
				case typeConnect:
					_, _ = readConnect(body)
				case typePublish:
					p, err := readPublish(h.flags, body, v5)
					if err == nil && (len(p.topic)+len(p.payload) > len(body) || p.qos > 2 || p.qos > 0 && p.id == 0) {
						t.Fatalf("%+v", p)
					}
				case typeSubscribe:
					s, err := readTopics(h.kind, body, v5)
					if err == nil && (s.id == 0 || len(s.topics) == 0) {
						t.Fatalf("%+v", s)
					}
				case typeUnsubscribe:
					_, _ = readTopics(h.kind, body, v5)
				}
			}
		}
	})
}

// FuzzConnection sends any bytes over a connection that is accepted, and
// checks that the server lives and keeps nothing running for it.
func FuzzConnection(f *testing.F) {
	seeds(f)
	h := devicetest.New(f, nil)
	unit := h.Units(1)[0]
	srv := New(h.Gateway, h.Gateway, Config{ConnectTimeout: time.Second, WriteTimeout: time.Second}, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v5 := range []bool{false, true} {
			client, server := net.Pipe()
			c := newConn(context.Background(), srv, server, server)
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.serve()
			}()
			go func() {
				_, _ = client.Write(append(connectBytes(v5, "c", unit, h.Token(unit), 60), b...))
				_ = client.Close()
			}()
			buf := make([]byte, 4096)
			for {
				if _, err := client.Read(buf); err != nil {
					break
				}
			}
			select {
			case <-done:
			case <-time.After(time.Minute):
				stack := make([]byte, 1<<16)
				t.Fatalf("the connection does not end:\n%s", stack[:runtime.Stack(stack, true)])
			}
		}
	})
}
