package mqtt

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// BenchmarkPublish is the path of a message from the socket to its PUBACK, ten
// values each, over connections that keep 64 messages in flight. The stream
// keeps nothing; see bus for what a synced commit costs.
func BenchmarkPublish(b *testing.B) {
	for _, connections := range []int{1, 100, 2000} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			r := newRig(b, Config{}, nil)
			r.Stream.Discard()
			ids := r.Units(connections)
			message := publishBytes(false, 1, 1, TopicTelemetry,
				`{"ts":1401624000000,"values":{"current":16.25,"plug_temperature":41.5,"charging":true,"error":0,"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}}`)
			var burst []byte
			const window = 64
			for range window {
				burst = append(burst, message...)
			}
			clients := make([]*client, connections)
			for i, id := range ids {
				clients[i] = r.connect(b, false, id, "c")
				_ = clients[i].nc.SetReadDeadline(time.Time{}) // as connect sets one
			}
			each := max(1, b.N/window/connections)
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, c := range clients {
				wg.Go(func() {
					acks := make([]byte, 4*window)
					for range each {
						if _, err := c.nc.Write(burst); err != nil {
							b.Error(err)
							return
						}
						if _, err := io.ReadFull(c.nc, acks); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			n := float64(each * window * connections)
			b.ReportMetric(n/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkIdle is the memory of a connection that does nothing.
func BenchmarkIdle(b *testing.B) {
	const connections = 2000
	r := newRig(b, Config{}, nil)
	ids := r.Units(connections)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, 0, connections)
	for _, id := range ids {
		conns = append(conns, r.connect(b, true, id, "c").nc)
	}
	time.Sleep(100 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc+after.StackInuse-before.HeapAlloc-before.StackInuse)/connections/1024, "KiB/connection")
	b.ReportMetric(0, "ns/op")
	for _, c := range conns {
		_ = c.Close()
	}
}
