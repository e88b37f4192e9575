package access_test

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

const good = "four words nobody knows"

// oathtool is Debian's implementation of RFC 6238, the other side of ours.
func oathtool(t *testing.T, key string, at time.Time) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "oathtool", "--totp", "--base32", "--now", at.UTC().Format("2006-01-02 15:04:05 UTC"), key).Output()
	require.NoError(t, err, "apt-get install oathtool")
	return strings.TrimSpace(string(out))
}

// grace signs the first operator in and gives her a password.
func grace(t *testing.T, r rig) access.Session {
	t.Helper()
	link, _, err := r.Bootstrap(t.Context())
	require.NoError(t, err)
	s, _, err := r.SignIn(t.Context(), access.PartyOperator, link, "", access.Caller{Address: "192.0.2.1"})
	require.NoError(t, err)
	require.NoError(t, r.SetPassword(t.Context(), s.Subject, s.ID, "", good))
	return s
}

func TestPasswordAndCode(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		r, ctx, from := newRig(t, db, true), t.Context(), access.Caller{Address: "198.51.100.7", Agent: "Firefox"}
		s := grace(t, r)

		// The password alone opens nothing: the first time a second factor is set up.
		ticket, next, err := r.Password(ctx, " Grace@example.org", good, from)
		require.NoError(t, err)
		require.Equal(t, access.NextEnrol, next)
		_, _, err = r.Code(ctx, ticket, "000000", from)
		require.Error(t, err)
		e, err := r.EnrolFirst(ctx, ticket)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprintf("otpauth://totp/Fettle:grace@example.org?secret=%s&issuer=Fettle&algorithm=SHA1&digits=6&period=30", e.Key), e.URL)
		_, _, _, err = r.Enrolled(ctx, ticket, "000000", "", from)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		codes, open, secret, err := r.Enrolled(ctx, ticket, oathtool(t, e.Key, noon), "", from)
		require.NoError(t, err)
		require.Len(t, codes, 10)
		require.Equal(t, access.ByPassword, open.Way)
		require.Equal(t, "198.51.100.7", open.Address)
		_, err = r.Session(ctx, access.PartyOperator, secret)
		require.NoError(t, err)
		_, _, err = r.Code(ctx, ticket, oathtool(t, e.Key, noon), from)
		denied(t, err) // the ticket is used up

		// From now on a code is asked for, and each is good once.
		signIn := func(code string) error {
			ticket, next, err := r.Password(ctx, "grace@example.org", good, from)
			require.NoError(t, err)
			require.Equal(t, access.NextCode, next)
			_, err = r.EnrolFirst(ctx, ticket)
			denied(t, err)
			_, _, err = r.Code(ctx, ticket, code, from)
			return err
		}
		require.Error(t, signIn(oathtool(t, e.Key, noon)), "it confirmed the authenticator")
		r.clock.Advance(time.Hour)
		now := oathtool(t, e.Key, r.clock.Now())
		require.NoError(t, signIn(now))
		require.Error(t, signIn(now), "a code works once")
		r.clock.Advance(time.Hour)
		require.NoError(t, signIn(oathtool(t, e.Key, r.clock.Now().Add(-30*time.Second))), "a slow hand or clock")
		r.clock.Advance(time.Hour)
		require.Error(t, signIn(oathtool(t, e.Key, r.clock.Now().Add(-90*time.Second))), "too old")
		require.NoError(t, signIn(strings.ToUpper(codes[3])))
		require.Error(t, signIn(codes[3]), "a recovery code works once")
		f, err := r.Factors(ctx, s.Subject)
		require.NoError(t, err)
		require.Equal(t, 9, f.Recovery)
		require.NotContains(t, f.TOTP, e.Key, "sealed in the records")

		// A link by mail asks for the code, too, and stays good while it is wrong.
		r.clock.Advance(time.Hour)
		require.NoError(t, r.RequestLink(ctx, access.PartyOperator, "grace@example.org", "192.0.2.9"))
		link := r.mail.secrets[len(r.mail.secrets)-1]
		_, _, err = r.SignIn(ctx, access.PartyOperator, link, "", from)
		require.Equal(t, []string{"code"}, paths(fault.FieldsOf(err)))
		m, _, err := r.SignIn(ctx, access.PartyOperator, link, oathtool(t, e.Key, r.clock.Now()), from)
		require.NoError(t, err)
		require.Equal(t, access.ByMailAndCode, m.Way)

		// A new password ends what is open elsewhere; the old one is asked for.
		err = r.SetPassword(ctx, s.Subject, m.ID, "wrong", "another four words")
		require.Equal(t, []string{"old"}, paths(fault.FieldsOf(err)))
		require.NoError(t, r.SetPassword(ctx, s.Subject, m.ID, good, "another four words"))
		all, err := r.Sessions(ctx, access.PartyOperator, s.Subject)
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Equal(t, m.ID, all[0].ID)
		_, _, err = r.Password(ctx, "grace@example.org", good, from)
		require.ErrorIs(t, err, access.ErrSignIn)

		// What is dangerous asks for a factor that was just shown.
		require.NoError(t, r.Fresh(ctx, s.Subject, m.ID))
		r.clock.Advance(20 * time.Minute)
		require.ErrorIs(t, r.Fresh(ctx, s.Subject, m.ID), access.ErrStale)
		require.Error(t, r.Prove(ctx, s.Subject, m.ID, "123456"))
		require.NoError(t, r.Prove(ctx, s.Subject, m.ID, oathtool(t, e.Key, r.clock.Now())))
		require.NoError(t, r.Fresh(ctx, s.Subject, m.ID))
		for _, secret := range []string{good, e.Key, codes[0], link} {
			require.NotContains(t, r.log.String(), secret)
		}
	})
}

func TestPasswordRules(t *testing.T) {
	t.Parallel()
	r := newRig(t, sqldbtest.SQLite(t), false)
	s := grace(t, r)
	for password, ok := range map[string]bool{
		"short":                            false,
		"123456789":                        false,
		"password1234":                     false,
		"Password1234!":                    false,
		"aaaaaaaaaaaaaaaaaaaa":             false,
		"graceGRACE123":                    false,
		"grace@example.org":                false,
		strings.Repeat("long enough ", 30): false,
		"all lower case":                   true,
		"ein Pferd im Schnee ⛄":            true,
		strings.Repeat("xyz1", 64):         true,
	} {
		err := r.SetPassword(t.Context(), s.Subject, s.ID, good, password)
		require.Equal(t, ok, err == nil, "%q: %v", password, err)
		if !ok {
			require.Equal(t, []string{"password"}, paths(fault.FieldsOf(err)), "%q", password)
		}
	}
}

func TestGuessingIsSlowed(t *testing.T) {
	t.Parallel()
	r, ctx := newRig(t, sqldbtest.SQLite(t), false), t.Context()
	s := grace(t, r)
	try := func(email, password, address string) error {
		_, _, err := r.Password(ctx, email, password, access.Caller{Address: address})
		return err
	}
	slowed := func(err error) bool { _, ok := errors.AsType[*access.SlowError](err); return ok }
	// The answers for who is there and who is not are the same, one by one.
	for range 8 {
		there, not := try("grace@example.org", "wrong", "203.0.113.1"), try("nobody@example.org", "wrong", "203.0.113.2")
		require.Equal(t, there.Error(), not.Error())
	}
	require.True(t, slowed(try("grace@example.org", good, "203.0.113.1")), "not even the right one, from there")
	require.NoError(t, try("grace@example.org", good, "203.0.113.3"), "from elsewhere")
	r.clock.Advance(3 * time.Minute)
	require.NoError(t, try("grace@example.org", good, "203.0.113.1"), "nobody is shut out for good")

	// One IPv6 network counts as one address.
	for i := range 5 {
		require.ErrorIs(t, try("grace@example.org", "wrong", fmt.Sprintf("2001:db8:1:2::%d", i)), access.ErrSignIn)
	}
	require.True(t, slowed(try("grace@example.org", "wrong", "2001:db8:1:2:ffff::1")))

	// A crowd uses up what strangers have; where Grace has a session she comes in.
	for i := range 60 {
		_ = try("grace@example.org", "wrong", fmt.Sprintf("10.0.0.%d", i))
	}
	require.True(t, slowed(try("grace@example.org", good, "203.0.113.99")))
	require.NoError(t, try("grace@example.org", good, "192.0.2.1"))
	r.clock.Advance(time.Hour)
	require.NoError(t, try("grace@example.org", good, "203.0.113.99"))
	require.NotEmpty(t, s.ID)
}

// A ticket stands for few tries and a short time.
func TestTickets(t *testing.T) {
	t.Parallel()
	r, ctx, from := newRig(t, sqldbtest.SQLite(t), false), t.Context(), access.Caller{Address: "192.0.2.1"}
	grace(t, r)
	ticket, _, err := r.Password(ctx, "grace@example.org", good, from)
	require.NoError(t, err)
	e, err := r.EnrolFirst(ctx, ticket) // the first try
	require.NoError(t, err)
	for range 4 {
		_, _, _, err = r.Enrolled(ctx, ticket, "000000", "", from)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
	_, _, _, err = r.Enrolled(ctx, ticket, oathtool(t, e.Key, noon), "", from)
	denied(t, err)
	ticket, _, err = r.Password(ctx, "grace@example.org", good, from)
	require.NoError(t, err)
	r.clock.Advance(10 * time.Minute)
	_, err = r.EnrolFirst(ctx, ticket)
	denied(t, err)
	_, err = r.EnrolFirst(ctx, "fek_unknown")
	denied(t, err)
}

func TestOperators(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		r, ctx := newRig(t, db, false), t.Context()
		s := grace(t, r)
		_, _, err := r.Invite(ctx, access.Operator{Email: "not one", Role: "king"})
		require.ElementsMatch(t, []string{"email", "role"}, paths(fault.FieldsOf(err)))
		_, _, err = r.Invite(ctx, access.Operator{Email: "x@example.org", Role: access.Admin, Regions: []string{"EU"}})
		require.Equal(t, []string{"products"}, paths(fault.FieldsOf(err)))
		eve, link, err := r.Invite(ctx, access.Operator{Email: "Eve@example.org", Role: access.Engineer, Products: []string{"b", "a", "b"}})
		require.NoError(t, err)
		require.Equal(t, []string{"a", "b"}, eve.Products)
		_, _, err = r.Invite(ctx, access.Operator{Email: "eve@example.org", Role: access.Viewer})
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		r.clock.Advance(48 * time.Hour)
		_, _, err = r.SignIn(ctx, access.PartyOperator, link, "", access.Caller{})
		require.NoError(t, err, "an invitation works for three days")

		// A token is never more than its operator is now.
		token, secret, err := r.CreateAPIToken(ctx, access.NewToken{OperatorID: eve.ID, Name: "ci", Scope: access.ScopeAdmin})
		require.NoError(t, err)
		may := func() []access.Permission {
			t, o, err := r.Bearer(ctx, secret)
			if err != nil {
				return nil
			}
			return t.May(o).List()
		}
		require.Contains(t, may(), access.Declare)
		require.NotContains(t, may(), access.Administer)
		viewer := access.Viewer
		_, err = r.ChangeOperator(ctx, eve.ID, access.Change{Role: &viewer})
		require.NoError(t, err)
		require.Equal(t, []access.Permission{access.Look}, may())
		_, hawkbit, err := r.CreateAPIToken(ctx, access.NewToken{OperatorID: eve.ID, Name: "hb", Scope: access.ScopeHawkbit})
		require.NoError(t, err)
		_, err = r.APIToken(ctx, hawkbit)
		denied(t, err)
		yes, no := true, false
		_, err = r.ChangeOperator(ctx, eve.ID, access.Change{Disabled: &yes})
		require.NoError(t, err)
		require.Nil(t, may())
		open, err := r.Sessions(ctx, access.PartyOperator, eve.ID)
		require.NoError(t, err)
		require.Empty(t, open)
		_, err = r.ChangeOperator(ctx, eve.ID, access.Change{Disabled: &no})
		require.NoError(t, err)
		require.NotEmpty(t, may())

		// Somebody must administer.
		_, err = r.ChangeOperator(ctx, s.Subject, access.Change{Role: &viewer})
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		_, err = r.ChangeOperator(ctx, s.Subject, access.Change{Disabled: &yes})
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.Equal(t, fault.Conflict, fault.KindOf(r.RemoveOperator(ctx, s.Subject)))
		still, err := r.Operator(ctx, s.Subject)
		require.NoError(t, err)
		require.Equal(t, access.Admin, still.Role)

		link, err = r.ResetOperator(ctx, eve.ID)
		require.NoError(t, err)
		_, _, err = r.SignIn(ctx, access.PartyOperator, link, "", access.Caller{})
		require.NoError(t, err)
		require.NoError(t, r.RemoveOperator(ctx, eve.ID))
		require.Nil(t, may())
		all, err := r.APITokens(ctx)
		require.NoError(t, err)
		require.Empty(t, all, token.ID)
		require.Equal(t, fault.NotFound, fault.KindOf(r.RemoveOperator(ctx, eve.ID)))
	})
}
