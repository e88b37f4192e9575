package mail

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/letterhead"
	"fettle.dev/fettle/internal/notify/ticket"
)

// composer writes messages as mails.
type composer struct {
	from       *mail.Address
	replyTo    *mail.Address
	bounces    [2]string // local part and domain of the return path; "": no tickets in it
	domain     string
	links      ticket.Links
	signature  *signature
	letterhead letterhead.Letterhead
}

func newComposer(c Config) (composer, error) {
	out := composer{links: c.Links}
	var err error
	if out.from, err = parseAddress("sender of mails", c.From); err != nil {
		return out, err
	}
	_, out.domain, _ = strings.Cut(out.from.Address, "@")
	if c.ReplyTo != "" {
		if out.replyTo, err = parseAddress("address for answers", c.ReplyTo); err != nil {
			return out, err
		}
	}
	if c.ReturnPath != "" {
		a, err := parseAddress("address for bounces", c.ReturnPath)
		if err != nil {
			return out, err
		}
		at := strings.LastIndexByte(a.Address, '@')
		out.bounces = [2]string{a.Address[:at], a.Address[at+1:]}
	}
	out.letterhead = letterhead.Letterhead{Sender: out.from.Name, Links: c.Links}
	if out.letterhead.Sender == "" {
		out.letterhead.Sender = out.domain
	}
	if c.DKIM != nil {
		out.signature, err = c.DKIM.signature(out.domain)
	}
	return out, err
}

// MessageID is the id that the mail of a message has, however often it is sent
// (RFC 5322 3.6.4), without its angle brackets. It names the message to whoever
// has the key of tickets, and nothing to anybody else.
func (c *composer) MessageID(id string) string { return c.links.Make(ticket.Mail, id) + "@" + c.domain }

// envelopeFrom is where bounces of a message go: with its ticket behind a +
// (RFC 5233) where a mailbox for bounces is set, so that a bounce that quotes
// nothing is still known.
func (c *composer) envelopeFrom(id string) string {
	if c.bounces[0] == "" {
		return c.from.Address
	}
	return c.bounces[0] + "+" + c.links.Make(ticket.Bounce, id) + "@" + c.bounces[1]
}

// recipient is an address as it stands in an envelope: its domain in ASCII.
func recipient(address string) (string, error) {
	a, err := mail.ParseAddress(address)
	if err != nil || a.Address != address || strings.ContainsAny(address, "\r\n<>\x00") {
		return "", fault.New(fault.Invalid, "send mail: recipient %q is not an address", address)
	}
	at := strings.LastIndexByte(address, '@')
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	if err != nil {
		return "", fault.Wrap(fault.Invalid, "send mail: the recipient's domain", err)
	}
	return address[:at+1] + domain, nil
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// compose writes a message as a mail, signed if a key is set: text and HTML
// alternatives, quoted-printable, so that no line is too long and no server
// has to take 8 bits.
func (c *composer) compose(m notify.Message, to string) ([]byte, error) {
	text, html, err := c.letterhead.Write(m)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(2*len(text) + len(html) + len(html)/4 + 2048)
	body := multipart.NewWriter(&b)
	field(&b, "Date", clock.Real{}.Now().Format(time.RFC1123Z))
	field(&b, "From", c.from.String())
	field(&b, "To", (&mail.Address{Address: to}).String())
	if c.replyTo != nil {
		field(&b, "Reply-To", c.replyTo.String())
	}
	field(&b, "Subject", mime.QEncoding.Encode("UTF-8", oneLine(m.Subject)))
	field(&b, "Message-ID", "<"+c.MessageID(m.ID)+">")
	field(&b, "Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	if m.Language != "" {
		field(&b, "Content-Language", mime.QEncoding.Encode("UTF-8", oneLine(m.Language)))
	}
	if m.Kind.Optional() && m.OwnerID != "" {
		// RFC 2369 and RFC 8058: a mail program shows a button of its own.
		field(&b, "List-Unsubscribe", "<"+c.links.Unsubscribe(m.ID)+">")
		field(&b, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
	}
	field(&b, "MIME-Version", "1.0")
	field(&b, "Content-Type", "multipart/alternative; boundary="+body.Boundary())
	b.WriteString("\r\n")
	for _, p := range [...]struct{ kind, text string }{{"text/plain", text}, {"text/html", html}} {
		if err := part(body, p.kind, p.text); err != nil {
			return nil, fmt.Errorf("compose mail: %w", err)
		}
	}
	if err := body.Close(); err != nil {
		return nil, fmt.Errorf("compose mail: %w", err)
	}
	if c.signature == nil {
		return b.Bytes(), nil
	}
	return c.signature.sign(b.Bytes())
}

func part(body *multipart.Writer, kind, text string) error {
	w, err := body.CreatePart(textproto.MIMEHeader{"Content-Type": {kind + "; charset=UTF-8"}, "Content-Transfer-Encoding": {"quoted-printable"}})
	if err != nil {
		return err
	}
	q := quotedprintable.NewWriter(w)
	if _, err := io.WriteString(q, text); err != nil {
		return err
	}
	return q.Close()
}

// field writes a field of the header, its lines ended at blanks before they
// exceed 76 characters (RFC 5322 2.1.1, RFC 2047 2) where there are any.
func field(b *bytes.Buffer, name, value string) {
	b.WriteString(name + ":")
	used := len(name) + 1
	for word := range strings.FieldsSeq(value) {
		if used+1+len(word) > 76 && (used > len(name)+1 || strings.HasPrefix(word, "=?")) {
			b.WriteString("\r\n")
			used = 0
		}
		b.WriteString(" " + word)
		used += 1 + len(word)
	}
	b.WriteString("\r\n")
}

// oneLine keeps what a line of a header cannot hold out of it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
