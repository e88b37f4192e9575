// Package natsd builds and starts a real nats-server process for tests, at the
// version that is embedded, syncing every entry as the embedded one does.
package natsd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/tree"
)

// Server is a nats-server process.
type Server struct {
	URL  string
	port int
	dir  string
	cmd  *exec.Cmd
}

// Start builds nats-server when that is not done yet, and runs it until the
// test ends.
func Start(t *testing.T) *Server {
	t.Helper()
	s, err := Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { s.Kill() })
	return s
}

// Open is Start for programs that are no tests: they Kill it.
func Open(dir string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &Server{URL: fmt.Sprintf("nats://127.0.0.1:%d", port), port: port, dir: dir}
	config := fmt.Sprintf("listen: 127.0.0.1:%d\njetstream {\n  store_dir: %q\n  sync_interval: always\n}\n", port, filepath.Join(s.dir, "js"))
	if err := os.WriteFile(filepath.Join(s.dir, "nats.conf"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	return s, s.run()
}

// Kill ends the process at once, as kill -9 does.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Restart kills the process and starts it on the same data and port.
func (s *Server) Restart(t *testing.T) {
	t.Helper()
	s.Kill()
	require.NoError(t, s.run())
}

func (s *Server) run() error {
	program, err := build()
	if err != nil {
		return err
	}
	logFile, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = logFile.Close() }()
	s.cmd = exec.Command(program, "-c", filepath.Join(s.dir, "nats.conf")) //nolint:gosec,noctx // built below; ends by Kill
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nats-server did not listen; see %s: %w", filepath.Join(s.dir, "log"), err)
		}
	}
}

func freePort() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// build compiles the server of the version in go.mod; go leaves it alone where
// it is that already.
var build = sync.OnceValues(func() (string, error) {
	dir, release, err := tree.Tools("nats-server")
	if err != nil {
		return "", err
	}
	defer release()
	program := filepath.Join(dir, "nats-server")
	cmd := exec.Command("go", "build", "-o", program, "github.com/nats-io/nats-server/v2") //nolint:gosec // fixed arguments
	cmd.Dir = tree.Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build nats-server: %w\n%s", err, out)
	}
	return program, nil
})
