package mail_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/peer/exim"
	"fettle.dev/fettle/internal/send/mail"
)

var links = ticket.Links{Signer: ticket.New([]byte("0123456789abcdef0123456789abcdef")), URL: "https://fettle.example"}

func outcome(_ string, err error) error { return err }

// server is an SMTP server in this process.
type server struct {
	mu       sync.Mutex
	sessions int
	mails    []string
	from, to []string
	rcpt     func(to string) error
	data     func() error
	conns    []*smtp.Conn
	user     string // demanded when set
}

func (s *server) NewSession(c *smtp.Conn) (smtp.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions++
	s.conns = append(s.conns, c)
	return &session{s: s}, nil
}

type session struct {
	s  *server
	in bool
}

func (v *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (v *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != v.s.user || password != "pass word" {
			return errors.New("wrong password")
		}
		v.in = true
		return nil
	}), nil
}

func (v *session) Mail(from string, _ *smtp.MailOptions) error {
	v.s.mu.Lock()
	v.s.from = append(v.s.from, from)
	v.s.mu.Unlock()
	if v.s.user != "" && !v.in {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (v *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	v.s.mu.Lock()
	v.s.to = append(v.s.to, to)
	v.s.mu.Unlock()
	if v.s.rcpt != nil {
		return v.s.rcpt(to)
	}
	return nil
}

func (v *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	if v.s.data != nil {
		if err := v.s.data(); err != nil {
			return err
		}
	}
	v.s.mails = append(v.s.mails, string(b))
	return nil
}
func (v *session) Reset()        {}
func (v *session) Logout() error { return nil }

func listen(t *testing.T, s *server) string {
	t.Helper()
	srv := smtp.NewServer(s)
	srv.AllowInsecureAuth = true
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

func sender(t *testing.T, address string, conns int) *mail.Sender {
	t.Helper()
	s, err := mail.New(mail.Config{Server: address, From: "Fettle <fettle@fettle.example>", Conns: conns, Links: links})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func message(n int) notify.Message {
	return notify.Message{ID: fmt.Sprint(n), Key: fmt.Sprintf("offer:%d", n), Channel: notify.Mail, To: "ada@example.org", Subject: "Grüße: ein Update", Body: "Öffnen Sie:\n\nhttps://fettle.example/my/sign-in#fel_" + strings.Repeat("x", 80) + "\n.\n"}
}

func TestSMTP(t *testing.T) {
	t.Parallel()
	srv := &server{}
	s := sender(t, "smtp://"+listen(t, srv), 2)
	require.NoError(t, s.Check(t.Context()))
	for i := range 50 {
		require.NoError(t, outcome(s.Send(t.Context(), message(i))))
	}
	require.Len(t, srv.mails, 50)
	require.LessOrEqual(t, srv.sessions, 3, "many mails a connection")
	m, err := netmail.ReadMessage(strings.NewReader(srv.mails[7]))
	require.NoError(t, err)
	require.Equal(t, "<"+s.MessageID("7")+">", m.Header.Get("Message-ID"))
	require.Regexp(t, `@fettle\.example>$`, m.Header.Get("Message-ID"))
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, message(7).Subject, subject)
	require.Equal(t, `"Fettle" <fettle@fettle.example>`, m.Header.Get("From"))
	require.Equal(t, "auto-generated", m.Header.Get("Auto-Submitted"))
	parts := read(t, srv.mails[7])
	require.Equal(t, message(7).Body, parts[0].text)
	require.Contains(t, parts[1].text, "Öffnen Sie:")
	for line := range strings.SplitSeq(srv.mails[7], "\r\n") {
		require.LessOrEqual(t, len(line), 78, "RFC 5322 2.1.1")
		require.NotRegexp(t, `[^\x20-\x7e\t]`, line)
	}

	// An idle connection that the server closed is replaced without a word.
	srv.mu.Lock()
	for _, c := range srv.conns {
		_ = c.Close()
	}
	srv.mu.Unlock()
	require.NoError(t, outcome(s.Send(t.Context(), message(50))))
	require.NoError(t, outcome(s.Send(t.Context(), message(51))))
	require.Len(t, srv.mails, 52)
}

type part struct{ kind, text string }

// read parses the parts of a mail with another reader's eyes: Go's own.
func read(t *testing.T, raw string) (parts []part) {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/alternative", kind)
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts
		}
		require.NoError(t, err)
		require.Equal(t, "quoted-printable", p.Header.Get("Content-Transfer-Encoding"))
		b, err := io.ReadAll(quotedprintable.NewReader(p))
		require.NoError(t, err)
		parts = append(parts, part{p.Header.Get("Content-Type"), strings.ReplaceAll(string(b), "\r\n", "\n")})
	}
}

func TestSMTPRefusals(t *testing.T) {
	t.Parallel()
	srv := &server{}
	s := sender(t, "smtp://"+listen(t, srv)+"?tls=off", 1)
	refuse := func(code int) func(string) error {
		return func(string) error { return &smtp.SMTPError{Code: code, Message: "no"} }
	}
	srv.rcpt = refuse(550)
	require.Equal(t, fault.Invalid, fault.KindOf(outcome(s.Send(t.Context(), message(1)))))
	srv.rcpt = func(string) error {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "who?"}
	}
	require.Equal(t, fault.NotFound, fault.KindOf(outcome(s.Send(t.Context(), message(1)))), "the address does not exist")
	srv.rcpt = refuse(451)
	err := outcome(s.Send(t.Context(), message(1)))
	require.Error(t, err)
	require.Equal(t, fault.Internal, fault.KindOf(err), "to be tried again")
	srv.rcpt = nil
	srv.data = func() error { return &smtp.SMTPError{Code: 554, Message: "spam"} }
	require.Equal(t, fault.Invalid, fault.KindOf(outcome(s.Send(t.Context(), message(1)))))
	srv.data = func() error { return &smtp.SMTPError{Code: 452, Message: "disk full"} }
	require.Error(t, outcome(s.Send(t.Context(), message(1))))
	srv.data = nil
	require.NoError(t, outcome(s.Send(t.Context(), message(1))))
	require.Len(t, srv.mails, 1)
	bad := message(2)
	bad.To = "ada@example.org\r\nBcc: eve@example.org"
	require.Equal(t, fault.Invalid, fault.KindOf(outcome(s.Send(t.Context(), bad))))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, outcome(sender(t, "smtp://127.0.0.1:1", 1).Send(ctx, message(3))))
	require.Error(t, sender(t, "smtp://127.0.0.1:1", 1).Check(t.Context()))
}

func TestSMTPAuth(t *testing.T) {
	t.Parallel()
	srv := &server{user: "fettle"}
	address := listen(t, srv)
	require.ErrorContains(t, sender(t, "smtp://fettle:pass%20word@"+address, 1).Check(t.Context()), "STARTTLS", "a password is not sent in the clear unless asked for")
	require.Error(t, outcome(sender(t, "smtp://"+address, 1).Send(t.Context(), message(1))))
	require.Error(t, sender(t, "smtp://fettle:wrong@"+address+"?tls=off", 1).Check(t.Context()))
	s := sender(t, "smtp://fettle:pass%20word@"+address+"?tls=off", 1)
	require.NoError(t, outcome(s.Send(t.Context(), message(1))))
	require.Len(t, srv.mails, 1)
}

func TestNewSMTPInvalid(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "mail.example.org:25", "http://mail.example.org", "smtp://", "smtp://h:0", "smtp://h?tls=maybe", "smtp://u:hunter2@h:x"} {
		_, err := mail.New(mail.Config{Server: address, From: "fettle@example.org"})
		require.Equal(t, fault.Invalid, fault.KindOf(err), address)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := mail.New(mail.Config{Server: "smtp://h", From: "nobody"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// A real mail server takes many mails over one connection and delivers them.
func TestExim(t *testing.T) {
	t.Parallel()
	srv := exim.Start(t)
	s := sender(t, "smtp://"+srv.Address, 2)
	const n = 20
	for i := range n {
		require.NoError(t, outcome(s.Send(t.Context(), message(i))), srv.Log())
	}
	lost := message(99)
	lost.To = "nobody@example.org"
	require.Equal(t, fault.NotFound, fault.KindOf(outcome(s.Send(t.Context(), lost))))
	lost.To = "ada@elsewhere.example"
	require.Equal(t, fault.Invalid, fault.KindOf(outcome(s.Send(t.Context(), lost))))
	require.Eventually(t, func() bool { return len(srv.Mails(t)) == n }, time.Minute, 50*time.Millisecond, srv.Log())
	ids := map[string]bool{}
	for _, m := range srv.Mails(t) {
		require.Equal(t, "ada@example.org", m.Header.Get("Envelope-To"))
		ids[m.Header.Get("Message-ID")] = true
	}
	require.Len(t, ids, n)
	require.True(t, ids["<"+s.MessageID("3")+">"])
}
