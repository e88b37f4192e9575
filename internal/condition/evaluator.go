package condition

import (
	"context"
	"fmt"
	"strings"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Identity is what never changes of a unit: its id and its product.
type Identity struct {
	ID      string
	Product string
}

// Directory tells units by their key. A key that it doesn't know is skipped:
// ok is false. An error stops the evaluator before it has taken anything in.
type Directory func(ctx context.Context, key int64) (id Identity, ok bool, err error)

// Evaluator judges units as the stream tells of them. It is a function of the
// stream alone: the same rows and marks in the same order give the same
// findings, live, after a restart and in a backtest. One goroutine at a time.
type Evaluator struct {
	directory Directory
	permitted bool // units that never chose are taken to permit everything

	products map[string]*product
	units    map[int64]*unit
	strings  map[string]string
	timers   timers
	ticks    ticks
	now      int64 // the newest receive time seen

	spent map[int64]int64 // exposure before the last reset by unit, where somebody asks for it

	findings map[string]*Finding // changed since the last Take
	opened   []string
	closed   []string
	dirty    []*unit
	behind   []*unit // whose exposures have changed since they were told, longest first
	ticked   bool
	turn     uint64 // of the row being judged, from 1
}

// product is what the evaluator knows of a product: the signals that some rule
// reads, and the rules.
type product struct {
	name    string
	signals []string
	index   map[string]int
	rules   []*rule
	recent  []column // signals as the newest row had them, by place
}

type column struct {
	name  string
	index int // -1: no rule reads it
}

// unit is what the evaluator keeps of a unit.
type unit struct {
	key      int64
	id       string
	product  *product // nil: no detector watches its product
	of       string   // the product's name
	chosen   bool     // the owner's choices are known
	given    string   // purposes, comma-separated
	retired  bool
	dirty    bool
	behind   bool // is in the evaluator's behind
	tells    bool // its exposures go with its state
	lagKnown bool
	lag      int64 // least time between event and receipt: the difference of the clocks, and the way
	judged   int64 // receive time of the newest row judged
	known    detect.Known
	values   []expression.Reading // by place in product.signals
	watches  []*watch             // by place in product.rules; nil where it is not permitted
}

// watch is one unit under one rule.
type watch struct {
	since    int64 // receive time of the last reset
	newest   int64 // event time of the newest row judged
	episode  detect.Episode
	late     *detect.Episode // rows out of order, in their own order
	exposure detect.Exposure
	finding  *Finding // open

	contact  int64 // silence: receive time of the newest contact
	interval detect.Interval
	due      int64 // of its timer; 0: none
}

// Definition is a product with the detector versions that watch it.
type Definition struct {
	Product   fleet.Product
	Detectors []Detector
}

// NewEvaluator makes an evaluator that knows nothing yet.
func NewEvaluator(directory Directory, definitions []Definition) (*Evaluator, error) {
	e := &Evaluator{
		directory: directory, products: map[string]*product{}, units: map[int64]*unit{},
		strings: map[string]string{}, findings: map[string]*Finding{},
	}
	return e, e.define(definitions)
}

// define takes definitions in place of those before.
func (e *Evaluator) define(definitions []Definition) error {
	products := make(map[string]*product, len(definitions))
	for i := range definitions {
		def := &definitions[i]
		p := &product{name: def.Product.Name, index: map[string]int{}}
		for j := range def.Detectors {
			d := &def.Detectors[j]
			r, mistakes := compile(&def.Product, d)
			if err := fault.Fields(fmt.Sprintf("detector %s version %d", d.Name, d.Version), mistakes); err != nil {
				return err
			}
			r.bind(func(name string) int {
				at, ok := p.index[name]
				if !ok {
					at = len(p.signals)
					p.index[name], p.signals = at, append(p.signals, name)
				}
				return at
			})
			p.rules = append(p.rules, r)
		}
		p.share()
		if len(p.rules) > 0 {
			products[p.name] = p
		}
	}
	e.products = products
	return nil
}

// share makes rules that ask the same ask it once a row.
func (p *product) share() {
	type question struct {
		source string
		gap    int64
	}
	asked := map[question]*expression.Expression{}
	once := func(x *expression.Expression, gap int64) *expression.Expression {
		if x == nil {
			return nil
		}
		q := question{x.Source, gap}
		if asked[q] == nil {
			asked[q] = x
		}
		return asked[q]
	}
	for _, r := range p.rules {
		r.exposure = once(r.exposure, r.episode.Gap)
		for i := range r.bands {
			r.bands[i].when = once(r.bands[i].when, r.episode.Gap)
		}
	}
}

// Redefine takes up new, changed and removed detectors from here on: what a
// removed version has open is closed.
func (e *Evaluator) Redefine(definitions []Definition) error {
	before := e.products
	if err := e.define(definitions); err != nil {
		e.products = before
		return err
	}
	for _, u := range e.units {
		e.refit(u)
	}
	e.timers.rebuild(e.units)
	return nil
}

// watched reports whether the owner permits the rule's purpose.
func (e *Evaluator) watched(u *unit, r *rule) bool {
	if u.retired {
		return false
	}
	if !r.consent || (e.permitted && !u.chosen) {
		return true
	}
	for name := range strings.SplitSeq(u.given, ",") {
		if name == r.Purpose {
			return true
		}
	}
	return false
}

// unit finds a unit, or takes it up at a receive time; nil if it is unknown or
// nothing watches its product.
func (e *Evaluator) unit(ctx context.Context, key, at int64) (*unit, error) {
	u, ok := e.units[key]
	if ok {
		return u, nil
	}
	id, ok, err := e.directory(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("look up unit: %w", err)
	}
	if !ok {
		return nil, nil
	}
	u = &unit{key: key, id: id.ID, of: e.intern(id.Product)}
	e.units[key] = u
	e.fit(u, at)
	return u, nil
}

// fit starts a unit under its product's rules.
func (e *Evaluator) fit(u *unit, at int64) {
	u.product = e.products[u.of]
	if u.product == nil {
		return
	}
	u.values = make([]expression.Reading, len(u.product.signals))
	for i := range u.values {
		u.values[i].At = expression.Never
	}
	u.watches = make([]*watch, len(u.product.rules))
	together := make([]watch, len(u.product.rules))
	for i, r := range u.product.rules {
		if e.watched(u, r) {
			together[i].since = at
			u.watches[i] = &together[i]
		}
	}
}

func (e *Evaluator) intern(s string) string {
	if kept, ok := e.strings[s]; ok {
		return kept
	}
	s = strings.Clone(s)
	e.strings[s] = s
	return s
}

func (e *Evaluator) touch(u *unit) {
	if !u.dirty {
		u.dirty = true
		e.dirty = append(e.dirty, u)
	}
}

// Mark takes in a mark.
func (e *Evaluator) Mark(ctx context.Context, m *telemetry.Mark) error {
	if m.Kind == telemetry.MarkTick {
		e.now = max(e.now, m.At)
		e.tick(m)
		return nil
	}
	u, err := e.unit(ctx, m.Unit, m.At)
	if err != nil || u == nil {
		return err
	}
	e.now = max(e.now, m.At)
	switch m.Kind {
	case telemetry.MarkContact:
		e.contact(u, m.At)
	case telemetry.MarkVersion:
		component, version, _ := strings.Cut(m.Text, "=")
		e.reset(u, m.At, component+" changed to "+version+"; watched anew")
		e.contact(u, m.At)
	case telemetry.MarkConsent:
		e.consent(u, m)
	case telemetry.MarkRetired:
		u.retired = true
		e.reset(u, m.At, "the unit was retired")
		u.judged = 0
	case telemetry.MarkEnrolled:
		u.retired = false
		e.reset(u, m.At, "the unit was enrolled anew")
	default:
	}
	return nil
}

// reset starts a unit anew under every rule.
func (e *Evaluator) reset(u *unit, at int64, why string) {
	if u.product == nil {
		return
	}
	for i, r := range u.product.rules {
		if w := u.watches[i]; w != nil {
			if w.finding != nil {
				e.close(u, w, at, why)
			}
			if e.spent != nil {
				e.spent[u.key] += w.exposure.Total
			}
		}
		u.watches[i] = nil
		if e.watched(u, r) {
			u.watches[i] = &watch{since: at}
		}
	}
	e.touch(u)
}

// consent takes in the owner's choices. Where a purpose is withdrawn the unit
// is no longer watched for it; where it is given, the unit is watched anew.
func (e *Evaluator) consent(u *unit, m *telemetry.Mark) {
	u.chosen = true
	u.given = e.intern(m.Text)
	e.touch(u)
	if u.product == nil {
		return
	}
	judging := false
	for i, r := range u.product.rules {
		w, may := u.watches[i], e.watched(u, r)
		switch {
		case w != nil && !may:
			if w.finding != nil {
				e.close(u, w, m.At, "the owner no longer permits "+r.Purpose+"; not watched")
			}
			u.watches[i] = nil
			for j := range u.values {
				u.values[j] = expression.Reading{At: expression.Never} // none of it may be used when the purpose is given again
			}
		case w == nil && may:
			u.watches[i] = &watch{since: m.At}
		}
		judging = judging || (u.watches[i] != nil && r.Type == TypeTolerance)
	}
	if !judging {
		u.judged = 0
	}
}
