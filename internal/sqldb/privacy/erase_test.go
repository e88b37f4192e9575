package privacy

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// mark stands in every text column of every row that the test makes of Ada's.
const mark = "MARK-ada-lovelace"

const (
	adaID, adaMail = "owner-ada-4711", "ada.mark@example.org"
	bobID, bobMail = "owner-bob-0815", "bob@example.org"
)

type schemaColumn struct {
	name, kind string
	needed     bool
}

// schema is the columns of a table with their types.
func schema(t *testing.T, db *sqldb.DB, table string) (out []schemaColumn) {
	t.Helper()
	query := `SELECT name, type, 1 FROM pragma_table_info(?) ORDER BY cid`
	if db.ForUpdate() != "" {
		query = `SELECT column_name, data_type, CASE WHEN is_identity = 'YES' OR column_default LIKE 'nextval%' THEN 0 ELSE 1 END
			FROM information_schema.columns WHERE table_name = ? AND table_schema = current_schema() ORDER BY ordinal_position`
	}
	found, err := db.Query(t.Context(), query, table)
	out, err = rows.Collect(found, err, func(r *sql.Rows) (c schemaColumn, err error) {
		var needed int
		err = r.Scan(&c.name, &c.kind, &needed)
		c.needed = needed == 1
		return c, err
	})
	require.NoError(t, err)
	return out
}

// who is somebody whose rows are made.
type who struct {
	id, mail, unit, mark string
	key                  int64
}

// row makes a row of the rule's table that belongs to somebody by the link:
// every column that is not needed to find it, or to keep what the law asks for,
// holds the mark.
func row(t *testing.T, db *sqldb.DB, r *Rule, l *link, p who, n int64) {
	t.Helper()
	kept := r.Set != nil || r.Scrub != nil
	var names []string
	var values []any
	for _, c := range schema(t, db, r.Table) {
		if !c.needed {
			continue
		}
		kind := strings.ToUpper(c.kind)
		var v any
		_, set := r.Set[c.name]
		switch {
		case c.name == l.column:
			switch l.of {
			case nobody:
			case owner:
				v = p.id
			case byOwner:
				v = "owner:" + p.id
			case email:
				v = p.mail
			case unit, wasUnit:
				v = p.unit
			case unitKey:
				v = p.key
			case inText:
				v = "unit " + p.unit + " is hot, " + p.mark
			case detectors:
				v = "heat"
			case through:
				v = fmt.Sprint("through-", n)
				if strings.HasPrefix(kind, "BIGINT") || strings.HasPrefix(kind, "INTEGER") {
					v = n
				}
			}
		case strings.HasPrefix(kind, "BOOL"):
			v = false
		case strings.HasPrefix(kind, "BIGINT"), strings.HasPrefix(kind, "INTEGER"), strings.HasPrefix(kind, "DOUBLE"):
			v = n
			if c.name == "unit_key" {
				v = p.key
			}
		case strings.HasPrefix(kind, "BLOB"), kind == "BYTEA":
			v = []byte(p.mark)
		case c.name == "unit_id" && l.of != unit && l.of != through: // found by the other column alone
			v = spare(t, db, n)
		case c.name == "unit_id":
			v = p.unit
		case c.name == "owner_id" && l.of == inText:
			v = ""
		case c.name == "doc" && r.Scrub != nil:
			fields := []string{`"id":"x"`}
			for _, f := range r.Scrub {
				fields = append(fields, fmt.Sprintf("%q:%q", f, p.mark))
			}
			v = "{" + strings.Join(fields, ",") + "}"
		case set && r.Table != "fleet_unit":
			v = p.mark
		case r.Table == "people_driver" && c.name == "person_id":
			v = otherID
		case references[r.Table+"."+c.name] != "":
			v = references[r.Table+"."+c.name]
		case kept:
			v = fmt.Sprintf("%s-%d", c.name, n)
		default:
			v = fmt.Sprintf("%s %s %d", p.mark, c.name, n)
		}
		names, values = append(names, c.name), append(values, v)
	}
	_, err := db.Exec(t.Context(), `INSERT INTO `+r.Table+` (`+strings.Join(names, ", ")+`) VALUES (?`+strings.Repeat(", ?", len(names)-1)+`)`, values...)
	require.NoError(t, err, "%s by %s", r.Table, l.column)
}

// otherID is somebody who stays.
const otherID = "owner-eve"

// spare makes a unit that is nobody's.
func spare(t *testing.T, db *sqldb.DB, n int64) string {
	t.Helper()
	id := fmt.Sprint("SPARE-", n)
	require.NoError(t, db.Fleet().PutUnits(t.Context(), []fleet.Unit{{ID: id, Key: 10_000 + n, Product: "wall-charger", Serial: id, State: fleet.UnitActive}}))
	return id
}

// references are columns that must name a row of another table.
var references = map[string]string{
	"cohort_member.snapshot": "snap", "campaign_task.campaign_id": "run", "tip_given.tip": "tip",
}

func prepare(t *testing.T, db *sqldb.DB, people []who) {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, db.Fleet().PutProduct(ctx, fleet.Product{Name: "wall-charger"}))
	for _, text := range []string{
		`INSERT INTO cohort_snapshot (id, name, product, definition, position, at, n_in, n_out, n_not, state, done, error, by_whom) VALUES ('snap', 'snap', 'wall-charger', '{}', 0, 0, 0, 0, 0, '', 0, '', '')`,
		`INSERT INTO campaign_run (id, name, product, state, next_at, doc) VALUES ('run', 'run', 'wall-charger', 'draft', 0, '{}')`,
		`INSERT INTO condition_detector (name, version, product, type, doc, deleted) VALUES ('heat', 1, 'wall-charger', 'tolerance', '{}', FALSE)`,
		`INSERT INTO tip_tip (name, product, version, doc) VALUES ('tip', 'wall-charger', 1, '{}')`,
	} {
		_, err := db.Exec(ctx, text)
		require.NoError(t, err)
	}
	_, err := db.Exec(ctx, `INSERT INTO fleet_owner (id, email, name, locale, time_zone) VALUES (?, 'eve@example.org', 'Eve', 'en', 'UTC')`, otherID)
	require.NoError(t, err)
	for _, p := range people {
		_, err := db.Exec(ctx, `INSERT INTO fleet_owner (id, email, name, locale, time_zone) VALUES (?, ?, ?, 'en', 'UTC')`, p.id, p.mail, p.mark+" name")
		require.NoError(t, err)
		require.NoError(t, db.Fleet().PutUnits(ctx, []fleet.Unit{{
			ID: p.unit, Key: p.key, Product: "wall-charger", Serial: p.unit, OwnerID: p.id, State: fleet.UnitActive,
			Attributes: map[string]string{"installer": p.mark, "market": "NO"}, Versions: map[string]string{"software": "1.0"},
		}}))
	}
	var shared []fleet.Unit
	for i := range Sharing {
		shared = append(shared, fleet.Unit{ID: fmt.Sprint("WC-9", i), Key: int64(900 + i), Product: "wall-charger", Serial: fmt.Sprint("s", i), State: fleet.UnitActive, Attributes: map[string]string{"market": "NO"}})
	}
	require.NoError(t, db.Fleet().PutUnits(ctx, shared))
}

// Ada stands in every table that can hold a person, by every way in which its
// rows can be hers, and so does Bob. The search finds all of it; then Ada is
// erased, and it finds nothing of her, and all of him.
func TestErasedFromEveryTable(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		dsn := sqldbtest.SQLiteDSN(t)
		db, err := sqldb.Open(t.Context(), dsn)
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		everyTable(t, db, func() []byte { return files(t, strings.TrimPrefix(dsn, "sqlite:")) })
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		db := sqldbtest.Postgres(t)
		everyTable(t, db, func() []byte { // what a dump holds
			dir := t.TempDir()
			require.NoError(t, db.Backup(t.Context(), dir))
			return files(t, filepath.Join(dir, "records-postgres", "x"))
		})
	})
}

// files are the bytes of all files beside one.
func files(t *testing.T, beside string) (all []byte) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(beside))
	require.NoError(t, err)
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(filepath.Dir(beside), e.Name()))
		require.NoError(t, err)
		all = append(all, raw...)
	}
	return all
}

func everyTable(t *testing.T, db *sqldb.DB, raw func() []byte) {
	t.Helper()
	ctx := t.Context()
	ada := who{adaID, adaMail, "WC-ADA1", mark, 1001}
	bob := who{bobID, bobMail, "WC-BOB1", "MARK-bob", 2002}
	prepare(t, db, []who{ada, bob})
	seeded := map[string]bool{}
	n := int64(10)
	for _, p := range []who{ada, bob} {
		var later []func()
		rules := Plan()
		for i := range rules {
			r := &rules[i]
			if r.None != "" || r.Table == "fleet_unit" || r.Table == "fleet_owner" {
				seeded[r.Table] = true
				continue
			}
			for j := range r.Links {
				l := &r.Links[j]
				if l.of == wasUnit { // TestOfAUnitThatHadTwoOwners
					continue
				}
				n++
				number := n
				seed := func() { row(t, db, r, l, p, number) }
				if l.of == through { // what it refers to must be there first
					later = append(later, func() {
						parent := Rule{Table: l.table}
						for k := range rules {
							if rules[k].Table == l.table {
								parent = rules[k]
								break
							}
						}
						key := `'through-` + fmt.Sprint(number) + `'`
						row(t, db, &parent, l.via, p, number)
						for _, c := range schema(t, db, l.table) {
							if c.name == l.key && strings.HasPrefix(strings.ToUpper(c.kind), "TEXT") || c.name == l.key && c.kind == "text" {
								_, err := db.Exec(ctx, `UPDATE `+l.table+` SET `+l.key+` = `+key+` WHERE `+l.key+` LIKE ?`, "%"+fmt.Sprint(number))
								require.NoError(t, err)
							}
						}
						if l.table == "update_assignment" && db.ForUpdate() != "" {
							_, err := db.Exec(ctx, `UPDATE update_assignment SET id = ? WHERE ref = ?`, number, fmt.Sprintf("ref-%d", number))
							require.NoError(t, err)
						}
						seed()
					})
				} else {
					seed()
				}
				seeded[r.Table] = true
			}
		}
		for _, fn := range later {
			fn()
		}
	}
	s := New(db).(store)
	texts := []string{mark, adaID, adaMail}
	before, columns, err := s.Search(ctx, texts)
	require.NoError(t, err)
	require.Greater(t, columns, 200)
	in := map[string]bool{}
	for _, p := range before {
		table, _, _ := strings.Cut(p.Where, ".")
		in[table] = true
	}
	for _, r := range Plan() {
		require.True(t, seeded[r.Table], r.Table)
		if r.None == "" {
			byUnitAlone := r.Scrub == nil && r.Set == nil && len(schemaTexts(t, db, r.Table)) == 0
			if !in[r.Table] && !byUnitAlone {
				t.Errorf("the search does not find the seed in %s", r.Table)
			}
		}
	}
	require.True(t, bytes.Contains(raw(), []byte(mark)), "the raw search finds what is there")

	sub, err := s.Subject(ctx, adaID)
	require.NoError(t, err)
	require.Equal(t, privacy.Subject{OwnerID: adaID, Email: adaMail, Units: []string{"WC-ADA1"}, Keys: []int64{1001}, Products: []string{"wall-charger"}, Spans: sub.Spans}, sub)
	require.Len(t, sub.Spans, 1, "the seed of her periods")
	counts, err := s.Erase(ctx, sub)
	require.NoError(t, err)
	require.Greater(t, len(counts), 25)
	again, err := s.Erase(ctx, sub)
	require.NoError(t, err, "again")
	require.NotContains(t, again, "fleet_owner")
	require.NoError(t, s.Compact(ctx))

	after, _, err := s.Search(ctx, texts)
	require.NoError(t, err)
	require.Empty(t, after)
	for _, text := range texts {
		all := raw()
		for _, form := range []string{text, utf16(text)} {
			if i := bytes.Index(all, []byte(form)); i >= 0 {
				t.Errorf("the files still hold %q: …%q…", text, all[max(0, i-60):min(len(all), i+60)])
			}
		}
	}
	// The unit is kept without her, and with what it shares with ten and more.
	u, err := db.Fleet().Unit(ctx, "WC-ADA1")
	require.NoError(t, err)
	require.Empty(t, u.OwnerID)
	require.Equal(t, map[string]string{"market": "NO"}, u.Attributes)
	// And all of Bob's is there.
	bobs, _, err := s.Search(ctx, []string{"MARK-bob", bobID, bobMail})
	require.NoError(t, err)
	with := map[string]bool{}
	for _, p := range bobs {
		table, _, _ := strings.Cut(p.Where, ".")
		with[table] = true
	}
	for table := range in {
		if !with[table] && table != "condition_backtest" { // results of a product's detectors go as a whole
			t.Errorf("what was Bob's went from %s", table)
		}
	}
}

// Of a unit that was hers before it was Bob's, what is of her time goes, and
// what was nobody's before; what is of his stays, and the other way about.
func TestOfAUnitThatHadTwoOwners(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		ada, bob := who{adaID, adaMail, "WC-1", mark, 1001}, who{bobID, bobMail, "WC-2", "MARK-bob", 2002}
		prepare(t, db, []who{ada, bob})
		exec := func(text string, args ...any) {
			t.Helper()
			_, err := db.Exec(ctx, text, args...)
			require.NoError(t, err)
		}
		exec(`UPDATE fleet_unit SET owner_id = ? WHERE id = 'WC-1'`, bobID)
		for i, p := range []struct {
			owner    string
			from, to int64
		}{{adaID, 100, 200}, {bobID, 200, 0}} {
			exec(`INSERT INTO people_period (id, unit_id, owner_id, from_at, to_at) VALUES (?, 'WC-1', ?, ?, ?)`, fmt.Sprint("p", i), p.owner, p.from, p.to)
		}
		for _, at := range []int64{50, 150, 199, 200, 250} {
			exec(`INSERT INTO condition_prediction (detector, unit_id, at, doc) VALUES ('heat', 'WC-1', ?, '{}')`, at)
			exec(`INSERT INTO fleet_maintenance (id, unit_id, at, part, kind, reason, batch, serial, version, note, made_by, entered_at, told) VALUES (?, 'WC-1', ?, 'relay', 'check', '', '', '', '', 'a note', '', ?, FALSE)`, fmt.Sprint("m", at), at, at)
		}
		exec(`INSERT INTO condition_prediction (detector, unit_id, at, doc) VALUES ('heat', 'WC-2', 150, '{}')`)
		exec(`INSERT INTO update_attributes (unit_id, doc) VALUES ('WC-1', '{"hostname":"her.lan"}')`)
		left := func(query string) (out []int64) {
			t.Helper()
			found, err := db.Query(ctx, query)
			out, err = rows.Collect(found, err, func(r *sql.Rows) (at int64, err error) { return at, r.Scan(&at) })
			require.NoError(t, err)
			return out
		}
		s := New(db).(store)
		sub, err := s.Subject(ctx, adaID)
		require.NoError(t, err)
		require.Empty(t, sub.Units)
		require.Equal(t, []privacy.Span{{UnitID: "WC-1", UnitKey: 1001, To: rows.Time(200)}}, sub.Spans)
		his, err := s.Subject(ctx, bobID)
		require.NoError(t, err)
		require.Equal(t, []privacy.Span{{UnitID: "WC-1", UnitKey: 1001, From: rows.Time(200)}}, his.Spans)
		require.False(t, his.Whole("WC-1"))
		require.True(t, his.Whole("WC-2"))
		_, err = s.Erase(ctx, sub)
		require.NoError(t, err)
		require.NoError(t, s.EraseFound(ctx, sub))
		require.Equal(t, []int64{200, 250}, left(`SELECT at FROM condition_prediction WHERE unit_id = 'WC-1' ORDER BY at`))
		require.Equal(t, []int64{200, 250}, left(`SELECT at FROM fleet_maintenance WHERE note <> '' ORDER BY at`))
		require.Empty(t, left(`SELECT 1 FROM update_attributes`), "what it said of itself")
		u, err := db.Fleet().Unit(ctx, "WC-1")
		require.NoError(t, err)
		require.Equal(t, bobID, u.OwnerID)
		_, err = s.Erase(ctx, his)
		require.NoError(t, err)
		require.Empty(t, left(`SELECT at FROM condition_prediction`))
	})
}

// schemaTexts are the columns of a table that hold text or bytes.
func schemaTexts(t *testing.T, db *sqldb.DB, table string) (out []string) {
	t.Helper()
	for _, c := range schema(t, db, table) {
		if slices.Contains([]string{"TEXT", "BLOB", "BYTEA"}, strings.ToUpper(c.kind)) && !slices.Contains([]string{"unit_id", "detector"}, c.name) {
			out = append(out, c.name)
		}
	}
	return out
}

func utf16(s string) string {
	var b strings.Builder
	for _, r := range []byte(s) {
		b.WriteByte(r)
		b.WriteByte(0)
	}
	return b.String()
}
