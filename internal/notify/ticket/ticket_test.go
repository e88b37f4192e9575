package ticket_test

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/notify/ticket"
)

func TestTicket(t *testing.T) {
	t.Parallel()
	s := ticket.New([]byte(strings.Repeat("k", ticket.KeySize)))
	for _, id := range []string{uuid.NewString(), "m1", "exactly 16 bytes", "15 bytes exactl", "é"} {
		made := s.Make(ticket.Read, id)
		require.Regexp(t, `^[a-z2-7]+$`, made)
		got, ok := s.Check(ticket.Read, strings.ToUpper(made))
		require.True(t, ok, id)
		require.Equal(t, id, got)
		_, ok = s.Check(ticket.Unsubscribe, made)
		require.False(t, ok, "good for one use")
		_, ok = ticket.New([]byte(strings.Repeat("l", ticket.KeySize))).Check(ticket.Read, made)
		require.False(t, ok)
		_, ok = s.Check(ticket.Read, "b"+made[1:])
		require.Equal(t, made[0] == 'b', ok)
	}
	require.LessOrEqual(t, len("bounces+"+s.Make(ticket.Bounce, uuid.NewString())), 64, "a local part, RFC 5321 4.5.3.1.1")
	for _, bad := range []string{"", "a", strings.Repeat("a", 17), strings.Repeat("a", 300), "!!"} {
		_, ok := s.Check(ticket.Read, bad)
		require.False(t, ok)
	}
}

func FuzzTicket(f *testing.F) {
	s := ticket.New([]byte("key"))
	f.Add(s.Make(ticket.Mail, "m1"))
	f.Add(s.Make(ticket.Mail, uuid.NewString()))
	f.Fuzz(func(t *testing.T, text string) {
		if id, ok := s.Check(ticket.Mail, text); ok && s.Make(ticket.Mail, id) != strings.ToLower(text) {
			t.Fatalf("%q is a second ticket of %q", text, id)
		}
	})
}
