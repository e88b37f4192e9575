package guard_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/telemetry/guard"
)

var start = time.Date(2014, 1, 6, 12, 0, 0, 0, time.UTC)

// world is three units that each reported heat (for care and study), mood (for
// study) and beat (necessary), used a feature and set a fault.
func world(t *testing.T, db *sqldb.DB) *guard.History {
	t.Helper()
	ctx := t.Context()
	require.NoError(t, db.Fleet().PutProduct(ctx, fleet.Product{
		Name: "charger",
		Purposes: []fleet.Purpose{
			{Name: "care", Basis: fleet.BasisConsent}, {Name: "study", Basis: fleet.BasisConsent}, {Name: "operation", Basis: fleet.BasisNecessary},
		},
		Signals: []fleet.Signal{
			{Name: "heat", Type: fleet.Number, Purposes: []string{"care", "study"}},
			{Name: "mood", Type: fleet.Number, Purposes: []string{"study"}},
			{Name: "beat", Type: fleet.Number, Purposes: []string{"operation"}},
		},
		Features: []fleet.Feature{{Name: "boost", Purposes: []string{"study"}}},
		Faults:   []fleet.Fault{{Code: "E*", Purposes: []string{"care"}}},
	}))
	history, err := duckdb.Open(ctx, duckdb.Config{Dir: t.TempDir(), MemoryMB: 128, Threads: 1}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, history.Close()) })
	require.NoError(t, history.EnsureProduct(ctx, "charger", map[string]string{"heat": "number", "mood": "number", "beat": "number"}))
	b := &telemetry.Batch{Product: "charger"}
	var units []fleet.Unit
	for key := int64(1); key <= 3; key++ {
		units = append(units, fleet.Unit{ID: fmt.Sprint("U-", key), Key: key, Product: "charger", Serial: fmt.Sprint(key), State: fleet.UnitActive, CreatedAt: start})
		at := start.UnixMilli() + key
		b.Rows = append(b.Rows, telemetry.Row{Unit: key, Event: at, Received: at, Values: []telemetry.Value{
			{Signal: "heat", Number: 60}, {Signal: "mood", Number: 7}, {Signal: "beat", Number: 1},
		}})
		b.Events = append(b.Events,
			telemetry.Event{Unit: key, Event: at, Received: at, Kind: telemetry.EventFeature, Name: "boost"},
			telemetry.Event{Unit: key, Event: at, Received: at, Kind: telemetry.EventFault, Name: "E07", State: telemetry.StateSet})
	}
	require.NoError(t, db.Fleet().PutUnits(ctx, units))
	require.NoError(t, history.Append(ctx, []telemetry.Sequenced{{Seq: 1, Batch: b}}))
	give(t, db, "U-1", "care", true)
	give(t, db, "U-1", "study", true)
	give(t, db, "U-2", "care", true)
	return guard.New(history, db.Consent(), db.Fleet())
}

var choices int

func give(t *testing.T, db *sqldb.DB, unit, purpose string, given bool) {
	t.Helper()
	choices++
	require.NoError(t, db.Consent().AddChoices(t.Context(), []consent.Choice{
		{ID: fmt.Sprint(t.Name(), choices), UnitID: unit, Purpose: purpose, Given: given, At: start, By: "owner:o"},
	}))
}

// readers are all methods that read samples or events: what each finds, as
// "unit signal" and "unit kind name".
var readers = map[string]func(t *testing.T, ctx context.Context, h telemetry.History) ([]string, error){
	"Replay": func(_ *testing.T, ctx context.Context, h telemetry.History) (out []string, err error) {
		err = h.Replay(ctx, telemetry.Query{Product: "charger"}, func(row *telemetry.Stored, _ *telemetry.StoredMark) error {
			if row != nil {
				for _, v := range row.Values {
					out = append(out, fmt.Sprint(row.Unit, " ", v.Signal))
				}
			}
			return nil
		})
		return out, err
	},
	"Latest": func(_ *testing.T, ctx context.Context, h telemetry.History) (out []string, err error) {
		for unit := int64(1); unit <= 3; unit++ {
			l, err := h.Latest(ctx, "charger", unit)
			if err != nil {
				return nil, err
			}
			for name := range l {
				out = append(out, fmt.Sprint(unit, " ", name))
			}
		}
		return out, nil
	},
	"Series": func(_ *testing.T, ctx context.Context, h telemetry.History) (out []string, err error) {
		for unit := int64(1); unit <= 3; unit++ {
			for _, name := range []string{"heat", "mood", "beat"} {
				p, err := h.Series(ctx, "charger", unit, name, start, start.Add(time.Hour), 10)
				if err != nil {
					return nil, err
				}
				if len(p) > 0 {
					out = append(out, fmt.Sprint(unit, " ", name))
				}
			}
		}
		return out, nil
	},
	"Windows": func(_ *testing.T, ctx context.Context, h telemetry.History) (out []string, err error) {
		asked := []string{"mood", "heat", "beat"}
		err = h.Windows(ctx, telemetry.WindowQuery{Product: "charger", Signals: asked}, func(w *telemetry.Window) error {
			for i, s := range w.Stats {
				if s.Count > 0 {
					out = append(out, fmt.Sprint(w.Unit, " ", asked[i]))
				}
			}
			return nil
		})
		return out, err
	},
	"Export": func(t *testing.T, ctx context.Context, h telemetry.History) (out []string, err error) {
		for unit := int64(1); unit <= 3; unit++ {
			for _, name := range []string{"heat", "mood", "beat"} {
				n, err := h.Export(ctx, telemetry.ExportQuery{
					Product: "charger", Signals: []telemetry.ExportSignal{{Name: name, Type: "number"}},
					Units: []telemetry.ExportUnit{{Key: unit, ID: fmt.Sprint("U-", unit), Signals: []string{name}}},
				}, filepath.Join(t.TempDir(), "x.parquet"))
				if err != nil && fault.KindOf(err) != fault.NotFound {
					return nil, err
				}
				if n > 0 {
					out = append(out, fmt.Sprint(unit, " ", name))
				}
			}
		}
		return out, nil
	},
	"Events": func(_ *testing.T, ctx context.Context, h telemetry.History) (out []string, err error) {
		for unit := int64(1); unit <= 3; unit++ {
			all, err := h.Events(ctx, telemetry.EventQuery{Product: "charger", Unit: unit, Limit: 10})
			if err != nil {
				return nil, err
			}
			for _, e := range all {
				out = append(out, fmt.Sprint(unit, " ", e.Kind, " ", e.Name))
			}
		}
		return out, nil
	},
}

// books are the methods that tell no sample: they write, count and remove. Who
// adds a method to telemetry.History decides here, and in the guard.
var books = []string{
	"Accounts", "Append", "Applied", "Backup", "Close", "EnsureProduct", "EraseEvents", "EraseUnits", "Expire", "ExpireEvents", "Extent",
}

func TestEveryReaderIsGuarded(t *testing.T) {
	t.Parallel()
	port := reflect.TypeFor[telemetry.History]()
	for m := range port.Methods() {
		_, reads := readers[m.Name]
		require.True(t, reads || slices.Contains(books, m.Name), "%s is new: guard it, and say here what it reads", m.Name)
	}
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		h := world(t, db)
		ctx := t.Context()
		find := func(ctx context.Context, samples, events []string) {
			t.Helper()
			for name, read := range readers {
				got, err := read(t, ctx, h)
				require.NoError(t, err, name)
				want := samples
				if name == "Events" {
					want = events
				}
				require.ElementsMatch(t, want, got, name)
			}
		}
		for name, read := range readers {
			_, err := read(t, ctx, h)
			require.Equal(t, fault.Denied, fault.KindOf(err), "%s does not say what for", name)
		}
		find(consent.For(ctx, "care"), []string{"1 heat", "2 heat"}, []string{"1 fault E07", "2 fault E07"})
		find(consent.For(ctx, "study"), []string{"1 heat", "1 mood"}, []string{"1 feature boost"})
		find(consent.For(ctx, "operation"), []string{"1 beat", "2 beat", "3 beat"}, nil)
		find(consent.For(ctx, "ads"), nil, nil)
		find(consent.ForShown(ctx), []string{"1 heat", "1 mood", "1 beat", "2 heat", "2 beat", "3 beat"}, []string{"1 feature boost", "1 fault E07", "2 fault E07"})
		all := []string{"1 heat", "1 mood", "1 beat", "2 heat", "2 mood", "2 beat", "3 heat", "3 mood", "3 beat"}
		allEvents := []string{"1 feature boost", "1 fault E07", "2 feature boost", "2 fault E07", "3 feature boost", "3 fault E07"}
		find(consent.ForOwner(ctx), all, allEvents)

		// Withdrawn: nothing is found, by any reader, for it or for anything else
		// that does not name it.
		give(t, db, "U-1", "study", false)
		give(t, db, "U-2", "care", false)
		time.Sleep(600 * time.Millisecond) // choices of a whole fleet are read anew
		find(consent.For(ctx, "study"), nil, nil)
		find(consent.For(ctx, "care"), []string{"1 heat"}, []string{"1 fault E07"})
		find(consent.ForShown(ctx), []string{"1 heat", "1 beat", "2 beat", "3 beat"}, []string{"1 fault E07"})

		// What a choice does not cover yet, what is restricted, what is objected to.
		require.NoError(t, db.Consent().Uncover(ctx, "charger", "care", []string{"heat", "fault:E*"}))
		time.Sleep(600 * time.Millisecond)
		find(consent.For(ctx, "care"), nil, nil)
		require.NoError(t, db.Consent().Cover(ctx, "U-1", "care"))
		give(t, db, "U-3", consent.Restricted, true)
		give(t, db, "U-2", consent.Objected+"operation", true)
		time.Sleep(600 * time.Millisecond)
		find(consent.For(ctx, "care"), []string{"1 heat"}, []string{"1 fault E07"})
		find(consent.For(ctx, "operation"), []string{"1 beat"}, nil)
		find(consent.ForShown(ctx), []string{"1 heat", "1 beat"}, []string{"1 fault E07"})
		find(consent.ForOwner(ctx), all, allEvents)
	})
}

// One unit at a time is asked for as its choices are at that moment.
func TestNamedUnitsAreCurrent(t *testing.T) {
	t.Parallel()
	db := sqldbtest.SQLite(t)
	h := world(t, db)
	read := func() (n int) {
		err := h.Replay(consent.For(t.Context(), "care"), telemetry.Query{Product: "charger", Units: []int64{1}}, func(row *telemetry.Stored, _ *telemetry.StoredMark) error {
			if row != nil {
				n += len(row.Values)
			}
			return nil
		})
		require.NoError(t, err)
		return n
	}
	require.Equal(t, 1, read())
	give(t, db, "U-1", "care", false)
	require.Zero(t, read())
}
