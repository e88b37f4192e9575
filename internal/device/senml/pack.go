package senml

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/valyala/fastjson"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/gather"
	"fettle.dev/fettle/internal/device/payload"
	"fettle.dev/fettle/internal/fault"
)

// maxRecords bounds a pack.
const maxRecords = 65_536

// label is a SenML field, by its CBOR label (RFC 8428, table 6).
type label int

// The labels. Link fields of drafts have none.
const (
	baseVersion label = -1
	baseName    label = -2
	baseTime    label = -3
	baseUnit    label = -4
	baseValue   label = -5
	baseSum     label = -6
	name        label = 0
	unit        label = 1
	value       label = 2
	stringValue label = 3
	boolValue   label = 4
	sum         label = 5
	timeOf      label = 6
	updateTime  label = 7
	dataValue   label = 8
)

var labels = map[string]label{
	"bver": baseVersion, "bn": baseName, "bt": baseTime, "bu": baseUnit, "bv": baseValue, "bs": baseSum,
	"n": name, "u": unit, "v": value, "vs": stringValue, "vb": boolValue, "s": sum, "t": timeOf, "ut": updateTime, "vd": dataValue,
}

var names = func() map[label]string {
	out := map[label]string{}
	for s, l := range labels {
		out[l] = s
	}
	return out
}()

// number is a numeric field and whether it is there.
type number struct {
	is    bool
	value float64
}

func (n number) plus(m number) number { return number{n.is || m.is, n.value + m.value} }

// record is a SenML record as it stands in a pack.
type record struct {
	version, baseTime, baseValue, baseSum, time, value, sum number
	baseName, baseUnit, name, unit                          *string
	text                                                    *string
	boolean                                                 *bool
	data                                                    []byte
	fields, bases                                           int
	wrong                                                   *wrong // the first of its own fields that cannot be read
}

// wrong is what makes a record unreadable. It concerns that record alone: what
// holds for those after it stands in base fields.
type wrong struct{ field, expected, got string }

func (w *wrong) err(record int) error { return mistake(record, w.field, w.expected, w.got) }

// String says it where the record is named beside.
func (w *wrong) String() string {
	text := "expected " + w.expected + ", got " + w.got
	if w.field != "" {
		text = w.field + ": " + text
	}
	return text
}

// put sets a field; shown is how it stands there. The error is of a base field.
func (r *record) put(i int, l label, key string, got any, shown string) error {
	expected := r.set(l, got)
	switch {
	case expected == "":
	case l < 0:
		return mistake(i, key, expected, shorten(shown))
	case r.wrong == nil:
		r.wrong = &wrong{key, expected, shorten(shown)}
	}
	return nil
}

// set puts a field in. Got is a string, float64, bool or []byte.
func (r *record) set(l label, got any) (expected string) {
	expected = ""
	num := func(n *number) {
		f, ok := got.(float64)
		if !ok || math.IsNaN(f) || math.IsInf(f, 0) {
			expected = "a number"
		}
		*n = number{true, f}
	}
	str := func(s **string) {
		text, ok := got.(string)
		if !ok {
			expected = "a string"
		}
		*s = &text
	}
	r.fields++
	if l < 0 {
		r.bases++
	}
	switch l {
	case baseVersion:
		num(&r.version)
	case baseName:
		str(&r.baseName)
	case baseTime:
		num(&r.baseTime)
	case baseUnit:
		str(&r.baseUnit)
	case baseValue:
		num(&r.baseValue)
	case baseSum:
		num(&r.baseSum)
	case name:
		str(&r.name)
	case unit:
		str(&r.unit)
	case value: // NaN and infinities, which CBOR has, are refused as samples
		f, ok := got.(float64)
		if !ok {
			return "a number"
		}
		r.value = number{true, f}
	case stringValue:
		str(&r.text)
	case boolValue:
		b, ok := got.(bool)
		if !ok {
			return "true or false"
		}
		r.boolean = &b
	case sum:
		num(&r.sum)
	case timeOf:
		num(&r.time)
	case updateTime:
		var n number
		num(&n)
	case dataValue:
		switch d := got.(type) {
		case []byte:
			r.data = append([]byte{}, d...)
		case string:
			raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(d, "="))
			if err != nil {
				return "base64url"
			}
			r.data = append([]byte{}, raw...)
		default:
			return "base64url"
		}
	}
	return expected
}

// mistake refuses a pack: nothing of it is stored.
func mistake(record int, field, expected, got string) error {
	path := ""
	if record >= 0 {
		path = "[" + strconv.Itoa(record) + "]"
		if field != "" {
			path += "." + field
		}
	}
	return fault.Fields("senml", []fault.Field{{Path: path, Expected: expected, Got: got}})
}

// unknown decides about a field that is not known: one whose label ends in _
// must be understood (RFC 8428, section 4.4), any other is passed over.
func unknown(i int, key string) error {
	if strings.HasSuffix(key, "_") {
		return mistake(i, key, "no field that must be understood and is not known", key)
	}
	return nil
}

// parseJSON reads a pack in JSON. A stream (SenSML) need not be closed.
func parseJSON(body []byte, stream bool) ([]record, error) {
	if stream {
		if b := bytes.TrimRight(body, " \t\r\n,"); len(b) > 0 && b[len(b)-1] != ']' {
			body = append(slices.Clip(b), ']')
		}
	}
	var p fastjson.Parser
	v, err := p.ParseBytes(body)
	if err != nil {
		return nil, mistake(-1, "", "JSON", shorten(err.Error()))
	}
	if v.Type() != fastjson.TypeArray {
		return nil, mistake(-1, "", "an array of SenML records", v.Type().String())
	}
	items := v.GetArray()
	if len(items) > maxRecords {
		return nil, mistake(-1, "", fmt.Sprintf("at most %d records", maxRecords), strconv.Itoa(len(items)))
	}
	out := make([]record, len(items))
	for i, item := range items {
		o := item.GetObject()
		if o == nil {
			out[i] = record{fields: 1, wrong: &wrong{"", "a SenML record", item.Type().String()}}
			continue
		}
		var failed error
		o.Visit(func(key []byte, v *fastjson.Value) {
			l, known := labels[string(key)]
			if failed != nil {
				return
			}
			if !known {
				failed = unknown(i, string(key))
				return
			}
			var got any
			switch v.Type() {
			case fastjson.TypeNumber:
				if f, err := payload.Float(v); err == nil {
					got = f
				}
			case fastjson.TypeString:
				got = string(v.GetStringBytes())
			case fastjson.TypeTrue, fastjson.TypeFalse:
				got = v.Type() == fastjson.TypeTrue
			default:
			}
			failed = out[i].put(i, l, string(key), got, v.String())
		})
		if failed != nil {
			return nil, failed
		}
	}
	return out, nil
}

var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, MaxArrayElements: maxRecords, MaxMapPairs: 64, UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return mode
}()

// parseCBOR reads a pack in CBOR. A stream's array need not be ended.
func parseCBOR(body []byte, stream bool) ([]record, error) {
	var items []map[any]any
	err := decoding.Unmarshal(body, &items)
	if err != nil && stream && len(body) > 0 && body[0] == 0x9f {
		err = decoding.Unmarshal(append(slices.Clip(body), 0xff), &items)
	}
	if err != nil {
		return nil, mistake(-1, "", "an array of SenML records in CBOR", shorten(err.Error()))
	}
	if items == nil {
		return nil, mistake(-1, "", "an array of SenML records in CBOR", "null")
	}
	out := make([]record, len(items))
	for i, item := range items {
		if item == nil {
			out[i] = record{fields: 1, wrong: &wrong{"", "a SenML record", "null"}}
			continue
		}
		for key, v := range item {
			var l label
			known := false
			switch k := key.(type) {
			case uint64:
				l, known = label(min(k, 99)), k <= uint64(dataValue)
			case int64:
				l, known = label(max(k, -99)), k >= int64(baseSum)
			case string:
				if l, known = labels[k]; !known {
					if err := unknown(i, k); err != nil {
						return nil, err
					}
				}
			}
			if !known {
				continue
			}
			if err := out[i].put(i, l, names[l], plain(v), fmt.Sprint(v)); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// plain makes the numbers of CBOR, decimal fractions (tag 4) among them, float64.
func plain(v any) any {
	switch n := v.(type) {
	case uint64:
		return float64(n)
	case int64:
		return float64(n)
	case float32:
		return float64(n)
	case big.Int:
		f, _ := new(big.Float).SetInt(&n).Float64()
		return f
	case cbor.Tag:
		parts, ok := n.Content.([]any)
		if n.Number != 4 || !ok || len(parts) != 2 {
			return nil
		}
		exponent, ok1 := plain(parts[0]).(float64)
		mantissa, ok2 := plain(parts[1]).(float64)
		if !ok1 || !ok2 || math.Abs(exponent) > 400 {
			return nil
		}
		f, err := strconv.ParseFloat(strconv.FormatFloat(mantissa, 'f', -1, 64)+"e"+strconv.Itoa(int(exponent)), 64)
		if err != nil {
			return nil
		}
		return f
	}
	return v
}

// resolved is a record without base fields (RFC 8428, section 4.6).
type resolved struct {
	index      int
	full, name string // bn and n joined; n alone
	unit       string
	at         gather.Time
	value      device.Value // Kind 0: it has a sum alone
	sum        number
	wrong      *wrong // it has neither, for this reason
}

// version is the newest SenML that is understood.
const version = 10

// relative is below what a time is one relative to now (section 4.5.3).
const relative = 1 << 28

// resolve applies base fields to the records after them. A pack of which no
// record can be read is refused.
func resolve(pack []record, now time.Time) ([]resolved, error) {
	var base record
	var prefix, baseUnit string
	out := make([]resolved, 0, len(pack))
	readable := false
	for i := range pack {
		r := &pack[i]
		switch {
		case !r.version.is:
		case r.version.value > version:
			return nil, mistake(i, "bver", "a version up to 10", fmt.Sprint(r.version.value))
		case i > 0 && base.version.is && base.version.value != r.version.value, i > 0 && !base.version.is && r.version.value != version:
			return nil, mistake(i, "bver", "one version in a pack", fmt.Sprint(r.version.value))
		default:
			base.version = r.version
		}
		if r.baseName != nil {
			prefix = *r.baseName
		}
		if r.baseUnit != nil {
			baseUnit = *r.baseUnit
		}
		if r.baseTime.is {
			base.time = r.baseTime
		}
		if r.baseValue.is {
			base.value = r.baseValue
		}
		if r.baseSum.is {
			base.sum = r.baseSum
		}
		if r.fields == r.bases { // it says what holds from here, and has no value
			continue
		}
		one := resolved{index: i, full: prefix, unit: baseUnit, sum: r.sum.plus(base.sum)}
		if r.name != nil {
			one.name = *r.name
			one.full += one.name
		}
		if r.unit != nil {
			one.unit = *r.unit
		}
		switch one.wrong = r.wrong; {
		case one.wrong != nil:
		case one.full == "":
			one.wrong = &wrong{"n", "a name, with bn not empty", "nothing"}
		default:
			one.wrong = one.take(r, base.value)
		}
		one.at = moment(base.time.value+r.time.value, now)
		readable = readable || one.wrong == nil
		out = append(out, one)
	}
	if len(out) > 0 && !readable {
		return nil, out[0].wrong.err(out[0].index)
	}
	return out, nil
}

// take sets the value. Exactly one is there, unless there is a sum.
func (o *resolved) take(r *record, base number) *wrong {
	n := 0
	if r.value.is {
		n++
	}
	if r.text != nil {
		n++
		o.value = device.Value{Kind: device.KindText, Text: []byte(*r.text)}
	}
	if r.boolean != nil {
		n++
		o.value = device.Value{Kind: device.KindBoolean}
		if *r.boolean {
			o.value.Number = 1
		}
	}
	if r.data != nil {
		n++
		o.value = device.Value{Kind: device.KindText, Text: []byte(base64.RawURLEncoding.EncodeToString(r.data))}
	}
	if r.value.is || n == 0 && base.is {
		o.value = device.Value{Kind: device.KindNumber, Number: r.value.value + base.value}
	}
	switch {
	case n > 1:
		return &wrong{"", "one of v, vs, vb and vd", strconv.Itoa(n) + " of them"}
	case o.value.Kind == 0 && !o.sum.is:
		return &wrong{"", "one of v, vs, vb, vd and s", "none"}
	}
	return nil
}

// moment is a record's time in seconds, absolute or relative to now. Now
// itself is left to the gateway.
func moment(seconds float64, now time.Time) gather.Time {
	if seconds == 0 {
		return gather.Time{}
	}
	if seconds < relative {
		seconds += float64(now.UnixMicro()) / 1e6
	}
	const most = 1 << 43 // beyond any clock, and within int64 in microseconds
	micros := int64(math.Round(min(max(seconds, -most/1e3), most/1e3) * 1e6))
	t := gather.Nanoseconds(micros) // of thousandths
	return gather.Time{Event: t.Event*1000 + int64(t.Nanos)/1000, Nanos: t.Nanos % 1000 * 1000, Known: true}
}

func shorten(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "?") + "…"
	}
	return s
}
