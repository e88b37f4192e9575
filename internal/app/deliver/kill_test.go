package deliver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	netmail "net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/app/deliver"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// sink is a mail server that counts mails by their Message-ID.
type sink struct {
	mu   sync.Mutex
	seen map[string]int
}

func (s *sink) NewSession(*smtp.Conn) (smtp.Session, error) { return s, nil }
func (s *sink) Reset()                                      {}
func (s *sink) Logout() error                               { return nil }
func (s *sink) Mail(string, *smtp.MailOptions) error        { return nil }
func (s *sink) Rcpt(string, *smtp.RcptOptions) error        { return nil }
func (s *sink) count() (mails, repeats int)                 { s.mu.Lock(); defer s.mu.Unlock(); return s.counted() }

func (s *sink) counted() (mails, repeats int) {
	for _, n := range s.seen {
		repeats += n - 1
	}
	return len(s.seen), repeats
}

func (s *sink) Data(r io.Reader) error {
	m, err := netmail.ReadMessage(r)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, m.Body); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[m.Header.Get("Message-ID")]++
	return nil
}

// child is the process that is killed.
type child struct {
	DSN, SMTP, Journal string
	Conns              int
}

func (c child) delivery(ctx context.Context) (*deliver.Delivery, *sqldb.DB, error) {
	db, err := sqldb.Open(ctx, c.DSN)
	if err != nil {
		return nil, nil, err
	}
	d, err := deliver.New(ctx, deliver.Config{
		Settings: deliver.Settings{SMTP: c.SMTP, MailFrom: "Fettle <fettle@example.org>", MailConnections: c.Conns},
		Records:  db, Clock: clock.Real{}, IDs: clock.Random{}, Log: slog.New(slog.DiscardHandler), PublicURL: "https://fettle.example",
		Key: []byte("0123456789abcdef0123456789abcdef"), Journal: c.Journal,
	})
	return d, db, err
}

func TestMain(m *testing.M) {
	if raw := os.Getenv("FETTLE_DELIVER_CHILD"); raw != "" {
		var c child
		err := json.Unmarshal([]byte(raw), &c)
		if err == nil {
			var d *deliver.Delivery
			if d, _, err = c.delivery(context.Background()); err == nil {
				err = d.Dispatcher.Run(context.Background())
			}
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Across kill -9 no mail is lost, and at most one for each connection is sent
// twice, with the same Message-ID.
func kills(t *testing.T, dsn string, mails, deaths int) {
	t.Helper()
	s := &sink{seen: map[string]int{}}
	srv := smtp.NewServer(s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	c := child{DSN: dsn, SMTP: "smtp://" + l.Addr().String() + "?tls=off", Journal: filepath.Join(t.TempDir(), "sent"), Conns: 4}
	config, err := json.Marshal(c)
	require.NoError(t, err)
	db, err := sqldb.Open(t.Context(), dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	all := make([]notify.Message, mails)
	for i := range all {
		all[i] = notify.Message{
			ID: clock.Random{}.ID(), Key: fmt.Sprintf("k%d", i), Channel: notify.Mail, To: fmt.Sprintf("owner%d@example.org", i), OwnerID: fmt.Sprintf("o%d", i), Kind: notify.Service,
			Subject: "An update for your wall charger", Body: "Hello,\n\nan update is ready.\n\nhttps://fettle.example/my/\n", CreatedAt: time.Now(),
		}
	}
	fresh, err := message.New(db).Enqueue(t.Context(), all...)
	require.NoError(t, err)
	require.Equal(t, mails, fresh)

	start := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), "FETTLE_DELIVER_CHILD="+string(config))
		cmd.Stderr = os.Stderr
		require.NoError(t, cmd.Start())
		return cmd
	}
	killed := 0
	for died := range deaths {
		cmd := start()
		// It dies in the middle of sending, after a share of what is left.
		before, _ := s.count()
		until := before + (mails-before)/(deaths-died+1) + rand.IntN(20)
		require.Eventually(t, func() bool { n, _ := s.count(); return n >= min(until, mails) }, 60*time.Second, time.Millisecond)
		if n, _ := s.count(); n < mails {
			killed++
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	}
	require.Positive(t, killed, "it died while sending")
	cmd := start()
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	left := func() int {
		var n int
		require.NoError(t, db.QueryRow(t.Context(), `SELECT count(*) FROM notify_message WHERE state <> 'sent'`).Scan(&n))
		return n
	}
	require.Eventually(t, func() bool { return left() == 0 }, 5*time.Minute, 50*time.Millisecond)
	got, repeats := s.count()
	require.Equal(t, mails, got, "none is lost")
	require.LessOrEqual(t, repeats, killed*c.Conns, "at most one for each open connection")
	var attempts int
	require.NoError(t, db.QueryRow(t.Context(), `SELECT count(*) FROM notify_delivery WHERE result = 'accepted'`).Scan(&attempts))
	require.Equal(t, mails, attempts, "each is noted once")
	t.Logf("%d mails, %d deaths while sending, %d sent twice", mails, killed, repeats)
}

func TestKills(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		kills(t, sqldbtest.SQLiteDSN(t), 2000, 4)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		kills(t, sqldbtest.PostgresDSN(t), 1500, 3)
	})
}

func TestSoakKills(t *testing.T) {
	if os.Getenv("FETTLE_SOAK") == "" {
		t.Skip("make soak")
	}
	t.Run("sqlite", func(t *testing.T) { kills(t, sqldbtest.SQLiteDSN(t), 100_000, 50) })
	t.Run("postgres", func(t *testing.T) { kills(t, sqldbtest.PostgresDSN(t), 100_000, 50) })
}
