package update_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

func TestAssignmentOnce(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := campaigntest.New(t, db, 2), t.Context()
		one, two := campaigntest.UnitID(1), campaigntest.UnitID(2)
		a, err := w.Updates.Assign(ctx, one, campaigntest.Release, "t1")
		require.NoError(t, err)
		require.GreaterOrEqual(t, a.ID, int64(1))
		b, err := w.Updates.Assign(ctx, one, campaigntest.Release, "t1")
		require.NoError(t, err)
		require.Equal(t, a, b, "a second call makes no second")
		_, err = w.Updates.Assign(ctx, two, campaigntest.Release, "t1")
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		_, err = w.Updates.Assign(ctx, "nobody", campaigntest.Release, "t2")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		_, err = w.Updates.Assign(ctx, two, "no release", "t2")
		require.Equal(t, fault.NotFound, fault.KindOf(err))
		w.Reports(two, "2.0.0")
		_, err = w.Updates.Assign(ctx, two, campaigntest.Release, "t2")
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		require.ErrorContains(t, err, "has version 2.0.0 already")

		_, err = w.Updates.Feedback(ctx, two, a.ID, update.Feedback{State: update.Claimed})
		require.Equal(t, fault.NotFound, fault.KindOf(err), "another unit's")
		_, err = w.Updates.Feedback(ctx, one, a.ID, update.Feedback{State: update.Claimed})
		require.Equal(t, fault.NotFound, fault.KindOf(err), "withheld: the unit cannot know of it")
		_, err = w.Updates.Offer(ctx, a.ID, w.Clock.Now())
		require.NoError(t, err)
		_, err = w.Updates.Feedback(ctx, one, a.ID, update.Feedback{State: update.Installed})
		require.Equal(t, fault.Invalid, fault.KindOf(err), "installed is not the client's to say")
		last := a.Updated
		for i := range 60 {
			a, err = w.Updates.Feedback(ctx, one, a.ID, update.Feedback{State: update.Running, Details: []string{fmt.Sprint(i), strings.Repeat("ü", 1000)}})
			require.NoError(t, err)
			require.True(t, a.Updated.After(last), "every change can be seen, also within one millisecond")
			last = a.Updated
		}
		require.Len(t, a.Details, 50)
		require.LessOrEqual(t, len(a.Details[49]), 503)
		changed, err := w.Updates.ChangedSince(ctx, a.Updated, 10)
		require.NoError(t, err)
		require.Len(t, changed, 1)
		current, err := db.Update().Current(ctx, one)
		require.NoError(t, err)
		require.Equal(t, a.ID, current.ID)
		require.NoError(t, w.Updates.Reported(ctx, one, map[string]string{"software": "1.9.0", "bootloader": "2.0.0"}, w.Clock.Now()))
		a, err = w.Updates.Assignment(ctx, a.ID)
		require.NoError(t, err)
		require.Equal(t, update.Running, a.State, "another version, or another component's")
		w.Reports(one, "2.0.0")
		a, err = w.Updates.Assignment(ctx, a.ID)
		require.NoError(t, err)
		require.Equal(t, update.Installed, a.State)
		require.Equal(t, w.Clock.Now(), a.Installed)
		_, err = db.Update().Current(ctx, one)
		require.Equal(t, fault.NotFound, fault.KindOf(err))
	})
}

func TestVersionReportThatWasLostIsCaughtUp(t *testing.T) {
	t.Parallel()
	w, ctx := campaigntest.New(t, sqldbtest.SQLite(t), 1), t.Context()
	unit := campaigntest.UnitID(1)
	a, err := w.Updates.Assign(ctx, unit, campaigntest.Release, "t1")
	require.NoError(t, err)
	_, err = w.Updates.Offer(ctx, a.ID, w.Clock.Now())
	require.NoError(t, err)
	at := w.Clock.Now().Add(time.Hour)
	require.NoError(t, w.DB.Fleet().SetVersions(ctx, unit, map[string]string{"software": "2.0.0"}, at))
	again, err := update.NewService(ctx, update.Config{Store: w.DB.Update(), Ledger: release.New(w.DB), Blobs: w.Blobs, Fleet: w.DB.Fleet(), Tx: w.DB, Clock: w.Clock})
	require.NoError(t, err)
	a, err = again.Assignment(ctx, a.ID)
	require.NoError(t, err)
	require.Equal(t, update.Installed, a.State)
	require.Equal(t, at, a.Installed)
	work, err := again.Work(ctx, unit)
	require.NoError(t, err)
	require.Nil(t, work.Action)
	require.Equal(t, a.ID, work.Installed, "known after a restart")
}

func TestArtifact(t *testing.T) {
	t.Parallel()
	w, ctx := campaigntest.New(t, sqldbtest.SQLite(t), 1), t.Context()
	dir := t.TempDir()
	s, err := update.NewService(ctx, update.Config{Store: w.DB.Update(), Ledger: release.New(w.DB), Blobs: w.Blobs, Fleet: w.DB.Fleet(), Tx: w.DB, Clock: w.Clock, Dir: dir})
	require.NoError(t, err)
	image := bytes.Repeat([]byte("x"), 3<<20)
	a, err := s.PutArtifact(ctx, bytes.NewReader(image), "big.swu")
	require.NoError(t, err)
	sum := sha256.Sum256(image)
	require.Equal(t, hex.EncodeToString(sum[:]), a.SHA256)
	require.EqualValues(t, len(image), a.Size)
	_, r, err := s.OpenArtifact(ctx, a.SHA256)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	_, err = s.PutArtifact(ctx, strings.NewReader(""), "empty.swu")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	for _, name := range []string{"", "../x.swu", "a/b.swu", ".hidden", "a\nb.swu", `a"b.swu`, "a%2fb", strings.Repeat("x", 201)} {
		_, err = s.PutArtifact(ctx, strings.NewReader("x"), name)
		require.Equal(t, fault.Invalid, fault.KindOf(err), name)
	}
	w.Blobs.Err = errors.New("disk full")
	_, err = s.PutArtifact(ctx, strings.NewReader("another"), "another.swu")
	require.ErrorContains(t, err, "disk full")
	other := sha256.Sum256([]byte("another"))
	_, err = s.Artifact(ctx, hex.EncodeToString(other[:]))
	require.Equal(t, fault.NotFound, fault.KindOf(err), "no record of bytes that were not kept")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestRelease(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := campaigntest.New(t, db, 1), t.Context()
		good, err := w.Updates.Release(ctx, campaigntest.Release)
		require.NoError(t, err)
		for _, c := range []struct {
			change func(*update.Release)
			paths  []string
		}{
			{func(*update.Release) {}, nil},
			{func(r *update.Release) { r.Version = " 2" }, []string{"spec.version"}},
			{func(r *update.Release) { r.Product, r.Kind, r.Minutes = "x", "hot", 0 }, []string{"spec.product", "spec.kind", "spec.minutes"}},
			{func(r *update.Release) { r.Hardware, r.From = []string{"B", "B"}, []string{"2.0.0", ""} }, []string{"spec.hardware[1]", "spec.from[0]", "spec.from[1]"}},
			{func(r *update.Release) { r.Notes, r.Unavailable = nil, map[string]string{"en": " "} }, []string{"spec.notes", "spec.unavailable.en"}},
			{func(r *update.Release) { r.Artifact = "charger.swu" }, []string{"spec.artifact"}},
			{func(r *update.Release) { r.Artifact = "sha256:" + strings.Repeat("a", 64) }, []string{"spec.artifact"}},
		} {
			r := good
			c.change(&r)
			var paths []string
			for _, f := range fault.FieldsOf(w.Updates.Put(ctx, r)) {
				paths = append(paths, f.Path)
			}
			require.Equal(t, c.paths, paths)
		}
		_, err = w.Updates.Assign(ctx, campaigntest.UnitID(1), good.Name, "t1")
		require.NoError(t, err)
		changed := good
		changed.Version = "2.0.1"
		require.Equal(t, fault.Conflict, fault.KindOf(w.Updates.Put(ctx, changed)), "it is on its way to a unit")
		require.Equal(t, fault.Conflict, fault.KindOf(w.Updates.Delete(ctx, good.Name)))
		changed = good
		changed.Notes = map[string]string{"en": "Better words."}
		require.NoError(t, w.Updates.Put(ctx, changed))
		list, err := w.Updates.Releases(ctx, campaigntest.Product)
		require.NoError(t, err)
		require.Equal(t, []update.Release{changed}, list)
		a, err := db.Update().AssignmentByRef(ctx, "t1")
		require.NoError(t, err)
		_, err = w.Updates.Cancel(ctx, a.ID)
		require.NoError(t, err)
		require.NoError(t, w.Updates.Delete(ctx, good.Name))
		require.Equal(t, fault.NotFound, fault.KindOf(w.Updates.Delete(ctx, good.Name)))
	})
}

// deaf is a store that must not be asked about a unit.
type deaf struct{ update.Store }

func (deaf) OfUnit(context.Context, string, int) ([]update.Assignment, error) {
	return nil, errors.New("a read")
}

func (deaf) Assignment(context.Context, int64) (update.Assignment, error) {
	return update.Assignment{}, errors.New("a read")
}

func TestAUnitWithoutAnAssignmentCostsNoRead(t *testing.T) {
	t.Parallel()
	w, ctx := campaigntest.New(t, sqldbtest.SQLite(t), 2), t.Context()
	_, err := w.Updates.Assign(ctx, campaigntest.UnitID(1), campaigntest.Release, "t1")
	require.NoError(t, err)
	s, err := update.NewService(ctx, update.Config{Store: deaf{w.DB.Update()}, Ledger: release.New(w.DB), Blobs: w.Blobs, Fleet: w.DB.Fleet(), Tx: w.DB, Clock: w.Clock})
	require.NoError(t, err)
	work, err := s.Work(ctx, campaigntest.UnitID(2))
	require.NoError(t, err)
	require.Nil(t, work.Action)
	require.NoError(t, s.Reported(ctx, campaigntest.UnitID(2), map[string]string{"software": "2.0.0"}, w.Clock.Now()))
	_, err = s.Deployment(ctx, campaigntest.UnitID(2), 1)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = s.Work(ctx, campaigntest.UnitID(1))
	require.ErrorContains(t, err, "a read")
}
