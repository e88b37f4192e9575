package door

import (
	"context"
	"net/http"
)

type peerKey struct{}

// WithPeer keeps who is connected to us in a request whose RemoteAddr is about
// to become that of whom a proxy says it serves.
func WithPeer(r *http.Request) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), peerKey{}, r.RemoteAddr))
}

// Peer is the address, as host:port, of who is connected to us.
func Peer(r *http.Request) string {
	if at, ok := r.Context().Value(peerKey{}).(string); ok {
		return at
	}
	return r.RemoteAddr
}
