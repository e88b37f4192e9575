// Package spec is what detectors of single types declare, apart from what all
// declare: the blocks trend and peers of a file of kind Detector.
package spec

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Trend foresees when a signal will reach a limit.
type Trend struct {
	Tolerance string         `json:"tolerance,omitempty" doc:"Name of a tolerance of the product: the limits are those of the band that applies at the time. In place of signal, min and max."`
	Signal    string         `json:"signal,omitempty" doc:"Name of a numeric signal."`
	Min       *float64       `json:"min,omitempty" doc:"Limit that the signal should not fall to, in its unit."`
	Max       *float64       `json:"max,omitempty" doc:"Limit that the signal should not rise to, in its unit."`
	Horizon   fleet.Duration `json:"horizon" doc:"A finding opens when the limit will be reached within this time. What is finer than a 64th of it is averaged."`
	By        Bound          `json:"by,omitempty" enum:"median,earliest" doc:"Which of the times counts: median (as likely before as after; the default) or earliest (the low end of the 80 % interval: warns sooner, and more often for nothing)."`
	Cycle     Cycle          `json:"cycle,omitempty" enum:"none,daily,weekly" doc:"The longest cycle that the signal follows by itself: daily (the default), weekly or none. It is learned and does not count as a trend; before three days nothing is said. Use none where a life is shorter than that, as on a test rig."`
	When      string         `json:"when,omitempty" doc:"CEL over signals: readings count while it holds, so that they can be compared with one another. Default: always."`
}

// Bound is the end of an interval that counts.
type Bound string

// The bounds; empty is the median.
const (
	ByMedian   Bound = "median"
	ByEarliest Bound = "earliest"
)

// Cycle is what a signal follows by itself.
type Cycle string

// The cycles; empty is daily.
const (
	CycleNone   Cycle = "none"
	CycleDaily  Cycle = "daily"
	CycleWeekly Cycle = "weekly"
)

// Peers compares a unit with units like it.
type Peers struct {
	Signal  string         `json:"signal" doc:"Name of a numeric signal; its mean over each period is compared."`
	By      []string       `json:"by,omitempty" doc:"What peers have in common, the most important first: version (of the software), hardware, batch, region or another attribute of units. Where there are fewer peers than the minimum the last one is left out, and so on, down to all units of the product."`
	When    string         `json:"when,omitempty" doc:"CEL over signals: readings count while it holds, so that only like use is compared. Default: always."`
	Period  fleet.Duration `json:"period,omitempty" doc:"Units are compared once in it (default 1d, at least 1m)."`
	Minimum int            `json:"minimum,omitempty" doc:"Units with data in the period, itself included, before any of them is judged (default 8, at least 5)."`
	Budget  Budget         `json:"budget,omitempty" doc:"Findings that may open on a sound unit, as 1/year or 0.2/month (default 0.1/year)."`
	Matters float64        `json:"matters,omitempty" doc:"A deviation below this is no finding, however rare, in the signal's unit (default 0)."`
}

// Defaults of what is not declared.
const (
	DefaultPeriod = 24 * time.Hour
	LeastPeriod   = time.Minute
	LeastMinimum  = 5
)

// Budget is how many findings may open on a sound unit: "1/year", "0.5/month",
// "2 per unit-week"; a number alone is a year's.
type Budget string

var plain = strings.NewReplacer("at most ", "", "one ", "1 ", " per unit-", "/", " per unit and ", "/", " a unit-", "/", " per ", "/", " a ", "/", "unit-", "")

// Split is how many, and in what: 2 and week.
func (b Budget) Split() (count, per string) {
	count, per, _ = strings.Cut(plain.Replace(strings.ToLower(string(b))), "/")
	return strings.TrimSpace(count), strings.TrimSpace(per)
}

// Rate is the budget a year; 0 for an empty one.
func (b Budget) Rate() (float64, error) {
	if b == "" {
		return 0, nil
	}
	count, per := b.Split()
	years := map[string]float64{"hour": 8766, "": 1, "year": 1, "month": 12, "week": 365.25 / 7, "day": 365.25}
	n, err := strconv.ParseFloat(count, 64)
	times := years[per]
	if err != nil || !(n > 0 && n <= 1e6) || times == 0 {
		return 0, fmt.Errorf("a number of findings by year, month, week or day, as 1/year or 1 per unit-year")
	}
	return n * times, nil
}
