package template

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// Quantity is a number with a unit of measure (UCUM code).
type Quantity struct {
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Bytes is a size in bytes.
type Bytes int64

// Day is a time of which the day alone is told.
type Day time.Time

// Values are what a text says, by placeholder: string, int, float64, Quantity,
// Bytes, time.Time, Day, []string. As JSON they keep their types.
type Values map[string]any

type kept struct {
	Time     *time.Time `json:"time,omitempty"`
	Day      *time.Time `json:"day,omitempty"`
	Quantity *Quantity  `json:"quantity,omitempty"`
	Bytes    *Bytes     `json:"bytes,omitempty"`
	Number   *float64   `json:"number,omitempty"`
	Text     *string    `json:"text,omitempty"`
	List     []string   `json:"list,omitempty"`
}

// MarshalJSON keeps the types.
func (v Values) MarshalJSON() ([]byte, error) {
	out := make(map[string]kept, len(v))
	for k, x := range v {
		var e kept
		switch x := x.(type) {
		case time.Time:
			e.Time = &x
		case Day:
			t := time.Time(x)
			e.Day = &t
		case Quantity:
			e.Quantity = &x
		case Bytes:
			e.Bytes = &x
		case float64:
			if math.IsNaN(x) || math.IsInf(x, 0) {
				continue
			}
			e.Number = &x
		case int:
			f := float64(x)
			e.Number = &f
		case []string:
			e.List = x
		case string:
			e.Text = &x
		case nil:
			continue
		default:
			s := fmt.Sprint(x)
			e.Text = &s
		}
		out[k] = e
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *Values) UnmarshalJSON(b []byte) error {
	var in map[string]kept
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*v = Values{}
	for k, e := range in {
		switch {
		case e.Time != nil:
			(*v)[k] = *e.Time
		case e.Day != nil:
			(*v)[k] = Day(*e.Day)
		case e.Quantity != nil:
			(*v)[k] = *e.Quantity
		case e.Bytes != nil:
			(*v)[k] = *e.Bytes
		case e.Number != nil:
			(*v)[k] = *e.Number
		case e.List != nil:
			(*v)[k] = e.List
		case e.Text != nil:
			(*v)[k] = *e.Text
		}
	}
	return nil
}

// clean takes out of a value what could change how the text around it is read:
// control characters, and marks that turn the direction of writing.
func clean(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0xfeff, r == 0xfffd:
			return -1
		case r == 0x2028 || r == 0x2029:
			return '\n'
		}
		return r
	}, strings.ToValidUTF8(s, "")))
}

// oneLine is text on one line, as a mail's subject must be.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '\t' || r < ' ' || r == 0x2028 || r == 0x2029 || r == 0x85 }), " ")
}

// shown is a value as the owner reads it; a number keeps what plurals need.
type shown struct {
	text   string
	number float64
}

// String is what a template writes.
func (s shown) String() string { return s.text }

// write turns a value into what a template works with: text, a number that
// plurals can be made of, or a list. What is empty is "".
func (w *writer) write(v any) any {
	switch x := v.(type) {
	case nil:
		return ""
	case string:
		return w.isolate(clean(x))
	case []string:
		out := make([]string, 0, len(x))
		for _, s := range x {
			if s = clean(s); s != "" {
				out = append(out, w.isolate(s))
			}
		}
		return out
	case int:
		return shown{w.number(float64(x), 0), float64(x)}
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return ""
		}
		return shown{w.number(x, 3), x}
	case Quantity:
		if math.IsNaN(x.Value) || math.IsInf(x.Value, 0) {
			return ""
		}
		text, n := w.quantity(x)
		return shown{w.isolate(text), n}
	case Bytes:
		if x <= 0 {
			return ""
		}
		return shown{w.bytes(int64(x)), float64(x)}
	case time.Time:
		if x.IsZero() {
			return ""
		}
		return w.isolate(w.time(x))
	case Day:
		if time.Time(x).IsZero() {
			return ""
		}
		return w.isolate(w.date(time.Time(x)))
	default:
		return w.isolate(clean(fmt.Sprint(x)))
	}
}
