package condition

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Basis is what a detector version takes from its product, kept with the
// version: a later change of the product makes a new version and leaves a
// frozen one as it was.
type Basis struct {
	Tolerance fleet.Tolerance `json:"tolerance,omitzero"`
	Gap       fleet.Duration  `json:"gap"`
}

// BasisOf is what d takes from p as p now stands.
func BasisOf(p *fleet.Product, d *Detector) Basis {
	b := Basis{Gap: fleet.Duration(p.Gap())}
	if d.Type == TypeTolerance {
		b.Tolerance, _ = p.Tolerance(d.Tolerance)
	}
	return b
}

// rule is a detector version ready to run.
type rule struct {
	Detector
	consent bool // its purpose is the owner's to permit

	// Tolerance.
	signal   string
	index    int    // of signal among the product's watched ones
	measure  string // the signal's unit
	bands    []band
	exposure *expression.Expression
	episode  detect.Rule

	// Silence.
	patience detect.Patience
}

type band struct {
	when   *expression.Expression
	limits detect.Limits
}

// defaults of silence detectors.
const (
	defaultFactor  = 4
	defaultMinimum = 10 * time.Minute
	defaultMaximum = 7 * 24 * time.Hour
)

// compile makes d ready to run on units of p; the mistakes are fields.
func compile(p *fleet.Product, d *Detector) (*rule, []fault.Field) {
	c := &checks{}
	r := &rule{Detector: *d}
	if d.Product != p.Name {
		c.add("spec.product", "the product's name, "+p.Name, d.Product)
	}
	if _, ok := severities[d.Severity]; !ok {
		c.add("spec.severity", "warning, minor, major or critical", string(d.Severity))
	}
	if q, ok := p.Purpose(d.Purpose); !ok {
		c.add("spec.purpose", "a purpose of product "+p.Name+list(each(p.Purposes, func(q fleet.Purpose) string { return q.Name })), d.Purpose)
	} else {
		r.consent = q.Basis != fleet.BasisNecessary
	}
	switch d.Type {
	case TypeTolerance:
		r.tolerance(c, p, d)
	case TypeSilence:
		r.silence(c, d)
	case TypePrognosis:
		if d.Prognosis == nil {
			c.add("spec.prognosis", "what it foresees: signals and horizon", "nothing")
		} else {
			c.fields = append(c.fields, d.Prognosis.Validate(p, d.Purpose)...)
		}
	default:
		c.add("spec.type", "tolerance, silence or prognosis", string(d.Type))
	}
	return r, c.fields
}

func (r *rule) tolerance(c *checks, p *fleet.Product, d *Detector) {
	basis := BasisOf(p, d)
	if d.Basis != nil {
		basis = *d.Basis
	}
	if basis.Tolerance.Name == "" {
		c.add("spec.tolerance", "a tolerance of product "+p.Name+list(each(p.Tolerances, func(t fleet.Tolerance) string { return t.Name })), d.Tolerance)
	}
	c.absent(d.Factor != 0, "spec.factor", "silence")
	c.absent(d.Minimum != 0, "spec.minimum", "silence")
	c.absent(d.Maximum != 0, "spec.maximum", "silence")
	if d.Hysteresis < 0 || math.IsNaN(d.Hysteresis) || math.IsInf(d.Hysteresis, 0) {
		c.add("spec.hysteresis", "a number, 0 or more", fmt.Sprint(d.Hysteresis))
	}
	if math.IsNaN(d.Margin) || math.IsInf(d.Margin, 0) {
		c.add("spec.margin", "a number", fmt.Sprint(d.Margin))
	}
	r.episode = detect.Rule{
		Hold: time.Duration(d.Hold).Milliseconds(), Clear: time.Duration(d.Clear).Milliseconds(),
		Gap: time.Duration(basis.Gap).Milliseconds(), Hysteresis: d.Hysteresis,
	}
	var mistakes []fault.Field
	r.exposure, mistakes = expression.Parse(p, d.Exposure, "spec.exposure")
	c.fields = append(c.fields, mistakes...)
	r.uses(c, p, d, r.exposure, "spec.exposure")

	t := basis.Tolerance
	s, ok := p.Signal(t.Signal)
	if !ok {
		return // the product's own mistake, or no tolerance
	}
	r.signal, r.measure = s.Name, s.Unit
	if _, ok := p.Purpose(d.Purpose); ok && !slices.Contains(s.Purposes, d.Purpose) {
		c.add("spec.purpose", fmt.Sprintf("a purpose that signal %s of tolerance %s is collected for%s", s.Name, t.Name, list(s.Purposes)), d.Purpose)
	}
	for i, b := range t.Bands {
		path := fmt.Sprintf("product %s: spec.tolerances[%s].bands[%d].when", p.Name, t.Name, i)
		when, mistakes := expression.Parse(p, b.When, path)
		c.fields = append(c.fields, mistakes...)
		r.uses(c, p, d, when, "spec.tolerance")
		limits := detect.Limits{Min: math.Inf(-1), Max: math.Inf(1)}
		if b.Min != nil {
			limits.Min = *b.Min - d.Margin
		}
		if b.Max != nil {
			limits.Max = *b.Max + d.Margin
		}
		if limits.Min > limits.Max {
			c.add("spec.margin", "no further inwards than half of each band of tolerance "+t.Name, fmt.Sprint(d.Margin))
		}
		r.bands = append(r.bands, band{when, limits})
	}
}

// uses checks that every signal an expression reads is collected for the
// detector's purpose.
func (r *rule) uses(c *checks, p *fleet.Product, d *Detector, x *expression.Expression, path string) {
	if _, ok := p.Purpose(d.Purpose); x == nil || !ok {
		return
	}
	for _, name := range x.Signals() {
		if s, _ := p.Signal(name); !slices.Contains(s.Purposes, d.Purpose) {
			c.add(path, fmt.Sprintf("signals that are collected for purpose %q", d.Purpose), fmt.Sprintf("%s, collected for %s", s.Name, strings.Join(s.Purposes, ", ")))
		}
	}
}

func (r *rule) silence(c *checks, d *Detector) {
	c.absent(d.Tolerance != "", "spec.tolerance", "tolerance")
	c.absent(d.Hold != 0, "spec.hold", "tolerance")
	c.absent(d.Margin != 0, "spec.margin", "tolerance")
	c.absent(d.Hysteresis != 0, "spec.hysteresis", "tolerance")
	c.absent(d.Clear != 0, "spec.clear", "tolerance")
	c.absent(d.Exposure != "", "spec.exposure", "tolerance")
	factor, minimum, maximum := d.Factor, time.Duration(d.Minimum), time.Duration(d.Maximum)
	if factor == 0 {
		factor = defaultFactor
	}
	if minimum == 0 {
		minimum = defaultMinimum
	}
	if maximum == 0 {
		maximum = max(defaultMaximum, minimum)
	}
	if factor < 1 || factor > 1000 || math.IsNaN(factor) {
		c.add("spec.factor", "a number from 1 to 1000", fmt.Sprint(d.Factor))
	}
	if maximum < minimum {
		c.add("spec.maximum", "no less than the minimum, "+fleet.Duration(minimum).String(), d.Maximum.String())
	}
	r.patience = detect.Patience{Factor: factor, Minimum: minimum.Milliseconds(), Maximum: maximum.Milliseconds()}
}

// bind looks up where the signals stand that the rule reads.
func (r *rule) bind(index func(name string) int) {
	if r.Type != TypeTolerance {
		return
	}
	r.index = index(r.signal)
	r.exposure.Bind(index)
	for i := range r.bands {
		r.bands[i].when.Bind(index)
	}
}

// Validate lists everything that is wrong with a detector of product p, with
// paths as they stand in its file.
func Validate(p *fleet.Product, d *Detector) []fault.Field {
	_, fields := compile(p, d)
	return fields
}

// ValidateProduct lists what is wrong with a product's expressions and the
// names they refer to; fleet.ValidateProduct finds the rest.
func ValidateProduct(p *fleet.Product) []fault.Field {
	c := &checks{}
	for i, s := range p.Signals {
		if reserved[s.Name] {
			c.add(fmt.Sprintf("spec.signals[%d].name", i), "a name that is no word of CEL: expressions refer to it", s.Name)
		}
	}
	for i, t := range p.Tolerances {
		for j, b := range t.Bands {
			_, mistakes := expression.Parse(p, b.When, fmt.Sprintf("spec.tolerances[%d].bands[%d].when", i, j))
			c.fields = append(c.fields, mistakes...)
		}
	}
	return c.fields
}

// reserved words of CEL (its specification, "Syntax").
var reserved = map[string]bool{
	"true": true, "false": true, "null": true, "in": true, "as": true, "break": true, "const": true,
	"continue": true, "else": true, "for": true, "function": true, "if": true, "import": true, "let": true,
	"loop": true, "package": true, "namespace": true, "return": true, "var": true, "void": true, "while": true,
	"bool": true, "bytes": true, "double": true, "duration": true, "dyn": true, "int": true, "list": true, "map": true,
	"null_type": true, "string": true, "timestamp": true, "type": true, "uint": true,
}

type checks struct{ fields []fault.Field }

func (c *checks) add(path, expected, got string) {
	c.fields = append(c.fields, fault.Field{Path: path, Expected: expected, Got: got})
}

func (c *checks) absent(set bool, path, kind string) {
	if set {
		c.add(path, "nothing: only detectors of type "+kind+" have it", "")
	}
}

func list(names []string) string {
	if len(names) == 0 {
		return " (it has none)"
	}
	return " (" + strings.Join(names, ", ") + ")"
}

func each[T any](all []T, name func(T) string) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = name(v)
	}
	return out
}
