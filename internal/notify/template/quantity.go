package template

import (
	"math"

	"golang.org/x/text/language"
)

// System is a system of units of measure.
type System string

// The systems: the metric one, and that of the United States. Britain reads
// metric but for miles.
const (
	Metric System = "metric"
	US     System = "us"
	UK     System = "uk"
)

// Systems lists them.
var Systems = []System{Metric, US, UK}

// Or is the system, or where none is set that of a locale's region (CLDR
// measurementSystem: US for the United States, Liberia and Myanmar; UK for the
// United Kingdom).
func (s System) Or(locale string) System {
	if s != "" {
		return s
	}
	tag, err := language.Parse(locale)
	if err != nil {
		return Metric
	}
	region, confidence := tag.Region()
	if confidence != language.Exact {
		return Metric // "en" alone says nothing of where somebody lives
	}
	switch region.String() {
	case "US", "LR", "MM":
		return US
	case "GB":
		return UK
	default:
		return Metric
	}
}

// scale turns one unit into another: value*factor + offset.
type scale struct {
	to             string
	factor, offset float64
}

// Factors are exact by definition: the international foot is 0.3048 m, the
// pound 0.45359237 kg, the US gallon 3.785411784 L.
var toUS = map[string]scale{
	"Cel":  {"[degF]", 1.8, 32},
	"km":   {"[mi_i]", 1 / 1.609344, 0},
	"m":    {"[ft_i]", 1 / 0.3048, 0},
	"cm":   {"[in_i]", 1 / 2.54, 0},
	"mm":   {"[in_i]", 1 / 25.4, 0},
	"kg":   {"[lb_av]", 1 / 0.45359237, 0},
	"g":    {"[oz_av]", 1 / 28.349523125, 0},
	"L":    {"[gal_us]", 1 / 3.785411784, 0},
	"l":    {"[gal_us]", 1 / 3.785411784, 0},
	"mL":   {"[foz_us]", 1 / 29.5735295625, 0},
	"km/h": {"[mi_i]/h", 1 / 1.609344, 0},
	"m/s":  {"[mi_i]/h", 3.6 / 1.609344, 0},
	"bar":  {"[psi]", 1 / 0.0689475729316836, 0},
	"kPa":  {"[psi]", 1 / 6.89475729316836, 0},
	"m2":   {"[sft_i]", 1 / 0.09290304, 0},
}

var toMetric = map[string]scale{
	"[degF]":   {"Cel", 1 / 1.8, -32 / 1.8},
	"[mi_i]":   {"km", 1.609344, 0},
	"[ft_i]":   {"m", 0.3048, 0},
	"[in_i]":   {"cm", 2.54, 0},
	"[lb_av]":  {"kg", 0.45359237, 0},
	"[oz_av]":  {"g", 28.349523125, 0},
	"[gal_us]": {"L", 3.785411784, 0},
	"[foz_us]": {"mL", 29.5735295625, 0},
	"[mi_i]/h": {"km/h", 1.609344, 0},
	"[psi]":    {"bar", 0.0689475729316836, 0},
	"[sft_i]":  {"m2", 0.09290304, 0},
	"K":        {"Cel", 1, -273.15},
}

// symbols are how units are written for people, where the code is not (CLDR
// short forms that all five languages share).
var symbols = map[string]string{
	"Cel": "°C", "[degF]": "°F", "[mi_i]": "mi", "[ft_i]": "ft", "[in_i]": "in", "[lb_av]": "lb", "[oz_av]": "oz", "[gal_us]": "gal", "[foz_us]": "fl oz",
	"[mi_i]/h": "mph", "[psi]": "psi", "[sft_i]": "ft²", "m2": "m²", "m3": "m³", "kW.h": "kWh", "W.h": "Wh", "A.h": "Ah", "mA.h": "mAh", "Ohm": "Ω", "deg": "°",
	"/min": "/min", "{rev}/min": "rpm", "m/s2": "m/s²", "ug": "µg", "us": "µs", "um": "µm", "1": "", "dB": "dB", "d": "d", "h": "h", "l": "L", "[ppm]": "ppm",
}

// near are units that only some systems read: Britain drives in miles.
var milesOnly = map[string]bool{"km": true, "km/h": true}

// Convert gives a quantity in the units of a system.
func Convert(q Quantity, s System) Quantity {
	var c scale
	var ok bool
	switch {
	case s == US:
		c, ok = toUS[q.Unit]
	case s == UK && milesOnly[q.Unit]:
		c, ok = toUS[q.Unit]
	case s == UK && (q.Unit == "[mi_i]" || q.Unit == "[mi_i]/h"):
	default:
		c, ok = toMetric[q.Unit]
	}
	if q.Unit == "K" && s == US {
		q, ok = Quantity{q.Value - 273.15, "Cel"}, true
		c = toUS["Cel"]
	}
	if !ok {
		return q
	}
	return Quantity{q.Value*c.factor + c.offset, c.to}
}

// quantity writes a quantity in the reader's units. What was converted is
// rounded to as many digits as say something: three.
func (w *writer) quantity(q Quantity) (text string, n float64) {
	out := Convert(q, w.units)
	decimals := 2
	if out.Unit != q.Unit {
		switch a := math.Abs(out.Value); {
		case a >= 100 || out.Unit == "[degF]" || out.Unit == "Cel" && a >= 10:
			decimals = 0
		case a >= 1:
			decimals = 1
		}
	}
	p := math.Pow10(decimals)
	out.Value = math.Round(out.Value*p) / p
	symbol, ok := symbols[out.Unit]
	if !ok {
		symbol = out.Unit
	}
	text = w.number(out.Value, decimals)
	base, _ := w.language.Base()
	switch {
	case symbol == "":
	case symbol == "°", symbol == "%" && (base.String() == "en" || base.String() == "es"), (symbol == "°C" || symbol == "°F") && base.String() == "en":
		text += symbol
	default:
		text += "\u00a0" + symbol
	}
	return text, out.Value
}
