package outcome

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/outcome/sequential"
)

const day = 24 * time.Hour

var opened = time.Date(2014, 3, 3, 12, 0, 0, 0, time.UTC)

func running(last bool) *campaign.Run {
	r := &campaign.Run{
		State: campaign.Running, WaveOpened: []time.Time{opened},
		Campaign: campaign.Campaign{
			Waves: []campaign.Wave{{Name: "first", Share: 0.5}, {Name: "rest"}},
			Gate: campaign.Gate{
				Soak: fleet.Duration(2 * day), Verified: 0.9, MinVerified: 3, Failed: 0.1, Relapsed: 0.1, MinJudged: 5, MaxWait: fleet.Duration(10 * day),
			},
			Deadline: fleet.Duration(14 * day), Exposure: fleet.Duration(day),
		},
	}
	if last {
		r.Campaign.Waves = r.Campaign.Waves[:1]
	}
	return r
}

// known is what is known of a product without earlier campaigns.
func known(r *campaign.Run, counts []campaign.Count) *facts {
	var rec Record
	rec.Harm = sequential.Compare(nil)
	return rec.facts(r, counts)
}

type states map[campaign.TaskState]int

func (s states) counts() (out []campaign.Count) {
	for k, n := range s {
		out = append(out, campaign.Count{State: k, N: n})
	}
	return out
}

func TestGate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		last   bool
		after  time.Duration
		tasks  states
		change func(*campaign.Run)
		want   action
		why    string
	}{
		{name: "soaking", after: day, tasks: states{campaign.Verified: 10}, want: wait, why: "soak for another 24h"},
		{name: "holds", after: 2 * day, tasks: states{campaign.Verified: 10}, want: openNext, why: "10 verified of 10 judged (100 %)"},
		{name: "claimed and installed are no success", after: 3 * day, tasks: states{campaign.Claimed: 5, campaign.Verifying: 50, campaign.Verified: 2}, want: wait, why: "1 more verified"},
		{name: "not enough share", after: 3 * day, tasks: states{campaign.Verified: 17, campaign.FailedTask: 1, campaign.Relapsed: 1, campaign.Verifying: 2}, want: wait, why: "a share of 90 % verified"},
		{name: "failures pause at once", after: time.Hour, tasks: states{campaign.FailedTask: 1, campaign.Installing: 4}, want: pause, why: "1 of 5 begun failed (20 %), more than 10 %"},
		{name: "too few begun to say", after: time.Hour, tasks: states{campaign.FailedTask: 1, campaign.Installing: 3, campaign.Offered: 9}, want: wait},
		{name: "a small wave can fail too", after: time.Hour, tasks: states{campaign.FailedTask: 1}, want: pause, why: "1 of 1 begun failed"},
		{name: "relapses pause", after: time.Hour, tasks: states{campaign.Relapsed: 1, campaign.Verified: 4}, want: pause, why: "the fault came back in 1 of 5"},
		{name: "an excused failure does not pause again", after: 3 * day, tasks: states{campaign.Relapsed: 2, campaign.Verified: 8}, change: func(r *campaign.Run) { r.Excused, r.ExcusedAll = 2, 2 }, want: openNext},
		{name: "but one more does", after: 3 * day, tasks: states{campaign.Relapsed: 3, campaign.Verified: 7}, change: func(r *campaign.Run) { r.Excused, r.ExcusedAll = 2, 2 }, want: pause},
		{name: "neither held nor failed", after: 10 * day, tasks: states{campaign.Verified: 1, campaign.Offered: 9}, want: pause, why: "neither held nor failed for 10 d"},
		{name: "a resumed campaign waits anew", after: 10 * day, tasks: states{campaign.Verified: 1, campaign.Offered: 9}, change: func(r *campaign.Run) { r.ResumedAt = opened.Add(9 * day) }, want: wait},
		{name: "nobody can be judged any more", after: 3 * day, tasks: states{campaign.Declined: 3, campaign.Unjudged: 2}, want: pause, why: "nobody in it can be judged"},
		{name: "an empty wave", after: 0, tasks: states{}, want: openNext},
		{name: "the last gate passes", last: true, after: 2 * day, tasks: states{campaign.Verified: 10, campaign.Offered: 2}, want: passLast},
		{name: "the last wave is done", last: true, after: 3 * day, tasks: states{campaign.Verified: 10, campaign.Declined: 2}, change: passed, want: finish},
		{name: "somebody is still asked", last: true, after: 3 * day, tasks: states{campaign.Verified: 10, campaign.Offered: 2}, change: passed, want: wait},
		{name: "the deadline is over", last: true, after: 16 * day, tasks: states{campaign.Verified: 10, campaign.Offered: 2}, change: passed, want: finish},
		{name: "but somebody is being watched", last: true, after: 16 * day, tasks: states{campaign.Verified: 10, campaign.Verifying: 2}, change: passed, want: wait},
		{name: "not for ever", last: true, after: 24 * day, tasks: states{campaign.Verified: 10, campaign.Verifying: 2}, change: passed, want: finish},
		{name: "the last wave can fail", last: true, after: day, tasks: states{campaign.Relapsed: 6, campaign.Verified: 4}, want: pause},
		{name: "the last wave never waits in vain", last: true, after: 20 * day, tasks: states{campaign.Declined: 6}, want: finish},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := running(c.last)
			if c.change != nil {
				c.change(r)
			}
			s, act := decide(r, known(r, c.tasks.counts()), opened.Add(c.after))
			require.Equal(t, c.want, act, s.Why)
			require.Contains(t, s.Why, c.why)
			require.Equal(t, act == pause, s.State == GateFailed)
		})
	}
}

func passed(r *campaign.Run) { r.GatePassed = []time.Time{opened.Add(2 * day)} }

func TestJudge(t *testing.T) {
	t.Parallel()
	installed := opened
	quiet := condition.Exposure{Since: installed, For: day, LastAt: installed.Add(2 * day)}
	found := func(onset, last, seen time.Duration, s condition.FindingState) []condition.Finding {
		return []condition.Finding{{Onset: installed.Add(onset), LastAt: installed.Add(last), SeenAt: installed.Add(seen), State: s}}
	}
	for _, c := range []struct {
		name     string
		state    campaign.TaskState
		exposure condition.Exposure
		findings []condition.Finding
		refused  bool
		after    time.Duration
		want     campaign.TaskState
	}{
		{name: "quiet over the exposure", exposure: quiet, want: campaign.Verified},
		{name: "not yet exposed", exposure: condition.Exposure{Since: installed, For: day - 1, LastAt: installed.Add(day)}, want: ""},
		{name: "exposure from before the update", exposure: condition.Exposure{Since: installed.Add(-2 * time.Hour), For: 9 * day, LastAt: installed.Add(day)}, want: ""},
		{name: "reset while it was installing", exposure: condition.Exposure{Since: installed.Add(-time.Second), For: day, LastAt: installed.Add(day)}, want: campaign.Verified},
		{name: "no exposure known", want: ""},
		{name: "the fault came back", exposure: quiet, findings: found(time.Hour, 2*time.Hour, 2*time.Hour, condition.Open), want: campaign.Relapsed},
		{name: "in the very moment", exposure: quiet, findings: found(0, 0, 0, condition.Cleared), want: campaign.Relapsed},
		{name: "the finding of before, cleared by the update", exposure: quiet, findings: found(-time.Hour, -time.Minute, -time.Minute, condition.Cleared), want: campaign.Verified},
		{name: "old rows that arrive late", exposure: quiet, findings: found(-2*time.Hour, -time.Hour, time.Hour, condition.Cleared), want: campaign.Verified},
		{name: "a clock that runs behind", exposure: quiet, findings: found(-2*time.Hour, time.Hour, 3*time.Hour, condition.Open), want: campaign.Relapsed},
		{name: "never verified while one is open", exposure: quiet, findings: found(-2*time.Hour, -time.Hour, time.Hour, condition.Open), want: ""},
		{name: "no consent", exposure: quiet, refused: true, want: campaign.Unjudged},
		{name: "silent", exposure: condition.Exposure{Since: installed, LastAt: installed.Add(day)}, after: 12 * day, want: campaign.Unjudged},
		{name: "a relapse after verified", state: campaign.Verified, exposure: quiet, findings: found(time.Hour, 2*time.Hour, 2*time.Hour, condition.Open), want: campaign.Relapsed},
		{name: "verified stays", state: campaign.Verified, exposure: quiet, want: ""},
		{name: "verified stays without consent", state: campaign.Verified, refused: true, want: ""},
		{name: "consent is given again", state: campaign.Unjudged, want: campaign.Verifying},
		{name: "still none", state: campaign.Unjudged, refused: true, want: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.state == "" {
				c.state = campaign.Verifying
			}
			if c.after == 0 {
				c.after = 2 * day
			}
			task := campaign.Task{ID: "t", State: c.state, StartedAt: installed.Add(-time.Hour), InstalledAt: installed, Why: whyNoConsent}
			r := running(false)
			j, ok := judge(&task, &r.Campaign, c.exposure, c.findings, !c.refused, installed.Add(c.after))
			require.Equal(t, c.want != "", ok, j)
			require.Equal(t, c.want, j.State, j.Why)
		})
	}
}

func TestARelapseBehindAPassedGatePauses(t *testing.T) {
	t.Parallel()
	r := running(false)
	r.Campaign.Waves = append(r.Campaign.Waves, campaign.Wave{Name: "third"})
	r.WaveOpen, r.WaveOpened, r.GatePassed = 1, []time.Time{opened, opened.Add(2 * day)}, []time.Time{opened.Add(2 * day)}
	counts := []campaign.Count{
		{Wave: 0, State: campaign.Verified, N: 8},
		{Wave: 0, State: campaign.Relapsed, N: 2},
		{Wave: 1, State: campaign.Offered, N: 20},
		{Wave: 2, State: campaign.Planned, N: 20},
	}
	s, act := decide(r, known(r, counts), opened.Add(3*day))
	require.Equal(t, pause, act)
	require.Contains(t, s.Why, "in 2 of 10 judged (20 %), more than 10 % in the waves before it")
	r.ExcusedAll = 2
	_, act = decide(r, known(r, counts), opened.Add(3*day))
	require.Equal(t, wait, act)
}
