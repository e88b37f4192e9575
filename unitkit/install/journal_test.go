package install

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit"
)

func TestTheJournalKeepsAllOrNothing(t *testing.T) {
	t.Parallel()
	j := &Journal{
		State: Waiting, Update: &unitkit.Update{Action: 7, Targets: []unitkit.Target{{Component: "a", SHA256: "x"}}}, Tasks: []Step{{Done: true}},
		Got: map[string]int64{"x": 3}, Counters: map[string]uint64{"a": 1 << 60}, Choice: &Choice{Choice: NotNow},
	}
	raw, err := seal(j)
	require.NoError(t, err)
	back, err := decode(raw)
	require.NoError(t, err)
	require.Equal(t, j, back)
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 4
		_, err := decode(bad)
		require.ErrorIs(t, err, ErrJournal, "byte %d", i)
		_, err = decode(raw[:i])
		require.ErrorIs(t, err, ErrJournal, "cut at %d", i)
	}
	c := j.clone()
	require.Equal(t, j, c)
	c.Update.Action, c.Got["x"], c.Counters["a"], c.Tasks[0].Done = 8, 9, 9, false
	require.EqualValues(t, 7, j.Update.Action)
	require.EqualValues(t, 3, j.Got["x"])
	require.True(t, j.Tasks[0].Done)
}

func FuzzJournal(f *testing.F) {
	for _, j := range []*Journal{{State: Idle}, {State: Checking, Update: &unitkit.Update{Targets: make([]unitkit.Target, 1)}, Tasks: make([]Step, 1)}} {
		raw, err := seal(j)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := decode(b)
		if err != nil {
			require.ErrorIs(t, err, ErrJournal)
			return
		}
		require.NoError(t, j.valid())
	})
}
