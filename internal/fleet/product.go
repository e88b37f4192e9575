// Package fleet holds what is sold and who has it: products with the
// declarations of their signals, features, parameters, tolerances and
// purposes; units with their components, versions and credentials; owners and
// operators.
package fleet

import (
	"slices"
	"time"
)

// ValueType is the type of a signal's values.
type ValueType string

// The types a signal may have.
const (
	Number  ValueType = "number"
	Boolean ValueType = "boolean"
	Text    ValueType = "text"
)

// Product is a model: what every unit of it reports, can do and must keep to.
// It is declared in a file of kind Product.
type Product struct {
	Name        string      `json:"-"`
	Title       string      `json:"title" doc:"What owners call it, as \"Wall charger\"."`
	Description string      `json:"description,omitempty"`
	Purposes    []Purpose   `json:"purposes" doc:"Why data is collected."`
	Notice      *Notice     `json:"notice,omitempty" doc:"What owners read before they choose. Without it they read the purposes and signals, under a version that is their fingerprint."`
	Signals     []Signal    `json:"signals" doc:"What units report. Anything else is counted and dropped."`
	Features    []Feature   `json:"features,omitempty"`
	Faults      []Fault     `json:"faults,omitempty" doc:"Fault codes that units report. Others are counted and dropped."`
	Log         *Log        `json:"log,omitempty" doc:"What of units' logs is kept. Without it nothing is."`
	Parameters  []Parameter `json:"parameters,omitempty"`
	Tolerances  []Tolerance `json:"tolerances,omitempty"`
	Mappings    []Mapping   `json:"mappings,omitempty" doc:"How messages in other platforms' shapes are read."`
	Relays      []string    `json:"relays,omitempty" doc:"Units that may send for all units of this product, as a LoRaWAN network server does. A message on a topic with {unit} is then that unit's. Nobody may without."`
	Feeds       []Feed      `json:"feeds,omitempty" doc:"Outside context that tips may ask for, as weather."`
	Help        *Help       `json:"help,omitempty" doc:"How owners reach the maker, and answers to what they ask most."`
	InUse       *InUse      `json:"inUse,omitempty" doc:"When a unit is in use: no update starts meanwhile."`
	Limits      *Limits     `json:"limits,omitempty" doc:"How fast samples are taken. Senders beyond are slowed; nothing is lost."`
	// SampleGap caps the time that one sample stands for, in hold times and
	// exposure: a longer silence between two samples counts as no evidence.
	SampleGap Duration `json:"sampleGap,omitempty" doc:"Longest time one sample stands for (default 1h)."`
}

// InUse says when a unit of a product is in use.
type InUse struct {
	When string   `json:"when" doc:"CEL over signals that holds while it is used, as current >= 1.0."`
	Age  Duration `json:"age,omitempty" doc:"Values older than this say nothing, and no update starts (default 15m)."`
}

// Stale is how old values may be that tell of use.
func (u *InUse) Stale() time.Duration {
	if u.Age > 0 {
		return time.Duration(u.Age)
	}
	return 15 * time.Minute
}

// Limits bound how many samples and events are taken a second (token buckets);
// 0 stands for the default.
type Limits struct {
	UnitRate     float64 `json:"unitRate,omitempty" minimum:"0" doc:"Samples a second of one unit (default: the service's --unit-rate)."`
	UnitBurst    int     `json:"unitBurst,omitempty" minimum:"0" doc:"Samples of one unit at once, as after days offline (default: 5 seconds' worth)."`
	ProductRate  float64 `json:"productRate,omitempty" minimum:"0" doc:"Samples a second of all units together (default: any)."`
	ProductBurst int     `json:"productBurst,omitempty" minimum:"0" doc:"Samples of all units at once (default: 5 seconds' worth)."`
}

// Basis is the ground on which a purpose may be served.
type Basis string

// Consent is a switch the owner holds; Necessary is shown with its reason and has no switch.
const (
	BasisConsent   Basis = "consent"
	BasisNecessary Basis = "necessary"
)

// Purpose is why data is collected (W3C DPV purpose).
type Purpose struct {
	Name        string `json:"name"`
	Title       string `json:"title" doc:"Shown to owners beside the switch."`
	Description string `json:"description" doc:"In plain words: what for, and for a necessary purpose why it cannot be switched off."`
	Basis       Basis  `json:"basis" enum:"consent,necessary"`

	OnWithdrawal string                  `json:"onWithdrawal,omitempty" enum:"erase,keep" doc:"What becomes of what was collected when consent is withdrawn: erase (default), or keep where a law requires it; nobody but the owner reads what is kept."`
	KeepReason   string                  `json:"keepReason,omitempty" doc:"With keep: the law that requires it, in words that owners understand."`
	Texts        map[string]PurposeWords `json:"texts,omitempty" doc:"The words in other languages (BCP 47), for each that the notice has."`
}

// Signal is a typed value with a unit of measure (COVESA VSS, SenML).
type Signal struct {
	Name        string    `json:"name"`
	Title       string    `json:"title,omitempty"`
	Type        ValueType `json:"type" enum:"number,boolean,text"`
	Unit        string    `json:"unit,omitempty" doc:"UCUM code, as Cel, A, V, kW.h, %."`
	Purposes    []string  `json:"purposes" doc:"Names of the purposes it may be kept for; it is kept when one of them is permitted."`
	Retention   Duration  `json:"retention" doc:"How long history keeps it, as 90d."`
	Description string    `json:"description"`
	Sources     []Source  `json:"sources,omitempty" doc:"Names it has in SenML, InfluxDB line protocol or OTLP, where its own does not do."`

	Every Duration               `json:"every,omitempty" doc:"How often a unit reports it, as 10s, for the data sheet; absent: when it changes."`
	Texts map[string]SignalWords `json:"texts,omitempty" doc:"Title and description in other languages (BCP 47)."`
}

// Tolerance is the band a signal belongs in, by operating context. The first
// band whose When holds applies; where none holds the signal is not judged.
// With Rate it bounds the signal's change, not its value; with Breach it is a
// condition over several signals in place of one signal's bands.
type Tolerance struct {
	Name        string   `json:"name"`
	Signal      string   `json:"signal,omitempty" doc:"The signal that the bands bound."`
	Description string   `json:"description,omitempty"`
	Rate        Duration `json:"rate,omitempty" doc:"The bands bound by how much the signal changes within this time, rather than its value."`
	Breach      string   `json:"breach,omitempty" doc:"CEL over signals that holds when the unit is outside, as plug_temperature - ambient > 40.0 && current < 1.0; in place of signal and bands."`
	Bands       []Band   `json:"bands,omitempty"`
}

// Band bounds a signal while When (CEL over the unit's latest signals; empty: always) holds.
type Band struct {
	When string   `json:"when,omitempty" doc:"CEL over signals, as current >= 16.0."`
	Min  *float64 `json:"min,omitempty"`
	Max  *float64 `json:"max,omitempty"`
}

// Signal finds a declared signal by name.
func (p *Product) Signal(name string) (Signal, bool) {
	for _, s := range p.Signals {
		if s.Name == name {
			return s, true
		}
	}
	return Signal{}, false
}

// Purpose finds a declared purpose by name.
func (p *Product) Purpose(name string) (Purpose, bool) {
	for _, q := range p.Purposes {
		if q.Name == name {
			return q, true
		}
	}
	return Purpose{}, false
}

// HasParameter reports whether a parameter is declared.
func (p *Product) HasParameter(name string) bool {
	return slices.ContainsFunc(p.Parameters, func(q Parameter) bool { return q.Name == name })
}

// HasFeature reports whether a feature is declared.
func (p *Product) HasFeature(name string) bool {
	return slices.ContainsFunc(p.Features, func(f Feature) bool { return f.Name == name })
}

// Tolerance finds a declared tolerance by name.
func (p *Product) Tolerance(name string) (Tolerance, bool) {
	for _, t := range p.Tolerances {
		if t.Name == name {
			return t, true
		}
	}
	return Tolerance{}, false
}

// Gap is SampleGap, or its default of one hour.
func (p *Product) Gap() time.Duration {
	if p.SampleGap > 0 {
		return time.Duration(p.SampleGap)
	}
	return time.Hour
}
