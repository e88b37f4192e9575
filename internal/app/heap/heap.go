// Package heap bounds what the Go heap takes beyond what it holds. Collecting
// seldom is cheap; when a burst has left much, twice as much again would stand
// there as garbage.
package heap

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// percent of what is live may come anew before the next collection, while the
	// heap is small: half as many collections as by default are a tenth of a
	// message's cost, for half as much heap again.
	percent = 200
	// calm is by how much the heap may grow between two collections however little
	// is live; a large one by half of what is live.
	calm = 512 << 20
)

// look is how often the bound follows what is live.
const look = time.Second

// Bound sets the collector and keeps its bound until ctx ends. GOGC and
// GOMEMLIMIT, where they are set, hold instead.
func Bound(ctx context.Context) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	go func() {
		t := time.NewTicker(look)
		defer t.Stop()
		at := int64(0)
		for {
			if to := limit(measure()); to > at+at/32 || to < at-at/32 { // setting it stops the world for a moment
				debug.SetMemoryLimit(to)
				at = to
			}
			select {
			case <-t.C:
			case <-ctx.Done():
				return
			}
		}
	}()
}

// usage is memory of the Go runtime, in bytes.
type usage struct {
	live  int64 // of the heap, after the last collection
	other int64 // all that is no heap, as goroutines' stacks
}

func measure() usage {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	n := func(i int) int64 { return int64(s[i].Value.Uint64()) }
	return usage{live: n(0), other: max(n(1)-n(2)-n(3)-n(4)-n(5), 0)}
}

// limit is what the runtime may take in all.
func limit(u usage) int64 { return u.other + u.live + max(calm, u.live/2) }
