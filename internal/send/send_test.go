package send_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/reach"
	"fettle.dev/fettle/internal/send"
)

const signature = "t=1777885200,v1=170653ce9f3aa157f18d052611d6ac2aad05aa9d12eab6582757cfa0f561a6ca"

var quiet = slog.New(slog.DiscardHandler)

// inside lets tests reach their servers.
var inside = reach.Networks{netip.MustParsePrefix("127.0.0.0/8")}

func outcome(_ string, err error) error { return err }

func mailTo(n int) notify.Message {
	return notify.Message{ID: fmt.Sprint(n), Channel: notify.Mail, To: "ada@example.org", Subject: "Grüße", Body: "https://fettle.example/my/sign-in#fel_xxx\n"}
}

func TestWebhook(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	status := http.StatusNoContent
	var got *http.Request
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	defer srv.Close()
	w := send.NewWebhook("shared", nil, clock.NewManual(at), inside)
	m := notify.Message{Key: "digest:a:1", To: srv.URL + "/hook", Body: `{"event":"findings"}`}
	require.NoError(t, outcome(w.Send(t.Context(), m)))
	require.Equal(t, m.Body, string(body))
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, "digest:a:1", got.Header.Get(send.KeyHeader))
	// printf '1777885200.{"event":"findings"}' | openssl dgst -sha256 -hmac shared
	require.Equal(t, signature, got.Header.Get(send.SignatureHeader))
	for code, permanent := range map[int]bool{400: true, 404: true, 410: true, 302: true, 408: false, 429: false, 500: false, 503: false} {
		status = code
		err := outcome(w.Send(t.Context(), m))
		require.Error(t, err, code)
		require.Equal(t, permanent, fault.KindOf(err) == fault.Invalid, code)
	}
	status = 200
	require.NoError(t, outcome(send.NewWebhook("", nil, clock.NewManual(at), inside).Send(t.Context(), m)))
	require.Empty(t, got.Header.Get(send.SignatureHeader))
	m.To = "http://\x00"
	require.Equal(t, fault.Invalid, fault.KindOf(outcome(w.Send(t.Context(), m))))
	m.To = "http://127.0.0.1:1/"
	err := outcome(w.Send(t.Context(), m))
	require.Error(t, err)
	require.NotEqual(t, fault.Invalid, fault.KindOf(err))
}

func TestConsole(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	require.NoError(t, outcome(send.NewConsole(&b).Send(t.Context(), mailTo(1))))
	require.Contains(t, b.String(), "mail to ada@example.org")
	require.Contains(t, b.String(), "fel_xxx")
}
