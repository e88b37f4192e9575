package door

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
)

// Refusal is how an error is answered, whatever words a protocol has for it.
type Refusal struct {
	Status     int
	RetryAfter int // seconds; 0: coming again does not help
	Detail     string
	Fields     []fault.Field
	challenge  bool
	accept     bool
}

// Refusal decides how an error is answered, and logs what an operator should
// know of. 429: nothing was taken for want of room. 503: the store failed, or
// it is not known yet whether it took it.
func (d *Door) Refusal(r *http.Request, err error) Refusal {
	if e, ok := errors.AsType[*refused](err); ok {
		out := Refusal{Status: e.status, Detail: e.detail, accept: e.accept}
		if e.status == http.StatusTooManyRequests {
			out.RetryAfter = soon()
		}
		return out
	}
	out := Refusal{Status: http.StatusInternalServerError, Detail: err.Error(), Fields: fault.FieldsOf(err)}
	switch fault.KindOf(err) {
	case fault.Invalid:
		out.Status = http.StatusBadRequest
	case fault.NotFound:
		out.Status = http.StatusNotFound
	case fault.Conflict:
		out.Status = http.StatusConflict
	case fault.Denied:
		out.Status = http.StatusForbidden
		if errors.Is(err, device.ErrCredential) {
			out.Status, out.challenge = http.StatusUnauthorized, true
		}
	case fault.Unavailable:
		out.Status, out.RetryAfter, out.Detail = http.StatusServiceUnavailable, soon(), "the service cannot store this now"
		if isBusy(err) {
			out.Status, out.Detail = http.StatusTooManyRequests, device.ErrBusy.Error()
		}
		if slow, ok := errors.AsType[*device.SlowError](err); ok {
			out.Detail, out.RetryAfter = slow.Error(), int(math.Ceil(slow.After.Seconds()))
			return out // the unit's own doing, and counted
		}
		d.log.Warn("a unit was asked to come again", "path", r.URL.Path, "error", err)
	case fault.Internal:
		d.log.Error("a unit's request failed", "path", r.URL.Path, "error", err)
		out.Detail = "the service failed"
	}
	return out
}

// soon is when to come again, in seconds: not all units at once.
func soon() int { return 1 + rand.IntN(5) }

// Headers sets what belongs to the refusal beside its status.
func (f Refusal) Headers(h http.Header) {
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	if f.challenge {
		h.Set("WWW-Authenticate", `Basic realm="fettle", charset="UTF-8"`)
	}
	if f.accept {
		h.Set("Accept-Encoding", "gzip, zstd")
	}
}

// Problem is an error as RFC 9457 has it.
type Problem struct {
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail"`
	Errors []Mistake `json:"errors,omitempty"`
}

// Mistake is one place in a body and what is wrong there.
type Mistake struct {
	Location string `json:"location"`
	Message  string `json:"message"`
	Value    string `json:"value,omitempty"`
}

// Fail answers an error as a Problem.
func (d *Door) Fail(w http.ResponseWriter, r *http.Request, err error) {
	f := d.Refusal(r, err)
	p := Problem{Title: http.StatusText(f.Status), Status: f.Status, Detail: f.Detail}
	for _, m := range f.Fields {
		p.Errors = append(p.Errors, Mistake{location(m.Path), "expected " + m.Expected, m.Got})
	}
	f.Headers(w.Header())
	Write(w, f.Status, "application/problem+json", p)
}

func location(path string) string {
	switch {
	case path == "":
		return "body"
	case path[0] == '[':
		return "body" + path
	default:
		return "body." + path
	}
}

// Refuse is an error that is answered with a status.
func Refuse(status int, detail string) error { return &refused{status: status, detail: detail} }

// Write answers with JSON.
func Write(w http.ResponseWriter, status int, kind string, v any) {
	b, _ := json.Marshal(v) // what is written here always encodes
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(b) // a client that is gone needs no answer
}

// Results says in a header what became of a request's samples, for protocols
// whose answers have no place for it.
func Results(h http.Header, outcomes []device.Outcome) {
	var sum device.Outcome
	for i := range outcomes {
		o := &outcomes[i]
		sum.Kept += o.Kept
		sum.NotConsented += o.NotConsented
		sum.Undeclared += o.Undeclared
		sum.Invalid += o.Invalid
	}
	if sum.NotConsented > 0 { // what may be sent stands there: it has changed since the unit read it
		h.Set("Link", `<`+DesiredPath+`>; rel="describedby"`)
	}
	h.Set("Fettle-Results", fmt.Sprintf("kept=%d, notConsented=%d, undeclared=%d, invalid=%d", sum.Kept, sum.NotConsented, sum.Undeclared, sum.Invalid))
}
