// Package live hands on what units report, as it comes, to whoever listens to a
// unit: one reader of the stream for all of them, and none while nobody listens.
package live

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"fettle.dev/fettle/internal/telemetry"
)

// most is how much a listener may lag behind before it is dropped.
const most = 1024

// Told is one row or event of a unit; exactly one is set. It must not be changed.
type Told struct {
	Row   *telemetry.Row
	Event *telemetry.Event
	Seq   uint64
}

// Hub reads the stream for listeners.
type Hub struct {
	stream telemetry.Stream
	log    *slog.Logger

	mu     sync.Mutex
	byUnit map[int64]map[*Listener]bool
	wake   chan struct{}
	idle   context.CancelFunc // ends the reading, when nobody listens
}

// Listener is told of one unit. C is closed when it lagged behind, or the hub ended.
type Listener struct {
	C    <-chan Told
	c    chan Told
	unit int64
	hub  *Hub
	once sync.Once
}

// New makes a hub.
func New(stream telemetry.Stream, log *slog.Logger) *Hub {
	return &Hub{stream: stream, log: log, byUnit: map[int64]map[*Listener]bool{}, wake: make(chan struct{}, 1)}
}

// Listen has what a unit reports from now on told, until Close.
func (h *Hub) Listen(unit int64) *Listener {
	c := make(chan Told, most)
	l := &Listener{C: c, c: c, unit: unit, hub: h}
	h.mu.Lock()
	if h.byUnit[unit] == nil {
		h.byUnit[unit] = map[*Listener]bool{}
	}
	h.byUnit[unit][l] = true
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return l
}

// Close ends the listening.
func (l *Listener) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.hub.drop(l)
}

// drop forgets a listener. The caller holds h.mu.
func (h *Hub) drop(l *Listener) {
	l.once.Do(func() {
		delete(h.byUnit[l.unit], l)
		if len(h.byUnit[l.unit]) == 0 {
			delete(h.byUnit, l.unit)
		}
		close(l.c)
		if len(h.byUnit) == 0 && h.idle != nil {
			h.idle()
		}
	})
}

// Run reads while somebody listens, until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-h.wake:
			h.read(ctx)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.byUnit {
		for l := range all {
			h.drop(l)
		}
	}
	return nil
}

func (h *Hub) read(ctx context.Context) {
	for {
		reading, stop := context.WithCancel(ctx)
		h.mu.Lock()
		if len(h.byUnit) == 0 {
			h.mu.Unlock()
			stop()
			return
		}
		h.idle = stop
		h.mu.Unlock()
		from, err := h.stream.Last(reading)
		if err == nil {
			err = h.stream.Consume(reading, from, 256, func(_ context.Context, batches []telemetry.Sequenced) error {
				h.tell(batches)
				return nil
			})
		}
		ended := reading.Err() != nil
		stop()
		if ctx.Err() != nil {
			return
		}
		if !ended {
			h.log.WarnContext(ctx, "live data is read anew", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func (h *Hub) tell(batches []telemetry.Sequenced) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range batches {
		for i := range b.Batch.Rows {
			if all := h.byUnit[b.Batch.Rows[i].Unit]; len(all) > 0 && len(b.Batch.Rows[i].Values) > 0 {
				h.hand(all, Told{Row: &b.Batch.Rows[i], Seq: b.Seq})
			}
		}
		for i := range b.Batch.Events {
			if all := h.byUnit[b.Batch.Events[i].Unit]; len(all) > 0 {
				h.hand(all, Told{Event: &b.Batch.Events[i], Seq: b.Seq})
			}
		}
	}
}

func (h *Hub) hand(all map[*Listener]bool, t Told) {
	for l := range all {
		select {
		case l.c <- t:
		default:
			h.drop(l) // it reads again, from history
		}
	}
}
