// Package tips brings tips to units' own displays, over MQTT as soon as there
// is one and when a unit polls, and takes what came of them.
package tips

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// Showing is a tip for a display.
type Showing struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Text    string `json:"text"`
	Action  string `json:"action,omitempty"`  // what the button says
	Command string `json:"command,omitempty"` // what the button does, in the unit's words
	Link    string `json:"link,omitempty"`
	Until   int64  `json:"until"` // not shown after, Unix ms
}

// Report is what came of a tip on the display.
type Report struct {
	ID    string
	Event string    // shown, dismissed or acted
	At    time.Time // by the unit's clock, zero if it does not say
}

// Source knows tips. A tip that is not the unit's is fault.NotFound.
type Source interface {
	Showing(ctx context.Context, unitID string) ([]Showing, error)
	Report(ctx context.Context, unitID string, r Report) error
	// Changed are units whose tips have changed since a mark, with the mark for the next call; "" is now.
	Changed(ctx context.Context, since string) (unitIDs []string, next string, err error)
}

// Listener is a connection whose unit has asked for tips. It must not wait for
// the unit.
type Listener interface{ Tips(payload []byte) }

// Hub knows which units listen.
type Hub struct {
	source Source
	log    *slog.Logger

	mu     sync.Mutex
	byUnit map[string]map[Listener]struct{}
}

// NewHub makes a Hub.
func NewHub(s Source, log *slog.Logger) *Hub {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Hub{source: s, log: log, byUnit: map[string]map[Listener]struct{}{}}
}

// Payload is what a unit's display is to show now, as JSON.
func (h *Hub) Payload(ctx context.Context, unitID string) ([]byte, error) {
	list, err := h.source.Showing(ctx, unitID)
	if err != nil {
		return nil, err
	}
	if list == nil {
		list = []Showing{}
	}
	return json.Marshal(struct {
		Tips []Showing `json:"tips"`
	}{list})
}

// Listen makes a connection hear of its unit's tips, those of now first.
func (h *Hub) Listen(ctx context.Context, unitID string, l Listener) error {
	h.mu.Lock()
	if h.byUnit[unitID] == nil {
		h.byUnit[unitID] = map[Listener]struct{}{}
	}
	h.byUnit[unitID][l] = struct{}{}
	h.mu.Unlock()
	payload, err := h.Payload(ctx, unitID)
	if err == nil {
		l.Tips(payload)
	}
	return err
}

// Leave ends that.
func (h *Hub) Leave(unitID string, l Listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.byUnit[unitID], l)
	if len(h.byUnit[unitID]) == 0 {
		delete(h.byUnit, unitID)
	}
}

// Tell sends units that listen what they are to show now.
func (h *Hub) Tell(ctx context.Context, unitIDs ...string) {
	for _, id := range unitIDs {
		h.mu.Lock()
		var live []Listener
		for l := range h.byUnit[id] {
			live = append(live, l)
		}
		h.mu.Unlock()
		if len(live) == 0 {
			continue
		}
		payload, err := h.Payload(ctx, id)
		if err != nil {
			h.log.Warn("a unit was not told its tips; it is when it connects again", "unit", id, "error", err)
			continue
		}
		for _, l := range live {
			l.Tips(payload)
		}
	}
}

// Run tells units what other processes have decided, and those whose turn has
// come, until ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	mark := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
		h.mu.Lock()
		idle := len(h.byUnit) == 0
		h.mu.Unlock()
		if idle {
			mark = ""
			continue
		}
		units, next, err := h.source.Changed(ctx, mark)
		if err != nil {
			if ctx.Err() == nil {
				h.log.Warn("units are not told their tips", "error", err)
			}
			continue
		}
		mark = next
		h.Tell(ctx, units...)
	}
}

// maxReports bounds the reports of one message.
const maxReports = 100

// Take reads a message of reports, one or an array, and does what they say. A
// tip that the unit does not have is passed over: it may have been forgotten.
func (h *Hub) Take(ctx context.Context, unitID string, body []byte) (unknown int, err error) {
	reports, err := Parse(body)
	if err != nil {
		return 0, err
	}
	for _, r := range reports {
		switch err := h.source.Report(ctx, unitID, r); {
		case fault.KindOf(err) == fault.NotFound:
			unknown++
		case err != nil:
			return unknown, err
		}
	}
	return unknown, nil
}

// Parse reads reports: an object with id, event and perhaps ts (Unix ms), or an
// array of those.
func Parse(body []byte) ([]Report, error) {
	type report struct {
		ID    string   `json:"id"`
		Event string   `json:"event"`
		TS    *float64 `json:"ts"`
	}
	wrong := func(path, expected, got string) ([]Report, error) {
		return nil, fault.Fields("tips", []fault.Field{{Path: path, Expected: expected, Got: got}})
	}
	var all []report
	if err := json.Unmarshal(body, &all); err != nil {
		var one report
		if err := json.Unmarshal(body, &one); err != nil {
			return wrong("", `an object as {"id": "…", "event": "shown"}, or an array of those`, err.Error())
		}
		all = []report{one}
	}
	if len(all) > maxReports {
		return wrong("", fmt.Sprintf("at most %d reports", maxReports), fmt.Sprint(len(all)))
	}
	out := make([]Report, 0, len(all))
	for i, r := range all {
		at := fmt.Sprintf("[%d]", i)
		if r.ID == "" || len(r.ID) > 100 {
			return wrong(at+".id", "the tip's id", r.ID[:min(len(r.ID), 20)])
		}
		if r.Event != "shown" && r.Event != "dismissed" && r.Event != "acted" {
			return wrong(at+".event", "shown, dismissed or acted", r.Event[:min(len(r.Event), 20)])
		}
		x := Report{ID: r.ID, Event: r.Event}
		if r.TS != nil && *r.TS > 0 && *r.TS < 1e14 {
			x.At = time.UnixMilli(int64(*r.TS)).UTC()
		}
		out = append(out, x)
	}
	return out, nil
}
