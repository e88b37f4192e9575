package mail

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ticket"
)

// BenchmarkCompose writes the mail that bench/mail sends, 8 kB.
func BenchmarkCompose(b *testing.B) {
	c, err := newComposer(Config{From: "Fettle <fettle@example.org>", ReturnPath: "bounces@example.org", Links: ticket.Links{Signer: ticket.New(make([]byte, 32)), URL: "https://fettle.example"}})
	require.NoError(b, err)
	m := notify.Message{
		ID: "0197a000-0000-7000-8000-000000000001", Channel: notify.Mail, To: "ada@example.org", OwnerID: "o1", Kind: notify.Service, Language: "de",
		Subject: "Ein Update für Ihre Wallbox: Steckertemperatur", Link: "https://fettle.example/my/",
		Body: "Guten Tag Ada Lovelace,\n\nder Stecker Ihrer Wallbox kann zu warm werden. Ein Update behebt das.\n\n- Die Installation dauert etwa 12 Minuten.\n- Was in dieser Zeit nicht geht: Laden.\n\nhttps://fettle.example/my/\n\n" +
			strings.Repeat("Sie können es bis 3. Februar 2027, 12:00 Uhr verschieben. ", 4) + "\n",
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.compose(m, m.To); err != nil {
			b.Fatal(err)
		}
	}
}
