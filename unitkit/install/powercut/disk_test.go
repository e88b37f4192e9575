package powercut_test

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit/install"
	"fettle.dev/fettle/unitkit/install/powercut"
)

func disk(seed uint64) *powercut.Disk { return powercut.New(rand.New(rand.NewPCG(seed, 0))) }

func put(t *testing.T, d *powercut.Disk, name, text string, sync bool) {
	t.Helper()
	f, err := d.Create(name, 0o600)
	require.NoError(t, err)
	_, err = io.WriteString(f, text)
	require.NoError(t, err)
	if sync {
		require.NoError(t, f.Sync())
	}
	require.NoError(t, f.Close())
}

// outcomes are the contents that a file can have after a power cut; "none": it is gone.
func outcomes(t *testing.T, name string, do func(d *powercut.Disk)) map[string]int {
	t.Helper()
	seen := map[string]int{}
	for seed := range uint64(300) {
		d := disk(seed)
		require.NoError(t, d.WriteFile("/old", 0o600, []byte("old")))
		do(d)
		d.Restart()
		b, err := d.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			seen["none"]++
		} else {
			require.NoError(t, err)
			seen[string(b)]++
		}
	}
	return seen
}

func TestWhatAPowerCutMayDo(t *testing.T) {
	t.Parallel()
	keys := func(m map[string]int) (k []string) {
		for s := range m {
			k = append(k, s)
		}
		return k
	}
	unsynced := keys(outcomes(t, "/f", func(d *powercut.Disk) { put(t, d, "/f", "new", false) }))
	require.Subset(t, unsynced, []string{"none", "", "new", "\x00\x00\x00"})
	require.Greater(t, len(unsynced), 4, "what stood on the disk before may be seen")
	require.ElementsMatch(t, []string{"none", "new"}, keys(outcomes(t, "/f", func(d *powercut.Disk) { put(t, d, "/f", "new", true) })), "its name is not synced")
	require.Equal(t, []string{"new"}, keys(outcomes(t, "/f", func(d *powercut.Disk) {
		put(t, d, "/f", "new", true)
		require.NoError(t, d.SyncDir("/"))
	})))
	require.ElementsMatch(t, []string{"old", "new"}, keys(outcomes(t, "/old", func(d *powercut.Disk) {
		put(t, d, "/f", "new", true)
		require.NoError(t, d.Rename("/f", "/old"))
	})), "a rename is atomic")
	require.Contains(t, keys(outcomes(t, "/old", func(d *powercut.Disk) {
		put(t, d, "/f", "new", false)
		require.NoError(t, d.Rename("/f", "/old"))
	})), "", "a rename does not bring the bytes along")
	require.ElementsMatch(t, []string{"old", "none"}, keys(outcomes(t, "/old", func(d *powercut.Disk) { require.NoError(t, d.Remove("/old")) })))
	torn := 0
	for s := range outcomes(t, "/old", func(d *powercut.Disk) {
		f, err := d.Append("/old", 3)
		require.NoError(t, err)
		_, err = io.WriteString(f, strings.Repeat("x", 5*powercut.Sector))
		require.NoError(t, err)
	}) {
		require.Equal(t, "old", s[:3], "what was there is untouched")
		if s = strings.Trim(s[3:], "x"); s != "" {
			torn++
		}
	}
	require.Greater(t, torn, 10, "some sectors, and not others")
}

func TestTheDiskIsAFileSystem(t *testing.T) {
	t.Parallel()
	d := disk(1)
	require.NoError(t, d.Mkdir("/a", 0o755))
	put(t, d, "/a/f", "text", true)
	require.NoError(t, d.Symlink("a", "/l"))
	b, err := d.ReadFile("/l/f")
	require.NoError(t, err)
	require.Equal(t, "text", string(b))
	require.NoError(t, d.Link("/a/f", "/a/g"))
	require.NoError(t, d.Rename("/a/f", "/a/g"), "two names of one file")
	list, err := d.ReadDir("/a")
	require.NoError(t, err)
	require.Len(t, list, 2, "stay two, as rename(2) has it")
	put(t, d, "/b", "", true)
	require.ErrorIs(t, d.Rename("/b", "/a/b"), syscall.EXDEV)
	require.ErrorIs(t, d.Remove("/a"), syscall.ENOTEMPTY)
	require.ErrorIs(t, d.Mkdir("/a", 0o755), fs.ErrExist)
	require.ErrorIs(t, d.Remove("/none"), fs.ErrNotExist)
	require.NoError(t, d.Symlink("loop", "/loop"))
	_, err = d.Open("/loop")
	require.ErrorIs(t, err, syscall.ELOOP)
	f, err := d.Open("/b")
	require.NoError(t, err)
	d.Restart()
	_, err = f.Read(make([]byte, 1))
	require.Error(t, err, "opened before the power was cut")
}

func TestStepsFailAndCut(t *testing.T) {
	t.Parallel()
	d := disk(1)
	full := errors.New("full")
	d.FailAt, d.FailWith = 2, full
	f, err := d.Create("/f", 0o600)
	require.NoError(t, err)
	_, err = f.Write([]byte("x"))
	require.ErrorIs(t, err, full)
	_, err = f.Write([]byte("x"))
	require.NoError(t, err, "once")
	d.CutAt = 4
	require.PanicsWithValue(t, powercut.Cut{Step: 4, What: "sync /f"}, func() { _ = f.Sync() })
	require.Equal(t, 4, d.Steps())
}

var _ install.FS = disk(0)
