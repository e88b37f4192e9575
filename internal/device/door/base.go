package door

import "net/http"

// Base is the scheme and host at which a client reached us. A trusted proxy's
// word on the scheme, which stands in the URL, counts more than the connection
// to it.
func Base(r *http.Request) string {
	if r.URL.Scheme == "https" || r.URL.Scheme == "" && r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}
