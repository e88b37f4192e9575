// Package bounce reads what mail servers send back: reports that a mail could
// not be delivered (RFC 3464), could not be delivered yet, was delivered, or was
// called spam by whoever got it (ARF, RFC 5965). Which message a report is of is
// believed only by a ticket of this service, from the address that the report
// was sent to, the Message-ID or the return path that it quotes: anybody may
// send mail there.
package bounce

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/notify/ticket"
	sender "fettle.dev/fettle/internal/send/mail"
)

// MaxSize is how much of a report is read, bytes: they quote the mail.
const MaxSize = 1 << 20

// ErrNoReport is a mail that reports nothing, as an out-of-office answer.
var ErrNoReport = errors.New("this mail reports neither a bounce nor a complaint")

// Read reads a mail as it came in. recipient is the address it was sent to, ""
// where the mail server does not say. A mail that is no report is ErrNoReport,
// one whose message is not known fault.NotFound.
func Read(raw io.Reader, recipient string, tickets *ticket.Signer) (hear.Report, error) {
	content, err := io.ReadAll(io.LimitReader(raw, MaxSize))
	if err != nil {
		return hear.Report{}, fmt.Errorf("read report: %w", err)
	}
	if bytes.HasPrefix(content, []byte("From ")) { // mbox's line, which pipes of some servers add, is no header
		_, content, _ = bytes.Cut(content, []byte("\n"))
	}
	m, err := mail.ReadMessage(bytes.NewReader(content))
	if err != nil {
		return hear.Report{}, fault.Wrap(fault.Invalid, "read report", err)
	}
	f := finder{tickets: tickets}
	f.address(recipient)
	for _, name := range []string{"Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To"} {
		f.address(m.Header.Get(name))
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	var r hear.Report
	switch {
	case kind == "multipart/report" && strings.EqualFold(params["report-type"], "delivery-status"),
		kind == "multipart/report" && strings.EqualFold(params["report-type"], "feedback-report"):
		r, err = f.report(m.Body, params["boundary"])
	case isDaemon(m.Header):
		r, err = f.plain(m)
	default:
		err = ErrNoReport
	}
	if err != nil {
		return hear.Report{}, err
	}
	if f.id == "" {
		return hear.Report{}, fault.New(fault.NotFound, "the report names no message of this service")
	}
	r.MessageID = f.id
	return r, nil
}

// isDaemon reports whether a mail comes from a mail server, not from somebody
// or somebody's assistant, which answer with an empty return path, too.
func isDaemon(h mail.Header) bool {
	from := strings.ToLower(h.Get("From"))
	return strings.Contains(from, "mailer-daemon") || strings.Contains(from, "postmaster@")
}

// finder looks for tickets; the first good one counts.
type finder struct {
	tickets *ticket.Signer
	id      string
}

var (
	behindPlus = regexp.MustCompile(`(?i)\+([a-z2-7]{20,100})@`)
	messageID  = regexp.MustCompile(`(?i)<([a-z2-7]{20,100})@[a-z0-9.-]+>`)
)

func (f *finder) address(text string) {
	if found := behindPlus.FindStringSubmatch(text); found != nil {
		f.try(ticket.Bounce, found[1])
	}
}

func (f *finder) quoted(text string) {
	for _, found := range messageID.FindAllStringSubmatch(text, 20) {
		f.try(ticket.Mail, found[1])
	}
	f.address(text)
}

func (f *finder) try(use ticket.Use, text string) {
	if f.id != "" {
		return
	}
	if id, ok := f.tickets.Check(use, text); ok {
		f.id = id
	}
}

// report reads the parts of a multipart/report (RFC 6522).
func (f *finder) report(body io.Reader, boundary string) (r hear.Report, err error) {
	if boundary == "" {
		return r, fault.New(fault.Invalid, "read report: no boundary between its parts")
	}
	parts := multipart.NewReader(body, boundary)
	words := "" // for people: some servers say there alone what it was
	for range 20 {
		p, err := parts.NextRawPart()
		if err != nil {
			break // the end, or cut off: what was read counts
		}
		kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type"))
		if err != nil {
			continue
		}
		content, err := io.ReadAll(decoded(p.Header.Get("Content-Transfer-Encoding"), p))
		if err != nil && len(content) == 0 {
			continue
		}
		switch kind {
		case "text/plain":
			words = strings.Join(strings.Fields(strings.ToValidUTF8(string(content[:min(len(content), 2000)]), "?")), " ")
		case "message/delivery-status", "message/global-delivery-status":
			f.status(content, &r)
		case "message/feedback-report":
			f.feedback(content, &r)
		case "message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers", "message/rfc822-headers":
			f.quoted(header(content))
		}
	}
	if r.Result == "" {
		return r, ErrNoReport
	}
	if status := strings.TrimSpace(r.Detail); r.Result == notify.Bounce && !strings.Contains(status, " ") {
		r.Detail, r.Gone = strings.TrimSpace(status+" "+words), gone(status, words)
		r.Soft = r.Soft && !r.Gone
	}
	return r, nil
}

func decoded(encoding string, r io.Reader) io.Reader {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "quoted-printable":
		return quotedprintable.NewReader(r)
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, r)
	default:
		return r
	}
}

// header is what stands before the first empty line.
func header(content []byte) string {
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(content, []byte(end)); i >= 0 {
			content = content[:i]
		}
	}
	return string(content)
}

// status reads a delivery status: fields of the message, then of each
// recipient. A mail of ours has one recipient; the last field that says how it
// went counts.
func (f *finder) status(content []byte, r *hear.Report) {
	blocks := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.TrimSpace(content), "\r\n\r\n"...))))
	for range 20 {
		fields, err := blocks.ReadMIMEHeader()
		if len(fields) > 0 {
			f.address(fields.Get("Original-Envelope-Id"))
			recipient(fields, r)
		}
		if err != nil {
			return
		}
	}
}

func recipient(fields textproto.MIMEHeader, r *hear.Report) {
	status := strings.TrimSpace(fields.Get("Status"))
	if i := strings.IndexAny(status, " ("); i > 0 {
		status = status[:i]
	}
	detail := strings.TrimSpace(fields.Get("Diagnostic-Code"))
	if i := strings.IndexByte(detail, ';'); i >= 0 {
		detail = strings.TrimSpace(detail[i+1:])
	}
	detail = strings.Join(strings.Fields(strings.ToValidUTF8(status+" "+detail, "?")), " ")
	switch strings.ToLower(strings.TrimSpace(fields.Get("Action"))) {
	case "failed":
		r.Result, r.Detail = notify.Bounce, detail
		r.Gone = gone(status, detail)
		r.Soft = !r.Gone && soft(status)
	case "delayed":
		r.Result, r.Detail = notify.Delay, detail
	case "delivered":
		r.Result, r.Detail = notify.Arrived, detail
	}
}

// gone reports whether a status (RFC 3463) says that the address takes nothing,
// now or later: bad addresses, mailboxes that are switched off or moved without
// forwarding. Servers that know no better say 5.0.0, and what it was in words.
func gone(status, detail string) bool {
	switch status {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1":
		return true
	case "", "5.0.0", "5.3.0", "5.5.0":
		return sender.Nonexistent(strings.ReplaceAll(detail, status, ""))
	default:
		return false
	}
}

// soft reports whether a status says that another try may do: anything for now,
// and a mailbox that is full (5.2.2) or a way that was not found in time (5.4.*).
func soft(status string) bool {
	return strings.HasPrefix(status, "4.") || status == "5.2.2" || strings.HasPrefix(status, "5.4.")
}

// feedback reads an abuse report.
func (f *finder) feedback(content []byte, r *hear.Report) {
	fields, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.TrimSpace(content), "\r\n\r\n"...)))).ReadMIMEHeader()
	if len(fields) == 0 {
		return
	}
	f.quoted(fields.Get("Original-Mail-From"))
	kind := strings.ToLower(strings.TrimSpace(fields.Get("Feedback-Type")))
	if kind == "not-spam" || kind == "" {
		return
	}
	r.Result, r.Detail = notify.Complaint, strings.ToValidUTF8("feedback report: "+kind, "?")
}

// plain reads what servers write that know of no standard: a few words and
// mostly the mail they could not deliver. It is taken for a failure, for good
// only if the words say so.
func (f *finder) plain(m *mail.Message) (hear.Report, error) {
	body, err := io.ReadAll(decoded(m.Header.Get("Content-Transfer-Encoding"), m.Body))
	if err != nil && len(body) == 0 {
		return hear.Report{}, ErrNoReport
	}
	text := string(body)
	f.quoted(text)
	if f.id == "" {
		return hear.Report{}, ErrNoReport
	}
	words := strings.Join(strings.Fields(strings.ToValidUTF8(text[:min(len(text), 600)], "?")), " ")
	return hear.Report{Result: notify.Bounce, Detail: words, Gone: sender.Nonexistent(text[:min(len(text), 4000)])}, nil
}
