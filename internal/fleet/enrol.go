package fleet

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"

	"fettle.dev/fettle/internal/fault"
)

// maxClaimsASerial bounds how many claims may wait for one serial: someone who
// knows a claim token cannot keep the true unit out, nor flood the list.
const maxClaimsASerial = 5

var serialPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Enroll files a unit's claim, or tells where the same claim stands: a unit
// repeats its request until it is decided. A claim never takes over a serial
// that has a credential, or one that is revoked or retired.
func (p *Provisioning) Enroll(ctx context.Context, r EnrolRequest) (Claim, error) {
	c, err := readEnrolRequest(r)
	if err != nil {
		return Claim{}, err
	}
	token, err := p.claims.ClaimTokenByHash(ctx, SecretHash(r.ClaimToken))
	if fault.KindOf(err) == fault.NotFound {
		return Claim{}, fault.New(fault.Denied, "enroll: this claim token is not known")
	}
	if err != nil {
		return Claim{}, fmt.Errorf("enroll: %w", err)
	}
	c.Product, c.ClaimToken, c.RemoteAddress = token.Product, token.ID, r.RemoteAddress
	c.ID, c.State, c.CreatedAt = p.ids.ID(), ClaimPending, p.clock.Now()

	err = p.tx.InTx(ctx, func(ctx context.Context) error {
		earlier, err := p.claims.Claims(ctx, ClaimFilter{Product: c.Product, Serial: c.Serial})
		if err != nil {
			return err
		}
		waiting := 0
		for _, e := range earlier {
			if e.TokenHash == c.TokenHash && e.Certificate == c.Certificate && e.KeyFingerprint == c.KeyFingerprint {
				c = e
				return nil
			}
			if e.State == ClaimPending {
				waiting++
			}
		}
		if waiting >= maxClaimsASerial {
			return fault.New(fault.Conflict, "%d claims wait for serial %s: ask the service's operator to decide them", waiting, c.Serial)
		}
		if err := p.claimUnit(ctx, &c); err != nil {
			return err
		}
		ok, err := p.claims.UseClaimToken(ctx, token.ID, p.clock.Now())
		if err != nil {
			return err
		}
		if !ok {
			return fault.New(fault.Denied, "this claim token is revoked, expired or used up")
		}
		return p.claims.AddClaim(ctx, c)
	})
	if err != nil {
		return Claim{}, fmt.Errorf("enroll: %w", err)
	}
	return c, nil
}

// claimUnit finds the unit that a claim is for, or makes it, pending.
func (p *Provisioning) claimUnit(ctx context.Context, c *Claim) error {
	taken := fault.New(fault.Conflict, "serial %s is enrolled already: a claim never takes over a unit", c.Serial)
	id, err := p.creds.UnitIDBySerial(ctx, c.Product, c.Serial)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		c.UnitID, c.MadeUnit = c.Product+"-"+c.Serial, true
		if _, err := p.units.Unit(ctx, c.UnitID); fault.KindOf(err) != fault.NotFound {
			if err == nil {
				return taken
			}
			return err
		}
		return p.units.PutUnits(ctx, []Unit{{
			ID: c.UnitID, Key: p.ids.Key(), Product: c.Product, Serial: c.Serial, Hardware: c.Hardware,
			State: UnitPending, CreatedAt: c.CreatedAt,
		}})
	case err != nil:
		return err
	}
	c.UnitID = id
	return p.claimable(ctx, id, taken)
}

// claimable refuses units that have a credential or that were sent away.
func (p *Provisioning) claimable(ctx context.Context, unitID string, taken error) error {
	u, err := p.units.Unit(ctx, unitID)
	if err != nil {
		return err
	}
	if u.State != UnitPending && u.State != UnitActive {
		return taken
	}
	have, err := p.creds.Credentials(ctx, unitID)
	if err != nil {
		return err
	}
	if have.Any() {
		return taken
	}
	return nil
}

// ApproveClaim makes the unit active and its own secret valid. Other claims
// that wait for the serial are rejected.
func (p *Provisioning) ApproveClaim(ctx context.Context, id, by string) (Claim, error) {
	var c Claim
	err := p.tx.InTx(ctx, func(ctx context.Context) error {
		var err error
		if c, err = p.claims.Claim(ctx, id); err != nil {
			return err
		}
		now := p.clock.Now()
		if err := p.claims.DecideClaim(ctx, id, ClaimApproved, by, "", now); err != nil {
			return err
		}
		if err := p.claimable(ctx, c.UnitID, fault.New(fault.Conflict, "serial %s was enrolled meanwhile: reject this claim", c.Serial)); err != nil {
			return err
		}
		others, err := p.claims.Claims(ctx, ClaimFilter{Product: c.Product, Serial: c.Serial, State: ClaimPending})
		if err != nil {
			return err
		}
		for _, o := range others {
			if err := p.claims.DecideClaim(ctx, o.ID, ClaimRejected, by, "another claim for this serial was approved", now); err != nil {
				return err
			}
		}
		if c.TokenHash != "" {
			if err := p.creds.PutTokenHashes(ctx, map[string]string{c.UnitID: c.TokenHash}, now); err != nil {
				return err
			}
		}
		if c.Certificate != "" {
			if err := p.creds.BindFingerprint(ctx, c.UnitID, c.Certificate, now); err != nil {
				return err
			}
		}
		return p.units.SetUnitState(ctx, c.UnitID, UnitActive)
	})
	if err != nil {
		return Claim{}, fmt.Errorf("approve claim: %w", err)
	}
	p.watch.CredentialChanged(c.UnitID)
	if err := p.watch.UnitStateChanged(ctx, c.UnitID); err != nil {
		return Claim{}, fault.Wrap(fault.Unavailable, "the claim is approved, but the stream could not be told: restore the unit to repeat it", err)
	}
	return p.claims.Claim(ctx, id)
}

// RejectClaim turns a claim away; a unit that only this claim made known is forgotten.
func (p *Provisioning) RejectClaim(ctx context.Context, id, by, why string) (Claim, error) {
	err := p.tx.InTx(ctx, func(ctx context.Context) error {
		c, err := p.claims.Claim(ctx, id)
		if err != nil {
			return err
		}
		if err := p.claims.DecideClaim(ctx, id, ClaimRejected, by, why, p.clock.Now()); err != nil {
			return err
		}
		u, err := p.units.Unit(ctx, c.UnitID)
		if err != nil || u.State != UnitPending {
			return err
		}
		others, err := p.claims.Claims(ctx, ClaimFilter{Product: c.Product, Serial: c.Serial, State: ClaimPending})
		if err != nil || len(others) > 0 {
			return err
		}
		return p.units.DeleteUnit(ctx, c.UnitID)
	})
	if err != nil {
		return Claim{}, fmt.Errorf("reject claim: %w", err)
	}
	return p.claims.Claim(ctx, id)
}

// readEnrolRequest checks a request and works out the key fingerprint.
func readEnrolRequest(r EnrolRequest) (Claim, error) {
	c := Claim{Serial: r.Serial, Hardware: r.Hardware}
	var fields []fault.Field
	bad := func(path, expected, got string) {
		if len(got) > 80 {
			got = got[:80] + "…"
		}
		fields = append(fields, fault.Field{Path: path, Expected: expected, Got: got})
	}
	if !strings.HasPrefix(r.ClaimToken, ClaimTokenPrefix) {
		bad("claimToken", "a claim token, "+ClaimTokenPrefix+"…", "") // a secret is never repeated
	}
	if !serialPattern.MatchString(r.Serial) {
		bad("serial", "1 to 64 letters, digits, '.', '_' or '-'", r.Serial)
	}
	if len(r.Hardware) > 64 {
		bad("hardware", "at most 64 characters", r.Hardware)
	}
	if r.Token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.Token, UnitTokenPrefix))
		if err != nil || len(raw) < 32 || len(raw) > 128 || !strings.HasPrefix(r.Token, UnitTokenPrefix) {
			bad("token", UnitTokenPrefix+" and 32 to 128 random bytes in base64url without padding", "")
		}
		c.TokenHash = SecretHash(r.Token)
		c.KeyFingerprint = SecretHash(c.TokenHash) // says nothing about the stored hash
	}
	keys := 0
	if r.KeyFingerprint != "" {
		keys++
		fp, ok := ParseFingerprint(r.KeyFingerprint)
		if !ok {
			bad("keyFingerprint", "SHA-256 of the public key, 64 hexadecimal digits", r.KeyFingerprint)
		}
		c.KeyFingerprint = fp
	}
	if r.CSR != "" {
		keys++
		block, _ := pem.Decode([]byte(r.CSR))
		if block == nil {
			bad("csr", "a certificate request in PEM", r.CSR)
		} else if csr, err := x509.ParseCertificateRequest(block.Bytes); err != nil || csr.CheckSignature() != nil {
			bad("csr", "a certificate request signed by its own key", "")
		} else {
			c.KeyFingerprint = KeyFingerprint(csr.RawSubjectPublicKeyInfo)
		}
	}
	if r.Certificate != "" {
		keys++
		block, _ := pem.Decode([]byte(r.Certificate))
		if block == nil {
			bad("certificate", "a certificate in PEM", r.Certificate)
		} else if cert, err := x509.ParseCertificate(block.Bytes); err != nil {
			bad("certificate", "a certificate", err.Error())
		} else {
			c.Certificate = CertificateFingerprint(cert.Raw)
			c.KeyFingerprint = KeyFingerprint(cert.RawSubjectPublicKeyInfo)
		}
	}
	if r.ProvenKey != "" {
		keys++
		c.Certificate, c.KeyFingerprint = r.ProvenKey, r.ProvenKey
	}
	if keys > 1 {
		bad("keyFingerprint", "one of keyFingerprint, csr and certificate", "")
	}
	if r.Token == "" && c.Certificate == "" {
		bad("token", "a token that the unit made (fut_ and 32 to 128 random bytes in base64url without padding), or a client certificate", "")
	}
	return c, fault.Fields("enroll", fields)
}
