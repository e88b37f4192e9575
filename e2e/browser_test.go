package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// person is somebody at a browser: real Chromium, see owner.mjs.
type person struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Scanner
}

const (
	phone = "390x844"
	desk  = "1280x800"
)

// browse starts a browser with a window of a size. Where the browser, Node or
// its packages are missing, the test is skipped, or fails in CI.
func browse(t *testing.T, size string) *person {
	t.Helper()
	node := tool(t, "node")
	if os.Getenv("CHROMIUM") == "" {
		tool(t, "chromium")
	}
	packages := filepath.Join(root(), "web", "node_modules")
	if _, err := os.Stat(filepath.Join(packages, "playwright-core")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("web/node_modules is missing (make web)")
		}
		t.Skip("web/node_modules is missing (make web)")
	}
	cmd := exec.Command(node, filepath.Join(root(), "e2e", "owner.mjs"), packages, size)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close() // it closes its browser and ends
		late := time.AfterFunc(10*time.Second, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer late.Stop()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	return &person{t, in, lines}
}

// do asks for one deed, as owner.mjs lists them, and gives what it said.
func (p *person) do(deed string, what ...string) string {
	p.t.Helper()
	ask := map[string]string{"do": deed}
	for i := 0; i < len(what); i += 2 {
		ask[what[i]] = what[i+1]
	}
	raw, err := json.Marshal(ask)
	require.NoError(p.t, err)
	_, err = fmt.Fprintf(p.in, "%s\n", raw)
	require.NoError(p.t, err)
	require.True(p.t, p.out.Scan(), "the browser has ended: %v", p.out.Err())
	var answer struct{ Said, Error string }
	require.NoError(p.t, json.Unmarshal(p.out.Bytes(), &answer), p.out.Text())
	require.Empty(p.t, answer.Error, "%s %s", deed, strings.Join(what, " "))
	return answer.Said
}

func (p *person) open(url string)        { p.t.Helper(); p.do("open", "url", url) }
func (p *person) see(text string)        { p.t.Helper(); p.do("see", "text", text) }
func (p *person) click(name string)      { p.t.Helper(); p.do("click", "name", name) }
func (p *person) enter(label, in string) { p.t.Helper(); p.do("type", "label", label, "text", in) }

// shot keeps a picture of the page for the tutorial, where FETTLE_PICTURES
// names a directory.
func (p *person) shot(name, of string) {
	p.t.Helper()
	if dir := os.Getenv("FETTLE_PICTURES"); dir != "" {
		p.do("shot", "file", filepath.Join(dir, name+".png"), "of", of)
	}
}
