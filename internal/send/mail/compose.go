package mail

import (
	"bytes"
	"fmt"
	"net/mail"
	"strings"

	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

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
	msg := gomail.NewMsg(gomail.WithCharset(gomail.CharsetUTF8), gomail.WithNoDefaultUserAgent())
	msg.FromMailAddress(c.from)
	if err := msg.To(to); err != nil {
		return nil, fault.Wrap(fault.Invalid, "recipient", err)
	}
	if c.replyTo != nil {
		msg.ReplyToMailAddress(c.replyTo)
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(c.MessageID(m.ID))
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	if m.Language != "" {
		msg.SetGenHeader("Content-Language", m.Language)
	}
	if m.Kind.Optional() && m.OwnerID != "" {
		// RFC 2369 and RFC 8058: a mail program shows a button of its own.
		msg.SetGenHeader("List-Unsubscribe", "<"+c.links.Unsubscribe(m.ID)+">")
		msg.SetGenHeader("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
	}
	text, html, err := c.letterhead.Write(m)
	if err != nil {
		return nil, err
	}
	msg.SetBodyString(gomail.TypeTextPlain, text)
	msg.AddAlternativeString(gomail.TypeTextHTML, html)
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("compose mail: %w", err)
	}
	if c.signature == nil {
		return b.Bytes(), nil
	}
	return c.signature.sign(b.Bytes())
}
