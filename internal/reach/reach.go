// Package reach is how this service calls addresses that somebody configured:
// never into its own network unless that was allowed, so that nobody makes it
// ask what only it can reach (SSRF). The address is looked at after the name was
// resolved, when the connection is made.
package reach

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// special are networks that are nobody's on the Internet, beside those that
// netip knows as private, loopback, link-local or multicast (RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"),
}

// Networks are the inner networks that may be called.
type Networks []netip.Prefix

// Parse reads a comma-separated list of addresses and networks.
func Parse(list string) (Networks, error) {
	var out Networks
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fault.New(fault.Invalid, "networks: expected addresses or networks, as 10.0.0.7,10.1.0.0/16, got %q", s)
		}
		out = append(out, p)
	}
	return out, nil
}

// Allows reports whether an address may be called.
func (n Networks) Allows(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range n {
		if p.Contains(a) {
			return true
		}
	}
	if !a.IsValid() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || a.IsInterfaceLocalMulticast() {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// Dialer connects to what n allows; setting is what an operator would change.
func (n Networks) Dialer(setting string) *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !n.Allows(to.Addr()) {
			return fault.New(fault.Invalid, "%s is no public address: the setting %s does not name it", address, setting)
		}
		return nil
	}}
}

// Client is an HTTP client that keeps to n, follows no redirects, and waits for
// an answer for timeout at most.
func (n Networks) Client(timeout time.Duration) *http.Client {
	dialer := n.Dialer("outgoing-networks")
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 16, IdleConnTimeout: 60 * time.Second,
			ForceAttemptHTTP2: true, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// MaxAnswer is how much of an answer is read, bytes.
const MaxAnswer = 64 << 10

// Do sends a request and reads its answer. An answer that no other attempt can
// better (3xx and 4xx but 408, 425 and 429) is fault.Invalid, beside the answer.
func Do(client *http.Client, req *http.Request) (status int, answer []byte, err error) {
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "fettle")
	}
	res, err := client.Do(req) //nolint:gosec // its dialer keeps to Networks
	if err != nil {
		if ctx := req.Context(); ctx.Err() == nil && context.Cause(ctx) == nil && fault.KindOf(err) == fault.Invalid {
			return 0, nil, err
		}
		return 0, nil, fmt.Errorf("%s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	answer, _ = io.ReadAll(io.LimitReader(res.Body, MaxAnswer))
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return code, answer, nil
	case code >= 300 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests:
		return code, answer, fault.New(fault.Invalid, "%s", res.Status)
	default:
		return code, answer, fmt.Errorf("%s", res.Status)
	}
}
