package cohort_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/cohort"
)

// Units that are known to be sound are not run through whole, and the lists are
// the same.
func TestEvidenceWithoutLeastExposure(t *testing.T) {
	t.Parallel()
	b := setUp(t, 210)
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
