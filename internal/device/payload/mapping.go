package payload

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fastjson"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Mapping is a fleet.Mapping made ready: it reads one payload after the other.
// The zero value of each part reads nothing.
type Mapping struct {
	topic       fleet.Topic
	ignore      bool // nothing is read
	thingsBoard bool // messages are objects of keys and values, or {"ts":…,"values":{…}}
	each        []string
	time        *fleet.Path
	form        string
	sequence    *fleet.Path
	signals     []mappedSignal
	members     *fleet.Path
	taken       map[string]bool // members that signals and versions are read from
	versions    []mappedVersion
}

type mappedSignal struct {
	name          []byte
	kind          fleet.ValueType
	path          fleet.Path
	scale, offset float64
	words         map[string]Value
}

type mappedVersion struct {
	component string
	path      fleet.Path
}

// NewMapping compiles a declared mapping, which was found right when it was
// applied.
func NewMapping(p *fleet.Product, d *fleet.Mapping) (*Mapping, error) {
	m := &Mapping{ignore: d.Ignore, thingsBoard: d.ThingsBoard(), taken: map[string]bool{}}
	var err error
	path := func(s string) fleet.Path {
		q, wrong := fleet.ParsePath(s)
		if wrong != nil && err == nil {
			err = wrong
		}
		return q
	}
	if m.topic, err = fleet.ParseTopic(d.Topic); err != nil {
		return nil, err
	}
	m.each = path(d.Each).Keys
	if d.Time != nil {
		q := path(d.Time.Path)
		m.time, m.form = &q, d.Time.Form
	}
	if d.Sequence != "" {
		q := path(d.Sequence)
		m.sequence = &q
	}
	if d.Members != nil {
		q := path(*d.Members)
		m.members = &q
	}
	for i := range d.Signals {
		s := &d.Signals[i]
		declared, _ := p.Signal(s.Signal)
		out := mappedSignal{name: []byte(s.Signal), kind: declared.Type, path: path(s.Path), scale: 1, offset: s.Offset}
		if s.Scale != nil {
			out.scale = *s.Scale
		}
		if s.Words != nil {
			out.words = map[string]Value{}
			for word, v := range s.Words {
				out.words[word] = wordValue(out.name, v)
			}
		}
		m.signals = append(m.signals, out)
		m.take(&out.path)
	}
	for component, s := range d.Versions {
		v := mappedVersion{component, path(s)}
		m.versions = append(m.versions, v)
		m.take(&v.path)
	}
	return m, err
}

// take notes that a path reads one of the members, which is then no sample of
// its own.
func (m *Mapping) take(p *fleet.Path) {
	if o := m.members; o != nil && p.Level == "" && p.Property == "" && p.Payload == o.Payload &&
		len(p.Keys) > len(o.Keys) && slices.Equal(p.Keys[:len(o.Keys)], o.Keys) {
		m.taken[p.Keys[len(o.Keys)]] = true
	}
}

func wordValue(name []byte, v any) Value {
	switch x := v.(type) {
	case float64:
		return Value{Name: name, Kind: KindNumber, Number: x}
	case bool:
		out := Value{Name: name, Kind: KindBoolean}
		if x {
			out.Number = 1
		}
		return out
	case string:
		return Value{Name: name, Kind: KindText, Text: []byte(x)}
	default:
		return Value{Name: name, Kind: KindOther}
	}
}

// ThingsBoard reads messages in ThingsBoard's shapes, keys as signals' names.
func ThingsBoard() *Mapping { return &Mapping{thingsBoard: true, members: &fleet.Path{}} }

// Match reports whether messages on a topic are read by the mapping, and what
// stood in it.
func (m *Mapping) Match(topic string) (fleet.TopicValues, bool) { return m.topic.Match(topic) }

// Ignores reports whether messages are not read.
func (m *Mapping) Ignores() bool { return m.ignore }

// reading is one payload on its way through a mapping.
type reading struct {
	*Mapping
	out      *Payload
	kind     func(name []byte) (fleet.ValueType, bool) // of a declared signal
	topic    *fleet.TopicValues
	root     *fastjson.Value
	versions map[string]string
}

// Read reads a payload that came on a topic the mapping matches. Messages of a
// mistaken payload are not read at all, like Payload.Parse's; versions is nil
// where none is reported.
func (m *Mapping) Read(out *Payload, kind func(name []byte) (fleet.ValueType, bool), topic *fleet.TopicValues, body []byte) (versions map[string]string, err error) {
	out.Messages, out.values = out.Messages[:0], out.values[:0]
	v, err := out.parser.ParseBytes(body)
	if err != nil && bytes.Contains(body, []byte("Infinity")) {
		v, err = out.parser.ParseBytes(shortInfinity(body))
	}
	if err != nil {
		return nil, misread("", "JSON", Shorten(err.Error()))
	}
	r := reading{Mapping: m, out: out, kind: kind, topic: topic, root: v}
	if len(m.each) > 0 {
		if v = v.Get(m.each...); v == nil || v.Type() == fastjson.TypeNull {
			return nil, nil // as an update of a shadow that reports nothing
		}
	}
	items := []*fastjson.Value{v}
	if v.Type() == fastjson.TypeArray {
		items = v.GetArray()
	}
	for i, item := range items {
		if item.Type() != fastjson.TypeObject {
			err = misread("["+strconv.Itoa(i)+"]", "an object", Shorten(item.String()))
		} else {
			err = r.message(item)
		}
		if err != nil {
			out.Messages = out.Messages[:0]
			return nil, err
		}
	}
	if r.versions != nil {
		if err := CheckVersions(r.versions); err != nil {
			out.Messages = out.Messages[:0]
			return nil, err
		}
	}
	return r.versions, nil
}

func misread(path, expected, got string) error {
	return fault.Fields("message", []fault.Field{{Path: path, Expected: expected, Got: got}})
}

func (r *reading) message(item *fastjson.Value) error {
	var m Message
	expected := ""
	if values := item.Get("values"); r.thingsBoard && values != nil && item.Exists("ts") {
		if values.Type() != fastjson.TypeObject {
			return misread("values", "an object of samples by key", Shorten(values.String()))
		}
		if m.Event, m.HasEvent, expected = eventTime(item.Get("ts"), fleet.TimeMillis); expected != "" {
			return misread("ts", expected, Shorten(item.Get("ts").String()))
		}
		item = values
	}
	if r.time != nil {
		v := r.find(r.time, item)
		if m.Event, m.HasEvent, expected = eventTime(v, r.form); expected != "" {
			return misread("time", expected, Shorten(v.String()))
		}
	}
	if r.sequence != nil {
		if v := r.find(r.sequence, item); v != nil && v.Type() != fastjson.TypeNull {
			f, ok := number(v)
			if !ok || f < 0 || f > 1<<53 || f != math.Trunc(f) {
				return misread("sequence", "a whole number from 0 to 2^53", Shorten(v.String()))
			}
			m.Sequence = int64(f)
		}
	}
	first := len(r.out.values)
	for i := range r.signals {
		s := &r.signals[i]
		if v := r.find(&s.path, item); v != nil && v.Type() != fastjson.TypeNull {
			r.out.values = append(r.out.values, s.value(v))
		}
	}
	if r.members != nil {
		if o := r.find(r.members, item).GetObject(); o != nil {
			o.Visit(r.member)
		}
	}
	m.Values = r.out.values[first:len(r.out.values):len(r.out.values)]
	for i := range r.Mapping.versions {
		v := &r.Mapping.versions[i]
		if at := r.find(&v.path, item); at != nil && at.Type() != fastjson.TypeNull {
			if r.versions == nil {
				r.versions = map[string]string{}
			}
			r.versions[v.component] = literal(at) // the last one of an array counts
		}
	}
	if len(m.Values) > 0 {
		r.out.Messages = append(r.out.Messages, m)
	}
	return nil
}

// member reads one key of an object whose members are samples.
func (r *reading) member(key []byte, v *fastjson.Value) {
	if v.Type() == fastjson.TypeNull || r.taken[string(key)] {
		return
	}
	out := readValue(key, v)
	if kind, ok := r.kind(key); ok {
		out = loosen(out, kind)
	}
	r.out.values = append(r.out.values, out)
}

// find gives the value a path names, or nil.
func (r *reading) find(p *fleet.Path, item *fastjson.Value) *fastjson.Value {
	text, ok := "", false
	switch {
	case p.Level != "":
		text, ok = r.topic.Get(p.Level)
	case p.Property != "":
		text, ok = r.topic.Property(p.Property)
	case p.Payload:
		return r.root.Get(p.Keys...)
	default:
		return item.Get(p.Keys...)
	}
	if !ok {
		return nil
	}
	var a fastjson.Arena
	return a.NewString(text)
}

func (s *mappedSignal) value(v *fastjson.Value) Value {
	if s.words != nil {
		out, ok := s.words[word(v)]
		if !ok {
			out = Value{Name: s.name, Kind: KindOther}
		}
		return out
	}
	out := loosen(readValue(s.name, v), s.kind)
	if out.Kind == KindNumber && s.kind == fleet.Number {
		out.Number = out.Number*s.scale + s.offset
	}
	return out
}

// word is a value as people write it in a declaration.
func word(v *fastjson.Value) string {
	if f, err := Float(v); err == nil { // 1.0 is the word 1
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return literal(v)
}

// literal is a value as it came.
func literal(v *fastjson.Value) string {
	if v.Type() == fastjson.TypeString {
		return string(v.GetStringBytes())
	}
	return v.String()
}

// loosen takes a text for the number or boolean that it writes, when the
// signal is one: topics hold nothing but text, and ThingsBoard's clients are
// used to it.
func loosen(v Value, kind fleet.ValueType) Value {
	if v.Kind != KindText {
		return v
	}
	text := string(v.Text)
	switch kind {
	case fleet.Number:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return Value{Name: v.Name, Kind: KindNumber, Number: f}
		}
	case fleet.Boolean:
		switch {
		case strings.EqualFold(text, "true"), text == "1":
			return Value{Name: v.Name, Kind: KindBoolean, Number: 1}
		case strings.EqualFold(text, "false"), text == "0":
			return Value{Name: v.Name, Kind: KindBoolean}
		}
	case fleet.Text:
	}
	return v
}

func number(v *fastjson.Value) (f float64, ok bool) {
	switch v.Type() {
	case fastjson.TypeNumber:
		f, err := Float(v)
		return f, err == nil && !math.IsNaN(f)
	case fastjson.TypeString:
		f, err := strconv.ParseFloat(string(v.GetStringBytes()), 64)
		return f, err == nil && !math.IsNaN(f)
	default:
		return 0, false
	}
}

// perSecond is what each form of Unix time counts in a second.
var perSecond = map[string]int64{fleet.TimeSeconds: 1, fleet.TimeMillis: 1e3, fleet.TimeMicros: 1e6, fleet.TimeNanos: 1e9}

// eventTime reads an event time, Unix ms; has is false without one, and expected
// says what it should have been when it cannot be read. A clock
// beyond reason is refused sample by sample, like any wrong clock.
func eventTime(v *fastjson.Value, form string) (ms int64, has bool, expected string) {
	if v == nil || v.Type() == fastjson.TypeNull {
		return 0, false, ""
	}
	if form == fleet.TimeRFC3339 {
		at, err := time.Parse(time.RFC3339, string(v.GetStringBytes()))
		if err != nil {
			return 0, false, "a time as 2026-03-01T12:00:00Z (RFC 3339)"
		}
		return at.UnixMilli(), true, ""
	}
	f, ok := number(v)
	if !ok {
		return 0, false, "Unix time in " + form
	}
	per := perSecond[form]
	if per > 1e3 { // exact where a float64 is not
		if i, err := strconv.ParseInt(literal(v), 10, 64); err == nil {
			per /= 1e3
			return (i - (i%per+per)%per) / per, true, ""
		}
	}
	f = math.Floor(math.Round(f*1e6/float64(per)) / 1e3) // whole microseconds first: 0.123 s is 123 ms
	switch {
	case f < -1<<53:
		return math.MinInt64, true, ""
	case f > 1<<53:
		return math.MaxInt64, true, ""
	}
	return int64(f), true, ""
}
