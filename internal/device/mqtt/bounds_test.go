package mqtt

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// A thousand clients that each announce as much as they may and send little of
// it, that never read what they asked for, and one that announces 256 MB: what
// they hold is what they have sent, and a little.
func TestSlowClientsHoldLittle(t *testing.T) {
	t.Run("plain", func(t *testing.T) { slowClients(t, newRig(t, Config{}, nil), 1000, 3) })
	t.Run("TLS", func(t *testing.T) { slowClients(t, newRigTLS(t, Config{}), 300, 1) })
}

func slowClients(t *testing.T, r *rig, clients, seconds int) {
	t.Helper()
	ids := r.Units(clients / 4)
	before := heap()
	all := make([]*client, clients)
	for i := range all {
		all[i] = r.connect(t, i%2 == 0, ids[i/4], string(rune('a'+i%4)))
	}
	connected := heap()
	t.Logf("%d bytes a connection, with its client", (connected-before)/int64(clients))
	for i, c := range all {
		whole := publishBytes(i%2 == 0, 1, 1, TopicTelemetry, string(make([]byte, 250<<10)))
		switch i % 3 {
		case 0, 1: // announces 250 KiB
			c.write(whole[:100])
		case 2: // asks for much and reads nothing
			for n := range 50 {
				c.write(subscribeBytes(i%2 == 0, uint16(n+1), TopicDesired))
			}
		}
	}
	for second := range seconds { // a byte a second
		time.Sleep(time.Second)
		for i, c := range all {
			if i%3 == 0 {
				_, _ = c.nc.Write([]byte{byte(second)})
			}
		}
	}
	stuck := heap()
	t.Logf("%d bytes more each while stuck", (stuck-connected)/int64(clients))
	require.Less(t, (stuck-connected)/int64(clients), int64(48<<10))

	// 256 MB are refused before a byte of them is read.
	big := r.connect(t, true, ids[0], "big")
	big.write([]byte{typePublish<<4 | 2, 0xff, 0xff, 0xff, 0x7f})
	big.closed(reasonTooLarge)
	require.Less(t, heap()-stuck, int64(8<<20))

	// Who behaves is served meanwhile.
	good := r.connect(t, true, ids[1], "good")
	good.write(publishBytes(true, 1, 7, TopicTelemetry, sample))
	kind, _ := good.next()
	require.Equal(t, byte(typePuback), kind)
}
