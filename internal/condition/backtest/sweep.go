package backtest

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Sweep is which setting of a detector is moved, and where to. All its values
// are tried in one pass over history.
type Sweep struct {
	Field  string    `json:"field,omitempty" doc:"A setting that is a number or a duration, as it stands in the detector's file."`
	Values []float64 `json:"values,omitempty" maxItems:"41" doc:"What to try, s for durations; absent: about the value as declared, which is always tried."`
	Auto   bool      `json:"auto,omitempty" doc:"Where no setting is named: move the kind's threshold, if it has one."`
}

// MostThresholds bounds a sweep.
const MostThresholds = 41

// thresholdOf is the setting that decides how far out is too far, by kind.
var thresholdOf = map[condition.DetectorType]string{
	condition.TypeTolerance: "margin",
	condition.TypeSilence:   "factor",
	condition.TypeTrend:     "trend.horizon",
	condition.TypePeers:     "peers.budget",
	condition.TypeAnomaly:   "anomaly.budget",
}

// ThresholdOf is the setting that a sweep of a kind moves unless it is told
// another; "" if it has none.
func ThresholdOf(t condition.DetectorType) string { return thresholdOf[t] }

// defaultOf are settings whose zero stands for another value, by kind and name.
var defaultOf = map[condition.DetectorType]map[string]float64{
	condition.TypeSilence: {"factor": 2, "hold": 600, "maximum": 7 * 86400},
	condition.TypeAnomaly: {"anomaly.budget": 1, "anomaly.warmup": 7 * 86400},
	condition.TypePeers:   {"peers.budget": 0.1, "peers.minimum": 8, "peers.period": 86400},
}

var (
	durationType = reflect.TypeFor[fleet.Duration]()
	budgetType   = reflect.TypeFor[spec.Budget]()
	numberType   = reflect.TypeFor[*float64]()
)

func movable(t reflect.Type) bool {
	return t == durationType || t == budgetType || t == numberType || t.Kind() == reflect.Float64 || t.Kind() == reflect.Int
}

// Fields are the settings of detectors that can be moved: numbers, durations
// and budgets, as margin or trend.horizon.
func Fields() []string { return fields(reflect.TypeFor[condition.Detector](), "") }

func fields(t reflect.Type, prefix string) (out []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || name == "":
		case movable(f.Type):
			out = append(out, prefix+name)
		case f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct && prefix == "":
			out = append(out, fields(f.Type.Elem(), name+".")...)
		}
	}
	return out
}

// setting finds a setting of d by its name in files; one of a block that d has
// not is not found.
func setting(d *condition.Detector, name string) (reflect.Value, bool) {
	v := reflect.ValueOf(d).Elem()
	for part := range strings.SplitSeq(name, ".") {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		at := -1
		for i := 0; v.Kind() == reflect.Struct && i < v.NumField(); i++ {
			if n, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); n == part && n != "-" && n != "" {
				at = i
			}
		}
		if at < 0 {
			return v, false
		}
		v = v.Field(at)
	}
	return v, movable(v.Type())
}

// copied is d with blocks of its own.
func copied(d *condition.Detector) condition.Detector {
	out := *d
	if raw, err := json.Marshal(d); err == nil { // a detector always encodes
		out = condition.Detector{Name: d.Name, Version: d.Version, Basis: d.Basis}
		_ = json.Unmarshal(raw, &out) // and reads itself back
	}
	return out
}

// timed says that the values of a setting are durations.
func timed(t reflect.Type) bool { return t == durationType }

// Parse reads a value of the setting as people write it: 10m, 2.5, 1/year.
func (s *Sweep) Parse(text string) (float64, error) {
	text = strings.TrimSpace(text)
	t := typeOf(s.Field)
	switch {
	case t != nil && timed(t) && text != "0":
		d, err := fleet.ParseDuration(text)
		return time.Duration(d).Seconds(), err
	case t == budgetType:
		return spec.Budget(text).Rate()
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return x, nil
}

// typeOf is the type of a setting, nil of none.
func typeOf(name string) reflect.Type {
	t := reflect.TypeFor[condition.Detector]()
	for part := range strings.SplitSeq(name, ".") {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return nil
		}
		var next reflect.Type
		for field := range t.Fields() {
			if n, _, _ := strings.Cut(field.Tag.Get("json"), ","); n == part && n != "-" && n != "" {
				next = field.Type
			}
		}
		if next == nil {
			return nil
		}
		t = next
	}
	return t
}

func read(v reflect.Value) float64 {
	switch {
	case v.Type() == durationType:
		return time.Duration(v.Int()).Seconds()
	case v.Type() == budgetType:
		rate, _ := spec.Budget(v.String()).Rate() // a budget that is wrong is refused elsewhere
		return rate
	case v.Type() == numberType && v.IsNil():
		return 0
	case v.Type() == numberType:
		return v.Elem().Float()
	case v.CanInt():
		return float64(v.Int())
	default:
		return v.Float()
	}
}

func write(v reflect.Value, x float64) {
	switch {
	case v.Type() == durationType:
		v.SetInt(int64(math.Round(x * float64(time.Second))))
	case v.Type() == budgetType:
		v.SetString(strconv.FormatFloat(x, 'g', -1, 64) + "/year")
	case v.Type() == numberType:
		v.Set(reflect.ValueOf(&x))
	case v.CanInt():
		v.SetInt(int64(math.Round(x)))
	default:
		v.SetFloat(x)
	}
}

// now is the value that d has.
func (s *Sweep) now(d *condition.Detector, v reflect.Value) float64 {
	x := read(v)
	if x == 0 {
		x = defaultOf[d.Type][s.Field]
	}
	return x
}

// values are the thresholds to try, ascending, with the one declared among
// them; none if nothing is moved.
func (s *Sweep) values(p *fleet.Product, d *condition.Detector) ([]float64, error) {
	if s.Field == "" {
		if !s.Auto {
			return nil, nil
		}
		s.Field = ThresholdOf(d.Type)
		if all, _, _ := bands(p, d); s.Field == "margin" && len(all) == 0 {
			s.Field = "hold" // of a condition over signals
		}
	}
	refuse := func(path, expected, got string) ([]float64, error) {
		return nil, fault.Fields("backtest", []fault.Field{{Path: "sweep." + path, Expected: expected, Got: got}})
	}
	v, ok := setting(d, s.Field)
	if !ok && s.Auto {
		s.Field = ""
		return nil, nil
	}
	if !ok {
		return refuse("field", "a setting of the detector that is a number, a duration or a budget: "+strings.Join(Fields(), ", "), s.Field)
	}
	now := s.now(d, v)
	out := slices.Clone(s.Values)
	if len(out) == 0 {
		out = s.about(p, d, now)
	}
	if len(out) == 0 && s.Auto {
		s.Field = ""
		return nil, nil
	}
	if len(out) == 0 {
		return refuse("values", "values: nothing tells what is near "+s.Field+" "+words.Number(now), "")
	}
	for _, x := range out {
		if math.IsNaN(x) || math.IsInf(x, 0) || math.Abs(x) > 1e15 {
			return refuse("values", "numbers", fmt.Sprint(x))
		}
		if x < 0 && v.Type() == durationType {
			return refuse("values", "durations, 0 or more", fmt.Sprint(x))
		}
	}
	out = append(out, now)
	if v.CanInt() && !timed(v.Type()) {
		for i := range out {
			out[i] = math.Round(out[i])
		}
	}
	slices.Sort(out)
	out = slices.CompactFunc(out, func(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) })
	if len(out) > MostThresholds {
		return refuse("values", fmt.Sprintf("at most %d, with the one declared", MostThresholds), fmt.Sprint(len(out)))
	}
	return out, nil
}

// about are values near the one declared. A margin moves to either side, by
// 1, 2, 5, 10, ... times a little up to a quarter of the narrowest band: a
// signal's noise may be a thousandth of its limit. A setting that is 0 or more
// is taken in even ratios.
func (s *Sweep) about(p *fleet.Product, d *condition.Detector, now float64) []float64 {
	var out []float64
	if s.Field == "margin" || s.Field == "hysteresis" {
		for far, n := step(bandOf(p, d)/4), 0; far > 0 && n < 10; far, n = step(0.51*far), n+1 {
			out = append(out, tidy(now+far, far))
			if x := tidy(now-far, far); s.Field == "margin" || x >= 0 {
				out = append(out, x)
			}
		}
		return out
	}
	if now == 0 {
		if timed(typeOf(s.Field)) {
			return []float64{0, 60, 300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 8 * 3600, 24 * 3600}
		}
		return nil
	}
	for _, ratio := range []float64{0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10} {
		if x := now * ratio; s.Field != "factor" || x >= 1 {
			out = append(out, x)
		}
	}
	return out
}

// tidy rounds x to a multiple of step without the traces of binary fractions.
func tidy(x, step float64) float64 {
	digits := math.Pow(10, math.Max(0, 1-math.Floor(math.Log10(step))))
	return math.Round(x*digits) / digits
}

// step is the nearest of 1, 2 and 5 times a power of ten that is not above x.
func step(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 0) {
		return 0
	}
	scale := math.Pow(10, math.Floor(math.Log10(x)))
	for _, m := range []float64{5, 2} {
		if x >= m*scale {
			return m * scale
		}
	}
	return scale
}

// bands are the limits of the detector's tolerance, and within what time a
// change is bounded, rather than a value.
func bands(p *fleet.Product, d *condition.Detector) (out []detect.Limits, measure string, within fleet.Duration) {
	t := condition.BasisOf(p, d).Tolerance
	if d.Basis != nil {
		t = d.Basis.Tolerance
	}
	for _, b := range t.Bands {
		l := detect.Limits{Min: math.Inf(-1), Max: math.Inf(1)}
		if b.Min != nil {
			l.Min = *b.Min
		}
		if b.Max != nil {
			l.Max = *b.Max
		}
		out = append(out, l)
	}
	s, _ := p.Signal(t.Signal)
	return out, s.Unit, t.Rate
}

// bandOf is the width of the narrowest band; of one that is open, twice its limit.
func bandOf(p *fleet.Product, d *condition.Detector) float64 {
	narrowest := math.Inf(1)
	all, _, _ := bands(p, d)
	for _, l := range all {
		width := l.Max - l.Min
		if math.IsInf(width, 0) {
			width = 2 * math.Abs(l.Max)
			if math.IsInf(l.Max, 1) {
				width = 2 * math.Abs(l.Min)
			}
		}
		if width > 0 {
			narrowest = min(narrowest, width)
		}
	}
	return narrowest
}

// apart is the least version of a variant: no kept detector has so many.
const apart = 1 << 30

// variants are the detectors to try, by threshold. The one that is declared
// keeps its version, and with it the ids of what it finds.
func (s *Sweep) variants(p *fleet.Product, d *condition.Detector, values []float64) (out []condition.Detector, declared int, err error) {
	if len(values) == 0 {
		return []condition.Detector{*d}, 0, nil
	}
	v, _ := setting(d, s.Field)
	kind, now := v.Type(), s.now(d, v)
	declared = -1
	for i, x := range values {
		one := copied(d)
		v, _ := setting(&one, s.Field)
		if math.Abs(x-now) <= 1e-9*math.Max(math.Abs(x), math.Abs(now)) {
			declared = i
		} else {
			one.Version = apart + i
			write(v, x)
			if mistakes := condition.Validate(p, &one); len(mistakes) > 0 {
				m := mistakes[0]
				return nil, 0, fault.Fields("backtest", []fault.Field{{
					Path: "sweep.values", Expected: "values that " + s.Field + " may have: " + m.Expected, Got: display(x, kind),
				}})
			}
		}
		out = append(out, one)
	}
	return out, declared, nil
}

func display(x float64, kind reflect.Type) string {
	if kind == budgetType {
		switch {
		case x >= 50:
			return words.Number(x/365.25) + "/day"
		case x >= 6:
			return words.Number(x/12) + "/month"
		default:
			return words.Number(x) + "/year"
		}
	}
	if kind == durationType {
		return fleet.Duration(math.Round(x * float64(time.Second))).String()
	}
	return words.Number(x)
}

// unit is the unit of measure of the thresholds.
func (s *Sweep) unit(p *fleet.Product, d *condition.Detector) string {
	switch v, ok := setting(d, s.Field); {
	case !ok:
		return ""
	case v.Type() == durationType:
		return "s"
	case v.Type() == budgetType:
		return "{alarms}/a"
	case s.Field == "margin" || s.Field == "hysteresis":
		_, measure, _ := bands(p, d)
		return measure
	default:
		return ""
	}
}

// text says what a threshold means.
func (s *Sweep) text(p *fleet.Product, d *condition.Detector, x float64) string {
	v, ok := setting(d, s.Field)
	if !ok {
		return ""
	}
	all, measure, within := bands(p, d)
	if s.Field == "margin" && len(all) == 1 {
		l := all[0]
		l.Min, l.Max = l.Min-x, l.Max+x
		text := words.Limits(l, measure)
		if within > 0 {
			text += " within " + words.Span(time.Duration(within))
		}
		return text
	}
	if s.Field == "margin" && x != 0 {
		return fmt.Sprintf("limits %s further %s", words.Measured(math.Abs(x), measure), map[bool]string{true: "out", false: "in"}[x > 0])
	} else if s.Field == "margin" {
		return "limits as declared"
	}
	return s.Field + " " + display(x, v.Type())
}
