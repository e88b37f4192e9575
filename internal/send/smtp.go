// Package send carries messages out of the house: by SMTP, by webhook, or, for
// development alone, onto the terminal. Each type is a notify.Sender.
package send

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
)

// SMTP sends mails through a mail server, over few connections that carry many
// mails each.
type SMTP struct {
	from    *mail.Address
	domain  string
	options []gomail.Option
	host    string
	conns   chan *gomail.Client // nil: not connected yet
}

const smtpExpected = "smtp://[user:password@]host[:port][?tls=required|opportunistic|off] or smtps://…"

// NewSMTP reads the address of a mail server. With tls=required (the default
// where there is a user) STARTTLS and a valid certificate are demanded, with
// opportunistic (the default else) STARTTLS is used where the server has it.
// conns bounds the connections; from is the sender's address.
func NewSMTP(address, from string, conns int) (*SMTP, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "smtp" && u.Scheme != "smtps") || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fault.New(fault.Invalid, "mail server: expected %s", smtpExpected) // the address may hold a password
	}
	sender, err := mail.ParseAddress(from)
	if err != nil {
		return nil, fault.New(fault.Invalid, "sender of mails %q: expected an address, as Fettle <fettle@example.org>", from)
	}
	s := &SMTP{from: sender, host: u.Hostname(), conns: make(chan *gomail.Client, max(1, conns))}
	_, s.domain, _ = strings.Cut(sender.Address, "@")
	port := 25
	if u.Scheme == "smtps" {
		port = 465
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return nil, fault.New(fault.Invalid, "mail server: port %q is not one", p)
		}
	}
	s.options = []gomail.Option{gomail.WithPort(port), gomail.WithTimeout(20 * time.Second), gomail.WithoutNoop(), gomail.WithoutRset()}
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
		return nil, fault.New(fault.Invalid, "mail server: expected %s", smtpExpected)
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

// MessageID is the id a mail has, however often it is sent.
func (s *SMTP) MessageID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16]) + "@" + s.domain
}

// Send hands a mail to the server. An address or a mail that the server
// refuses for good is fault.Invalid.
func (s *SMTP) Send(ctx context.Context, m notify.Message) (remoteID string, err error) {
	msg := gomail.NewMsg(gomail.WithCharset(gomail.CharsetUTF8), gomail.WithNoDefaultUserAgent())
	if err := msg.FromFormat(s.from.Name, s.from.Address); err != nil {
		return "", fault.Wrap(fault.Invalid, "send mail: sender", err)
	}
	if err := msg.To(m.To); err != nil {
		return "", fault.Wrap(fault.Invalid, "send mail: recipient", err)
	}
	msg.Subject(m.Subject)
	msg.SetMessageIDWithValue(s.MessageID(m.Key))
	msg.SetDate()
	msg.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no out-of-office answers
	msg.SetBodyString(gomail.TypeTextPlain, m.Body)

	var conn *gomail.Client
	select {
	case conn = <-s.conns:
	case <-ctx.Done():
		return "", fmt.Errorf("send mail: %w", ctx.Err())
	}
	conn, err = s.deliver(ctx, conn, msg)
	s.conns <- conn
	if err != nil {
		return "", fmt.Errorf("send mail: %w", err)
	}
	return "", nil
}

// deliver sends over conn, or a new connection; it gives the connection to keep.
func (s *SMTP) deliver(ctx context.Context, conn *gomail.Client, msg *gomail.Msg) (*gomail.Client, error) {
	for reused := conn != nil; ; reused = false {
		if conn == nil {
			var err error
			if conn, err = s.dial(ctx); err != nil {
				return nil, err
			}
		}
		err := conn.Send(msg)
		if err == nil {
			return conn, nil
		}
		failed, ok := errors.AsType[*gomail.SendError](err)
		code := 0
		if ok {
			code = failed.ErrorCode()
		}
		if code >= 400 && code != 421 {
			// The server said no to this mail; the connection is fine.
			if code >= 500 && failed.Reason != gomail.ErrSMTPMailFrom {
				err = fault.Wrap(fault.Invalid, "refused", err)
			}
			return conn, err
		}
		_ = conn.Close() // broken anyhow
		conn = nil
		if msg.IsDelivered() {
			return nil, nil
		}
		// A server closes idle connections: then the first command fails, and
		// nothing was sent. Later failures may have been delivered, and wait.
		if first := ok && (failed.Reason == gomail.ErrSMTPMailFrom || failed.Reason == gomail.ErrConnCheck); !reused || !first {
			return nil, err
		}
	}
}

func (s *SMTP) dial(ctx context.Context) (*gomail.Client, error) {
	c, err := gomail.NewClient(s.host, s.options...)
	if err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	if err := c.DialWithContext(ctx); err != nil {
		return nil, fmt.Errorf("mail server: %w", err)
	}
	return c, nil
}

// Check reports whether the server can be reached and takes the credentials.
func (s *SMTP) Check(ctx context.Context) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	return c.Close()
}

// Close ends idle connections.
func (s *SMTP) Close() error {
	var all []error
	for range cap(s.conns) {
		select {
		case c := <-s.conns:
			if c != nil {
				all = append(all, c.Close())
			}
		default:
		}
	}
	return errors.Join(all...)
}
