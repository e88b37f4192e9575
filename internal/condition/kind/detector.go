package kind

import (
	"slices"
	"strings"

	single "fettle.dev/fettle/internal/condition/kind/spec"
	"fettle.dev/fettle/internal/condition/prognosis/spec"
	"fettle.dev/fettle/internal/fleet"
)

// Type is the kind of rule.
type Type string

// Tolerance judges a signal against a band by operating context; Silence finds
// units that stop reporting; Anomaly finds what a unit never did before; Trend foresees when a signal reaches a limit; Peers
// compares units with their like; Prognosis foresees failures and is not run by the
// Evaluator but by package prognosis, on history and maintenance records.
const (
	TypeTolerance Type = "tolerance"
	TypeSilence   Type = "silence"
	TypePrognosis Type = "prognosis"
	TypeTrend     Type = "trend"
	TypePeers     Type = "peers"
	TypeAnomaly   Type = "anomaly"
)

// Severity orders findings (X.733 perceived severity, without indeterminate).
type Severity string

// The severities, mildest first.
const (
	Warning  Severity = "warning"
	Minor    Severity = "minor"
	Major    Severity = "major"
	Critical Severity = "critical"
)

// Detector is a versioned rule, declared in a file of kind Detector. Applying
// a changed definition makes a new Version; the old one goes on only where a
// campaign has frozen it.
type Detector struct {
	Name    string `json:"-"`
	Version int    `json:"-"`
	// Basis is what of the product it rests on, as it was when this version was made; nil: as the product has it.
	Basis *Basis `json:"-"`

	Product     string `json:"product"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	// Texts are the title and description by language (BCP 47), for owners.
	Texts    map[string]Words `json:"texts,omitempty" doc:"Title and description in other languages, by BCP 47 tag as de: owners read them in the portal."`
	Type     Type             `json:"type" enum:"tolerance,silence,anomaly,trend,peers,prognosis"`
	Severity Severity         `json:"severity" enum:"warning,minor,major,critical"`
	Purpose  string           `json:"purpose" doc:"The purpose it reads data for; a unit that does not permit it is withheld."`

	// Tolerance detectors.
	Tolerance  string         `json:"tolerance,omitempty" doc:"Name of a tolerance of the product."`
	Hold       fleet.Duration `json:"hold,omitempty" doc:"How long the signal must stay outside before a finding opens, in event time (default 0: at once). Of a silence detector: added to the learned interval (default 10m)."`
	Margin     float64        `json:"margin,omitempty" doc:"How far beyond the tolerance's limits counts as outside, in the signal's unit: moves every limit outwards, or inwards if negative (default 0)."`
	Hysteresis float64        `json:"hysteresis,omitempty" doc:"How far inside the band the signal must return to count as inside again, in the signal's unit."`
	Clear      fleet.Duration `json:"clear,omitempty" doc:"How long it must stay inside, in judged time, before the finding clears (default 0: at once)."`
	Window     fleet.Duration `json:"window,omitempty" doc:"With share or count: the time before each reading that they look at, in steps of a 32nd."`
	Share      float64        `json:"share,omitempty" doc:"Opens when the signal was outside for this percentage of the window (0 to 100), in place of lying outside now."`
	Count      int            `json:"count,omitempty" doc:"Opens when so many readings within the window lay outside, in place of lying outside now."`
	Exposure   string         `json:"exposure,omitempty" doc:"CEL over signals: the use that could show the fault. Its hours are counted for verification. Declared apart from the tolerance's context, so that a remedy cannot empty it. Default: always."`

	// Silence detectors.
	Factor  float64        `json:"factor,omitempty" doc:"Silent after this many times the unit's learned interval, and hold (default 2)."`
	GroupBy []string       `json:"groupBy,omitempty" doc:"Attributes whose units may fall silent together, as [site, gateway]: that is one finding. All units of the product always may."`
	Minimum fleet.Duration `json:"minimum,omitempty" doc:"Never sooner than this."`
	Maximum fleet.Duration `json:"maximum,omitempty" doc:"Never later than this, also before an interval is learned (default 7d)."`

	Trend     *single.Trend   `json:"trend,omitempty" doc:"Of a trend detector: what it foresees."`
	Anomaly   *single.Anomaly `json:"anomaly,omitempty" doc:"Of an anomaly detector: what it watches. May be left out."`
	Peers     *single.Peers   `json:"peers,omitempty" doc:"Of a peers detector: what it compares, and with whom."`
	Prognosis *spec.Prognosis `json:"prognosis,omitempty" doc:"Of a prognosis detector: what it foresees, and from what."`
}

// Words are what people call a finding, and what it means.
type Words struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
}

// Words are the detector's words in a language: its own where it has none.
func (d *Detector) Words(locale string) Words {
	base, _, _ := strings.Cut(locale, "-")
	for _, l := range []string{locale, base} {
		if w, ok := d.Texts[l]; ok {
			return w
		}
	}
	return Words{d.Title, d.Description}
}

// Ref is name@version.
type Ref struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// Ref names this version of the detector.
func (d *Detector) Ref() Ref { return Ref{d.Name, d.Version} }

// Basis is what a detector version takes from its product, kept with the
// version: a later change of the product makes a new version and leaves a
// frozen one as it was.
type Basis struct {
	Tolerance fleet.Tolerance `json:"tolerance,omitzero"`
	Gap       fleet.Duration  `json:"gap"`
	Signals   []string        `json:"signals,omitempty"` // of an anomaly detector that names none
}

// owned are the fields that only detectors of some types have.
var owned = []struct {
	path  string
	types []Type
	set   func(d *Detector) bool
}{
	{"spec.tolerance", []Type{TypeTolerance}, func(d *Detector) bool { return d.Tolerance != "" }},
	{"spec.hold", []Type{TypeTolerance, TypeSilence}, func(d *Detector) bool { return d.Hold != 0 }},
	{"spec.margin", []Type{TypeTolerance}, func(d *Detector) bool { return d.Margin != 0 }},
	{"spec.hysteresis", []Type{TypeTolerance}, func(d *Detector) bool { return d.Hysteresis != 0 }},
	{"spec.window", []Type{TypeTolerance}, func(d *Detector) bool { return d.Window != 0 }},
	{"spec.share", []Type{TypeTolerance}, func(d *Detector) bool { return d.Share != 0 }},
	{"spec.count", []Type{TypeTolerance}, func(d *Detector) bool { return d.Count != 0 }},
	{"spec.clear", []Type{TypeTolerance}, func(d *Detector) bool { return d.Clear != 0 }},
	{"spec.exposure", []Type{TypeTolerance, TypeAnomaly, TypeTrend, TypePeers}, func(d *Detector) bool { return d.Exposure != "" }},
	{"spec.factor", []Type{TypeSilence}, func(d *Detector) bool { return d.Factor != 0 }},
	{"spec.groupBy", []Type{TypeSilence}, func(d *Detector) bool { return len(d.GroupBy) > 0 }},
	{"spec.minimum", []Type{TypeSilence}, func(d *Detector) bool { return d.Minimum != 0 }},
	{"spec.maximum", []Type{TypeSilence}, func(d *Detector) bool { return d.Maximum != 0 }},
	{"spec.trend", []Type{TypeTrend}, func(d *Detector) bool { return d.Trend != nil }},
	{"spec.anomaly", []Type{TypeAnomaly}, func(d *Detector) bool { return d.Anomaly != nil }},
	{"spec.peers", []Type{TypePeers}, func(d *Detector) bool { return d.Peers != nil }},
	{"spec.prognosis", []Type{TypePrognosis}, func(d *Detector) bool { return d.Prognosis != nil }},
}

// Absent checks that d has no field of other types.
func (c *Checks) Absent(d *Detector) {
	for _, o := range owned {
		if o.set(d) && !slices.Contains(o.types, d.Type) {
			names := Each(o.types, func(t Type) string { return string(t) })
			c.Add(o.path, "nothing: only detectors of type "+strings.Join(names, " or ")+" have it", "")
		}
	}
}

// Types names the types for people.
func Types() string { return "tolerance, silence, anomaly, trend, peers or prognosis" }

var severities = map[Severity]int{Warning: 1, Minor: 2, Major: 3, Critical: 4}

// rank orders severities, mildest lowest; 0 for none.
func rank(s Severity) int { return severities[s] }

// AtLeast reports whether s is as severe as least; "" is below all.
func (s Severity) AtLeast(least Severity) bool { return rank(s) >= rank(least) }
