package influx

import (
	"fmt"
	"net/http"
	"strings"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/gather"
)

// mistakes are what of a request was not kept and why, line by line.
type mistakes struct {
	lines     int // that were read
	malformed int // that could not be
	dropped   int // field values
	count     int // of all mistakes
	first     int // line of the first
	told      []string
}

// maxTold is how many mistakes of a request are told.
const maxTold = 10

func (m *mistakes) add(line int, what string) {
	if m.count++; m.count > maxTold {
		return
	}
	if m.first == 0 || line < m.first {
		m.first = line
	}
	m.told = append(m.told, fmt.Sprintf("line %d: %s", line, what))
}

func (m *mistakes) unreadable(line int, raw []byte, err error) {
	m.malformed++
	m.add(line, "unable to parse '"+quote(raw)+"': "+err.Error())
}

// lost adds what the gateway did not keep. What an owner did not consent to is
// no mistake of the sender's.
func (m *mistakes) lost(losses []gather.Loss, product string) {
	for _, l := range losses {
		switch l.Fate {
		case device.NotConsented:
		case device.Undeclared:
			m.dropped++
			m.add(l.Row, l.Name+" is not declared: give product "+product+" a signal of the field's name, or one with this source")
		case device.Invalid:
			m.dropped++
			m.add(l.Row, l.Name+": "+l.Why)
		}
	}
}

func (m *mistakes) String() string {
	text := strings.Join(m.told, "; ")
	if m.count > maxTold {
		text += fmt.Sprintf("; and %d more", m.count-maxTold)
	}
	return text
}

// quote shortens what stood in a body to what an answer may show.
func quote(b []byte) string {
	if len(b) > 80 {
		return strings.ToValidUTF8(string(b[:80]), "?") + "…"
	}
	return strings.ToValidUTF8(string(b), "?")
}

// failOne answers as InfluxDB 1.x does. Its clients, Telegraf among them, throw
// away what any 4xx refused, so want of room is 503 here and not 429.
func (h *Handler) failOne(w http.ResponseWriter, r *http.Request, err error) {
	f := h.door.Refusal(r, err)
	switch f.Status {
	case http.StatusTooManyRequests:
		f.Status = http.StatusServiceUnavailable
	case http.StatusUnauthorized:
		f.Detail = "authorization failed: " + f.Detail
	}
	f.Headers(w.Header())
	one(w, f.Status, f.Detail)
}

func one(w http.ResponseWriter, status int, text string) {
	w.Header().Set("X-Influxdb-Error", strings.Map(visible, text))
	door.Write(w, status, "application/json", map[string]string{"error": text})
}

// visible keeps a header's value to one line of ASCII.
func visible(r rune) rune {
	if r < ' ' || r > '~' {
		return '?'
	}
	return r
}

func (h *Handler) partialOne(w http.ResponseWriter, m mistakes) {
	text := m.String()
	if m.lines > 0 {
		text = fmt.Sprintf("partial write: %s dropped=%d", text, m.dropped)
	}
	one(w, http.StatusBadRequest, text)
}

// codes are InfluxDB 2.x's names of statuses.
var codes = map[int]string{
	http.StatusBadRequest: "invalid", http.StatusUnauthorized: "unauthorized", http.StatusForbidden: "forbidden",
	http.StatusNotFound: "not found", http.StatusConflict: "conflict", http.StatusRequestTimeout: "invalid",
	http.StatusRequestEntityTooLarge: "request too large", http.StatusUnsupportedMediaType: "invalid",
	http.StatusUnprocessableEntity: "unprocessable entity", http.StatusTooManyRequests: "too many requests",
	http.StatusServiceUnavailable: "unavailable", http.StatusInternalServerError: "internal error",
}

type errorTwo struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Line    int    `json:"line,omitempty"`
}

func (h *Handler) failTwo(w http.ResponseWriter, r *http.Request, err error) {
	f := h.door.Refusal(r, err)
	f.Headers(w.Header())
	door.Write(w, f.Status, "application/json", errorTwo{Code: codes[f.Status], Message: f.Detail})
}

// partialTwo answers 400 when a line could not be read, 422 when all could.
func (h *Handler) partialTwo(w http.ResponseWriter, m mistakes) {
	status := http.StatusUnprocessableEntity
	if m.malformed > 0 {
		status = http.StatusBadRequest
	}
	text := m.String()
	if m.lines > 0 {
		text = fmt.Sprintf("partial write: %s dropped=%d", text, m.dropped)
	}
	door.Write(w, status, "application/json", errorTwo{Code: codes[status], Message: text, Line: m.first})
}
