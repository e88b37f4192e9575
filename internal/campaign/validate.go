package campaign

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/campaign/wave"
	"fettle.dev/fettle/internal/campaign/window"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
)

// Defaults of what a campaign leaves out.
const (
	defaultRemind    = 7 * 24 * time.Hour
	defaultMaxWait   = 30 * 24 * time.Hour
	defaultMinJudged = 5

	defaultFalseStops = 0.05
	defaultEvery      = time.Hour
	defaultTimeout    = 24 * time.Hour
)

// MostReminders is how many reminders an owner gets before the deadline.
func (c *Campaign) MostReminders() int {
	if c.Reminders > 0 {
		return c.Reminders
	}
	return defaultReminders
}

// Warning is how long before it starts by itself an owner is told.
func (c *Campaign) Warning() time.Duration {
	if c.Countdown > 0 {
		return time.Duration(c.Countdown)
	}
	return defaultCountdown
}

// LookEvery is the time between two looks for units that came to match.
func (c *Campaign) LookEvery() time.Duration {
	if c.Every > 0 {
		return time.Duration(c.Every)
	}
	return defaultEvery
}

// PatienceWith is how long an installation may show no progress.
func (c *Campaign) PatienceWith() time.Duration {
	if c.Timeout > 0 {
		return time.Duration(c.Timeout)
	}
	return defaultTimeout
}

// RemindEvery is the time between reminders.
func (c *Campaign) RemindEvery() time.Duration {
	if c.Remind > 0 {
		return time.Duration(c.Remind)
	}
	return defaultRemind
}

// CompareOver is the window before a gate over which waves are compared.
func (c *Campaign) CompareOver() time.Duration {
	if c.Window > 0 {
		return time.Duration(c.Window)
	}
	return time.Duration(c.Gate.Soak)
}

// WaitAtMost is how long a gate may neither hold nor fail.
func (g *Gate) WaitAtMost() time.Duration {
	if g.MaxWait > 0 {
		return time.Duration(g.MaxWait)
	}
	return defaultMaxWait
}

// MostFalseStops is FalseStops or its default.
func (g *Gate) MostFalseStops() float64 {
	if g.FalseStops > 0 {
		return g.FalseStops
	}
	return defaultFalseStops
}

// LeastJudged is MinJudged or its default.
func (g *Gate) LeastJudged() int {
	if g.MinJudged > 0 {
		return g.MinJudged
	}
	return defaultMinJudged
}

// carries says which kinds of release a campaign of a kind may carry: a
// feature does not ride along in what owners are pressed to take.
func (k Kind) carries(r update.ReleaseKind) bool {
	return r != update.Feature || k == Service || k == Feature
}

// Validate finds every mistake of a campaign that has been declared. The
// cohort is looked for when it starts, because it is made from findings, not
// from files.
func (m *Manager) Validate(ctx context.Context, c Campaign) error {
	var fields []fault.Field
	add := func(path, expected string, got any) {
		f := fault.Field{Path: "spec." + path, Expected: expected}
		if s := fmt.Sprint(got); got != nil {
			f.Got = s
		}
		fields = append(fields, f)
	}
	productKnown, err := known(m.cfg.Fleet.Product(ctx, c.Product))
	if err != nil {
		return fmt.Errorf("validate campaign %s: %w", c.Name, err)
	}
	if productKnown == nil {
		add("product", "the name of a product", c.Product)
	}
	kinds := []Kind{Recall, Safety, Security, Service, Feature}
	if !slices.Contains(kinds, c.Kind) {
		add("kind", "recall, safety, security, service or feature", c.Kind)
	}
	for _, w := range []struct {
		path string
		text map[string]string
	}{{"title", c.Title}, {"reason", c.Reason}} {
		if len(w.text) == 0 {
			add(w.path, "plain words for owners in at least one language", nil)
		}
		for lang, text := range w.text {
			if lang == "" || strings.TrimSpace(text) == "" {
				add(w.path+"."+lang, "a language tag, as en, and words", text)
			}
		}
	}
	if c.Cohort == "" {
		add("cohort", "the name of a cohort", nil)
	}
	release, err := known(m.cfg.Updates.Release(ctx, c.Release))
	switch {
	case err != nil:
		return fmt.Errorf("validate campaign %s: %w", c.Name, err)
	case release == nil:
		add("release", "the name of a release", c.Release)
	default:
		if release.Product != c.Product {
			add("release", "a release for product "+c.Product, c.Release+", for product "+release.Product)
		}
		if !c.Kind.carries(release.Kind) {
			add("release", fmt.Sprintf("a release of kind security, safety or fix: a feature may not ride in a %s campaign", c.Kind), c.Release+", of kind feature")
		}
	}
	detector, err := known(m.cfg.Detectors.Detector(ctx, c.Detector, 0))
	switch {
	case err != nil:
		return fmt.Errorf("validate campaign %s: %w", c.Name, err)
	case detector == nil:
		add("detector", "the name of a detector", c.Detector)
	default:
		if detector.Product != c.Product {
			add("detector", "a detector of product "+c.Product, c.Detector+", of product "+detector.Product)
		}
		if detector.Type == condition.TypeSilence || detector.Type == condition.TypePrognosis {
			add("detector", "a detector that counts exposure: silence and prognosis show no use", c.Detector+", of type "+string(detector.Type))
		}
	}
	c.validateRollout(add)
	c.validateGate(add)
	c.validateDownload(add)
	for _, d := range []struct {
		path string
		got  time.Duration
	}{{"exposure", time.Duration(c.Exposure)}, {"deadline", time.Duration(c.Deadline)}} {
		if d.got <= 0 {
			add(d.path, "a duration above 0, as 48h or 14d", d.got)
		}
	}
	slices.SortStableFunc(fields, func(a, b fault.Field) int { return strings.Compare(a.Path, b.Path) })
	return fault.Fields("campaign "+c.Name, fields)
}

// known gives nil for what is not found.
func known[T any](v T, err error) (*T, error) {
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil //nolint:nilnil // absent is an answer here
	}
	if err != nil {
		return nil, err
	}
	return &v, nil
}

func (c *Campaign) validateRollout(add func(string, string, any)) {
	wave.Validate(c.Waves, add)
	window.Validate(c.Hours, "hours", add)
	if _, err := time.LoadLocation(c.Zone); c.Zone != "owner" && c.Zone != "unit" && (err != nil || c.Zone == "Local") {
		add("zone", "owner, unit or an IANA time zone, as Europe/Oslo", c.Zone)
	}
	if !c.End.IsZero() && !c.End.After(c.Start) {
		add("end", "a time after the start", c.End.Format(time.RFC3339))
	}
	for _, n := range []struct {
		path string
		v    int
	}{{"maxConcurrent", c.MaxConcurrent}, {"maxPerHour", c.MaxPerHour}, {"reminders", c.Reminders}, {"retry.limit", c.Retry.Limit}} {
		if n.v < 0 || n.path == "retry.limit" && n.v > mostRetries {
			add(n.path, fmt.Sprintf("0 (the default) or more; at most %d attempts", mostRetries), n.v)
		}
	}
	for _, d := range []struct {
		path string
		v    fleet.Duration
	}{
		{"remind", c.Remind},
		{"countdown", c.Countdown},
		{"reoffer", c.Reoffer},
		{"every", c.Every},
		{"timeout", c.Timeout},
		{"retry.after", c.Retry.After},
		{"retry.longest", c.Retry.Longest},
	} {
		if d.v < 0 {
			add(d.path, "a duration, as 48h or 14d", d.v)
		}
	}
	if c.Retry.Longest > 0 && c.Retry.Longest < c.Retry.After {
		add("retry.longest", "at least retry.after, "+c.Retry.After.String(), c.Retry.Longest)
	}
	if c.Reoffer > 0 && !c.Kind.policy().expires {
		add("reoffer", "nothing: only service and feature offers expire", c.Reoffer)
	}
}

// mostRetries bounds how often a failed installation is tried again.
const mostRetries = 100

func (c *Campaign) validateGate(add func(string, string, any)) {
	for _, s := range []struct {
		name string
		v    float64
	}{
		{"verified", c.Gate.Verified},
		{"installed", c.Gate.Installed},
		{"failed", c.Gate.Failed},
		{"relapsed", c.Gate.Relapsed},
		{"usual", c.Gate.Usual},
		{"tolerated", c.Gate.Tolerated},
		{"falseStops", c.Gate.FalseStops},
	} {
		if !(s.v >= 0 && s.v <= 1) {
			add("gate."+s.name, "a share from 0 to 1", s.v)
		}
	}
	if c.Gate.Effect && (c.Kind == Recall || c.Kind == Safety) {
		add("gate.effect", "no waiting for proof of the effect in a "+string(c.Kind)+" campaign: it would keep the remedy from those who wait for it", c.Gate.Effect)
	}
	if c.Gate.MinVerified < 0 {
		add("gate.minVerified", "0 or more", c.Gate.MinVerified)
	}
	if c.Gate.MinJudged < 0 {
		add("gate.minJudged", "0 or more", c.Gate.MinJudged)
	}
	if c.Gate.MaxWait > 0 && c.Gate.MaxWait < c.Gate.Soak {
		add("gate.maxWait", "at least the soak, "+c.Gate.Soak.String(), c.Gate.MaxWait)
	}
}

// Put keeps a campaign that has not started. Putting what stands there already
// changes nothing, also while it runs.
func (m *Manager) Put(ctx context.Context, c Campaign) error {
	if err := m.Validate(ctx, c); err != nil {
		return err
	}
	return m.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		old, err := known(m.cfg.Store.Campaign(ctx, c.Name))
		if err != nil {
			return fmt.Errorf("put campaign %s: %w", c.Name, err)
		}
		if old != nil && reflect.DeepEqual(old.Campaign, c) {
			return nil
		}
		if err := m.cfg.Store.PutCampaign(ctx, c); err != nil {
			return fmt.Errorf("put campaign %s: %w", c.Name, err)
		}
		if old != nil {
			return nil
		}
		_, err = m.cfg.Store.UpdateCampaign(ctx, c.Name, func(r *Run) error {
			r.CreatedAt = m.cfg.Clock.Now()
			return nil
		})
		return err
	})
}

// Delete forgets a campaign that does not run.
func (m *Manager) Delete(ctx context.Context, name string) error {
	return m.cfg.Store.DeleteCampaign(ctx, name)
}
