// Command campaign measures planning, pausing and canceling a campaign over
// very many units, and what a pass costs while nothing is due:
//
//	go run ./bench/campaign -units 1000000
//
// It ends with the line
//
//	bench-campaign: planned N units in S s, paused in S s
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/blob"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/outcome"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/release"
	"fettle.dev/fettle/internal/update"
)

const product, name = "wall-charger", "million"

func main() {
	units := flag.Int("units", 1_000_000, "units in the cohort")
	dsn := flag.String("records", "", "records to use, as postgres://… (default: SQLite in a temporary directory); they must be empty")
	accepted := flag.Int("accepted", 20_000, "units that have been given the update when it is paused")
	whole := flag.Bool("close", false, "wait until the last task of the canceled campaign is ended, too")
	profile := flag.String("cpuprofile", "", "file for a CPU profile of the planning")
	flag.Parse()
	if err := run(context.Background(), *units, *accepted, *dsn, *profile, *whole, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type silent struct{}

func (silent) Tell(context.Context, campaign.Notice) error     { return nil }
func (silent) Delivered(context.Context, string) (bool, error) { return true, nil }
func since(t time.Time) float64                                { return time.Since(t).Seconds() }
func say(w io.Writer, format string, args ...any)              { fmt.Fprintf(w, format+"\n", args...) }
func unit(i int) string                                        { return fmt.Sprintf("WC-%08d", i) }
func fill(ctx context.Context, db *sqldb.DB, n int) (err error) {
	const page = 10_000
	if err := db.Fleet().PutProduct(ctx, fleet.Product{
		Name: product, Title: "Wall charger", Purposes: []fleet.Purpose{{Name: "operation", Basis: fleet.BasisNecessary}},
		Signals: []fleet.Signal{{Name: "plug_temperature", Type: fleet.Number, Unit: "Cel", Purposes: []string{"operation"}}},
	}); err != nil {
		return err
	}
	snapshot := cohort.Snapshot{ID: "all", Definition: cohort.Definition{Name: "all", Product: product}, State: cohort.Ready, In: n, At: time.Now()}
	if err := db.Cohort().PutSnapshot(ctx, snapshot); err != nil {
		return err
	}
	for from := 0; from < n; from += page {
		var list []fleet.Unit
		var members []cohort.Member
		for i := from; i < min(n, from+page); i++ {
			u := fleet.Unit{
				ID: unit(i), Key: int64(i + 1), Product: product, Serial: strconv.Itoa(i), Hardware: string(rune('A' + i%4)), Batch: "2013-W" + strconv.Itoa(i%52),
				Region: []string{"NO", "US", "DE"}[i%3], Attributes: map[string]string{"plug": "NEMA 14-50"}, Versions: map[string]string{"software": "1.0.0"}, State: fleet.UnitActive,
			}
			list = append(list, u)
			members = append(members, cohort.Member{UnitID: u.ID, UnitKey: u.Key, List: cohort.In, Code: "attributes", Reason: "hardware " + u.Hardware})
		}
		if err := db.Fleet().PutUnits(ctx, list); err != nil {
			return err
		}
		if err := db.Cohort().PutMembers(ctx, snapshot.ID, members); err != nil {
			return err
		}
	}
	return nil
}

func run(ctx context.Context, n, accepted int, dsn, profile string, whole bool, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "bench-campaign")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if dsn == "" {
		dsn = "sqlite:" + filepath.Join(dir, "records.db")
	}
	db, err := sqldb.Open(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	at := time.Now()
	if err := fill(ctx, db, n); err != nil {
		return err
	}
	say(out, "%d units and members registered in %.1f s", n, since(at))

	blobs, err := blob.Open(ctx, filepath.Join(dir, "blobs"))
	if err != nil {
		return err
	}
	real, log := clock.Real{}, slog.New(slog.NewTextHandler(os.Stderr, nil))
	updates, err := update.NewService(ctx, update.Config{
		Store: db.Update(), Ledger: release.New(db), Blobs: blobs, Fleet: db.Fleet(), Tx: db, Clock: real, Log: log, Dir: filepath.Join(dir, "spool"),
	})
	if err != nil {
		return err
	}
	a, err := updates.PutArtifact(ctx, bytes.NewReader([]byte("the image")), "image.swu")
	if err != nil {
		return err
	}
	if err := updates.Put(ctx, update.Release{
		Name: "v2", Product: product, Version: "2.0.0", Kind: update.Security, Minutes: 10, Notes: map[string]string{"en": "Better."}, Artifact: "sha256:" + a.SHA256,
	}); err != nil {
		return err
	}
	if _, err := db.Condition().PutDetector(ctx, condition.Detector{
		Name: "overheat", Product: product, Type: condition.TypeTolerance, Severity: condition.Critical, Purpose: "operation", Tolerance: "plug",
	}); err != nil {
		return err
	}
	m := campaign.NewManager(campaign.Config{
		Store: db.Campaign(), Fleet: db.Fleet(), Cohorts: db.Cohort(), Detectors: db.Condition(), Updates: updates, Notices: silent{},
		Tx: db, Clock: real, IDs: clock.Random{}, Log: log,
	})
	updates.SetGate(m.Guard)
	day := fleet.Duration(24 * time.Hour)
	if err := m.Put(ctx, campaign.Campaign{
		Name: name, Product: product, Kind: campaign.Security, Title: map[string]string{"en": "x"}, Reason: map[string]string{"en": "x"},
		Cohort: "all", Release: "v2", Detector: "overheat",
		Waves: []campaign.Wave{{Name: "canaries", Count: 1000}, {Name: "tenth", Share: 0.1}, {Name: "norwegian", Where: `region == "NO" && hardware == "B"`}, {Name: "rest"}},
		Gate:  campaign.Gate{Soak: day, Verified: 0.9}, Exposure: day, Deadline: 14 * day,
	}); err != nil {
		return err
	}
	at = time.Now()
	plan, err := m.DryRun(ctx, name, func(campaign.PlannedUnit) error { return nil })
	if err != nil {
		return err
	}
	say(out, "dry run in %.1f s: %d offered, %d not; waves %v; peak resident memory %s", since(at), plan.OfferedN, plan.NotN, plan.Waves, resident())

	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
	}
	at = time.Now()
	r, err := m.Start(ctx, name, "bench", "bench")
	if err != nil {
		return err
	}
	say(out, "start answered in %.1f s: %s", since(at), r.State)
	for r.State == campaign.Planning {
		if _, err := m.Pass(ctx); err != nil {
			return err
		}
		if r, err = db.Campaign().Campaign(ctx, name); err != nil {
			return err
		}
	}
	planned := since(at)
	pprof.StopCPUProfile()
	if err := reported(ctx, db, m, out); err != nil {
		return err
	}
	say(out, "%d units planned in %.1f s; peak resident memory %s", r.Planned, planned, resident())
	if r.Planned != n {
		return fmt.Errorf("planned %d of %d units", r.Planned, n)
	}

	// The waves open until enough units have the update at hand.
	at = time.Now()
	for w := 1; w < len(r.Campaign.Waves); w++ {
		if _, err := m.OpenWave(ctx, name, w); err != nil {
			return err
		}
	}
	have := 0
	for have < accepted {
		if _, err := m.Pass(ctx); err != nil {
			return err
		}
		if have, err = db.Campaign().UnderWay(ctx, r.ID); err != nil {
			return err
		}
	}
	say(out, "%d units were given it in %.1f s (%.0f/s)", have, since(at), float64(have)/since(at))

	at = time.Now()
	if _, err := m.Pause(ctx, name, "bench"); err != nil {
		return err
	}
	paused := since(at)
	for i := range 100 {
		t, err := db.Campaign().Tasks(ctx, campaign.TaskFilter{CampaignID: r.ID, States: []campaign.TaskState{campaign.Accepted}, Wave: -1, Limit: 1})
		if err != nil || len(t) == 0 {
			return fmt.Errorf("no unit was given it: %w", err)
		}
		if i > 0 {
			break
		}
		w, err := updates.Work(ctx, t[0].UnitID)
		if err != nil {
			return err
		}
		if w.Action != nil {
			return fmt.Errorf("unit %s is shown the update of a paused campaign", t[0].UnitID)
		}
	}
	at = time.Now()
	const passes = 100
	for range passes {
		if _, err := m.Pass(ctx); err != nil {
			return err
		}
	}
	say(out, "a pass while it is paused takes %.2f ms", since(at)*1000/passes)
	at = time.Now()
	if _, err := db.Campaign().CountTasks(ctx, r.ID); err != nil {
		return err
	}
	say(out, "its tasks are counted in %.2f s", since(at))
	at = time.Now()
	if r, err = m.Cancel(ctx, name, "bench"); err != nil {
		return err
	}
	say(out, "cancel answered in %.2f s, from then on no unit begins", since(at))
	for whole && r.Closing {
		if _, err := m.Pass(ctx); err != nil {
			return err
		}
		if r, err = db.Campaign().Campaign(ctx, name); err != nil {
			return err
		}
	}
	if whole {
		say(out, "its last task was ended after %.1f s", since(at))
	}
	say(out, "bench-campaign: planned %d units in %.1f s, paused in %.3f s", n, planned, paused)
	return nil
}

// reported times the report of the campaign, as the API asks for it, and
// reading all its tasks, as the report's stream of units does.
func reported(ctx context.Context, db *sqldb.DB, m *campaign.Manager, out io.Writer) error {
	r, err := db.Campaign().Campaign(ctx, name)
	if err != nil {
		return err
	}
	outcomes := outcome.NewManager(outcome.Config{
		Store: db.Outcome(), Campaigns: m, Runs: db.Campaign(), Fleet: db.Fleet(), Consent: db.Consent(), Condition: db.Condition(), Tx: db, Clock: clock.Real{}, Log: slog.Default(),
	})
	before, at := resident(), time.Now()
	report, err := outcomes.Report(ctx, name)
	if err != nil {
		return err
	}
	say(out, "the report of %d units took %.1f s; peak resident memory before it %s, after it %s", report.Involved, since(at), before, resident())
	at = time.Now()
	n := 0
	err = campaign.EachTask(ctx, db.Campaign(), campaign.TaskFilter{CampaignID: r.ID, Wave: -1, Limit: 1000}, func(*campaign.Task) error {
		n++
		return nil
	})
	say(out, "%d tasks were streamed in %.1f s; peak resident memory %s", n, since(at), resident())
	return err
}

// resident is the most memory that this process had, as Linux counts it.
func resident() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown on " + runtime.GOOS
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
