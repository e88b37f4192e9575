package mailbox

import (
	"net/smtp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const body = "Message-ID: <offer-1@fettle>\r\nSubject: =?UTF-8?q?F=C3=BCr_Ihren_Charger?=\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n" +
	"--b\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" +
	"Open http://127.0.0.1:8080/my/sign-in#abc=2D_1=\r\n23 now.\r\n--b--\r\n"

func TestKeepsOneOfEachMessage(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []Mail
	s, err := Listen(t.Context(), "127.0.0.1:0", func(m Mail) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, m)
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	for range 2 {
		require.NoError(t, smtp.SendMail(s.Addr(), nil, "fettle@example.org", []string{"Owner-1@example.org"}, []byte(body)))
	}
	require.NoError(t, smtp.SendMail(s.Addr(), nil, "fettle@example.org", []string{"owner-2@example.org"}, []byte(body)))
	require.Len(t, got, 2)
	require.Equal(t, int64(1), s.Repeated.Load())
	require.Equal(t, "owner-1@example.org", got[0].To)
	require.Equal(t, "Für Ihren Charger", got[0].Subject)
	require.Equal(t, "abc-_123", got[0].Token())
}

func TestTokenEndsWithTheLink(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"see https://f.example/my/sign-in#AbC_-9.":    "AbC_-9",
		"see <https://f.example/console/sign-in#t~1>": "t~1",
		"no link": "",
	} {
		require.Equal(t, want, Mail{Text: text}.Token(), text)
		_, after, _ := strings.Cut(Mail{Text: text}.Link(), "#")
		require.Equal(t, want, after, "the link, whole")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(body)
	f.Add("Subject: a\n\nb")
	f.Fuzz(func(_ *testing.T, s string) {
		if m, err := Read(strings.NewReader(s)); err == nil {
			_ = m.Token()
		}
	})
}
