package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

var (
	noon  = time.Date(2014, 1, 6, 12, 0, 0, 0, time.UTC) // the story's time
	today = time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)  // the machine's
)

func words(t *testing.T) *notify.Words {
	t.Helper()
	w, err := notify.NewWords()
	require.NoError(t, err)
	return w
}

// Every language has every text, and every text is used.
func TestCatalogueComplete(t *testing.T) {
	t.Parallel()
	keys := map[string][]string{}
	require.NoError(t, fs.WalkDir(os.DirFS("catalogue"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join("catalogue", path))
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, yaml.Unmarshal(b, &m))
		for k := range m {
			keys[path] = append(keys[path], k)
		}
		return nil
	}))
	require.Len(t, keys, 2)
	require.ElementsMatch(t, keys["en.yaml"], keys["de.yaml"])
	used := []string{}
	for _, tmpl := range []notify.Template{notify.OwnerSignIn, notify.OperatorSignIn, notify.OperatorInvite, notify.FindingsDigest} {
		used = append(used, string(tmpl)+".subject", string(tmpl)+".body")
	}
	require.ElementsMatch(t, used, keys["en.yaml"])
	require.Len(t, words(t).Languages(), 2)
}

func TestWriter(t *testing.T) {
	t.Parallel()
	db, ctx := sqldbtest.SQLite(t), t.Context()
	w := notify.NewWriter(message.New(db), words(t), clock.NewManual(noon), &clock.Sequence{Prefix: "m"}, "https://fettle.example/")
	link := access.Link{Hash: "h", Party: access.PartyOwner, Subject: "o2", CreatedAt: today, ExpiresAt: today.Add(15 * time.Minute)}
	require.NoError(t, w.SendLink(ctx, link, "ada@example.org", "de", "fel_secret"))
	link.Party, link.Hash = access.PartyOperator, "g"
	require.NoError(t, w.SendLink(ctx, link, "grace@example.org", "en", "fel_other"))
	all, err := message.New(db).Messages(ctx, notify.Filter{OwnerID: "o2"})
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Contains(t, all[0].Body, "https://fettle.example/my/sign-in#fel_secret\n")
	require.Contains(t, all[0].Body, "15 Minuten")
	all, err = message.New(db).Due(ctx, notify.Mail, today, 100)
	require.NoError(t, err)
	require.Len(t, all, 2)
}

// sink is a mail server in memory.
type sink struct {
	mu   sync.Mutex
	fail func(m notify.Message) error
	got  []string
}

func (s *sink) Send(_ context.Context, m notify.Message) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(m); err != nil {
			return "", err
		}
	}
	s.got = append(s.got, m.Key)
	return "remote-" + m.ID, nil
}

func TestDispatcher(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, s := t.Context(), message.New(db)
		enqueue := func(key string, expires time.Time) {
			_, err := s.Enqueue(ctx, notify.Message{ID: key, Key: key, Channel: notify.Mail, To: "ada@example.org", OwnerID: "o1", Subject: "s", Body: "secret", CreatedAt: noon, ExpiresAt: expires, Secret: !expires.IsZero()})
			require.NoError(t, err)
		}
		for i := range 300 { // more than one pass
			enqueue(fmt.Sprintf("m%03d", i), time.Time{})
		}
		machine, shown, mail := clock.NewManual(today), clock.NewManual(noon), &sink{}
		d := notify.NewDispatcher(s, slog.New(slog.DiscardHandler), notify.DispatcherConfig{Shown: shown, Machine: machine, GiveUp: 3})
		pass := func() int {
			n, err := d.Pass(ctx, notify.Mail, mail, 256)
			require.NoError(t, err)
			return n
		}
		require.Equal(t, 256, pass())
		require.Equal(t, 44, pass())
		require.Equal(t, 0, pass())
		require.Len(t, mail.got, 300)
		all, err := s.Messages(ctx, notify.Filter{OwnerID: "o1", Limit: 1})
		require.NoError(t, err)
		require.Equal(t, noon, all[0].SentAt, "as people read it")
		require.Equal(t, 1, all[0].Attempts)

		// A failure waits 10 s, then 20 s; the third gives up.
		message := func(key string) notify.Message {
			all, err := s.Messages(ctx, notify.Filter{OwnerID: "o1", Limit: 1000})
			require.NoError(t, err)
			for _, m := range all {
				if m.Key == key {
					return m
				}
			}
			t.Fatalf("no message %s", key)
			return notify.Message{}
		}
		mail.fail = func(notify.Message) error { return errors.New("450 later") }
		enqueue("later", time.Time{})
		require.Equal(t, 1, pass())
		require.Equal(t, 0, pass())
		machine.Advance(10 * time.Second)
		require.Equal(t, 1, pass())
		machine.Advance(19 * time.Second)
		require.Equal(t, 0, pass())
		machine.Advance(time.Second)
		require.Equal(t, 1, pass())
		machine.Advance(24 * time.Hour)
		require.Equal(t, 0, pass())
		require.Equal(t, "450 later", message("later").LastError)
		require.Equal(t, "secret", message("later").Body)

		// What can never succeed is tried once, and a secret is forgotten then.
		mail.fail = func(notify.Message) error { return fault.New(fault.Invalid, "550 no such user") }
		enqueue("never", machine.Now().Add(time.Hour))
		require.Equal(t, 1, pass())
		machine.Advance(24 * time.Hour)
		require.Equal(t, 0, pass())
		require.Empty(t, message("never").Body)

		// Nor is a secret sent that expired.
		mail.fail = nil
		enqueue("expired", machine.Now())
		enqueue("link", machine.Now().Add(time.Minute))
		require.Equal(t, 2, pass())
		require.Equal(t, 0, pass())
		require.Equal(t, 1, len(mail.got)-300)
		require.Equal(t, "link", mail.got[300])
		require.Empty(t, message("link").Body)
		require.Contains(t, message("expired").LastError, "expired")

		fresh, err := s.Enqueue(ctx, notify.Message{ID: "x", Key: "link", Channel: notify.Mail})
		require.NoError(t, err)
		require.Zero(t, fresh)
		require.Equal(t, fault.NotFound, fault.KindOf(s.UpdateMessage(ctx, "x", func(*notify.Message) error { return nil })))
		require.NoError(t, s.UpdateMessage(ctx, "later", func(m *notify.Message) error {
			m.NextAt = today
			return nil
		}))
		require.Equal(t, 1, pass(), "tried again because an operator said so")
	})
}

func TestDispatcherRuns(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	ctx, stop := context.WithCancel(t.Context())
	mail, hook := &sink{}, &sink{}
	d := notify.NewDispatcher(message.New(db), slog.New(slog.DiscardHandler), notify.DispatcherConfig{
		Senders: map[notify.Channel]notify.Sender{notify.Mail: mail, notify.Webhook: hook}, Shown: clock.Real{}, Machine: clock.Real{}, Poll: 5 * time.Millisecond,
	})
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.Run(ctx) })
	for i := range 5 {
		for _, ch := range []notify.Channel{notify.Mail, notify.Webhook} {
			id := fmt.Sprintf("%s%d", ch, i)
			_, err := message.New(db).Enqueue(ctx, notify.Message{ID: id, Key: id, Channel: ch, CreatedAt: noon})
			require.NoError(t, err)
		}
	}
	count := func(s *sink) int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.got)
	}
	require.Eventually(t, func() bool { return count(mail) == 5 && count(hook) == 5 }, time.Minute, 5*time.Millisecond)
	stop()
	wg.Wait()
	due, err := message.New(db).Due(t.Context(), notify.Mail, today.AddDate(50, 0, 0), 10)
	require.NoError(t, err)
	require.Empty(t, due, "what was sent is noted, also while stopping")
}

// piped sends as a connection with pipelining does.
type piped struct {
	mu   sync.Mutex
	seen map[string]int
	most int // sent by one Pipe
}

func (p *piped) Send(context.Context, notify.Message) (string, error) {
	return "", errors.New("not piped")
}

func (p *piped) Pipe(_ context.Context, next func() (notify.Message, bool), sent func(notify.Message, string, error)) {
	n := 0
	for {
		m, ok := next()
		if !ok {
			return
		}
		p.mu.Lock()
		p.seen[m.ID]++
		n++
		p.most = max(p.most, n)
		p.mu.Unlock()
		sent(m, "", nil)
	}
}

// refuses is a store that fails to note at times.
type refuses struct {
	notify.Store
	n atomic.Int64
}

func (r *refuses) SaveAttempts(ctx context.Context, all []notify.Message, deliveries []notify.Delivery) error {
	if r.n.Add(1)%3 == 0 {
		return fault.New(fault.Unavailable, "database is locked")
	}
	return r.Store.SaveAttempts(ctx, all, deliveries)
}

// While messages are read ahead and noted behind, each is sent once: also when
// the records fail to note it at first, and one that is erased meanwhile holds
// up nobody.
func TestReadAheadSendsOnce(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, stop := context.WithCancel(t.Context())
		store, out := &refuses{Store: message.New(db)}, &piped{seen: map[string]int{}}
		const n = 3000
		all := make([]notify.Message, n)
		for i := range all {
			id := fmt.Sprintf("m%05d", i)
			all[i] = notify.Message{ID: id, Key: id, Channel: notify.Mail, Kind: notify.Kinds[i%len(notify.Kinds)], CreatedAt: noon}
		}
		_, err := store.Enqueue(ctx, all...)
		require.NoError(t, err)
		d := notify.NewDispatcher(store, slog.New(slog.DiscardHandler), notify.DispatcherConfig{
			Senders: map[notify.Channel]notify.Sender{notify.Mail: out}, Shown: clock.Real{}, Machine: clock.Real{}, Poll: 5 * time.Millisecond,
			Suppressed: func(ctx context.Context, all []notify.Message) (map[string]string, error) {
				var err error
				if slices.ContainsFunc(all, func(m notify.Message) bool { return m.ID == "m00100" }) { // it is in hand now
					_, err = db.Exec(ctx, `DELETE FROM notify_message WHERE id = ?`, "m00100")
				}
				return map[string]string{"m00200": "complained"}, err
			},
		})
		var wg sync.WaitGroup
		wg.Go(func() { _ = d.Run(ctx) })
		require.Eventually(t, func() bool {
			var left int
			require.NoError(t, db.QueryRow(t.Context(), `SELECT count(*) FROM notify_message WHERE next_at > 0`).Scan(&left))
			return left == 0
		}, time.Minute, 10*time.Millisecond)
		stop()
		wg.Wait()
		got := len(out.seen) // a map of thousands is not to be printed
		require.Equal(t, n-1, got, "all but the one that is suppressed")
		for id, times := range out.seen {
			require.Equal(t, 1, times, id)
		}
		require.Greater(t, out.most, 1, "several by one connection")
		var sent, deliveries int
		require.NoError(t, db.QueryRow(t.Context(), `SELECT count(*) FROM notify_message WHERE state = 'sent'`).Scan(&sent))
		require.NoError(t, db.QueryRow(t.Context(), `SELECT count(*) FROM notify_delivery`).Scan(&deliveries))
		require.Equal(t, []int{n - 2, n - 2}, []int{sent, deliveries})
	})
}

func finding(n int, product, detector string, s condition.Severity) condition.Finding {
	return condition.Finding{
		ID: fmt.Sprintf("f%04d", n), Detector: condition.Ref{Name: detector, Version: 1}, Severity: s, Product: product,
		UnitID: fmt.Sprintf("WC-%06d", n), Why: "plug_temperature 71 Cel, above 60", OpenedAt: noon.Add(time.Duration(n) * time.Second),
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, s := t.Context(), message.New(db)
		for _, r := range []notify.Route{
			{Name: "all", Channel: notify.Mail, To: "team@example.org"},
			{Name: "chargers", Product: "wall-charger", Severity: "major", Channel: notify.Webhook, To: "https://hooks.example/x"},
			{Name: "gone", Channel: notify.Mail, To: "old@example.org"},
		} {
			require.Empty(t, notify.ValidateRoute(r))
			require.NoError(t, s.PutRoute(ctx, r))
		}
		machine := clock.NewManual(today)
		d := notify.NewDigest(s, db, words(t), clock.NewManual(noon), machine, &clock.Sequence{Prefix: "m"}, "https://fettle.example", 3*time.Second)
		flush := func() int {
			n, err := d.Flush(ctx)
			require.NoError(t, err)
			return n
		}
		var many []condition.Finding
		for i := range 2000 {
			many = append(many, finding(i, "wall-charger", "plug-overheat", condition.Minor))
		}
		many[1500].Severity = condition.Critical
		require.NoError(t, d.Findings(ctx, nil))
		require.NoError(t, d.Findings(ctx, many[:1000]))
		require.Equal(t, 0, flush(), "it gathers")
		machine.Advance(2 * time.Second)
		require.NoError(t, d.Findings(ctx, many[1000:]))
		require.NoError(t, d.Findings(ctx, []condition.Finding{finding(9000, "bike", "flat", condition.Critical)}))
		require.NoError(t, d.Findings(ctx, many), "told again, as after a restart")
		require.NoError(t, s.DeleteRoute(ctx, "gone"))
		machine.Advance(time.Second)
		require.Equal(t, 3, flush(), "few messages")
		machine.Advance(time.Minute)
		require.NoError(t, d.Findings(ctx, many))
		require.Equal(t, 0, flush(), "once")

		mails, err := s.Due(ctx, notify.Mail, today, 10)
		require.NoError(t, err)
		require.Len(t, mails, 2)
		require.Equal(t, "1 new finding: bike flat (critical)", mails[0].Subject)
		require.Equal(t, "2000 new findings: wall-charger plug-overheat (critical)", mails[1].Subject)
		require.True(t, strings.HasPrefix(mails[1].Body, "WC-001500  critical  2014-01-06T12:25:00Z  plug_temperature 71 Cel, above 60\n    https://fettle.example/console/findings/f1500\n"), mails[1].Body)
		require.Contains(t, mails[1].Body, "and 1980 more.")
		hooks, err := s.Due(ctx, notify.Webhook, today, 10)
		require.NoError(t, err)
		require.Len(t, hooks, 1, "of wall-charger, major or worse")
		var body struct {
			Event, Product, Detector, Severity string
			Count, More                        int
			Findings                           []struct{ ID, UnitID, Why, Link string }
		}
		require.NoError(t, json.Unmarshal([]byte(hooks[0].Body), &body))
		require.Equal(t, 1, body.Count)
		require.Equal(t, "f1500", body.Findings[0].ID)
		require.Equal(t, "https://hooks.example/x", hooks[0].To)

		require.Equal(t, fault.NotFound, fault.KindOf(s.DeleteRoute(ctx, "gone")))
		routes, err := s.Routes(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"all", "chargers"}, []string{routes[0].Name, routes[1].Name})
		require.Equal(t, "major", routes[1].Severity)
	})
}

func TestValidateRoute(t *testing.T) {
	t.Parallel()
	for want, r := range map[string]notify.Route{
		"name":     {Name: "a b", Channel: notify.Mail, To: "a@example.org"},
		"severity": {Name: "a", Severity: "bad", Channel: notify.Mail, To: "a@example.org"},
		"to":       {Name: "a", Channel: notify.Mail, To: "https://x"},
		"channel":  {Name: "a", Channel: "pigeon", To: "https://x"},
	} {
		got := notify.ValidateRoute(r)
		require.Len(t, got, 1, want)
		require.Equal(t, want, got[0].Path)
	}
	require.Len(t, notify.ValidateRoute(notify.Route{Name: "a", Channel: notify.Webhook, To: "ftp://x"}), 1)
}
