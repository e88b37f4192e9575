package access_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/signin"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

type outbox struct{ secrets, emails, locales []string }

func (o *outbox) SendLink(_ context.Context, _ access.Link, email, locale, secret string) error {
	o.secrets, o.emails, o.locales = append(o.secrets, secret), append(o.emails, email), append(o.locales, locale)
	return nil
}

type rig struct {
	*access.Service
	clock *clock.Manual
	mail  *outbox
	log   *bytes.Buffer
}

func newRig(t *testing.T, db *sqldb.DB, mail bool) rig {
	t.Helper()
	r := rig{clock: clock.NewManual(noon), mail: &outbox{}, log: &bytes.Buffer{}}
	conf := access.Config{OperatorEmail: "Grace@example.org", LinksPerEmail: 3, LinksPerAddress: 5, Secrets: signin.Secrets(db), Key: make([]byte, 32), Approvals: signin.Approvals(db)}
	if mail {
		conf.Links = r.mail
	}
	r.Service = access.New(signin.New(db), db.Fleet(), db, r.clock, &clock.Sequence{Prefix: "id"}, slog.New(slog.NewTextHandler(r.log, nil)), conf)
	return r
}

func denied(t *testing.T, err error) {
	t.Helper()
	require.Equal(t, fault.Denied, fault.KindOf(err), "%v", err)
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		r, ctx := newRig(t, db, false), t.Context()
		first, created, err := r.Bootstrap(ctx)
		require.NoError(t, err)
		require.True(t, created)
		second, created, err := r.Bootstrap(ctx)
		require.NoError(t, err)
		require.True(t, created)
		_, _, err = r.SignIn(ctx, access.PartyOperator, first, "", access.Caller{Agent: ""})
		denied(t, err)
		_, _, err = r.SignIn(ctx, access.PartyOwner, second, "", access.Caller{Agent: ""})
		denied(t, err)

		s, secret, err := r.SignIn(ctx, access.PartyOperator, second, "", access.Caller{Agent: "Firefox\x00\xff"})
		require.NoError(t, err)
		require.Equal(t, "Firefox", s.Agent)
		_, _, err = r.SignIn(ctx, access.PartyOperator, second, "", access.Caller{Agent: ""})
		denied(t, err)
		_, created, err = r.Bootstrap(ctx)
		require.NoError(t, err)
		require.False(t, created)

		got, err := r.Session(ctx, access.PartyOperator, secret)
		require.NoError(t, err)
		require.Equal(t, s, got)
		_, err = r.Session(ctx, access.PartyOwner, secret)
		denied(t, err)
		_, err = r.Session(ctx, access.PartyOperator, secret+"x")
		denied(t, err)
		op, err := r.Operator(ctx, s.Subject)
		require.NoError(t, err)
		require.Equal(t, access.Operator{ID: s.Subject, Email: "grace@example.org", Role: "admin", CreatedAt: noon}, op)

		r.clock.Advance(12*time.Hour - time.Millisecond)
		_, err = r.Session(ctx, access.PartyOperator, secret)
		require.NoError(t, err)
		r.clock.Advance(time.Millisecond)
		_, err = r.Session(ctx, access.PartyOperator, secret)
		denied(t, err)
		open, err := r.Sessions(ctx, access.PartyOperator, s.Subject)
		require.NoError(t, err)
		require.Empty(t, open)

		// Reset leads to the same operator, and ends what was open.
		link, err := r.Reset(ctx)
		require.NoError(t, err)
		s2, secret2, err := r.SignIn(ctx, access.PartyOperator, link, "", access.Caller{Agent: ""})
		require.NoError(t, err)
		require.Equal(t, s.Subject, s2.Subject)
		_, err = r.Reset(ctx)
		require.NoError(t, err)
		_, err = r.Session(ctx, access.PartyOperator, secret2)
		denied(t, err)

		for _, s := range []string{first, second, link, secret, secret2} {
			require.NotContains(t, r.log.String(), s)
		}
	})
}

func TestResetWithoutOperator(t *testing.T) {
	t.Parallel()
	r, ctx := newRig(t, sqldbtest.SQLite(t), false), t.Context()
	link, err := r.Reset(ctx)
	require.NoError(t, err)
	_, _, err = r.SignIn(ctx, access.PartyOperator, link, "", access.Caller{Agent: ""})
	require.NoError(t, err)
}

func TestLinkExpires(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		after time.Duration
		ok    bool
	}{{15*time.Minute - time.Millisecond, true}, {15 * time.Minute, false}} {
		r, ctx := newRig(t, sqldbtest.SQLite(t), false), t.Context()
		link, _, err := r.Bootstrap(ctx)
		require.NoError(t, err)
		r.clock.Advance(c.after)
		_, _, err = r.SignIn(ctx, access.PartyOperator, link, "", access.Caller{Agent: ""})
		require.Equal(t, c.ok, err == nil, "%s", c.after)
	}
}

// However many try at once, a link signs in once.
func TestLinkWorksOnce(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		r, ctx := newRig(t, db, false), t.Context()
		link, _, err := r.Bootstrap(ctx)
		require.NoError(t, err)
		errs := make([]error, 12)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, _, errs[i] = r.SignIn(ctx, access.PartyOperator, link, "", access.Caller{Agent: ""}) })
		}
		wg.Wait()
		in := 0
		for _, err := range errs {
			if err == nil {
				in++
				continue
			}
			denied(t, err)
		}
		require.Equal(t, 1, in)
	})
}

func TestOwnerLinks(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		r, ctx := newRig(t, db, true), t.Context()
		o, err := db.Fleet().PutOwner(ctx, fleet.Owner{ID: "o1", Email: "Ada@Example.org", Locale: "de", TimeZone: "UTC"})
		require.NoError(t, err)
		require.NoError(t, r.RequestLink(ctx, access.PartyOwner, "eve@example.org", "192.0.2.1"), "who is known cannot be told")
		require.NoError(t, r.RequestLink(ctx, access.PartyOperator, "ada@example.org", "192.0.2.1"))
		require.Empty(t, r.mail.secrets)
		require.NoError(t, r.RequestLink(ctx, access.PartyOwner, " ADA@example.org", "192.0.2.1"))
		require.Equal(t, []string{"ada@example.org"}, r.mail.emails)
		require.Equal(t, []string{"de"}, r.mail.locales)

		s, secret, err := r.SignIn(ctx, access.PartyOwner, r.mail.secrets[0], "", access.Caller{Agent: ""})
		require.NoError(t, err)
		require.Equal(t, o.ID, s.Subject)
		require.Equal(t, noon.Add(30*24*time.Hour), s.ExpiresAt)
		_, err = r.Session(ctx, access.PartyOwner, secret)
		require.NoError(t, err)

		// Three an hour for one email, silently; five an hour from one address.
		for range 5 {
			require.NoError(t, r.RequestLink(ctx, access.PartyOwner, "ada@example.org", "198.51.100.7"))
		}
		require.Len(t, r.mail.secrets, 3)
		require.Equal(t, fault.Unavailable, fault.KindOf(r.RequestLink(ctx, access.PartyOwner, "ada@example.org", "198.51.100.7")))
		r.clock.Advance(time.Hour)
		require.NoError(t, r.RequestLink(ctx, access.PartyOwner, "ada@example.org", "198.51.100.7"))
		require.Len(t, r.mail.secrets, 4)

		// Sessions are listed and ended one by one, by their own subject only.
		_, _, err = r.SignIn(ctx, access.PartyOwner, r.mail.secrets[3], "", access.Caller{Agent: "phone"})
		require.NoError(t, err)
		open, err := r.Sessions(ctx, access.PartyOwner, o.ID)
		require.NoError(t, err)
		require.Len(t, open, 2)
		require.Equal(t, "phone", open[0].Agent)
		require.Equal(t, fault.NotFound, fault.KindOf(r.EndSession(ctx, access.PartyOwner, "o2", s.ID)))
		require.Equal(t, fault.NotFound, fault.KindOf(r.EndSession(ctx, access.PartyOwner, o.ID, "")))
		require.NoError(t, r.EndSession(ctx, access.PartyOwner, o.ID, s.ID))
		_, err = r.Session(ctx, access.PartyOwner, secret)
		denied(t, err)
	})
}

func TestNoMailNoLinks(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqldbtest.SQLite(t), false)
	require.False(t, r.MailAvailable())
	require.Equal(t, fault.Unavailable, fault.KindOf(r.RequestLink(t.Context(), access.PartyOwner, "ada@example.org", "192.0.2.1")))
}

func TestAPITokens(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		r, ctx := newRig(t, db, false), t.Context()
		link, _, err := r.Bootstrap(ctx)
		require.NoError(t, err)
		s, session, err := r.SignIn(ctx, access.PartyOperator, link, "", access.Caller{Agent: ""})
		require.NoError(t, err)

		_, _, err = r.CreateAPIToken(ctx, access.NewToken{OperatorID: s.Subject, Name: "", Scope: "all", Expires: noon})
		require.Equal(t, []string{"name", "scope", "expires"}, paths(fault.FieldsOf(err)))
		_, _, err = r.CreateAPIToken(ctx, access.NewToken{OperatorID: s.Subject, Name: "ci", Scope: access.ScopeRead, Expires: noon.Add(400 * 24 * time.Hour)})
		require.Equal(t, []string{"expires"}, paths(fault.FieldsOf(err)))
		_, _, err = r.CreateAPIToken(ctx, access.NewToken{OperatorID: "nobody", Name: "ci", Scope: access.ScopeRead, Expires: time.Time{}})
		require.Equal(t, fault.NotFound, fault.KindOf(err))

		tok, secret, err := r.CreateAPIToken(ctx, access.NewToken{OperatorID: s.Subject, Name: "ci", Scope: access.ScopeWrite, Expires: noon.Add(time.Hour)})
		require.NoError(t, err)
		require.Regexp(t, `^fet_[A-Za-z0-9_-]{43}$`, secret)
		got, err := r.APIToken(ctx, secret)
		require.NoError(t, err)
		require.Equal(t, tok.ID, got.ID)
		require.Equal(t, noon, got.LastUsedAt)
		r.clock.Advance(time.Minute)
		got, err = r.APIToken(ctx, secret)
		require.NoError(t, err)
		require.Equal(t, noon, got.LastUsedAt, "noted to the hour")
		_, err = r.APIToken(ctx, session)
		denied(t, err)
		_, err = r.APIToken(ctx, secret[:len(secret)-1])
		denied(t, err)
		r.clock.Advance(time.Hour)
		_, err = r.APIToken(ctx, secret)
		denied(t, err)

		long, secret2, err := r.CreateAPIToken(ctx, access.NewToken{OperatorID: s.Subject, Name: "ci 2", Scope: access.ScopeAdmin, Expires: time.Time{}})
		require.NoError(t, err)
		require.Equal(t, r.clock.Now().Add(90*24*time.Hour), long.ExpiresAt)
		all, err := r.APITokens(ctx)
		require.NoError(t, err)
		require.Len(t, all, 2)
		require.NoError(t, r.RevokeAPIToken(ctx, long.ID))
		require.Equal(t, fault.NotFound, fault.KindOf(r.RevokeAPIToken(ctx, long.ID)))
		_, err = r.APIToken(ctx, secret2)
		denied(t, err)

		r.clock.Advance(9 * 24 * time.Hour)
		require.NoError(t, r.Clean(ctx))
		all, err = r.APITokens(ctx)
		require.NoError(t, err)
		require.Empty(t, all)
	})
}

func TestScopes(t *testing.T) {
	t.Parallel()
	require.True(t, access.ScopeAdmin.Includes(access.ScopeRead))
	require.True(t, access.ScopeRead.Includes(access.ScopeRead))
	require.False(t, access.ScopeRead.Includes(access.ScopeWrite))
	require.False(t, access.Scope("").Includes(access.ScopeRead))
	require.False(t, access.ScopeAdmin.Includes("root"))
}

func paths(fields []fault.Field) (out []string) {
	for _, f := range fields {
		out = append(out, f.Path)
	}
	return out
}
