package sqldb_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func TestCredentials(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		at := time.UnixMilli(1401624000000).UTC()
		require.NoError(t, db.Fleet().PutProduct(ctx, fleet.Product{Name: "p"}))
		require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{
			{ID: "a", Key: 1, Product: "p", Serial: "1", State: fleet.UnitActive},
			{ID: "b", Key: 2, Product: "p", Serial: "2", State: fleet.UnitActive},
			{ID: "c", Key: 3, Product: "p", Serial: "3", State: fleet.UnitActive},
		}))
		s := db.Credentials()
		none, err := s.Credentials(ctx, "a")
		require.NoError(t, err)
		require.False(t, none.Any())
		require.NoError(t, s.PutTokenHashes(ctx, map[string]string{"a": "h1", "b": "h2"}, at))
		require.NoError(t, s.PutTokenHashes(ctx, map[string]string{"a": "h3"}, at.Add(time.Hour)))
		require.Equal(t, fault.NotFound, fault.KindOf(s.PutTokenHashes(ctx, map[string]string{"nobody": "h4"}, at)))
		require.NoError(t, s.BindFingerprint(ctx, "a", "f1", at))
		require.NoError(t, s.BindFingerprint(ctx, "a", "f1", at), "binding twice is once")
		require.NoError(t, s.BindFingerprint(ctx, "a", "f0", at))
		require.Equal(t, fault.Conflict, fault.KindOf(s.BindFingerprint(ctx, "b", "f1", at)))
		require.Equal(t, fault.NotFound, fault.KindOf(s.BindFingerprint(ctx, "nobody", "f9", at)))
		c, err := s.Credentials(ctx, "a")
		require.NoError(t, err)
		require.Equal(t, fleet.Credentials{TokenHash: "h3", TokenAt: at.Add(time.Hour), Fingerprints: []string{"f0", "f1"}}, c)
		id, err := s.UnitIDByFingerprint(ctx, "f1")
		require.NoError(t, err)
		require.Equal(t, "a", id)
		require.NoError(t, s.UnbindFingerprint(ctx, "a", "f1"))
		require.Equal(t, fault.NotFound, fault.KindOf(s.UnbindFingerprint(ctx, "a", "f1")))
		_, err = s.UnitIDByFingerprint(ctx, "f1")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		id, err = s.UnitIDByTokenHash(ctx, "h3")
		require.NoError(t, err)
		require.Equal(t, "a", id)
		for _, hash := range []string{"h1", "", "H3", "h3 "} { // replaced, and never given
			_, err = s.UnitIDByTokenHash(ctx, hash)
			require.Equal(t, fault.NotFound, fault.KindOf(err), hash)
		}
		require.Equal(t, fault.Conflict, fault.KindOf(s.PutTokenHashes(ctx, map[string]string{"b": "h3"}, at)), "a hash is one unit's")
		id, err = s.UnitIDBySerial(ctx, "p", "2")
		require.NoError(t, err)
		require.Equal(t, "b", id)
		_, err = s.UnitIDBySerial(ctx, "p", "")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		bare, err := s.Uncredentialed(ctx, "p")
		require.NoError(t, err)
		require.Equal(t, []string{"c"}, bare)
		require.NoError(t, db.Fleet().DeleteUnit(ctx, "a"), "credentials go with the unit")
	})
}

func TestClaims(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		at := time.UnixMilli(1401624000000).UTC()
		require.NoError(t, db.Fleet().PutProduct(ctx, fleet.Product{Name: "p"}))
		s := db.Claims()
		token := fleet.ClaimToken{ID: "t1", Product: "p", Hash: "h", MaxUses: 2, ExpiresAt: at.Add(time.Hour), CreatedAt: at, CreatedBy: "operator:1"}
		require.NoError(t, s.AddClaimToken(ctx, token))
		require.Equal(t, fault.NotFound, fault.KindOf(s.AddClaimToken(ctx, fleet.ClaimToken{ID: "t2", Product: "q", Hash: "i"})))
		got, err := s.ClaimTokenByHash(ctx, "h")
		require.NoError(t, err)
		require.Equal(t, token, got)
		_, err = s.ClaimTokenByHash(ctx, "x")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		use := func(id string, at time.Time) bool {
			ok, err := s.UseClaimToken(ctx, id, at)
			require.NoError(t, err)
			return ok
		}
		require.False(t, use("t1", at.Add(time.Hour)), "expired")
		require.True(t, use("t1", at))
		require.True(t, use("t1", at))
		require.False(t, use("t1", at), "used up")
		require.NoError(t, s.AddClaimToken(ctx, fleet.ClaimToken{ID: "t3", Product: "p", Hash: "j", MaxUses: 2, ExpiresAt: at.Add(time.Hour)}))
		require.NoError(t, s.RevokeClaimToken(ctx, "t3", at))
		require.NoError(t, s.RevokeClaimToken(ctx, "t3", at.Add(time.Minute)))
		require.False(t, use("t3", at), "revoked")
		require.Equal(t, fault.NotFound, fault.KindOf(s.RevokeClaimToken(ctx, "t9", at)))
		all, err := s.ClaimTokens(ctx, "p")
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.Equal(t, 2, all[0].Uses)
		require.Equal(t, at, all[1].RevokedAt)

		claim := fleet.Claim{
			ID: "c1", Product: "p", Serial: "7", Hardware: "B", UnitID: "p-7", KeyFingerprint: "k", RemoteAddress: "192.0.2.1",
			State: fleet.ClaimPending, CreatedAt: at, TokenHash: "th", Certificate: "cf", ClaimToken: "t1", MadeUnit: true,
		}
		require.NoError(t, s.AddClaim(ctx, claim))
		second := claim
		second.ID, second.Serial = "c2", "8"
		require.NoError(t, s.AddClaim(ctx, second))
		c, err := s.Claim(ctx, "c1")
		require.NoError(t, err)
		require.Equal(t, claim, c)
		require.NoError(t, s.DecideClaim(ctx, "c1", fleet.ClaimRejected, "operator:1", "not ours", at.Add(time.Minute)))
		require.Equal(t, fault.Conflict, fault.KindOf(s.DecideClaim(ctx, "c1", fleet.ClaimApproved, "x", "", at)))
		require.Equal(t, fault.NotFound, fault.KindOf(s.DecideClaim(ctx, "c9", fleet.ClaimApproved, "x", "", at)))
		ids := func(f fleet.ClaimFilter) (out []string) {
			found, err := s.Claims(ctx, f)
			require.NoError(t, err)
			for _, c := range found {
				out = append(out, c.ID)
			}
			return out
		}
		require.Equal(t, []string{"c1", "c2"}, ids(fleet.ClaimFilter{}))
		require.Equal(t, []string{"c1"}, ids(fleet.ClaimFilter{Limit: 1}))
		require.Equal(t, []string{"c2"}, ids(fleet.ClaimFilter{After: "c1", Product: "p"}))
		require.Equal(t, []string{"c2"}, ids(fleet.ClaimFilter{State: fleet.ClaimPending}))
		require.Equal(t, []string{"c1"}, ids(fleet.ClaimFilter{Serial: "7"}))
		require.NoError(t, db.InTx(context.WithoutCancel(ctx), func(ctx context.Context) error {
			return s.DecideClaim(ctx, "c2", fleet.ClaimApproved, "x", "", at)
		}))
	})
}
