package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
)

// Provisioning gives units their credentials and takes them away.
type Provisioning struct {
	units  Store
	creds  CredentialStore
	claims ClaimStore
	tx     Transactor
	clock  clock.Clock
	ids    clock.IDs
	watch  UnitWatcher
}

// NewProvisioning makes the service. The watcher is told after each change.
func NewProvisioning(units Store, creds CredentialStore, claims ClaimStore, tx Transactor, c clock.Clock, ids clock.IDs, watch UnitWatcher) *Provisioning {
	return &Provisioning{units: units, creds: creds, claims: claims, tx: tx, clock: c, ids: ids, watch: watch}
}

// IssueToken gives a unit a new token; the one it had stops working at once,
// and what was connected by it is disconnected.
func (p *Provisioning) IssueToken(ctx context.Context, unitID string) (string, error) {
	issued, err := p.IssueTokens(ctx, []string{unitID})
	if err != nil {
		return "", err
	}
	return issued[0].Token, nil
}

// KnownToken gives a unit a token that somebody else has made. It takes part in
// the caller's transaction; tell the gateway afterwards.
func (p *Provisioning) KnownToken(ctx context.Context, unitID, token string) error {
	return p.creds.PutTokenHashes(ctx, map[string]string{unitID: SecretHash(token)}, p.clock.Now())
}

// IssueTokens does the same for many units, all or nothing, in the order given.
func (p *Provisioning) IssueTokens(ctx context.Context, unitIDs []string) ([]IssuedToken, error) {
	out := make([]IssuedToken, 0, len(unitIDs))
	hashes := make(map[string]string, len(unitIDs))
	var fields []fault.Field
	for i, id := range unitIDs {
		if _, twice := hashes[id]; twice {
			fields = append(fields, fault.Field{Path: fmt.Sprintf("units[%d]", i), Expected: "each unit once", Got: id})
			continue
		}
		t := NewSecret(UnitTokenPrefix)
		hashes[id] = SecretHash(t)
		out = append(out, IssuedToken{UnitID: id, Token: t})
	}
	if err := fault.Fields("issue tokens", fields); err != nil {
		return nil, err
	}
	err := p.tx.InTx(ctx, func(ctx context.Context) error {
		if err := p.mustBeActive(ctx, unitIDs); err != nil {
			return err
		}
		return p.creds.PutTokenHashes(ctx, hashes, p.clock.Now())
	})
	if err != nil {
		return nil, fmt.Errorf("issue tokens: %w", err)
	}
	for _, id := range unitIDs {
		p.watch.CredentialChanged(id)
	}
	return out, nil
}

// mustBeActive refuses a list that names unknown, pending, revoked or retired
// units, saying which. A long list is checked by one query a product.
func (p *Provisioning) mustBeActive(ctx context.Context, unitIDs []string) error {
	state := make(map[string]UnitState, len(unitIDs))
	if len(unitIDs) <= 20 {
		for _, id := range unitIDs {
			u, err := p.units.Unit(ctx, id)
			switch {
			case fault.KindOf(err) == fault.NotFound && len(unitIDs) > 1:
			case err != nil:
				return err
			default:
				state[id] = u.State
			}
		}
	} else {
		all, err := p.units.Units(ctx, Filter{})
		if err != nil {
			return err
		}
		for i := range all {
			state[all[i].ID] = all[i].State
		}
	}
	var fields []fault.Field
	for i, id := range unitIDs {
		switch s, ok := state[id]; {
		case !ok:
			fields = append(fields, fault.Field{Path: fmt.Sprintf("units[%d]", i), Expected: "a known unit", Got: id})
		case s != UnitActive && len(unitIDs) == 1:
			return fault.New(fault.Conflict, "unit %s is %s: a token is issued to an active unit", id, s)
		case s != UnitActive:
			fields = append(fields, fault.Field{Path: fmt.Sprintf("units[%d]", i), Expected: "an active unit", Got: id + ", which is " + string(s)})
		}
	}
	return fault.Fields("no token was issued", fields)
}

// BindCertificate lets a unit prove itself by a client certificate, named by
// the SHA-256 fingerprint of its DER bytes.
func (p *Provisioning) BindCertificate(ctx context.Context, unitID, fingerprint string) error {
	fp, ok := ParseFingerprint(fingerprint)
	if !ok {
		return fault.Fields("bind certificate", []fault.Field{{Path: "fingerprint", Expected: "the SHA-256 of the certificate, 64 hexadecimal digits", Got: fingerprint}})
	}
	err := p.tx.InTx(ctx, func(ctx context.Context) error {
		if err := p.mustBeActive(ctx, []string{unitID}); err != nil {
			return err
		}
		return p.creds.BindFingerprint(ctx, unitID, fp, p.clock.Now())
	})
	if err != nil {
		return fmt.Errorf("bind certificate to unit %s: %w", unitID, err)
	}
	p.watch.CredentialChanged(unitID)
	return nil
}

// UnbindCertificate takes a client certificate from a unit and disconnects it.
func (p *Provisioning) UnbindCertificate(ctx context.Context, unitID, fingerprint string) error {
	fp, ok := ParseFingerprint(fingerprint)
	if !ok {
		return fault.Fields("unbind certificate", []fault.Field{{Path: "fingerprint", Expected: "the SHA-256 of the certificate, 64 hexadecimal digits", Got: fingerprint}})
	}
	if err := p.creds.UnbindFingerprint(ctx, unitID, fp); err != nil {
		return fmt.Errorf("unbind certificate of unit %s: %w", unitID, err)
	}
	p.watch.CredentialChanged(unitID)
	return nil
}

// Credentials says by what a unit may prove itself.
func (p *Provisioning) Credentials(ctx context.Context, unitID string) (Credentials, error) {
	return p.creds.Credentials(ctx, unitID)
}

// RevokeUnit refuses a unit from now on and disconnects it. Its credentials
// stay, so that RestoreUnit mends a mistake without a visit to the unit; a
// token that leaked is replaced with IssueToken.
func (p *Provisioning) RevokeUnit(ctx context.Context, unitID string) error {
	return p.setState(ctx, unitID, UnitRevoked, UnitActive, UnitRevoked, UnitRetired)
}

// RetireUnit ends a unit's service: it is refused and no longer watched.
func (p *Provisioning) RetireUnit(ctx context.Context, unitID string) error {
	return p.setState(ctx, unitID, UnitRetired, UnitActive, UnitRevoked, UnitRetired)
}

// RestoreUnit takes a revoked or retired unit back.
func (p *Provisioning) RestoreUnit(ctx context.Context, unitID string) error {
	return p.setState(ctx, unitID, UnitActive, UnitRevoked, UnitRetired, UnitActive)
}

// setState is repeatable: a caller that saw an error calls again, and the
// watcher is told even when the records changed already.
func (p *Provisioning) setState(ctx context.Context, unitID string, to UnitState, from ...UnitState) error {
	err := p.tx.InTx(ctx, func(ctx context.Context) error {
		u, err := p.units.Unit(ctx, unitID)
		if err != nil {
			return err
		}
		if !slices.Contains(from, u.State) {
			return fault.New(fault.Conflict, "unit %s is %s, it cannot become %s", unitID, u.State, to)
		}
		return p.units.SetUnitState(ctx, unitID, to)
	})
	if err != nil {
		return fmt.Errorf("set state: %w", err)
	}
	if err := p.watch.UnitStateChanged(ctx, unitID); err != nil {
		return fault.Wrap(fault.Unavailable, "unit "+unitID+" is "+string(to)+" in the records, but the stream could not be told; repeat the request", err)
	}
	return nil
}

// CreateClaimToken makes a claim token of a product, shown once.
func (p *Provisioning) CreateClaimToken(ctx context.Context, product string, maxUses int, expires time.Time, by string) (token string, t ClaimToken, err error) {
	now := p.clock.Now()
	var fields []fault.Field
	if maxUses < 1 || maxUses > 1_000_000 {
		fields = append(fields, fault.Field{Path: "maxUses", Expected: "1 to 1000000", Got: fmt.Sprint(maxUses)})
	}
	if !expires.After(now) {
		fields = append(fields, fault.Field{Path: "expires", Expected: "a time after now, " + now.Format(time.RFC3339), Got: expires.Format(time.RFC3339)})
	}
	if err := fault.Fields("create claim token", fields); err != nil {
		return "", ClaimToken{}, err
	}
	if _, err := p.units.Product(ctx, product); err != nil {
		return "", ClaimToken{}, fmt.Errorf("create claim token: %w", err)
	}
	token = NewSecret(ClaimTokenPrefix)
	t = ClaimToken{
		ID: p.ids.ID(), Product: product, Hash: SecretHash(token), MaxUses: maxUses,
		ExpiresAt: expires.UTC(), CreatedAt: now, CreatedBy: by,
	}
	if err := p.claims.AddClaimToken(ctx, t); err != nil {
		return "", ClaimToken{}, fmt.Errorf("create claim token: %w", err)
	}
	return token, t, nil
}

// ClaimTokens lists a product's claim tokens.
func (p *Provisioning) ClaimTokens(ctx context.Context, product string) ([]ClaimToken, error) {
	return p.claims.ClaimTokens(ctx, product)
}

// RevokeClaimToken ends a claim token; claims made with it stay.
func (p *Provisioning) RevokeClaimToken(ctx context.Context, id string) error {
	return p.claims.RevokeClaimToken(ctx, id, p.clock.Now())
}

// Claims lists claims, oldest first.
func (p *Provisioning) Claims(ctx context.Context, f ClaimFilter) ([]Claim, error) {
	return p.claims.Claims(ctx, f)
}

// ErrClaimRejected is what a unit hears that an operator turned away.
var ErrClaimRejected = errors.New("the claim was rejected")
