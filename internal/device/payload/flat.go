package payload

// AppendFlat adds the message of a payload in the form that nearly all have,
// {"ts":1401624000000,"values":{"current":16.25,"charging":true,"label":"x"}},
// with "seq" or without, read in one pass. It reports false, and adds nothing,
// for every other form and for whatever is unusual (escapes, exponents, nested
// values, repeated keys): Parse knows those. What it takes, Parse takes for the
// same. The messages stay valid until Reset or Parse, and as long as body is.
func (p *Payload) AppendFlat(body []byte) bool {
	s := flat{b: body}
	first := len(p.values)
	m, ok := s.message(&p.values)
	if !ok {
		p.values = p.values[:first]
		return false
	}
	m.Values = p.values[first:len(p.values):len(p.values)]
	p.Messages = append(p.Messages, m)
	return true
}

// Reset forgets all messages.
func (p *Payload) Reset() { p.Messages, p.values = p.Messages[:0], p.values[:0] }

// flat reads a payload of the common form.
type flat struct {
	b []byte
	i int
}

func (s *flat) message(values *[]Value) (m Message, ok bool) {
	var seen [3]bool // ts, seq, values
	if !s.next('{') {
		return m, false
	}
	for {
		key, ok := s.text()
		if !ok || !s.next(':') {
			return m, false
		}
		at := 0
		switch string(key) {
		case "ts":
			m.Event, ok = s.whole()
			m.HasEvent = true
		case "seq":
			at = 1
			m.Sequence, ok = s.whole()
		case "values":
			at = 2
			ok = s.values(values)
		default:
			return m, false
		}
		if !ok || seen[at] {
			return m, false
		}
		seen[at] = true
		if s.next(',') {
			continue
		}
		ok = s.next('}')
		s.space()
		return m, ok && s.i == len(s.b) && seen[2]
	}
}

// values reads {"name":value,…}.
func (s *flat) values(out *[]Value) bool {
	if !s.next('{') {
		return false
	}
	if s.next('}') {
		return true
	}
	for {
		v := Value{}
		var ok bool
		if v.Name, ok = s.text(); !ok || !s.next(':') || !s.value(&v) {
			return false
		}
		*out = append(*out, v)
		if s.next(',') {
			continue
		}
		return s.next('}')
	}
}

func (s *flat) value(v *Value) bool {
	s.space()
	if s.i == len(s.b) {
		return false
	}
	switch c := s.b[s.i]; {
	case c == '-' || c >= '0' && c <= '9':
		var ok bool
		v.Kind = KindNumber
		v.Number, ok = s.number()
		return ok
	case c == '"':
		var ok bool
		v.Kind = KindText
		v.Text, ok = s.text()
		return ok
	case s.word("true"):
		v.Kind, v.Number = KindBoolean, 1
		return true
	case s.word("false"):
		v.Kind = KindBoolean
		return true
	}
	return false
}

func (s *flat) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

func (s *flat) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// next reads c, after spaces.
func (s *flat) next(c byte) bool {
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// text reads a string without escapes.
func (s *flat) text() ([]byte, bool) {
	if !s.next('"') {
		return nil, false
	}
	for i := s.i; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			t := s.b[s.i:i:i]
			s.i = i + 1
			return t, true
		case c == '\\' || c < ' ':
			return nil, false
		}
	}
	return nil, false
}

// powers of ten that a float holds exactly.
var powers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// digits reads a number's digits, at most 15 so that they are exact, and how
// many of them stand behind the point.
func (s *flat) digits() (n int64, behind int, negative, ok bool) {
	i := s.i
	if i < len(s.b) && s.b[i] == '-' {
		negative = true
		i++
	}
	begin, point := i, -1
	for ; i < len(s.b); i++ {
		c := s.b[i]
		if c == '.' && point < 0 {
			point = i
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + int64(c-'0')
		if i-begin > 15 {
			return 0, 0, false, false
		}
	}
	whole := i - begin
	if point >= 0 {
		whole, behind = point-begin, i-point-1
		if behind == 0 {
			return 0, 0, false, false
		}
	}
	if whole == 0 || whole > 1 && s.b[begin] == '0' || whole+behind > 15 {
		return 0, 0, false, false
	}
	if i < len(s.b) && (s.b[i] == 'e' || s.b[i] == 'E' || s.b[i] == '.') {
		return 0, 0, false, false
	}
	s.i = i
	return n, behind, negative, true
}

// number reads a number without exponent. Both its digits and the power of ten
// are exact, so that their quotient is the nearest float.
func (s *flat) number() (float64, bool) {
	n, behind, negative, ok := s.digits()
	f := float64(n)
	if behind > 0 {
		f /= powers[behind]
	}
	if negative {
		f = -f
	}
	return f, ok
}

// whole reads a whole number that is not negative.
func (s *flat) whole() (int64, bool) {
	s.space()
	n, behind, negative, ok := s.digits()
	return n, ok && behind == 0 && !negative
}
