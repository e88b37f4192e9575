package tip

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/tip/outside"
)

// source is where a variable's value comes from.
type source int

const (
	fromSignal source = iota
	fromFeature
	fromUnit
	fromClock
	fromFeed
)

// variable is a name that conditions may use.
type variable struct {
	name  string
	from  source
	kind  fleet.ValueType
	index int    // of the signal, feature or feed in the product
	part  string // count, days, never; condition …; hour …; the feed's variable
	age   int64  // ms, of a feed's
}

// variables are the names that a product's conditions may use.
func variables(p *fleet.Product) []variable {
	var out []variable
	for i, s := range p.Signals {
		out = append(out, variable{name: s.Name, from: fromSignal, kind: s.Type, index: i})
	}
	for i, f := range p.Features {
		for part, kind := range map[string]fleet.ValueType{"count": fleet.Number, "days": fleet.Number, "never": fleet.Boolean} {
			out = append(out, variable{name: "feature." + outside.FeatureName(f.Name) + "." + part, from: fromFeature, kind: kind, index: i, part: part})
		}
	}
	for _, part := range []string{"condition", "hardware", "region", "version"} {
		out = append(out, variable{name: "unit." + part, from: fromUnit, kind: fleet.Text, part: part})
	}
	for _, part := range []string{"hour", "weekday", "month"} {
		out = append(out, variable{name: "local." + part, from: fromClock, kind: fleet.Number, part: part})
	}
	for i, f := range p.Feeds {
		for _, v := range f.Variables {
			out = append(out, variable{name: f.Name + "." + v.Name, from: fromFeed, kind: v.Type, index: i, part: v.Name, age: time.Duration(v.Age).Milliseconds()})
		}
	}
	slices.SortFunc(out, func(a, b variable) int { return strings.Compare(a.name, b.name) })
	return out
}

// rule is a tip made ready. One goroutine at a time.
type rule struct {
	*Tip
	program cel.Program
	refs    []variable // that the condition or the words read
	signals []string   // that the condition reads
	feature int        // index of Tip.Feature, -1
	clock   bool       // the condition reads the clock
	feeds   []int      // that it reads
	consent bool       // its purpose has a switch
	age     int64      // of signals, ms

	act activation
}

// activation gives CEL the values of one unit at one time.
type activation struct {
	rule *rule
	e    *Evaluator
	u    *unit
	now  int64
}

// Parent is CEL's: there is no outer scope.
func (a *activation) Parent() cel.Activation { return nil }

// ResolveName gives CEL a value; one that is not known is an error to it,
// which only "or" and "and" with a side that decides pass over.
func (a *activation) ResolveName(name string) (any, bool) {
	for i := range a.rule.refs {
		if v := &a.rule.refs[i]; v.name == name {
			return a.e.value(a.u, v, a.rule.age, a.now)
		}
	}
	return nil, false
}

// holds reports whether the condition holds for a unit; false, too, where it
// cannot be known.
func (r *rule) holds(e *Evaluator, u *unit, now int64) bool {
	r.act = activation{r, e, u, now}
	out, _, err := r.program.Eval(&r.act)
	if err != nil {
		return false
	}
	b, ok := out.(types.Bool)
	return ok && bool(b)
}

// tell writes the values that the words name, as people read them.
func (r *rule) tell(e *Evaluator, u *unit, now int64) (map[string]string, bool) {
	var out map[string]string
	for _, name := range r.named() {
		i := slices.IndexFunc(r.refs, func(v variable) bool { return v.name == name })
		v, ok := e.value(u, &r.refs[i], r.age, now)
		if !ok {
			return nil, false
		}
		if out == nil {
			out = map[string]string{}
		}
		switch x := v.(type) {
		case types.Double:
			out[name] = strconv.FormatFloat(float64(x), 'f', -1, 64)
			if f := float64(x); f != float64(int64(f)) {
				out[name] = strconv.FormatFloat(f, 'f', 1, 64)
			}
		default:
			out[name] = fmt.Sprint(x)
		}
	}
	return out, true
}

// named are the names in braces in the tip's words.
func (t *Tip) named() []string {
	var out []string
	for _, words := range []map[string]string{t.Title, t.Text} {
		for _, text := range words {
			for _, name := range outside.Names(text) {
				if !slices.Contains(out, name) {
					out = append(out, name)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// In writes a text of a tip in a language, with values in place of names. Where
// one is missing, as in a preview, its name is left in.
func In(words map[string]string, locale string, values map[string]string) string {
	text := fleet.InLanguage(words, locale)
	for name, v := range values {
		text = strings.ReplaceAll(text, "{"+name+"}", decimal(v, locale))
	}
	return text
}

// decimal writes a number's point as the language does.
func decimal(v, locale string) string {
	base, _, _ := strings.Cut(locale, "-")
	if _, err := strconv.ParseFloat(v, 64); err == nil && slices.Contains([]string{"de", "fr", "es", "sv", "it", "nl", "pl", "pt", "da", "nb", "fi"}, base) {
		return strings.Replace(v, ".", ",", 1)
	}
	return v
}

// compile makes a tip ready; the mistakes are those of its condition and of
// the names in its words.
func compile(p *fleet.Product, t *Tip) (*rule, []fault.Field) {
	known := variables(p)
	options := []cel.EnvOption{cel.ClearMacros(), cel.CrossTypeNumericComparisons(true)}
	for _, v := range known {
		kind := cel.DoubleType
		switch v.kind {
		case fleet.Boolean:
			kind = cel.BoolType
		case fleet.Text:
			kind = cel.StringType
		default:
		}
		options = append(options, cel.Variable(v.name, kind))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, []fault.Field{{Path: "spec.when", Expected: "a product whose names CEL can read: " + err.Error()}}
	}
	names := func() string {
		list := make([]string, len(known))
		for i := range known {
			list[i] = known[i].name
		}
		return "one of what conditions may name (" + strings.Join(list, ", ") + ")"
	}
	if strings.TrimSpace(t.When) == "" {
		return nil, []fault.Field{{Path: "spec.when", Expected: "a condition, as weather.humidity > 75", Got: "nothing"}}
	}
	ast, mistakes := expression.Compile(env, t.When, "spec.when", names)
	if len(mistakes) > 0 {
		return nil, mistakes
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, []fault.Field{{Path: "spec.when", Expected: "a condition that can be run: " + err.Error(), Got: t.When}}
	}
	r := &rule{Tip: t, program: program, feature: slices.IndexFunc(p.Features, func(f fleet.Feature) bool { return f.Name == t.Feature })}
	r.age = or(t.Age, p.Gap()).Milliseconds()
	q, _ := p.Purpose(t.Purpose)
	r.consent = q.Basis == fleet.BasisConsent
	for _, ref := range ast.NativeRep().ReferenceMap() {
		i := slices.IndexFunc(known, func(v variable) bool { return v.name == ref.Name })
		if i < 0 || slices.ContainsFunc(r.refs, func(v variable) bool { return v.name == ref.Name }) {
			continue
		}
		v := known[i]
		r.refs = append(r.refs, v)
		switch v.from {
		case fromSignal:
			r.signals = append(r.signals, v.name)
		case fromClock:
			r.clock = true
		case fromFeature:
			r.clock = r.clock || v.part == "days"
		case fromFeed:
			if !slices.Contains(r.feeds, v.index) {
				r.feeds = append(r.feeds, v.index)
			}
		default:
		}
	}
	for _, name := range t.named() {
		i := slices.IndexFunc(known, func(v variable) bool { return v.name == name })
		switch {
		case i < 0:
			mistakes = append(mistakes, fault.Field{Path: "spec.text", Expected: names() + " in braces", Got: strconv.Quote("{" + name + "}")})
		case !slices.ContainsFunc(r.refs, func(v variable) bool { return v.name == name }):
			r.refs = append(r.refs, known[i])
		}
	}
	slices.SortFunc(r.refs, func(a, b variable) int { return strings.Compare(a.name, b.name) })
	return r, append(mistakes, r.permitted(p)...)
}

// permitted lists what the condition or the words read that is not collected
// for the tip's purpose.
func (r *rule) permitted(p *fleet.Product) []fault.Field {
	var out []fault.Field
	refuse := func(what string) {
		out = append(out, fault.Field{Path: "spec.when", Expected: fmt.Sprintf("%s to name purpose %s in product %s: tips read what is collected for their purpose alone", what, r.Purpose, p.Name), Got: strconv.Quote(r.When)})
	}
	signal := func(name string) {
		if s, ok := p.Signal(name); ok && !slices.Contains(s.Purposes, r.Purpose) {
			refuse("signal " + name)
		}
	}
	for i := range r.refs {
		switch v := &r.refs[i]; v.from {
		case fromSignal:
			signal(v.name)
		case fromFeature:
			if f := p.Features[v.index]; !slices.Contains(f.Purposes, r.Purpose) {
				refuse("feature " + f.Name)
			}
		default:
		}
	}
	if r.feature >= 0 && !slices.Contains(p.Features[r.feature].Purposes, r.Purpose) {
		out = append(out, fault.Field{Path: "spec.feature", Expected: fmt.Sprintf("a feature that names purpose %s in product %s", r.Purpose, p.Name), Got: r.Feature})
	}
	return out
}
