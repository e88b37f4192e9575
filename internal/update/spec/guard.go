package spec

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Guard is the preconditions of a release, compiled.
type Guard struct {
	declared []Precondition
	signals  []fleet.Signal // of the product, as it was compiled for

	Read []string // the signals that are read

	mu    sync.Mutex // expressions keep scratch of their own
	exprs []*expression.Expression
}

// NewGuard compiles the preconditions of a release for its product.
func NewGuard(r *Release, p *fleet.Product) (*Guard, error) {
	g := &Guard{declared: r.Preconditions, signals: p.Signals}
	for i, c := range r.Preconditions {
		x, mistakes := expression.Parse(p, c.When, fmt.Sprintf("spec.preconditions[%d].when", i))
		if len(mistakes) > 0 {
			return nil, fault.Fields("release "+r.Name, mistakes)
		}
		names := x.Signals()
		x.Bind(func(name string) int { return slices.Index(names, name) })
		g.exprs = append(g.exprs, x)
		g.Read = append(g.Read, names...)
	}
	return g, nil
}

// Refuse says which precondition does not hold of a unit's last values, the
// first declared first; nil when all do.
func (g *Guard) Refuse(latest map[string]telemetry.Sample, now time.Time) *Refusal {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.declared {
		if no := g.check(&g.declared[i], g.exprs[i], latest, now); no != nil {
			no.Name, no.Words = g.declared[i].Name, g.declared[i].Words
			return no
		}
	}
	return nil
}

func (g *Guard) check(c *Precondition, x *expression.Expression, latest map[string]telemetry.Sample, now time.Time) *Refusal {
	names := x.Signals()
	values := make([]expression.Reading, len(names))
	for i, name := range names {
		s, ok := latest[name]
		if !ok {
			return &Refusal{Code: CodeUnknownState, Signal: name, Title: g.title(name), Why: g.title(name) + " is not known: the unit has not sent it"}
		}
		if age := now.Sub(s.At); age > time.Duration(c.Age) {
			return &Refusal{
				Code: CodeUnknownState, Signal: name, Title: g.title(name), At: s.At,
				Why: fmt.Sprintf("%s is not known: its last value is %s old, and may be at most %s", g.title(name), words.Span(age), c.Age),
			}
		}
		values[i] = expression.Reading{At: s.At.UnixMilli(), Number: s.Number, Text: s.Text}
	}
	holds, known := x.Eval(values, now.UnixMilli(), math.MaxInt64, 0) // ages were looked at
	switch {
	case !known: // division by zero
		return &Refusal{Code: CodeUnknownState, Why: "it cannot be told whether " + x.Source + " holds" + x.Tell(values)}
	case holds:
		return nil
	}
	for _, part := range x.Comparisons() {
		i := slices.Index(names, part.Signal)
		if part.Holds(values[i]) {
			continue
		}
		no := &Refusal{
			Code: CodePrecondition, Signal: part.Signal, Title: g.title(part.Signal), Op: part.Op, Unit: part.Unit, At: latest[part.Signal].At,
		}
		var have, need string
		no.Have, have = written(&part, values[i].Number, values[i].Number != 0, values[i].Text)
		no.Need, need = written(&part, part.Number, part.Bool, part.Text)
		no.Why = no.Title + " at " + have + ", " + needs[part.Op] + need
		if part.Kind != fleet.Number {
			no.Why = no.Title + " is " + have + ", " + needs[part.Op] + need
		}
		return no
	}
	return &Refusal{Code: CodePrecondition, Why: x.Source + " does not hold" + x.Tell(values)}
}

// needs says what an operator asks for.
var needs = map[string]string{
	">=": "needs ", ">": "needs more than ", "<=": "needs at most ", "<": "needs less than ", "==": "needs to be ", "!=": "needs to be other than ",
}

// written is a value of a comparison's signal for programs and for people.
func written(c *expression.Comparison, number float64, yes bool, text string) (data, words_ string) {
	switch c.Kind {
	case fleet.Boolean:
		data = strconv.FormatBool(yes)
		return data, data
	case fleet.Text:
		return text, text
	default:
		return strconv.FormatFloat(number, 'g', -1, 64), words.Measured(number, c.Unit)
	}
}

func (g *Guard) title(signal string) string {
	for i := range g.signals {
		if s := &g.signals[i]; s.Name == signal && s.Title != "" {
			return s.Title
		}
	}
	return signal
}

// For reports whether it was compiled of these preconditions for a product of
// these signals.
func (g *Guard) For(declared []Precondition, signals []fleet.Signal) bool {
	return reflect.DeepEqual(g.declared, declared) && reflect.DeepEqual(g.signals, signals)
}
