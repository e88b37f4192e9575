// Package linked serves what stands behind the links that messages carry, to
// whoever holds the link: "I have read it", "no more of these"; and the doors at
// which mail servers and gateways report what became of messages. Each link and
// each report carries a ticket; nothing else is asked for.
package linked

import (
	"context"
	_ "embed"
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/notify/letterhead"
	"fettle.dev/fettle/internal/notify/ticket"
)

// Config is what the pages work with.
type Config struct {
	Log      *slog.Logger
	Messages notify.Store
	Desk     *hear.Desk
	Links    ticket.Links
	Sender   string // of mails, as people know it
	// Unsubscribe ends a kind of messages for an owner; nil: nothing can be ended.
	Unsubscribe func(ctx context.Context, ownerID string, kind notify.Kind) error
	// ReadBounce reads a mail that came back; ErrNoReport says that a mail is none.
	ReadBounce  func(raw io.Reader, recipient string) (hear.Report, error)
	ErrNoReport error
	// ReadReceipt reads what a gateway reports; known is false where it says
	// nothing that counts.
	ReadReceipt func(gateway, ticket, contentType string, query url.Values, body []byte) (r hear.Report, known bool, err error)
}

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

type pages struct {
	Config
	reports chan struct{} // bounds how many reports are read at once
}

// New serves ticket.Path.
func New(c Config) http.Handler {
	p := &pages{c, make(chan struct{}, 8)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+ticket.Path+"read/{ticket}", p.askRead)
	mux.HandleFunc("POST "+ticket.Path+"read/{ticket}", p.read)
	mux.HandleFunc("GET "+ticket.Path+"unsubscribe/{ticket}", p.askUnsubscribe)
	mux.HandleFunc("POST "+ticket.Path+"unsubscribe/{ticket}", p.unsubscribe)
	mux.HandleFunc("POST "+ticket.Path+"bounce", p.bounce)
	mux.HandleFunc(ticket.Path+"receipt/{gateway}/{ticket}", p.receipt)
	return mux
}

// view is what a page shows.
type view struct {
	Lang, Dir, Sender    string
	Title, Text, Subject string
	Button               string // "": nothing is asked
}

func (p *pages) show(w http.ResponseWriter, r *http.Request, status int, v view) {
	v.Sender = p.Sender
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address is the ticket
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	if err := page.Execute(w, v); err != nil && r.Context().Err() == nil {
		p.Log.WarnContext(r.Context(), "page of a message", "error", err)
	}
}

// message finds the message of a link, or shows why there is none.
func (p *pages) message(w http.ResponseWriter, r *http.Request, use ticket.Use) (m notify.Message, ok bool) {
	id, ok := p.Links.Check(use, r.PathValue("ticket"))
	if ok {
		var err error
		m, err = p.Messages.Message(r.Context(), id)
		if err == nil {
			return m, true
		}
		if fault.KindOf(err) != fault.NotFound {
			p.failed(w, r, err)
			return m, false
		}
	}
	words := wordsIn(r.Header.Get("Accept-Language"))
	p.show(w, r, http.StatusNotFound, view{Lang: words.lang, Dir: "ltr", Title: words.GoneTitle, Text: words.Gone})
	return m, false
}

func (p *pages) failed(w http.ResponseWriter, r *http.Request, err error) {
	p.Log.ErrorContext(r.Context(), "page of a message", "error", err)
	words := wordsIn(r.Header.Get("Accept-Language"))
	p.show(w, r, http.StatusInternalServerError, view{Lang: words.lang, Dir: "ltr", Title: words.FailedTitle, Text: words.Failed})
}

// askRead asks: opening a link must not acknowledge, since mail servers open
// the links of mails to look at them.
func (p *pages) askRead(w http.ResponseWriter, r *http.Request) {
	m, ok := p.message(w, r, ticket.Read)
	if !ok {
		return
	}
	words := wordsIn(m.Language)
	v := view{Lang: words.lang, Dir: letterhead.Direction(words.lang), Subject: m.Subject, Title: words.ReadTitle, Text: words.ReadAsk, Button: words.ReadButton}
	if !m.AckedAt.IsZero() || !m.Acknowledge {
		v.Text, v.Button = words.ReadDone, ""
	}
	p.show(w, r, http.StatusOK, v)
}

func (p *pages) read(w http.ResponseWriter, r *http.Request) {
	m, ok := p.message(w, r, ticket.Read)
	if !ok {
		return
	}
	if _, err := p.Desk.Acknowledge(r.Context(), m.ID, notify.ViaLink); err != nil {
		p.failed(w, r, err)
		return
	}
	words := wordsIn(m.Language)
	p.show(w, r, http.StatusOK, view{Lang: words.lang, Dir: letterhead.Direction(words.lang), Subject: m.Subject, Title: words.ReadTitle, Text: words.ReadDone})
}

func (p *pages) askUnsubscribe(w http.ResponseWriter, r *http.Request) {
	m, ok := p.message(w, r, ticket.Unsubscribe)
	if !ok {
		return
	}
	words := wordsIn(m.Language)
	p.show(w, r, http.StatusOK, view{
		Lang: words.lang, Dir: letterhead.Direction(words.lang), Subject: m.Subject, Title: words.StopTitle, Text: words.kind(m.Kind) + " " + words.StopAsk, Button: words.StopButton,
	})
}

// unsubscribe is what the page's button sends, and mail programs by themselves
// (RFC 8058: a POST without cookies whose body is List-Unsubscribe=One-Click).
func (p *pages) unsubscribe(w http.ResponseWriter, r *http.Request) {
	m, ok := p.message(w, r, ticket.Unsubscribe)
	if !ok {
		return
	}
	words := wordsIn(m.Language)
	v := view{Lang: words.lang, Dir: letterhead.Direction(words.lang), Subject: m.Subject, Title: words.StopTitle, Text: words.StopDone}
	if p.Unsubscribe == nil || m.OwnerID == "" || !m.Kind.Optional() {
		v.Text = words.StopNever
		p.show(w, r, http.StatusConflict, v)
		return
	}
	if err := p.Unsubscribe(r.Context(), m.OwnerID, m.Kind); err != nil {
		p.failed(w, r, err)
		return
	}
	p.show(w, r, http.StatusOK, v)
}

// maxReport is how long a mail that came back may be, bytes.
const maxReport = 4 << 20

// bounce takes a mail that came back, as the mail server got it: the body is the
// mail, recipient the address it came to. Answers: 204 taken (also what is no
// report, as an answer of somebody's assistant: nothing is to be done about it),
// 404 of no message of ours, 503 try again.
func (p *pages) bounce(w http.ResponseWriter, r *http.Request) {
	if !p.enter(w) {
		return
	}
	defer p.leave()
	report, err := p.ReadBounce(http.MaxBytesReader(w, r.Body, maxReport), r.URL.Query().Get("recipient"))
	if errors.Is(err, p.ErrNoReport) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	p.take(w, r, report, err)
}

// receipt takes what a gateway reports.
func (p *pages) receipt(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	if !p.enter(w) {
		return
	}
	defer p.leave()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	}
	report, known, err := p.ReadReceipt(r.PathValue("gateway"), r.PathValue("ticket"), r.Header.Get("Content-Type"), r.URL.Query(), body)
	if err == nil && !known {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	p.take(w, r, report, err)
}

func (p *pages) take(w http.ResponseWriter, r *http.Request, report hear.Report, err error) {
	if err == nil {
		_, err = p.Desk.Heard(r.Context(), report)
	}
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	status := http.StatusInternalServerError
	switch fault.KindOf(err) {
	case fault.Invalid:
		status = http.StatusUnprocessableEntity
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Denied:
		status = http.StatusForbidden
	case fault.Unavailable:
		status = http.StatusServiceUnavailable
	case fault.Conflict, fault.Internal:
		p.Log.ErrorContext(r.Context(), "report of a message", "error", err)
		http.Error(w, "it could not be kept: send it again", status)
		return
	}
	http.Error(w, strings.TrimSpace(err.Error()), status)
}

func (p *pages) enter(w http.ResponseWriter) bool {
	select {
	case p.reports <- struct{}{}:
		return true
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "busy: send it again", http.StatusServiceUnavailable)
		return false
	}
}

func (p *pages) leave() { <-p.reports }
