package payload

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/valyala/fastjson"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Report is what a unit says of itself.
type Report struct {
	// Versions are by component; what the unit is set to stands among them,
	// as fleet.ParameterComponent says.
	Versions map[string]string
	Refused  map[string]string // why it did not take a parameter or feature, by name
	Waiting  map[string]string // what it waits for before it takes one, by name
	// Revisions of what is refused or waits, by component: of the values that
	// the unit was told.
	Revisions map[string]int64
}

// maxRefused bounds the words of a refusal, in bytes.
const maxRefused = 500

// ParseReport reads {"versions":{"software":"2.0.0"},"parameters":{"height":120},
// "features":{"eco":true},"refused":{"height":"out of reach"},"waiting":{"height":
// "the car is driven"},"revisions":{"parameter:height":42}}, of which one but the
// last must be there.
func ParseReport(body []byte) (Report, error) {
	var parser fastjson.Parser
	v, err := parser.ParseBytes(body)
	if err != nil {
		return Report{}, fault.Fields("attributes", []fault.Field{{Expected: "JSON", Got: Shorten(err.Error())}})
	}
	r := Report{Versions: map[string]string{}, Refused: map[string]string{}, Waiting: map[string]string{}, Revisions: map[string]int64{}}
	var fields []fault.Field
	wrong := func(path string, key []byte, expected string, v *fastjson.Value) {
		fields = append(fields, fault.Field{Path: path + "." + Shorten(string(key)), Expected: expected, Got: Shorten(v.String())})
	}
	each := func(path string, fn func(key []byte, v *fastjson.Value)) {
		part := v.Get(path)
		if part == nil {
			return
		}
		o, err := part.Object()
		if err != nil {
			fields = append(fields, fault.Field{Path: path, Expected: "an object by name", Got: Shorten(part.String())})
			return
		}
		o.Visit(func(key []byte, v *fastjson.Value) {
			if len(fields) == 0 && max(len(r.Versions)+len(r.Refused)+len(r.Waiting), len(r.Revisions)) <= maxComponents {
				fn(key, v)
			}
		})
	}
	each("versions", func(key []byte, v *fastjson.Value) {
		if v.Type() != fastjson.TypeString {
			wrong("versions", key, "a string", v)
			return
		}
		r.Versions[string(key)] = string(v.GetStringBytes())
	})
	each("parameters", func(key []byte, v *fastjson.Value) {
		text, ok := scalar(v)
		if !ok {
			wrong("parameters", key, "a number, true, false or a text", v)
			return
		}
		r.Versions[fleet.ParameterComponent+string(key)] = text
	})
	each("features", func(key []byte, v *fastjson.Value) {
		if v.Type() != fastjson.TypeTrue && v.Type() != fastjson.TypeFalse {
			wrong("features", key, "true or false", v)
			return
		}
		r.Versions[fleet.FeatureComponent+string(key)] = v.String()
	})
	for path, into := range map[string]map[string]string{"refused": r.Refused, "waiting": r.Waiting} {
		each(path, func(key []byte, v *fastjson.Value) {
			words := string(v.GetStringBytes())
			if v.Type() != fastjson.TypeString || words == "" || len(words) > maxRefused {
				wrong(path, key, fmt.Sprintf("why, in 1 to %d bytes", maxRefused), v)
				return
			}
			into[string(key)] = words
		})
	}
	each("revisions", func(key []byte, v *fastjson.Value) {
		n, err := v.Int64()
		if err != nil || n < 0 {
			wrong("revisions", key, "the number that came with the value", v)
			return
		}
		r.Revisions[string(key)] = n
	})
	if len(fields) == 0 && len(r.Versions)+len(r.Refused)+len(r.Waiting) == 0 {
		fields = append(fields, fault.Field{Path: "versions", Expected: "an object of versions by component, or parameters, features, refused or waiting", Got: "nothing"})
	}
	if err := fault.Fields("attributes", fields); err != nil {
		return Report{}, err
	}
	if len(r.Versions) > 0 {
		if err := CheckVersions(r.Versions); err != nil {
			return Report{}, err
		}
	}
	return r, nil
}

// Declared refuses settings that the product does not declare, by name.
func (r *Report) Declared(p *fleet.Product) error {
	var fields []fault.Field
	for component := range r.Versions {
		if name, ok := strings.CutPrefix(component, fleet.ParameterComponent); ok && !p.HasParameter(name) {
			fields = append(fields, fault.Field{Path: "parameters." + Shorten(name), Expected: "a parameter that the product declares", Got: Shorten(name)})
		} else if name, ok = strings.CutPrefix(component, fleet.FeatureComponent); ok && !p.HasFeature(name) {
			fields = append(fields, fault.Field{Path: "features." + Shorten(name), Expected: "a feature that the product declares", Got: Shorten(name)})
		}
	}
	return fault.Fields("attributes", fields)
}

// scalar is a value's one text, as update.SettingText writes it.
func scalar(v *fastjson.Value) (string, bool) {
	switch v.Type() {
	case fastjson.TypeTrue, fastjson.TypeFalse:
		return v.String(), true
	case fastjson.TypeNumber:
		number, err := Float(v)
		if err != nil {
			return "", false
		}
		b, err := json.Marshal(number)
		return string(b), err == nil
	case fastjson.TypeString:
		b, err := json.Marshal(string(v.GetStringBytes()))
		return string(b), err == nil
	default:
		return "", false
	}
}

// Answer is a unit's word on a value that it was told and has not taken.
type Answer struct {
	Refused  bool   // else it waits
	Why      string // in the unit's words
	Revision int64  // of the value; 0: the one that it was told last
}

// Answers are a unit's, by component: a name is that of a parameter or a feature.
func (r *Report) Answers() map[string]Answer {
	out := map[string]Answer{}
	for _, prefix := range []string{fleet.ParameterComponent, fleet.FeatureComponent} {
		for name, words := range r.Waiting {
			out[prefix+name] = Answer{Why: words, Revision: r.Revisions[prefix+name]}
		}
		for name, words := range r.Refused {
			out[prefix+name] = Answer{Refused: true, Why: words, Revision: r.Revisions[prefix+name]}
		}
	}
	return out
}
