package mender

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// leastRSA is the shortest RSA key that is taken, in bits (NIST SP 800-57 part
// 1, table 2: 2048 bits give 112 bits of security).
const leastRSA = 2048

// authenticate takes an authentication request: the unit's identity and public
// key, signed with the private key. A key that is bound to an active unit gets
// a token. Any other is a claim under the product's claim token, which an
// operator approves or not; until then the answer is 401, and the client asks
// again by itself.
func (h *Handler) authenticate(w http.ResponseWriter, r *http.Request) error {
	b, err := body(w, r, maxBody)
	if err != nil {
		return err
	}
	req, err := parseAuthRequest(b)
	if err != nil {
		return err
	}
	fingerprint, err := proven(req.key, b, r.Header.Get("X-MEN-Signature"))
	if err != nil {
		return err
	}
	id, err := h.cfg.Gateway.Fingerprint(r.Context(), fingerprint)
	if err == nil {
		h.cfg.Gateway.Contact(id)
		token := h.token(id.UnitID, fingerprint)
		w.Header().Set("Content-Type", "application/jwt")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(token))
		return nil
	}
	if !errors.Is(err, device.ErrCredential) {
		return err
	}
	if !h.callers.Allow(host(r)) {
		return errTooMany
	}
	c, err := h.cfg.Enrol.Enroll(r.Context(), fleet.EnrolRequest{
		ClaimToken: req.tenant, Serial: req.serial, ProvenKey: fingerprint, RemoteAddress: host(r),
	})
	switch {
	case err != nil && fault.KindOf(err) == fault.Unavailable:
		return err
	case err != nil: // also a client's mistake: it knows 401 alone
		return fault.New(fault.Denied, "%s", err.Error())
	case c.State == fleet.ClaimRejected:
		return fault.New(fault.Denied, "the claim of this device was rejected: %s", c.Why)
	}
	return fault.New(fault.Denied, "the device waits for an operator to approve it (claim %s, key %s)", c.ID, fingerprint)
}

// proven gives the fingerprint of a public key whose holder signed a body:
// RSA (PKCS #1 v1.5, SHA-256), as clients make by themselves, ECDSA (ASN.1,
// SHA-256) or Ed25519.
func proven(key []byte, signed []byte, signature string) (fingerprint string, err error) {
	sig, err := base64.StdEncoding.DecodeString(strings.TrimSpace(signature))
	if err != nil || len(sig) == 0 {
		return "", fault.New(fault.Denied, "the request is not signed: X-MEN-Signature is missing or not base64")
	}
	pub, err := x509.ParsePKIXPublicKey(key)
	if err != nil {
		return "", fault.Fields("authenticate", []fault.Field{{Path: "pubkey", Expected: "a public key (SubjectPublicKeyInfo)", Got: err.Error()}})
	}
	sum, ok := sha256.Sum256(signed), false
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < leastRSA {
			return "", fault.New(fault.Denied, "an RSA key of %d bits is too short: %d at least", k.N.BitLen(), leastRSA)
		}
		ok = rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], sig) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, sum[:], sig)
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, signed, sig)
	}
	if !ok {
		return "", fault.New(fault.Denied, "the signature does not belong to the request and its public key")
	}
	return fleet.KeyFingerprint(key), nil
}

// A token is a JSON Web Token (RFC 7519) of one algorithm, HS256 (RFC 7515):
// the header is fixed and compared, never believed, so that no other algorithm,
// nor none, can be asked for.
const tokenHeader = `{"alg":"HS256","typ":"JWT"}` //nolint:gosec // no credential

// claims of a token. It is bound to the unit and to the key that it was given
// for: a key that is unbound, or a unit that is revoked, ends it at once.
type claims struct {
	Unit    string `json:"sub"`
	Key     string `json:"fettle.key"`
	Expires int64  `json:"exp"` // Unix seconds
}

func (h *Handler) token(unitID, fingerprint string) string {
	c, _ := json.Marshal(claims{unitID, fingerprint, h.cfg.Wall.Now().Add(h.cfg.TokenLife).Unix()}) // strings and a number always encode
	signed := base64.RawURLEncoding.EncodeToString([]byte(tokenHeader)) + "." + base64.RawURLEncoding.EncodeToString(c)
	return signed + "." + base64.RawURLEncoding.EncodeToString(h.sign(signed))
}

func (h *Handler) sign(s string) []byte {
	m := hmac.New(sha256.New, h.cfg.Key)
	m.Write([]byte("fettle mender token 1\n" + s))
	return m.Sum(nil)
}

var errToken = fault.New(fault.Denied, "the token is not one of this service, or has expired: authenticate anew")

// read gives the claims of a token that is whole and not expired.
func (h *Handler) read(token string) (claims, error) {
	var c claims
	at := strings.LastIndexByte(token, '.')
	if at < 0 || len(token) > 4096 {
		return c, errToken
	}
	mac, err := base64.RawURLEncoding.DecodeString(token[at+1:])
	if err != nil || !hmac.Equal(mac, h.sign(token[:at])) {
		return c, errToken
	}
	_, payload, _ := strings.Cut(token[:at], ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(raw, &c) != nil || c.Unit == "" || h.cfg.Wall.Now().Unix() >= c.Expires {
		return c, errToken
	}
	return c, nil
}

func (h *Handler) identify(r *http.Request) (device.Identity, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return device.Identity{}, errToken
	}
	c, err := h.read(strings.TrimSpace(token))
	if err != nil {
		return device.Identity{}, err
	}
	id, err := h.cfg.Gateway.Fingerprint(r.Context(), c.Key)
	if err == nil && id.UnitID != c.Unit {
		err = errToken
	}
	return id, err
}

// authRequest is a client's request to be let in.
type authRequest struct {
	serial string
	tenant string // a product's claim token
	key    []byte // SubjectPublicKeyInfo, DER
}

func parseAuthRequest(body []byte) (authRequest, error) {
	bad := func(path, expected string) (authRequest, error) {
		return authRequest{}, fault.Fields("authenticate", []fault.Field{{Path: path, Expected: expected}})
	}
	var in struct {
		Identity string `json:"id_data"`
		Tenant   string `json:"tenant_token"`
		Key      string `json:"pubkey"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return bad("", "a JSON object with id_data, tenant_token and pubkey")
	}
	identity := map[string]any{}
	if err := json.Unmarshal([]byte(in.Identity), &identity); err != nil {
		return bad("id_data", "a JSON object of the device's identity, in a string")
	}
	block, _ := pem.Decode([]byte(in.Key))
	if block == nil {
		return bad("pubkey", "a public key in PEM")
	}
	serial := serialOf(identity)
	if serial == "" {
		return bad("id_data", "one attribute, or one named serial, serial_number, sn or mac")
	}
	return authRequest{serial: serial, tenant: in.Tenant, key: block.Bytes}, nil
}

// serialOf is the unit's serial number in its client's identity: the attribute
// that says so, else its only one. What cannot stand in a serial, as the colons
// of a MAC address, becomes '-'.
func serialOf(identity map[string]any) string {
	pick := func(name string) string {
		switch v := identity[name].(type) {
		case string:
			return v
		case []any: // clients send an attribute that occurs twice as a list
			if len(v) > 0 {
				s, _ := v[0].(string)
				return s
			}
		}
		return ""
	}
	serial := ""
	for _, name := range []string{"serial", "serial_number", "sn", "mac"} {
		if serial = pick(name); serial != "" {
			break
		}
	}
	if serial == "" && len(identity) == 1 {
		for name := range identity {
			serial = pick(name)
		}
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, serial)
}
