package ddi

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/update/link"
)

// Bench is what tools written for hawkBit have set for units on a bench, over
// their API. It reaches those units alone.
type Bench interface {
	// Polling is how long units of a product sleep between polls; 0: as usual.
	Polling(product string) time.Duration
	// Gateway reports whether a token lets its holder speak for bench units.
	Gateway(token string) bool
	// Issuer reports whether certificates of an issuer are believed of a proxy on this machine.
	Issuer(hash string) bool
	// On reports whether a unit is one of them.
	On(ctx context.Context, unitID string) bool
}

// Headers by which hawkBit's proxies say whose client certificate they have
// seen and who issued it. hawkBit renamed them: proxies of older set-ups send
// the first, those of newer ones controllerHeader and the second. A number
// tells the authorities of a certificate's chain apart.
const commonNameHeader = "X-Ssl-Client-Cn"

var issuerHeaders = []string{"X-Ssl-Issuer-Hash-1", "X-Ssl-Issuer-Hash-2", "X-Authority", "X-Authority-1", "X-Authority-2"}

// benchProxy reports whether a proxy on this machine, which tools have let in,
// has seen the unit's own client certificate.
func (h *Handler) benchProxy(r *http.Request, unit string, said []string) bool {
	return h.cfg.Bench != nil && len(said) == 1 && said[0] == unit && peer(r).IsLoopback() &&
		slices.ContainsFunc(issuerHeaders, func(name string) bool { return h.cfg.Bench.Issuer(r.Header.Get(name)) })
}

// hawkBitPath is the address of a file as hawkBit has it, for a bench: tools and
// the proxies of their tests look for it there. What is signed is the same.
func hawkBitPath(unit string, c link.Claims, signed string) string {
	_, query, _ := strings.Cut(signed, "?")
	return Prefix + url.PathEscape(unit) + "/softwaremodules/" + c.SHA256 + "/artifacts/" + url.PathEscape(c.Filename) + "?" + query
}

// fetch gives a request for such an address to the door of artifacts. The
// address is the credential.
func (h *Handler) fetch(w http.ResponseWriter, r *http.Request) {
	to := r.Clone(r.Context())
	to.URL.Path = link.Prefix + r.PathValue("sum") + "/" + r.PathValue("filename")
	to.URL.RawPath = ""
	h.cfg.Download.ServeHTTP(w, to)
}

// benchToken reports whether a bench unit shows its own token beside what a
// proxy says of it, which then counts for nothing: a bench's proxy sets the
// header whether it is believed or not.
func (h *Handler) benchToken(r *http.Request, unit string) bool {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return h.cfg.Bench != nil && strings.EqualFold(scheme, "TargetToken") && h.cfg.Bench.On(r.Context(), unit)
}

// onBench is a bench unit that somebody speaks for whom its tools have let in.
func (h *Handler) onBench(r *http.Request, unit, why string) (device.Identity, error) {
	if !h.cfg.Bench.On(r.Context(), unit) {
		return device.Identity{}, deny(why, "bench", "what tools have set lets nobody speak for unit %s, which is not on a bench", unit)
	}
	id, err := h.cfg.Units.Vouched(r.Context(), unit)
	if err == nil {
		h.cfg.Units.Contact(id)
	}
	return id, err
}
