// Package recording finds the recordings that tests develop against, and keeps
// count of those that were used. For tests only.
package recording

import (
	"os"
	"path/filepath"
	"testing"

	"fettle.dev/fettle/internal/peer/tree"
)

// Dir is FETTLE_DATA, or ../shared/data beside the repository's root.
func Dir() string {
	if d := os.Getenv("FETTLE_DATA"); d != "" {
		return d
	}
	return filepath.Join(tree.Root(), "..", "shared", "data")
}

// Path gives a recording's file. Where there are no recordings the test is
// skipped by name; where there are some (or shared/ stands beside the clone),
// one that is missing is a failure.
func Path(tb testing.TB, name string) string {
	tb.Helper()
	path := filepath.Join(Dir(), filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		if _, err := os.Stat(Dir()); err == nil {
			tb.Fatalf("recording %s is not in %s", name, Dir())
		}
		tb.Skipf("no recordings: %s needs %s (set FETTLE_DATA)", tb.Name(), name)
	}
	if log := os.Getenv("FETTLE_RECORDINGS_LOG"); log != "" {
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the Makefile names it
		if err != nil {
			tb.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(name + "\n"); err != nil {
			tb.Fatal(err)
		}
	}
	return path
}
