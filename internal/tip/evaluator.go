package tip

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/tip/outside"
)

// Facts are what the records know of a unit.
type Facts struct {
	ID, Product, OwnerID      string
	Region, Hardware, Version string
	Zone                      *time.Location // of the owner, nil without one
	Given                     []string       // purposes that the owner permits by choice
	Active                    bool
}

// Directory tells units by their key; ok is false for one that is gone.
type Directory func(ctx context.Context, key int64) (f Facts, ok bool, err error)

// Definition is a product with its tips.
type Definition struct {
	Product fleet.Product
	Tips    []Tip
}

// Evaluator judges units as the stream tells of them. It is a function of the
// stream, of the records at the time a unit is taken up, and of what its
// caller decides of each Wish. One goroutine at a time. What a row costs does
// not grow with the fleet; what a feed's news costs grows with the units of
// its place.
type Evaluator struct {
	directory Directory
	// Condition tells a unit's condition, "" where it is not known. May be nil.
	Condition func(unitID string) string

	products map[string]*product
	units    map[int64]*unit
	skipped  map[int64]struct{} // keys of units of products without tips, and of none

	now     int64 // of the stream, Unix ms
	quarter int64 // of an hour, that the clock's conditions were last judged at
	feeds   map[spot]Observation
	news    map[spot]bool // changed since they were last taken
	in      map[spot]map[*unit]struct{}
	open    map[*unit]struct{} // that have an open tip
	waiting map[*unit]struct{} // whose wish was put off
	dirty   map[*unit]struct{}
	asked   []*Wish
}

// spot is a place of a feed.
type spot struct{ product, feed, place string }

// product is a product's tips made ready.
type product struct {
	fleet.Product
	rules []*rule
	index map[string]int // slot by signal
	slots []slot
	clock bool

	seeded bool // what is not known to be used never was
}

// slot is a signal that some tip reads.
type slot struct {
	name     string
	kind     fleet.ValueType
	purposes []string // of the tips, or cells, that read it
}

type unit struct {
	Facts
	key     int64
	seq     uint64
	product *product
	values  []reading // by slot
	uses    []use     // by feature
	places  []string  // by feed; "" not known
	tips    []standing
	gone    bool
}

type reading struct {
	At     int64   `json:"a"` // event time; 0: none
	Number float64 `json:"n,omitempty"`
	Text   string  `json:"t,omitempty"`
}

type use struct {
	Count int64 `json:"c"`
	Last  int64 `json:"l,omitempty"`
	Known bool  `json:"k,omitempty"`
}

// standing is where a unit stands with a tip.
type standing struct {
	Version int   `json:"v"`
	Count   int   `json:"n,omitempty"` // given, of any version
	Last    int64 `json:"l,omitempty"` // given, newest
	Open    int64 `json:"o,omitempty"` // shown since, 0: not
	Until   int64 `json:"u,omitempty"` // shown until at most
	Retry   int64 `json:"r,omitempty"` // not asked for again before
	First   int64 `json:"f,omitempty"` // given first of this version: what is measured
	asked   bool
}

// Kinds of wishes.
type wishKind int

const (
	give   wishKind = iota // the condition holds: may it be given?
	end                    // it is open and holds no more
	used                   // its feature was used in time
	forget                 // nothing of some tips may be kept
)

// Wish is what the evaluator wants done.
type Wish struct {
	kind    wishKind
	rule    *rule
	unit    *unit
	place   int // of the rule
	at      int64
	why     string
	names   []string // of forget
	values  map[string]string
	version int
}

// NewEvaluator makes an evaluator that knows nothing yet.
func NewEvaluator(directory Directory, definitions []Definition) (*Evaluator, error) {
	e := &Evaluator{
		directory: directory, units: map[int64]*unit{}, skipped: map[int64]struct{}{}, feeds: map[spot]Observation{}, news: map[spot]bool{},
		in: map[spot]map[*unit]struct{}{}, open: map[*unit]struct{}{}, waiting: map[*unit]struct{}{}, dirty: map[*unit]struct{}{},
	}
	return e, e.Redefine(definitions)
}

// Redefine takes definitions in place of those before, from here on.
func (e *Evaluator) Redefine(definitions []Definition) error {
	products := map[string]*product{}
	for i := range definitions {
		d := &definitions[i]
		p := &product{Product: d.Product, index: map[string]int{}}
		for j := range d.Tips {
			if err := p.add(&d.Tips[j]); err != nil {
				return err
			}
		}
		if len(p.rules) > 0 {
			products[p.Name] = p
		}
	}
	e.products = products
	clear(e.skipped)
	clear(e.in)
	for _, u := range slices.Collect(maps.Values(e.units)) {
		saved := u.save()
		before := u.product
		u.product = products[u.Product]
		if u.product == nil {
			e.drop(u)
			continue
		}
		for i := range before.rules { // what was open and stands no more
			t := &u.tips[i]
			now := slices.IndexFunc(u.product.rules, func(r *rule) bool { return r.Name == before.rules[i].Name })
			if t.Open != 0 && (now < 0 || u.product.rules[now].Version != before.rules[i].Version) {
				e.ask(&Wish{kind: end, rule: before.rules[i], unit: u, place: -1, at: e.now, why: Replaced})
			}
		}
		u.fit(saved)
		e.locate(u)
		e.touch(u)
	}
	return nil
}

// add makes a tip ready.
func (p *product) add(t *Tip) error {
	r, mistakes := compile(&p.Product, t)
	if err := fault.Fields("tip "+t.Name, mistakes); err != nil {
		return err
	}
	for i := range r.refs {
		if v := &r.refs[i]; v.from == fromSignal {
			p.slot(v.name, t.Purpose)
		}
	}
	for _, f := range r.feeds {
		if place := p.Feeds[f].Place; place != nil {
			for _, c := range place.Cells {
				p.slot(place.Latitude, c.Purpose)
				p.slot(place.Longitude, c.Purpose)
			}
		}
	}
	p.clock = p.clock || r.clock
	p.rules = append(p.rules, r)
	return nil
}

func (p *product) slot(signal, purpose string) {
	i, ok := p.index[signal]
	if !ok {
		s, _ := p.Signal(signal)
		i = len(p.slots)
		p.index[signal], p.slots = i, append(p.slots, slot{name: signal, kind: s.Type})
	}
	if !slices.Contains(p.slots[i].purposes, purpose) {
		p.slots[i].purposes = append(p.slots[i].purposes, purpose)
	}
}

// may reports whether a unit's owner permits a purpose.
func (u *unit) may(purpose string) bool {
	q, ok := u.product.Purpose(purpose)
	return ok && u.Active && (q.Basis == fleet.BasisNecessary || slices.Contains(u.Given, purpose))
}

func (e *Evaluator) touch(u *unit) { e.dirty[u] = struct{}{} }

func (e *Evaluator) ask(w *Wish) {
	if w.kind == give {
		w.unit.tips[w.place].asked = true
		w.version = w.rule.Version
	}
	e.asked = append(e.asked, w)
}

// drop forgets a unit; what it has open is ended.
func (e *Evaluator) drop(u *unit) {
	delete(e.units, u.key)
	delete(e.open, u)
	delete(e.waiting, u)
	for _, m := range e.in {
		delete(m, u)
	}
	u.gone = true
	e.touch(u) // its state is removed
}

// unit finds a unit, or takes it up; nil if it is unknown or its product has no tips.
func (e *Evaluator) unit(ctx context.Context, key int64) (*unit, error) {
	if u, ok := e.units[key]; ok {
		return u, nil
	}
	if _, ok := e.skipped[key]; ok {
		return nil, nil
	}
	f, ok, err := e.directory(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("look up unit: %w", err)
	}
	p := e.products[f.Product]
	if !ok || p == nil {
		if len(e.skipped) > 1_000_000 {
			clear(e.skipped)
		}
		e.skipped[key] = struct{}{}
		return nil, nil
	}
	u := &unit{Facts: f, key: key, product: p}
	u.fit(saved{})
	e.units[key] = u
	e.locate(u)
	return u, nil
}

// saved is a unit's state as it is kept: by names, so that it outlives changes
// of the declarations.
type saved struct {
	Values map[string]reading  `json:"v,omitempty"`
	Uses   map[string]use      `json:"u,omitempty"`
	Tips   map[string]standing `json:"t,omitempty"`
}

func (u *unit) save() saved {
	s := saved{Values: map[string]reading{}, Uses: map[string]use{}, Tips: map[string]standing{}}
	for i, v := range u.values {
		if v.At != 0 {
			s.Values[u.product.slots[i].name] = v
		}
	}
	for i, v := range u.uses {
		if v.Known {
			s.Uses[u.product.Features[i].Name] = v
		}
	}
	for i, t := range u.tips {
		if t != (standing{Version: t.Version}) {
			t.asked = false
			s.Tips[u.product.rules[i].Name] = t
		}
	}
	return s
}

// fit makes room for what the product's tips need, with what was kept.
func (u *unit) fit(s saved) {
	p := u.product
	u.values, u.uses = make([]reading, len(p.slots)), make([]use, len(p.Features))
	u.places, u.tips = make([]string, len(p.Feeds)), make([]standing, len(p.rules))
	for i := range u.values {
		u.values[i] = s.Values[p.slots[i].name]
	}
	for i := range u.uses {
		u.uses[i] = s.Uses[p.Features[i].Name]
	}
	for i, r := range p.rules {
		t := s.Tips[r.Name]
		if t.Version != r.Version { // its words or its rule are others
			t = standing{Version: r.Version, Count: t.Count, Last: t.Last}
		}
		u.tips[i] = t
	}
}

// Load takes in what was kept.
func (e *Evaluator) Load(ctx context.Context, states []State, observed []Observation) error {
	for _, o := range observed {
		e.feeds[spot{o.Product, o.Feed, o.Place}] = o
	}
	for _, s := range states {
		if s.Key == 0 {
			continue
		}
		u, err := e.unit(ctx, s.Key)
		if err != nil {
			return err
		}
		if u == nil {
			continue
		}
		var kept saved
		if err := json.Unmarshal(s.Data, &kept); err != nil {
			return fmt.Errorf("state of a unit with tips: %w", err)
		}
		u.seq = s.Seq
		u.fit(kept)
		e.locate(u)
		for i := range u.tips {
			if u.tips[i].Open != 0 {
				e.open[u] = struct{}{}
			}
			if u.tips[i].Retry != 0 {
				e.waiting[u] = struct{}{}
			}
		}
	}
	return nil
}

// Seed tells how often a unit used a feature before the evaluator began; what
// it knows better stays.
func (e *Evaluator) Seed(ctx context.Context, key int64, feature string, count, last int64) error {
	u, err := e.unit(ctx, key)
	if err != nil || u == nil {
		return err
	}
	for i, f := range u.product.Features {
		if f.Name == feature && !u.uses[i].Known && u.permitsFeature(i) {
			u.uses[i] = use{count, last, true}
			e.touch(u)
		}
	}
	return nil
}

// Seeded says that Seed has told everything of a product: who was not named
// has never used its features.
func (e *Evaluator) Seeded(product string) {
	if p := e.products[product]; p != nil {
		p.seeded = true
	}
}

func (u *unit) permitsFeature(i int) bool {
	return slices.ContainsFunc(u.product.Features[i].Purposes, u.may)
}

// Row takes in a message of a unit.
func (e *Evaluator) Row(ctx context.Context, seq uint64, of string, r *telemetry.Row) error {
	e.now = max(e.now, r.Received)
	p := e.products[of]
	if p == nil || len(r.Values) == 0 {
		return nil
	}
	u, err := e.unit(ctx, r.Unit)
	if err != nil || u == nil || seq != 0 && seq <= u.seq {
		return err
	}
	news, moved := false, false
	for i := range r.Values {
		v := &r.Values[i]
		s, ok := p.index[v.Signal]
		if !ok || r.Event < u.values[s].At || !slices.ContainsFunc(p.slots[s].purposes, u.may) {
			continue
		}
		u.values[s] = reading{r.Event, v.Number, v.Text}
		news = true
		moved = moved || slices.ContainsFunc(p.Feeds, func(f fleet.Feed) bool {
			return f.Place != nil && (f.Place.Latitude == v.Signal || f.Place.Longitude == v.Signal)
		})
	}
	if !news {
		return nil
	}
	e.touch(u)
	if moved {
		e.locate(u)
	}
	e.judge(u)
	return nil
}

// Event takes in an event of a unit.
func (e *Evaluator) Event(ctx context.Context, seq uint64, of string, v *telemetry.Event) error {
	e.now = max(e.now, v.Received)
	p := e.products[of]
	if p == nil || v.Kind != telemetry.EventFeature {
		return nil
	}
	u, err := e.unit(ctx, v.Unit)
	if err != nil || u == nil || seq != 0 && seq <= u.seq {
		return err
	}
	i := slices.IndexFunc(p.Features, func(f fleet.Feature) bool { return f.Name == v.Name })
	if i < 0 || !u.permitsFeature(i) {
		return nil
	}
	u.uses[i].Count++
	u.uses[i].Last = max(u.uses[i].Last, v.Event)
	e.touch(u)
	for place, r := range p.rules {
		t := &u.tips[place]
		if r.feature == i && t.First != 0 && v.Event >= t.First && v.Event < t.First+or(r.Within, defaultWithin).Milliseconds() && u.may(r.Purpose) {
			e.ask(&Wish{kind: used, rule: r, unit: u, place: place, at: v.Event})
		}
	}
	e.judge(u)
	return nil
}

// quarterOf is which quarter of an hour it is: no time zone turns its hour at another time.
func quarterOf(ms int64) int64 { return ms / (15 * 60_000) }

// Mark takes in a mark.
func (e *Evaluator) Mark(ctx context.Context, seq uint64, m *telemetry.Mark) error {
	e.now = max(e.now, m.At)
	if len(e.products) == 0 {
		return nil
	}
	switch m.Kind {
	case telemetry.MarkTick:
		e.tick()
		return nil
	case telemetry.MarkContext:
		return e.observed(m.Text)
	case telemetry.MarkMaintained:
		return nil
	default:
	}
	if m.Kind == telemetry.MarkEnrolled {
		delete(e.skipped, m.Unit) // it may be of another product's now, or have come back
	}
	u, err := e.unit(ctx, m.Unit)
	if err != nil || u == nil || seq != 0 && seq <= u.seq {
		return err
	}
	switch m.Kind {
	case telemetry.MarkVersion:
		if component, version, _ := strings.Cut(m.Text, "="); component == fleet.MainComponent {
			u.Version = version
		}
	case telemetry.MarkConsent:
		e.consent(u, m.Text)
	case telemetry.MarkRetired:
		e.forgetAll(u)
		e.drop(u)
	case telemetry.MarkEnrolled:
		return e.anew(ctx, u)
	default:
	}
	return nil
}

// anew looks a unit up again: it may have changed hands, or place.
func (e *Evaluator) anew(ctx context.Context, u *unit) error {
	f, ok, err := e.directory(ctx, u.key)
	if err != nil {
		return err
	}
	if !ok || f.OwnerID != u.OwnerID || f.Product != u.Product {
		e.forgetAll(u)
		e.drop(u)
		return nil
	}
	u.Facts = f
	e.locate(u)
	return nil
}

// forgetAll asks that nothing given to a unit is kept: it goes to other hands.
func (e *Evaluator) forgetAll(u *unit) {
	e.ask(&Wish{kind: forget, unit: u, place: -1, at: e.now})
}

// consent takes in the owner's choices: what was known under a purpose that is
// withdrawn is forgotten at once.
func (e *Evaluator) consent(u *unit, text string) {
	u.Given = nil
	if text != "" {
		u.Given = strings.Split(text, ",")
	}
	e.touch(u)
	var names []string
	for i, r := range u.product.rules {
		if !u.may(r.Purpose) && u.tips[i] != (standing{Version: r.Version}) {
			u.tips[i] = standing{Version: r.Version}
			names = append(names, r.Name)
		}
	}
	if names != nil {
		e.ask(&Wish{kind: forget, unit: u, place: -1, at: e.now, names: names})
	}
	for i := range u.values {
		if !slices.ContainsFunc(u.product.slots[i].purposes, u.may) {
			u.values[i] = reading{}
		}
	}
	for i := range u.uses {
		if !u.permitsFeature(i) {
			u.uses[i] = use{Known: u.uses[i].Known}
		}
	}
	e.locate(u)
}

// observed takes in what a feed said.
func (e *Evaluator) observed(text string) error {
	var o Observation
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("a feed's values in the stream: %w", err)
	}
	at := spot{o.Product, o.Feed, o.Place}
	if old, ok := e.feeds[at]; ok && old.At > o.At {
		return nil
	}
	e.feeds[at], e.news[at] = o, true
	for _, u := range sorted(e.in[at]) {
		e.judge(u)
	}
	return nil
}

// sorted gives units in the order of their keys, so that what follows is the same each time.
func sorted(set map[*unit]struct{}) []*unit {
	return slices.SortedFunc(maps.Keys(set), func(a, b *unit) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return 0
	})
}

// tick judges what time alone changes: tips that are open, those that were put
// off, and at the turn of an hour those that read the clock.
func (e *Evaluator) tick() {
	due := maps.Clone(e.open)
	for u := range e.waiting {
		later := false
		for i := range u.tips {
			if r := u.tips[i].Retry; r != 0 && r <= e.now {
				due[u] = struct{}{}
			} else if r != 0 {
				later = true
			}
		}
		if !later {
			delete(e.waiting, u)
		}
	}
	if q := quarterOf(e.now); q != e.quarter {
		e.quarter = q
		for _, u := range e.units {
			if u.product.clock && u.Zone != nil && time.UnixMilli(e.now).In(u.Zone).Minute() < 15 {
				due[u] = struct{}{}
			}
		}
	}
	for _, u := range sorted(due) {
		e.judge(u)
	}
}

// judge looks at every tip of a unit.
func (e *Evaluator) judge(u *unit) {
	for i, r := range u.product.rules {
		t := &u.tips[i]
		open := t.Open != 0
		if t.asked || !open && (r.Paused || e.now < t.next(r) || !u.may(r.Purpose)) {
			continue
		}
		holds := !r.Paused && u.may(r.Purpose) && r.holds(e, u, e.now)
		switch {
		case open && e.now >= t.Until: // it has run out by itself
			t.Open = 0
			e.closed(u)
		case open && !holds:
			t.Open = 0
			e.closed(u)
			e.ask(&Wish{kind: end, rule: r, unit: u, place: i, at: e.now, why: NoLonger})
		case !open && holds:
			if values, ok := r.tell(e, u, e.now); ok {
				e.ask(&Wish{kind: give, rule: r, unit: u, place: i, at: e.now, values: values})
			}
		}
	}
}

// closed notes that a unit's tip is open no more.
func (e *Evaluator) closed(u *unit) {
	e.touch(u)
	if !slices.ContainsFunc(u.tips, func(t standing) bool { return t.Open != 0 }) {
		delete(e.open, u)
	}
}

// next is when a tip may be given again at the earliest.
func (t *standing) next(r *rule) int64 {
	if r.Most > 0 && t.Count >= r.Most {
		return math.MaxInt64
	}
	next := t.Retry
	if t.Last != 0 {
		next = max(next, t.Last+or(r.Every, defaultEvery).Milliseconds())
	}
	return next
}

// given takes in that a wish was granted: shown, or held back.
func (e *Evaluator) given(w *Wish, held bool) (first bool) {
	t := &w.unit.tips[w.place]
	t.asked, t.Retry = false, 0
	t.Last = w.at
	t.Count++
	if first = t.First == 0; first {
		t.First = w.at
	}
	if !held {
		t.Open, t.Until = w.at, w.at+or(w.rule.Valid, defaultValid).Milliseconds()
		e.open[w.unit] = struct{}{}
	}
	e.touch(w.unit)
	return first
}

// refused takes in that a wish was not granted, and is not to come again before a time.
func (e *Evaluator) refused(w *Wish, until int64) {
	t := &w.unit.tips[w.place]
	t.asked, t.Retry = false, until
	e.waiting[w.unit] = struct{}{}
	e.touch(w.unit)
}

// value is what is known of a variable for a unit.
func (e *Evaluator) value(u *unit, v *variable, age, now int64) (any, bool) {
	switch v.from {
	case fromSignal:
		r := &u.values[u.product.index[v.name]]
		if r.At == 0 || now-r.At > age {
			return nil, false
		}
		return typed(v.kind, r.Number, r.Text), true
	case fromFeature:
		used := &u.uses[v.index]
		switch {
		case used.Count == 0 && !used.Known && !u.product.seeded:
			return nil, false
		case v.part == "count":
			return types.Double(used.Count), true
		case v.part == "never":
			return types.Bool(used.Count == 0), true
		case used.Last == 0:
			return nil, false
		}
		return types.Double(float64(now-used.Last) / float64((24 * time.Hour).Milliseconds())), true
	case fromUnit:
		text := map[string]string{"hardware": u.Hardware, "region": u.Region, "version": u.Version}[v.part]
		if v.part == "condition" && e.Condition != nil {
			text = e.Condition(u.ID)
		}
		return types.String(text), text != ""
	case fromClock:
		if u.Zone == nil {
			return nil, false
		}
		at := time.UnixMilli(now).In(u.Zone)
		switch v.part {
		case "hour":
			return types.Double(at.Hour()), true
		case "weekday":
			return types.Double((int(at.Weekday())+6)%7 + 1), true
		}
		return types.Double(at.Month()), true
	case fromFeed:
		return e.feed(u, v, now)
	}
	return nil, false
}

// feed is a feed's variable where a unit is.
func (e *Evaluator) feed(u *unit, v *variable, now int64) (any, bool) {
	f := &u.product.Feeds[v.index]
	if f.By != outside.ByProduct && u.places[v.index] == "" {
		return nil, false
	}
	o, ok := e.feeds[spot{u.Product, f.Name, u.places[v.index]}]
	if !ok || now-o.At > v.age {
		return nil, false
	}
	switch x := o.Values[v.part].(type) {
	case float64:
		return types.Double(x), v.kind == fleet.Number
	case bool:
		return types.Bool(x), v.kind == fleet.Boolean
	case string:
		return types.String(x), v.kind == fleet.Text
	}
	return nil, false
}

func typed(kind fleet.ValueType, number float64, text string) any {
	switch kind {
	case fleet.Boolean:
		return types.Bool(number != 0)
	case fleet.Text:
		return types.String(text)
	default:
		return types.Double(number)
	}
}
