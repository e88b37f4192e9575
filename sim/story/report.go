package story

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"fettle.dev/fettle/sim"
	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/drive"
)

// Report compares what the server says with what is true.
type Report struct {
	Seed uint64 `json:"seed"`

	// Samples, as the server accounts for them.
	Acknowledged int64 `json:"acknowledged"`
	Stored       int64 `json:"stored"`
	NotConsented int64 `json:"not_consented"`
	Undeclared   int64 `json:"undeclared"`
	Duplicate    int64 `json:"duplicate"`
	Invalid      int64 `json:"invalid"`

	// The evidence cohort against the defective units that had consent and at
	// least EnoughHours of load after the defect's onset.
	CohortRecall    float64 `json:"cohort_recall"`
	CohortPrecision float64 `json:"cohort_precision"`

	// The campaign, as the server reports it.
	Offered      int `json:"offered"`
	Started      int `json:"started"`
	Claimed      int `json:"claimed"`
	Installed    int `json:"installed"`
	Verified     int `json:"verified"`
	Relapsed     int `json:"relapsed"`
	NotJudgeable int `json:"not_judgeable"`
	Declined     int `json:"declined"`
	Unreachable  int `json:"unreachable"`
	Calls        int `json:"calls"`   // that wait for somebody to make them
	Letters      int `json:"letters"` // that wait to be printed

	// Medians in simulated seconds. Onset is the true one.
	OnsetToFindingP50    float64 `json:"onset_to_finding_p50"`
	FindingToVerifiedP50 float64 `json:"finding_to_verified_p50"`

	Units                 int      `json:"units"`
	Defective             int      `json:"defective"`
	EnoughHours           float64  `json:"enough_hours"`
	DefectiveWithLoad     int      `json:"defective_with_load_and_consent"`
	AttributeCohortRecall float64  `json:"attribute_cohort_recall"`
	Batches               []string `json:"batches"`
	Cohort                int      `json:"cohort"`
	AcknowledgedByUnits   int64    `json:"acknowledged_by_units"`
	SentAgain             int64    `json:"samples_sent_again"`
	SecondNotices         int64    `json:"second_notices"`
	SelfVerified          int64    `json:"verified_by_units"` // updates whose signed metadata and bytes a unit verified itself
	SecondActions         int      `json:"second_actions"`
	SecondInstalls        int      `json:"second_installs"`
	SecondFindings        int      `json:"second_findings"`
	TreatedOutside        int      `json:"treated_outside_cohort"`
	Missing               int      `json:"units_with_missing_samples"`
	Kills                 int      `json:"kills"`
	Remedy                string   `json:"remedy"`
	Effect                Effect   `json:"effect"`
	Campaign              string   `json:"campaign"` // its state and why
	Closed                bool     `json:"closed"`
	WhyNot                []string `json:"why_not"`

	Messages         int64          `json:"messages"`
	Speed            float64        `json:"speed"`
	SimulatedDays    float64        `json:"simulated_days"`
	RealSeconds      float64        `json:"real_seconds"`
	Waits            int64          `json:"waits_for_server"`
	WorstLagHours    float64        `json:"worst_lag_hours"` // simulated, of the fleet behind its clock
	Errors           map[string]int `json:"errors_lived_with"`
	ServerCPUSeconds float64        `json:"server_cpu_seconds"` // of all its processes
	ServerMaxMemory  int64          `json:"server_max_memory"`  // bytes, of the largest
}

// Effect is the server's verdict.
type Effect struct {
	Verdict    string  `json:"verdict"`
	Why        string  `json:"why"`
	Offered    arm     `json:"offered"`
	NotOffered arm     `json:"notOffered"`
	Difference float64 `json:"difference"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	P          float64 `json:"p"`
}

type arm struct {
	Units    int `json:"units"`
	Breached int `json:"breached"`
}

type account struct {
	UnitID       string `json:"unitId"`
	Acknowledged int64  `json:"acknowledged"`
	Stored       int64  `json:"stored"`
	NotConsented int64  `json:"notConsented"`
	Undeclared   int64  `json:"undeclared"`
	Duplicate    int64  `json:"duplicate"`
	Invalid      int64  `json:"invalid"`
}

// account lets the fleet fall silent, and compares.
func (r *run) account(ctx context.Context, c *cohorts, end *ending) (*Report, error) {
	rep := &Report{
		Seed: r.o.Seed, Units: len(r.units), EnoughHours: enoughUse, Batches: c.batches, Cohort: len(c.in), Kills: r.kills,
		Remedy: "update", Campaign: end.state.State, Speed: r.clock.Speed, WhyNot: append([]string{}, end.open...),
	}
	if r.o.Placebo {
		rep.Remedy = "placebo"
	}
	if end.state.Why != "" {
		rep.Campaign += ": " + end.state.Why
	}
	rep.SimulatedDays = r.clock.Now().Sub(r.clock.Start).Hours() / 24
	if err := r.completion(ctx, rep); err != nil {
		return nil, err
	}
	silent, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	if left := r.fleet.Quiesce(silent); left > 0 {
		rep.WhyNot = append(rep.WhyNot, fmt.Sprintf("%d units have data that was never acknowledged", left))
	}
	truths := r.fleet.Truths()
	if err := r.samples(ctx, rep, truths); err != nil {
		return nil, err
	}
	r.compareCohorts(rep, c)
	r.compareTreatment(rep, c, truths)
	if err := r.times(ctx, rep, end); err != nil {
		return nil, err
	}
	stats := r.fleet.Stats()
	rep.WorstLagHours = stats.WorstLag.Hours()
	rep.SelfVerified = stats.Verified
	rep.Messages, rep.Waits, rep.SecondNotices, rep.Errors = stats.Messages, stats.Waits, stats.SecondNotices, r.fleet.Notes()
	rep.check(end.closed)
	return rep, nil
}

// completion reads the server's own report.
func (r *run) completion(ctx context.Context, rep *Report) error {
	var in struct {
		Offered, Started, Claimed, Installed, Verified, Relapsed, NotJudgeable, Declined, Unreachable int
		Effect                                                                                        Effect
	}
	err := client.Patiently(ctx, func() error {
		_, err := r.op.Do(ctx, http.MethodGet, "/v1/campaigns/"+campaign+"/report", nil, &in)
		return err
	})
	if err != nil {
		return fmt.Errorf("report of the campaign: %w", err)
	}
	rep.Offered, rep.Started, rep.Claimed, rep.Installed = in.Offered, in.Started, in.Claimed, in.Installed
	rep.Verified, rep.Relapsed, rep.NotJudgeable = in.Verified, in.Relapsed, in.NotJudgeable
	rep.Declined, rep.Unreachable, rep.Effect = in.Declined, in.Unreachable, in.Effect
	for path, wait := range map[string]func(map[string]int){
		"/v1/call-counts":   func(n map[string]int) { rep.Calls = n["open"] },
		"/v1/letter-counts": func(n map[string]int) { rep.Letters = n["waiting"] },
	} {
		var by struct{ Counts map[string]int }
		err := client.Patiently(ctx, func() error {
			_, err := r.op.Do(ctx, http.MethodGet, path, nil, &by)
			return err
		})
		if err != nil {
			return fmt.Errorf("people whom mail does not reach: %w", err)
		}
		wait(by.Counts)
	}
	return nil
}

// samples compares the accounting of every unit with what the unit knows.
func (r *run) samples(ctx context.Context, rep *Report, truths []drive.Truth) error {
	for _, t := range truths {
		rep.AcknowledgedByUnits += t.Acked.Acknowledged
		rep.SentAgain += t.Uncertain.Acknowledged
	}
	accounts := make(map[string]account, len(truths))
	patience := time.Now().Add(2 * time.Minute)
	// What is acknowledged is durable; history and its accounting follow.
	err := until(ctx, 200*time.Millisecond, func() (bool, error) {
		clear(accounts)
		err := client.All(ctx, r.op, "/v1/accounting?product="+product, func(a account) error {
			accounts[a.UnitID] = a
			return nil
		})
		if err != nil {
			return false, err
		}
		for _, t := range truths {
			if accounts[t.Unit.ID].Acknowledged < t.Acked.Acknowledged {
				return time.Now().After(patience), nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("accounting: %w", err)
	}
	for _, t := range truths {
		a := accounts[t.Unit.ID]
		rep.Acknowledged += a.Acknowledged
		rep.Stored += a.Stored
		rep.NotConsented += a.NotConsented
		rep.Undeclared += a.Undeclared
		rep.Duplicate += a.Duplicate
		rep.Invalid += a.Invalid
		if why := disagree(a, t); why != "" {
			rep.Missing++
			if rep.Missing <= 5 {
				rep.WhyNot = append(rep.WhyNot, t.Unit.ID+": "+why)
			}
		}
	}
	return nil
}

// disagree says how a unit's account differs from what the unit knows. What
// was sent again after a loss of connection may be counted once or twice, and
// everything else is exact; what is stored always is.
func disagree(a account, t drive.Truth) string {
	if a.Acknowledged != a.Stored+a.NotConsented+a.Undeclared+a.Duplicate+a.Invalid {
		return fmt.Sprintf("the account does not add up: %+v", a)
	}
	k, u := t.Acked, t.Uncertain
	if a.Stored != k.Stored {
		return fmt.Sprintf("%d samples stored, %d are right", a.Stored, k.Stored)
	}
	for _, x := range []struct {
		name             string
		got, want, again int64
	}{
		{"acknowledged", a.Acknowledged, k.Acknowledged, u.Acknowledged},
		{"not consented", a.NotConsented, k.NotConsented, u.NotConsented},
		{"undeclared", a.Undeclared, k.Undeclared, u.Undeclared},
		{"invalid", a.Invalid, k.Invalid, u.Invalid},
		{"duplicate", a.Duplicate, k.Duplicate, u.Duplicate + u.Stored},
	} {
		if x.got < x.want || x.got > x.want+x.again {
			return fmt.Sprintf("%d samples %s, right are %d to %d", x.got, x.name, x.want, x.want+x.again)
		}
	}
	return ""
}

// compareCohorts compares who is in with who is defective.
func (r *run) compareCohorts(rep *Report, c *cohorts) {
	found, attributes, right := 0, 0, 0
	for _, t := range r.loads {
		u := t.Unit
		_, inEvidence := c.evidence[u.ID]
		if inEvidence && u.Defective {
			right++
		}
		if !u.Defective {
			continue
		}
		rep.Defective++
		if _, ok := c.attributes[u.ID]; ok {
			attributes++
		}
		if u.Consents && t.LoadAged >= enoughUse {
			rep.DefectiveWithLoad++
			if inEvidence {
				found++
			}
		}
	}
	rep.CohortRecall = share(found, rep.DefectiveWithLoad)
	rep.CohortPrecision = share(right, len(c.evidence))
	rep.AttributeCohortRecall = share(attributes, rep.Defective)
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// compareTreatment looks for what must never happen.
func (r *run) compareTreatment(rep *Report, c *cohorts, truths []drive.Truth) {
	for _, t := range truths {
		if t.Installs == 0 && t.Actions == 0 {
			continue
		}
		rep.SecondInstalls += max(t.Installs-1, 0)
		rep.SecondActions += max(t.Actions-1, 0)
		if _, ok := c.in[t.Unit.ID]; !ok {
			rep.TreatedOutside++
		}
	}
}

// times computes the medians from the truth, the findings and the tasks.
func (r *run) times(ctx context.Context, rep *Report, end *ending) error {
	first := make(map[string]finding)
	twice := make(map[string]int)
	err := client.Patiently(ctx, func() error {
		clear(first)
		clear(twice)
		return client.All(ctx, r.op, "/v1/findings?shelved=true&product="+product+"&detector="+detector, func(f finding) error {
			twice[f.UnitID+f.Onset.String()]++
			if k, ok := first[f.UnitID]; !ok || f.SeenAt.Before(k.SeenAt) {
				first[f.UnitID] = f
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("findings: %w", err)
	}
	for _, n := range twice {
		rep.SecondFindings += n - 1
	}
	var toFinding, toVerified []float64
	for _, u := range r.units {
		f, ok := first[u.ID]
		if !ok {
			continue
		}
		if u.Defective {
			toFinding = append(toFinding, f.SeenAt.Sub(r.fleet.Start().Add(u.Onset)).Seconds())
		}
		if t := end.tasks[u.ID]; t.State == "verified" {
			toVerified = append(toVerified, t.EndedAt.Sub(f.SeenAt).Seconds())
		}
	}
	rep.OnsetToFindingP50, rep.FindingToVerifiedP50 = median(toFinding), median(toVerified)
	return nil
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	slices.Sort(x)
	if n := len(x); n%2 == 0 {
		return (x[n/2-1] + x[n/2]) / 2
	}
	return x[len(x)/2]
}

// check decides whether the loop is closed.
func (rep *Report) check(verified bool) {
	why := func(format string, args ...any) { rep.WhyNot = append(rep.WhyNot, fmt.Sprintf(format, args...)) }
	for name, n := range map[string]int{
		"units outside the cohort were treated":             rep.TreatedOutside,
		"second installations":                              rep.SecondInstalls,
		"second action ids":                                 rep.SecondActions,
		"second notices":                                    int(rep.SecondNotices),
		"findings that stand twice":                         rep.SecondFindings,
		"units whose samples are not accounted for exactly": rep.Missing,
	} {
		if n > 0 {
			why("%d %s", n, name)
		}
	}
	if rep.Acknowledged != rep.Stored+rep.NotConsented+rep.Undeclared+rep.Duplicate+rep.Invalid {
		why("the accounting does not add up")
	}
	if !verified && len(rep.WhyNot) == 0 {
		why("not every defective unit is verified")
	}
	slices.Sort(rep.WhyNot)
	rep.Closed = verified && len(rep.WhyNot) == 0
}

// conclude ends the server, and tells what came of it.
func (r *run) conclude(rep *Report) {
	r.server.stop()
	cpu, memory := r.server.usage()
	rep.ServerCPUSeconds, rep.ServerMaxMemory = cpu.Seconds(), memory
	rep.RealSeconds = time.Since(r.tell.began).Seconds()
	t := r.tell
	day := func(seconds float64) string {
		if seconds < 48*3600 {
			return fmt.Sprintf("%.0f h", seconds/3600)
		}
		return fmt.Sprintf("%.1f days", seconds/86400)
	}
	t.say("")
	t.say("%d of %d units are defective; by evidence the cohort found %.1f %% of those with %g h of load and consent, and %.1f %% of it is right; by batch it holds %.1f %%.",
		rep.Defective, rep.Units, 100*rep.CohortRecall, rep.EnoughHours, 100*rep.CohortPrecision, 100*rep.AttributeCohortRecall)
	t.say("Offered %d, installed %d, verified %d, relapsed %d, not judgeable %d, declined %d.", rep.Offered, rep.Installed, rep.Verified, rep.Relapsed, rep.NotJudgeable, rep.Declined)
	if rep.Calls+rep.Letters > 0 {
		t.say("Owners whom mail did not move: %d to be called, %d letters to be printed (Calls and Letters in the console).", rep.Calls, rep.Letters)
	}
	if rep.SelfVerified > 0 {
		t.say("%d updates were verified by their units themselves, against what two holders of offline keys have signed.", rep.SelfVerified)
	}
	if tips := r.fleet.Stats().Tips; tips > 0 {
		t.say("%d tips came to chargers' displays: when it is cold, let charging end shortly before you leave.", tips)
	}
	t.say("From onset to finding %s, from finding to verified %s (medians).", day(rep.OnsetToFindingP50), day(rep.FindingToVerifiedP50))
	t.say("Does it work? %s.", rep.Effect.Why)
	t.say("%d samples acknowledged = %d stored + %d not consented + %d undeclared + %d duplicate + %d invalid.",
		rep.Acknowledged, rep.Stored, rep.NotConsented, rep.Undeclared, rep.Duplicate, rep.Invalid)
	t.say("%.1f simulated days in %.0f s; %d messages; the server used %.0f s of processor and %d MiB.",
		rep.SimulatedDays, rep.RealSeconds, rep.Messages, rep.ServerCPUSeconds, rep.ServerMaxMemory>>20)
	for _, text := range slices.Sorted(maps.Keys(rep.Errors)) {
		t.say("    lived with: %s (%d times)", text, rep.Errors[text])
	}
	if rep.Closed {
		t.say("The loop is closed.")
		return
	}
	t.say("The loop is not closed:")
	for _, w := range rep.WhyNot {
		t.say("    %s", w)
	}
}

// stay keeps the service up after the story, at the pace of life.
func (r *run) stay(ctx context.Context) error {
	now := r.clock.Now()
	r.clock = sim.Clock{Origin: time.Now().UTC(), Start: now, Speed: 1}
	r.server.command = r.commandAt(r.clock)
	if err := r.server.start(ctx); err != nil {
		return err
	}
	for len(r.links) > 0 {
		<-r.links
	}
	r.tell.say("")
	r.tell.say("The service stays up at %s; its clock now runs at normal speed, and the fleet sleeps. Ctrl-C ends it.", r.base)
	if link := r.operatorLink(ctx); link != "" {
		r.tell.say("  console: %s", link)
	}
	if u := r.exampleOwner(); u != "" {
		if link := r.ownerLink(ctx, u); link != "" {
			r.tell.say("  portal of %s: %s", u, link)
		}
	}
	r.staying.Store(true)
	r.tell.say("Links that you ask for there are mailed, and told here.")
	return r.server.died(ctx)
}

// exampleOwner is the address of an owner whose unit had the fault.
func (r *run) exampleOwner() string {
	for _, t := range r.fleet.Truths() {
		if t.Unit.Defective && t.Unit.Consents && t.Installs > 0 && t.Unit.Locale == "en" {
			return t.Unit.Email
		}
	}
	return ""
}

func (r *run) ownerLink(ctx context.Context, email string) string {
	r.redirect.Store(true) // owners' mail goes to the terminal now
	owner := client.Owner{Caller: client.Caller{HTTP: r.op.HTTP, Base: r.base}}
	if err := owner.AskLink(ctx, email); err != nil {
		return ""
	}
	select {
	case token := <-r.links:
		return r.base + "/my/sign-in#" + token
	case <-time.After(5 * time.Second):
		return ""
	case <-ctx.Done():
		return ""
	}
}

// Write writes the report as JSON.
func (rep *Report) Write(path string) error {
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
