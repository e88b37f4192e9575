package sqldb_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/signin"
)

const links = 30

func link(n int) access.Link {
	return access.Link{Hash: fmt.Sprintf("hash-%d", n), Party: access.PartyOperator, Subject: "s", CreatedAt: time.UnixMilli(1), ExpiresAt: time.UnixMilli(int64(n + 2))}
}

// image is a directory of records as kill -9 leaves it, and the number of the
// transaction that was the last one then.
func image(t *testing.T, writes int) (dir string, reached uint32) {
	t.Helper()
	home := t.TempDir()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(home, "records.db"))
	require.NoError(t, err)
	db.Committed(func(n uint32) { reached = n })
	for n := range writes {
		require.NoError(t, signin.New(db).AddLink(t.Context(), link(n)))
	}
	require.EqualValues(t, writes, reached)
	dir = filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.CopyFS(dir, os.DirFS(home)))
	require.NoError(t, db.Close())
	return dir, reached
}

// kept opens records and counts the links they hold, or gives the refusal.
func kept(t *testing.T, dir string, reached uint32) (int, error) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(dir, "records.db"))
	if err != nil {
		return 0, err
	}
	defer func() { require.NoError(t, db.Close()) }()
	if err := db.Check(t.Context(), reached); err != nil {
		return 0, err
	}
	n := 0
	for i := range links + 1 {
		if _, err := signin.New(db).UseLink(t.Context(), access.PartyOperator, link(i).Hash); err == nil {
			n++
		}
	}
	return n, nil
}

func TestDamageOfTheLogIsNamed(t *testing.T) {
	t.Parallel()
	from, reached := image(t, links)
	wal, err := os.ReadFile(filepath.Join(from, "records.db-wal"))
	require.NoError(t, err)
	frame := 24 + int(binary.BigEndian.Uint32(wal[8:]))
	frames := (len(wal) - 32) / frame
	require.Greater(t, frames, links)
	for _, at := range []int{0, 9, 33, 32 + frame*(frames/2), 32 + frame*(frames/2) + 50, 32 + frame*(frames-1) + 5, 32 + frame*(frames-1) + 1000, 32 + frame*frames - 1} {
		for name, damage := range disk.Damages {
			t.Run(fmt.Sprintf("%s at %d", name, at), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "x")
				require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "records.db-wal"), damage(append([]byte{}, wal...), at), 0o600))
				n, err := kept(t, dir, reached)
				if err == nil { // beyond what the log holds
					require.Equal(t, links, n)
					return
				}
				require.ErrorIs(t, err, sqldb.ErrDamaged)
			})
		}
	}
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "x")
		require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
		n, err := kept(t, dir, reached)
		require.NoError(t, err)
		require.Equal(t, links, n)
	})
	for _, gone := range []string{"records.db", "records.db-wal"} {
		t.Run("without "+gone, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "x")
			require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
			require.NoError(t, os.Remove(filepath.Join(dir, gone)))
			_, err := kept(t, dir, reached)
			require.ErrorIs(t, err, sqldb.ErrDamaged)
		})
	}
}

// A transaction whose commit was not synced was never promised to anybody.
func TestTornTailOfTheLog(t *testing.T) {
	t.Parallel()
	from, reached := image(t, links)
	synced, err := os.ReadFile(filepath.Join(from, "records.db-wal"))
	require.NoError(t, err)
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(copied(t, from), "records.db"))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	later := copied(t, from)
	db, err = sqldb.Open(t.Context(), "sqlite:"+filepath.Join(later, "records.db"))
	require.NoError(t, err)
	require.NoError(t, signin.New(db).AddLink(t.Context(), link(links)))
	more, err := os.ReadFile(filepath.Join(later, "records.db-wal"))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.Greater(t, len(more), len(synced))
	require.Equal(t, synced, more[:len(synced)])
	for _, at := range []int{len(synced), len(synced) + 3, len(synced) + 30, len(synced) + 4000, len(more) - 1} {
		for name, damage := range disk.Damages {
			t.Run(fmt.Sprintf("%s at %d", name, at-len(synced)), func(t *testing.T) {
				t.Parallel()
				dir := copied(t, from)
				require.NoError(t, os.WriteFile(filepath.Join(dir, "records.db-wal"), damage(append([]byte{}, more...), at), 0o600))
				n, err := kept(t, dir, reached)
				require.NoError(t, err)
				require.Equal(t, links, n)
			})
		}
	}
}

func copied(t *testing.T, from string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "x")
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	return dir
}

// A file that is not a database, or that lacks pages, is named.
func TestDamageOfTheFileIsNamed(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	file := filepath.Join(home, "records.db")
	db, err := sqldb.Open(t.Context(), "sqlite:"+file)
	require.NoError(t, err)
	var reached uint32
	db.Committed(func(n uint32) { reached = n })
	for n := range links {
		require.NoError(t, signin.New(db).AddLink(t.Context(), link(n)))
	}
	require.NoError(t, db.Close())
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, at := range []int{0, 1, 100, 5000, len(whole) / 2, len(whole) - 4096} {
		for _, name := range []string{"cut", "zeroed", "garbled"} {
			t.Run(fmt.Sprintf("%s at %d", name, at), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				require.NoError(t, os.WriteFile(filepath.Join(dir, "records.db"), disk.Damages[name](append([]byte{}, whole...), at), 0o600))
				_, err := kept(t, dir, reached)
				require.ErrorIs(t, err, sqldb.ErrDamaged)
			})
		}
	}
}

func TestNumbersGoRound(t *testing.T) {
	t.Parallel()
	require.True(t, sqldb.Before(1, 2))
	require.False(t, sqldb.Before(2, 2))
	require.False(t, sqldb.Before(3, 2))
	require.True(t, sqldb.Before(1<<31-1, 1), "the first comes after the last")
	require.False(t, sqldb.Before(1, 1<<31-1))
	require.True(t, sqldb.Before(0, 1), "a new file")
}
