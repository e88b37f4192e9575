// Package mender runs the real, unmodified mender-client from Debian's package
// for tests: it makes artifacts with mender-artifact, and runs the client
// against a server, each in a mount namespace of its own, because the client
// looks for its identity and its first artifact's name in fixed places.
package mender

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// DeviceType is what artifacts are built for and clients run as.
const DeviceType = "demo-device"

// Require skips the test where the client is not installed, or fails where CI is set.
func Require(tb testing.TB) {
	tb.Helper()
	for _, tool := range []string{"mender", "mender-artifact", "openssl", "unshare"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "" {
				tb.Skipf("%s is missing (apt-get install mender-client mender-artifact openssl)", tool)
			}
			tb.Fatal(err)
		}
	}
}

// Key signs artifacts.
type Key struct{ private, public string }

// NewKey makes an RSA key.
func NewKey(tb testing.TB) Key {
	tb.Helper()
	dir := tb.TempDir()
	k := Key{private: filepath.Join(dir, "private.pem"), public: filepath.Join(dir, "public.pem")}
	run(tb, "openssl", "genrsa", "-traditional", "-out", k.private, "2048") // mender-artifact reads no PKCS #8
	run(tb, "openssl", "pkey", "-in", k.private, "-pubout", "-out", k.public)
	return k
}

// Artifact is what Build makes.
type Artifact struct {
	Name   string
	Device string // default: DeviceType
	Key    *Key   // nil: not signed
	Dest   string // absolute path of the file that it writes
	Data   []byte
	Script string // in place of a file: a shell script that installs
}

// Build makes a .mender file.
func Build(tb testing.TB, a Artifact) []byte {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(tb, os.WriteFile(path, data, 0o600))
		return path
	}
	if a.Device == "" {
		a.Device = DeviceType
	}
	out := filepath.Join(dir, "artifact.mender")
	args := []string{"write", "module-image", "-t", a.Device, "-n", a.Name, "-o", out}
	if a.Script != "" {
		args = append(args, "-T", "script", "-f", write("install.sh", []byte(a.Script)))
	} else {
		args = append(args, "-T", "single-file",
			"-f", write("dest_dir", []byte(filepath.Dir(a.Dest))), "-f", write("filename", []byte(filepath.Base(a.Dest))),
			"-f", write("permissions", []byte("644")), "-f", write(filepath.Base(a.Dest), a.Data))
	}
	if a.Key != nil {
		args = append(args, "-k", a.Key.private)
	}
	run(tb, "mender-artifact", args...)
	data, err := os.ReadFile(out)
	require.NoError(tb, err)
	return data
}

// Options of a client.
type Options struct {
	URL      string // of the server, without a path
	Serial   string
	Tenant   string        // tenant token
	Artifact string        // name of what runs on it at first (default factory-1)
	Verify   *Key          // nil: artifacts need no signature
	Poll     time.Duration // between polls, whole seconds (default 1 s)
	OwnKey   bool          // it makes its own key, as devices do; else it has the one of all clients of the process, which saves seconds
}

// deviceKey is made once a process.
var deviceKey = sync.OnceValues(func() ([]byte, error) {
	return exec.Command("openssl", "genrsa", "-traditional", "2048").Output()
})

// Client is a running mender-client.
type Client struct {
	cmd  *exec.Cmd
	log  output
	done chan struct{}
}

// Start runs a client until the test ends.
func Start(tb testing.TB, o Options) *Client {
	tb.Helper()
	dir := tb.TempDir()
	for _, sub := range []string{"etc", "identity", "inventory", "data"} {
		require.NoError(tb, os.Mkdir(filepath.Join(dir, sub), 0o700))
	}
	write := func(path, text string, mode os.FileMode) {
		require.NoError(tb, os.WriteFile(filepath.Join(dir, path), []byte(text), mode))
	}
	if o.Artifact == "" {
		o.Artifact = "factory-1"
	}
	seconds := max(1, int(o.Poll/time.Second))
	conf := map[string]any{
		"ServerURL": o.URL, "TenantToken": o.Tenant, "UpdatePollIntervalSeconds": seconds, "InventoryPollIntervalSeconds": 5 * seconds,
		"RetryPollIntervalSeconds": 1, "UpdateControlMapExpirationTimeSeconds": 4, "DBus": map[string]bool{"Enabled": false},
	}
	if o.Verify != nil {
		conf["ArtifactVerifyKey"] = o.Verify.public
	}
	raw, err := json.Marshal(conf)
	require.NoError(tb, err)
	write("mender.conf", string(raw), 0o600)
	write("etc/artifact_info", "artifact_name="+o.Artifact+"\n", 0o600)
	write("identity/mender-device-identity", "#!/bin/sh\necho serial="+o.Serial+"\n", 0o700)
	write("inventory/mender-inventory-test", "#!/bin/sh\necho kernel=test-6.1\necho mac=a\necho mac=b\n", 0o700)
	write("data/device_type", "device_type="+DeviceType+"\n", 0o600)
	if !o.OwnKey {
		key, err := deviceKey()
		require.NoError(tb, err)
		write("data/mender-agent.pem", string(key), 0o600)
	}
	// Mounts need a namespace, and without root one where this user is root.
	namespace := "-m"
	if os.Geteuid() != 0 {
		namespace = "-rm"
	}
	script := fmt.Sprintf(`set -e
mount --bind %[1]s/etc /etc/mender
mount --bind %[1]s/identity /usr/share/mender/identity
mount --bind %[1]s/inventory /usr/share/mender/inventory
exec mender --no-syslog --log-level info -c %[1]s/mender.conf -b /nonexistent -d %[1]s/data daemon`, dir)
	c := &Client{done: make(chan struct{})}
	c.cmd = exec.Command("unshare", namespace, "--propagation", "private", "sh", "-c", script) //nolint:gosec,noctx // ended by Stop
	c.cmd.Dir = dir
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(tb, c.cmd.Start())
	go func() {
		_ = c.cmd.Wait()
		close(c.done)
	}()
	tb.Cleanup(func() {
		c.Stop()
		if tb.Failed() {
			tb.Logf("mender said:\n%s", c.log.tail(12000))
		}
	})
	return c
}

// Stop ends the client and the processes that it started.
func (c *Client) Stop() {
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	<-c.done
}

// Log is what the client has said so far.
func (c *Client) Log() string { return c.log.tail(1 << 20) }

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

func (o *output) tail(n int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.b.String()
	return s[max(0, len(s)-n):]
}

func run(tb testing.TB, name string, args ...string) {
	tb.Helper()
	out, err := exec.Command(name, args...).CombinedOutput() //nolint:gosec,noctx // a tool with arguments of our own
	require.NoError(tb, err, "%s %s\n%s", name, strings.Join(args, " "), out)
}
