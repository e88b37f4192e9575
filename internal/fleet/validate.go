package fleet

import (
	"fmt"
	"math"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // owners' time zones, also where the machine has none

	"golang.org/x/text/language"

	"fettle.dev/fettle/internal/fault"
)

var (
	namePattern       = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	identifierPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
)

// reserved are words that cannot name a signal, because expressions (CEL) give
// them a meaning.
var reserved = []string{
	"as", "bool", "break", "bytes", "const", "continue", "double", "dyn", "else", "false", "for", "function", "if", "import", "in", "int",
	"let", "list", "loop", "map", "namespace", "null", "null_type", "package", "return", "string", "true", "type", "uint", "var", "void", "while",
}

const (
	expectedName       = "a name of a-z, 0-9, - and _ that begins with a letter, at most 63 characters"
	expectedIdentifier = "a name of a-z, 0-9 and _ that begins with a letter, at most 63 characters (expressions use it)"
)

// mistakes collects what is wrong.
type mistakes []fault.Field

func (m *mistakes) add(path, expected string, got any) {
	text := ""
	switch g := got.(type) {
	case nil:
	case string:
		if text = fmt.Sprintf("%q", g); g == "" {
			text = "nothing"
		}
	default:
		text = fmt.Sprint(g)
	}
	*m = append(*m, fault.Field{Path: path, Expected: expected, Got: text})
}

// name checks the name of one entry of a list, and that it stands there once.
func (m *mistakes) name(path, name string, identifier bool, seen map[string]bool) {
	pattern, expected := namePattern, expectedName
	if identifier {
		pattern, expected = identifierPattern, expectedIdentifier
	}
	switch {
	case !pattern.MatchString(name):
		m.add(path, expected, name)
	case identifier && slices.Contains(reserved, name):
		m.add(path, "a name that expressions do not reserve", name)
	case seen[name]:
		m.add(path, "a name used once in this list", name)
	}
	seen[name] = true
}

func (m *mistakes) text(path, text string) {
	if strings.TrimSpace(text) == "" {
		m.add(path, "a text", text)
	}
}

func (m *mistakes) valueType(path string, t ValueType) {
	if t != Number && t != Boolean && t != Text {
		m.add(path, "number, boolean or text", string(t))
	}
}

// measure checks the unit of measure of a typed value; a number may go without.
func (m *mistakes) measure(path, unit string, t ValueType, texts ...string) {
	switch {
	case unit == "":
	case t == Boolean || t == Text:
		m.add(path, "no unit for type "+string(t), unit)
	default:
		if err := CheckUnit(unit); err != nil {
			m.add(path, "a UCUM unit, as Cel, A or kW.h: "+err.Error(), unit)
		} else if hint := temperatureSlip(unit, texts...); hint != "" {
			m.add(path, "a unit of temperature: did you mean "+hint+"?", unit)
		}
	}
}

func (m *mistakes) bounds(path string, low, high *float64) {
	finite := func(p string, v *float64) bool {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			m.add(p, "a finite number", *v)
			return false
		}
		return v != nil
	}
	okLow, okHigh := finite(path+".min", low), finite(path+".max", high)
	if okLow && okHigh && *low >= *high {
		m.add(path+".min", fmt.Sprintf("less than max (%v)", *high), *low)
	}
}

// ValidateProduct finds every mistake in a product's declaration. Expressions
// in its bands are checked where they are compiled, in the condition room.
func ValidateProduct(p Product) []fault.Field {
	var m mistakes
	if !namePattern.MatchString(p.Name) {
		m.add("metadata.name", expectedName, p.Name)
	}
	m.text("spec.title", p.Title)
	if p.SampleGap < 0 {
		m.add("spec.sampleGap", "a duration above 0, as 1h", p.SampleGap)
	}
	seen := map[string]bool{}
	for i, q := range p.Purposes {
		at := fmt.Sprintf("spec.purposes[%d]", i)
		m.name(at+".name", q.Name, false, seen)
		m.text(at+".title", q.Title)
		m.text(at+".description", q.Description)
		if q.Basis != BasisConsent && q.Basis != BasisNecessary {
			m.add(at+".basis", "consent (the owner has a switch) or necessary (shown with its reason)", string(q.Basis))
		}
		m.withdrawal(at, &q)
	}
	m.notice(&p)
	m.help(p.Help)
	m.signals(&p)
	m.events(&p)
	m.limits(p.Limits)
	m.parameters(&p)
	m.tolerances(&p)
	m.mappings(&p)
	return m
}

func (m *mistakes) limits(l *Limits) {
	if l == nil {
		return
	}
	for _, v := range []struct {
		path string
		n    float64
	}{{"unitRate", l.UnitRate}, {"unitBurst", float64(l.UnitBurst)}, {"productRate", l.ProductRate}, {"productBurst", float64(l.ProductBurst)}} {
		if !(v.n >= 0 && v.n <= 1e9) {
			m.add("spec.limits."+v.path, "a number from 0 (the default) to 1000000000", v.n)
		}
	}
}

func (m *mistakes) signals(p *Product) {
	seen := map[string]bool{}
	for i, s := range p.Signals {
		at := fmt.Sprintf("spec.signals[%d]", i)
		m.name(at+".name", s.Name, true, seen)
		m.valueType(at+".type", s.Type)
		m.measure(at+".unit", s.Unit, s.Type, s.Name, s.Title, s.Description)
		m.text(at+".description", s.Description)
		if s.Every < 0 {
			m.add(at+".every", "a duration above 0, as 10s", s.Every.String())
		}
		for l := range s.Texts {
			m.tag(at+".texts."+l, l)
		}
		m.kept(at, p, s.Purposes, s.Retention)
	}
	m.sources(p.Signals)
}

// kept checks what something is collected for, and for how long.
func (m *mistakes) kept(at string, p *Product, purposes []string, retention Duration) {
	if retention <= 0 {
		m.add(at+".retention", "a duration above 0, as 90d", retention)
	}
	if len(purposes) == 0 {
		m.add(at+".purposes", "at least one purpose: nothing is collected without", nil)
	}
	for j, name := range purposes {
		path := fmt.Sprintf("%s.purposes[%d]", at, j)
		if _, ok := p.Purpose(name); !ok {
			m.add(path, "one of the product's purposes"+listed(p.Purposes, func(q Purpose) string { return q.Name }), name)
		} else if slices.Contains(purposes[:j], name) {
			m.add(path, "each purpose once", name)
		}
	}
}

// listed writes " (a, b)" of what could have been named.
func listed[T any](all []T, name func(T) string) string {
	if len(all) == 0 {
		return " (it declares none)"
	}
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = name(v)
	}
	return " (" + strings.Join(names, ", ") + ")"
}

func (m *mistakes) parameters(p *Product) {
	seen := map[string]bool{}
	for i, q := range p.Parameters {
		at := fmt.Sprintf("spec.parameters[%d]", i)
		m.name(at+".name", q.Name, true, seen)
		m.valueType(at+".type", q.Type)
		m.measure(at+".unit", q.Unit, q.Type, q.Name, q.Description)
		if q.Type != Number && (q.Min != nil || q.Max != nil) {
			m.add(at+".min", "min and max for type number only", string(q.Type))
			continue
		}
		m.bounds(at, q.Min, q.Max)
		if q.Default == nil {
			continue
		}
		if expected := q.Refuse(q.Default); expected != "" {
			m.add(at+".default", expected, q.Default)
		}
	}
}

func (m *mistakes) tolerances(p *Product) {
	seen := map[string]bool{}
	for i, t := range p.Tolerances {
		at := fmt.Sprintf("spec.tolerances[%d]", i)
		m.name(at+".name", t.Name, false, seen)
		if strings.TrimSpace(t.Breach) != "" {
			if t.Signal != "" || len(t.Bands) > 0 || t.Rate != 0 {
				m.add(at+".breach", "nothing beside it: signal, rate and bands are of a tolerance without breach", t.Breach)
			}
			continue
		}
		if t.Rate < 0 || t.Rate > Duration(366*24*time.Hour) {
			m.add(at+".rate", "a duration above 0, as 10m, at most a year", t.Rate.String())
		}
		if s, ok := p.Signal(t.Signal); !ok {
			m.add(at+".signal", "one of the product's signals"+listed(p.Signals, func(s Signal) string { return s.Name }), t.Signal)
		} else if s.Type != Number {
			m.add(at+".signal", "a signal of type number", fmt.Sprintf("%s of type %s", s.Name, s.Type))
		}
		if len(t.Bands) == 0 {
			m.add(at+".bands", "at least one band, or breach in their place", nil)
		}
		for j, b := range t.Bands {
			path := fmt.Sprintf("%s.bands[%d]", at, j)
			if b.Min == nil && b.Max == nil {
				m.add(path, "a min, a max or both", nil)
			}
			m.bounds(path, b.Min, b.Max)
			if strings.TrimSpace(b.When) == "" && j < len(t.Bands)-1 {
				m.add(path+".when", "an expression: a band without one always applies, so the bands after it never would", b.When)
			}
		}
	}
}

// ValidateUnit finds every mistake in a unit's declaration. Whether its product
// exists, and has the purposes of its consents, is the caller's to check; see
// ValidateConsents.
func ValidateUnit(id string, spec UnitSpec) []fault.Field {
	var m mistakes
	const expectedSerial = "letters, digits, ., _ and -, beginning with a letter or digit, at most 64 characters"
	if !serialPattern.MatchString(id) {
		m.add("metadata.name", expectedSerial, id)
	}
	if !serialPattern.MatchString(spec.Serial) {
		m.add("spec.serial", expectedSerial, spec.Serial)
	}
	if !namePattern.MatchString(spec.Product) {
		m.add("spec.product", "the name of a product", spec.Product)
	}
	for _, f := range []struct{ path, value string }{{"spec.hardware", spec.Hardware}, {"spec.batch", spec.Batch}, {"spec.region", spec.Region}} {
		if len(f.value) > 200 {
			m.add(f.path, "at most 200 bytes", fmt.Sprintf("%d", len(f.value)))
		}
	}
	for k, v := range spec.Attributes {
		if k == "" || len(k) > 100 || len(v) > 1000 {
			m.add("spec.attributes."+k, "a name of 1 to 100 bytes and a value of at most 1000", fmt.Sprintf("%d and %d", len(k), len(v)))
		}
	}
	if v, ok := spec.Attributes[benchAttribute]; ok {
		m.add("spec.attributes."+benchAttribute, "bench: true beside the attributes, for a unit on a bench", v)
	}
	if spec.Bench && spec.Owner != nil {
		m.add("spec.bench", "no owner with it: a unit on a bench belongs to nobody who would have to be asked", "true")
	}
	if o := spec.Owner; o != nil {
		if !ValidEmail(o.Email) {
			m.add("spec.owner.email", "an email address, as ada@example.org", o.Email)
		}
		if o.Locale != "" {
			if _, err := language.Parse(o.Locale); err != nil {
				m.add("spec.owner.locale", "a BCP 47 language tag, as en or de-AT", o.Locale)
			}
		}
		if o.TimeZone != "" {
			if _, err := time.LoadLocation(o.TimeZone); err != nil || o.TimeZone == "Local" {
				m.add("spec.owner.timeZone", "an IANA time zone, as Europe/Oslo", o.TimeZone)
			}
		}
	}
	slices.SortFunc(m, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) }) // attributes come in no order
	return m
}

// ValidateConsents finds consents that a unit of product p cannot have.
func ValidateConsents(p Product, consents []string) []fault.Field {
	var m mistakes
	for i, name := range consents {
		path := fmt.Sprintf("spec.consents[%d]", i)
		q, ok := p.Purpose(name)
		switch {
		case !ok:
			m.add(path, "one of the product's purposes"+listed(p.Purposes, func(q Purpose) string { return q.Name }), name)
		case q.Basis != BasisConsent:
			m.add(path, "a purpose whose basis is consent", name)
		}
	}
	return m
}

// ValidEmail reports whether s is a plain email address.
func ValidEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" || len(s) > 254 {
		return false
	}
	local, domain, ok := strings.Cut(s, "@")
	return ok && local != "" && domain != "" && !strings.ContainsAny(s, "\r\n\" <>") && !strings.HasPrefix(domain, ".") && !strings.HasSuffix(domain, ".")
}

// CanonicalEmail is the form under which people are the same: without blanks
// around it, in lower case.
func CanonicalEmail(s string) string { return strings.ToLower(strings.TrimSpace(s)) }
