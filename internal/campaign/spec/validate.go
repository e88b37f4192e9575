package spec

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/campaign/wave"
	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/fleet"
)

// Mistakes finds those that can be seen in the declaration alone; add takes
// the path, what was expected and what was there (nil: nothing).
func (c *Campaign) Mistakes(add func(path, expected string, got any)) {
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
	for _, d := range []struct {
		path string
		got  time.Duration
	}{{"exposure", time.Duration(c.Exposure)}, {"deadline", time.Duration(c.Deadline)}} {
		if d.got <= 0 {
			add(d.path, "a duration above 0, as 48h or 14d", d.got)
		}
	}
	c.rollout(add)
	c.gate(add)
	c.download(add)
}

func (c *Campaign) rollout(add func(string, string, any)) {
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
	if c.Reoffer > 0 && !c.Kind.Policy().Expires {
		add("reoffer", "nothing: only service and feature offers expire", c.Reoffer)
	}
}

// mostRetries bounds how often a failed installation is tried again.
const mostRetries = 100

func (c *Campaign) gate(add func(string, string, any)) {
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

// SiteAttribute is the attribute of a unit that names where it stands, as a
// depot or a workshop: units that share a line.
const SiteAttribute = "site"

// leastRate is a rate below which a client's line looks dead.
const leastRate = 1024

func (c *Campaign) download(add func(string, string, any)) {
	for _, r := range []struct {
		path string
		v    int64
	}{{"downloadRate", c.DownloadRate}, {"siteDownloadRate", c.SiteDownloadRate}} {
		if r.v != 0 && r.v < leastRate {
			add(r.path, "at least 1024 bytes a second, or 0: no limit", r.v)
		}
	}
}
