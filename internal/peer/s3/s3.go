// Package s3 builds and starts a real S3 server for tests: versitygw, over a
// directory.
package s3

import (
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

const version = "v1.8.0"

// Credentials of the server.
const (
	AccessKey = "fettle"
	SecretKey = "only for tests"
)

// Server is a versitygw process.
type Server struct {
	Endpoint string // http://host:port
	dir      string
}

// Start builds versitygw when that is not done yet (it takes minutes, once),
// and runs it until the test ends. It is skipped where versitygw cannot be
// had, or fails where CI is set.
func Start(t *testing.T) *Server {
	t.Helper()
	program, err := build()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())

	s := &Server{Endpoint: "http://" + address, dir: t.TempDir()}
	sidecar := t.TempDir()
	logFile, err := os.Create(filepath.Join(sidecar, "log"))
	require.NoError(t, err)
	defer func() { _ = logFile.Close() }()
	cmd := exec.Command(program, "--port", address, "--access", AccessKey, "--secret", SecretKey, "posix", s.dir) //nolint:gosec,noctx // built above; ends by Kill
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return false
		}
		return c.Close() == nil
	}, 20*time.Second, 20*time.Millisecond, "versitygw did not listen")
	return s
}

// Bucket makes a bucket and gives its address for gocloud.dev/blob. The
// credentials must stand in the environment.
func (s *Server) Bucket(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, name), 0o700)) // a directory is a bucket
	return fmt.Sprintf("s3://%s?endpoint=%s&use_path_style=true&region=us-east-1", name, s.Endpoint)
}

// build installs the server of one version, with its own dependencies, beside
// our module.
var build = sync.OnceValues(func() (string, error) {
	dir, release, err := tree.Tools("versitygw-" + version)
	if err != nil {
		return "", err
	}
	defer release()
	program := filepath.Join(dir, "versitygw")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	building := filepath.Join(dir, "building")
	cmd := exec.Command("go", "install", "github.com/versity/versitygw/cmd/versitygw@"+version)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+building, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build versitygw %s: %w\n%s", version, err, out)
	}
	return program, os.Rename(filepath.Join(building, "versitygw"), program)
})
