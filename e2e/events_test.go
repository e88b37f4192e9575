package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const eventful = `apiVersion: fettle.dev/v1
kind: Product
metadata: {name: pump}
spec:
  title: Pump
  purposes:
    - {name: operation, title: Operation, description: To keep it running., basis: necessary}
    - {name: study, title: Study, description: To learn how it is used., basis: consent}
  signals: []
  features:
    - {name: boost, title: Boost, purposes: [study], retention: 90d}
  faults:
    - {code: "E*", title: Fault, severity: major, purposes: [operation], retention: 365d}
  log: {level: info, purposes: [operation], retention: 30d}
---
apiVersion: fettle.dev/v1
kind: Unit
metadata: {name: P-1}
spec: {product: pump, serial: "1"}
`

// A real sender's events: declared, permitted and counted like samples; what
// was acknowledged is stored once, however often the server is killed.
func TestEvents(t *testing.T) {
	t.Parallel()
	tool(t, "mosquitto_pub")
	s := serve(t)
	file := filepath.Join(t.TempDir(), "pump.yaml")
	require.NoError(t, os.WriteFile(file, []byte(eventful), 0o600))
	s.fettle("apply", "-f", file)
	token := strings.TrimSpace(s.fettle("unit", "token", "P-1"))

	start := time.Now().Add(-time.Hour).UnixMilli()
	const rounds, each = 8, 40
	random := rand.New(rand.NewPCG(1, 2))
	var sent int64 // acknowledged at least
	for round := range rounds {
		var b strings.Builder
		b.WriteByte('[')
		for i := range each {
			n := round*each + i
			fmt.Fprintf(&b, `{"ts":%d,"seq":%d,"kind":"fault","name":"E%d"},{"ts":%d,"kind":"log","level":"warn","text":"line %d"},`, start+int64(n), n+1, n%7, start+int64(n), n)
		}
		fmt.Fprintf(&b, `{"ts":%d,"kind":"feature","name":"boost"},{"ts":%d,"kind":"fault","name":"Z"},{"ts":%d,"kind":"dance"}]`, start, start, start)
		publish := func() error {
			_, err := s.mosquitto("mqttv5", "P-1", token, "mosquitto_pub", "-q", "1", "-t", "fettle/v1/events", "-m", b.String())
			return err
		}
		if round%2 == 1 { // it may be acknowledged or not; it is sent again in any case
			done := make(chan error, 1)
			go func() { done <- publish() }()
			pause(t.Context(), time.Duration(random.Int64N(int64(30*time.Millisecond))))
			s.kill()
			if <-done == nil {
				sent += 2*each + 3
			}
			s.start()
		}
		require.NoError(t, publish())
		sent += 2*each + 3
	}
	a := s.accounting("P-1")
	require.EqualValues(t, rounds*2*each, a.Stored)
	require.GreaterOrEqual(t, a.Acknowledged, sent)
	require.GreaterOrEqual(t, a.NotConsented, int64(rounds))
	require.Equal(t, a.NotConsented, a.Undeclared)
	require.Equal(t, a.NotConsented, a.Invalid)
	var list struct {
		Items []struct{ Kind, Name, Text string } `json:"items"`
	}
	s.get("/v1/units/P-1/events?kind=log&limit=1000", &list)
	require.Len(t, list.Items, rounds*each)
	require.Equal(t, fmt.Sprintf("line %d", rounds*each-1), list.Items[0].Text)
	require.Contains(t, s.fettle("get", "events", "--unit", "P-1", "--kind", "fault", "--limit", "5"), "major set")
}
