// Package swupdate runs the real, unmodified SWUpdate from Debian's package
// for tests: it makes a signing key, builds a signed image with one payload
// file, and runs the client unprivileged against a server.
package swupdate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Board is the hardware that images are built for and clients run as.
const Board = "demo:1.0"

// Require skips the test where SWUpdate is not installed, or fails where CI is set.
func Require(tb testing.TB) {
	tb.Helper()
	for _, tool := range []string{"swupdate", "swupdate-ipc", "cpio", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "" {
				tb.Skipf("%s is missing (apt-get install swupdate cpio openssl)", tool)
			}
			tb.Fatal(err)
		}
	}
}

// Key signs images.
type Key struct{ cert, key string }

// NewKey makes a self-signed certificate for signing images.
func NewKey(tb testing.TB) Key {
	tb.Helper()
	dir := openDir(tb)
	k := Key{cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	run(tb, dir, nil, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=fettle test",
		"-addext", "extendedKeyUsage=emailProtection", "-addext", "keyUsage=critical,digitalSignature",
		"-keyout", k.key, "-out", k.cert, "-days", "36500")
	require.NoError(tb, os.Chmod(k.cert, 0o644)) //nolint:gosec // the client reads it as nobody
	return k
}

// File is a file of an image.
type File struct {
	Path string // absolute, where the unit keeps it
	Data []byte
}

// Build makes a signed .swu of a version that writes payload to the absolute
// path dest on the unit, after the other files.
func Build(tb testing.TB, k Key, version, dest string, payload []byte, others ...File) []byte {
	tb.Helper()
	return Image{Key: k, Version: version, Files: append(others, File{dest, payload})}.Build(tb)
}

// Image is what a .swu is made of.
type Image struct {
	Key      Key
	Version  string
	Hardware string // that it is for; empty: that of Board
	Unsigned bool   // leave the signature out
	Files    []File
}

// Build makes the .swu.
func (m Image) Build(tb testing.TB) []byte {
	tb.Helper()
	dir := tb.TempDir()
	if m.Hardware == "" {
		m.Hardware = "1.0"
	}
	list, names := "", "sw-description\n"
	if !m.Unsigned {
		names += "sw-description.sig\n"
	}
	for i, f := range m.Files {
		sum := sha256.Sum256(f.Data)
		name := fmt.Sprintf("payload%d", i)
		if i > 0 {
			list += ","
		}
		list += fmt.Sprintf(`
		{
			filename = %q;
			path = %q;
			sha256 = "%s";
		}`, name, f.Path, hex.EncodeToString(sum[:]))
		names += name + "\n"
		require.NoError(tb, os.WriteFile(filepath.Join(dir, name), f.Data, 0o600))
	}
	description := fmt.Sprintf(`software =
{
	version = %q;
	hardware-compatibility: [ %q ];
	files: (%s
	);
}
`, m.Version, m.Hardware, list)
	require.NoError(tb, os.WriteFile(filepath.Join(dir, "sw-description"), []byte(description), 0o600))
	run(tb, dir, nil, "openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig",
		"-signer", m.Key.cert, "-inkey", m.Key.key, "-outform", "DER", "-nosmimecap", "-binary")
	return run(tb, dir, strings.NewReader(names), "cpio", "-o", "-H", "crc", "--quiet")
}

// Options of a client.
type Options struct {
	URL    string // of the server, without a path
	UnitID string
	Token  string
	Key    Key
	Poll   time.Duration // between polls (default: as the server says)
}

// Client is a running SWUpdate.
type Client struct {
	dir  string
	cred *syscall.Credential
	cmd  *exec.Cmd
	log  output
	done chan struct{}
}

// Dir makes a directory that the client may write to: for what an image
// installs.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir := openDir(tb)
	if cred := nobody(tb); cred != nil {
		require.NoError(tb, os.Chown(dir, int(cred.Uid), int(cred.Gid)))
	}
	return dir
}

// openDir is a temporary directory that every user may enter, unlike t.TempDir.
func openDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "swu") //nolint:usetesting // see above; short, for the sockets' names
	require.NoError(tb, err)
	require.NoError(tb, os.Chmod(dir, 0o755)) //nolint:gosec // see above
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// nobody is whom the client runs as; nil: as this process, which is not root.
func nobody(tb testing.TB) *syscall.Credential {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	require.NoError(tb, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(tb, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(tb, err)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Start runs a client until the test ends.
func Start(tb testing.TB, o Options) *Client {
	tb.Helper()
	c := &Client{dir: Dir(tb), cred: nobody(tb), done: make(chan struct{})}
	poll := ""
	if o.Poll > 0 {
		poll = fmt.Sprintf("\n\tpolldelay = %d;", max(1, int(o.Poll/time.Second)))
	}
	config := fmt.Sprintf(`globals:
{
	public-key-file = %q;
	bootloader = "none";
};
suricatta:
{
	tenant = "DEFAULT";
	id = %q;
	url = %q;
	targettoken = %q;%s
	retry = 3;
	retrywait = 1;
};
identify: (
	{ name = "serial"; value = %q; }
);
`, o.Key.cert, o.UnitID, o.URL, o.Token, poll, o.UnitID)
	file := filepath.Join(c.dir, "swupdate.cfg")
	require.NoError(tb, os.WriteFile(file, []byte(config), 0o644)) //nolint:gosec // the client reads it as nobody
	// As systemd starts it: else whoever asks over its socket and goes before the answer ends it (SIGPIPE).
	c.cmd = exec.Command("sh", "-c", `trap "" PIPE; exec swupdate "$@"`, "sh", "-v", "-f", file, "-H", Board, "-u", "") //nolint:gosec,noctx // ended by Stop
	c.cmd.Dir, c.cmd.Env = c.dir, c.env()
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.cred, Pdeathsig: syscall.SIGKILL}
	require.NoError(tb, c.cmd.Start())
	go func() {
		_ = c.cmd.Wait()
		fmt.Fprintf(&c.log, "it ended: %s\n", c.cmd.ProcessState)
		close(c.done)
	}()
	tb.Cleanup(func() {
		c.Stop()
		if tb.Failed() {
			tb.Logf("swupdate said:\n%s", c.log.of("channel_log_effective_url", "No pending action", "awakened", "print_registered", "extract_file"))
		}
	})
	return c
}

func (c *Client) env() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + c.dir, "HOME=" + c.dir}
}

// Poll makes the client ask the server at once, as an owner's "start now" on
// the unit does. It waits until the client listens.
func (c *Client) Poll(tb testing.TB) {
	tb.Helper()
	c.ipc(tb, "hawkbitcfg", "-t")
}

// Confirm makes the client tell the server that an action succeeded. With no
// bootloader SWUpdate stops at "All Chunks Installed." and does not say it by itself.
func (c *Client) Confirm(tb testing.TB, action int64) {
	tb.Helper()
	c.ipc(tb, "sendtohawkbit", strconv.FormatInt(action, 10), "2", "success", "closed", "checked")
}

func (c *Client) ipc(tb testing.TB, args ...string) {
	tb.Helper()
	var out []byte
	var err error
	for range 100 {
		cmd := exec.Command("swupdate-ipc", args...) //nolint:gosec,noctx // short-lived
		cmd.Dir, cmd.Env = c.dir, c.env()
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.cred}
		if out, err = cmd.CombinedOutput(); err == nil {
			return
		}
		select {
		case <-c.done:
			tb.Fatalf("swupdate has ended:\n%s", c.Log())
		case <-time.After(100 * time.Millisecond):
		}
	}
	tb.Fatalf("swupdate-ipc %s: %v\n%s", strings.Join(args, " "), err, out)
}

// Wake runs a hook that makes the client ask the server at once whenever the
// unit hears over MQTT that an update waits for it, until the test ends. It is
// the script of docs/updates.md.
func (c *Client) Wake(tb testing.TB, host, port, unitID, token string) {
	tb.Helper()
	cmd := exec.Command("sh", "-c", WakeHook) //nolint:noctx // ended below
	cmd.Dir, cmd.Env = c.dir, append(c.env(), "BROKER="+host, "PORT="+port, "UNIT="+unitID, "TOKEN="+token)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.cred, Pdeathsig: syscall.SIGKILL}
	cmd.Stdout, cmd.Stderr = &c.log, &c.log
	require.NoError(tb, cmd.Start())
	tb.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

// WakeHook is a shell script for units whose update client only polls: it
// listens for notices and makes SWUpdate poll at each. It subscribes anew when
// the connection is lost; what it missed meanwhile it is told then.
const WakeHook = `
# BROKER, PORT, UNIT, TOKEN: the unit's MQTT access.
while true; do
  mosquitto_sub -h "$BROKER" -p "$PORT" -i "$UNIT-wake" -u "$UNIT" -P "$TOKEN" \
    -k 60 -q 1 -t fettle/v1/notice |
  while read -r notice; do
    swupdate-ipc hawkbitcfg -t
  done
  sleep 5
done
`

// Stop ends the client and the processes that it started.
func (c *Client) Stop() {
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.done
}

// Log is what the client has said so far.
func (c *Client) Log() string { return c.log.of() }

// output keeps what a process says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write keeps p.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// of is what was said, but for the lines that have one of some words.
func (o *output) of(without ...string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	for line := range strings.Lines(o.b.String()) {
		if !slices.ContainsFunc(without, func(w string) bool { return strings.Contains(line, w) }) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func run(tb testing.TB, dir string, stdin io.Reader, name string, args ...string) []byte {
	tb.Helper()
	cmd := exec.Command(name, args...) //nolint:gosec,noctx // a tool with arguments of our own
	cmd.Dir, cmd.Stdin = dir, stdin
	out, err := cmd.Output()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		tb.Fatalf("%s: %v\n%s", name, err, e.Stderr)
	}
	require.NoError(tb, err)
	return out
}
