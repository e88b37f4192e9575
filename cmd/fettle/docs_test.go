package main

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every command line in the documents is one that this program takes: the
// command is there, its flags too, and in blocks also the number of arguments.
func TestCommandsInDocuments(t *testing.T) {
	t.Parallel()
	inline := regexp.MustCompile("`((?:bin/)?fettle [a-z][^`]+)`")
	lines := 0
	for _, doc := range documents(t) {
		raw, err := os.ReadFile(doc)
		require.NoError(t, err)
		block := false
		text := strings.ReplaceAll(string(raw), "\\\n", " ")
		for i, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				block = !block
				continue
			}
			var found []string
			if block {
				line, _, _ = strings.Cut(line, "# ")
				found = commands(line)
			} else {
				for _, m := range inline.FindAllStringSubmatch(line, -1) {
					found = append(found, commands(m[1])...)
				}
			}
			for _, c := range found {
				lines++
				if err := takes(c, block); err != nil {
					t.Errorf("%s, near line %d: %s: %v", doc, i+1, c, err)
				}
			}
		}
	}
	require.Greater(t, lines, 100, "the documents have command lines, and they are found")
	require.Error(t, takes("fettle token creat", false))
	require.Error(t, takes("fettle token create --scop read", false))
	require.Error(t, takes("fettle describe unit", true))
}

func TestTargetsInDocuments(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	named := regexp.MustCompile("(?m)(?:`|^)make (?:-s )?([a-z][a-z-]*)")
	for _, doc := range documents(t) {
		raw, err := os.ReadFile(doc)
		require.NoError(t, err)
		for _, m := range named.FindAllSubmatch(raw, -1) {
			require.Contains(t, string(makefile), "\n"+string(m[1])+":", doc)
		}
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	docs := []string{"../../README.md", "../../ARCHITECTURE.md", "../../CHANGELOG.md"}
	require.NoError(t, filepath.WalkDir("../../docs", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			docs = append(docs, path)
		}
		return err
	}))
	return docs
}

var (
	start = regexp.MustCompile(`(^|[\s(;=])(?:[\w./]*/)?fettle [a-z]`)
	stop  = regexp.MustCompile(`(?:^|\s)(?:#|\||>|<|&&|;|2>|&).*$|[;)].*$`)
	quote = regexp.MustCompile(`"[^"]*"|'[^']*'|\$\([^)]*\)`)
)

// commands finds the command lines of fettle in a line of shell.
func commands(line string) []string {
	line = quote.ReplaceAllString(line, "X")
	var out []string
	for _, at := range start.FindAllStringIndex(line, -1) {
		from := strings.Index(line[at[0]:], "fettle ") + at[0]
		words := strings.Fields(stop.ReplaceAllString(line[from:], ""))
		if words[1] == "unix" { // of Postfix's master.cf
			continue
		}
		for i, word := range words {
			if i > 2 || !strings.Contains(word, "|") {
				continue
			}
			for other := range strings.SplitSeq(word, "|") {
				out = append(out, strings.Join(append(append(slices.Clone(words[:i]), other), words[i+1:]...), " "))
			}
			words = nil
		}
		if words != nil {
			out = append(out, strings.Join(words, " "))
		}
	}
	return out
}

// takes reports why the program does not take a command line; whole says that
// nothing is left out of it.
func takes(line string, whole bool) error {
	began := false
	root := newRootCmd(&began)
	line = strings.NewReplacer("[", "", "]", "", "...", "", "…", "X").Replace(line)
	cmd, rest, err := root.Find(strings.Fields(line)[1:])
	if err != nil {
		return err
	}
	cmd.SetOut(io.Discard)
	err = cmd.ParseFlags(rest)
	if err != nil && (strings.Contains(err.Error(), "help requested") || !whole && strings.Contains(err.Error(), "needs an argument")) {
		return nil
	}
	args := cmd.Flags().Args()
	switch {
	case err != nil:
		return err
	case whole || cmd.HasSubCommands():
		return cmd.ValidateArgs(args)
	}
	return nil
}

func TestExitStatusOfWrongCommandLines(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"nonsense"}, {"keys", "nonsense"}, {"keys", "root", "nonsense"}, {"token", "create"}, {"token", "create", "--nonsense"}, {"describe", "unit"}} {
		require.Equal(t, exitUsage, run(context.Background(), args, strings.NewReader(""), io.Discard, io.Discard), args)
	}
	var out, errOut strings.Builder
	require.Zero(t, run(context.Background(), []string{"keys", "root"}, strings.NewReader(""), &out, &errOut), "asked for nothing, it says what there is")
	require.Contains(t, out.String(), "rotate")
	require.Equal(t, exitUsage, run(context.Background(), []string{"campaign", "cancl", "x"}, strings.NewReader(""), &out, &errOut))
	require.Contains(t, errOut.String(), `unknown command "cancl" for "fettle campaign": did you mean cancel?`)
}
