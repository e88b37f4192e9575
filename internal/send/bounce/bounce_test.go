package bounce_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/peer/exim"
	"fettle.dev/fettle/internal/send/bounce"
	"fettle.dev/fettle/internal/send/mail"
)

var links = ticket.Links{Signer: ticket.New([]byte("0123456789abcdef0123456789abcdef")), URL: "https://fettle.example"}

const id = "0197a000-0000-7000-8000-000000000001"

// A real mail server accepts a mail and then says that it could not deliver it.
func TestExim(t *testing.T) {
	t.Parallel()
	srv := exim.Start(t)
	s, err := mail.New(mail.Config{Server: "smtp://" + srv.Address, From: "fettle@example.org", ReturnPath: "bounces@bounces.example", Links: links})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Send(t.Context(), notify.Message{ID: id, To: "gone@example.org", Subject: "Hello", Body: "Hello\n"})
	require.NoError(t, err, srv.Log())
	require.Eventually(t, func() bool { return len(srv.Bounces(t)) == 1 }, time.Minute, 50*time.Millisecond, srv.Log())
	raw := srv.Bounces(t)[0]
	r, err := bounce.Read(bytes.NewReader(raw), "", links.Signer)
	require.NoError(t, err, string(raw))
	require.Equal(t, id, r.MessageID)
	require.Equal(t, notify.Bounce, r.Result)
	require.True(t, r.Gone, r.Detail)
	require.Contains(t, r.Detail, "no such user here")

	// The same without the address that it came to: by the mail that it quotes.
	r, err = bounce.Read(bytes.NewReader(withoutPlus(raw)), "", links.Signer)
	require.NoError(t, err)
	require.Equal(t, id, r.MessageID)
	_, err = bounce.Read(bytes.NewReader(raw), "", ticket.New([]byte("another")))
	require.Equal(t, fault.NotFound, fault.KindOf(err), "nobody makes tickets without the key")
}

func withoutPlus(raw []byte) []byte {
	at := "+" + links.Make(ticket.Bounce, id) + "@"
	return bytes.ReplaceAll(raw, []byte(at), []byte("@"))
}

// sample reads a mail of testdata with the message's ticket put in.
func sample(tb testing.TB, name string) string {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(tb, err)
	return strings.NewReplacer("BOUNCE", links.Make(ticket.Bounce, id), "MESSAGE", links.Make(ticket.Mail, id)).Replace(string(raw))
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		result     notify.Result
		gone, soft bool
		detail     string
	}{
		"postfix-unknown.eml": {notify.Bounce, true, false, "5.1.1 550 5.1.1 <ada@example.org>: Recipient address rejected: User unknown"},
		"postfix-full.eml":    {notify.Bounce, false, true, "5.2.2 552 5.2.2 over quota"},
		"postfix-delayed.eml": {notify.Delay, false, false, "4.4.1 connect to mx.example.org[192.0.2.7]:25: Connection timed out"},
		"outlook-policy.eml":  {notify.Bounce, false, false, "5.7.1 Your message was refused by policy"},
		"qmail.eml":           {notify.Bounce, true, false, ""},
		"arf.eml":             {notify.Complaint, false, false, "feedback report: abuse"},
		"delivered.eml":       {notify.Arrived, false, false, "2.1.5 250 Ok"},
	} {
		for _, crlf := range []bool{false, true} {
			text := sample(t, name)
			if crlf {
				text = strings.ReplaceAll(text, "\n", "\r\n")
			}
			r, err := bounce.Read(strings.NewReader(text), "", links.Signer)
			require.NoError(t, err, name)
			require.Equal(t, id, r.MessageID, name)
			require.Equal(t, want.result, r.Result, name)
			require.Equal(t, want.gone, r.Gone, name)
			require.Equal(t, want.soft, r.Soft, name)
			if want.detail != "" {
				require.Equal(t, want.detail, r.Detail, name)
			}
		}
	}
	for _, name := range []string{"vacation.eml", "answer.eml"} {
		_, err := bounce.Read(strings.NewReader(sample(t, name)), "bounces+"+links.Make(ticket.Bounce, id)+"@example.org", links.Signer)
		require.ErrorIs(t, err, bounce.ErrNoReport, name)
	}
	_, err := bounce.Read(strings.NewReader("no mail"), "", links.Signer)
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	require.NoError(f, err)
	for _, name := range files {
		f.Add([]byte(sample(f, filepath.Base(name))), "bounces+x@example.org")
	}
	f.Fuzz(func(t *testing.T, raw []byte, recipient string) {
		r, err := bounce.Read(bytes.NewReader(raw), recipient, links.Signer)
		if err == nil && (r.MessageID != id || r.Result == "") {
			t.Fatalf("believed %+v", r)
		}
	})
}
