package e2e

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// demoReport is what `fettle demo --report` writes, as far as it is judged here.
type demoReport struct {
	Seed         int64    `json:"seed"`
	Acknowledged int64    `json:"acknowledged"`
	Stored       int64    `json:"stored"`
	NotConsented int64    `json:"not_consented"`
	Undeclared   int64    `json:"undeclared"`
	Duplicate    int64    `json:"duplicate"`
	Invalid      int64    `json:"invalid"`
	Recall       float64  `json:"cohort_recall"`
	Precision    float64  `json:"cohort_precision"`
	Attribute    float64  `json:"attribute_cohort_recall"`
	Verified     int      `json:"verified"`
	Installed    int      `json:"installed"`
	Kills        int      `json:"kills"`
	Closed       bool     `json:"closed"`
	WhyNot       []string `json:"why_not"`
	Effect       struct {
		Verdict string `json:"verdict"`
	} `json:"effect"`
	SecondNotices  int `json:"second_notices"`
	SecondActions  int `json:"second_actions"`
	SecondInstalls int `json:"second_installs"`
	SecondFindings int `json:"second_findings"`
	Outside        int `json:"treated_outside_cohort"`
	Missing        int `json:"units_with_missing_samples"`
}

// demo runs the story; ok is whether it ended with status 0.
func demo(t *testing.T, args ...string) (r demoReport, ok bool) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	args = append([]string{
		"demo", "--exit", "--report", file, "--data", filepath.Join(dir, "data"),
		"--listen", freeAddress(t), "--mqtt", freeAddress(t),
	}, args...)
	out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
	tail := string(out)
	if len(tail) > 4000 {
		tail = tail[len(tail)-4000:]
	}
	raw, readErr := os.ReadFile(file)
	require.NoError(t, readErr, "no report: %v\n%s", err, tail)
	require.NoError(t, json.Unmarshal(raw, &r))
	var keys map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &keys))
	for _, k := range []string{
		"seed", "acknowledged", "stored", "not_consented", "undeclared", "duplicate", "invalid", "cohort_recall", "cohort_precision",
		"offered", "started", "claimed", "installed", "verified", "relapsed", "not_judgeable", "declined", "unreachable",
		"onset_to_finding_p50", "finding_to_verified_p50",
	} {
		require.Contains(t, keys, k)
	}
	if err != nil {
		t.Logf("demo ended with %v:\n%s", err, tail)
	}
	require.Equal(t, r.Acknowledged, r.Stored+r.NotConsented+r.Undeclared+r.Duplicate+r.Invalid, "the accounting is exact")
	require.Zero(t, r.Missing, "every unit's samples are accounted for")
	require.Zero(t, r.Outside, "no unit outside the cohort was treated")
	require.Zero(t, r.SecondNotices+r.SecondActions+r.SecondInstalls+r.SecondFindings, "nothing happened twice")
	return r, err == nil
}

func closes(t *testing.T, args ...string) demoReport {
	t.Helper()
	r, ok := demo(t, args...)
	require.True(t, ok, "the loop closes")
	require.True(t, r.Closed)
	require.GreaterOrEqual(t, r.Recall, 0.99)
	require.GreaterOrEqual(t, r.Precision, 0.99)
	require.InDelta(t, 1, r.Attribute, 0)
	require.Positive(t, r.Verified)
	return r
}

// The demos run one after the other: each keeps both cores busy.

// The loop closes, also when the server is killed on the way.
func TestDemoClosesTheLoopOverKills(t *testing.T) {
	r := closes(t, "--units", "200", "--seed", "2", "--kill-server", "4")
	require.GreaterOrEqual(t, r.Kills, 2, "moments are random: the last may fall after the end")
}

func TestDemoPlaceboIsNotBelieved(t *testing.T) {
	r, ok := demo(t, "--units", "400", "--seed", "3", "--remedy", "placebo")
	require.False(t, ok, "a placebo ends with another status than 0")
	require.Positive(t, r.Installed)
	require.Equal(t, "not demonstrated", r.Effect.Verdict)
}

func soak(t *testing.T) {
	t.Helper()
	if os.Getenv("FETTLE_SOAK") == "" {
		t.Skip("make soak runs this")
	}
}

func seed() string { return strconv.FormatUint(uint64(rand.Uint32()), 10) }

func TestSoakDemoSeeds(t *testing.T) {
	soak(t)
	for range 5 {
		s := seed()
		t.Run("seed "+s, func(t *testing.T) {
			start := time.Now()
			r := closes(t, "--seed", s)
			t.Logf("seed %s: %d verified, recall %.3f, precision %.3f, %s", s, r.Verified, r.Recall, r.Precision, time.Since(start).Round(time.Second))
		})
	}
}

func TestSoakDemoKills(t *testing.T) {
	soak(t)
	s := seed()
	start := time.Now()
	r := closes(t, "--seed", s, "--kill-server", "20")
	require.Equal(t, 20, r.Kills)
	t.Logf("seed %s: 20 kills, %d verified, %s", s, r.Verified, time.Since(start).Round(time.Second))
}

func TestSoakDemoFleetOf2014(t *testing.T) {
	soak(t)
	s := seed()
	start := time.Now()
	r := closes(t, "--seed", s, "--units", "29222")
	require.Less(t, time.Since(start), 10*time.Minute)
	t.Logf("seed %s: %d samples, %d verified, %s", s, r.Acknowledged, r.Verified, time.Since(start).Round(time.Second))
}

func TestSoakDemoPlacebo(t *testing.T) {
	soak(t)
	believed := 0
	for range 100 {
		s := seed()
		r, ok := demo(t, "--seed", s, "--units", "400", "--remedy", "placebo")
		if ok || r.Effect.Verdict == "demonstrated" {
			believed++
			t.Logf("seed %s: the placebo was believed", s)
		}
	}
	t.Logf("%d of 100 placebos were believed", believed)
	require.LessOrEqual(t, believed, 5)
}
