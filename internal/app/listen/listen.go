// Package listen serves HTTP: certificates from files, behind proxies that are
// named, and the headers that browsers heed.
package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/door"
)

// Certificates gives the pair of files, read anew when one of them changes, so
// that a renewed certificate needs no restart.
type Certificates struct {
	certFile, keyFile string
	now               func() time.Time // real time, whatever the clock shows
	log               *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	read   time.Time // modification time of what was read
	looked time.Time
}

// NewCertificates reads the pair of files once, so that a wrong one is told at the start.
func NewCertificates(certFile, keyFile string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{certFile: certFile, keyFile: keyFile, now: clock.Real{}.Now, log: log}
	if _, err := c.get(nil); err != nil {
		return nil, fmt.Errorf("read certificate (tls-cert, tls-key): %w", err)
	}
	return c, nil
}

func (c *Certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.pair != nil && now.Sub(c.looked) < 10*time.Second {
		return c.pair, nil
	}
	pair, modified, err := c.load()
	if err != nil {
		if c.pair == nil {
			return nil, err
		}
		c.log.Error("certificate files cannot be read; the old certificate stays in use", "error", err)
	} else if pair != nil {
		c.pair, c.read = pair, modified
	}
	c.looked = now
	return c.pair, nil
}

func (c *Certificates) load() (*tls.Certificate, time.Time, error) {
	var newest time.Time
	for _, f := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(f)
		if err != nil {
			return nil, newest, err
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	if newest.Equal(c.read) {
		return nil, newest, nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	return &pair, newest, err
}

// Config is for servers. Units may show a certificate: it is theirs when its
// fingerprint is bound to them, so no authority is asked about it.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, ClientAuth: tls.RequestClientCert}
}

// BehindProxies believes X-Forwarded-For, -Proto and -Host from the named
// proxies and drops them from everybody else, so that no caller chooses the
// address it is rate-limited or shown by.
func BehindProxies(trusted []netip.Prefix, next http.Handler) http.Handler {
	is := func(s string) bool {
		a, err := netip.ParseAddr(strings.TrimSpace(s))
		if err != nil {
			return false
		}
		for _, p := range trusted {
			if p.Contains(a.Unmap()) {
				return true
			}
		}
		return false
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port := "", ""
		if len(trusted) > 0 {
			host, port, _ = net.SplitHostPort(r.RemoteAddr)
		}
		if host != "" && is(host) {
			r = door.WithPeer(r)
			hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
			for _, hop := range slices.Backward(hops) {
				hop = strings.TrimSpace(hop)
				if hop == "" {
					continue
				}
				r.RemoteAddr = net.JoinHostPort(hop, port)
				if !is(hop) {
					break
				}
			}
			if h := r.Header.Get("X-Forwarded-Host"); h != "" {
				r.Host = h
			}
			if p := r.Header.Get("X-Forwarded-Proto"); p == "https" || p == "http" {
				r.URL.Scheme = p
			}
		}
		for _, h := range forwarded {
			delete(r.Header, h)
		}
		if r.TLS != nil {
			r.URL.Scheme = "https"
		}
		next.ServeHTTP(w, r)
	})
}

// forwarded are the headers that only proxies may set, as net/http spells them.
var forwarded = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded"}

// Secured sets the headers that every page and answer has.
func Secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		if r.URL.Scheme == "https" {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// Serve serves until ctx ends, then lets requests under way finish.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	select {
	case err := <-done:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("http: %w", err)
	}
	return srv.Close()
}
