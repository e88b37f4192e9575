package payload

import (
	"math"
	"strconv"

	"github.com/valyala/fastjson"

	"fettle.dev/fettle/internal/fault"
)

// Event is a notice as it came, before the product's declaration was applied.
// Its bytes belong to the EventPayload.
type Event struct {
	Event    int64 // Unix ms, when HasEvent
	HasEvent bool
	Sequence int64
	Kind     []byte // feature, fault, log or what the unit thinks there is
	Name     []byte
	State    []byte // set, cleared
	Level    []byte // debug, info, warn, error, fatal
	Text     []byte
}

// EventPayload reads payloads of events, which stay valid until the next
// Parse. It is made to be kept and used again.
type EventPayload struct {
	Events []Event

	parser fastjson.Parser
}

// Parse reads {"ts":…,"kind":"fault","name":"P0301",…} or an array of those.
// Either all of it is understood or none: a mistake is fault.Invalid and names
// its place.
func (p *EventPayload) Parse(body []byte) error {
	p.Events = p.Events[:0]
	v, err := p.parser.ParseBytes(body)
	if err != nil {
		return fault.Fields("events", []fault.Field{{Path: "", Expected: "JSON", Got: Shorten(err.Error())}})
	}
	items, at := []*fastjson.Value{v}, ""
	if v.Type() == fastjson.TypeArray {
		items = v.GetArray()
	}
	for i, item := range items {
		if v.Type() == fastjson.TypeArray {
			at = "[" + strconv.Itoa(i) + "]"
		}
		e, wrong := readEvent(item)
		if wrong != nil {
			p.Events = p.Events[:0]
			if at != "" && wrong.Path != "" {
				at += "."
			}
			wrong.Path = at + wrong.Path
			return fault.Fields("events", []fault.Field{*wrong})
		}
		p.Events = append(p.Events, e)
	}
	return nil
}

func readEvent(v *fastjson.Value) (e Event, wrong *fault.Field) {
	if v.Type() != fastjson.TypeObject {
		return e, &fault.Field{Expected: `an object with "kind", or an array of them`, Got: Shorten(v.String())}
	}
	if ts := v.Get("ts"); ts != nil {
		if e.Event, e.HasEvent = readTime(ts); !e.HasEvent {
			return e, &fault.Field{Path: "ts", Expected: "Unix time in milliseconds", Got: Shorten(ts.String())}
		}
	}
	if seq := v.Get("seq"); seq != nil {
		var ok bool
		if e.Sequence, ok = readSequence(seq); !ok {
			return e, &fault.Field{Path: "seq", Expected: "a whole number from 0 to 2^53", Got: Shorten(seq.String())}
		}
	}
	for _, member := range []struct {
		name string
		into *[]byte
	}{{"kind", &e.Kind}, {"name", &e.Name}, {"state", &e.State}, {"level", &e.Level}, {"text", &e.Text}} {
		m := v.Get(member.name)
		switch {
		case m != nil && m.Type() == fastjson.TypeString:
			*member.into = m.GetStringBytes()
		case m != nil:
			return e, &fault.Field{Path: member.name, Expected: "a string", Got: Shorten(m.String())}
		case member.name == "kind":
			return e, &fault.Field{Path: "kind", Expected: "feature, fault or log", Got: "nothing"}
		}
	}
	return e, nil
}

// readTime reads Unix milliseconds. A clock beyond reason is refused event by
// event, like any wrong clock.
func readTime(v *fastjson.Value) (int64, bool) {
	f, err := Float(v)
	switch {
	case err != nil:
		return 0, false
	case math.IsNaN(f) || f < -1<<53:
		return math.MinInt64, true
	case f > 1<<53:
		return math.MaxInt64, true
	default:
		return int64(f), true
	}
}

func readSequence(v *fastjson.Value) (int64, bool) {
	f, err := Float(v)
	if err != nil || math.IsNaN(f) || f < 0 || f > 1<<53 || f != math.Trunc(f) {
		return 0, false
	}
	return int64(f), true
}
