// Package outside reads outside context: what products declare of their feeds,
// and the documents that feeds send.
package outside

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/measure"
)

// Status is how one feed is doing.
type Status struct {
	Product string    `json:"product"`
	Feed    string    `json:"feed"`
	Title   string    `json:"title"`
	Source  string    `json:"source" doc:"Host that it comes from."`
	Places  int       `json:"places" doc:"Regions or cells that are asked for."`
	HeardAt time.Time `json:"heardAt,omitzero" doc:"When it last said something that could be read."`
	Failing string    `json:"failing,omitempty" doc:"Why it says nothing now."`
}

// What a feed's values are for.
const (
	ByProduct = "product"
	ByRegion  = "region"
	ByPlace   = "place"
)

// Convert is a value in one UCUM unit as one in another of the same kind.
func Convert(v float64, from, to string) (float64, bool) { return measure.Convert(v, from, to) }

// maxValue bounds a text of a feed, in bytes.
const maxValue = 200

// Read takes a feed's variables out of a document. A variable that is not
// there, or of another type, is left out: it is not known. An error says that
// nothing of the document could be read.
func Read(f *fleet.Feed, body []byte, received time.Time) (values map[string]any, at time.Time, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	var doc any
	if err := d.Decode(&doc); err != nil {
		return nil, at, fmt.Errorf("not JSON: %w", err)
	}
	at = received
	if f.Time != "" {
		v, _ := pointer(doc, f.Time) // nothing is no time
		var ok bool
		if at, ok = instant(v); !ok {
			return nil, at, fmt.Errorf("no time at %s", f.Time)
		}
		if at.After(received.Add(15 * time.Minute)) { // a forecast is no observation
			return nil, at, fmt.Errorf("the time at %s, %s, has not come yet", f.Time, at.Format(time.RFC3339))
		}
	}
	values = map[string]any{}
	for i := range f.Variables {
		v := &f.Variables[i]
		if x, ok := pointer(doc, v.Path); ok {
			if x, ok = valueOf(v, x); ok {
				values[v.Name] = x
			}
		}
	}
	if len(values) == 0 {
		return nil, at, errors.New("none of the variables is in the document")
	}
	return values, at, nil
}

// valueOf makes a value of a variable's type and unit.
func valueOf(v *fleet.FeedVariable, x any) (any, bool) {
	switch x := x.(type) {
	case float64:
		if v.Type != fleet.Number || math.IsInf(x, 0) || math.IsNaN(x) {
			return nil, false
		}
		out, ok := Convert(x, v.Sent, v.Unit)
		return math.Round(out*1e6) / 1e6, ok
	case bool:
		return x, v.Type == fleet.Boolean
	case string:
		return x, v.Type == fleet.Text && len(x) <= maxValue
	}
	return nil, false
}

// pointer follows a JSON Pointer (RFC 6901).
func pointer(doc any, path string) (any, bool) {
	if path == "" {
		return doc, true
	}
	for token := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch at := doc.(type) {
		case map[string]any:
			v, ok := at[token]
			if !ok {
				return nil, false
			}
			doc = v
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(at) || token != strconv.Itoa(i) {
				return nil, false
			}
			doc = at[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

// instant reads a time: RFC 3339, the same without a zone (UTC), or Unix seconds.
func instant(v any) (time.Time, bool) {
	switch x := v.(type) {
	case float64:
		if x < 0 || x > 1e11 {
			return time.Time{}, false
		}
		return time.UnixMilli(int64(x * 1000)).UTC(), true
	case string:
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05"} {
			if t, err := time.Parse(layout, x); err == nil {
				return t.UTC(), true
			}
		}
	}
	return time.Time{}, false
}
