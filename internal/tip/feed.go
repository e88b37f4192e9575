package tip

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/measure"
)

// What a feed's values are for.
const (
	ByProduct = "product"
	ByRegion  = "region"
	ByPlace   = "place"
)

// Convert is a value in one UCUM unit as one in another of the same kind.
func Convert(v float64, from, to string) (float64, bool) { return measure.Convert(v, from, to) }

// cell is the middle of the cell of a size that a point is in.
func cell(latitude, longitude, size float64) fleet.Point {
	middle := func(v float64) float64 {
		return math.Round((math.Floor(v/size)+0.5)*size*1e4) / 1e4
	}
	return fleet.Point{Latitude: max(-90, min(90, middle(latitude))), Longitude: middle(longitude)}
}

// cellKey names a cell in the stream.
func cellKey(p fleet.Point) string {
	return strconv.FormatFloat(p.Latitude, 'f', -1, 64) + "," + strconv.FormatFloat(p.Longitude, 'f', -1, 64)
}

// locate finds where a unit is, for each feed, as coarsely as its owner permits.
func (e *Evaluator) locate(u *unit) {
	for i := range u.product.Feeds {
		f := &u.product.Feeds[i]
		place := u.place(f)
		at := spot{u.Product, f.Name, place}
		if old := (spot{u.Product, f.Name, u.places[i]}); old != at {
			delete(e.in[old], u)
			if len(e.in[old]) == 0 {
				delete(e.in, old)
			}
		}
		u.places[i] = place
		if place == "" && f.By != ByProduct || !u.reads(i) {
			delete(e.in[at], u)
			continue
		}
		if e.in[at] == nil {
			e.in[at] = map[*unit]struct{}{}
		}
		e.in[at][u] = struct{}{}
	}
}

// reads reports whether a tip whose purpose the owner permits reads a feed.
func (u *unit) reads(feed int) bool {
	return slices.ContainsFunc(u.product.rules, func(r *rule) bool { return slices.Contains(r.feeds, feed) && u.may(r.Purpose) })
}

func (u *unit) place(f *fleet.Feed) string {
	switch f.By {
	case ByRegion:
		if _, known := f.Regions[u.Region]; len(f.Regions) > 0 && !known {
			return ""
		}
		return u.Region
	case ByPlace:
		i := slices.IndexFunc(f.Place.Cells, func(c fleet.FeedCell) bool { return u.may(c.Purpose) })
		latitude, ok := u.product.index[f.Place.Latitude]
		longitude, both := u.product.index[f.Place.Longitude]
		if i < 0 || !ok || !both {
			return ""
		}
		lat, long := u.values[latitude], u.values[longitude]
		if lat.At == 0 || long.At == 0 || !(math.Abs(lat.Number) <= 90 && math.Abs(long.Number) <= 180) {
			return ""
		}
		return cellKey(cell(lat.Number, long.Number, f.Place.Cells[i].Size))
	}
	return ""
}

// Places are where a feed is to be asked: where units are whose owners permit
// it, in order of their keys. A key tells no more than the owners permit.
func (e *Evaluator) Places(product, feed string) []fleet.Place {
	p := e.products[product]
	if p == nil {
		return nil
	}
	var out []fleet.Place
	i := slices.IndexFunc(p.Feeds, func(f fleet.Feed) bool { return f.Name == feed })
	if i < 0 {
		return nil
	}
	f := &p.Feeds[i]
	for at, units := range e.in {
		if at.product != product || at.feed != feed || len(units) == 0 {
			continue
		}
		place := fleet.Place{Key: at.place}
		switch f.By {
		case ByRegion:
			place.Region = at.place
			if point, ok := f.Regions[at.place]; ok {
				place.Point = &point
			}
		case ByPlace:
			var point fleet.Point
			if _, err := fmt.Sscanf(strings.Replace(at.place, ",", " ", 1), "%g %g", &point.Latitude, &point.Longitude); err != nil {
				continue
			}
			place.Point = &point
		}
		out = append(out, place)
	}
	slices.SortFunc(out, func(a, b fleet.Place) int { return strings.Compare(a.Key, b.Key) })
	return out
}

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
		v, ok := pointer(doc, f.Time)
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
