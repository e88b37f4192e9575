package sqldb_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// What it costs to keep the state of 10,000 units and 100 findings.
func BenchmarkConditionCommit(b *testing.B) {
	s := sqldbtest.SQLite(b).Condition()
	ref := condition.Ref{Name: "plug-overheat", Version: 1}
	states := make([]condition.State, 10_000)
	for n := range states {
		x := condition.Exposure{Detector: ref, UnitKey: int64(n), Since: start, For: time.Hour, LastAt: start}
		states[n] = condition.State{UnitKey: int64(n), Product: "wall-charger", JudgedAt: start, Exposures: []condition.Exposure{x}, Data: make([]byte, 290)}
	}
	var findings []condition.Finding
	for n := range 100 {
		findings = append(findings, finding(n))
	}
	for b.Loop() {
		require.NoError(b, s.Commit(b.Context(), "all", 1, findings, states))
	}
}
