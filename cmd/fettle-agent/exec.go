package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"fettle.dev/fettle/unitkit"
	"fettle.dev/fettle/unitkit/install"
)

// maxOutput is how much of what a program prints is kept: its end.
const maxOutput = 16 << 10

// tail keeps the last bytes written to it.
type tail struct {
	b    bytes.Buffer
	more bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if n := t.b.Len() - maxOutput; n > 0 {
		t.b.Next(n)
		t.more = true
	}
	return len(p), nil
}

// exitError is a program that ended with another status than 0.
type exitError struct {
	name   string
	status int // -1: it did not end by itself
	why    string
	output string
}

func (e *exitError) Error() string {
	s := e.name + ": " + e.why
	if out := strings.TrimSpace(e.output); out != "" {
		s += ": " + out
	}
	return s
}

// run runs a program to its end, with all that it started, and gives what it
// printed. A timeout ends it.
func run(ctx context.Context, argv []string, timeout time.Duration, env ...string) (string, error) {
	return runWith(ctx, nil, argv, timeout, env...)
}

// runWith is run with something to read on standard input.
func runWith(ctx context.Context, in io.Reader, argv []string, timeout time.Duration, env ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var out, errs tail
	cmd := program(ctx, argv, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	err := cmd.Run()
	if err == nil {
		return out.b.String(), nil
	}
	e := &exitError{name: strings.Join(argv, " "), status: -1, why: err.Error(), output: errs.b.String() + out.b.String()}
	if x, ok := errors.AsType[*exec.ExitError](err); ok {
		e.status, e.why = x.ExitCode(), x.String()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		e.status, e.why = -1, "not done after "+timeout.String()
	}
	return out.b.String(), e
}

// program is a command in a process group of its own, ended as a whole.
func program(ctx context.Context, argv []string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // the configuration's own
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // none goes on when the agent is gone: it will be called anew
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// environment is what an installer program is told.
func environment(t install.Task) []string {
	return []string{
		fmt.Sprintf("FETTLE_ACTION=%d", t.Action), "FETTLE_RELEASE=" + t.Release, "FETTLE_COMPONENT=" + t.Target.Component,
		"FETTLE_VERSION=" + t.Target.Version, "FETTLE_FILENAME=" + t.Target.Filename, "FETTLE_SHA256=" + t.Target.SHA256,
		fmt.Sprintf("FETTLE_LENGTH=%d", t.Target.Length),
	}
}

// parts are the components as they are installed.
func (c *config) parts() map[string]install.Part {
	out := map[string]install.Part{}
	for name, k := range c.Components {
		switch {
		case k.File != nil:
			mode, _ := k.File.mode() // checked
			out[name] = &install.File{FS: install.OS{}, Path: k.File.Path, Mode: mode}
		case k.Directory != nil:
			out[name] = &install.Directory{FS: install.OS{}, Path: k.Directory.Path, Max: int64(k.Directory.Max)}
		default:
			argv, timeout := k.Slots.Installer, k.Slots.Timeout.or(30*time.Minute)
			out[name] = &install.Slots{Run: func(ctx context.Context, t install.Task, args ...string) (string, error) {
				return run(ctx, append(append([]string{}, argv...), args...), timeout, environment(t)...)
			}}
		}
	}
	return out
}

// mayBegin says what is against installing now: the unit's last word.
func (c *config) mayBegin(ctx context.Context, _ *unitkit.Update) error {
	if u := c.InUse; u != nil {
		_, err := run(ctx, u.Command, u.Timeout.or(30*time.Second))
		e, ended := errors.AsType[*exitError](err)
		switch {
		case err == nil:
			return errors.New("the unit is in use")
		case !ended || e.status != 1:
			return fmt.Errorf("whether the unit is in use is not known: %w", err)
		}
	}
	for _, p := range c.Preconditions {
		if out, err := run(ctx, p.Command, p.Timeout.or(30*time.Second)); err != nil {
			words := p.Words
			if words == "" {
				words, _, _ = strings.Cut(strings.TrimSpace(out), "\n")
			}
			if words == "" {
				words = err.Error()
			}
			return fmt.Errorf("%s: %s", p.Name, words)
		}
	}
	return nil
}

// healthy probes the unit once.
func (c *config) healthy(ctx context.Context) error {
	timeout := c.Health.Timeout.or(30 * time.Second)
	if len(c.Health.Command) > 0 {
		_, err := run(ctx, c.Health.Command, timeout)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Health.URL, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return fmt.Errorf("%s: %s %s", c.Health.URL, res.Status, bytes.TrimSpace(body))
	}
	return nil
}

func (c *config) restart(ctx context.Context, u *unitkit.Update) error {
	if len(c.Restart.Command) == 0 {
		return nil
	}
	_, err := run(ctx, c.Restart.Command, c.Restart.Timeout.or(2*time.Minute), fmt.Sprintf("FETTLE_ACTION=%d", u.Action), "FETTLE_RELEASE="+u.Release)
	return err
}

// bootID is another one after each start of the machine (random(4)).
func bootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw)), err
}

// versions tells which version of each component runs. committed are those of
// the journal.
func (c *config) versions(ctx context.Context, committed map[string]string) map[string]unitkit.Component {
	out := map[string]unitkit.Component{}
	for name, k := range c.Components {
		out[name] = unitkit.Component{Hardware: k.Hardware, Version: k.Version.read(ctx, committed[name])}
	}
	return out
}

func (v version) read(ctx context.Context, committed string) string {
	text := ""
	switch {
	case len(v.Command) > 0:
		text, _ = run(ctx, v.Command, 10*time.Second) // none: what was committed
	case v.File != "":
		raw, _ := os.ReadFile(v.File)
		text = string(raw)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	switch {
	case line != "":
		return strings.TrimSpace(line)
	case committed != "":
		return committed
	case v.Factory != "":
		return v.Factory
	default:
		return "unknown"
	}
}
