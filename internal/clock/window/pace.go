package window

import (
	"slices"
	"strings"
	"time"
)

// Minute is how many things began within a minute.
type Minute struct {
	At int64 `json:"at"` // Unix minutes
	N  int   `json:"n"`
}

// Began notes that something begins now; of those before, it keeps an hour.
func Began(before []Minute, now time.Time) []Minute {
	minute := now.Unix() / 60
	list := slices.DeleteFunc(slices.Clone(before), func(s Minute) bool { return s.At < minute-60 })
	if n := len(list); n > 0 && list[n-1].At == minute {
		list[n-1].N++
		return list
	}
	return append(list, Minute{minute, 1})
}

// WithinHour counts what began within the last hour; of its first minute, all.
func WithinHour(list []Minute, now time.Time) (n int) {
	for _, s := range list {
		if s.At >= now.Unix()/60-60 {
			n += s.N
		}
	}
	return n
}

// Words writes hours for people, as "mon,tue 08:00-17:00".
func Words(hours []Hours) string {
	var out []string
	for _, h := range hours {
		s := h.From + "-" + h.To
		if len(h.Days) > 0 {
			s = strings.Join(h.Days, ",") + " " + s
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}
