package listen

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForwardedIsBelievedFromProxiesOnly(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, c := range []struct {
		name, remote, forwarded, want, scheme string
	}{
		{"from a stranger", "203.0.113.9:1", "198.51.100.1", "203.0.113.9:1", ""},
		{"from the proxy", "10.0.0.7:1", "198.51.100.1", "198.51.100.1:1", "https"},
		{"a stranger's word passed on by the proxy", "10.0.0.7:1", "127.0.0.1, 198.51.100.1", "198.51.100.1:1", "https"},
		{"through two proxies", "10.0.0.7:1", "198.51.100.1, 10.0.0.8", "198.51.100.1:1", "https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got, scheme, left string
			h := BehindProxies(trusted, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got, scheme = r.RemoteAddr, r.URL.Scheme
				left = r.Header.Get("X-Forwarded-For")
			}))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = c.remote
			r.Header.Set("X-Forwarded-For", c.forwarded)
			r.Header.Set("X-Forwarded-Proto", "https")
			h.ServeHTTP(httptest.NewRecorder(), r)
			require.Empty(t, left)
			require.Equal(t, c.want, got)
			require.Equal(t, c.scheme, scheme)
		})
	}
}
