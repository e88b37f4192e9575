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
}

// maxRefused bounds the words of a refusal, in bytes.
const maxRefused = 500

// ParseReport reads {"versions":{"software":"2.0.0"},"parameters":{"height":120},
// "features":{"eco":true},"refused":{"height":"not while driving"}}, of which
// at least one must be there.
func ParseReport(body []byte) (Report, error) {
	var parser fastjson.Parser
	v, err := parser.ParseBytes(body)
	if err != nil {
		return Report{}, fault.Fields("attributes", []fault.Field{{Expected: "JSON", Got: Shorten(err.Error())}})
	}
	r := Report{Versions: map[string]string{}, Refused: map[string]string{}}
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
			if len(fields) == 0 && len(r.Versions)+len(r.Refused) <= maxComponents {
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
	each("refused", func(key []byte, v *fastjson.Value) {
		words := string(v.GetStringBytes())
		if v.Type() != fastjson.TypeString || words == "" || len(words) > maxRefused {
			wrong("refused", key, fmt.Sprintf("why, in 1 to %d bytes", maxRefused), v)
			return
		}
		r.Refused[string(key)] = words
	})
	if len(fields) == 0 && len(r.Versions)+len(r.Refused) == 0 {
		fields = append(fields, fault.Field{Path: "versions", Expected: "an object of versions by component, or parameters, features or refused", Got: "nothing"})
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
