// Package mail carries messages by SMTP: it composes them (RFC 5322, text and
// HTML), signs them (DKIM) and hands them to a mail server over few connections
// that carry many mails each, with pipelining (RFC 2920).
package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/mail"
	"net/textproto"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ticket"
)

// Config says where mails go and what stands in them. Server, From and Links
// must be set.
type Config struct {
	Server     string // see Expected
	From       string // as Fettle <fettle@example.org>
	ReplyTo    string // address for people's answers; "": From
	ReturnPath string // mailbox that bounces go to, with the message's ticket behind a +; "": From's address, without one
	Conns      int    // most connections: 4
	Links      ticket.Links
	DKIM       *DKIM // nil: mails are not signed here
}

// Sender sends mails through a mail server.
type Sender struct {
	composer
	options []gomail.Option
	host    string
	conns   chan *conn // nil: not connected yet
}

const (
	expected = "smtp://[user:password@]host[:port][?tls=required|opportunistic|off] or smtps://…"
	timeout  = time.Minute // of a mail; RFC 5321 4.5.3.2 gives the end of the data ten times as long, but a queue waits behind it
)

// New reads the address of a mail server. With tls=required (the default where
// there is a user) STARTTLS and a valid certificate are demanded, with
// opportunistic (the default else) STARTTLS is used where the server has it.
func New(c Config) (*Sender, error) {
	u, err := url.Parse(c.Server)
	if err != nil || (u.Scheme != "smtp" && u.Scheme != "smtps") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fault.New(fault.Invalid, "mail server: expected %s", expected) // the address may hold a password
	}
	s := &Sender{host: u.Hostname(), conns: make(chan *conn, max(1, c.Conns))}
	if s.composer, err = newComposer(c); err != nil {
		return nil, err
	}
	port := 25
	if u.Scheme == "smtps" {
		port = 465
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return nil, fault.New(fault.Invalid, "mail server: port %q is not one", p)
		}
	}
	s.options = []gomail.Option{gomail.WithPort(port), gomail.WithTimeout(20 * time.Second)}
	policy := u.Query().Get("tls")
	if policy == "" {
		if policy = "opportunistic"; u.User != nil {
			policy = "required"
		}
	}
	verified := &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
	switch {
	case u.Scheme == "smtps":
		s.options = append(s.options, gomail.WithSSL(), gomail.WithTLSConfig(verified))
	case policy == "required":
		s.options = append(s.options, gomail.WithTLSPolicy(gomail.TLSMandatory), gomail.WithTLSConfig(verified))
	case policy == "opportunistic":
		unverified := &tls.Config{ServerName: s.host, InsecureSkipVerify: true} //nolint:gosec // the alternative here is no encryption at all
		s.options = append(s.options, gomail.WithTLSPolicy(gomail.TLSOpportunistic), gomail.WithTLSConfig(unverified))
	case policy == "off":
		s.options = append(s.options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fault.New(fault.Invalid, "mail server: expected %s", expected)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		auth := gomail.SMTPAuthAutoDiscover
		if policy == "off" {
			auth = gomail.SMTPAuthPlainNoEnc // it was asked for
		}
		s.options = append(s.options, gomail.WithSMTPAuth(auth), gomail.WithUsername(u.User.Username()), gomail.WithPassword(password))
	}
	for range cap(s.conns) {
		s.conns <- nil
	}
	return s, nil
}

// Send hands a mail to the server and gives its Message-ID. A mail that the
// server refuses for good is fault.Invalid, an address that it says does not
// exist fault.NotFound.
func (s *Sender) Send(ctx context.Context, m notify.Message) (remoteID string, err error) {
	given := false
	err = ctx.Err()
	s.Pipe(ctx, func() (notify.Message, bool) {
		if given {
			return notify.Message{}, false
		}
		given = true
		return m, true
	}, func(_ notify.Message, id string, sent error) { remoteID, err = id, sent })
	if !given && err == nil {
		err = fmt.Errorf("send mail: %w", context.Cause(ctx))
	}
	return remoteID, err
}

// conn is a connection to the server that carries one mail after another.
type conn struct {
	*smtp.Client
	pipelining, eightBit, utf8 bool

	used bool   // it has carried a mail, or waited for one: the server may have closed it
	out  []byte // what is written next
}

func (s *Sender) dial(ctx context.Context) (*conn, error) {
	dialer, err := gomail.NewClient(s.host, s.options...)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	c, err := dialer.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	out := &conn{Client: c}
	out.pipelining, _ = c.Extension("PIPELINING")
	out.eightBit, _ = c.Extension("8BITMIME")
	out.utf8, _ = c.Extension("SMTPUTF8")
	return out, nil
}

// noSuchAddress are enhanced codes (RFC 3463, RFC 7505) and, of servers that
// send none, the words for an address that does not exist. A relay that is not
// let use the server is not one.
var (
	noSuchAddress = regexp.MustCompile(`\b5\.(1\.(1|2|3|6|10)|2\.1)\b`)
	otherReason   = regexp.MustCompile(`\b5\.\d{1,3}\.\d{1,3}\b`)
	wordsOfNone   = regexp.MustCompile(`(?i)(no such|unknown|invalid|non-?existent) (user|mailbox|recipient|address|local part)|(user|mailbox|recipient|address|account)( is)? (unknown|not found|does not exist|doesn't exist|disabled)`)
)

// Nonexistent reports whether what a server said of a recipient means that the
// address does not exist.
func Nonexistent(said string) bool {
	return noSuchAddress.MatchString(said) || !otherReason.MatchString(said) && wordsOfNone.MatchString(said)
}

func refusal(of string, reply *textproto.Error) error {
	switch {
	case reply.Code >= 500 && of == "RCPT" && Nonexistent(reply.Msg):
		return fault.Wrap(fault.NotFound, "the address does not exist", reply)
	case reply.Code >= 500 && of != "MAIL":
		return fault.Wrap(fault.Invalid, "refused", reply)
	default: // also a sender that is refused: a mistake in the setup, which is put right
		return fmt.Errorf("%s: %w", of, reply)
	}
}

// Check reports whether the server can be reached and takes the credentials.
func (s *Sender) Check(ctx context.Context) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	return c.Quit()
}

// Close ends idle connections.
func (s *Sender) Close() error {
	var all []error
	for range cap(s.conns) {
		select {
		case c := <-s.conns:
			if c != nil {
				all = append(all, c.Quit())
			}
		default:
		}
	}
	return errors.Join(all...)
}

func parseAddress(what, address string) (*mail.Address, error) {
	a, err := mail.ParseAddress(address)
	if err != nil {
		return nil, fault.New(fault.Invalid, "%s %q: expected an address, as Fettle <fettle@example.org>", what, address)
	}
	return a, nil
}
