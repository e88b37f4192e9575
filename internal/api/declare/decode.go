package declare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// Decode reads a JSON object into the struct that into points to. Unlike
// encoding/json it goes on after a mistake and lists them all, each with its
// path: fields that do not exist, that are missing, of the wrong type or not
// among the values allowed. Fields with mistakes keep their zero value.
func Decode(data []byte, path string, into any) []fault.Field {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return []fault.Field{{Path: path, Expected: "JSON: " + err.Error()}}
	}
	d := &decoder{}
	d.value(path, doc, reflect.ValueOf(into).Elem(), "")
	return d.fields
}

type decoder struct {
	fields []fault.Field
	depth  int
}

// maxMistakes bounds an answer to a hopeless document.
const maxMistakes = 200

// unknownField begins what is said of a field that does not exist.
const unknownField = "one of the fields "

// maxDepth bounds nesting; no declared type is that deep.
const maxDepth = 64

func (d *decoder) bad(path, expected, got string) {
	if len(d.fields) < maxMistakes {
		d.fields = append(d.fields, fault.Field{Path: path, Expected: expected, Got: got})
	}
}

var timeType = reflect.TypeFor[time.Time]()

func (d *decoder) value(path string, in any, out reflect.Value, enum string) {
	if d.depth++; d.depth > maxDepth {
		d.bad(path, "less nesting", "")
		d.depth--
		return
	}
	defer func() { d.depth-- }()
	if out.Kind() == reflect.Pointer {
		if in == nil {
			d.bad(path, kindWords(out.Type().Elem()), "nothing")
			return
		}
		p := reflect.New(out.Type().Elem())
		d.value(path, in, p.Elem(), enum)
		out.Set(p)
		return
	}
	if u, ok := reflect.TypeAssert[json.Unmarshaler](out.Addr()); ok {
		raw, err := json.Marshal(in)
		if err == nil {
			err = u.UnmarshalJSON(raw)
		}
		if err != nil {
			d.bad(path, kindWords(out.Type()), show(in))
		}
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		d.object(path, in, out)
	case reflect.Map:
		d.mapping(path, in, out)
	case reflect.Slice:
		list, ok := in.([]any)
		if !ok {
			d.bad(path, kindWords(out.Type()), show(in))
			return
		}
		s := reflect.MakeSlice(out.Type(), len(list), len(list))
		for i, v := range list {
			d.value(path+"["+strconv.Itoa(i)+"]", v, s.Index(i), enum)
		}
		out.Set(s)
	case reflect.Interface:
		out.Set(reflect.ValueOf(&in).Elem())
		if n, ok := in.(json.Number); ok {
			f, _ := n.Float64()
			out.Set(reflect.ValueOf(f))
		}
	default:
		d.scalar(path, in, out, enum)
	}
}

func (d *decoder) scalar(path string, in any, out reflect.Value, enum string) {
	switch out.Kind() {
	case reflect.String:
		s, ok := in.(string)
		if !ok {
			if n, isNumber := in.(json.Number); isNumber {
				d.bad(path, "a text", n.String()+": put it in quotes")
				return
			}
			d.bad(path, enumOr(enum, "a text"), show(in))
			return
		}
		if enum != "" && !slices.Contains(strings.Split(enum, ","), s) {
			d.bad(path, enumOr(enum, ""), show(s)+didYouMean(s, strings.Split(enum, ",")))
			return
		}
		out.SetString(s)
	case reflect.Bool:
		b, ok := in.(bool)
		if !ok {
			d.bad(path, "true or false", show(in))
			return
		}
		out.SetBool(b)
	case reflect.Float64:
		n, ok := in.(json.Number)
		f, err := n.Float64()
		if !ok || err != nil || math.IsInf(f, 0) {
			d.bad(path, "a finite number", show(in))
			return
		}
		out.SetFloat(f)
	case reflect.Int, reflect.Int64:
		n, ok := in.(json.Number)
		i, err := n.Int64()
		if !ok || err != nil {
			d.bad(path, "a whole number", show(in))
			return
		}
		out.SetInt(i)
	default:
		d.bad(path, "something else", show(in))
	}
}

func (d *decoder) mapping(path string, in any, out reflect.Value) {
	m, ok := in.(map[string]any)
	if !ok {
		d.bad(path, kindWords(out.Type()), show(in))
		return
	}
	made := reflect.MakeMapWithSize(out.Type(), len(m))
	for _, k := range sortedKeys(m) {
		v := reflect.New(out.Type().Elem()).Elem()
		d.value(path+"."+k, m[k], v, "")
		made.SetMapIndex(reflect.ValueOf(k), v)
	}
	out.Set(made)
}

func (d *decoder) object(path string, in any, out reflect.Value) {
	m, ok := in.(map[string]any)
	if !ok {
		d.bad(path, kindWords(out.Type()), show(in))
		return
	}
	if out.Type() == timeType {
		return // handled as an Unmarshaler before
	}
	fields, names := structFields(out.Type())
	for _, k := range sortedKeys(m) {
		f, known := fields[k]
		if !known {
			d.bad(path+"."+k, unknownField+strings.Join(names, ", "), show(k)+didYouMean(k, names))
			continue
		}
		if m[k] == nil && !f.required {
			continue
		}
		d.value(path+"."+k, m[k], out.FieldByIndex(f.index), f.enum)
	}
	for _, n := range names {
		if _, there := m[n]; !there && fields[n].required {
			d.bad(path+"."+n, enumOr(fields[n].enum, kindWords(out.FieldByIndex(fields[n].index).Type())), "nothing")
		}
	}
}

type field struct {
	index    []int
	required bool
	enum     string
}

func structFields(t reflect.Type) (map[string]field, []string) {
	fields, names := map[string]field{}, []string{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || name == "" {
			continue
		}
		optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		fields[name] = field{f.Index, !optional, f.Tag.Get("enum")}
		names = append(names, name)
	}
	return fields, names
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func enumOr(enum, otherwise string) string {
	if enum == "" {
		return otherwise
	}
	values := strings.Split(enum, ",")
	if len(values) == 1 {
		return values[0]
	}
	return strings.Join(values[:len(values)-1], ", ") + " or " + values[len(values)-1]
}

func kindWords(t reflect.Type) string {
	switch {
	case t.Name() == "Duration":
		return "a duration, as 90d, 36h or 10m"
	case t == timeType:
		return "a time, as 2026-03-01T12:00:00Z"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kindWords(t.Elem())
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		if t.Elem().Kind() == reflect.String {
			return "a text for each key, as {en: …}"
		}
		return "keys with values"
	case reflect.Struct:
		_, names := structFields(t)
		return "fields, of " + strings.Join(names, ", ")
	default:
		return "an object"
	}
}

// show writes a value as it stood, shortened.
func show(v any) string {
	switch x := v.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(clip(x))
	case json.Number:
		return x.String()
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	default:
		return fmt.Sprint(x)
	}
}

func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}

// didYouMean suggests the known name nearest to a mistyped one.
func didYouMean(got string, known []string) string {
	if best := fault.Nearest(got, known); best != "" {
		return " (did you mean " + best + "?)"
	}
	return ""
}
