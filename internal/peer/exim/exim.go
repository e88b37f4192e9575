// Package exim starts a real mail server, Exim from Debian's package, for
// tests: unprivileged, on a port of its own, delivering into a Maildir.
package exim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const binary = "/usr/sbin/exim4"

// Server is a running Exim.
type Server struct {
	// Address is host:port of its SMTP.
	Address string
	dir     string
}

// config is the whole of Exim's configuration: everything for example.org is
// delivered into one Maildir, everything else is refused.
const config = `
exim_user = %[2]s
exim_group = %[3]s
primary_hostname = mail.example.org
spool_directory = %[1]s/spool
log_file_path = %[1]s/log/%%slog
pid_file_path = %[1]s/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = %[4]d
tls_advertise_hosts =
never_users =
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 100
smtp_accept_max_per_connection = 100000
smtp_accept_queue_per_connection = 0
keep_environment =
deliver_drop_privilege = true
domainlist local_domains = example.org : bounces.example
acl_smtp_rcpt = check
begin acl
check:
  deny local_parts = nobody
       message = no such mailbox
  accept domains = +local_domains
  deny message = relaying is refused
begin routers
bounces:
  driver = accept
  domains = bounces.example
  local_part_suffix = +*
  transport = bounces
gone:
  driver = redirect
  local_parts = gone
  allow_fail
  data = :fail: no such user here
local:
  driver = accept
  transport = maildir
begin transports
bounces:
  driver = %[5]s
  user = %[2]s
  group = %[3]s
maildir:
  driver = appendfile
  directory = %[1]s/maildir
  maildir_format
  create_directory
  envelope_to_add
  user = %[2]s
  group = %[3]s
`

// into keeps bounces in a Maildir of their own; piped hands them to a command.
const (
	into = `appendfile
  directory = %s/bounces
  maildir_format
  create_directory
  envelope_to_add
  return_path_add`
	piped = `pipe
  path = /usr/bin:/bin
  envelope_to_add
  return_path_add
  temp_errors = *
  command = %s`
)

// Start runs Exim until the end of the test. Without Exim on the machine the
// test is skipped, or fails where CI is set.
//
// Mail to gone@example.org is accepted and comes back to its return path; what
// comes back to bounces+…@bounces.example stands in Bounces, or is handed to the
// command of StartPiped.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return StartPiped(tb, "")
}

// StartPiped is Start with a command that gets each bounce on its standard
// input, as Exim's pipe transport runs it: no shell is between.
func StartPiped(tb testing.TB, command string) *Server {
	tb.Helper()
	if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") != "" {
			tb.Fatalf("no Exim at %s (apt-get install exim4-daemon-light)", binary)
		}
		tb.Skipf("no Exim at %s (apt-get install exim4-daemon-light)", binary)
	}
	s, err := start(tb, command)
	if err != nil {
		tb.Fatalf("start Exim: %v", err)
	}
	return s
}

func start(tb testing.TB, command string) (*Server, error) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "fettle-exim") //nolint:usetesting // the server's user must reach it
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	name := strconv.Itoa(os.Getuid())
	group := strconv.Itoa(os.Getgid())
	if os.Geteuid() == 0 {
		u, err := user.Lookup("Debian-exim")
		if err != nil {
			return nil, fmt.Errorf("an unprivileged user for the server: %w", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		name, group = u.Uid, u.Gid
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "exim.conf")
	bounces := fmt.Sprintf(into, dir)
	if command != "" {
		bounces = fmt.Sprintf(piped, command)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, config, dir, name, group, port, bounces), 0o644); err != nil { //nolint:gosec // the server's user reads it
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), binary, "-C", file, "-bdf", "-q1m") //nolint:gosec // a file made just now
	cmd.Dir, cmd.SysProcAttr, cmd.Env = dir, attr, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	tb.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its children too
		_ = cmd.Wait()
	})
	s := &Server{Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: dir}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		d := net.Dialer{Timeout: time.Second}
		c, err := d.DialContext(context.Background(), "tcp", s.Address)
		if err == nil {
			return s, c.Close()
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(out.Name())
			return nil, fmt.Errorf("it does not answer: %w\n%s", err, text)
		}
	}
}

// Mail is one delivered mail.
type Mail struct {
	Header mail.Header
	Body   string // as it was carried: perhaps quoted-printable
}

// Mails reads what was delivered so far, in the order it was written.
func (s *Server) Mails(tb testing.TB) []Mail {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "maildir", "new", "*"))
	if err != nil {
		tb.Fatal(err)
	}
	// Their names do not sort by time: microseconds stand in them without leading zeros.
	written := map[string]time.Time{}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			tb.Fatal(err)
		}
		written[f] = info.ModTime()
	}
	slices.SortStableFunc(files, func(a, b string) int { return written[a].Compare(written[b]) })
	var all []Mail
	for _, f := range files {
		r, err := os.Open(f)
		if err != nil {
			tb.Fatal(err)
		}
		m, err := mail.ReadMessage(r)
		if err != nil {
			tb.Fatal(err)
		}
		b, err := io.ReadAll(m.Body)
		if err != nil {
			tb.Fatal(err)
		}
		_ = r.Close()
		all = append(all, Mail{m.Header, string(b)})
	}
	return all
}

// Bounces gives what came back so far, raw.
func (s *Server) Bounces(tb testing.TB) [][]byte {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "bounces", "new", "*"))
	if err != nil {
		tb.Fatal(err)
	}
	var all [][]byte
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, raw)
	}
	return all
}

// Log is what the server says it did.
func (s *Server) Log() string {
	var text strings.Builder
	for _, f := range []string{"out", "log/mainlog", "log/rejectlog", "log/paniclog"} {
		b, _ := os.ReadFile(filepath.Join(s.dir, f))
		text.Write(b)
	}
	return text.String()
}
