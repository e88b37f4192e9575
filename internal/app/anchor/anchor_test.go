package anchor_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/app/anchor"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/trail"
)

// Whoever changes the records alone is found out, also where they leave a chain
// that is whole by itself, and the service writes on afterwards.
func TestTheRecordsAloneCannotBeTamperedWith(t *testing.T) {
	t.Parallel()
	const head = `UPDATE audit_head SET seq = 4, hash = (SELECT hash FROM audit_entry WHERE seq = 4)`
	cases := map[string]struct {
		tamper []string
		broken int64
	}{
		"nothing":                       {},
		"an entry is changed":           {[]string{`UPDATE audit_entry SET entry = REPLACE(entry, 'op3', 'op9')`}, 4},
		"with its hash":                 {[]string{`UPDATE audit_entry SET hash = 'ff' WHERE seq = 3`}, 3},
		"an entry is left out":          {[]string{`DELETE FROM audit_entry WHERE seq = 3`}, 3},
		"the first goes":                {[]string{`DELETE FROM audit_entry WHERE seq = 1`}, 1},
		"the end goes":                  {[]string{`DELETE FROM audit_entry WHERE seq > 4`}, 5},
		"the end goes, and the head":    {[]string{`DELETE FROM audit_entry WHERE seq > 4`, head}, 6},
		"all goes":                      {[]string{`DELETE FROM audit_entry`, `UPDATE audit_head SET seq = 0, hash = ''`}, 6},
		"the head alone":                {[]string{`UPDATE audit_head SET hash = 'ff'`}, 6},
		"an entry is put in at the end": {[]string{`INSERT INTO audit_entry SELECT 7, at, kind, actor, operation, object, REPLACE(entry, '"seq":6', '"seq":7'), hash FROM audit_entry WHERE seq = 6`}, 7},
		"an entry is filed under another operation": {[]string{`UPDATE audit_entry SET operation = 'x' WHERE seq = 3`}, 3},
		"under another time":                        {[]string{`UPDATE audit_entry SET at = at + 1 WHERE seq = 2`}, 2},
		"under nobody's name":                       {[]string{`DELETE FROM audit_about`}, 1},
		"two entries change their place":            {[]string{`DELETE FROM audit_about WHERE seq IN (2, 3)`, `UPDATE audit_entry SET seq = 99 WHERE seq = 2`, `UPDATE audit_entry SET seq = 2 WHERE seq = 3`, `UPDATE audit_entry SET seq = 3 WHERE seq = 99`}, 2},
	}
	for name, c := range cases {
		for _, goesOn := range []bool{false, true} {
			t.Run(fmt.Sprint(name, goesOn), func(t *testing.T) {
				t.Parallel()
				db := sqldbtest.SQLite(t)
				file := filepath.Join(t.TempDir(), anchor.Name)
				open := func() *audit.Trail { return newTrail(db, file) }
				tr := open()
				write(t, tr, 0, 6)
				for _, statement := range c.tamper {
					_, err := db.Exec(t.Context(), statement)
					require.NoError(t, err)
				}
				if goesOn {
					for i := range 5 { // more than were cut off
						_ = tr.Append(t.Context(), entry(100+i))
					}
					tr = open() // and after a restart
					_ = tr.Append(t.Context(), entry(200))
				}
				_, err := open().Verify(t.Context(), nil)
				if c.broken == 0 {
					require.NoError(t, err)
					return
				}
				broken, ok := audit.Broken(err)
				require.True(t, ok, "%v", err)
				require.Positive(t, broken.Seq)
				if !goesOn {
					require.Equal(t, c.broken, broken.Seq, "%v", err)
				}
			})
		}
	}
}

var noon = time.Unix(1_800_000_000, 0)

func newTrail(db *sqldb.DB, file string) *audit.Trail { return at(db, file, clock.NewManual(noon)) }

func at(db *sqldb.DB, file string, c clock.Clock) *audit.Trail {
	log := slog.New(slog.DiscardHandler)
	s := trail.New(db)
	return audit.New(audit.Config{Store: s, Tx: db, Clock: c, Log: log, Keeper: anchor.New(file, s, log)})
}

func entry(n int) audit.Entry {
	return audit.Entry{Kind: audit.Change, Actor: audit.Actor{Party: audit.Server, ID: "test"}, Operation: fmt.Sprint("op", n), About: []string{"owner-1"}, Outcome: audit.Done}
}

func write(t *testing.T, tr *audit.Trail, from, n int) {
	t.Helper()
	for i := range n {
		require.NoError(t, tr.Append(t.Context(), entry(from+i)))
	}
}

// What goes by age takes the kept head along, two processes share a file, and a
// file that is no head says so.
func TestTheFileIsKeptUp(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	file := filepath.Join(t.TempDir(), anchor.Name)
	now := clock.NewManual(noon)
	service, command := at(db, file, now), at(db, file, now)
	write(t, service, 0, 3)
	write(t, command, 3, 2)
	write(t, service, 5, 3)
	write(t, command, 8, 1)
	now.Advance(time.Hour)
	require.NoError(t, service.Expire(t.Context(), noon.Add(time.Minute)))
	head, err := command.Verify(t.Context(), nil)
	require.NoError(t, err)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(raw), head.String())
	require.NoError(t, os.WriteFile(file, []byte("something else"), 0o600))
	_, err = command.Verify(t.Context(), nil)
	require.ErrorContains(t, err, "holds no head")
}
