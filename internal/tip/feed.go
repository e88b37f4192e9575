package tip

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/tip/outside"
)

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
		if place == "" && f.By != outside.ByProduct || !u.reads(i) {
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
	case outside.ByRegion:
		if _, known := f.Regions[u.Region]; len(f.Regions) > 0 && !known {
			return ""
		}
		return u.Region
	case outside.ByPlace:
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
		case outside.ByRegion:
			place.Region = at.place
			if point, ok := f.Regions[at.place]; ok {
				place.Point = &point
			}
		case outside.ByPlace:
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
