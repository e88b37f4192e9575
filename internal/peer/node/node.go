// Package node runs scripts with the npm packages of web, so that tests can ask
// the reference libraries of the other side.
package node

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fettle.dev/fettle/internal/peer/tree"
)

// Run gives what a script (CommonJS) prints, given input as its standard input.
// Where Node or the package is missing the test is skipped, or fails where CI
// is set.
func Run(tb testing.TB, pkg, script, input string) string {
	tb.Helper()
	modules := filepath.Join(tree.Root(), "web", "node_modules")
	missing := tb.Skipf
	if os.Getenv("CI") != "" {
		missing = tb.Fatalf
	}
	if _, err := os.Stat(filepath.Join(modules, pkg)); err != nil {
		missing("npm package %s is missing (make web)", pkg)
	}
	program, err := exec.LookPath("node")
	if err != nil {
		missing("no node on this machine")
	}
	cmd := exec.CommandContext(tb.Context(), program, "-e", script) //nolint:gosec // a test's own script
	cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
	cmd.Stdin = strings.NewReader(input)
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		tb.Fatalf("node: %v\n%s%s", err, out.String(), failed.String())
	}
	return strings.TrimSpace(out.String())
}
