package influx

import (
	"bytes"
	"errors"
	"math"
	"strconv"

	"fettle.dev/fettle/internal/device"
)

// Line protocol, as InfluxDB 1.x and 2.x read it:
//
//	measurement[,tag=value…] field=value[,field=value…] [timestamp]
//
// A backslash before a comma, a space or (in keys and tag values) an equals
// sign takes its meaning away; before anything else it stands for itself. In
// string values it does so before " and \. Numbers are floats, integers end in
// i, unsigned ones in u. Lines end with \n or \r\n; a string value may hold
// line ends. Lines that begin with # are comments.

// point is one line. Its tags and fields are valid until the next one, the
// bytes they refer to until the parser is reset.
type point struct {
	line        int // where it begins, from 1
	raw         []byte
	measurement []byte
	tags        []pair
	fields      []field
	series      []byte // measurement and tags as they stand there
	time        int64  // in the request's precision
	timed       bool
}

type pair struct{ key, value []byte }

type field struct {
	key   []byte
	value device.Value // without name
}

// tag gives the value of a tag, "" without one.
func (p *point) tag(key string) string {
	for i := range p.tags {
		if string(p.tags[i].key) == key {
			return string(p.tags[i].value)
		}
	}
	return ""
}

// The mistakes a line may have.
var (
	errNoMeasurement = errors.New("missing measurement")
	errNoTagKey      = errors.New("missing tag key")
	errNoTagValue    = errors.New("missing tag value")
	errNoFields      = errors.New("missing fields")
	errNoFieldKey    = errors.New("missing field key")
	errNoFieldValue  = errors.New("missing field value")
	errQuotes        = errors.New("unbalanced quotes")
	errValue         = errors.New("invalid field format")
	errTimestamp     = errors.New("bad timestamp")
	errRange         = errors.New("integer out of range")
)

// parser reads the lines of a body one after the other.
type parser struct {
	point

	rest  []byte
	at    int    // line of rest's beginning
	plain []byte // names and strings without their escapes; grows with the body
}

func (p *parser) reset(body []byte) {
	p.rest, p.at = body, 1
	p.plain = p.plain[:0]
}

// next reads the next line. More is false at the end. After an error the line
// is passed over: raw is what stood there.
func (p *parser) next() (more bool, err error) {
	for {
		p.rest = bytes.TrimLeft(p.rest, " \t\r\x00")
		if len(p.rest) == 0 {
			return false, nil
		}
		if c := p.rest[0]; c != '\n' && c != '#' {
			break
		}
		p.skip(p.rest)
	}
	p.line = p.at
	begin := p.rest
	rest, err := p.read(p.rest)
	if err != nil {
		rest = p.rest
	}
	p.raw = begin[:len(begin)-len(rest)]
	if err != nil {
		end := bytes.IndexByte(begin, '\n')
		if end < 0 {
			end = len(begin)
		}
		p.raw = begin[:end]
	}
	p.at += bytes.Count(p.raw, []byte{'\n'})
	p.rest = begin[len(p.raw):]
	p.skip(p.rest)
	p.raw = bytes.TrimRight(p.raw, "\r")
	return true, err
}

// skip passes the rest of a line over, with its end.
func (p *parser) skip(b []byte) {
	_, rest, ended := bytes.Cut(b, []byte{'\n'})
	p.rest = rest
	if ended {
		p.at++
	}
}

// read takes one line from b and gives what follows its last character.
func (p *parser) read(b []byte) ([]byte, error) {
	p.tags, p.fields, p.timed = p.tags[:0], p.fields[:0], false
	begin := b
	p.measurement, b = p.token(b, false)
	if len(p.measurement) == 0 {
		return b, errNoMeasurement
	}
	for len(b) > 0 && b[0] == ',' {
		var t pair
		if t.key, b = p.token(b[1:], true); len(t.key) == 0 {
			return b, errNoTagKey
		}
		if len(b) == 0 || b[0] != '=' {
			return b, errNoTagValue
		}
		if t.value, b = p.token(b[1:], true); len(t.value) == 0 || len(b) > 0 && b[0] == '=' {
			return b, errNoTagValue
		}
		p.tags = append(p.tags, t)
	}
	p.series = begin[:len(begin)-len(b)]
	blank := len(b)
	b = bytes.TrimLeft(b, " ")
	if len(b) == blank || atEnd(b) {
		return b, errNoFields
	}
	for {
		var f field
		if f.key, b = p.token(b, true); len(f.key) == 0 {
			return b, errNoFieldKey
		}
		if len(b) == 0 || b[0] != '=' {
			return b, errNoFieldValue
		}
		var err error
		if b, err = p.value(b[1:], &f.value); err != nil {
			return b, err
		}
		p.fields = append(p.fields, f)
		if len(b) == 0 || b[0] != ',' {
			break
		}
		b = b[1:]
	}
	b = bytes.TrimLeft(b, " ")
	if atEnd(b) {
		return b, nil
	}
	end := bytes.IndexAny(b, " \r\n")
	if end < 0 {
		end = len(b)
	}
	var err error
	if p.time, err = strconv.ParseInt(string(b[:end]), 10, 64); err != nil {
		return b, errTimestamp
	}
	p.timed = true
	if b = bytes.TrimLeft(b[end:], " "); !atEnd(b) {
		return b, errTimestamp
	}
	return b, nil
}

// atEnd reports whether a line ends here.
func atEnd(b []byte) bool { return len(b) == 0 || b[0] == '\n' || b[0] == '\r' }

// token reads up to a comma, space, line end or, in keys and tag values, an
// equals sign, and undoes its escapes.
func (p *parser) token(b []byte, equals bool) (token, rest []byte) {
	special := func(c byte) bool { return c == ',' || c == ' ' || equals && c == '=' }
	escaped := false
	i := 0
	for ; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) && special(b[i+1]) {
			escaped = true
			i++
		} else if special(b[i]) || b[i] == '\n' || b[i] == '\r' {
			break
		}
	}
	token, rest = b[:i], b[i:]
	if !escaped {
		return token, rest
	}
	first := len(p.plain)
	for j := 0; j < len(token); j++ {
		if token[j] == '\\' && j+1 < len(token) && special(token[j+1]) {
			j++
		}
		p.plain = append(p.plain, token[j])
	}
	return p.plain[first:len(p.plain):len(p.plain)], rest
}

// value reads a field's value.
func (p *parser) value(b []byte, v *device.Value) ([]byte, error) {
	if len(b) > 0 && b[0] == '"' {
		return p.quoted(b[1:], v)
	}
	end := bytes.IndexAny(b, ", \r\n")
	if end < 0 {
		end = len(b)
	}
	word, rest := b[:end], b[end:]
	if len(word) == 0 {
		return rest, errNoFieldValue
	}
	switch string(word) {
	case "t", "T", "true", "True", "TRUE":
		v.Kind, v.Number = device.KindBoolean, 1
		return rest, nil
	case "f", "F", "false", "False", "FALSE":
		v.Kind = device.KindBoolean
		return rest, nil
	}
	v.Kind = device.KindNumber
	digits := string(word[:len(word)-1])
	switch word[len(word)-1] {
	case 'i':
		n, err := strconv.ParseInt(digits, 10, 64)
		v.Number = float64(n)
		return rest, wholeError(err)
	case 'u':
		n, err := strconv.ParseUint(digits, 10, 64)
		v.Number = float64(n)
		return rest, wholeError(err)
	}
	if c := word[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') || bytes.ContainsAny(word, "xXpP_") {
		return rest, errValue // NaN and infinities are none here, nor are Go's own spellings
	}
	f, err := strconv.ParseFloat(string(word), 64)
	if err != nil && !math.IsInf(f, 0) || bytes.ContainsAny(word, "nN") { // too large is refused as not finite, by its signal
		return rest, errValue
	}
	v.Number = f
	return rest, nil
}

func wholeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, strconv.ErrRange):
		return errRange
	default:
		return errValue
	}
}

// quoted reads a string value up to its closing quote.
func (p *parser) quoted(b []byte, v *device.Value) ([]byte, error) {
	escaped := false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			if i+1 < len(b) && (b[i+1] == '"' || b[i+1] == '\\') {
				escaped = true
				i++
			}
		case '"':
			v.Kind, v.Text = device.KindText, b[:i]
			if escaped {
				v.Text = p.unquote(b[:i])
			}
			rest := b[i+1:]
			if len(rest) > 0 && rest[0] != ',' && rest[0] != ' ' && !atEnd(rest) {
				return rest, errValue
			}
			return rest, nil
		}
	}
	return b, errQuotes
}

func (p *parser) unquote(b []byte) []byte {
	first := len(p.plain)
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' && i+1 < len(b) && (b[i+1] == '"' || b[i+1] == '\\') {
			i++
		}
		p.plain = append(p.plain, b[i])
	}
	return p.plain[first:len(p.plain):len(p.plain)]
}
