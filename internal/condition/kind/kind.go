// Package kind is what kinds of detectors stand behind: what a detector
// declares (Detector), what an instance of a kind is given and asked (Rule,
// State, Watch), and where it says what it has found (Desk, Finding).
//
// A kind lives in a package of its own beside this one: tolerance, silence,
// ... To add one: add its Type and its fields to Detector and to owned, write
// a package that has a Compile function, and name it in the table of kinds in
// package condition. The property tests of package condition run every kind in
// that table.
//
// An instance of a kind (a Rule) is one version of one detector in one
// evaluator. It is a function of the stream: it reads no clock, draws no
// random numbers and keeps nothing of units but their State, so that the same
// rows and marks in the same order give the same findings live, after kill -9
// and in a backtest, and nothing that comes later changes what was said
// before. Everything runs on one goroutine. Times are Unix milliseconds.
package kind

import (
	"fettle.dev/fettle/internal/condition/expression"
	"fettle.dev/fettle/internal/detect"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Kind is an entry of the table of kinds.
type Kind struct {
	// Compile makes d ready to run on units of p. What is wrong with d goes to
	// c, with paths as they stand in its file; the Rule is then not used. Of the
	// product only what Basis holds may be relied on: a later change of the
	// product must not change a version that a campaign has frozen.
	Compile func(c *Checks, p *fleet.Product, d *Detector, b Basis) Rule
	// Basis adds what d takes from p as p now stands; may be nil.
	Basis func(p *fleet.Product, d *Detector, b *Basis)
	// Rows says that it is told rows, and so counts exposure.
	Rows bool
	// Contacts says that it is told contacts.
	Contacts bool
	// Apart says that a State is looked at when its own unit's rows and marks
	// are taken in, and never else: Join and Leave do not look at it, no timer
	// is set, and nothing is gathered. It may be out of memory in between.
	Apart bool
}

// Rule is a detector version ready to run on units of its product. Embed Base
// for what a kind has no use for.
type Rule interface {
	// Bind looks up where the signals stand that the rule reads, once, before
	// anything else: values are found at these places in Unit.Values.
	Bind(b *Binder)
	// New is the state of a unit that is watched from here on.
	New() State
	// Decode reads what Encode of a State wrote in this or an earlier version.
	// Data of a later version is an error (see ReadState).
	Decode(data []byte) (State, error)

	// Join is told of each watch when it begins, after a reset, and when it is
	// read back after a restart (its State is then what it was, and its Finding
	// is set if one was open): the place to set its timer with Desk.Wake, for
	// timers are not kept. The order of units is not defined after a restart.
	Join(d *Desk, w *Watch)
	// Leave is told when it ends: consent withdrawn, retired, or a reset, which
	// Join follows with a new State. What it has open is closed already.
	Leave(d *Desk, w *Watch)

	// Row takes a row in order: its event time is that of the unit's newest
	// values, which stand in w.Unit.Values, or that of a row that came in
	// several parts. Judged says that it could be judged, whether sound or not.
	Row(d *Desk, w *Watch, r *telemetry.Row) (judged bool)
	// Late takes a row that is older than the unit's newest: values holds what
	// the row has by place (At is expression.Never for the rest). It may say
	// what is past (Desk.Past); it must not change what was said.
	Late(d *Desk, w *Watch, r *telemetry.Row, values []expression.Reading)
	// Contact takes in that the unit was heard of, by a row or otherwise, at a
	// receive time. Rows follow it.
	Contact(d *Desk, w *Watch, at int64)
	// Due is called when the time that Desk.Wake was told has come, by the
	// first tick at or after it. Contacts do not cancel it: look whether it is
	// still so, and Wake again.
	Due(d *Desk, w *Watch, at int64)
	// Resets says whether a mark makes the watch begin anew: what is open is
	// closed, the state is dropped and exposure counts from zero. It is asked
	// for version reports and maintenance. Enrolment, which a change of owner is,
	// retirement and consent always do.
	Resets(m *telemetry.Mark) bool
}

// Away is a State that knows that its unit is silent.
type Away interface{ SilentSince() int64 } // receive time; 0: it is not

// State is what a rule keeps of one unit: data, and nothing that points to the
// rule, which is made anew when the product changes.
type State interface {
	// Encode appends the state in a versioned encoding: a version byte first.
	// Equal states give equal bytes.
	Encode(b []byte) []byte
}

// Gatherer is a Rule that looks at units together: it keeps something of all
// of them, and may find what concerns a place rather than a unit
// (Desk.OpenPlace) or compares units (Desk.Open on any of its watches). What
// it can gather anew from units' states by Join it need not encode: keep the
// rest small, it is written with every commit. Say with Desk.Gathered that it
// has changed, other than by a Tick.
type Gatherer interface {
	Rule
	// Tick is told that time has come to at, after all timers due by then.
	Tick(d *Desk, at int64)
	// EncodeGroup and DecodeGroup are like Encode and Decode of a State, of the
	// rule itself; DecodeGroup comes before the first Join, or never.
	EncodeGroup(b []byte) []byte
	DecodeGroup(data []byte) error
}

// Heir is a Rule whose states outlive a reset in part: Inherit gives what the
// watch begins anew with. Old is not used again.
type Heir interface {
	Inherit(old State, m *telemetry.Mark) State
}

// Base is a Rule that does nothing of what a kind may leave out.
type Base struct{}

// Bind reads no signals.
func (Base) Bind(*Binder) {}

// Join sets no timer.
func (Base) Join(*Desk, *Watch) {}

// Leave has nothing to forget.
func (Base) Leave(*Desk, *Watch) {}

// Row judges nothing.
func (Base) Row(*Desk, *Watch, *telemetry.Row) bool { return false }

// Late judges nothing.
func (Base) Late(*Desk, *Watch, *telemetry.Row, []expression.Reading) {}

// Contact has no bearing.
func (Base) Contact(*Desk, *Watch, int64) {}

// Due is never asked for.
func (Base) Due(*Desk, *Watch, int64) {}

// Resets on every mark that it is asked for.
func (Base) Resets(*telemetry.Mark) bool { return true }

// Unit is what every rule sees of a unit.
type Unit struct {
	Key        int64
	ID         string
	Product    string
	Attributes map[string]string    // hardware, batch, region and the declared attributes
	Versions   map[string]string    // software by component, as the stream told
	Values     []expression.Reading // newest value by place, see Rule.Bind
	Lag        int64                // least time between event and receipt: the difference of the clocks, and the way

	dirty bool
}

// Bound is a rule with the detector version that it is of.
type Bound struct {
	Detector *Detector
	Product  string
	Rule     Rule
	Places   map[string]*Finding // open ones of places
}

// Watch is one unit under one rule.
type Watch struct {
	Unit     *Unit
	Bound    *Bound
	State    State
	Since    int64           // receive time of the last reset
	Newest   int64           // event time of the newest row judged; receive time of the newest contact, for a kind told contacts alone
	Exposure detect.Exposure // of judged use since the reset
	Finding  *Finding        // open; nil: none

	due int64 // of its timer; 0: none
}

// Binder finds places for signals, and shares expressions between rules.
type Binder struct {
	Index func(signal string) int
	asked map[question]*expression.Expression
}

type question struct {
	source string
	gap    int64
}

// Share gives the expression that asks the same as x with the same gap, bound,
// so that it is run once a row for all rules; nil for nil.
func (b *Binder) Share(x *expression.Expression, gap int64) *expression.Expression {
	if x == nil {
		return nil
	}
	q := question{x.Source, gap}
	if b.asked == nil {
		b.asked = map[question]*expression.Expression{}
	}
	if b.asked[q] == nil {
		x.Bind(b.Index)
		b.asked[q] = x
	}
	return b.asked[q]
}
