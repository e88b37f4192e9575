package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const serviced = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: pump}
spec:
  title: Pump
  purposes: [{name: care, title: Care, description: To see faults., basis: necessary}]
  signals: [{name: t, type: number, unit: Cel, purposes: [care], retention: 30d, description: Temperature.}]
  tolerances: [{name: t, signal: t, bands: [{max: 50}]}]
---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: P-1}
spec: {product: pump, serial: "1"}
---
apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: hot}
spec: {product: pump, type: tolerance, severity: major, purpose: care, tolerance: t}
---
apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: pump-life}
spec: {product: pump, type: prognosis, severity: major, purpose: care, prognosis: {signals: [t], horizon: 10d}}
`

// A part that was replaced is watched anew, though the server is killed as
// soon as the record is kept; one of long ago is history and changes nothing.
func TestReplacementResets(t *testing.T) {
	t.Parallel()
	s := serve(t)
	file := filepath.Join(t.TempDir(), "pump.yaml")
	require.NoError(t, os.WriteFile(file, []byte(serviced), 0o600))
	s.fettle("apply", "-f", file)
	token := strings.TrimSpace(s.fettle("unit", "token", "P-1"))
	status, text := s.post1("P-1", token, `{"values":{"t":80}}`)
	require.Equal(t, http.StatusOK, status, text)
	findings := func(state string) (ids []string) {
		var list struct {
			Items []struct{ ID, ClearWhy string } `json:"items"`
		}
		s.get("/v1/findings?detector=hot&state="+state, &list)
		for _, f := range list.Items {
			ids = append(ids, f.ID)
		}
		return ids
	}
	require.Eventually(t, func() bool { return len(findings("open")) == 1 }, patience, 50*time.Millisecond)

	s.fettle("maintenance", "add", "P-1", "--kind", "replacement", "--reason", "preventive", "--at", time.Now().AddDate(0, -3, 0).Format(time.DateOnly))
	s.fettle("maintenance", "add", "P-1", "--kind", "failure")
	require.Never(t, func() bool { return len(findings("open")) == 0 }, 2*time.Second, 200*time.Millisecond)
	s.fettle("maintenance", "add", "P-1", "--kind", "replacement", "--reason", "failed")
	s.kill()
	s.start()
	require.Eventually(t, func() bool { return len(findings("cleared")) == 1 }, patience, 50*time.Millisecond)
	require.Contains(t, s.fettle("risk", "status"), "it needs 12 failures to learn from, and has")
}
