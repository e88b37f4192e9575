package story

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/drive"
)

func TestDeclaredFilesAreDocuments(t *testing.T) {
	t.Parallel()
	files := os.DirFS("../../cmd/fettle/demo")
	kinds := map[string]string{}
	for _, name := range []string{"product.yaml", "detectors.yaml", "release.yaml", "campaign.yaml"} {
		docs, err := documents(files, name, "{{ARTIFACT}}", "abc", "{{FIRST}}", "10", "{{MINVERIFIED}}", "3")
		require.NoError(t, err)
		for _, d := range docs {
			b, err := json.Marshal(d)
			require.NoError(t, err)
			require.NotContains(t, string(b), "{{")
			require.Equal(t, "fettle.dev/v1", d.APIVersion)
			kinds[d.Metadata["name"].(string)] = d.Kind
		}
	}
	require.Equal(t, map[string]string{
		product: "Product", detector: "Detector", "charger-silent": "Detector", "charger-2.0.0": "Release", campaign: "Campaign", "cold-outside": "Tip",
	}, kinds)
}

func TestAccountsMustAgree(t *testing.T) {
	t.Parallel()
	known := drive.Account{Acknowledged: 100, Stored: 90, NotConsented: 4, Undeclared: 3, Duplicate: 1, Invalid: 2}
	again := drive.Account{Acknowledged: 10, Stored: 9, NotConsented: 1}
	exact := account{Acknowledged: 100, Stored: 90, NotConsented: 4, Undeclared: 3, Duplicate: 1, Invalid: 2}
	twice := account{Acknowledged: 110, Stored: 90, NotConsented: 5, Undeclared: 3, Duplicate: 10, Invalid: 2}
	for name, c := range map[string]struct {
		got   account
		truth drive.Truth
		want  string
	}{
		"exact":                                {exact, drive.Truth{Acked: known}, ""},
		"counted once though sent again":       {exact, drive.Truth{Acked: known, Uncertain: again}, ""},
		"counted twice, as sent":               {twice, drive.Truth{Acked: known, Uncertain: again}, ""},
		"counted twice, though not sent again": {twice, drive.Truth{Acked: known}, "samples"},
		"one sample lost":                      {exact.with(99, 89, 4, 3, 1, 2), drive.Truth{Acked: known, Uncertain: again}, "89 samples stored, 90 are right"},
		"one sample in the wrong account":      {exact.with(100, 90, 5, 2, 1, 2), drive.Truth{Acked: known}, "not consented"},
		"does not add up":                      {exact.with(101, 90, 4, 3, 1, 2), drive.Truth{Acked: known}, "does not add up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.want == "" {
				require.Empty(t, disagree(c.got, c.truth))
			} else {
				require.Contains(t, disagree(c.got, c.truth), c.want)
			}
		})
	}
}

func (a account) with(acknowledged, stored, notConsented, undeclared, duplicate, invalid int64) account {
	a.Acknowledged, a.Stored, a.NotConsented, a.Undeclared, a.Duplicate, a.Invalid = acknowledged, stored, notConsented, undeclared, duplicate, invalid
	return a
}

func TestWhatIsMissing(t *testing.T) {
	t.Parallel()
	defective := func(change func(*drive.Truth)) drive.Truth {
		u := charger.Unit{ID: "WC-1", Defective: true, Consents: true, Mood: charger.StartsNow}
		truth := drive.Truth{Unit: &u, Installs: 1}
		change(&truth)
		return truth
	}
	for name, c := range map[string]struct {
		truth drive.Truth
		state string
		ok    bool
	}{
		"verified":                        {defective(func(*drive.Truth) {}), "verified", true},
		"relapsed":                        {defective(func(*drive.Truth) {}), "relapsed", false},
		"no task":                         {defective(func(*drive.Truth) {}), "", false},
		"declined by the owner":           {defective(func(t *drive.Truth) { t.Unit.Mood = charger.Declines }), "declined", true},
		"cannot be reached":               {defective(func(t *drive.Truth) { t.Left = true }), "accepted", true},
		"healthy":                         {defective(func(t *drive.Truth) { t.Unit.Defective = false }), "", true},
		"no consent, installed":           {defective(func(t *drive.Truth) { t.Unit.Consents = false }), "not judgeable", true},
		"no consent, never installed":     {defective(func(t *drive.Truth) { t.Unit.Consents = false; t.Installs = 0 }), "not judgeable", false},
		"consent, but said not judgeable": {defective(func(*drive.Truth) {}), "not judgeable", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.ok, missing(c.truth, c.state) == "", missing(c.truth, c.state))
		})
	}
}

func TestSuspectsAreTheBatchesThatStandOut(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Query().Get("after") == "" {
			_, _ = w.Write([]byte(`{"items":[{"id":"1","batch":"A"},{"id":"2","batch":"A"},{"id":"3","batch":"B"},{"id":"4","batch":"C"}],"next":"x y"}`))
			return
		}
		if q.URL.Query().Get("after") != "x y" {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = w.Write([]byte(`{"items":[{"id":"5","batch":"A"},{"id":"6","batch":"C"},{"id":"7","batch":"D"}]}`))
	}))
	defer s.Close()
	r := &run{op: &client.Caller{HTTP: s.Client(), Base: s.URL}}
	in := members{"1": "evidence", "2": "evidence", "3": "evidence"}
	out := members{"4": "no evidence", "5": "no evidence", "6": "no evidence", "7": "no evidence"}
	got, err := r.suspects(t.Context(), in, out)
	require.NoError(t, err)
	require.Equal(t, []string{"A"}, got, "one unit of B is not enough to accuse a batch")
}

func TestReportIsClosedOnlyWhenNothingIsWrong(t *testing.T) {
	t.Parallel()
	good := func() *Report { return &Report{Acknowledged: 3, Stored: 2, Invalid: 1} }
	rep := good()
	rep.check(true)
	require.True(t, rep.Closed)
	for name, spoil := range map[string]func(*Report){
		"a second installation": func(r *Report) { r.SecondInstalls = 1 },
		"a second action":       func(r *Report) { r.SecondActions = 1 },
		"a second notice":       func(r *Report) { r.SecondNotices = 1 },
		"a second finding":      func(r *Report) { r.SecondFindings = 1 },
		"treated outside":       func(r *Report) { r.TreatedOutside = 1 },
		"missing samples":       func(r *Report) { r.Missing = 1 },
		"a sum that is wrong":   func(r *Report) { r.Stored = 1 },
		"an earlier reason":     func(r *Report) { r.WhyNot = []string{"x"} },
	} {
		rep := good()
		spoil(rep)
		rep.check(true)
		require.False(t, rep.Closed, name)
		require.NotEmpty(t, rep.WhyNot, name)
	}
	rep = good()
	rep.check(false)
	require.False(t, rep.Closed)
	require.NotEmpty(t, rep.WhyNot)
}

func TestReportHasTheKeysAskedFor(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(&Report{})
	require.NoError(t, err)
	var got map[string]any
	require.NoError(t, json.Unmarshal(b, &got))
	for key := range strings.SplitSeq("seed acknowledged stored not_consented undeclared duplicate invalid cohort_recall cohort_precision "+
		"offered started claimed installed verified relapsed not_judgeable declined unreachable onset_to_finding_p50 finding_to_verified_p50", " ") {
		require.Contains(t, got, key)
	}
}

func TestSpeedFitsTheFleet(t *testing.T) {
	t.Parallel()
	real := func(units, kills int) time.Duration {
		return time.Duration(expected.Seconds() / (&Options{Units: units, Kills: kills}).speed() * float64(time.Second))
	}
	require.Less(t, real(1000, 0), 50*time.Second)
	require.Less(t, real(29222, 0), 9*time.Minute)
	require.Greater(t, real(1000, 20), 60*time.Second)
	require.InDelta(t, 500, (&Options{Speed: 500}).speed(), 0)
}

func TestAServerThatDiesAtItsStartIsShown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := newServer([]string{"/bin/sh", "-c", "echo no such database; exit 3"}, "http://127.0.0.1:1", dir)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.ErrorContains(t, s.start(ctx), "no such database")
}

func TestLinesWithoutATerminal(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	tell := newTeller(&b, false)
	tell.began = time.Now().Add(-time.Minute)
	p := tell.progress("units", 100)
	for n := range int64(101) {
		p.set(n)
	}
	p.done()
	tell.close()
	require.Equal(t, 7, strings.Count(b.String(), "units:"), b.String())
}

func TestAnOccupiedAddressGivesAnotherPort(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	taken := s.Listener.Addr().String()
	got, err := address(t.Context(), taken)
	require.NoError(t, err)
	require.NotEqual(t, taken, got)
	_, err = address(t.Context(), "nonsense")
	require.Error(t, err)
}

// Whom mail does not reach can be called or written to, and the mailbox knows
// who is gone.
func TestPeopleBeyondMail(t *testing.T) {
	t.Parallel()
	units, err := charger.Fleet(charger.Options{Units: 500, Seed: 1})
	require.NoError(t, err)
	leave(units)
	var gone, phones, addresses int
	for _, u := range units {
		c, given := contactOf(u)
		if noMailbox(u.Email) {
			gone++
			require.True(t, given, u.ID)
			require.False(t, u.Mood.Accepts(), u.ID)
		}
		if given {
			require.True(t, c.Phone != "" || c.Address != nil, u.ID)
		}
		if c.Phone != "" {
			phones++
			require.Regexp(t, `^\+[1-9][0-9]{9,11}$`, c.Phone)
		}
		if c.Address != nil {
			addresses++
			require.NotEmpty(t, c.Address.Country, u.Region)
		}
	}
	require.Equal(t, 500/goneOf, gone)
	require.Greater(t, min(phones, addresses), 500/givenOf/2)
}
