package update

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fleet"
)

func TestIdleIsForgottenUntilTheTransactionEnds(t *testing.T) {
	t.Parallel()
	i := newIdle()
	require.False(t, i.knows("a"))
	ctx, ended := fleet.WithEnd(t.Context())

	changed := i.changing("a") // an assignment is made
	changed(ctx)
	require.True(t, i.knows("a"), "before it is committed")
	before, _, _ := i.look("a")
	i.settle("a", before, math.MaxInt64, &Work{}) // a poll that saw nothing, since nothing is committed
	r, _, _ := i.look("a")
	require.Zero(t, r.until, "what is read before the end is not kept")
	ended()
	i.settle("a", before, math.MaxInt64, &Work{}) // nor what was read before it
	r, _, _ = i.look("a")
	require.Zero(t, r.until)

	before = r
	i.settle("a", before, 42, &Work{Installed: 7, Open: true})
	r, _, _ = i.look("a")
	require.EqualValues(t, 42, r.until)
	require.EqualValues(t, 7, r.installed)
	require.True(t, r.open)

	i.changing("a")(context.Background()) // without a transaction it has ended
	r, _, _ = i.look("a")
	require.Zero(t, r.until)
	require.Zero(t, r.changing)
}
