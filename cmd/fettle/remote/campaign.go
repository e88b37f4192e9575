package remote

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/cmd/fettle/remote/rollout"
	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/clock/window"
	"fettle.dev/fettle/internal/outcome"
)

func newCampaignCmd(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "campaign", Short: "Bring a remedy to a cohort",
		Long: `Bring a remedy to a cohort, wave by wave. Campaigns are declared in files of kind
Campaign; these commands run them.`,
	}
	names := c.completeNames("campaign")
	var limit int
	var each, done rollout.Units
	dry := &cobra.Command{
		Use: "dry-run CAMPAIGN", Short: "Say who will be offered the remedy, who not, and why", Example: "  fettle campaign dry-run adapter-overheat\n  fettle campaign dry-run adapter-overheat --units who.csv",
		Args: cobra.ExactArgs(1), ValidArgsFunction: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asked, err := each.Asked(); err != nil {
				return err
			} else if asked {
				return each.Write(cmd, &c.Client, "/v1/campaigns"+segment(args[0])+"/dry-run/units")
			}
			var d wire.DryRun
			if err := c.Call(cmd.Context(), http.MethodPost, fmt.Sprintf("/v1/campaigns%s/dry-run?limit=%d", segment(args[0]), limit), struct{}{}, &d); err != nil {
				return err
			}
			return c.print(cmd, d, func(w io.Writer) {
				fmt.Fprintf(w, "%d units would be offered the remedy, %d not (%s).\n", d.OfferedCount, d.NotCount, counts(d.NotByCode))
				if no := d.Waiting; no != nil {
					fmt.Fprintf(w, "None could install it yet, whatever owners choose: %s, %s\n", no.Code, no.Why)
				}
				for _, v := range d.Waves {
					how := "by lot"
					if !v.Random {
						how = "by list or attribute: not compared with others"
					}
					row(w, "wave "+v.Name, fmt.Sprintf("%d units", v.Units), how)
				}
				for _, o := range d.Offered {
					row(w, o.UnitID, "offered", "wave "+d.Waves[o.Wave].Name)
				}
				for _, n := range d.Not {
					row(w, n.UnitID, "not", n.Why)
				}
				if len(d.Offered) < d.OfferedCount || len(d.Not) < d.NotCount {
					fmt.Fprintf(w, "Listed are the first %d of each kind; --units FILE writes all.\n", limit)
				}
			})
		},
	}
	dry.Flags().IntVar(&limit, "limit", 1000, "most units listed of each kind, up to 10000")
	each.Flags(dry)
	dry.MarkFlagsMutuallyExclusive("limit", "units")
	cmd.AddCommand(dry)
	for _, v := range []struct {
		verb, done, short string
		ask               bool
	}{
		{"start", "started", "Start a campaign: freeze its cohort and detector, open the first wave", true},
		{"pause", "paused", "Pause a campaign: nothing more is offered", false},
		{"resume", "resumed", "Resume a paused campaign", false},
		{"cancel", "canceled", "Cancel a campaign: what no unit has begun is withdrawn", true},
	} {
		var why string
		var yes bool
		sub := &cobra.Command{
			Use: v.verb + " CAMPAIGN", Short: v.short, Example: "  fettle campaign " + v.verb + " adapter-overheat",
			Args: cobra.ExactArgs(1), ValidArgsFunction: names,
			RunE: func(cmd *cobra.Command, args []string) error {
				if v.ask {
					if err := confirm(cmd, yes, fmt.Sprintf("Really %s campaign %s?", v.verb, args[0])); err != nil {
						return err
					}
				}
				var out wire.Campaign
				if err := c.Call(cmd.Context(), http.MethodPost, "/v1/campaigns"+segment(args[0])+"/"+v.verb, wire.Why{Why: why}, &out); err != nil {
					return err
				}
				return c.print(cmd, out, func(w io.Writer) {
					if a := out.Approval; v.verb == "start" && out.State == "draft" && a != nil {
						fmt.Fprintf(w, "campaign %s was asked to start: another operator has to approve it (fettle approval approve %s)\n", out.Name, a.ID)
						return
					}
					fmt.Fprintf(w, "campaign %s %s: %s\n", out.Name, v.done, out.Why)
				})
			},
		}
		if v.verb != "start" {
			sub.Flags().StringVar(&why, "why", "", "the reason, kept with the campaign")
		}
		if v.ask {
			sub.Flags().BoolVar(&yes, "yes", false, "do not ask")
		}
		cmd.AddCommand(sub)
	}
	var state, unit, code string
	wave := -1
	tasks := &cobra.Command{
		Use: "tasks CAMPAIGN", Short: "List each unit's remedy and its state", Example: "  fettle campaign tasks adapter-overheat --state relapsed",
		Args: cobra.ExactArgs(1), ValidArgsFunction: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{"wave": {strconv.Itoa(wave)}}
			if state != "" {
				q.Set("state", state)
			}
			if unit != "" {
				q.Set("unit", unit)
			}
			if code != "" {
				q.Set("code", code)
			}
			list, err := client.All[wire.Task](cmd.Context(), &c.Client, "/v1/campaigns"+segment(args[0])+"/tasks", q)
			if err != nil {
				return err
			}
			return c.print(cmd, list, func(w io.Writer) {
				row(w, "UNIT", "WAVE", "STATE", "OFFERED", "STARTED", "INSTALLED", "ENDED", "WHY")
				for _, t := range list {
					row(w, t.UnitID, t.WaveName, t.State, t.OfferedAt, t.StartedAt, t.InstalledAt, t.EndedAt, t.Why)
				}
			})
		},
	}
	tasks.Flags().StringVar(&state, "state", "", "only those in a state, as verified")
	tasks.Flags().StringVar(&code, "code", "", "only those that wait, or are blocked, for a reason, by its code, as \"outside hours\" (status counts them)")
	tasks.Flags().StringVar(&unit, "unit", "", "only a unit's")
	tasks.Flags().IntVar(&wave, "wave", -1, "only a wave's, by its index")
	report := &cobra.Command{
		Use: "report CAMPAIGN", Short: "Print the report", Example: "  fettle campaign report adapter-overheat -o json\n  fettle campaign report adapter-overheat --units outcome.csv",
		Args: cobra.ExactArgs(1), ValidArgsFunction: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if asked, err := done.Asked(); err != nil {
				return err
			} else if asked {
				return done.Write(cmd, &c.Client, "/v1/campaigns"+segment(args[0])+"/report/units")
			}
			return c.campaignReport(cmd, args[0])
		},
	}
	done.Flags(report)
	cmd.AddCommand(tasks, report, &cobra.Command{
		Use: "status CAMPAIGN", Short: "Show waves, gates and effect", Args: cobra.ExactArgs(1), ValidArgsFunction: names,
		RunE: func(cmd *cobra.Command, args []string) error { return c.campaignStatus(cmd, args[0]) },
	}, &cobra.Command{
		Use: "list", Short: "List campaigns", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.listCampaigns(cmd, nil) },
	})
	return cmd
}

func (c *cli) listCampaigns(cmd *cobra.Command, q url.Values) error {
	list, err := client.All[wire.Campaign](cmd.Context(), &c.Client, "/v1/campaigns", q)
	if err != nil {
		return err
	}
	return c.print(cmd, list, func(w io.Writer) {
		row(w, "NAME", "PRODUCT", "KIND", "STATE", "WAVE", "TASKS", "WHY")
		for _, v := range list {
			why := v.Why
			if no := v.Waiting; no != nil {
				why = strings.TrimPrefix(fmt.Sprintf("%s; %s: %s", why, no.Code, no.Why), "; ")
			}
			row(w, v.Name, v.Spec.Product, v.Spec.Kind, v.State, fmt.Sprintf("%d of %d", v.WaveOpen+1, len(v.Spec.Waves)), counts(v.Counts), why)
		}
	})
}

func (c *cli) campaignStatus(cmd *cobra.Command, name string) error {
	var v wire.CampaignDetail
	if err := c.Call(cmd.Context(), http.MethodGet, "/v1/campaigns"+segment(name), nil, &v); err != nil {
		return err
	}
	return c.print(cmd, v, func(w io.Writer) {
		row(w, "Campaign:", v.Name)
		row(w, "Product, kind:", fmt.Sprintf("%s, %s", v.Spec.Product, v.Spec.Kind))
		row(w, "State:", v.State)
		row(w, "Why:", v.Why)
		row(w, "Release, cohort:", fmt.Sprintf("%s, %s", v.Spec.Release, v.Spec.Cohort))
		if v.SnapshotID != "" {
			row(w, "Frozen:", fmt.Sprintf("cohort %s, detector %s@%d", v.SnapshotID, v.Detector.Name, v.Detector.Version))
		}
		if h := v.Spec.Hours; len(h) > 0 {
			row(w, "Working hours:", window.Words(h)+", "+hoursOf(v.Spec.Zone))
		}
		row(w, "Started, ended:", when(v.StartedAt)+", "+when(v.EndedAt))
		for _, wv := range v.Waves {
			row(w, fmt.Sprintf("Wave %s:", wv.Name), fmt.Sprintf("%d units: %s", wv.Units, counts(wv.Counts)))
			row(w, "  gate:", wv.Gate+": "+wv.GateWhy)
		}
		if no := v.Waiting; no != nil {
			row(w, "Waiting:", fmt.Sprintf("every unit: %s, %s", no.Code, no.Why))
		}
		for _, r := range v.Refusals {
			row(w, "Waiting:", fmt.Sprintf("%d %s: %s", r.N, r.State, r.Code))
		}
		for _, e := range v.Evidence {
			row(w, "Evidence:", e.Why)
		}
		if v.Effect != nil {
			row(w, "Effect:", effectWords(v.Effect))
		}
	})
}

// hoursOf says whose time zone working hours are in.
func hoursOf(zone string) string {
	switch zone {
	case "", "owner":
		return "where the owner lives"
	case "unit":
		return "where the unit stands"
	default:
		return "by the clock of " + zone
	}
}

func effectWords(e *outcome.Effect) string {
	if strings.HasPrefix(e.Why, string(e.Verdict)) {
		return e.Why
	}
	return fmt.Sprintf("%s: %s", e.Verdict, e.Why)
}

func (c *cli) campaignReport(cmd *cobra.Command, name string) error {
	var r wire.Report
	if err := c.Call(cmd.Context(), http.MethodGet, "/v1/campaigns"+segment(name)+"/report", nil, &r); err != nil {
		return err
	}
	return c.print(cmd, r, func(w io.Writer) {
		row(w, "Campaign:", r.Campaign+" ("+r.Title+")")
		row(w, "As of:", r.At)
		for _, v := range []struct {
			label string
			n     int
		}{
			{"Involved", r.Involved},
			{"Offered", r.Offered},
			{"Started", r.Started},
			{"Claimed", r.Claimed},
			{"Installed", r.Installed},
			{"Verified", r.Verified},
			{"Relapsed", r.Relapsed},
			{"Not yet exposed", r.NotExposed},
			{"Not judgeable", r.NotJudgeable},
			{"Declined", r.Declined},
			{"Failed", r.Failed},
			{"Unreachable", r.Unreachable},
		} {
			row(w, v.label+":", v.n)
		}
		for _, v := range r.Reach.Words() {
			row(w, v.Label+":", v.N)
		}
		row(w, "Effect:", effectWords(&r.Effect))
		row(w, "Onset to finding, median:", hours(r.OnsetToFindingP50))
		row(w, "Finding to verified, median:", hours(r.FindingToVerifiedP50))
		for _, v := range r.ByWave {
			row(w, "Wave "+v.Name+":", fmt.Sprintf("%d units, %d installed, %d verified, %d relapsed, %d failed; gate %s", v.Units, v.Installed, v.Verified, v.Relapsed, v.Failed, v.Gate))
		}
	})
}

// hours writes seconds; a median of nothing is 0.
func hours(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f h", seconds/3600)
}
