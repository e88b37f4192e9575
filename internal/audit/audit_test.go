package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"fettle.dev/fettle/internal/audit/chain"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/trail"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newTrail(db *sqldb.DB) (*audit.Trail, *clock.Manual) {
	c := clock.NewManual(noon)
	return audit.New(audit.Config{Store: trail.New(db), Tx: db, Clock: c, Log: slog.New(slog.DiscardHandler)}), c
}

func all(t *testing.T, tr *audit.Trail, f audit.Filter) (out []audit.Entry) {
	t.Helper()
	records, err := tr.Store().Records(t.Context(), f)
	require.NoError(t, err)
	for _, r := range records {
		var e audit.Entry
		require.NoError(t, json.Unmarshal(r.Entry, &e))
		out = append(out, e)
	}
	return out
}

func verify(ctx context.Context, tr *audit.Trail) error {
	_, err := tr.Verify(ctx, nil)
	return err
}

var admin = audit.Actor{Party: audit.Operator, ID: "op-1", Role: "admin", Via: "session", Of: "s1"}

// The entry of a change and the change stand together or not at all.
func TestEntryAndChangeAreOne(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		tr, _ := newTrail(db)
		put := func(ctx context.Context, name string) error {
			return db.Fleet().PutProduct(ctx, fleet.Product{Name: name})
		}
		begin := func() (context.Context, *audit.Operation) {
			return tr.Begin(t.Context(), audit.Entry{Kind: audit.Change, Actor: admin, From: "192.0.2.1", Operation: "putProduct", Object: "products/a"})
		}

		ctx, op := begin()
		audit.Changed(ctx, "title")
		audit.About(ctx, "owner-1", "")
		require.NoError(t, put(ctx, "a"), "outside of a transaction, too")
		require.Len(t, all(t, tr, audit.Filter{}), 1, "before the answer")
		require.NoError(t, put(ctx, "b"))
		require.NoError(t, op.End(ctx, 200))
		require.NoError(t, op.End(ctx, 200))
		entries := all(t, tr, audit.Filter{})
		require.Len(t, entries, 1)
		e := entries[0]
		require.Equal(t, audit.Done, e.Outcome)
		require.Equal(t, []string{"title"}, e.Changed)
		require.Equal(t, admin, e.Actor)
		require.Equal(t, "192.0.2.1", e.From)
		who, err := tr.Person(t.Context(), "owner-1")
		require.NoError(t, err)
		require.Equal(t, []string{who.Alias}, e.About)
		require.NotContains(t, who.Alias, "owner-1")

		ctx, op = begin()
		err = db.InTx(ctx, func(ctx context.Context) error {
			require.NoError(t, put(ctx, "c"))
			return errors.New("no")
		})
		require.Error(t, err)
		require.NoError(t, op.End(ctx, 500))
		entries = all(t, tr, audit.Filter{})
		require.Len(t, entries, 2, "rolled back with its entry; what is entered is that it failed")
		require.Equal(t, audit.Failed, entries[1].Outcome)
		require.Equal(t, 500, entries[1].Status)

		// A trail that cannot be written stops the change.
		_, err = db.Exec(t.Context(), `DELETE FROM audit_head`)
		require.NoError(t, err)
		ctx, _ = begin()
		require.ErrorContains(t, put(ctx, "d"), "audit trail")
		_, err = db.Fleet().Product(t.Context(), "d")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}

func TestLooksAreEnteredOnceInAWhile(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		tr, c := newTrail(db)
		look := func(actor audit.Actor, owners ...string) {
			ctx, op := tr.Begin(t.Context(), audit.Entry{Kind: audit.Look, Actor: actor, Operation: "getUnit", Object: "units/WC-1", Data: audit.DataContact})
			require.NoError(t, audit.Looked(ctx, owners...))
			require.NoError(t, op.End(ctx, 200))
		}
		look(admin, "o1")
		look(admin, "o1", "o2", "")
		look(admin, "o1")
		require.Len(t, all(t, tr, audit.Filter{}), 2)
		look(audit.Actor{Party: audit.Owner, ID: "o1"}, "o1")
		require.Len(t, all(t, tr, audit.Filter{}), 2, "one's own data")
		c.Advance(audit.Window)
		look(admin, "o1")
		entries := all(t, tr, audit.Filter{Newest: true})
		require.Len(t, entries, 3)
		require.Equal(t, 2, entries[0].Count, "looks since the entry before")

		many := make([]string, 450)
		for i := range many {
			many[i] = fmt.Sprint("many-", i)
		}
		look(admin, many...)
		require.Len(t, all(t, tr, audit.Filter{}), 6)
		who, err := tr.Person(t.Context(), "many-77")
		require.NoError(t, err)
		require.Len(t, all(t, tr, audit.Filter{About: []string{who.Alias}}), 1)

		ctx, op := tr.Begin(t.Context(), audit.Entry{Kind: audit.Look, Actor: admin, Operation: "x", Data: audit.DataContact})
		require.NoError(t, op.End(ctx, 200))
		require.Len(t, all(t, tr, audit.Filter{}), 7, "a handler that does not say whose: rather one too many")
		ctx, op = tr.Begin(t.Context(), audit.Entry{Kind: audit.Look, Actor: admin, Operation: "x", Data: audit.DataContact})
		require.NoError(t, audit.Looked(ctx))
		require.NoError(t, op.End(ctx, 200))
		require.Len(t, all(t, tr, audit.Filter{}), 7, "nobody's")
		for range 5 {
			tr.Refused(t.Context(), audit.Entry{Actor: audit.Actor{Party: audit.Nobody}, From: "203.0.113.9", Operation: "listTokens", Status: 401})
		}
		require.Len(t, all(t, tr, audit.Filter{Kind: audit.Denied}), 1)
		require.NoError(t, verify(t.Context(), tr))
	})
}

// An owner who is erased is in no entry any more, and the chain holds.
func TestErasureLeavesTheChainWhole(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		tr, _ := newTrail(db)
		require.NoError(t, tr.Append(t.Context(), audit.Entry{
			Kind: audit.Change, Actor: audit.Actor{Party: audit.Owner, ID: "owner-7"}, From: "198.51.100.7", Operation: "putConsent", Outcome: audit.Done,
		}))
		who, err := tr.Person(t.Context(), "owner-7")
		require.NoError(t, err)
		e := all(t, tr, audit.Filter{About: []string{who.Alias}})[0]
		require.Empty(t, e.From)
		text, err := who.Open(e.Sealed)
		require.NoError(t, err)
		require.Equal(t, "198.51.100.7", text)
		raw, err := json.Marshal(e)
		require.NoError(t, err)
		require.NotContains(t, string(raw), "owner-7")
		require.NotContains(t, string(raw), "198.51")

		require.NoError(t, tr.Store().Forget(t.Context(), "owner-7"))
		require.NoError(t, verify(t.Context(), tr))
		_, err = tr.Store().PersonOf(t.Context(), who.Alias)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		anew, err := tr.Person(t.Context(), "owner-7")
		require.NoError(t, err)
		require.NotEqual(t, who.Alias, anew.Alias)
		_, err = anew.Open(e.Sealed)
		require.Error(t, err)
	})
}

func TestWritersWaitForEachOther(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		tr, _ := newTrail(db)
		var g errgroup.Group
		for i := range 40 {
			g.Go(func() error {
				return tr.Append(t.Context(), audit.Entry{Kind: audit.Change, Actor: admin, Operation: "x", Object: fmt.Sprint("units/", i), Outcome: audit.Done})
			})
		}
		require.NoError(t, g.Wait())
		head, err := tr.Verify(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, int64(40), head.Seq)
		require.Len(t, all(t, tr, audit.Filter{Object: "units"}), 40)
		require.Len(t, all(t, tr, audit.Filter{Object: "units/7"}), 1)
	})
}

func TestAgeAndHeads(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		tr, c := newTrail(db)
		var kept []audit.Head
		for i := range 6 {
			require.NoError(t, tr.Append(t.Context(), audit.Entry{Kind: audit.Change, Actor: admin, Operation: fmt.Sprint("op", i), Outcome: audit.Done}))
			h, err := tr.Store().Head(t.Context())
			require.NoError(t, err)
			again, err := audit.ParseHead(h.String())
			require.NoError(t, err)
			require.Equal(t, h, again)
			kept = append(kept, h)
			c.Advance(24 * time.Hour)
		}
		require.NoError(t, tr.Expire(t.Context(), noon.Add(3*24*time.Hour)))
		require.NoError(t, verify(t.Context(), tr))
		entries := all(t, tr, audit.Filter{})
		require.Len(t, entries, 4)
		require.Equal(t, int64(3), entries[3].Until)
		require.NoError(t, tr.Expire(t.Context(), noon.Add(3*24*time.Hour)), "nothing more")
		require.Len(t, all(t, tr, audit.Filter{}), 4)
		_, err := tr.Verify(t.Context(), []audit.Head{kept[4], kept[1]})
		require.NoError(t, err, "a kept head that went by age is no break")

		// The newest entries and the head are cut off: only a head kept elsewhere tells.
		seventh, err := tr.Store().Head(t.Context())
		require.NoError(t, err)
		require.NoError(t, tr.Append(t.Context(), audit.Entry{Kind: audit.Change, Actor: admin, Operation: "last", Outcome: audit.Done}))
		eighth, err := tr.Store().Head(t.Context())
		require.NoError(t, err)
		_, err = db.Exec(t.Context(), `DELETE FROM audit_entry WHERE seq > 7`)
		require.NoError(t, err)
		require.ErrorContains(t, verify(t.Context(), tr), "entry 8 is missing, and all after it")
		_, err = db.Exec(t.Context(), `UPDATE audit_head SET seq = 7, hash = ?`, seventh.Hash)
		require.NoError(t, err)
		require.NoError(t, verify(t.Context(), tr), "nothing in the trail itself can tell")
		_, err = tr.Verify(t.Context(), []audit.Head{eighth})
		require.ErrorContains(t, err, "entry 8 is missing: the head")
		_, err = db.Exec(t.Context(), `UPDATE audit_head SET start_seq = 4, start_hash = ?`, kept[3].Hash)
		require.NoError(t, err)
		require.Error(t, verify(t.Context(), tr), "more is gone than went by age")
	})
	for _, bad := range []string{"", "7", "x:ab", "-1:ab", "3:zz", "3:abcd"} {
		_, err := audit.ParseHead(bad)
		require.Error(t, err, bad)
	}
}

// Whatever is changed, left out, put elsewhere or put in is named.
func TestTamperingIsNamed(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	tr, _ := newTrail(db)
	const n = 30
	for i := range n {
		require.NoError(t, tr.Append(t.Context(), audit.Entry{Kind: audit.Change, Actor: admin, Operation: fmt.Sprint("op", i), Object: "units/WC-1", Outcome: audit.Done}))
	}
	good, err := tr.Store().Records(t.Context(), audit.Filter{})
	require.NoError(t, err)
	head, err := tr.Store().Head(t.Context())
	require.NoError(t, err)
	check := func(list []audit.Record) error {
		c := audit.From(audit.Head{})
		for _, r := range list {
			if _, err := c.Next(r); err != nil {
				return err
			}
		}
		return c.End(head)
	}
	require.NoError(t, check(good))
	random := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		list := append([]audit.Record{}, good...)
		i := random.IntN(n)
		first := int64(i + 1)
		switch how := random.IntN(6); how {
		case 0: // any byte
			raw := bytes.Clone(list[i].Entry)
			raw[random.IntN(len(raw))] ^= 1 << random.IntN(7)
			list[i].Entry = raw
		case 1: // with a hash that fits
			raw := strings.Replace(string(list[i].Entry), `"op-1"`, `"op-2"`, 1)
			list[i] = audit.Record{Entry: json.RawMessage(raw), Hash: chain.Sum([]byte(raw))}
			if i < n-1 {
				first++ // the next does not follow
			}
		case 2:
			list = append(list[:i:i], list[i+1:]...)
		case 3:
			j := random.IntN(n)
			if i == j {
				continue
			}
			list[i], list[j] = list[j], list[i]
			first = int64(min(i, j) + 1)
		case 4: // twice
			list = append(list[:i+1:i+1], list[i:]...)
			first++
		case 5: // the tail
			list = list[:i]
		}
		err := check(list)
		var broke *audit.BreakError
		require.ErrorAs(t, err, &broke)
		if broke.Seq != first && broke.Seq != first+1 {
			t.Fatalf("entry %d was tampered with, entry %d is named: %v", first, broke.Seq, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`{"hash":"x","entry":{"seq":1}}` + "\n\n[]")
	f.Fuzz(func(t *testing.T, text string) {
		var c audit.Chain
		_ = chain.Read(strings.NewReader(text), func(r audit.Record) error {
			_, err := c.Next(r)
			return err
		})
	})
}
