package condition

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/condition/kind"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Identity is what the records know of a unit that has a bearing: its id and
// product, which never change, and its attributes (hardware, batch, region and
// the declared ones) as they stood when it was taken up.
type Identity struct {
	ID         string
	Product    string
	Attributes map[string]string
}

// IdentityOf is what the records know of u.
func IdentityOf(u *fleet.Unit) Identity {
	id := Identity{ID: u.ID, Product: u.Product, Attributes: maps.Clone(u.Attributes)}
	for name, v := range map[string]string{"hardware": u.Hardware, "batch": u.Batch, "region": u.Region} {
		if v != "" {
			if id.Attributes == nil {
				id.Attributes = map[string]string{}
			}
			id.Attributes[name] = v
		}
	}
	return id
}

// Directory tells units by their key. A key that it doesn't know is skipped:
// ok is false. An error stops the evaluator before it has taken anything in.
type Directory func(ctx context.Context, key int64) (id Identity, ok bool, err error)

// Evaluator judges units as the stream tells of them. It is a function of the
// stream alone: the same rows and marks in the same order give the same
// findings, live, after a restart and in a backtest. One goroutine at a time.
type Evaluator struct {
	desk      kind.Desk
	directory Directory
	hearing   bool // some rule is told contacts
	permitted bool // units that never chose are taken to permit everything

	products map[string]*product
	units    map[int64]*unit
	last     *unit // of the row or mark before
	strings  map[string]string

	met   []Ref           // detector versions that states that were loaded are of
	spent map[int64]int64 // exposure before the last reset by unit, where somebody asks for it

	behind []*unit // whose exposures have changed since they were told, longest first
	ticked bool    // the state of the stream has changed
	more   bool    // the last Take left some
	late   []expression.Reading

	resident resident
}

// product is what the evaluator knows of a product: the signals that some rule
// reads, and the rules.
type product struct {
	name    string
	signals []string
	index   map[string]int
	rules   []*rule

	hears     []int // places of the rules that are told contacts
	gatherers []kind.Gatherer

	recent []column // signals as the newest row had them, by place
}

type column struct {
	name  string
	index int // -1: no rule reads it
}

// unit is what the evaluator keeps of a unit.
type unit struct {
	kind.Unit
	product  *product // nil: no detector watches its product
	chosen   bool     // the owner's choices are known
	given    string   // purposes, comma-separated
	retired  bool
	behind   bool // is in the evaluator's behind
	tells    bool // its exposures go with its state
	lagKnown bool
	judged   int64 // receive time of the newest row judged
	known    detect.Known
	watches  []*kind.Watch // by place in product.rules; nil where it is not permitted

	evicted       bool // the State of a watch is nil: it was evicted
	in            bool // is in the evaluator's resident
	before, after *unit
	size          int // bytes of what may be evicted, as encoded last
}

// Definition is a product with the detector versions that watch it.
type Definition struct {
	Product   fleet.Product
	Detectors []Detector
}

// NewEvaluator makes an evaluator that knows nothing yet.
func NewEvaluator(directory Directory, definitions []Definition) (*Evaluator, error) {
	e := &Evaluator{
		directory: directory, products: map[string]*product{}, units: map[int64]*unit{}, strings: map[string]string{},
	}
	e.desk.Findings = map[string]*Finding{}
	return e, e.define(definitions)
}

// define takes definitions in place of those before.
func (e *Evaluator) define(definitions []Definition) error {
	products, hearing := make(map[string]*product, len(definitions)), false
	for i := range definitions {
		def := &definitions[i]
		p := &product{name: def.Product.Name, index: map[string]int{}}
		binder := &kind.Binder{Index: func(name string) int {
			at, ok := p.index[name]
			if !ok {
				at = len(p.signals)
				p.index[name], p.signals = at, append(p.signals, name)
			}
			return at
		}}
		for j := range def.Detectors {
			d := &def.Detectors[j]
			r, mistakes := compile(&def.Product, d)
			if err := fault.Fields(fmt.Sprintf("detector %s version %d", d.Name, d.Version), mistakes); err != nil {
				return err
			}
			if r.Rule == nil {
				continue // not run here
			}
			r.exposure = binder.Share(r.exposure, r.gap)
			r.Rule.Bind(binder)
			if r.Contacts {
				p.hears, hearing = append(p.hears, len(p.rules)), true
			}
			if g, ok := r.Rule.(kind.Gatherer); ok {
				p.gatherers = append(p.gatherers, g)
			}
			p.rules = append(p.rules, r)
		}
		if len(p.rules) > 0 {
			products[p.name] = p
		}
	}
	e.products, e.hearing = products, hearing
	return nil
}

// Redefine takes up new, changed and removed detectors from here on: what a
// removed version has open is closed.
func (e *Evaluator) Redefine(definitions []Definition) error { return e.redefine(definitions, nil) }

// redefine is Redefine, with what others have of some of the definitions.
func (e *Evaluator) redefine(definitions []Definition, others []*Evaluator) error {
	before := e.products
	groups := e.groups()
	for _, o := range others {
		groups = append(groups, o.groups()...)
	}
	if err := e.define(definitions); err != nil {
		e.products = before
		return err
	}
	e.desk.ForgetAll()
	if err := e.regroup(groups); err != nil {
		return err
	}
	for _, u := range e.units {
		e.refit(u, others)
	}
	for _, o := range others {
		for key, u := range o.units {
			if e.units[key] == nil { // nothing had watched it
				to := &unit{}
				to.Key, to.ID, to.Product, to.Attributes = u.Key, u.ID, e.intern(u.Product), u.Attributes
				e.units[key] = to
				saved := savedUnit{unit: *u}
				for _, o := range others {
					saved.add(o.units[key])
				}
				_ = e.restore(to, &saved)
			}
		}
	}
	e.ticked = true
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
	if e.last != nil && e.last.Key == key { // units send several rows at once
		return e.last, nil
	}
	u, ok := e.units[key]
	if ok {
		if u.evicted {
			if err := e.recall(ctx, u); err != nil {
				return nil, err
			}
		}
		e.resident.used(u)
		e.last = u
		return u, nil
	}
	id, ok, err := e.directory(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("look up unit: %w", err)
	}
	if !ok {
		return nil, nil
	}
	u = &unit{}
	u.Key, u.ID, u.Product, u.Attributes = key, id.ID, e.intern(id.Product), id.Attributes
	e.units[key] = u
	e.fit(u, at)
	e.join(u)
	e.resident.used(u)
	return u, nil
}

// fit makes a unit's watches under its product's rules, which have not joined yet.
func (e *Evaluator) fit(u *unit, at int64) {
	u.product = e.products[u.Product]
	if u.product == nil {
		return
	}
	u.Values = make([]expression.Reading, len(u.product.signals))
	for i := range u.Values {
		u.Values[i].At = expression.Never
	}
	u.watches = make([]*kind.Watch, len(u.product.rules))
	together := make([]kind.Watch, len(u.product.rules))
	for i, r := range u.product.rules {
		if e.watched(u, r) {
			together[i] = kind.Watch{Unit: &u.Unit, Bound: &r.Bound, State: r.Rule.New(), Since: at}
			u.watches[i] = &together[i]
		}
	}
}

// join tells the rules of a unit's watches.
func (e *Evaluator) join(u *unit) {
	for _, w := range u.watches {
		if w != nil {
			w.Bound.Rule.Join(&e.desk, w)
		}
	}
}

// begin starts to watch a unit under a rule, with a state of its own or a new one.
func (e *Evaluator) begin(u *unit, i int, at int64, state kind.State) {
	r := u.product.rules[i]
	if state == nil {
		state = r.Rule.New()
	}
	w := &kind.Watch{Unit: &u.Unit, Bound: &r.Bound, State: state, Since: at}
	u.watches[i] = w
	r.Rule.Join(&e.desk, w)
}

// end stops to, and says why.
func (e *Evaluator) end(u *unit, i int, at int64, why string) {
	w := u.watches[i]
	if w.Finding != nil {
		e.desk.Close(w, at, why)
	}
	if e.spent != nil {
		e.spent[u.Key] += w.Exposure.Total
	}
	e.desk.Forget(w)
	u.watches[i] = nil
	w.Bound.Rule.Leave(&e.desk, w)
}

func (e *Evaluator) intern(s string) string {
	if kept, ok := e.strings[s]; ok {
		return kept
	}
	s = strings.Clone(s)
	e.strings[s] = s
	return s
}

// defaultTick is the interval of a tick that doesn't say, in milliseconds.
const defaultTick = 10_000

// Mark takes in a mark.
func (e *Evaluator) Mark(ctx context.Context, m *telemetry.Mark) error {
	if m.Kind == telemetry.MarkTick {
		e.desk.Clock.Now = max(e.desk.Clock.Now, m.At)
		e.tick(m)
		return nil
	}
	if m.Kind == telemetry.MarkContext {
		return nil // for tips
	}
	if _, known := e.units[m.Unit]; !known && m.Kind == telemetry.MarkContact && !e.hearing {
		e.desk.Clock.Now = max(e.desk.Clock.Now, m.At)
		return nil // a fleet that only polls costs no memory here
	}
	if u := e.units[m.Unit]; m.Kind == telemetry.MarkContact && u != nil { // whom it concerns is in memory
		e.desk.Clock.Now = max(e.desk.Clock.Now, m.At)
		e.contact(u, m.At)
		return nil
	}
	u, err := e.unit(ctx, m.Unit, m.At)
	if err != nil || u == nil {
		return err
	}
	e.desk.Clock.Now = max(e.desk.Clock.Now, m.At)
	switch m.Kind {
	case telemetry.MarkContact:
		e.contact(u, m.At)
	case telemetry.MarkVersion:
		component, version, _ := strings.Cut(m.Text, "=")
		if u.Versions == nil {
			u.Versions = map[string]string{}
		}
		u.Versions[e.intern(component)] = e.intern(version)
		e.reset(u, m, false, component+" changed to "+version+"; watched anew")
		e.contact(u, m.At)
	case telemetry.MarkMaintained:
		e.reset(u, m, false, maintained(m.Text)+"; watched anew")
	case telemetry.MarkConsent:
		e.consent(u, m)
	case telemetry.MarkRetired:
		u.retired = true
		e.reset(u, m, true, "the unit was retired")
		u.judged = 0
	case telemetry.MarkEnrolled:
		id, ok, err := e.directory(ctx, m.Unit)
		if err != nil {
			return fmt.Errorf("look up unit: %w", err)
		}
		if ok {
			u.Attributes = id.Attributes // it may have been declared otherwise
		}
		u.retired = false
		e.reset(u, m, true, "the unit was enrolled or declared anew")
	default:
	}
	return nil
}

// maintained says what a mark of maintenance tells: "part=what was done".
func maintained(text string) string {
	part, done, _ := strings.Cut(text, "=")
	if part == "" {
		part = "the unit"
	}
	if done == "" {
		done = "maintenance"
	}
	return done + " of " + part
}

// tick moves time on: it notices an outage of ours, then lets rules act whose
// time has come.
func (e *Evaluator) tick(m *telemetry.Mark) {
	interval, err := strconv.ParseInt(m.Text, 10, 64)
	if err != nil || interval <= 0 {
		interval = defaultTick
	}
	if !e.desk.Clock.Tick(m.At, interval) {
		return
	}
	e.ticked = true
	e.desk.Ring(m.At)
	for _, p := range e.products {
		for _, g := range p.gatherers {
			g.Tick(&e.desk, m.At)
		}
	}
}

// contact takes in that a unit was heard of.
func (e *Evaluator) contact(u *unit, at int64) {
	for _, i := range u.hears() {
		if w := u.watches[i]; w != nil {
			w.Bound.Rule.Contact(&e.desk, w, at)
		}
	}
}

// hears are the places of the rules that are told contacts.
func (u *unit) hears() []int {
	if u.product == nil {
		return nil
	}
	return u.product.hears
}

// reset starts a unit anew under every rule that the mark resets, or under all.
func (e *Evaluator) reset(u *unit, m *telemetry.Mark, all bool, why string) {
	if u.product == nil {
		return
	}
	for i, r := range u.product.rules {
		var state kind.State
		if w := u.watches[i]; w != nil && (all || r.Rule.Resets(m)) {
			e.end(u, i, m.At, why)
			if heir, ok := r.Rule.(kind.Heir); ok && !all {
				state = heir.Inherit(w.State, m)
			}
		}
		if u.watches[i] == nil && e.watched(u, r) {
			e.begin(u, i, m.At, state)
		}
	}
	e.desk.Touch(&u.Unit)
}

// consent takes in the owner's choices. Where a purpose is withdrawn the unit
// is no longer watched for it; where it is given, the unit is watched anew.
func (e *Evaluator) consent(u *unit, m *telemetry.Mark) {
	u.chosen = true
	now := strings.Split(m.Text, ",")
	for name := range strings.SplitSeq(u.given, ",") {
		if !slices.Contains(now, name) { // none of it may be used when the purpose is given again
			for j := range u.Values {
				u.Values[j] = expression.Reading{At: expression.Never}
			}
			break
		}
	}
	u.given = e.intern(m.Text)
	e.desk.Touch(&u.Unit)
	if u.product == nil {
		return
	}
	judging := false
	for i, r := range u.product.rules {
		w, may := u.watches[i], e.watched(u, r)
		switch {
		case w != nil && !may:
			e.end(u, i, m.At, "the owner no longer permits "+r.Purpose+"; not watched")
		case w == nil && may:
			e.begin(u, i, m.At, nil)
		}
		judging = judging || (u.watches[i] != nil && r.Rows)
	}
	if !judging {
		u.judged = 0
	}
}
