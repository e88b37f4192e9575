// Package rul learns the remaining useful life of units from units that ran to
// failure, and predicts it for the living, with an interval.
//
// The way of a reading: operating regimes are found among the columns
// (regime.go) and each signal is normalised within its regime; windows over
// the unit's recent readings, and their drift against the unit's own first
// ones, become features (features.go), also of the mixtures of signals that
// change slowest (slow.go); gradient-boosted trees learn the remaining life from
// them, each unit predicted by trees that have not seen it (fit.go), and second
// trees learn from the course of those predictions (course.go); the errors of
// these on units not seen, by the predicted level, give the interval
// (interval.go): cross-conformal prediction, Barber et al. 2021, with folds by
// unit, never by row.
//
// Times are in any unit of the caller's choosing; lives and intervals are in
// the same. A prediction depends on the unit's readings up to its row alone.
package rul

import (
	"errors"
	"fmt"
	"math"
)

// Unit is one unit's readings.
type Unit struct {
	ID   string
	Time []float64 // ascending
	// Values has each column's readings, one for each time; NaN is a gap.
	Values [][]float64
	// Failed says that its life ended at End; else it was working then.
	Failed bool
	// End is the time of failure, or when it was last seen working. Before the
	// last reading (0, say) it counts as the time of the last reading.
	End float64
	// Start is the time it was new, where that is known; nil: its first reading.
	Start *float64
}

// end is when watching ended.
func (u *Unit) end() float64 { return max(u.End, u.Time[len(u.Time)-1]) }

// start is when its life began.
func (u *Unit) start() float64 {
	if u.Start != nil && *u.Start < u.Time[0] {
		return *u.Start
	}
	return u.Time[0]
}

// Config says how to learn. The zero value is the default, but for Columns.
type Config struct {
	// Columns names the columns of all units' Values.
	Columns []string
	// Cap, above 0, is the longest remaining life that is told apart (the
	// piecewise-linear target of Heimes 2008); 0: none.
	Cap float64
	// Level is the share of true lives that intervals hold; 0 is 0.8.
	Level float64
	Seed  uint64
	// About is the caller's own note, kept with the model.
	About string
	// Trees of each fold's model; 0 is the default. Fewer are for tests.
	Trees int
}

// Estimate is a remaining life, from a row's time on, with its interval.
type Estimate struct{ RUL, Low, High float64 }

// Errors of Fit and Predict that a caller can do something about.
var (
	ErrFewFailures = errors.New("rul: too few units have run to failure")
	ErrNoSignal    = errors.New("rul: no column changes over the units' lives")
	ErrColumns     = errors.New("rul: other columns than the model's")
	ErrDamaged     = errors.New("rul: not a model file, or a damaged one")
	ErrNewer       = errors.New("rul: the model was written by a newer version of Fettle")
)

// minFailures is how many units must have failed: each fold has one or more.
const minFailures = 5

// check refuses a unit that can't be read.
func check(u *Unit, columns int) error {
	if len(u.Time) == 0 {
		return fmt.Errorf("rul: unit %s has no reading", u.ID)
	}
	if len(u.Values) != columns {
		return fmt.Errorf("%w: unit %s has %d, want %d", ErrColumns, u.ID, len(u.Values), columns)
	}
	for c, v := range u.Values {
		if len(v) != len(u.Time) {
			return fmt.Errorf("rul: unit %s: column %d has %d values at %d times", u.ID, c, len(v), len(u.Time))
		}
	}
	for i, t := range u.Time {
		if math.IsNaN(t) || math.IsInf(t, 0) || (i > 0 && t < u.Time[i-1]) {
			return fmt.Errorf("rul: unit %s: the times are not ascending at reading %d", u.ID, i+1)
		}
	}
	return nil
}
