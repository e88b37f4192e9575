package letter_test

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/notify/notifytest"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// text is what pdftotext (poppler) reads in a PDF, as it is laid out.
func text(t *testing.T, pdf []byte, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x.pdf")
	require.NoError(t, os.WriteFile(file, pdf, 0o600))
	cmd := exec.CommandContext(t.Context(), "pdftotext", append(append([]string{"-enc", "UTF-8"}, args...), file, "-")...)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

var sender = []string{"Nordlys AS", "Gate 1", "0150 Oslo", "Norway"}

func TestLetters(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		w := notifytest.New(t, db)
		ctx := t.Context()
		order := letter.Order{Format: letter.DIN, Sender: sender, By: "ann"}
		_, err := w.Letters.Make(ctx, order)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "nothing to print")

		post := func(key, email string) {
			o := w.Owner(email)
			m := notifytest.Recall(key, o)
			m.Channels = []notify.Channel{notify.Letter}
			require.Equal(t, notify.Told, w.Tell(m).Verdict)
		}
		post("a", "kim@example.org")
		post("b", "sam@example.org")
		post("c", "arab@example.org")
		require.NoError(t, w.People.SetContact(ctx, "o-sam@example.org", preference.Contact{Address: &preference.Address{Name: "=SUM(A1)", Lines: []string{"1 Main St"}, PostalCode: "10001", City: "New York", Region: "NY", Country: "US"}}))
		require.NoError(t, w.People.SetContact(ctx, "o-arab@example.org", preference.Contact{Address: &preference.Address{Name: "سلام", Lines: []string{"x"}, City: "Kairo", Country: "EG"}}))
		b, err := w.Letters.Make(ctx, order)
		require.NoError(t, err)
		require.Equal(t, 2, b.Letters)
		counts, err := w.Words.CountLetters(ctx)
		require.NoError(t, err)
		require.Equal(t, map[letter.State]int{letter.Batched: 2, letter.Unfit: 1}, counts)
		unfit, err := w.Words.Letters(ctx, letter.Filter{State: letter.Unfit})
		require.NoError(t, err)
		require.Contains(t, unfit[0].Why, "font")
		_, err = w.Letters.Make(ctx, order)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "none is in two batches")

		var pdf, again bytes.Buffer
		require.NoError(t, w.Letters.PDF(ctx, b.ID, &pdf))
		require.NoError(t, w.Letters.PDF(ctx, b.ID, &again))
		require.Equal(t, pdf.Bytes(), again.Bytes(), "the same letters are the same bytes")
		got := text(t, pdf.Bytes(), "-layout")
		for _, want := range []string{"Jörg Müller", "Große Straße 1", "10115 Berlin", "GERMANY", "New York NY 10001", "6. Januar 2014", "Wichtig: Ihrem Gerät (Wall charger) fehlt noch das Sicherheitsupdate", "Von allein beginnt es nie."} {
			require.Contains(t, got, want)
		}
		// The address stands in the window of the envelope (DIN 5008 form B), and nothing else.
		window := text(t, pdf.Bytes(), "-f", "1", "-l", "1", "-r", "72", "-x", "57", "-y", "176", "-W", "241", "-H", "80")
		require.Equal(t, []string{"Jörg Müller", "Große Straße 1", "10115 Berlin", "GERMANY"}, strings.FieldsFunc(window, func(r rune) bool { return r == '\n' || r == '\f' }))

		var packed bytes.Buffer
		require.NoError(t, w.Letters.ZIP(ctx, b.ID, &packed))
		z, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
		require.NoError(t, err)
		require.Len(t, z.File, 3)
		f, err := z.Open("manifest.csv")
		require.NoError(t, err)
		raw, err := io.ReadAll(f)
		require.NoError(t, err)
		rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\ufeff")))).ReadAll()
		require.NoError(t, err)
		require.Len(t, rows, 3)
		require.Equal(t, []string{"1", "din5008", "de", "Jörg Müller", "Große Straße 1", "10115 Berlin", "", "", "", "GERMANY"}, rows[1][3:])
		require.Equal(t, "'=SUM(A1)", rows[2][6], "no formula in a spreadsheet")

		// Sent on a day, and one came back.
		_, err = w.Letters.MarkSent(ctx, b.ID, w.Clock.Now().AddDate(0, 0, 3))
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		sent, err := w.Letters.MarkSent(ctx, b.ID, w.Clock.Now())
		require.NoError(t, err)
		require.Equal(t, notifytest.Noon, sent.SentAt)
		_, err = w.Letters.MarkSent(ctx, b.ID, w.Clock.Now())
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		list, err := w.Words.Letters(ctx, letter.Filter{Batch: b.ID})
		require.NoError(t, err)
		m, err := w.Messages.Message(ctx, list[0].ID)
		require.NoError(t, err)
		require.Equal(t, notify.Sent, m.State)
		back, err := w.Letters.MarkReturned(ctx, list[0].ID, "")
		require.NoError(t, err)
		require.Equal(t, letter.Returned, back.State)
		_, err = w.Letters.MarkReturned(ctx, list[0].ID, "")
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		batches, err := w.Words.Batches(ctx, "", 10)
		require.NoError(t, err)
		require.Equal(t, 1, batches[0].Returned)
	})
}

// On US paper the address stands where a #10 envelope's window shows it,
// however the sheet slides.
func TestUSPaper(t *testing.T) {
	t.Parallel()
	var pdf bytes.Buffer
	pages, err := letter.Print(&pdf, letter.US, notifytest.Noon, []letter.Sheet{{
		Language: "en", Sender: sender, Recipient: []string{"Kim Berg", "1 Main St", "Springfield IL 62701", "UNITED STATES"}, Date: "January 6, 2014", Subject: "Product safety recall",
		Text: strings.Repeat("The plug can overheat and cause a fire. ", 120) + "\n\n- one\n- two\n",
	}})
	require.NoError(t, err)
	require.Equal(t, []int{2}, pages, "a long letter goes on overleaf")
	window := text(t, pdf.Bytes(), "-l", "1", "-r", "72", "-x", "64", "-y", "180", "-W", "250", "-H", "48")
	require.Equal(t, []string{"Kim Berg", "1 Main St", "Springfield IL 62701", "UNITED STATES"}, strings.FieldsFunc(window, func(r rune) bool { return r == '\n' || r == '\f' }))
	_, err = letter.Print(&pdf, "a5", time.Time{}, nil)
	require.Error(t, err)
}

func TestWhatTheFontHas(t *testing.T) {
	t.Parallel()
	require.Empty(t, letter.Unprintable("ÅÄÖåäö ßẞ éèêçñ¿¡ ŁÓŹ ŐŰ Ţş „“”«»…–—€£· Αθήνα Київ 1 234 x"))
	require.Equal(t, "سل", letter.Unprintable("Kim سلس"))
	require.Equal(t, "שָ", letter.Unprintable("שָ")[:len("שָ")])
}

func TestOrders(t *testing.T) {
	t.Parallel()
	for path, o := range map[string]letter.Order{
		"format": {Format: "a5", Sender: sender}, "sender": {Format: letter.DIN}, "sender[1]": {Format: letter.DIN, Sender: []string{"a", "b\nc"}}, "limit": {Format: letter.US, Sender: sender, Limit: 1e6},
	} {
		fields := fault.FieldsOf(o.Validate())
		require.Len(t, fields, 1, path)
		require.Equal(t, path, fields[0].Path)
	}
}
