// Package words says values, bands, lengths and instants as evidence is told to
// people.
package words

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/detect"
)

// Number writes a value as people would: at most three decimals.
func Number(v float64) string {
	if math.Abs(v) >= 1e9 || (v != 0 && math.Abs(v) < 1e-3) {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	s := strconv.FormatFloat(v, 'f', 3, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// Measured is a value with its unit of measure.
func Measured(v float64, unit string) string {
	if unit == "" {
		return Number(v)
	}
	return Number(v) + " " + unit
}

// Limits says which band was left.
func Limits(l detect.Limits, unit string) string {
	switch {
	case math.IsInf(l.Min, -1):
		return "above " + Measured(l.Max, unit)
	case math.IsInf(l.Max, 1):
		return "below " + Measured(l.Min, unit)
	default:
		return "outside " + Number(l.Min) + " to " + Measured(l.Max, unit)
	}
}

// Span writes a length of time for people: 42 s, 42 min, 12.5 h, 3.2 d.
func Span(d time.Duration) string {
	one := func(v float64) string {
		return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
	}
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return one(d.Hours()) + " h"
	default:
		return one(d.Hours()/24) + " d"
	}
}

// Instant writes a time for people, in UTC.
func Instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
