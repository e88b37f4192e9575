package fleet

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is written in files as 90d, 36h, 10m or 1d12h. A day is 24 hours.
type Duration time.Duration

// longest bounds durations, far below what overflows.
const longest = 100 * 365 * 24 * time.Hour

// ParseDuration reads a duration; beyond Go's units it knows d and w.
func ParseDuration(s string) (Duration, error) {
	var total time.Duration
	rest := s
	for _, u := range []struct {
		suffix string
		length time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		head, tail, ok := strings.Cut(rest, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(head, 64)
		if err != nil || !(n >= 0 && n*float64(u.length) <= float64(longest-total)) { // NaN, too
			return 0, fmt.Errorf("%q is not a duration: write it as 90d, 36h or 10m", s)
		}
		total += time.Duration(n * float64(u.length))
		rest = tail
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, fmt.Errorf("%q is not a duration: write it as 90d, 36h or 10m", s)
		}
		if d > longest-total {
			return 0, fmt.Errorf("%q is longer than 100 years", s)
		}
		total += d
	} else if s == "" {
		return 0, fmt.Errorf("an empty string is not a duration: write it as 90d, 36h or 10m")
	}
	return Duration(total), nil
}

// String writes whole days as d and the rest in Go's way.
func (d Duration) String() string {
	const day = Duration(24 * time.Hour)
	days, rest := d/day, time.Duration(d%day)
	switch {
	case days > 0 && rest == 0:
		return fmt.Sprintf("%dd", days)
	case days > 0:
		return fmt.Sprintf("%dd%s", days, trim(rest))
	default:
		return trim(rest)
	}
}

func trim(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalJSON writes the string form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the string form.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a duration is a string, as \"90d\": %w", err)
	}
	v, err := ParseDuration(s)
	if err != nil {
		return err
	}
	*d = v
	return nil
}
