package wear_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/cmd/fettle/remote/wear"
)

func day(s string) (time.Time, error) { return time.Parse(time.DateOnly, s) }

func TestRead(t *testing.T) {
	t.Parallel()
	entries, mistakes, err := wear.Read(strings.NewReader("\xef\xbb\xbfUnit; AT ;kind;note\nA;2026-01-02;Failure;\"two\nlines; and a semicolon\"\n\nB;soon;failure;\nC;2026-01-03\nD;2026-01-04;failure;\"x\"y\nE;2026-01-05;maintenance;z\n"), day)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.Equal(t, []int{2, 8}, []int{entries[0].Line, entries[1].Line})
	require.Equal(t, "two\nlines; and a semicolon", entries[0].Note)
	require.EqualValues(t, "failure", entries[0].Kind)
	require.Len(t, mistakes, 3)
	require.Equal(t, []int{5, 6, 7}, []int{mistakes[0].Line, mistakes[1].Line, mistakes[2].Line})
}

// Whatever the file: entries and mistakes with lines, or a refusal.
func FuzzRead(f *testing.F) {
	f.Add("unit,at,kind\nA,2026-01-02,failure\n")
	f.Add("unit;at;kind;note\nA;2026-01-02;failure;\"x\"y\n\"")
	f.Add("\xef\xbb\xbfunit,at,kind\n,,\n")
	f.Fuzz(func(t *testing.T, text string) {
		entries, mistakes, err := wear.Read(strings.NewReader(text), day)
		if err != nil {
			return
		}
		lines := 2 + strings.Count(text, "\n")
		for _, e := range entries {
			require.Positive(t, e.Line)
			require.LessOrEqual(t, e.Line, lines)
		}
		for _, m := range mistakes {
			require.Positive(t, m.Line)
			require.NotEmpty(t, m.Text)
		}
	})
}
