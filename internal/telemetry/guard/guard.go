// Package guard stands before history wherever it is read. A reader says in its
// context what it reads for (consent.For and its like); what owners do not
// permit for that is left out, as their choices are at that moment, and a
// reader that does not say is refused.
package guard

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Choices is what the guard asks of owners' choices; consent.Store does.
type Choices interface {
	MasksOf(ctx context.Context, product string, units []int64) (map[int64]consent.Mask, error)
	Uncovered(ctx context.Context, product string) (map[int64]consent.Mask, error)
	Permits(ctx context.Context, product, purpose string, necessary bool) (map[int64]bool, error)
}

// Products finds declarations; fleet.Store does.
type Products interface {
	Product(ctx context.Context, name string) (fleet.Product, error)
}

// History is another History of which only that is read which may be. What
// writes, counts and removes passes.
type History struct {
	telemetry.History // what does not read; every method that reads is below
	choices           Choices
	products          Products

	mu     sync.Mutex
	fleets map[[2]string]*whole
}

var _ telemetry.History = (*History)(nil)

// New guards a history.
func New(h telemetry.History, choices Choices, products Products) *History {
	return &History{History: h, choices: choices, products: products, fleets: map[[2]string]*whole{}}
}

// few is up to how many units masks are read one by one, and fresh how long
// the choices of a whole fleet are good for: a withdrawal acts within a second.
const (
	few   = 500
	fresh = 500 * time.Millisecond
)

// whole is who of a product's units permits a purpose.
type whole struct {
	read      sync.Mutex
	at        time.Time
	permits   map[int64]bool
	uncovered map[int64]consent.Mask
}

// view is what may be read of a product for a use.
type view struct {
	use     consent.Use
	product fleet.Product
	masks   map[int64]consent.Mask // nil: fleet applies
	fleet   *whole
}

// view reads the choices of units, nil for all.
func (h *History) view(ctx context.Context, product string, units []int64) (*view, error) {
	use, said := consent.UseOf(ctx)
	if !said {
		return nil, fault.New(fault.Denied, "history of %s is read without saying what for", product)
	}
	p, err := h.products.Product(ctx, product)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	v := &view{use: use, product: p}
	switch {
	case use.Own:
	case use.Purpose != "" && (units == nil || len(units) > few):
		v.fleet, err = h.wholeOf(ctx, &p, use.Purpose)
	default:
		v.masks, err = h.choices.MasksOf(ctx, product, units)
	}
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	return v, nil
}

func (h *History) wholeOf(ctx context.Context, p *fleet.Product, purpose string) (*whole, error) {
	key := [2]string{p.Name, purpose}
	h.mu.Lock()
	w := h.fleets[key]
	if w == nil {
		if len(h.fleets) >= 4 { // a few are enough: they are large
			clear(h.fleets)
		}
		w = &whole{}
		h.fleets[key] = w
	}
	h.mu.Unlock()
	w.read.Lock()
	defer w.read.Unlock()
	if w.permits != nil && time.Since(w.at) < fresh {
		return &whole{permits: w.permits, uncovered: w.uncovered}, nil
	}
	q, ok := p.Purpose(purpose)
	if !ok {
		return &whole{permits: map[int64]bool{}}, nil
	}
	at := time.Now() //nolint:forbidigo // how old a reading is, not what time it is
	permits, err := h.choices.Permits(ctx, p.Name, purpose, q.Basis == fleet.BasisNecessary)
	if err != nil {
		return nil, err
	}
	uncovered, err := h.choices.Uncovered(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	w.at, w.permits, w.uncovered = at, permits, uncovered
	return &whole{permits: permits, uncovered: uncovered}, nil
}

// may reports whether signal s of a unit may be read.
func (v *view) may(unit int64, s fleet.Signal) bool {
	return v.mayItem(unit, s.Purposes, s.Name)
}

func (v *view) mayItem(unit int64, purposes []string, item string) bool {
	switch {
	case v.use.Own:
		return true
	case v.fleet != nil:
		if !v.fleet.permits[unit] || !slices.Contains(purposes, v.use.Purpose) {
			return false
		}
		_, apart := v.fleet.uncovered[unit][v.use.Purpose+"+"+item]
		return !apart
	case v.use.Shown:
		return v.masks[unit].PermitsItem(&v.product, purposes, item)
	default:
		return slices.Contains(purposes, v.use.Purpose) && v.masks[unit].PermitsItem(&v.product, []string{v.use.Purpose}, item)
	}
}

// signals are those asked for that the product declares, all where none are.
func (v *view) signals(asked []string) (out []fleet.Signal) {
	for _, s := range v.product.Signals {
		if asked == nil || slices.Contains(asked, s.Name) {
			out = append(out, s)
		}
	}
	return out
}

// unit reports whether anything of a unit may be read at all, be it only that
// it was heard of.
func (v *view) unit(key int64) bool {
	switch {
	case v.use.Own:
		return true
	case v.fleet != nil:
		return v.fleet.permits[key]
	case v.use.Shown:
		return slices.ContainsFunc(v.product.Purposes, func(q fleet.Purpose) bool { return v.masks[key].PermitsPurpose(&v.product, q.Name) })
	default:
		return v.masks[key].PermitsPurpose(&v.product, v.use.Purpose)
	}
}

// cut is what a query over many units comes to: the units of which something
// may be read, and of the others asked for, and those of which not everything
// may be read, which signals may.
type cut struct {
	units []int64
	part  map[int64]*part
	known map[int64]bool // the units looked at, where all were asked for; nil: those asked for are
}

// of is what may be read of a unit, nil for all: nothing of one that nobody
// looked at.
func (c *cut) of(unit int64) *part {
	p := c.part[unit]
	if p == nil && c.known != nil {
		if _, looked := c.known[unit]; !looked {
			return nobody
		}
	}
	return p
}

type part struct {
	none bool   // not even that it was heard of
	may  []bool // by place in the signals
}

func (v *view) cut(units []int64, signals []fleet.Signal, known map[int64]bool) (c cut) {
	c.known = known
	c.units = make([]int64, 0, len(units))
	may := make([]bool, len(signals))
	put := func(unit int64, p *part) {
		if c.part == nil {
			c.part = map[int64]*part{}
		}
		c.part[unit] = p
	}
	for _, unit := range units {
		if !v.unit(unit) {
			put(unit, nobody)
			continue
		}
		c.units = append(c.units, unit)
		whole := true
		for i, s := range signals {
			may[i] = v.may(unit, s)
			whole = whole && may[i]
		}
		if !whole {
			put(unit, &part{may: slices.Clone(may)})
		}
	}
	return c
}

var nobody = &part{none: true}

// narrow leaves out signals that no unit permits, so that the rest is read
// whole wherever units agree, as they do for one purpose.
func (v *view) narrow(units []int64, signals []fleet.Signal) []fleet.Signal {
	if v.use.Own {
		return signals
	}
	return slices.DeleteFunc(slices.Clone(signals), func(s fleet.Signal) bool {
		if v.use.Purpose != "" {
			return !slices.Contains(s.Purposes, v.use.Purpose)
		}
		return len(units) == 1 && !v.may(units[0], s)
	})
}

// everyone are the units asked for, all of the product where none are named.
func (h *History) everyone(ctx context.Context, v *view, asked []int64) (units []int64, known map[int64]bool, err error) {
	if asked != nil {
		return asked, nil, nil
	}
	if v.fleet != nil {
		known = v.fleet.permits
	} else if known, err = h.choices.Permits(ctx, v.product.Name, "", false); err != nil { // also those that never chose, and permit what is necessary
		return nil, nil, fmt.Errorf("read history: %w", err)
	}
	units = make([]int64, 0, len(known))
	for unit := range known {
		units = append(units, unit)
	}
	return units, known, nil
}

func names(signals []fleet.Signal) []string {
	out := make([]string, len(signals))
	for i, s := range signals {
		out[i] = s.Name
	}
	return out
}

// Replay is telemetry.History's, of what may be read: rows are told with the
// values that may be.
func (h *History) Replay(ctx context.Context, q telemetry.Query, fn func(row *telemetry.Stored, mark *telemetry.StoredMark) error) error {
	if q.Product == "" { // marks alone: they tell no sample
		return h.History.Replay(ctx, q, fn)
	}
	v, err := h.view(ctx, q.Product, q.Units)
	if err != nil {
		return err
	}
	if v.use.Own {
		return h.History.Replay(ctx, q, fn)
	}
	units, known, err := h.everyone(ctx, v, q.Units)
	if err != nil {
		return err
	}
	signals := v.narrow(units, v.signals(q.Signals))
	c := v.cut(units, signals, known)
	q.Signals = names(signals)
	if q.Units != nil {
		q.Units = c.units
	}
	if len(c.part) == 0 && known == nil {
		return h.History.Replay(ctx, q, fn)
	}
	place := make(map[string]int, len(signals))
	for i, s := range signals {
		place[s.Name] = i
	}
	var kept telemetry.Stored
	return h.History.Replay(ctx, q, func(row *telemetry.Stored, mark *telemetry.StoredMark) error {
		if row == nil {
			if p := c.of(mark.Unit); mark.Unit != 0 && p != nil && p.none {
				return nil
			}
			return fn(row, mark)
		}
		p := c.of(row.Unit)
		switch {
		case p == nil:
			return fn(row, nil)
		case p.none:
			return nil
		}
		values := kept.Values[:0]
		kept = *row
		for _, value := range row.Values {
			if i, ok := place[value.Signal]; ok && p.may[i] {
				values = append(values, value)
			}
		}
		kept.Values = values
		return fn(&kept, nil)
	})
}

// Latest is telemetry.History's, of what may be read.
func (h *History) Latest(ctx context.Context, product string, unit int64, signals ...string) (map[string]telemetry.Sample, error) {
	v, err := h.view(ctx, product, []int64{unit})
	if err != nil {
		return nil, err
	}
	if v.use.Own {
		return h.History.Latest(ctx, product, unit, signals...)
	}
	var may []string
	for _, s := range v.product.Signals {
		if (len(signals) == 0 || slices.Contains(signals, s.Name)) && v.may(unit, s) {
			may = append(may, s.Name)
		}
	}
	if len(may) == 0 {
		return map[string]telemetry.Sample{}, nil
	}
	return h.History.Latest(ctx, product, unit, may...)
}

// Series is telemetry.History's, of what may be read.
func (h *History) Series(ctx context.Context, product string, unit int64, signal string, from, to time.Time, buckets int) ([]telemetry.Point, error) {
	v, err := h.view(ctx, product, []int64{unit})
	if err != nil {
		return nil, err
	}
	s, declared := v.product.Signal(signal)
	if !v.use.Own && (!declared || !v.may(unit, s)) {
		return nil, nil
	}
	return h.History.Series(ctx, product, unit, signal, from, to, buckets)
}

// Windows is telemetry.History's, of what may be read.
func (h *History) Windows(ctx context.Context, q telemetry.WindowQuery, fn func(w *telemetry.Window) error) error {
	v, err := h.view(ctx, q.Product, q.Units)
	if err != nil {
		return err
	}
	if v.use.Own {
		return h.History.Windows(ctx, q, fn)
	}
	units, known, err := h.everyone(ctx, v, q.Units)
	if err != nil {
		return err
	}
	asked := make([]fleet.Signal, len(q.Signals)) // in the order asked: stats stand by place
	for i, name := range q.Signals {
		asked[i], _ = v.product.Signal(name)
	}
	c := v.cut(units, asked, known)
	if q.Units != nil {
		q.Units = c.units
	}
	if len(c.part) == 0 && known == nil {
		return h.History.Windows(ctx, q, fn)
	}
	var kept telemetry.Window
	return h.History.Windows(ctx, q, func(w *telemetry.Window) error {
		p := c.of(w.Unit)
		switch {
		case p == nil:
			return fn(w)
		case p.none:
			return nil
		}
		kept = telemetry.Window{Unit: w.Unit, At: w.At, Stats: append(kept.Stats[:0], w.Stats...)}
		has := false
		for i := range kept.Stats {
			if !p.may[i] {
				kept.Stats[i] = telemetry.Stat{}
			}
			has = has || kept.Stats[i] != telemetry.Stat{}
		}
		if !has {
			return nil
		}
		return fn(&kept)
	})
}

// Events is telemetry.History's, of what may be read.
func (h *History) Events(ctx context.Context, q telemetry.EventQuery) ([]telemetry.StoredEvent, error) {
	v, err := h.view(ctx, q.Product, []int64{q.Unit})
	if err != nil {
		return nil, err
	}
	if asked := q.Allow; !v.use.Own {
		q.Allow = func(kind telemetry.EventKind, name string) bool {
			d, ok := v.product.Event(kind.String(), name)
			return ok && (asked == nil || asked(kind, name)) && v.mayItem(q.Unit, d.Purposes, consent.EventItem(&v.product, kind.String(), name))
		}
	}
	return h.History.Events(ctx, q)
}

// Export is telemetry.History's, of what may be read.
func (h *History) Export(ctx context.Context, q telemetry.ExportQuery, file string) (rows int64, err error) {
	keys := make([]int64, len(q.Units))
	for i, u := range q.Units {
		keys[i] = u.Key
	}
	v, err := h.view(ctx, q.Product, keys)
	if err != nil {
		return 0, err
	}
	units := q.Units
	q.Units = nil
	for _, u := range units {
		u.Signals = slices.DeleteFunc(slices.Clone(u.Signals), func(name string) bool {
			s, ok := v.product.Signal(name)
			return !v.use.Own && (!ok || !v.may(u.Key, s))
		})
		if len(u.Signals) > 0 {
			q.Units = append(q.Units, u)
		}
	}
	return h.History.Export(ctx, q, file)
}
