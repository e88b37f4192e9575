// Package payload reads what units send: Fettle's own telemetry, events and
// version reports, and other platforms' messages by a product's mappings. It
// knows no unit; the gateway decides what may be kept.
package payload

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"

	"github.com/valyala/fastjson"

	"fettle.dev/fettle/internal/fault"
)

// Kind is the JSON type of a value as it came.
type Kind uint8

// The kinds of a value. Other is null, an object or an array: never a sample.
// Refused is one that its frontend knows to be invalid; Text says why.
const (
	KindNumber Kind = iota + 1
	KindBoolean
	KindText
	KindOther
	KindRefused
)

// Value is one sample as it came, before the product's declaration was
// applied. Its bytes belong to the Payload.
type Value struct {
	Name   []byte
	Kind   Kind
	Number float64 // KindNumber, and KindBoolean as 0 or 1; may be NaN or infinite
	Text   []byte
}

// Message is what a unit measured at one time.
type Message struct {
	Event    int64 // Unix ms, when HasEvent
	HasEvent bool
	Sequence int64
	Values   []Value
}

// Payload reads telemetry payloads into Messages, which stay valid until the
// next Parse. It is made to be kept and used again.
type Payload struct {
	Messages []Message

	parser fastjson.Parser
	values []Value
	failed fault.Field
}

// Payloads are pooled: a parser grows to the largest payload it has read.
var payloads = sync.Pool{New: func() any { return new(Payload) }}

// NewPayload takes a Payload from the pool; Free gives it back.
func NewPayload() *Payload { return payloads.Get().(*Payload) }

// Free gives the Payload back; its Messages must not be used afterwards.
func (p *Payload) Free() { payloads.Put(p) }

// Parse reads {"ts":…,"values":{…},"seq":…} or an array of those. Either all
// of it is understood or none: a mistake is fault.Invalid and names its place.
func (p *Payload) Parse(body []byte) error {
	if p.Reset(); p.AppendFlat(body) {
		return nil
	}
	return p.parse(body)
}

// parse reads payloads of every form.
func (p *Payload) parse(body []byte) error {
	p.Reset()
	v, err := p.parser.ParseBytes(body)
	if err != nil && bytes.Contains(body, []byte("Infinity")) {
		v, err = p.parser.ParseBytes(shortInfinity(body))
	}
	if err != nil {
		return fault.Fields("telemetry", []fault.Field{{Path: "", Expected: "JSON", Got: Shorten(err.Error())}})
	}
	ok := false
	switch v.Type() {
	case fastjson.TypeObject:
		ok = p.message(v, -1)
	case fastjson.TypeArray:
		items := v.GetArray()
		ok = true
		for i := 0; ok && i < len(items); i++ {
			ok = p.message(items[i], i)
		}
	default:
		p.failed = fault.Field{Expected: `an object with "values", or an array of them`, Got: v.Type().String()}
	}
	if !ok {
		p.Messages = p.Messages[:0]
		return fault.Fields("telemetry", []fault.Field{p.failed})
	}
	return nil
}

func (p *Payload) message(v *fastjson.Value, at int) bool {
	bad := func(name, expected string, got *fastjson.Value) bool {
		path := name
		if at >= 0 {
			path = "[" + strconv.Itoa(at) + "]"
			if name != "" {
				path += "." + name
			}
		}
		text := "nothing"
		if got != nil {
			text = Shorten(got.String())
		}
		p.failed = fault.Field{Path: path, Expected: expected, Got: text}
		return false
	}
	if v.Type() != fastjson.TypeObject {
		return bad("", `an object with "values"`, v)
	}
	var m Message
	if ts := v.Get("ts"); ts != nil {
		f, err := Float(ts)
		if err != nil {
			return bad("ts", "Unix time in milliseconds", ts)
		}
		m.HasEvent = true
		switch { // a clock beyond reason is refused sample by sample, like any wrong clock
		case math.IsNaN(f) || f < -1<<53:
			m.Event = math.MinInt64
		case f > 1<<53:
			m.Event = math.MaxInt64
		default:
			m.Event = int64(f)
		}
	}
	if seq := v.Get("seq"); seq != nil {
		f, err := Float(seq)
		if err != nil || math.IsNaN(f) || f < 0 || f > 1<<53 || f != math.Trunc(f) {
			return bad("seq", "a whole number from 0 to 2^53", seq)
		}
		m.Sequence = int64(f)
	}
	values := v.Get("values")
	if values == nil || values.Type() != fastjson.TypeObject {
		return bad("values", "an object of samples by signal name", values)
	}
	first := len(p.values)
	values.GetObject().Visit(func(key []byte, v *fastjson.Value) {
		p.values = append(p.values, readValue(key, v))
	})
	m.Values = p.values[first:len(p.values):len(p.values)]
	p.Messages = append(p.Messages, m)
	return true
}

func readValue(key []byte, v *fastjson.Value) Value {
	out := Value{Name: key}
	switch v.Type() {
	case fastjson.TypeNumber:
		f, err := Float(v)
		if err != nil { // as 1-2, which the parser lets through
			f = math.NaN()
		}
		out.Kind, out.Number = KindNumber, f
	case fastjson.TypeTrue:
		out.Kind, out.Number = KindBoolean, 1
	case fastjson.TypeFalse:
		out.Kind = KindBoolean
	case fastjson.TypeString:
		out.Kind, out.Text = KindText, v.GetStringBytes()
	default:
		out.Kind = KindOther
	}
	return out
}

var texts = sync.Pool{New: func() any { return new([]byte) }}

// Float is the float64 nearest to a JSON number as it is written; fastjson's own
// reading is one unit in the last place off for some numbers that have an
// exponent or many digits. What no float64 can hold is an infinity.
func Float(v *fastjson.Value) (float64, error) {
	if v.Type() != fastjson.TypeNumber {
		return 0, fmt.Errorf("a %s is no number", v.Type())
	}
	text := texts.Get().(*[]byte)
	*text = v.MarshalTo((*text)[:0])
	f, err := strconv.ParseFloat(string(*text), 64)
	texts.Put(text)
	if errors.Is(err, strconv.ErrRange) {
		err = nil
	}
	return f, err
}

// shortInfinity rewrites Infinity, which many writers emit though it is not
// JSON, to the inf that the parser knows, outside of strings. The sample is
// then refused as not finite instead of the whole message.
func shortInfinity(body []byte) []byte {
	out := make([]byte, 0, len(body))
	quoted := false
	for i := 0; i < len(body); i++ {
		c := body[i]
		switch {
		case quoted && c == '\\' && i+1 < len(body):
			out = append(out, c)
			i++
			c = body[i]
		case c == '"':
			quoted = !quoted
		case !quoted && bytes.HasPrefix(body[i:], []byte("Infinity")):
			out = append(out, "inf"...)
			i += len("Infinity") - 1
			continue
		}
		out = append(out, c)
	}
	return out
}

// A unit has few components and settings; the bounds keep a report small.
const (
	maxComponents    = 128
	maxComponentName = 64
	maxVersion       = 128
)

// CheckVersions refuses a version report beyond its bounds: fault.Invalid.
func CheckVersions(versions map[string]string) error {
	if len(versions) == 0 || len(versions) > maxComponents {
		return fault.Fields("attributes", []fault.Field{{Path: "versions", Expected: fmt.Sprintf("1 to %d components", maxComponents), Got: strconv.Itoa(len(versions))}})
	}
	for name, version := range versions {
		if !Printable(name, maxComponentName) || bytes.IndexByte([]byte(name), '=') >= 0 {
			return fault.Fields("attributes", []fault.Field{{Path: "versions", Expected: "component names of 1 to 64 printable characters without =", Got: Shorten(name)}})
		}
		if !Printable(version, maxVersion) {
			return fault.Fields("attributes", []fault.Field{{Path: "versions." + name, Expected: "1 to 128 printable characters", Got: Shorten(version)}})
		}
	}
	return nil
}

// Printable reports whether s is 1 to limit bytes of printable ASCII.
func Printable(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Shorten cuts a value that stands in a message for people.
func Shorten(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%q…", s[:80])
	}
	return s
}
