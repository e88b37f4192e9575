// Package window tells the hours in which something may happen, by day of the
// week and time of day where somebody lives.
package window

import (
	"fmt"
	"slices"
	"time"
)

// Hours are a time of day on some days of the week. To at or before From is on
// the next day: 22:00 to 06:00 on Friday ends on Saturday morning. The same
// From and To are the whole day.
type Hours struct {
	Days []string `json:"days,omitempty" doc:"mon, tue, wed, thu, fri, sat, sun; none: every day. Hours that pass midnight belong to the day on which they begin."`
	From string   `json:"from" doc:"As 08:00."`
	To   string   `json:"to" doc:"As 17:30; at or before from: on the next day."`
}

// days by time.Weekday.
var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// minutes reads a time of day.
func minutes(s string) (int, bool) {
	t, err := time.Parse("15:04", s)
	return t.Hour()*60 + t.Minute(), err == nil
}

// Validate finds the mistakes of hours at path.
func Validate(hours []Hours, path string, add func(path, expected string, got any)) {
	for i, h := range hours {
		at := fmt.Sprintf("%s[%d]", path, i)
		for j, d := range h.Days {
			if !slices.Contains(days, d) {
				add(fmt.Sprintf("%s.days[%d]", at, j), "mon, tue, wed, thu, fri, sat or sun", d)
			}
		}
		if _, ok := minutes(h.From); !ok {
			add(at+".from", "a time of day, as 08:00", h.From)
		}
		if _, ok := minutes(h.To); !ok {
			add(at+".to", "a time of day, as 17:30", h.To)
		}
	}
}

// at is a time of day on a date. A time that clocks skip, an hour in spring or
// a whole day where the date line was moved, is the first moment after it.
func at(y int, mo time.Month, d, minute int, loc *time.Location) time.Time {
	t := time.Date(y, mo, d, minute/60, minute%60, 0, 0, loc)
	_, offset := t.Zone()
	late := t.Unix() + int64(offset) - time.Date(y, mo, d, minute/60, minute%60, 0, 0, time.UTC).Unix()
	switch start, end := t.ZoneBounds(); { // time.Date does not say on which side of what is skipped it goes
	case late < 0:
		return end
	case late > 0:
		return start
	}
	return t
}

// span is when hours that begin on a date begin and end; ok tells whether they
// do begin on it.
func (h *Hours) span(y int, mo time.Month, d int, loc *time.Location) (from, to time.Time, ok bool) {
	day := time.Date(y, mo, d, 12, 0, 0, 0, time.UTC).Weekday()
	if len(h.Days) > 0 && !slices.Contains(h.Days, days[day]) {
		return from, to, false
	}
	begin, ok1 := minutes(h.From)
	end, ok2 := minutes(h.To)
	from, to = at(y, mo, d, begin, loc), at(y, mo, d, end, loc)
	if end <= begin {
		to = at(y, mo, d+1, end, loc)
	}
	return from, to, ok1 && ok2
}

// Open reports whether t lies in one of the hours, where loc is the time zone;
// no hours are always open.
func Open(hours []Hours, t time.Time, loc *time.Location) bool {
	_, in := within(hours, t, loc)
	return in || len(hours) == 0
}

// within is the end of the hours that t lies in, the latest if several.
func within(hours []Hours, t time.Time, loc *time.Location) (end time.Time, in bool) {
	y, mo, d := t.In(loc).Date()
	for i := range hours {
		for _, back := range []int{0, 1} {
			from, to, ok := hours[i].span(y, mo, d-back, loc)
			if ok && !t.Before(from) && t.Before(to) && to.After(end) {
				end, in = to, true
			}
		}
	}
	return end, in
}

// Next is the first moment from t on that lies in the hours; t itself if it
// does. Without any such moment within two weeks it is zero.
func Next(hours []Hours, t time.Time, loc *time.Location) time.Time {
	if Open(hours, t, loc) {
		return t
	}
	y, mo, d := t.In(loc).Date()
	var next time.Time
	for i := range hours {
		for ahead := range 16 { // a week, and one of which the day was skipped
			from, to, ok := hours[i].span(y, mo, d+ahead, loc)
			if ok && from.Before(to) && from.After(t) && (next.IsZero() || from.Before(next)) {
				next = from.UTC()
			}
		}
	}
	return next
}

// After is the first moment from t on that lies in none of the hours, as the
// end of a night's rest; hours without an end give t.
func After(hours []Hours, t time.Time, loc *time.Location) time.Time {
	out := t
	for range 20 {
		end, in := within(hours, out, loc)
		if !in {
			return out
		}
		out = end.UTC()
	}
	return t
}
