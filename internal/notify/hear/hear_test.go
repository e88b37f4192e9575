package hear_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type mailer struct {
	fail error

	mu   sync.Mutex // several at once
	sent []string
}

func (m *mailer) Send(_ context.Context, x notify.Message) (string, error) {
	if m.fail != nil {
		return "", m.fail
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sent = append(m.sent, x.ID)
	return "remote", nil
}

func TestHeard(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, store, addresses := t.Context(), message.New(db), message.Addresses(db)
		clk := clock.NewManual(noon)
		desk := hear.NewDesk(store, addresses, db, clk, clk)
		var marked, acked []string
		desk.OnMarked = func(_ context.Context, a hear.Address) error { marked = append(marked, a.Address); return nil }
		desk.OnAcknowledged = func(_ context.Context, m notify.Message) error { acked = append(acked, m.ID); return nil }
		out := &mailer{}
		d := notify.NewDispatcher(store, slog.New(slog.DiscardHandler), notify.DispatcherConfig{Shown: clk, Machine: clk, Suppressed: desk.Suppressed, Refused: desk.Refused})
		put := func(id string, k notify.Kind, to string) {
			_, err := store.Enqueue(ctx, notify.Message{ID: id, Key: id, Channel: notify.Mail, To: to, OwnerID: "o-" + to, Kind: k, Acknowledge: k == notify.Safety, Subject: "s", Body: "b", CreatedAt: clk.Now()})
			require.NoError(t, err)
		}
		pass := func() {
			_, err := d.Pass(ctx, notify.Mail, out, 100)
			require.NoError(t, err)
		}
		state := func(id string) notify.State {
			m, err := store.Message(ctx, id)
			require.NoError(t, err)
			return m.State
		}
		heard := func(r hear.Report) bool {
			fresh, err := desk.Heard(ctx, r)
			require.NoError(t, err)
			return fresh
		}
		// What is urgent goes first, whenever it was queued.
		put("tip", notify.Tip, "ada@example.org")
		put("safety", notify.Safety, "ada@example.org")
		put("link", notify.Account, "ada@example.org")
		pass()
		require.ElementsMatch(t, []string{"link", "safety", "tip"}, out.sent)
		due, err := store.Due(ctx, notify.Mail, noon.Add(time.Hour), 10)
		require.NoError(t, err)
		require.Empty(t, due)

		// For now: sent again, for three days.
		require.True(t, heard(hear.Report{MessageID: "tip", Result: notify.Bounce, Detail: "4.2.2 mailbox full", Soft: true}))
		require.False(t, heard(hear.Report{MessageID: "tip", Result: notify.Bounce, Detail: "the same twice", Soft: true}), "of one attempt")
		require.Equal(t, notify.Queued, state("tip"))
		clk.Advance(8 * time.Hour)
		pass()
		require.Equal(t, notify.Sent, state("tip"))
		clk.Advance(72 * time.Hour)
		require.True(t, heard(hear.Report{MessageID: "tip", Result: notify.Bounce, Detail: "4.2.2 mailbox full", Soft: true}))
		require.Equal(t, notify.Bounced, state("tip"))
		require.Empty(t, marked)

		// For good: no more to this address but safety and what is asked for.
		require.True(t, heard(hear.Report{MessageID: "safety", Result: notify.Bounce, Detail: "5.1.1 no such user", Gone: true}))
		require.Equal(t, []string{"ada@example.org"}, marked)
		out.sent = nil
		put("tip2", notify.Tip, "ADA@example.org")
		put("feature2", notify.Feature, "bob@example.org")
		put("safety2", notify.Safety, "ada@example.org")
		put("link2", notify.Account, "ada@example.org")
		pass()
		require.ElementsMatch(t, []string{"feature2", "safety2", "link2"}, out.sent)
		require.Equal(t, notify.Suppressed, state("tip2"))
		m, err := store.Message(ctx, "tip2")
		require.NoError(t, err)
		require.Contains(t, m.LastError, "5.1.1 no such user")

		// Whoever answers from an address can be written to.
		fresh, err := desk.Acknowledge(ctx, "safety2", notify.ViaLink)
		require.NoError(t, err)
		require.True(t, fresh)
		fresh, err = desk.Acknowledge(ctx, "safety2", notify.ViaLink)
		require.NoError(t, err)
		require.False(t, fresh)
		require.Equal(t, []string{"safety2"}, acked)
		require.Equal(t, notify.Delivered, state("safety2"))
		_, err = addresses.Marked(ctx, notify.Mail, "ada@example.org")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = desk.Acknowledge(ctx, "tip", notify.ViaLink)
		require.Equal(t, fault.Conflict, fault.KindOf(err), "it was not asked for")
		unread, err := store.Messages(ctx, notify.Filter{Unread: true})
		require.NoError(t, err)
		require.Len(t, unread, 1)
		require.Equal(t, "safety", unread[0].ID)

		// A complaint ends it until an operator says otherwise; a bounce does not weaken it.
		require.True(t, heard(hear.Report{MessageID: "feature2", Result: notify.Complaint, Detail: "abuse"}))
		require.True(t, heard(hear.Report{MessageID: "feature2", Result: notify.Bounce, Detail: "5.1.1", Gone: true}))
		list, err := addresses.MarkedAddresses(ctx, "", "", 10)
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, hear.Complaining, list[0].State)
		list, err = addresses.MarkedAddresses(ctx, "o-bob@example.org", "", 10)
		require.NoError(t, err)
		require.Len(t, list, 1)
		list, err = addresses.MarkedAddresses(ctx, "", "mail bob@example.org", 10)
		require.NoError(t, err)
		require.Empty(t, list)
		require.NoError(t, addresses.Unmark(ctx, notify.Mail, "BOB@example.org"))

		// The next hop says at once that an address does not exist.
		out.fail = fault.Wrap(fault.NotFound, "the address does not exist", errors.New("550 5.1.1"))
		put("tip3", notify.Tip, "carl@example.org")
		pass()
		require.Equal(t, notify.Failed, state("tip3"))
		a, err := addresses.Marked(ctx, notify.Mail, "carl@example.org")
		require.NoError(t, err)
		require.Equal(t, "tip3", a.MessageID)
		out.fail = nil
		require.NoError(t, addresses.Unmark(ctx, notify.Mail, "carl@example.org"))
		require.NoError(t, desk.Resend(ctx, "tip3"))
		pass()
		require.Equal(t, notify.Sent, state("tip3"))
		deliveries, err := store.Deliveries(ctx, "tip3")
		require.NoError(t, err)
		require.Len(t, deliveries, 2)
		require.Equal(t, fault.NotFound, fault.KindOf(desk.Resend(ctx, "nothing")))
		_, err = desk.Heard(ctx, hear.Report{MessageID: "nothing", Result: notify.Bounce})
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}
