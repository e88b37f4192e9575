package words

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/notify/ladder"
)

func TestQuarters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		at, name, end string
	}{
		{"2026-01-01T00:00:00Z", "2026-1", "2026-04-01T00:00:00Z"},
		{"2026-03-31T23:59:59Z", "2026-1", "2026-04-01T00:00:00Z"},
		{"2026-12-31T23:00:00-05:00", "2027-1", "2027-04-01T00:00:00Z"},
		{"2026-11-22T00:00:00Z", "2026-4", "2027-01-01T00:00:00Z"},
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		require.NoError(t, err)
		q := quarterOf(at)
		require.Equal(t, []string{c.name, c.end}, []string{q.String(), q.end().Format(time.RFC3339)})
		require.Equal(t, 1, q.since(q))
	}
	require.Equal(t, 8, quarter{2028, 1}.since(quarter{2026, 2}))
}

func TestQuarterlyFile(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	run := campaign.Run{Campaign: campaign.Campaign{Name: "plug-recall", Title: map[string]string{"en": "Plug, hot", "de": "Stecker"}}}
	c := completion{involved: 1000, remedied: 640, removed: 12, first: at.AddDate(0, -7, 0), last: at.AddDate(0, -6, 0)}
	got, err := c.file("Nordlys AS", "26V123", &run, quarter{2026, 3}, &ladder.Reach{Unreachable: 30}, at)
	require.NoError(t, err)
	require.Equal(t, "MFGTXT,CAMPNO,MFGCAMPNO,RCLSUBJ,ODATE,ODATEEND,RPTNO,RPTQTR,INVOLVED,TTLREMEDIED,TTLUNREACH,TTLREMOVED,SUBMDATE\n"+
		"Nordlys AS,26V123,plug-recall,\"Plug, hot\",20260422,20260522,2,2026-3,1000,640,30,12,20261122\n", string(got))
	got, err = (&completion{}).file("", "", &run, quarter{2026, 3}, &ladder.Reach{}, at)
	require.NoError(t, err)
	require.Contains(t, string(got), ",,plug-recall,\"Plug, hot\",,,,2026-3,0,0,0,0,20261122\n", "nobody was told yet")
}
