package share_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rights"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func TestShares(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, clk := t.Context(), clock.NewManual(time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC))
		s := share.New(share.Config{Store: rights.Shares(db), Tx: db, Clock: clk, IDs: &clock.Sequence{Prefix: "s"}})
		p := &fleet.Product{Signals: []fleet.Signal{{Name: "heat"}}}
		spec := share.Share{Recipient: "Garage Lind", Contact: "garage@lind.example", Signals: []string{"heat", "heat"}, Until: clk.Now().Add(time.Hour)}
		since := clk.Now().Add(-time.Hour)
		made, token, err := s.Create(ctx, "o1", "U-1", p, since, spec)
		require.NoError(t, err)
		require.Equal(t, []string{"heat"}, made.Signals)
		require.Equal(t, since, made.From, "not the time of a former owner")
		found, err := s.Enter(ctx, token)
		require.NoError(t, err)
		require.Equal(t, made, found)
		_, err = s.Enter(ctx, share.TokenPrefix+"other")
		require.Equal(t, fault.Denied, fault.KindOf(err))
		require.Equal(t, fault.NotFound, fault.KindOf(s.End(ctx, "o2", made.ID)), "another's")

		changed := s.Changed(made.ID)
		require.NoError(t, s.End(ctx, "o1", made.ID))
		<-changed
		_, err = s.Enter(ctx, token)
		require.ErrorContains(t, err, "ended by the owner")

		_, token, err = s.Create(ctx, "o1", "U-1", p, since, spec)
		require.NoError(t, err)
		clk.Advance(2 * time.Hour)
		_, err = s.Enter(ctx, token)
		require.ErrorContains(t, err, "was good until")
		_, _, err = s.Create(ctx, "o1", "U-1", p, since, share.Share{Recipient: " ", Contact: "nobody", Signals: []string{"mood"}, Until: clk.Now()})
		require.Len(t, fault.FieldsOf(err), 4)
	})
}

func TestGatekeepers(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	s := share.New(share.Config{Store: rights.Shares(db), Tx: db, Clock: clock.NewManual(time.Now()), IDs: clock.Random{}})
	refused := func(name, domain string) bool {
		_, yes, err := s.Refused(t.Context(), name, domain)
		require.NoError(t, err)
		return yes
	}
	for _, name := range []string{"Google Ireland Ltd.", "Alphabet Inc", "AMAZON", "Meta Platforms", "microsoft deutschland gmbh", "TikTok"} {
		require.True(t, refused(name, "x.example"), name)
	}
	require.True(t, refused("My helper", "sheets.google.com"))
	require.False(t, refused("Apple Tree Garage", "appletree.example"))
	require.False(t, refused("Lind", "notgoogle.com"))
	_, err := s.RefuseTo(t.Context(), share.Gatekeeper{Name: "Lind", Domains: []string{"lind.example"}, Reason: "It sold data."})
	require.NoError(t, err)
	require.True(t, refused("lind ab", ""))
	require.True(t, refused("x", "www.lind.example"))
	require.NoError(t, s.AllowTo(t.Context(), "Lind"))
	require.False(t, refused("Lind", ""))
	require.Equal(t, fault.NotFound, fault.KindOf(s.AllowTo(t.Context(), "Apple")), "the law's stay")
	_, err = s.RefuseTo(t.Context(), share.Gatekeeper{Name: "Lind"})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
