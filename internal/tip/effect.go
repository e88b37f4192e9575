package tip

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"fettle.dev/fettle/internal/tip/proportion"
)

// Held reports whether a unit is among those that are not shown a tip: by a
// lot that depends on the unit and the tip's name alone, so that it stays.
func Held(t *Tip, key int64) bool {
	share := t.share()
	if share <= 0 {
		return false
	}
	h := sha256.New()
	_, _ = h.Write([]byte(t.Name))
	_ = binary.Write(h, binary.BigEndian, key) // a hash takes everything
	lot := binary.BigEndian.Uint64(h.Sum(nil))
	return float64(lot)/math.MaxUint64 < share
}

// Least is how many units a figure is of at least.
const Least = 10

// Arm is what became of the units that were eligible and shown the tip, or
// held back by lot. Shares are of Units, 0 to 1, in whole percent.
type Arm struct {
	Units     int      `json:"units" doc:"Eligible: the condition held, the owner permits it, nothing was against it, and the time in which a use counts is over. 0 where there are fewer than 10."`
	Shown     *float64 `json:"shown,omitempty" doc:"Share that saw it."`
	Dismissed *float64 `json:"dismissed,omitempty" doc:"Share that closed it."`
	Acted     *float64 `json:"acted,omitempty" doc:"Share that pressed its button."`
	Used      *float64 `json:"used,omitempty" doc:"Share that used the feature within the time."`
}

// Effect compares units that were given a tip with those held back, as they
// were drawn: whether they looked at it or not.
type Effect struct {
	Tip     string `json:"tip"`
	Version int    `json:"version"`
	Feature string `json:"feature,omitempty"`
	Hours   int    `json:"hours" doc:"Within which a use of the feature counts."`
	K       int    `json:"k" doc:"No figure rests on fewer units."`
	Given   Arm    `json:"given"`
	Held    Arm    `json:"held"`
	// Difference is of the shares that used the feature, given less held.
	Difference *float64 `json:"difference,omitempty" doc:"In percentage points."`
	Low        *float64 `json:"low,omitempty" doc:"Of a 95 % interval (Newcombe, Statistics in Medicine 1998;17:873-890, method 10)."`
	High       *float64 `json:"high,omitempty"`
	Verdict    string   `json:"verdict" enum:"more,less,not demonstrated,no comparison" doc:"more or less: the interval leaves 0 out. no comparison: no feature, or fewer than 10 units on a side."`
}

// effectOf makes figures of counts; none is of fewer than ten units.
func effectOf(t *Tip, given, held Count) Effect {
	e := Effect{Tip: t.Name, Version: t.Version, Feature: t.Feature, Hours: int(or(t.Within, defaultWithin).Hours()), Given: arm(given, t), K: Least, Held: arm(held, t), Verdict: "no comparison"}
	e.Held.Shown, e.Held.Dismissed, e.Held.Acted = nil, nil, nil
	if t.Feature == "" || given.Units < Least || held.Units < Least {
		return e
	}
	difference, low, high := proportion.Difference(given.Used, given.Units, held.Used, held.Units)
	points := func(v float64) *float64 { v = math.Round(v*1000) / 10; return &v }
	e.Difference, e.Low, e.High = points(difference), points(low), points(high)
	switch {
	case low > 0:
		e.Verdict = "more"
	case high < 0:
		e.Verdict = "less"
	default:
		e.Verdict = "not demonstrated"
	}
	return e
}

func arm(c Count, t *Tip) Arm {
	if c.Units < Least {
		return Arm{}
	}
	share := func(n int) *float64 { v := math.Round(100*float64(n)/float64(c.Units)) / 100; return &v }
	a := Arm{Units: c.Units, Shown: share(c.Shown), Dismissed: share(c.Dismissed), Acted: share(c.Acted)}
	if t.Feature != "" {
		a.Used = share(c.Used)
	}
	return a
}
