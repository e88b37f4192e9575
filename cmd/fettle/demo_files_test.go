package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files of the demo are embedded as they stand in the tree, so that people
// can read and copy them.
func TestDemoFilesAreEmbedded(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("demo/*.yaml")
	require.NoError(t, err)
	require.Len(t, paths, 4)
	for _, path := range paths {
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		got, err := fs.ReadFile(demoFiles, path)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got))
	}
}

func TestDemoRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, value, want string }{
		{"--units", "3", "expected 25 to 200000"},
		{"--remedy", "prayer", "expected update or placebo"},
		{"--speed", "-1", "expected 1 to 200000"},
	} {
		cmd := newDemoCmd()
		cmd.SetArgs([]string{c.flag, c.value})
		cmd.SilenceErrors = true
		cmd.SilenceUsage = true
		require.ErrorContains(t, cmd.ExecuteContext(t.Context()), c.want)
	}
}
