// Package words says values, bands, lengths and instants as evidence is told to
// people.
package words

import (
	"fmt"
	"math"
	"regexp"
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

// Round drops the digits of v that mean little where it is known to spread: those
// below a tenth of it.
func Round(v, spread float64) float64 {
	if !(spread > 0) || math.IsInf(spread, 0) {
		return v
	}
	step := math.Pow(10, math.Floor(math.Log10(spread))-1)
	if step >= 1 {
		return math.Round(v/step) * step
	}
	per := math.Round(1 / step) // a whole number: no tail of digits
	return math.Round(v*per) / per
}

// Measured is a value with its unit of measure, a UCUM code.
func Measured(v float64, code string) string {
	if unit := Unit(code); unit != "" {
		return Number(v) + " " + unit
	}
	return Number(v)
}

// unitWords are the UCUM symbols that people write in another way.
var unitWords = map[string]string{
	"1": "", "Cel": "°C", "[degF]": "°F", "[degR]": "°R", "Ohm": "Ω", "kOhm": "kΩ", "MOhm": "MΩ", "deg": "°",
	"10*": "10", "10^": "10", "um": "µm", "us": "µs", "uA": "µA", "uV": "µV", "uW": "µW", "ug": "µg", "uF": "µF",
}

var (
	unitSymbol = regexp.MustCompile(`10[*^]|\{[^}]*\}|\[[^\]]*\]|[A-Za-z%]+|[+-]?[0-9]+|.`)
	raised     = strings.NewReplacer("-", "⁻", "+", "", "0", "⁰", "1", "¹", "2", "²", "3", "³", "4", "⁴",
		"5", "⁵", "6", "⁶", "7", "⁷", "8", "⁸", "9", "⁹")
)

// Unit is a UCUM code as people write it: °C for Cel, psi for [psi], m/s² for
// m/s2, kWh for kW.h; empty for the plain number 1.
func Unit(code string) string {
	if w, ok := unitWords[code]; ok {
		return w
	}
	if code == "kW.h" || code == "W.h" {
		return strings.Replace(code, ".", "", 1)
	}
	if strings.HasPrefix(code, "/") {
		code = "1" + code
	}
	var out strings.Builder
	letters := false
	for _, s := range unitSymbol.FindAllString(code, -1) {
		switch c := s[len(s)-1]; {
		case unitWords[s] != "":
			s = unitWords[s]
		case c == '}' || c == ']':
			s = s[1 : len(s)-1]
		case c >= '0' && c <= '9' && letters:
			s = raised.Replace(s)
		case s == ".":
			s = "·"
		}
		letters = s != "·" && s != "/" && s != "(" && s != ")"
		out.WriteString(s)
	}
	return out.String()
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
