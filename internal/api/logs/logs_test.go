package logs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

func TestLog(t *testing.T) {
	t.Parallel()
	e := apitest.New(t)
	ctx := t.Context()
	e.Apply(apitest.Product)
	a, err := e.Deps.Updates.PutArtifact(ctx, strings.NewReader("image"), "image.mender")
	require.NoError(t, err)
	e.Apply(apitest.UnitFile("WC-1", "b", ""), apitest.UnitFile("WC-2", "b", ""), apitest.ReleaseFile(a.SHA256))
	releases, err := e.Deps.Updates.Releases(ctx, "")
	require.NoError(t, err)
	as, err := e.Deps.Updates.Assign(ctx, "WC-1", releases[0].Name, "task")
	require.NoError(t, err)
	type log struct{ Lines []update.LogLine }
	path := fmt.Sprintf("/v1/assignments/%d/log", as.ID)
	require.Empty(t, apitest.Call[log](e, 200, "GET", path, nil).Lines)

	at := time.Date(2014, 3, 3, 12, 0, 0, 0, time.UTC)
	lines := make([]update.LogLine, 1500)
	for i := range lines {
		lines[i] = update.LogLine{At: at, Level: "info", Text: fmt.Sprint(i)}
	}
	lines[1499] = update.LogLine{At: at, Level: "error", Text: "no space left\x00 " + strings.Repeat("ü", 2000)}
	require.Equal(t, fault.NotFound, fault.KindOf(e.Deps.Updates.KeepLog(ctx, "WC-2", as.ID, lines)), "another unit's")
	require.NoError(t, e.Deps.Updates.KeepLog(ctx, "WC-1", as.ID, lines))
	got := apitest.Call[log](e, 200, "GET", path, nil).Lines
	require.Len(t, got, 1000, "the last count")
	require.Equal(t, "500", got[0].Text)
	require.LessOrEqual(t, len(got[999].Text), 1003)
	require.True(t, strings.HasPrefix(got[999].Text, "no space left ü"))
	as, err = e.Deps.Updates.Assignment(ctx, as.ID)
	require.NoError(t, err)
	require.Len(t, as.Details, 1)
	require.Contains(t, as.Details[0], "no space left")
	apitest.Call[any](e, 404, "GET", "/v1/assignments/99/log", nil)
}
