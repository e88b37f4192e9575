// Package fault names the kinds of refusal that a caller may decide on. Every
// boundary (HTTP, MQTT, command line) maps a Kind once; everything else wraps
// errors with the operation that failed.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is what a caller can do about an error.
type Kind int

// The kinds. Internal is the zero value: an error nobody classified.
const (
	Internal    Kind = iota // nobody's fault but ours
	Invalid                 // the input is wrong; Fields say where
	NotFound                // no such thing, or not yours to see
	Conflict                // right input at the wrong time
	Denied                  // known caller, not allowed
	Unavailable             // try again later
)

var kindNames = [...]string{"internal", "invalid", "not found", "conflict", "denied", "unavailable"}

func (k Kind) String() string { return kindNames[k] }

// Field is one mistake in an input. Path uses the input's own field names,
// as "spec.signals[2].unit".
type Field struct {
	Path     string `json:"path"`
	Expected string `json:"expected"`      // what would have been right
	Got      string `json:"got,omitempty"` // what stood there
}

func (f Field) String() string {
	text := "expected " + f.Expected
	if f.Path != "" {
		text = f.Path + ": " + text
	}
	if f.Got != "" {
		text += ", got " + f.Got
	}
	return text
}

// Error carries a Kind, a sentence for people, and the mistaken fields.
type Error struct {
	Kind   Kind
	Msg    string
	Fields []Field
	Err    error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Msg)
	for i, f := range e.Fields {
		if i == 0 && e.Msg != "" {
			b.WriteString(": ")
		} else if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.String())
	}
	if e.Err != nil {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of a kind. A %w verb in format keeps the cause.
func New(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// Wrap classifies err, saying what was being done.
func Wrap(k Kind, op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: k, Msg: op, Err: err}
}

// Fields makes an Invalid error of mistakes, or nil when there are none.
func Fields(what string, fields []Field) error {
	if len(fields) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Msg: what, Fields: fields}
}

// KindOf finds the kind anywhere in err's chain; Internal if there is none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// FieldsOf finds the mistaken fields anywhere in err's chain.
func FieldsOf(err error) []Field {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Fields
	}
	return nil
}
