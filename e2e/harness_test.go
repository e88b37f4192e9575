// Package e2e runs the real binary against real clients, through public doors
// only, each scenario once.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/tree"
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		binary = os.Getenv("FETTLE_BIN")
		if binary == "" {
			dir, err := os.MkdirTemp("", "fettle-e2e")
			if err != nil {
				panic(err)
			}
			defer os.RemoveAll(dir)
			binary = filepath.Join(dir, "fettle")
			build := exec.Command("go", "build", "-o", binary, "./cmd/fettle")
			build.Dir = root()
			if out, err := build.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// root is the repository's root.
func root() string {
	return tree.Root()
}

// server is a running `fettle serve`.
type server struct {
	t          *testing.T
	dir        string       // data directory
	http, mqtt string       // addresses
	token      string       // of an operator, all scopes
	session    *http.Cookie // of the same operator, as a browser has it
	args       []string
	cmd        *exec.Cmd
	log        *os.File
	logPath    string
	scheme     string       // "": http
	client     *http.Client // nil: the default one
	env        []string     // for subcommands, beside the usual
	serverEnv  []string     // for the server, beside the usual
}

// url is an address of the server's HTTP door.
func (s *server) url(path string) string {
	if s.scheme != "" {
		return s.scheme + "://" + s.http + path
	}
	return "http://" + s.http + path
}

// do sends a request as this server's callers do.
func (s *server) do(r *http.Request) (*http.Response, error) {
	if s.client != nil {
		return s.client.Do(r)
	}
	return http.DefaultClient.Do(r)
}

// serve starts a server on a fresh data directory and signs an operator in.
func serve(t *testing.T, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t), args: args}
	s.start()
	s.signIn()
	return s
}

func (s *server) start() {
	s.t.Helper()
	if s.logPath == "" {
		s.logPath = filepath.Join(s.t.TempDir(), "serve.log")
	}
	log, err := os.OpenFile(s.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(s.t, err)
	s.log = log
	args := append([]string{
		"serve", "--data", s.dir, "--listen", s.http, "--mqtt", s.mqtt,
		"--public-url", s.url(""), "--poll-interval", "2s", "--log-format", "json",
	}, s.args...)
	s.cmd = exec.Command(binary, args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), s.serverEnv...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, s.cmd.Start())
	s.t.Cleanup(func() {
		s.kill()
		if s.t.Failed() {
			raw, _ := os.ReadFile(log.Name())
			if len(raw) > 8000 {
				raw = raw[len(raw)-8000:]
			}
			s.t.Logf("server log:\n%s", raw)
		}
	})
	require.Eventually(s.t, func() bool {
		req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url("/healthz"), nil)
		if err != nil {
			return false
		}
		r, err := s.do(req)
		if err != nil {
			return false
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, patience, 50*time.Millisecond, "the server does not answer")
}

// kill ends the process at once, as a power cut would.
func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		_ = s.log.Close()
	}
}

// stop asks the process to end and waits.
func (s *server) stop() {
	s.t.Helper()
	require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(s.t, s.cmd.Wait(), "SIGTERM ends with status 0")
	_ = s.log.Close()
}

// signIn uses the first operator's link and makes an API token with the session.
func (s *server) signIn() {
	s.t.Helper()
	file := filepath.Join(s.dir, "first-operator-link")
	var link []byte
	require.Eventually(s.t, func() bool {
		var err error
		link, err = os.ReadFile(file)
		return err == nil && len(link) > 0
	}, patience, 20*time.Millisecond)
	info, err := os.Stat(file)
	require.NoError(s.t, err)
	require.Equal(s.t, os.FileMode(0o600), info.Mode().Perm())
	_, secret, ok := strings.Cut(strings.TrimSpace(string(link)), "#")
	require.True(s.t, ok, "the link carries its token in the fragment")

	r := s.request(http.MethodPost, "/v1/sign-in", "", map[string]string{"token": secret})
	require.Less(s.t, r.StatusCode, 300)
	cookies := r.Cookies()
	require.NotEmpty(s.t, cookies)
	_ = r.Body.Close()
	s.session = cookies[0]

	body := map[string]any{"name": "e2e", "scope": "admin", "expires": "24h"}
	raw, _ := json.Marshal(body)
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url("/v1/tokens"), bytes.NewReader(raw))
	require.NoError(s.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", s.url(""))
	req.AddCookie(cookies[0])
	r, err = s.do(req)
	require.NoError(s.t, err)
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	require.Less(s.t, r.StatusCode, 300, string(text))
	var out struct {
		Token string `json:"token"`
	}
	require.NoError(s.t, json.Unmarshal(text, &out))
	require.NotEmpty(s.t, out.Token)
	s.token = out.Token
}

func (s *server) request(method, path, token string, body any) *http.Response {
	s.t.Helper()
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		require.NoError(s.t, err)
		in = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url(path), in)
	require.NoError(s.t, err)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	r, err := s.do(req)
	require.NoError(s.t, err)
	return r
}

// get reads a JSON answer of the operators' API.
func (s *server) get(path string, out any) {
	s.t.Helper()
	r := s.request(http.MethodGet, path, s.token, nil)
	defer r.Body.Close()
	raw, _ := io.ReadAll(r.Body)
	require.Equal(s.t, http.StatusOK, r.StatusCode, "%s: %s", path, raw)
	require.NoError(s.t, json.Unmarshal(raw, out), string(raw))
}

// fettle runs a subcommand as an operator would and gives its standard output.
func (s *server) fettle(args ...string) string {
	s.t.Helper()
	out, errs, err := s.try(args...)
	require.NoError(s.t, err, "fettle %s\n%s%s", strings.Join(args, " "), out, errs)
	return out
}

func (s *server) try(args ...string) (stdout, stderr string, err error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = root()
	cmd.Env = append(os.Environ(), "FETTLE_SERVER="+s.url(""), "FETTLE_TOKEN="+s.token, "HOME="+s.t.TempDir())
	cmd.Env = append(cmd.Env, s.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// nextPort is tried next by freeAddress. Ports that the kernel gives to
// connections begin above those tried, else one of another test could take an
// address before its server does. Test binaries side by side start apart.
var nextPort atomic.Uint32

func freeAddress(t *testing.T) string {
	t.Helper()
	nextPort.CompareAndSwap(0, 10_000+uint32(os.Getpid()%100)*200)
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", nextPort.Add(1))
		if l, err := net.Listen("tcp", address); err == nil {
			require.NoError(t, l.Close())
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// tool finds a real client; in CI it must be there.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed: %s needs it", name, t.Name())
	}
	return path
}
