// Package postgres starts a real PostgreSQL from Debian's package for tests:
// one server a test process, unprivileged, in a temporary directory, reachable
// by a Unix socket alone. It ends with the process, however that ends.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"
)

// Server is a running PostgreSQL.
type Server struct {
	dir   string
	stdin *os.File // its end ends the supervisor, and that the server
	admin *sql.DB
	mu    sync.Mutex // CREATE DATABASE wants its template to itself
	n     atomic.Int64
}

var (
	once    sync.Once
	shared  *Server
	errOnce error
)

// ErrAbsent says that the machine has no PostgreSQL.
var ErrAbsent = errors.New("no PostgreSQL found under /usr/lib/postgresql (apt-get install postgresql)")

// Open gives the process's server, starting it at the first call: for programs
// that are no tests.
func Open() (*Server, error) {
	once.Do(func() { shared, errOnce = start() })
	return shared, errOnce
}

// Start gives the process's server, starting it at the first call. Without
// PostgreSQL on the machine the test is skipped, or fails where CI is set.
func Start(tb testing.TB) *Server {
	tb.Helper()
	_, _ = Open()
	if errors.Is(errOnce, ErrAbsent) && os.Getenv("CI") == "" {
		tb.Skip(errOnce)
	}
	if errOnce != nil {
		tb.Fatalf("start PostgreSQL: %v", errOnce)
	}
	return shared
}

// supervise runs the server until its standard input ends, which it does when
// the test process is gone, then removes the directory.
const supervise = `"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
 -c max_connections=400 -c shared_buffers=64MB -c autovacuum=off -c jit=off -c max_wal_size=512MB </dev/null &
cat >/dev/null
kill -QUIT $!
wait $!
cd / && rm -rf "$2"`

func start() (*Server, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, ErrAbsent
	}
	slices.Sort(found)
	bin := filepath.Dir(found[len(found)-1])
	dir, err := os.MkdirTemp("", "fettle-pg")
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{Setsid: true} // a Ctrl-C at the terminal ends the tests, and those end the server
	if os.Geteuid() == 0 {
		// PostgreSQL refuses to run as root.
		u, err := user.Lookup("postgres")
		if err != nil {
			return nil, fmt.Errorf("an unprivileged user for the server: %w", err)
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	env := []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	ctx := context.Background()
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8") //nolint:gosec // Debian's own program
	initdb.Dir, initdb.Env, initdb.SysProcAttr = dir, env, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", supervise, "sh", bin, dir) //nolint:gosec // a constant script
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, env, attr
	cmd.Stdin, cmd.Stdout, cmd.Stderr = read, log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{dir: dir, stdin: write}
	if s.admin, err = sql.Open("pgx", s.DSN("postgres")); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if err = s.admin.PingContext(ctx); err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, fmt.Errorf("the server does not answer: %w\n%s", err, text)
		}
	}
}

// DSN is the address of a database.
func (s *Server) DSN(database string) string {
	q := url.Values{"host": {s.dir}, "user": {"postgres"}}
	return "postgres:///" + database + "?" + q.Encode()
}

// Database makes a database, as a copy of template where that is not empty,
// and drops it at the end of the test. It gives the address.
func (s *Server) Database(tb testing.TB, template string) string {
	tb.Helper()
	name := "test" + strconv.FormatInt(s.n.Add(1), 10)
	if err := s.Create(context.Background(), name, template); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if _, err := s.admin.ExecContext(context.Background(), `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return s.DSN(name)
}

// Create makes a database that stays as long as the server.
func (s *Server) Create(ctx context.Context, name, template string) error {
	if template == "" {
		template = "template0"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.admin.ExecContext(ctx, `CREATE DATABASE `+name+` TEMPLATE `+template); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}
