package tips

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

type source struct {
	list    map[string][]Showing
	reports []Report
}

func (s *source) Showing(_ context.Context, unitID string) ([]Showing, error) {
	return s.list[unitID], nil
}

func (s *source) Report(_ context.Context, _ string, r Report) error {
	if r.ID == "other" {
		return fault.New(fault.NotFound, "no tip")
	}
	s.reports = append(s.reports, r)
	return nil
}

func (s *source) Changed(context.Context, string) ([]string, string, error) { return nil, "", nil }

type listener []string

func (l *listener) Tips(payload []byte) { *l = append(*l, string(payload)) }

func TestHub(t *testing.T) {
	t.Parallel()
	s := &source{list: map[string][]Showing{}}
	h := NewHub(s, nil)
	var l listener
	require.NoError(t, h.Listen(t.Context(), "u1", &l))
	s.list["u1"] = []Showing{{ID: "7", Title: "Humid", Text: "Strong.", Until: 5}}
	h.Tell(t.Context(), "u2", "u1")
	h.Leave("u1", &l)
	h.Tell(t.Context(), "u1")
	require.Equal(t, listener{`{"tips":[]}`, `{"tips":[{"id":"7","title":"Humid","text":"Strong.","until":5}]}`}, l)
	require.Empty(t, h.byUnit)

	unknown, err := h.Take(t.Context(), "u1", []byte(`[{"id":"7","event":"shown","ts":1780300000000},{"id":"other","event":"acted"},{"id":"7","event":"dismissed"}]`))
	require.NoError(t, err)
	require.Equal(t, 1, unknown)
	require.Equal(t, []Report{{"7", "shown", time.UnixMilli(1780300000000).UTC()}, {ID: "7", Event: "dismissed"}}, s.reports)
}

func TestReportsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`x`:                           "an object as",
		`{"id":"7"}`:                  "[0].event: expected shown, dismissed or acted",
		`[{"id":"7","event":"seen"}]`: "[0].event: expected shown, dismissed or acted, got seen",
		`{"event":"shown"}`:           "[0].id: expected the tip's id",
		`{"id":7,"event":"shown"}`:    "an object as",
	} {
		_, err := Parse([]byte(body))
		require.ErrorContains(t, err, want, body)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"id":"7","event":"shown","ts":1780300000000}]`))
	f.Add([]byte(`{"id":"7","event":"acted"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		reports, err := Parse(body)
		if err == nil && len(reports) > maxReports {
			t.Fatal(len(reports))
		}
	})
}
