package drive

import (
	"time"

	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
)

// Truth is what is true of one unit, which the server never sees, and what
// the unit and its owner did.
type Truth struct {
	Unit      *charger.Unit
	Load      float64 // hours of charging so far
	LoadAged  float64 // of those, since the defect's onset
	Left      bool    // has left the network
	Installs  int
	Actions   int // distinct ids of deployments seen
	Chosen    []client.Choice
	Acked     Account // by PUBACK
	Uncertain Account // sent again after a loss of connection: the server may have counted it twice
}

// Truths tells what is true now, by index of the unit.
func (f *Fleet) Truths() []Truth {
	out := make([]Truth, len(f.units))
	for i, u := range f.units {
		u.mu.Lock()
		t := Truth{Unit: u.spec, Left: u.leaving, Installs: u.installs, Actions: len(u.actions), Acked: u.acked, Uncertain: u.uncertain}
		t.Load, t.LoadAged = u.body.Load()
		u.mu.Unlock()
		w := f.owners[i]
		w.mu.Lock()
		t.Chosen = append(t.Chosen, w.chosen...)
		w.mu.Unlock()
		out[i] = t
	}
	return out
}

// Delivered says that all that was measured up to t is acknowledged.
func (f *Fleet) Delivered(t time.Time) bool {
	for _, u := range f.units {
		u.mu.Lock()
		late := !u.gone && !u.installing && !u.body.Due().After(t)
		if u.rowCount > 0 && u.rowSince <= t.UnixMilli() {
			late = true
		}
		for _, m := range u.out {
			if m.since != 0 && m.since <= t.UnixMilli() {
				late = true
				break
			}
		}
		late = late && !u.gone
		u.mu.Unlock()
		if late {
			return false
		}
	}
	return true
}
