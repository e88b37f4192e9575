package mail_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/send/mail"
)

// sent gives what reaches the server of one message.
func sent(t *testing.T, c mail.Config, m notify.Message) (srv *server, raw string) {
	t.Helper()
	srv = &server{}
	c.Server, c.Links = "smtp://"+listen(t, srv), links
	if c.From == "" {
		c.From = "Fettle <fettle@fettle.example>"
	}
	s, err := mail.New(c)
	require.NoError(t, err)
	defer s.Close()
	id, err := s.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, s.MessageID(m.ID), id)
	return srv, srv.mails[0]
}

func TestCompose(t *testing.T) {
	t.Parallel()
	m := notify.Message{
		ID: "0197a000-0000-7000-8000-000000000001", Channel: notify.Mail, To: "ada@bücher.example", OwnerID: "o1", Kind: notify.Tip, Language: "sv",
		Subject: strings.Repeat("Så får du ut mer av din laddbox ", 6), Body: "Hej,\n\n- ett\n- två <b>\n\nhttps://fettle.example/my/\n\n" + strings.Repeat("å", 3000) + "\n", Link: "https://fettle.example/my/",
	}
	srv, raw := sent(t, mail.Config{ReplyTo: "Hjälp <help@fettle.example>", ReturnPath: "bounces@fettle.example"}, m)
	require.Regexp(t, `^bounces\+[a-z2-7]+@fettle\.example$`, srv.from[0])
	require.Equal(t, "ada@xn--bcher-kva.example", srv.to[0])
	parsed, err := netmail.ReadMessage(strings.NewReader(raw))
	require.NoError(t, err)
	h := parsed.Header
	require.Equal(t, "List-Unsubscribe=One-Click", h.Get("List-Unsubscribe-Post"))
	require.Equal(t, "<"+links.Unsubscribe(m.ID)+">", h.Get("List-Unsubscribe"))
	require.Equal(t, "sv", h.Get("Content-Language"))
	reply, err := h.AddressList("Reply-To")
	require.NoError(t, err)
	require.Equal(t, "Hjälp", reply[0].Name)
	for line := range strings.SplitSeq(raw, "\r\n") {
		require.LessOrEqual(t, len(line), 100, line)
	}
	parts := read(t, raw)
	require.Contains(t, parts[0].text, "\n-- \nDu får det här meddelandet från Fettle")
	require.Contains(t, parts[0].text, links.Unsubscribe(m.ID))
	require.NotContains(t, parts[0].text, links.Read(m.ID))
	require.Contains(t, parts[1].text, `<html lang="sv" dir="ltr">`)
	require.Contains(t, parts[1].text, "<li>ett</li><li>två &lt;b&gt;</li></ul>")
	require.Equal(t, 1, strings.Count(parts[1].text, `class="button"`), "the address on a line of its own is the button")
	loads := regexp.MustCompile(`(?i)<img|src=|url\(|@import|<link|<script`)
	require.NotRegexp(t, loads, parts[1].text, "nothing is loaded, so that nobody learns who opened it")

	// Safety: no way out, and a question.
	m.Kind, m.Acknowledge, m.Language, m.HTML = notify.Safety, true, "ar", "<p>مرحبا</p>"
	_, raw = sent(t, mail.Config{}, m)
	require.NotContains(t, raw, "List-Unsubscribe")
	parts = read(t, raw)
	require.Contains(t, parts[0].text, links.Read(m.ID))
	require.Contains(t, parts[1].text, `dir="rtl"`)
	require.Contains(t, parts[1].text, links.Read(m.ID))
	require.Contains(t, parts[1].text, "This is a safety notice")

	// A sign-in link says nothing of owning and cannot be switched off.
	m.Kind, m.Acknowledge, m.HTML, m.Language = notify.Account, false, "", "de"
	_, raw = sent(t, mail.Config{}, m)
	parts = read(t, raw)
	require.NotContains(t, parts[0].text, "-- \n")
	require.Contains(t, parts[1].text, ">Anmelden</a>")
	require.Equal(t, "fettle@fettle.example", func() string { s, _ := sent(t, mail.Config{}, m); return s.from[0] }())
}

func writeKey(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "dkim.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	return file
}

// verifyDKIM asks Debian's python3-dkim whether a mail is signed as a record says.
const verifyDKIM = `
import sys, dkim
name, record = sys.argv[1].encode(), sys.argv[2].encode()
def dns(asked, timeout=5):
    return record if asked.rstrip(b'.') == name else None
mail = sys.stdin.buffer.read()
print('good' if dkim.verify(mail, dnsfunc=dns) else 'bad')
print('good' if dkim.verify(mail.replace(b'Subject: ', b'Subject: Re: ', 1), dnsfunc=dns) else 'bad')
print('good' if dkim.verify(b'List-Unsubscribe: <https://evil.example>\r\n' + mail, dnsfunc=dns) else 'bad')
`

func TestDKIM(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/usr/lib/python3/dist-packages/dkim/__init__.py"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("no python3-dkim (apt-get install python3-dkim)")
		}
		t.Skip("no python3-dkim (apt-get install python3-dkim)")
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	_, err = mail.New(mail.Config{Server: "smtp://h", From: "a@example.org", DKIM: &mail.DKIM{KeyFile: writeKey(t, small), Selector: "s"}})
	require.ErrorContains(t, err, "2048")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = mail.New(mail.Config{Server: "smtp://h", From: "a@example.org", DKIM: &mail.DKIM{KeyFile: "/nowhere", Selector: "s"}})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	_, short, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for name, key := range map[string]any{"rsa": long, "ed25519": short} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &mail.DKIM{KeyFile: writeKey(t, key), Selector: "mail2026"}
			_, raw := sent(t, mail.Config{DKIM: d}, message(1))
			record, text, err := d.Record("fettle.example")
			require.NoError(t, err)
			require.Equal(t, "mail2026._domainkey.fettle.example", record)
			cmd := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", verifyDKIM, record, text)
			cmd.Stdin = strings.NewReader(raw)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			require.Equal(t, "good\nbad\nbad\n", string(out), "as sent; with another subject; with a header added")
		})
	}
}
