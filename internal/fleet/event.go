package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// The kinds of events that a product declares, by the names units send.
const (
	EventFeature = "feature" // a feature was used
	EventFault   = "fault"   // a fault code was set or cleared
	EventLog     = "log"     // a line of the unit's log
)

// EventKinds are all of them, and LogLevels those of log lines, the least first.
var (
	EventKinds = []string{EventFeature, EventFault, EventLog}
	LogLevels  = []string{"debug", "info", "warn", "error", "fatal"}
)

// Feature is a capability that owners use. Without purposes its use is not
// recorded.
type Feature struct {
	Name        string   `json:"name"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Purposes    []string `json:"purposes,omitempty" doc:"Names of the purposes its use may be recorded for; without any, its events are counted and dropped."`
	Retention   Duration `json:"retention,omitempty" doc:"How long history keeps its events, as 90d; needed with purposes."`
}

// Fault is a fault code that units report, or all those of a pattern.
type Fault struct {
	Code        string   `json:"code" doc:"As units send it, as P0301; * stands for any characters, as P03*. The first entry that fits applies."`
	Title       string   `json:"title" doc:"What it means, as \"Relay welded\"."`
	Description string   `json:"description,omitempty"`
	Severity    string   `json:"severity" enum:"warning,minor,major,critical"`
	Purposes    []string `json:"purposes" doc:"Names of the purposes it may be kept for; it is kept when one of them is permitted."`
	Retention   Duration `json:"retention" doc:"How long history keeps it, as 365d."`
}

// Log says what of units' logs is kept.
type Log struct {
	Level     string   `json:"level" enum:"debug,info,warn,error,fatal" doc:"Least level that is kept; lines below are counted as undeclared and dropped."`
	Purposes  []string `json:"purposes" doc:"Names of the purposes lines may be kept for; they are kept when one of them is permitted."`
	Retention Duration `json:"retention" doc:"How long history keeps them, as 30d."`
}

// EventDeclaration is what a product says of events of one kind and name.
type EventDeclaration struct {
	Title     string
	Severity  string // of a fault
	Purposes  []string
	Retention Duration
}

// Event finds what is declared of events of a kind and name: the name of a
// feature or a fault code; log lines are one, whatever their name.
func (p *Product) Event(kind, name string) (EventDeclaration, bool) {
	switch kind {
	case EventFeature:
		for _, f := range p.Features {
			if f.Name == name {
				return EventDeclaration{Title: f.Title, Purposes: f.Purposes, Retention: f.Retention}, true
			}
		}
	case EventFault:
		if i := p.FaultIndex(name); i >= 0 {
			f := p.Faults[i]
			return EventDeclaration{f.Title, f.Severity, f.Purposes, f.Retention}, true
		}
	case EventLog:
		if p.Log != nil {
			return EventDeclaration{Purposes: p.Log.Purposes, Retention: p.Log.Retention}, true
		}
	}
	return EventDeclaration{}, false
}

// FaultIndex is that of the first declared fault that a code fits, -1 for none.
func (p *Product) FaultIndex(code string) int {
	return slices.IndexFunc(p.Faults, func(f Fault) bool { return fits(f.Code, code) })
}

// fits reports whether a code is of a pattern, in which * stands for any
// characters.
func fits(pattern, code string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == code
	}
	code, ok := strings.CutPrefix(code, head)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	for _, part := range parts[:len(parts)-1] {
		_, after, found := strings.Cut(code, part)
		if !found {
			return false
		}
		code = after
	}
	return strings.HasSuffix(code, parts[len(parts)-1])
}

// MaxEventName bounds the name of an event, in bytes of printable ASCII.
const MaxEventName = 64

func (m *mistakes) events(p *Product) {
	seen := map[string]bool{}
	for i, f := range p.Features {
		at := fmt.Sprintf("spec.features[%d]", i)
		m.name(at+".name", f.Name, false, seen)
		m.text(at+".title", f.Title)
		if len(f.Purposes) > 0 || f.Retention != 0 {
			m.kept(at, p, f.Purposes, f.Retention)
		}
	}
	seen = map[string]bool{}
	for i, f := range p.Faults {
		at := fmt.Sprintf("spec.faults[%d]", i)
		switch {
		case f.Code == "" || len(f.Code) > MaxEventName || strings.ContainsFunc(f.Code, func(r rune) bool { return r <= ' ' || r > '~' }):
			m.add(at+".code", "a code of 1 to 64 printable characters without blanks; * stands for any", f.Code)
		case seen[f.Code]:
			m.add(at+".code", "a code used once in this list", f.Code)
		case p.FaultIndex(f.Code) < i && !strings.Contains(f.Code, "*"):
			m.add(at+".code", "a place before "+p.Faults[p.FaultIndex(f.Code)].Code+": the first that fits applies", f.Code)
		}
		seen[f.Code] = true
		m.text(at+".title", f.Title)
		if !slices.Contains([]string{"warning", "minor", "major", "critical"}, f.Severity) {
			m.add(at+".severity", "warning, minor, major or critical", f.Severity)
		}
		m.kept(at, p, f.Purposes, f.Retention)
	}
	if p.Log != nil {
		if !slices.Contains(LogLevels, p.Log.Level) {
			m.add("spec.log.level", strings.Join(LogLevels[:4], ", ")+" or fatal", p.Log.Level)
		}
		m.kept("spec.log", p, p.Log.Purposes, p.Log.Retention)
	}
}
