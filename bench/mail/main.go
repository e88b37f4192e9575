// Command mail measures how fast mails are queued, and how fast a mail server
// takes them, beside a bare sender:
//
//	go run ./bench/mail -sink DIR/smtp-sink -source DIR/smtp-source
//
// The server is Postfix's smtp-sink, which takes mails and throws them away; the
// bare sender is Postfix's smtp-source, which sends one mail again and again.
// Then a twentieth as many go to a real mail server, Exim, which keeps each on
// disk before it says that it has it. It ends with the lines
//
//	bench-mail: N queued in S s; sent N/s over C connections (bare sender N/s)
//	bench-mail: Exim: N queued in S s; sent N/s over C connections (bare sender N/s)
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/app/deliver"
	"fettle.dev/fettle/internal/app/heap"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
)

type options struct {
	mails, conns         int
	records              string
	sink, source, dkim   string
	libraries, directory string
	profile              string
}

func main() {
	o := options{}
	flag.IntVar(&o.mails, "mails", 100_000, "how many")
	flag.IntVar(&o.conns, "connections", 4, "to the mail server")
	flag.StringVar(&o.records, "records", "", "records to use, as postgres://…; they must be empty (default: SQLite in a temporary directory)")
	flag.StringVar(&o.sink, "sink", "smtp-sink", "Postfix's smtp-sink")
	flag.StringVar(&o.source, "source", "smtp-source", "Postfix's smtp-source")
	flag.StringVar(&o.libraries, "libraries", "", "directory of Postfix's libraries, where it is not installed")
	flag.StringVar(&o.dkim, "dkim", "", "sign with this key (PEM)")
	flag.StringVar(&o.profile, "cpuprofile", "", "file for a CPU profile of the sending")
	flag.StringVar(&o.directory, "dir", "", "where the records stand (default: a temporary directory)")
	flag.Parse()
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (o options) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // what the flags name
	if o.libraries != "" {
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+o.libraries)
	}
	cmd.Stderr = os.Stderr
	return cmd
}

func run(ctx context.Context, o options) error {
	heap.Bound(ctx) // as the service does
	for _, server := range []struct {
		title string
		mails int
		start func(ctx context.Context, o options, dir string, port int) (*exec.Cmd, error)
	}{{"", o.mails, sink}, {"Exim: ", max(o.mails/20, 1), exim}} {
		one := o
		one.mails = server.mails
		if server.title != "" {
			one.profile = "" // of the first alone
		}
		if err := measure(ctx, one, server.title, server.start); err != nil {
			return err
		}
	}
	return nil
}

// sink is a mail server that throws mails away.
func sink(ctx context.Context, o options, _ string, port int) (*exec.Cmd, error) {
	args := []string{"127.0.0.1:" + strconv.Itoa(port), "100"}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...)
	}
	cmd := o.command(ctx, o.sink, args...)
	return cmd, cmd.Start()
}

// measure sends mails to a server, then as many with the bare sender.
func measure(ctx context.Context, o options, title string, start func(ctx context.Context, o options, dir string, port int) (*exec.Cmd, error)) (err error) {
	dir, err := os.MkdirTemp(o.directory, "bench-mail")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	server, err := start(ctx, o, dir, l.Addr().(*net.TCPAddr).Port)
	if err != nil {
		return fmt.Errorf("mail server (Debian packages postfix and exim4-daemon-light): %w", err)
	}
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	time.Sleep(300 * time.Millisecond)

	if o.records == "" {
		o.records = "sqlite:" + filepath.Join(dir, "records.db")
	}
	db, err := sqldb.Open(ctx, o.records)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	settings := deliver.Settings{SMTP: "smtp://" + address + "?tls=off", MailFrom: "Fettle <fettle@example.org>", MailBounces: "bounces@example.org", MailConnections: o.conns}
	if o.dkim != "" {
		settings.DKIMKey, settings.DKIMSelector = o.dkim, "bench"
	}
	d, err := deliver.New(ctx, deliver.Config{
		Settings: settings, Records: db, Clock: clock.Real{}, IDs: clock.Random{}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
		PublicURL: "https://fettle.example", Key: make([]byte, 32), Journal: filepath.Join(dir, "sent"),
	})
	if err != nil {
		return err
	}
	begun := time.Now()
	all := make([]notify.Message, o.mails)
	for i := range all {
		all[i] = mail(title, i)
	}
	fresh, err := message.New(db).Enqueue(ctx, all...)
	if err != nil {
		return err
	}
	queued := time.Since(begun)
	fmt.Printf("%d mails queued in %.1f s, in one transaction\n", fresh, queued.Seconds())

	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	begun = time.Now()
	go func() { done <- d.Dispatcher.Run(running) }()
	for {
		var left int
		if err := db.QueryRow(ctx, `SELECT count(*) FROM notify_message WHERE next_at > 0`).Scan(&left); err != nil {
			stop()
			return err
		}
		if left == 0 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	sent := time.Since(begun)
	stop()
	if err := <-done; err != nil {
		return err
	}
	var refused int
	if err := db.QueryRow(ctx, `SELECT count(*) FROM notify_message WHERE state <> 'sent'`).Scan(&refused); err != nil {
		return err
	}
	if refused > 0 {
		return fmt.Errorf("%d were not sent", refused)
	}
	rate := float64(o.mails) / sent.Seconds()
	fmt.Printf("sent in %.1f s: %.0f/s\n", sent.Seconds(), rate)

	const size = 8000 // as one of ours has
	begun = time.Now()
	bare := o.command(ctx, o.source, "-s", strconv.Itoa(o.conns), "-m", strconv.Itoa(o.mails), "-l", strconv.Itoa(size), "-d", "-f", "fettle@example.org", "-t", "ada@example.org", address)
	if err := bare.Run(); err != nil {
		return fmt.Errorf("smtp-source: %w", err)
	}
	bareRate := float64(o.mails) / time.Since(begun).Seconds()
	fmt.Printf("bench-mail: %s%d queued in %.1f s; sent %.0f/s over %d connections (bare sender %.0f/s)\n", title, fresh, queued.Seconds(), rate, o.conns, bareRate)
	return nil
}

func mail(title string, i int) notify.Message {
	return notify.Message{
		ID: clock.Random{}.ID(), Key: "bench:" + title + strconv.Itoa(i), Channel: notify.Mail, To: "owner-" + strconv.Itoa(i) + "@example.org", OwnerID: "o" + strconv.Itoa(i),
		UnitID: "WC-" + strconv.Itoa(i), Kind: notify.Service, Language: "de", About: "campaign/bench", Subject: "Ein Update für Ihre Wallbox: Steckertemperatur",
		Body: "Guten Tag Ada Lovelace,\n\nder Stecker Ihrer Wallbox kann zu warm werden. Ein Update behebt das.\n\nEin Update für Ihre Wallbox (WC-" + strconv.Itoa(i) + ") ist bereit. Sie bestimmen, wann es installiert wird.\n\n" +
			"- Die Installation dauert etwa 12 Minuten (4,2 MB werden geladen).\n- Was sich ändert: Der Ladestrom sinkt, bevor der Stecker zu warm wird.\n- Was in dieser Zeit nicht geht: Laden.\n\nhttps://fettle.example/my/\n\nSie können es bis 3. Februar 2027, 12:00 Uhr verschieben.\n",
		Link: "https://fettle.example/my/", CreatedAt: time.Now(),
	}
}
