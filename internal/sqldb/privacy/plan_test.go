package privacy

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// Every table of the records has a rule that says what becomes of a person in
// it, and every column that a rule names is there.
func TestEveryTableHasARule(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		s := store{db}
		columns, err := s.columns(t.Context())
		require.NoError(t, err)
		require.Greater(t, len(columns), 100)
		known := map[string]map[string]bool{}
		for _, c := range columns {
			if known[c.Table] == nil {
				known[c.Table] = map[string]bool{}
			}
			known[c.Table][c.Name] = true
		}
		ruled := map[string]bool{}
		for _, r := range Plan() {
			ruled[r.Table] = true
			if known[r.Table] == nil {
				if r.Table != "sqlite_sequence" { // of SQLite alone
					t.Errorf("the rule for %s is of no table", r.Table)
				}
				continue
			}
			if (r.None == "") == (len(r.Links) == 0) {
				t.Errorf("the rule for %s must say how rows belong to a person, or why none do", r.Table)
			}
			for _, l := range r.Links {
				for in := &l; in != nil; in = in.via {
					table := r.Table
					if in != &l {
						table = l.table
					}
					if !known[table][in.column] {
						t.Errorf("the rule for %s names column %s.%s, which there is not", r.Table, table, in.column)
					}
				}
			}
			for column := range r.Set {
				if !known[r.Table][column] {
					t.Errorf("the rule for %s sets column %s, which there is not", r.Table, column)
				}
			}
			if _, ok := map[bool]string{true: r.Kept}[r.Kept != ""]; ok {
				j := privacy.Job{Counts: []privacy.Count{{Place: r.Table, Blanked: 1, Kept: r.Kept}}}
				require.NotEmpty(t, j.Receipt().Kept[0].Why, "%s: what is kept needs a reason: %s", r.Table, r.Kept)
			}
		}
		for table, names := range known {
			if !ruled[table] {
				t.Errorf("table %s has no rule: say in internal/sqldb/privacy/others.go what becomes of its rows when a person is erased", table)
			}
			for _, r := range Plan() { // a column that by its name refers to a person needs more than a reason
				if r.Table == table && r.None != "" && (names["owner_id"] || names["person_id"] || names["email"] || names["recipient"]) && !strings.HasPrefix(table, "access_") {
					t.Errorf("table %s has a column for a person, and a rule that says there is none", table)
				}
			}
		}
	})
}
