package ddi

import (
	"context"
	"net/http"
	"net/url"
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

// issuerHeader is where hawkBit's proxies say who issued a client's certificate.
const issuerHeader = "X-Ssl-Issuer-Hash-1"

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
