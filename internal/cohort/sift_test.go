package cohort_test

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Units that are known to be sound are not run through whole, and the lists are
// the same.
func TestEvidenceWithoutLeastExposure(t *testing.T) {
	t.Parallel()
	b := setUp(t, 210)
	b.siftFrom = 1
	b.Service = b.service()
	b.load(t, 60)
	go func() { _ = b.Run(t.Context()) }()
	d := evidence()
	d.Evidence.MinExposure = 0
	made, err := b.Create(t.Context(), d, "operator:1")
	require.NoError(t, err)
	snap := b.ready(t, made.ID)
	require.Equal(t, cohort.Ready, snap.State, snap.Error)
	members, err := b.Members(t.Context(), snap.ID, "", "", 0)
	require.NoError(t, err)
	require.Len(t, members, 210)
	for n, m := range members {
		list, code, reason := cohort.Out, cohort.CodeNoEvidence, "no breach"
		switch {
		case n%10 == 9:
			list, code, reason = cohort.NotJudgeable, cohort.CodeNoConsent, "not consented"
		case n%7 == 0:
			list, code, reason = cohort.NotJudgeable, cohort.CodeSilent, "nothing received"
		case n%5 == 0:
			list, code, reason = cohort.In, cohort.CodeEvidence, "above"
		}
		require.Equal(t, list, m.List, "%+v", m)
		require.Equal(t, code, m.Code, "%+v", m)
		require.Contains(t, m.Reason, reason)
		if list == cohort.Out {
			require.Equal(t, "no breach", m.Reason, "it was not run through whole")
		}
	}
}

// With and without sifting, over history in parts and rows that came late, each
// unit stands in the same list for the same reason.
func TestSiftingChangesNoList(t *testing.T) {
	t.Parallel()
	b := setUp(t, 120)
	require.NoError(t, b.history.Close())
	h, err := duckdb.Open(t.Context(), duckdb.Config{Dir: t.TempDir(), Manual: true, SealRows: 2500}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	b.history = h
	r := rand.New(rand.NewPCG(1, 2))
	late := map[int64][]telemetry.Row{}
	for i := range 200 {
		batch := &telemetry.Batch{Product: "wall-charger"}
		for n, u := range b.units {
			at := start.Add(time.Duration(i) * 5 * time.Minute).UnixMilli()
			value := 50 + 20*r.Float64()
			if n%9 == 0 && i > 100 {
				value += 30
			}
			current := 0.0
			if r.IntN(n+1) < 30 { // the more, the less they are used
				current = 20
			}
			row := telemetry.Row{Unit: u.Key, Event: at, Received: at, Values: []telemetry.Value{{Signal: "current", Number: current}, {Signal: "plug_temperature", Number: value}}}
			if held := late[u.Key]; len(held) > 0 && r.IntN(20) == 0 {
				batch.Rows = append(batch.Rows, held...)
				late[u.Key] = nil
			}
			if r.IntN(10) == 0 {
				late[u.Key] = append(late[u.Key], row)
				continue
			}
			batch.Rows = append(batch.Rows, row)
		}
		b.last++
		require.NoError(t, h.Append(t.Context(), []telemetry.Sequenced{{Seq: b.last, Batch: batch}}))
		require.NoError(t, h.Compact(t.Context()))
	}
	for _, exposure := range []time.Duration{0, 30 * time.Minute, 4 * time.Hour, 9 * time.Hour} {
		d := evidence()
		d.Evidence.MinExposure = fleet.Duration(exposure)
		var lists [2][]cohort.Member
		some := map[cohort.List]int{}
		for i, from := range []int64{1, math.MaxInt64} {
			b.siftFrom = from
			b.Service = b.service()
			made, err := b.Create(t.Context(), d, "operator:1")
			require.NoError(t, err)
			go func(s *cohort.Service) { _ = s.Run(t.Context()) }(b.Service)
			snap := b.ready(t, made.ID)
			require.Equal(t, cohort.Ready, snap.State, snap.Error)
			lists[i], err = b.Members(t.Context(), snap.ID, "", "", 0)
			require.NoError(t, err)
		}
		for i := range lists[0] {
			sifted, whole := lists[0][i], lists[1][i]
			some[whole.List]++
			if whole.List == cohort.Out {
				require.LessOrEqual(t, sifted.Exposure, whole.Exposure, "%+v", sifted)
				require.GreaterOrEqual(t, sifted.Exposure, exposure, "%+v", sifted)
				sifted.Exposure, sifted.Reason = whole.Exposure, whole.Reason
			}
			require.Equal(t, whole, sifted)
		}
		require.Positive(t, some[cohort.In])
		require.Positive(t, some[cohort.Out])
		if exposure >= 4*time.Hour {
			require.Positive(t, some[cohort.NotJudgeable])
		}
	}
}
