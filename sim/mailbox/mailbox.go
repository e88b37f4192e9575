// Package mailbox is an SMTP server that stands for the mailboxes of all
// simulated people: it takes every mail, keeps one of each Message-ID, and
// tells who asked.
package mailbox

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// Mail is one mail received.
type Mail struct {
	To        string
	MessageID string
	Subject   string
	Text      string // of its plain part
}

var signIn = regexp.MustCompile(`https?://[^\s"<>]+/sign-in#([A-Za-z0-9._~%+/=-]+)`)

// Token is the one-time token of the sign-in link in the mail, or "".
func (m Mail) Token() string {
	if s := signIn.FindStringSubmatch(m.Text); s != nil {
		return strings.TrimRight(s[1], ".")
	}
	return ""
}

// Link is the sign-in link in the mail, or "".
func (m Mail) Link() string { return strings.TrimRight(signIn.FindString(m.Text), ".") }

// Server is the mailboxes.
type Server struct {
	handle func(Mail)
	gone   func(to string) bool // nil: every mailbox is there
	smtp   *smtp.Server
	ln     net.Listener

	Received atomic.Int64 // mails, without repetitions
	Repeated atomic.Int64 // of a Message-ID seen before, by the same person

	mu   sync.Mutex
	seen map[string]struct{}
}

// Listen opens the mailboxes at addr (port 0: any). Handle is called for each
// new mail, from many goroutines, before the sender is answered.
func Listen(ctx context.Context, addr string, handle func(Mail), options ...func(*Server)) (*Server, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("mailbox: %w", err)
	}
	s := &Server{handle: handle, ln: ln, seen: make(map[string]struct{})}
	for _, set := range options {
		set(s)
	}
	s.smtp = smtp.NewServer(backend{s})
	s.smtp.Domain = "mailbox.example.org"
	s.smtp.AllowInsecureAuth = true
	s.smtp.MaxMessageBytes = 1 << 20
	s.smtp.MaxRecipients = 50
	s.smtp.ReadTimeout = 10 * time.Minute
	s.smtp.WriteTimeout = time.Minute
	s.smtp.ErrorLog = quiet{}
	go func() { _ = s.smtp.Serve(ln) }()
	return s, nil
}

// Refusing refuses mail to mailboxes that are no more.
func Refusing(gone func(to string) bool) func(*Server) { return func(s *Server) { s.gone = gone } }

// Addr is where it listens.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Close ends it.
func (s *Server) Close() error { return s.smtp.Close() }

// take keeps one mail for one person, once.
func (s *Server) take(m Mail) {
	key := m.To + " " + m.MessageID
	s.mu.Lock()
	_, known := s.seen[key]
	s.seen[key] = struct{}{}
	s.mu.Unlock()
	if known && m.MessageID != "" {
		s.Repeated.Add(1)
		return
	}
	s.Received.Add(1)
	s.handle(m)
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}
func (quiet) Println(...any)        {}

type backend struct{ server *Server }

// NewSession serves one connection.
func (b backend) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{server: b.server}, nil }

type session struct {
	server *Server
	to     []string
}

func (s *session) Reset()                               { s.to = nil }
func (s *session) Logout() error                        { return nil }
func (s *session) Mail(string, *smtp.MailOptions) error { return nil }

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	to = strings.ToLower(to)
	if s.server.gone != nil && s.server.gone(to) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "there is no such mailbox"}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	m, err := Read(r)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: err.Error()}
	}
	for _, to := range s.to {
		m.To = to
		s.server.take(m)
	}
	return nil
}

// Read reads a mail's identity, subject and plain text.
func Read(r io.Reader) (Mail, error) {
	msg, err := mail.ReadMessage(r)
	if err != nil {
		return Mail{}, fmt.Errorf("mail: %w", err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(msg.Header.Get("Subject"))
	if err != nil {
		subject = msg.Header.Get("Subject")
	}
	text, err := plain(msg.Header.Get("Content-Type"), msg.Header.Get("Content-Transfer-Encoding"), msg.Body, 0)
	if err != nil {
		return Mail{}, fmt.Errorf("mail: %w", err)
	}
	return Mail{MessageID: strings.Trim(msg.Header.Get("Message-Id"), "<> "), Subject: subject, Text: text}, nil
}

var errNoText = errors.New("no plain text in it")

func plain(contentType, encoding string, body io.Reader, depth int) (string, error) {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") && depth < 4 {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if err != nil {
				return "", errNoText
			}
			text, err := plain(p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"), p, depth+1)
			if err == nil {
				return text, nil
			}
		}
	}
	if kind != "text/plain" {
		return "", errNoText
	}
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	b, err := io.ReadAll(body)
	return string(b), err
}
