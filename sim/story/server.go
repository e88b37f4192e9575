package story

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// server is a Fettle server that runs as a child process.
type server struct {
	command []string // program and its arguments
	base    string   // scheme://host:port
	log     *os.File
	logPath string

	mu      sync.Mutex
	process *process // the newest
	cpu     time.Duration
	memory  int64
}

// process is one run of it.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	wanted atomic.Bool // its end is wanted
}

func newServer(command []string, base, data string) (*server, error) {
	path := filepath.Join(data, "server.log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("server log: %w", err)
	}
	return &server{command: command, base: base, log: f, logPath: path}, nil
}

// start starts the process and waits until it is ready.
func (s *server) start(ctx context.Context) error {
	cmd := exec.Command(s.command[0], s.command[1:]...) //nolint:gosec,noctx // our own program; it is ended by stop, not by a context
	cmd.Stdout, cmd.Stderr = s.log, s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	s.mu.Lock()
	s.process = p
	s.mu.Unlock()
	go func() {
		_ = cmd.Wait() // how it ended stands in its log
		s.mu.Lock()
		s.cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			s.memory = max(s.memory, r.Maxrss*1024)
		}
		s.mu.Unlock()
		close(p.exited)
	}()
	return s.ready(ctx, p.exited)
}

// current is the newest process, nil before the first.
func (s *server) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

func (s *server) ready(ctx context.Context, exited chan struct{}) error {
	h := &http.Client{Timeout: 2 * time.Second}
	deadline := time.Now().Add(2 * time.Minute)
	var last error
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/readyz", nil)
		if err != nil {
			return err
		}
		res, err := h.Do(req)
		switch {
		case err != nil:
			last = err
		case res.StatusCode == http.StatusOK:
			_ = res.Body.Close()
			return nil
		default:
			b, _ := io.ReadAll(io.LimitReader(res.Body, 1024))
			_ = res.Body.Close()
			last = fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(b))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-exited:
			return fmt.Errorf("the server ended at its start; the end of %s:\n%s", s.logPath, s.tail())
		case <-time.After(25 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server is not ready after 2 minutes: %w; the end of %s:\n%s", last, s.logPath, s.tail())
		}
	}
}

// tail is the end of the server's log.
func (s *server) tail() string {
	b, err := os.ReadFile(s.logPath)
	if err != nil {
		return err.Error()
	}
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return string(b)
}

// signal sends sig and waits for the end.
func (s *server) signal(sig syscall.Signal, patience time.Duration) {
	p := s.current()
	if p == nil {
		return
	}
	p.wanted.Store(true)
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.exited:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// crash kills it as a power cut would, and starts it again.
func (s *server) crash(ctx context.Context) error {
	s.signal(syscall.SIGKILL, time.Minute)
	return s.start(ctx)
}

// stop lets it end in good order.
func (s *server) stop() { s.signal(syscall.SIGTERM, time.Minute) }

// died waits until the process ends though nobody asked for it, or ctx ends.
func (s *server) died(ctx context.Context) error {
	for {
		p := s.current()
		select {
		case <-ctx.Done():
			return nil
		case <-p.exited:
		}
		if !p.wanted.Load() {
			return fmt.Errorf("the server ended by itself; the end of %s:\n%s", s.logPath, s.tail())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond): // it is being started again
		}
	}
}

// usage is the processor time and the most memory that processes which have
// ended used (Linux), for the story's last lines.
func (s *server) usage() (cpu time.Duration, memory int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cpu, s.memory
}

// address gives want if it is free, or else a free port of the same host.
func address(ctx context.Context, want string) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", want)
	if err != nil {
		host, _, splitErr := net.SplitHostPort(want)
		if splitErr != nil {
			return "", fmt.Errorf("address %q: %w", want, splitErr)
		}
		if ln, err = new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0")); err != nil {
			return "", fmt.Errorf("address %q: %w", want, err)
		}
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().String(), nil
}
