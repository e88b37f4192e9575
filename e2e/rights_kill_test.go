package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/wire"
)

// The process is killed right after it acknowledged a withdrawal, and again
// while it does what follows: nothing more is taken, nothing is shown, and what
// was collected is gone from the disk. Then its owner is erased, and the process
// is killed at random steps of that: it ends, says so truly, and nothing that
// names the owner is left.
func TestRightsAcrossKills(t *testing.T) {
	t.Parallel()
	s, token, _, call := kettle(t)
	choose := func(given bool) {
		t.Helper()
		call("PUT", "/owner/v1/units/K-1/consents/care", map[string]any{"given": given, "notice": "1"}, nil)
	}
	choose(true)
	for i := range 20 {
		_, text := s.post1("K-1", token, fmt.Sprintf(`{"values":{"heat":%d,"note":"zanzibar"}}`, 91+i))
		require.Contains(t, text, `"notConsented":0`)
	}
	needle := [][]byte{[]byte("zanzibar")}
	require.NotEmpty(t, filesWith(t, s.dir, needle), "the search finds what is there")

	choose(false)
	s.kill()
	s.start()
	_, text := s.post1("K-1", token, `{"values":{"heat":99,"note":"zanzibar"}}`)
	require.Contains(t, text, `"kept":0,"notConsented":2`, "it holds in the process that was started anew")
	var series wire.Series
	s.get("/v1/units/K-1/series?signal=heat&from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z", &series)
	require.True(t, series.Withheld)
	require.Empty(t, series.Points)
	time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
	s.kill() // in the middle
	s.start()
	var data wire.MyData
	until(t, 30*time.Second, "what was collected goes", func() bool {
		call("GET", "/owner/v1/units/K-1/data", nil, &data)
		return len(data.Withdrawals) == 1 && !data.Withdrawals[0].EndedAt.IsZero()
	})

	choose(true)
	s.post1("K-1", token, `{"values":{"heat":95,"note":"timbuktu"}}`)
	var asked struct {
		Receipt struct {
			ID      string
			EndedAt time.Time
			Step    string
			Kept    []struct{ What string }
		}
		Secret string
	}
	call("POST", "/owner/v1/erasure", map[string]string{"email": "ada@example.com"}, &asked)
	killed := map[string]bool{}
	for i := range 8 {
		time.Sleep(time.Duration(rand.IntN(80*(i+1))) * time.Millisecond)
		s.kill()
		s.start()
		s.get("/owner/v1/erasures/"+asked.Receipt.ID, &asked.Receipt)
		killed[asked.Receipt.Step] = true
		if !asked.Receipt.EndedAt.IsZero() {
			break
		}
	}
	until(t, 60*time.Second, "the erasure ends", func() bool {
		s.get("/owner/v1/erasures/"+asked.Receipt.ID, &asked.Receipt)
		return !asked.Receipt.EndedAt.IsZero()
	})
	t.Logf("found after a kill at: %v", killed)
	require.NotEmpty(t, asked.Receipt.Kept)
	r := s.request(http.MethodGet, "/owner/v1/me", "", nil)
	require.Equal(t, http.StatusUnauthorized, r.StatusCode)
	_ = r.Body.Close()
	s.kill()
	require.Empty(t, filesWith(t, s.dir, [][]byte{[]byte("zanzibar"), []byte("timbuktu"), []byte("ada@example.com")}), "nothing is left on the disk")
}
