package maintenance

import (
	"cmp"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Life is one part's time in one unit, from when it was put in until it
// failed, was taken out still working, or now.
type Life struct {
	UnitID  string    `json:"unitId"`
	UnitKey int64     `json:"-"`
	Number  int       `json:"number"` // of the unit's lives of this part, from 1
	From    time.Time `json:"from"`
	To      time.Time `json:"to"`     // failed, replaced, retired, or the time asked for
	Failed  bool      `json:"failed"` // else censored: it lasted at least until To
	Alive   bool      `json:"alive"`  // it is still in use
	Batch   string    `json:"batch,omitempty"`
	Serial  string    `json:"serial,omitempty"`
	Version string    `json:"version,omitempty"`
}

// Age is how long the part lasted, or has lasted so far.
func (l *Life) Age() time.Duration { return l.To.Sub(l.From) }

// Lives tells a part's lives on units, as of now, by unit id and time. Records
// need no order; those after now and of other parts are left out. The first
// life of a unit without an installation on record begins when the unit was
// registered, with the unit's own batch and hardware revision as version; a
// part that failed and was put right begins a new one. One
// that would end before it begins, as of a unit registered after it failed, is
// counted in unknown instead: its beginning is not on record.
func Lives(units []fleet.Unit, records []Record, part string, now time.Time) (lives []Life, unknown int) {
	byUnit := map[string][]Record{}
	for _, r := range records {
		if r.Part == part && !r.At.After(now) {
			byUnit[r.UnitID] = append(byUnit[r.UnitID], r)
		}
	}
	for i := range units {
		u := &units[i]
		mine := byUnit[u.ID]
		slices.SortStableFunc(mine, func(a, b Record) int {
			return cmp.Or(a.At.Compare(b.At), a.EnteredAt.Compare(b.EnteredAt), cmp.Compare(a.ID, b.ID))
		})
		got, lost := unitLives(u, mine, now)
		lives, unknown = append(lives, got...), unknown+lost
	}
	slices.SortStableFunc(lives, func(a, b Life) int { return cmp.Or(cmp.Compare(a.UnitID, b.UnitID), cmp.Compare(a.Number, b.Number)) })
	return lives, unknown
}

func unitLives(u *fleet.Unit, records []Record, now time.Time) (lives []Life, unknown int) {
	open, assumed := &Life{From: u.CreatedAt, Batch: u.Batch, Version: u.Hardware}, true
	end := func(at time.Time, failed, alive bool) {
		if open == nil {
			return
		}
		l := *open
		open = nil
		if !at.After(l.From) {
			if !alive {
				unknown++
			}
			return
		}
		l.UnitID, l.UnitKey, l.Number, l.To, l.Failed, l.Alive = u.ID, u.Key, len(lives)+1, at, failed, alive
		lives = append(lives, l)
	}
	for i := range records {
		r := &records[i]
		ends, failed := r.Ends()
		switch {
		case ends:
			end(r.At, failed, false)
		case r.Kind == Installation && !assumed:
			end(r.At, false, false) // another one was put in: the one before is out
		}
		if r.Begins() || r.Kind == Maintenance && open == nil { // what had failed was put right
			open = &Life{From: r.At, Batch: r.Batch, Serial: r.Serial, Version: r.Version}
		}
		assumed = assumed && !r.Begins() && !ends
	}
	end(now, false, u.State == fleet.UnitActive)
	return lives, unknown
}
