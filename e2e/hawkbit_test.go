package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/swupdate"
)

// TestBench is a bench driven by a tool for hawkBit, with hawkBit's own default
// login, and a real SWUpdate on it: what is assigned starts at once.
func TestBench(t *testing.T) {
	t.Parallel()
	swupdate.Require(t)
	s := serve(t, "--hawkbit-api", "--hawkbit-bench-login", "admin:admin")
	tool := &hawkbitTool{s: s, user: "admin", password: "admin"}
	var made []struct{ SecurityToken string }
	tool.post("targets", []any{map[string]string{"controllerId": "bench-1", "name": "bench-1"}}, &made)
	key := swupdate.NewKey(t)
	installed := filepath.Join(swupdate.Dir(t), "installed.txt")
	image := swupdate.Build(t, key, "2.0.0", installed, []byte("2.0.0"))
	unit := swupdate.Start(t, swupdate.Options{URL: "http://" + s.http, UnitID: "bench-1", Token: made[0].SecurityToken, Key: key, Poll: time.Second})
	action := tool.give("bench-1", "2.0.0", "bench-2.0.0.swu", image, map[string]any{"type": "forced"})
	status := func() (kind string, messages []string) {
		var page struct {
			Total   int
			Content []struct {
				Type     string
				Messages []string
			}
		}
		tool.get(fmt.Sprintf("targets/bench-1/actions/%d/status?offset=0&limit=2&sort=id:DESC", action), &page)
		require.LessOrEqual(t, len(page.Content), 2)
		require.GreaterOrEqual(t, page.Total, len(page.Content))
		return page.Content[0].Type, page.Content[0].Messages
	}
	s.wait("SWUpdate installs it", func() bool {
		_, messages := status()
		return len(messages) == 1 && messages[0] == "All Chunks Installed."
	})
	require.FileExists(t, installed)
	unit.Confirm(t, action)
	s.wait("it is finished", func() bool { kind, _ := status(); return kind == "finished" })

	// Another is canceled before it is begun, because the client is gone.
	unit.Stop()
	action = tool.give("bench-1", "3.0.0", "bench-3.0.0.swu", append(image, 0), nil)
	path := fmt.Sprintf("targets/bench-1/actions/%d", action)
	code, raw := tool.do(http.MethodDelete, path+"?force=true", "", nil)
	require.Equal(t, 409, code, "not by force at once: %s", raw)
	code, raw = tool.do(http.MethodDelete, path, "", nil)
	require.Equal(t, 204, code, string(raw))
	require.Equal(t, "canceling", tool.detail("bench-1", action))
	code, raw = tool.do(http.MethodDelete, path+"?force=true", "", nil)
	require.Equal(t, 204, code, string(raw))
	require.Equal(t, "canceled", tool.detail("bench-1", action))
	code, raw = tool.do(http.MethodDelete, "targets/bench-1", "", nil)
	require.Equal(t, 200, code, string(raw))
	code, _ = tool.do(http.MethodGet, "targets/bench-1", "", nil)
	require.Equal(t, 404, code)
}
