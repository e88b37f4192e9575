package fleet

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// Topic is a template of MQTT topics (MQTT 5.0, 4.7): levels divided by "/". A
// level is a word that must be the same; {unit}, which holds the unit's id;
// {name}, which paths can read; +, any word; and as the last one # for any
// rest or {properties} for a URL-encoded property bag.
type Topic struct {
	levels []topicLevel
}

type topicLevel struct {
	kind levelKind
	text string // the word, or the name
}

type levelKind uint8

const (
	levelWord levelKind = iota
	levelNamed
	levelAny
	levelRest
	levelProperties
)

// The levels with a meaning of their own.
const (
	topicUnit       = "unit"
	topicProperties = "properties"
)

// maxTopicLevels bounds a template.
const maxTopicLevels = 32

// ParseTopic reads a template; the error says what is wrong with it.
func ParseTopic(template string) (Topic, error) {
	var t Topic
	if template == "" || len(template) > 512 || !utf8.ValidString(template) || strings.ContainsRune(template, 0) {
		return t, errors.New("1 to 512 bytes of UTF-8")
	}
	words := strings.Split(template, "/")
	if len(words) > maxTopicLevels {
		return t, errors.New("at most 32 levels")
	}
	names := map[string]bool{}
	for i, word := range words {
		last := i == len(words)-1
		l := topicLevel{text: word}
		name, placeholder := strings.CutPrefix(word, "{")
		switch {
		case word == "+":
			l.kind = levelAny
		case word == "#" && last:
			l.kind = levelRest
		case word == "{"+topicProperties+"}" && last:
			l.kind = levelProperties
		case placeholder:
			name, closed := strings.CutSuffix(name, "}")
			if !closed || !identifierPattern.MatchString(name) || name == topicProperties || names[name] {
				return t, errors.New("placeholders as {unit} or {name} that are whole levels and stand once, {properties} as the last level")
			}
			names[name] = true
			l = topicLevel{levelNamed, name}
		case strings.ContainsAny(word, "+#{}"):
			return t, errors.New("+, # and {name} as whole levels, # as the last")
		}
		t.levels = append(t.levels, l)
	}
	return t, nil
}

// Names reports whether the template has a level {name}.
func (t *Topic) Names(name string) bool {
	for _, l := range t.levels {
		if l.kind == levelNamed && l.text == name || l.kind == levelProperties && name == topicProperties {
			return true
		}
	}
	return false
}

// TopicValues are what stood in a topic where its template has names.
type TopicValues struct {
	Unit       string
	names      []string
	values     []string
	properties string
	bag        url.Values
}

// Get is the level of a name, or nothing.
func (v *TopicValues) Get(name string) (string, bool) {
	for i, n := range v.names {
		if n == name {
			return v.values[i], true
		}
	}
	return "", false
}

// Property is a value of the property bag, or nothing. What of the bag cannot
// be decoded is not there.
func (v *TopicValues) Property(name string) (string, bool) {
	if v.bag == nil && v.properties != "" {
		v.bag, _ = url.ParseQuery(v.properties) // gives what is right
	}
	all, ok := v.bag[name]
	if !ok {
		return "", false
	}
	return all[0], true
}

// Match reports whether a topic fits the template, and what stood in it.
func (t *Topic) Match(topic string) (v TopicValues, ok bool) {
	rest, more := topic, true
	next := func() (word string) {
		word, rest, more = strings.Cut(rest, "/")
		return word
	}
	for _, l := range t.levels {
		if !more && l.kind != levelRest { // # stands for no level, too, as in MQTT
			return v, false
		}
		switch l.kind {
		case levelRest:
			return v, true
		case levelProperties:
			v.properties = rest
			return v, true
		case levelAny:
			next()
		case levelWord:
			if next() != l.text {
				return v, false
			}
		case levelNamed:
			word := next()
			if word == "" {
				return v, false
			}
			if l.text == topicUnit {
				v.Unit = word
			}
			v.names, v.values = append(v.names, l.text), append(v.values, word)
		}
	}
	return v, !more
}

// Path says where a value stands: in the message by JSON Pointer (RFC 6901),
// as /state/reported/temperature; in the payload around it by the pointer's
// form for fragments, as #/time; or in the topic, as {device} or
// {properties.batch}.
type Path struct {
	Payload  bool     // Keys begin at the payload, not at the message
	Level    string   // name of a topic's level
	Property string   // name of a property in a topic
	Keys     []string // of the objects, and numbers of arrays' items, on the way
}

// maxPathKeys bounds a path.
const maxPathKeys = 32

// ParsePath reads a path; the error says what is wrong with it.
func ParsePath(s string) (Path, error) {
	wrong := errors.New("a JSON Pointer in the message, as /state/reported/temperature, or in the payload, as #/time, or a level or property of the topic, as {device} or {properties.batch}")
	if name, ok := strings.CutPrefix(s, "{"); ok {
		name, closed := strings.CutSuffix(name, "}")
		if property, ok := strings.CutPrefix(name, topicProperties+"."); ok {
			if property == "" || !closed {
				return Path{}, wrong
			}
			return Path{Property: property}, nil
		}
		if !closed || !identifierPattern.MatchString(name) || name == topicProperties {
			return Path{}, wrong
		}
		return Path{Level: name}, nil
	}
	var p Path
	if fragment, ok := strings.CutPrefix(s, "#"); ok {
		decoded, err := url.PathUnescape(fragment)
		if err != nil {
			return Path{}, wrong
		}
		p.Payload, s = true, decoded
	}
	if len(s) > 512 || !utf8.ValidString(s) || s != "" && s[0] != '/' {
		return Path{}, wrong
	}
	for i, key := range strings.Split(s, "/") {
		if i == 0 {
			continue // what stands before the first "/" is empty
		}
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(key), "~") || i > maxPathKeys {
			return Path{}, wrong
		}
		p.Keys = append(p.Keys, strings.NewReplacer("~1", "/", "~0", "~").Replace(key))
	}
	return p, nil
}
