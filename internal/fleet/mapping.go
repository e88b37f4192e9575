package fleet

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/fault"
)

// Mapping reads messages that units send in another platform's shape: which
// topics they come on, and where in them time, samples and versions stand. It
// never says who a unit is: that follows from the credential.
type Mapping struct {
	Name  string `json:"name"`
	Topic string `json:"topic" doc:"Template of the MQTT topics. A level is a word, {unit} (the unit's own id, else the message is refused), {name} (paths can read it) or + (any); the last may be # (any rest) or {properties} (a URL-encoded property bag)."`
	// Each is a JSON Pointer; the payload itself may be an array, too.
	Each     string         `json:"each,omitempty" doc:"JSON Pointer to the object that is the message, or to an array of them; without it the payload."`
	Time     *MappedTime    `json:"time,omitempty" doc:"When it was measured. Without it, or where it is missing or null, when it was received."`
	Sequence string         `json:"sequence,omitempty" doc:"Path of the unit's own message number, which tells messages of the same time apart."`
	Signals  []MappedSignal `json:"signals,omitempty"`
	Members  *string        `json:"members,omitempty" doc:"Path of an object whose other members are samples, named as the signals; the message itself is \"\". Undeclared ones are counted and dropped."`
	// Versions holds a path by component.
	Versions map[string]string `json:"versions,omitempty" doc:"Path of the version by component, as software; reported when it changes."`
	Ignore   bool              `json:"ignore,omitempty" doc:"Messages are acknowledged, counted and not read, and subscriptions are granted and never served: for requests of the other platform's clients that nobody answers here."`
}

// The forms of an event time.
const (
	TimeMillis  = "ms"
	TimeSeconds = "s"
	TimeMicros  = "us"
	TimeNanos   = "ns"
	TimeRFC3339 = "rfc3339"
)

var timeForms = []string{TimeMillis, TimeSeconds, TimeMicros, TimeNanos, TimeRFC3339}

// MappedTime is where an event time stands and what it counts since 1970.
type MappedTime struct {
	Path string `json:"path" doc:"JSON Pointer in the message, as /ts, or in the payload, as #/time, or a level or property of the topic, as {name} or {properties.name}."`
	Form string `json:"form" enum:"ms,s,us,ns,rfc3339" doc:"Unix time in milliseconds, seconds, microseconds or nanoseconds, or text as RFC 3339."`
}

// MappedSignal is where a signal's samples stand, and what is made of them.
type MappedSignal struct {
	Signal string         `json:"signal"`
	Path   string         `json:"path" doc:"As a time's. A sample that is missing or null is no sample."`
	Scale  *float64       `json:"scale,omitempty" doc:"A number is multiplied by it first (default 1)."`
	Offset float64        `json:"offset,omitempty" doc:"Added to a number then."`
	Words  map[string]any `json:"words,omitempty" doc:"What is stored for a word, number or boolean that is sent. Others are counted as invalid."`
}

// ThingsBoard's topics have its own shapes, so a mapping of them says nothing
// of arrays and time.
var thingsBoard = []string{"v1/devices/me/telemetry", "v1/devices/me/attributes", "v2/t", "v2/a"}

// ThingsBoardTopics are the topics that are read in ThingsBoard's shapes:
// telemetry and client attributes, each also by its short name.
func ThingsBoardTopics() []string { return slices.Clone(thingsBoard) }

// ThingsBoard reports whether the mapping is of one of those.
func (m *Mapping) ThingsBoard() bool { return slices.Contains(thingsBoard, m.Topic) }

// The bounds of a product's mappings.
const (
	maxMappings      = 32
	maxMappedSignals = 512
	maxWords         = 256
	maxRelays        = 64
)

// ValidateMappings finds the mistakes in a product's mappings, and in who may
// send for its units.
func ValidateMappings(p *Product) []fault.Field {
	var m mistakes
	m.mappings(p)
	return m
}

func (m *mistakes) mappings(p *Product) {
	if len(p.Mappings) > maxMappings {
		m.add("spec.mappings", fmt.Sprintf("at most %d mappings", maxMappings), len(p.Mappings))
		return
	}
	names, topics := map[string]bool{}, map[string]bool{}
	for i := range p.Mappings {
		at := fmt.Sprintf("spec.mappings[%d]", i)
		m.name(at+".name", p.Mappings[i].Name, false, names)
		if topics[p.Mappings[i].Topic] {
			m.add(at+".topic", "each topic once", p.Mappings[i].Topic)
		}
		topics[p.Mappings[i].Topic] = true
		m.mapping(at, p, &p.Mappings[i])
	}
	if len(p.Relays) > maxRelays {
		m.add("spec.relays", fmt.Sprintf("at most %d units", maxRelays), len(p.Relays))
		return
	}
	for i, id := range p.Relays {
		if !serialPattern.MatchString(id) || slices.Contains(p.Relays[:i], id) {
			m.add(fmt.Sprintf("spec.relays[%d]", i), "the id of a unit, once", id)
		}
	}
}

func (m *mistakes) mapping(at string, p *Product, g *Mapping) {
	topic, err := ParseTopic(g.Topic)
	switch {
	case err != nil:
		m.add(at+".topic", "a topic template: "+err.Error(), g.Topic)
	case g.Topic == "#" || g.Topic == "fettle" || strings.HasPrefix(g.Topic, "fettle/"):
		m.add(at+".topic", "a topic other than Fettle's own (fettle/…)", g.Topic)
	}
	path := func(at, s string) {
		q, wrong := ParsePath(s)
		switch {
		case wrong != nil:
			m.add(at, wrong.Error(), s)
		case err != nil:
		case q.Level != "" && !topic.Names(q.Level):
			m.add(at, "a level of the topic "+g.Topic, s)
		case q.Property != "" && !topic.Names(topicProperties):
			m.add(at, "a topic that ends in {properties}", s)
		}
	}
	if g.Ignore {
		if g.Each != "" || g.Time != nil || g.Sequence != "" || len(g.Signals) > 0 || g.Members != nil || len(g.Versions) > 0 {
			m.add(at+".ignore", "either ignore, or what is read", nil)
		}
		return
	}
	if g.ThingsBoard() {
		const fixed = "nothing: ThingsBoard's messages say it themselves, and paths begin at their keys"
		if g.Each != "" {
			m.add(at+".each", fixed, g.Each)
		}
		if g.Time != nil {
			m.add(at+".time", fixed, g.Time.Path)
		}
		if g.Sequence != "" {
			m.add(at+".sequence", fixed, g.Sequence)
		}
	}
	if q, err := ParsePath(g.Each); err != nil || q.Payload || q.Level != "" || q.Property != "" {
		m.add(at+".each", "a JSON Pointer, as /records", g.Each)
	}
	if t := g.Time; t != nil {
		path(at+".time.path", t.Path)
		if !slices.Contains(timeForms, t.Form) {
			m.add(at+".time.form", "ms, s, us, ns or rfc3339", t.Form)
		}
	}
	if g.Sequence != "" {
		path(at+".sequence", g.Sequence)
	}
	if len(g.Signals) == 0 && g.Members == nil && len(g.Versions) == 0 {
		m.add(at, "signals, members, versions or ignore: nothing would be read", nil)
	}
	if g.Members != nil {
		if q, err := ParsePath(*g.Members); err != nil || q.Level != "" || q.Property != "" {
			m.add(at+".members", `a JSON Pointer, as /object, or "" for the message itself`, *g.Members)
		}
	}
	for _, component := range sortedNames(g.Versions) {
		if !printableName(component) {
			m.add(at+".versions", "components' names of 1 to 64 printable characters without =", component)
			continue
		}
		path(at+".versions."+component, g.Versions[component])
	}
	m.mappedSignals(at, p, g, path)
}

func (m *mistakes) mappedSignals(at string, p *Product, g *Mapping, path func(at, s string)) {
	if len(g.Signals) > maxMappedSignals {
		m.add(at+".signals", fmt.Sprintf("at most %d signals", maxMappedSignals), len(g.Signals))
		return
	}
	seen := map[string]bool{}
	for i := range g.Signals {
		s, at := &g.Signals[i], fmt.Sprintf("%s.signals[%d]", at, i)
		path(at+".path", s.Path)
		declared, ok := p.Signal(s.Signal)
		switch {
		case !ok:
			m.add(at+".signal", "one of the product's signals"+listed(p.Signals, func(s Signal) string { return s.Name }), s.Signal)
			continue
		case seen[s.Signal]:
			m.add(at+".signal", "each signal once in a mapping", s.Signal)
		}
		seen[s.Signal] = true
		scaled := s.Scale != nil || s.Offset != 0
		switch {
		case scaled && declared.Type != Number:
			m.add(at+".scale", "scale and offset for type number only", string(declared.Type))
		case scaled && s.Words != nil:
			m.add(at+".words", "either words, or scale and offset", nil)
		case s.Scale != nil && (*s.Scale == 0 || math.IsNaN(*s.Scale) || math.IsInf(*s.Scale, 0)):
			m.add(at+".scale", "a finite number other than 0", *s.Scale)
		case math.IsNaN(s.Offset) || math.IsInf(s.Offset, 0):
			m.add(at+".offset", "a finite number", s.Offset)
		case s.Words != nil && (len(s.Words) == 0 || len(s.Words) > maxWords):
			m.add(at+".words", fmt.Sprintf("1 to %d words", maxWords), len(s.Words))
		}
		for _, word := range sortedNames(s.Words) {
			fits := false
			switch s.Words[word].(type) {
			case float64:
				fits = declared.Type == Number
			case bool:
				fits = declared.Type == Boolean
			case string:
				fits = declared.Type == Text
			}
			if !fits {
				m.add(at+".words."+word, "a value of type "+string(declared.Type), s.Words[word])
			}
		}
	}
}

func printableName(s string) bool {
	ok := len(s) >= 1 && len(s) <= 64 && !strings.Contains(s, "=")
	for i := range len(s) {
		ok = ok && s[i] >= ' ' && s[i] <= '~'
	}
	return ok
}

func sortedNames[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
