package spec

import (
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// longestWindow bounds a window, so that looking for its beginning stays cheap.
const longestWindow = 24 * time.Hour

// field is what one part of a schedule allows.
type field struct {
	from, to int
	names    []string
}

// quartz are the parts of a schedule in order. Weekdays run from Sunday, 1, to
// Saturday, 7.
var quartz = []field{
	{0, 59, nil},
	{0, 59, nil},
	{0, 23, nil},
	{1, 31, nil},
	{1, 12, []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}},
	{1, 7, []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}},
	{1970, 2099, nil},
}

// Recurs is a window that opens again and again: a schedule as Quartz writes it
// (second minute hour day month weekday [year]), in a fixed offset from UTC.
type Recurs struct {
	Schedule string        `json:"schedule"`
	Offset   int           `json:"offset"` // seconds east of UTC
	Length   time.Duration `json:"length"`
}

// Check finds what is wrong with a window.
func (r *Recurs) Check() error {
	parts := strings.Fields(r.Schedule)
	bad := func(path, expected, got string) error {
		return fault.Fields("maintenance window", []fault.Field{{Path: "maintenanceWindow." + path, Expected: expected, Got: got}})
	}
	if len(parts) != 6 && len(parts) != 7 {
		return bad("schedule", "second minute hour day month weekday [year]", r.Schedule)
	}
	for i, p := range parts {
		if _, ok := quartz[i].match(p, quartz[i].from); !ok {
			return bad("schedule", "numbers, lists, ranges and steps, as 0 30 2 ? * SUN-THU", p)
		}
	}
	if r.Length < time.Second || r.Length > longestWindow {
		return bad("duration", "1 second to 24 hours, as 02:00:00", r.Length.String())
	}
	if r.Offset < -18*3600 || r.Offset > 18*3600 {
		return bad("timezone", "an offset from UTC, as +02:00", strconv.Itoa(r.Offset))
	}
	return nil
}

// Open reports whether a window has begun less than its length before now.
func (r *Recurs) Open(now time.Time) bool {
	parts := strings.Fields(r.Schedule)
	local := now.In(time.FixedZone("", r.Offset)).Truncate(time.Second)
	for t := local; local.Sub(t) < r.Length; t = t.Add(-time.Second) {
		if begins(parts, t) {
			return true
		}
	}
	return false
}

func begins(parts []string, t time.Time) bool {
	at := [...]int{t.Second(), t.Minute(), t.Hour(), t.Day(), int(t.Month()), int(t.Weekday()) + 1, t.Year()}
	for i, p := range parts {
		if hit, _ := quartz[i].match(p, at[i]); !hit {
			return false
		}
	}
	return true
}

// match reports whether one part of a schedule holds at a value; ok is false
// where the part cannot be read.
func (f field) match(part string, v int) (hit, ok bool) {
	for item := range strings.SplitSeq(part, ",") {
		span, step, stepped := strings.Cut(item, "/")
		every := 1
		if stepped {
			n, err := strconv.Atoi(step)
			if err != nil || n < 1 {
				return false, false
			}
			every = n
		}
		from, to := f.from, f.to
		if span != "*" && span != "?" {
			first, last, ranged := strings.Cut(span, "-")
			var ok bool
			if from, ok = f.number(first); !ok {
				return false, false
			}
			switch {
			case ranged:
				if to, ok = f.number(last); !ok {
					return false, false
				}
			case !stepped:
				to = from
			}
		}
		if from > to {
			return false, false
		}
		hit = hit || v >= from && v <= to && (v-from)%every == 0
	}
	return hit, true
}

func (f field) number(s string) (int, bool) {
	for i, n := range f.names {
		if strings.EqualFold(n, s) {
			return f.from + i, true
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= f.from && n <= f.to
}
