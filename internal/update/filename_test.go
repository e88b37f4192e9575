package update_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// A name belongs to the release that asks for the bytes, not to the bytes:
// uploading them again under another name changes no release there is.
func TestAReleaseKeepsTheNameOfItsImage(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		t.Helper()
		w, ctx := newWorld(t, db, 9), t.Context()
		unit := 0
		put := func(name string) string {
			a, err := w.updates.PutArtifact(ctx, strings.NewReader("the same bytes"), name)
			require.NoError(t, err)
			require.Equal(t, name, a.Filename)
			return "sha256:" + a.SHA256
		}
		declare := func(name string, counter int64, change func(*update.Release)) {
			r := update.Release{
				Name: name, Product: campaigntest.Product, Version: name, Kind: update.Fix, Minutes: 5, Counter: counter,
				Notes: map[string]string{"en": "Better."}, Artifact: put("uploaded-for-" + name + ".swu"),
			}
			if change != nil {
				change(&r)
			}
			require.NoError(t, w.updates.Put(ctx, r))
		}
		served := func(release string) string {
			unit++
			a, err := w.updates.Assign(ctx, campaigntest.UnitID(unit), release, fmt.Sprint("task ", unit))
			require.NoError(t, err)
			_, err = w.updates.Offer(ctx, a.ID, w.Clock.Now())
			require.NoError(t, err)
			d, err := w.updates.Deployment(ctx, campaigntest.UnitID(unit), a.ID)
			require.NoError(t, err)
			return d.Artifact.Filename
		}
		declare("one", 11, nil)
		require.Equal(t, "uploaded-for-one.swu", served("one"))
		declare("two", 12, nil)
		declare("three", 13, func(r *update.Release) { r.Filename = "said.swu" })
		require.Equal(t, "uploaded-for-one.swu", served("one"))
		require.Equal(t, "uploaded-for-two.swu", served("two"))
		require.Equal(t, "said.swu", served("three"))

		// Declared again without a name, it is the same.
		one, err := w.updates.Release(ctx, "one")
		require.NoError(t, err)
		again := one
		again.Filename = ""
		require.NoError(t, w.updates.Complete(ctx, &again))
		require.Equal(t, one, again)

		// A release from before releases had names keeps the one from then.
		put("later.swu")
		old := one
		old.Name, old.Filename, old.Counter = "old", "", 14
		require.NoError(t, db.Update().PutRelease(ctx, old))
		require.Equal(t, "uploaded-for-one.swu", served("old"))

		// Parts of one release may share bytes and have names of their own.
		parts := update.Release{
			Name: "parts", Product: campaigntest.Product, Version: "parts", Kind: update.Fix, Minutes: 5, Notes: map[string]string{"en": "Better."},
			Parts: []update.ReleasePart{
				{Component: "software", Version: "9", Artifact: one.Artifact, Filename: "a.swu"},
				{Component: "meter", Version: "9", Artifact: one.Artifact, Files: []string{one.Artifact, one.Artifact}, Filenames: []string{"b.swu", "c.swu"}},
			},
		}
		require.NoError(t, w.updates.Put(ctx, parts))
		a, err := w.updates.Assign(ctx, campaigntest.UnitID(9), "parts", "x")
		require.NoError(t, err)
		_, err = w.updates.Offer(ctx, a.ID, w.Clock.Now())
		require.NoError(t, err)
		d, err := w.updates.Deployment(ctx, campaigntest.UnitID(9), a.ID)
		require.NoError(t, err)
		require.Equal(t, []string{"a.swu", "later.swu", "b.swu", "c.swu"}, []string{
			d.Parts[0].Artifact.Filename, d.Parts[1].Artifact.Filename, d.Parts[1].More[0].Filename, d.Parts[1].More[1].Filename,
		})

		for _, bad := range []string{"../x", "a/b.swu", ".hidden", "a?b"} {
			wrong := one
			wrong.Name, wrong.Counter, wrong.Filename = "wrong", 99, bad
			err := w.updates.Put(ctx, wrong)
			require.Equal(t, fault.Invalid, fault.KindOf(err), bad)
		}
	})
}
