package ddi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/fault"
)

// Trust is whom units are believed to be vouched for by. It comes from the
// configuration file alone: whoever holds a gateway's token, or may set a
// proxy's header, can speak for every unit of the products named.
type Trust struct {
	Gateways []Gateway `yaml:"gateways"`
	Proxies  []Proxy   `yaml:"proxies"`
}

// Gateway is a device that polls for others with a token of its own.
type Gateway struct {
	Name     string         `yaml:"name"`
	Token    string         `yaml:"tokenSHA256"` // hex SHA-256 of the token
	Networks []netip.Prefix `yaml:"networks"`    // that it polls from
	Products []string       `yaml:"products"`    // whose units it may speak for
}

// Proxy verifies units' client certificates before us and says in headers whose
// they were.
type Proxy struct {
	Name            string         `yaml:"name"`
	Networks        []netip.Prefix `yaml:"networks"` // of the proxy itself
	Products        []string       `yaml:"products"`
	AuthorityHeader string         `yaml:"authorityHeader"` // says by whom the certificate was issued; default X-Authority
	Authority       string         `yaml:"authority"`       // that it must say; empty: not looked at
}

// controllerHeader is where a proxy says which unit it has verified.
const controllerHeader = "X-Controller-Id"

// Check finds the mistakes of a Trust.
func (t *Trust) Check(add func(path, expected, got string)) {
	for i, g := range t.Gateways {
		at := at("gateways", i)
		if _, ok := tokenHash(g.Token); !ok {
			add(at+"tokenSHA256", "the SHA-256 of the gateway's token, 64 hexadecimal digits (printf %s TOKEN | sha256sum)", "")
		}
		named(at, g.Name, g.Networks, g.Products, add)
	}
	for i, p := range t.Proxies {
		named(at("proxies", i), p.Name, p.Networks, p.Products, add)
	}
}

func named(at, name string, networks []netip.Prefix, products []string, add func(path, expected, got string)) {
	if name == "" {
		add(at+"name", "a name, for the log", "")
	}
	if len(networks) == 0 {
		add(at+"networks", "the networks that it comes from, as 10.1.0.0/16", "")
	}
	if len(products) == 0 {
		add(at+"products", "the products whose units it may speak for", "")
	}
}

type trust struct {
	Trust
	hashes []([sha256.Size]byte)
}

func newTrust(t Trust) trust {
	out := trust{Trust: t}
	for _, g := range t.Gateways {
		h, _ := tokenHash(g.Token) // Check has looked
		out.hashes = append(out.hashes, h)
	}
	return out
}

// Reasons for which a client is not believed, in the log and in
// fettle_ddi_refused_total.
const (
	whyCredential     = "credential"      // missing or wrong
	whyGatewayToken   = "gateway-token"   // of no gateway
	whyGatewayNetwork = "gateway-network" // a gateway's token from outside its networks
	whyGatewayProduct = "gateway-product" // a gateway that speaks for a unit of another product
	whyHeaderNetwork  = "header-network"  // X-Controller-Id from where no proxy is
	whyHeaderUnit     = "header-unit"     // it says another unit than the path
	whyHeaderIssuer   = "header-issuer"   // the authority's header says another issuer
	whyHeaderProduct  = "header-product"  // a proxy that speaks for a unit of another product
	whyAction         = "action"          // feedback on an action that is not this unit's, or that it is not shown
)

// deniedError refuses a client by a reason above.
type deniedError struct {
	why, by string
	err     error
}

func (e *deniedError) Error() string { return e.why + ": " + e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

func deny(why, by, format string, args ...any) error {
	return &deniedError{why, by, fault.New(fault.Denied, format, args...)}
}

// identify tells the unit that the path names from its own token, its client
// certificate, or the word of a gateway or proxy that is trusted for it. Token
// is nil for polls.
func (h *Handler) identify(r *http.Request, unit string, token func(ctx context.Context, unit, token string) (device.Identity, error)) (device.Identity, error) {
	if said := r.Header[controllerHeader]; said != nil && !h.benchToken(r, unit) {
		return h.byHeader(r, unit, said)
	}
	scheme, value, _ := strings.Cut(first(r.Header["Authorization"]), " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "TargetToken") && value != "":
		if token == nil {
			return h.cfg.Units.Poll(r.Context(), unit, value, from(r))
		}
		return token(r.Context(), unit, value)
	case strings.EqualFold(scheme, "GatewayToken") && value != "":
		return h.byGateway(r, unit, value)
	case scheme == "" && r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		id, err := h.cfg.Units.Certificate(r.Context(), r.TLS.PeerCertificates[0])
		if err == nil && id.UnitID != unit {
			return device.Identity{}, deny(whyCredential, "", "the certificate is of another unit")
		}
		if err == nil && token == nil {
			h.cfg.Units.Contact(id)
		}
		return id, err
	case scheme == "" && h.benchProxy(r, unit, r.Header[commonNameHeader]):
		return h.onBench(r, unit, whyHeaderProduct)
	}
	return device.Identity{}, deny(whyCredential, "", "a target token or a client certificate is wanted")
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

func (h *Handler) byGateway(r *http.Request, unit, token string) (device.Identity, error) {
	sum := sha256.Sum256([]byte(token))
	found := -1
	for i := range h.trust.hashes {
		if subtle.ConstantTimeCompare(sum[:], h.trust.hashes[i][:]) == 1 {
			found = i
		}
	}
	if found < 0 && h.cfg.Bench != nil && h.cfg.Bench.Gateway(token) {
		return h.onBench(r, unit, whyGatewayProduct)
	}
	if found < 0 {
		return device.Identity{}, deny(whyGatewayToken, "", "a token of no gateway")
	}
	g := &h.trust.Gateways[found]
	if !inside(g.Networks, from(r)) {
		return device.Identity{}, deny(whyGatewayNetwork, g.Name, "the gateway's token came from outside its networks")
	}
	return h.vouched(r, unit, g.Products, whyGatewayProduct, g.Name)
}

func (h *Handler) byHeader(r *http.Request, unit string, said []string) (device.Identity, error) {
	at := peer(r)
	i := slices.IndexFunc(h.trust.Proxies, func(p Proxy) bool { return inside(p.Networks, at) })
	if i < 0 && h.benchProxy(r, unit, said) {
		return h.onBench(r, unit, whyHeaderProduct)
	}
	if i < 0 {
		return device.Identity{}, deny(whyHeaderNetwork, "", "%s is believed of the proxies that the configuration names alone, and %s is none", controllerHeader, at)
	}
	p := &h.trust.Proxies[i]
	header := p.AuthorityHeader
	if header == "" {
		header = "X-Authority"
	}
	switch {
	case len(said) != 1 || said[0] != unit:
		return device.Identity{}, deny(whyHeaderUnit, p.Name, "the proxy has verified another unit than the path names")
	case p.Authority != "" && r.Header.Get(header) != p.Authority:
		return device.Identity{}, deny(whyHeaderIssuer, p.Name, "the unit's certificate was issued by another authority")
	}
	return h.vouched(r, unit, p.Products, whyHeaderProduct, p.Name)
}

func (h *Handler) vouched(r *http.Request, unit string, products []string, why, by string) (device.Identity, error) {
	id, err := h.cfg.Units.Vouched(r.Context(), unit)
	if err != nil {
		return id, err
	}
	if !slices.Contains(products, id.Product) {
		return device.Identity{}, deny(why, by, "%s may not speak for units of product %s", by, id.Product)
	}
	h.cfg.Units.Contact(id)
	return id, nil
}

func inside(networks []netip.Prefix, a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// peer is who is connected to us, whatever a proxy says of whom it serves.
func peer(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(door.Peer(r))
	if err != nil {
		return netip.Addr{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap()
}

type metrics struct {
	polls      *prometheus.CounterVec
	idle, work prometheus.Counter
	refused    *prometheus.CounterVec
	told       rate.Sometimes // a flood of refusals is counted, not written down
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		told: rate.Sometimes{First: 20, Interval: 1e9},
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_ddi_polls_total", Help: "Polls of update clients that were answered: idle, or with work for the unit.",
		}, []string{"answer"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_ddi_refused_total", Help: "Requests of update clients that were not believed, by reason.",
		}, []string{"reason"}),
	}
	m.idle, m.work = m.polls.WithLabelValues("idle"), m.polls.WithLabelValues("work")
	for _, why := range []string{whyCredential, whyGatewayToken, whyGatewayNetwork, whyGatewayProduct, whyHeaderNetwork, whyHeaderUnit, whyHeaderIssuer, whyHeaderProduct, whyAction} {
		m.refused.WithLabelValues(why)
	}
	if reg != nil {
		reg.MustRegister(m.polls, m.refused)
	}
	return m
}

// denied counts a client that was not believed, and writes it down unless
// there is a flood of them. The log never holds a credential.
func (h *Handler) denied(r *http.Request, err error) {
	why, by := whyCredential, ""
	if e, ok := errors.AsType[*deniedError](err); ok {
		why, by = e.why, e.by
	}
	h.metrics.refused.WithLabelValues(why).Inc()
	ctx := r.Context()
	h.metrics.told.Do(func() {
		h.cfg.Log.WarnContext(ctx, "an update client was refused", "reason", why, "path", r.URL.Path, "address", from(r), "trusted", by, "error", err)
	})
}

// heard counts, and writes down, feedback on what is no action of the unit's.
func (h *Handler) heard(r *http.Request, err error) error {
	if fault.KindOf(err) == fault.NotFound {
		h.denied(r, &deniedError{why: whyAction, err: err})
	}
	return err
}

func tokenHash(text string) (h [sha256.Size]byte, ok bool) {
	n, err := hex.Decode(h[:], []byte(text)[:min(len(text), 2*len(h))])
	return h, err == nil && n == len(h) && len(text) == 2*len(h)
}

func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]." }
