package fleet

import (
	"fmt"
	"math"
	"strings"
)

// What a unit is set to stands among its versions: the component of parameter
// height is "parameter:height", that of feature eco "feature:eco", and its
// version the value as JSON.
const (
	ParameterComponent = "parameter:"
	FeatureComponent   = "feature:"
)

// Software are the versions of versions that are of software, not of settings.
func Software(versions map[string]string) map[string]string {
	out := make(map[string]string, len(versions))
	for c, v := range versions {
		if !strings.HasPrefix(c, ParameterComponent) && !strings.HasPrefix(c, FeatureComponent) {
			out[c] = v
		}
	}
	return out
}

// Parameter is a setting that can be changed over the air.
type Parameter struct {
	Name        string    `json:"name"`
	Type        ValueType `json:"type" enum:"number,boolean,text"`
	Unit        string    `json:"unit,omitempty"`
	Default     any       `json:"default,omitempty"`
	Min         *float64  `json:"min,omitempty"`
	Max         *float64  `json:"max,omitempty"`
	Description string    `json:"description,omitempty"`
}

// Refuse says what a value of the parameter must be where v, of JSON, is not; "" where it is.
func (q *Parameter) Refuse(v any) (expected string) {
	switch v := v.(type) {
	case float64:
		if q.Type == Number && !math.IsNaN(v) && !math.IsInf(v, 0) && (q.Min == nil || v >= *q.Min) && (q.Max == nil || v <= *q.Max) {
			return ""
		}
	case bool:
		if q.Type == Boolean {
			return ""
		}
	case string:
		if q.Type == Text && v != "" && strings.IndexFunc(v, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
			return ""
		}
	}
	switch {
	case q.Type == Text:
		return "a text of printable ASCII characters"
	case q.Type == Boolean:
		return "true or false"
	case q.Min != nil && q.Max != nil:
		return fmt.Sprintf("a number from %v to %v", *q.Min, *q.Max)
	case q.Min != nil:
		return fmt.Sprintf("a number of %v or more", *q.Min)
	case q.Max != nil:
		return fmt.Sprintf("a number of %v or less", *q.Max)
	}
	return "a number"
}
