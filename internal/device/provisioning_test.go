package device_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

func claimToken(t *testing.T, h *devicetest.House, uses int) string {
	t.Helper()
	token, kept, err := h.Provide.CreateClaimToken(t.Context(), devicetest.Product, uses, h.Clock.Now().Add(time.Hour), "operator:1")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(token, fleet.ClaimTokenPrefix))
	require.NotContains(t, kept.Hash, token)
	return token
}

func TestEnrolment(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	ctx := t.Context()
	secret := fleet.NewSecret(fleet.UnitTokenPrefix)
	req := fleet.EnrolRequest{ClaimToken: claimToken(t, h, 3), Serial: "A-17", Hardware: "B", Token: secret, RemoteAddress: "192.0.2.7"}
	claim, err := h.Provide.Enroll(ctx, req)
	require.NoError(t, err)
	require.Equal(t, fleet.ClaimPending, claim.State)
	require.Equal(t, "wall-charger-A-17", claim.UnitID)
	require.Equal(t, "192.0.2.7", claim.RemoteAddress)
	require.Len(t, claim.KeyFingerprint, 64)
	require.NotEqual(t, fleet.SecretHash(secret), claim.KeyFingerprint, "what is shown is not what is kept")

	_, err = h.Gateway.Token(ctx, claim.UnitID, secret)
	require.ErrorIs(t, err, device.ErrCredential, "a pending unit's secret is not valid yet")
	unit, err := h.DB.Fleet().Unit(ctx, claim.UnitID)
	require.NoError(t, err)
	require.Equal(t, fleet.UnitPending, unit.State)
	again, err := h.Provide.Enroll(ctx, req)
	require.NoError(t, err)
	require.Equal(t, claim.ID, again.ID, "asking again is the same claim")
	_, err = h.Provide.IssueToken(ctx, claim.UnitID)
	require.Equal(t, fault.Conflict, fault.KindOf(err), "a pending unit gets no token past its approval")

	rival := req
	rival.Token = fleet.NewSecret(fleet.UnitTokenPrefix)
	other, err := h.Provide.Enroll(ctx, rival)
	require.NoError(t, err, "the operator sees both")
	require.NotEqual(t, claim.ID, other.ID)

	approved, err := h.Provide.ApproveClaim(ctx, claim.ID, "operator:1")
	require.NoError(t, err)
	require.Equal(t, fleet.ClaimApproved, approved.State)
	require.Equal(t, "operator:1", approved.DecidedBy)
	id, err := h.Gateway.Token(ctx, claim.UnitID, secret)
	require.NoError(t, err)
	require.Equal(t, unit.Key, id.Key)
	require.Len(t, h.Stream.Marks(telemetry.MarkEnrolled), 1)
	_, err = h.Gateway.Token(ctx, claim.UnitID, rival.Token)
	require.ErrorIs(t, err, device.ErrCredential)
	told, err := h.Provide.Enroll(ctx, rival)
	require.NoError(t, err)
	require.Equal(t, fleet.ClaimRejected, told.State)
	_, err = h.Provide.ApproveClaim(ctx, other.ID, "operator:1")
	require.Equal(t, fault.Conflict, fault.KindOf(err))

	third := req
	third.Token = fleet.NewSecret(fleet.UnitTokenPrefix)
	_, err = h.Provide.Enroll(ctx, third)
	require.Equal(t, fault.Conflict, fault.KindOf(err), "a claim never takes over a unit")
}

func TestAClaimNeverTakesOver(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	ctx := t.Context()
	ids := h.Units(3) // serials 0, 1 and 2, with tokens
	token := claimToken(t, h, 100)
	enroll := func(serial string) error {
		_, err := h.Provide.Enroll(ctx, fleet.EnrolRequest{ClaimToken: token, Serial: serial, Token: fleet.NewSecret(fleet.UnitTokenPrefix)})
		return err
	}
	require.Equal(t, fault.Conflict, fault.KindOf(enroll("0")))
	require.NoError(t, h.Provide.RevokeUnit(ctx, ids[1]))
	require.Equal(t, fault.Conflict, fault.KindOf(enroll("1")))
	require.NoError(t, h.DB.Fleet().PutUnits(ctx, []fleet.Unit{
		{ID: "WC-bare", Key: 77, Product: devicetest.Product, Serial: "bare", State: fleet.UnitActive},
		{ID: "wall-charger-x", Key: 78, Product: devicetest.Product, Serial: "y", State: fleet.UnitActive},
	}))
	require.Equal(t, fault.Conflict, fault.KindOf(enroll("x")), "the id that it would get is taken")

	// A declared unit without credential may be claimed, until it gets one.
	secret := fleet.NewSecret(fleet.UnitTokenPrefix)
	claim, err := h.Provide.Enroll(ctx, fleet.EnrolRequest{ClaimToken: token, Serial: "bare", Token: secret})
	require.NoError(t, err)
	require.Equal(t, "WC-bare", claim.UnitID)
	_, err = h.Gateway.Token(ctx, "WC-bare", secret)
	require.ErrorIs(t, err, device.ErrCredential)
	_, err = h.Provide.IssueToken(ctx, "WC-bare")
	require.NoError(t, err)
	_, err = h.Provide.ApproveClaim(ctx, claim.ID, "operator:1")
	require.Equal(t, fault.Conflict, fault.KindOf(err))
	after, err := h.Provide.Claims(ctx, fleet.ClaimFilter{State: fleet.ClaimPending})
	require.NoError(t, err)
	require.Len(t, after, 1, "a refused approval changes nothing")
	_, err = h.Provide.RejectClaim(ctx, claim.ID, "operator:1", "it has a token")
	require.NoError(t, err)
	_, err = h.DB.Fleet().Unit(ctx, "WC-bare")
	require.NoError(t, err, "a declared unit outlives a rejected claim")

	// Nobody floods the list for one serial.
	for range 5 {
		require.NoError(t, enroll("flood"))
	}
	require.Equal(t, fault.Conflict, fault.KindOf(enroll("flood")))
	claims, err := h.Provide.Claims(ctx, fleet.ClaimFilter{Serial: "flood"})
	require.NoError(t, err)
	for _, c := range claims {
		_, err = h.Provide.RejectClaim(ctx, c.ID, "operator:1", "")
		require.NoError(t, err)
	}
	_, err = h.DB.Fleet().Unit(ctx, "wall-charger-flood")
	require.Equal(t, fault.NotFound, fault.KindOf(err), "a unit that only claims made known is forgotten with the last")
}

func TestClaimTokensEnd(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	ctx := t.Context()
	enroll := func(token, serial string) error {
		_, err := h.Provide.Enroll(ctx, fleet.EnrolRequest{ClaimToken: token, Serial: serial, Token: fleet.NewSecret(fleet.UnitTokenPrefix)})
		return err
	}
	once := claimToken(t, h, 1)
	require.NoError(t, enroll(once, "1"))
	require.Equal(t, fault.Denied, fault.KindOf(enroll(once, "2")))
	_, err := h.DB.Fleet().Unit(ctx, "wall-charger-2")
	require.Equal(t, fault.NotFound, fault.KindOf(err), "a refused claim leaves no unit behind")
	revoked := claimToken(t, h, 5)
	tokens, err := h.Provide.ClaimTokens(ctx, devicetest.Product)
	require.NoError(t, err)
	require.NoError(t, h.Provide.RevokeClaimToken(ctx, tokens[1].ID))
	require.Equal(t, fault.Denied, fault.KindOf(enroll(revoked, "3")))
	expired := claimToken(t, h, 5)
	h.Clock.Advance(time.Hour)
	require.Equal(t, fault.Denied, fault.KindOf(enroll(expired, "4")))
	require.Equal(t, fault.Denied, fault.KindOf(enroll(fleet.NewSecret(fleet.ClaimTokenPrefix), "5")))
	_, _, err = h.Provide.CreateClaimToken(ctx, devicetest.Product, 0, h.Clock.Now(), "x")
	require.Len(t, fault.FieldsOf(err), 2)
	_, _, err = h.Provide.CreateClaimToken(ctx, "nothing", 1, h.Clock.Now().Add(time.Hour), "x")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestEnrolRequestMistakes(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	csr := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	good := fleet.EnrolRequest{ClaimToken: claimToken(t, h, 10), Serial: "1", Token: fleet.NewSecret(fleet.UnitTokenPrefix)}
	for path, change := range map[string]func(*fleet.EnrolRequest){
		"claimToken":     func(r *fleet.EnrolRequest) { r.ClaimToken = "x" },
		"serial":         func(r *fleet.EnrolRequest) { r.Serial = "a/b" },
		"hardware":       func(r *fleet.EnrolRequest) { r.Hardware = strings.Repeat("x", 65) },
		"token":          func(r *fleet.EnrolRequest) { r.Token = "fut_short" },
		"csr":            func(r *fleet.EnrolRequest) { r.CSR = "x" },
		"certificate":    func(r *fleet.EnrolRequest) { r.Certificate = csr },
		"keyFingerprint": func(r *fleet.EnrolRequest) { r.CSR, r.KeyFingerprint = csr, strings.Repeat("a", 64) },
	} {
		r := good
		change(&r)
		_, err := h.Provide.Enroll(t.Context(), r)
		require.Equal(t, fault.Invalid, fault.KindOf(err), path)
		require.Equal(t, path, fault.FieldsOf(err)[0].Path)
		require.NotContains(t, err.Error(), good.Token)
	}
	r := good
	r.Token = ""
	_, err = h.Provide.Enroll(t.Context(), r)
	require.Equal(t, "token", fault.FieldsOf(err)[0].Path)
	r = good
	r.CSR = csr
	claim, err := h.Provide.Enroll(t.Context(), r)
	require.NoError(t, err)
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	require.Equal(t, fleet.CertificateFingerprint(spki), claim.KeyFingerprint)
}

func TestEnrolmentByCertificate(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	ctx := t.Context()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "unit"},
		NotBefore: devicetest.Start.Add(-time.Hour), NotAfter: devicetest.Start.Add(48 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	claim, err := h.Provide.Enroll(ctx, fleet.EnrolRequest{
		ClaimToken: claimToken(t, h, 1), Serial: "1", Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	})
	require.NoError(t, err)
	_, err = h.Gateway.Certificate(ctx, leaf)
	require.ErrorIs(t, err, device.ErrCredential)
	_, err = h.Provide.ApproveClaim(ctx, claim.ID, "operator:1")
	require.NoError(t, err)
	id, err := h.Gateway.Certificate(ctx, leaf)
	require.NoError(t, err)
	require.Equal(t, claim.UnitID, id.UnitID)
	h.Clock.Advance(49 * time.Hour)
	_, err = h.Gateway.Certificate(ctx, leaf)
	require.Equal(t, fault.Denied, fault.KindOf(err), "expired")
	h.Clock.Advance(-49 * time.Hour)
	require.NoError(t, h.Provide.UnbindCertificate(ctx, id.UnitID, strings.ToUpper(fleet.CertificateFingerprint(der))))
	_, err = h.Gateway.Certificate(ctx, leaf)
	require.ErrorIs(t, err, device.ErrCredential)
	require.Equal(t, fault.Invalid, fault.KindOf(h.Provide.BindCertificate(ctx, id.UnitID, "xyz")))
}

func TestIssuingMany(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	ctx := t.Context()
	ids := h.Units(100)
	before := h.Token(ids[5])
	issued, err := h.Provide.IssueTokens(ctx, ids)
	require.NoError(t, err)
	for i, token := range issued {
		require.Equal(t, ids[i], token.UnitID)
		_, err := h.Gateway.Token(ctx, token.UnitID, token.Token)
		require.NoError(t, err)
	}
	_, err = h.Gateway.Token(ctx, ids[5], before)
	require.ErrorIs(t, err, device.ErrCredential)
	require.NoError(t, h.Provide.RetireUnit(ctx, ids[7]))
	_, err = h.Provide.IssueTokens(ctx, append([]string{"nobody"}, ids...))
	fields := fault.FieldsOf(err)
	require.Len(t, fields, 2)
	require.Equal(t, "units[0]", fields[0].Path)
	require.Equal(t, "units[8]", fields[1].Path)
	_, err = h.Provide.IssueTokens(ctx, []string{ids[0], ids[0]})
	require.Equal(t, "units[1]", fault.FieldsOf(err)[0].Path)
	_, err = h.Gateway.Token(ctx, ids[0], issued[0].Token)
	require.NoError(t, err, "a refused batch changes nothing")
	_, err = h.Provide.IssueToken(ctx, "nobody")
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Equal(t, fault.NotFound, fault.KindOf(h.Provide.RevokeUnit(ctx, "nobody")))
}
