package mail

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"github.com/emersion/go-msgauth/dkim"

	"fettle.dev/fettle/internal/fault"
)

// DKIM says how mails are signed (RFC 6376, RFC 8463).
type DKIM struct {
	KeyFile  string // PEM, RSA (2048 bits or more) or Ed25519
	Selector string // name of the key's record, as mail for mail._domainkey.example.org
	Domain   string // "": the sender's
}

type signature struct{ options dkim.SignOptions }

// signed are the header fields that a signature is over, also where they are
// missing, so that nobody adds them (RFC 6376 5.4, RFC 8058 4).
var signed = []string{
	"From", "To", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
	"Auto-Submitted", "List-Unsubscribe", "List-Unsubscribe-Post",
}

func (d *DKIM) signature(domain string) (*signature, error) {
	if d.Selector == "" || strings.ContainsAny(d.Selector, " ;=/") {
		return nil, fault.New(fault.Invalid, "DKIM: expected a selector, as mail for the record mail._domainkey.%s", domain)
	}
	if d.Domain != "" {
		domain = d.Domain
	}
	key, err := readKey(d.KeyFile)
	if err != nil {
		return nil, err
	}
	return &signature{dkim.SignOptions{
		Domain: domain, Selector: d.Selector, Signer: key, Hash: crypto.SHA256, HeaderKeys: signed,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
	}}, nil
}

func readKey(file string) (crypto.Signer, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "DKIM key", err)
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fault.New(fault.Invalid, "DKIM key %s: expected PEM, as `openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048` writes", file)
	}
	var key any
	if block.Type == "RSA PRIVATE KEY" {
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	} else {
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "DKIM key "+file, err)
	}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < 2048 {
			return nil, fault.New(fault.Invalid, "DKIM key %s: %d bits; 2048 are wanted (RFC 8301)", file, k.N.BitLen())
		}
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	default:
		return nil, fault.New(fault.Invalid, "DKIM key %s: %T; RSA or Ed25519 is wanted", file, key)
	}
}

// Record is the name and the text of the DNS record (TXT) that receivers check
// signatures with.
func (d *DKIM) Record(domain string) (name, text string, err error) {
	s, err := d.signature(domain)
	if err != nil {
		return "", "", err
	}
	kind, public := "rsa", []byte(nil)
	switch k := s.options.Signer.Public().(type) {
	case ed25519.PublicKey:
		kind, public = "ed25519", k
	default:
		if public, err = x509.MarshalPKIXPublicKey(k); err != nil {
			return "", "", fmt.Errorf("DKIM record: %w", err)
		}
	}
	return d.Selector + "._domainkey." + s.options.Domain, "v=DKIM1; k=" + kind + "; p=" + base64.StdEncoding.EncodeToString(public), nil
}

func (s *signature) sign(mail []byte) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(len(mail) + 1024)
	o := s.options
	if err := dkim.Sign(&b, bytes.NewReader(mail), &o); err != nil {
		return nil, fmt.Errorf("sign mail: %w", err)
	}
	return b.Bytes(), nil
}
