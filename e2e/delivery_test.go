package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/exim"
)

// A real mail server takes a mail, finds that nobody reads it, and hands its
// report to `fettle message bounce`, as docs/operations.md sets it up: the
// operator sees it, and nothing more goes there. An event goes to an endpoint.
func TestDelivery(t *testing.T) {
	t.Parallel()
	s := &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t)}
	shared, err := os.MkdirTemp("", "fettle-e2e") //nolint:usetesting // the mail server's user runs what stands there
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(shared) })
	require.NoError(t, os.Chmod(shared, 0o755))
	program := filepath.Join(shared, "fettle")
	raw, err := os.ReadFile(binary)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(program, raw, 0o755))
	mail := exim.StartPiped(t, program+" message bounce --server http://"+s.http)
	s.args = []string{"--smtp", "smtp://" + mail.Address, "--mail-from", "Fettle <fettle@example.org>", "--mail-bounces", "bounces@bounces.example", "--outgoing-networks", "127.0.0.0/8"}
	s.start()
	s.signIn()
	file := filepath.Join(t.TempDir(), "unit.yaml")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(menderFiles, "ada@example.org", "gone@example.org")), 0o600))
	s.fettle("apply", "-f", file)
	require.Contains(t, menderFiles, "ada@example.org")

	res := s.request(http.MethodPost, "/owner/v1/sign-in/link", "", map[string]string{"email": "gone@example.org"})
	_ = res.Body.Close()
	require.Less(t, res.StatusCode, 300)
	var page struct {
		Items []struct{ ID, To, State, LastError string }
	}
	s.wait("the mail comes back", func() bool {
		s.get("/v1/messages?state=bounced", &page)
		return len(page.Items) == 1
	})
	require.Equal(t, "g…@example.org", page.Items[0].To)
	require.Contains(t, page.Items[0].LastError, "no such user here", mail.Log())
	require.Contains(t, s.fettle("message", "addresses"), "gone@example.org")
	require.Contains(t, s.fettle("message", "show", page.Items[0].ID), "bounced")
	require.NotContains(t, s.fettle("message", "show", page.Items[0].ID), "#fel_", "a link that signs in is nobody else's")
	s.fettle("message", "addresses", "--clear", "gone@example.org")
	require.NotContains(t, s.fettle("message", "addresses"), "gone@example.org")

	got := make(chan *http.Request, 10)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header.Set("Body", string(body))
		got <- r
	}))
	defer hook.Close()
	require.Contains(t, s.fettle("webhook", "put", "crm", hook.URL), "whsec_")
	s.fettle("webhook", "test", "crm")
	r := <-got
	require.Contains(t, r.Header.Get("Body"), `"type":"dev.fettle.test"`)
	require.NotEmpty(t, r.Header.Get("Webhook-Signature"))
	s.wait("it is noted", func() bool { return strings.Contains(s.fettle("webhook", "log", "crm"), "sent") })
	_, told, err := s.try("webhook", "put", "x", "ftp://nowhere", "--type", "nothing")
	require.Error(t, err)
	require.Contains(t, told, "url")
	require.Contains(t, told, "dev.fettle.finding.opened")
	require.Contains(t, s.fettle("message", "gateways"), "mail")
}
