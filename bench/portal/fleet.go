package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/signin"
	"fettle.dev/fettle/internal/sqldb/wear"
	"fettle.dev/fettle/internal/update"
)

const (
	product  = "charger"
	detector = "overheat"
	atOnce   = 20_000
)

func unitID(i int) string { return fmt.Sprintf("WC-%07d", i) }

func token(i int) string { return fmt.Sprintf("%s%043d", fleet.UnitTokenPrefix, i) }

// fleetOf is what is registered: each two units have an owner; each has an
// update behind it, one of five has findings, one of ten was visited. Of the
// sampled ones, spread over the fleet, the owners are signed in, and each is
// offered an update.
type fleetOf struct{ units, sampled int }

func (f fleetOf) owners() int   { return (f.units + 1) / 2 }
func (f fleetOf) findings() int { return (f.units + 4) / 5 * 3 }
func (f fleetOf) visits() int   { return (f.units + 9) / 10 }

func (f fleetOf) isSampled(i int) bool { return i%max(1, f.units/f.sampled) == 0 }

// owner is somebody who asks.
type owner struct{ unit, secret string }

func (f fleetOf) write(ctx context.Context, data, dsn string) (asking []owner, err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	if dsn == "" {
		dsn = "sqlite:" + filepath.Join(data, "records.db")
	}
	db, err := sqldb.Open(ctx, dsn)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	least := 75.0
	if err := db.Fleet().PutProduct(ctx, fleet.Product{
		Name: product, Title: "Wall charger",
		Purposes: []fleet.Purpose{{Name: "operation", Title: "Operation", Description: "It works.", Basis: fleet.BasisNecessary}},
		Signals: []fleet.Signal{
			{Name: "plug_temperature", Title: "Plug temperature", Type: fleet.Number, Unit: "Cel", Purposes: []string{"operation"}, Retention: fleet.Duration(400 * 24 * time.Hour)},
			{Name: "current", Title: "Current", Type: fleet.Number, Unit: "A", Purposes: []string{"operation"}, Retention: fleet.Duration(400 * 24 * time.Hour)},
		},
		Tolerances: []fleet.Tolerance{{Name: "plug", Signal: "plug_temperature", Bands: []fleet.Band{{Max: &least}}}},
		Limits:     &fleet.Limits{UnitRate: 1e6, UnitBurst: 1e6, ProductRate: 1e7, ProductBurst: 1e7}, // a month at once
		Help:       &fleet.Help{Contact: fleet.Contact{Name: "Maker", Mail: "help@maker.example"}},
	}); err != nil {
		return nil, err
	}
	d, err := db.Condition().PutDetector(ctx, condition.Detector{
		Name: detector, Title: "Plug overheats", Product: product, Type: condition.TypeTolerance, Severity: condition.Major, Purpose: "operation", Tolerance: "plug",
		Basis: &condition.Basis{Tolerance: fleet.Tolerance{Name: "plug", Signal: "plug_temperature", Bands: []fleet.Band{{Max: &least}}}},
	})
	if err != nil {
		return nil, err
	}
	if err := db.Update().PutRelease(ctx, update.Release{Name: "v2", Product: product, Version: "2.0.0", Kind: update.Fix, Minutes: 10, Notes: map[string]string{"en": "Better."}}); err != nil {
		return nil, err
	}
	runs := map[string]string{}
	for name, state := range map[string]campaign.State{"past": campaign.Finished, "now": campaign.Paused} {
		if err := db.Campaign().PutCampaign(ctx, campaign.Campaign{
			Name: name, Product: product, Kind: campaign.Service, Title: map[string]string{"en": "Cooler charging"}, Reason: map[string]string{"en": "It gets hot."},
			Release: "v2", Detector: detector, Exposure: fleet.Duration(24 * time.Hour), Waves: []campaign.Wave{{Name: "all"}},
		}); err != nil {
			return nil, err
		}
		r, err := db.Campaign().UpdateCampaign(ctx, name, func(r *campaign.Run) error {
			r.State, r.Detector = state, d.Ref()
			return nil
		})
		if err != nil {
			return nil, err
		}
		runs[name] = r.ID
	}
	for from := 0; from < f.units; from += atOnce {
		err := db.InTx(ctx, func(ctx context.Context) error {
			some, err := f.some(ctx, db, from, min(from+atOnce, f.units), runs, d.Ref())
			asking = append(asking, some...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return asking, nil
}

func (f fleetOf) some(ctx context.Context, db *sqldb.DB, from, to int, runs map[string]string, rule condition.Ref) (asking []owner, err error) {
	now := time.Now().UTC().Truncate(time.Second)
	var units []fleet.Unit
	var tasks []campaign.Task
	var findings []condition.Finding
	var records []maintenance.Record
	hashes := map[string]string{}
	person := fleet.Owner{}
	for i := from; i < to; i++ {
		if i%2 == 0 || i == from {
			if person, err = db.Fleet().PutOwner(ctx, fleet.Owner{
				ID: fmt.Sprintf("o-%07d", i/2), Email: fmt.Sprintf("owner%d@example.org", i/2), Locale: "en", TimeZone: "Europe/Oslo",
			}); err != nil {
				return nil, err
			}
		}
		u := fleet.Unit{
			ID: unitID(i), Key: int64(i + 1), Product: product, Serial: unitID(i), Hardware: "B", Region: "NO", OwnerID: person.ID,
			Versions: map[string]string{"software": "1.0.0"}, State: fleet.UnitActive, CreatedAt: now.AddDate(-1, 0, 0),
		}
		units = append(units, u)
		past := now.AddDate(0, -2, -i%20)
		tasks = append(tasks, campaign.Task{
			ID: fmt.Sprintf("t-%07d", i), CampaignID: runs["past"], UnitID: u.ID, UnitKey: u.Key, OwnerID: u.OwnerID, State: campaign.Verified,
			OfferedAt: past, InstalledAt: past.Add(time.Hour), EndedAt: past.Add(30 * time.Hour), Updated: past,
		})
		if i%5 == 0 {
			for n := range 3 {
				at := now.Add(-time.Duration(n*240+i%200) * time.Hour)
				x := condition.Finding{
					ID: condition.FindingID(rule, u.Key, at.UnixMilli()), Detector: rule, Severity: condition.Major, UnitID: u.ID, UnitKey: u.Key, Product: product,
					State: condition.Cleared, Onset: at, OpenedAt: at, SeenAt: at, LastAt: at.Add(time.Hour), Cleared: at.Add(2 * time.Hour), Why: "hot", Peak: 80,
				}
				if n == 0 && i%50 == 0 {
					x.State, x.Cleared = condition.Open, time.Time{}
				}
				findings = append(findings, x)
			}
		}
		if i%10 == 0 {
			records = append(records, maintenance.Record{ID: fmt.Sprintf("m-%07d", i), UnitID: u.ID, At: past, Part: "cable", Kind: maintenance.Replacement, Reason: maintenance.Preventive, By: "bench", EnteredAt: now})
		}
		if f.isSampled(i) {
			hashes[u.ID] = fleet.SecretHash(token(i))
			tasks = append(tasks, campaign.Task{
				ID: fmt.Sprintf("n-%07d", i), CampaignID: runs["now"], UnitID: u.ID, UnitKey: u.Key, OwnerID: u.OwnerID, State: campaign.Offered,
				OfferedAt: now.Add(-time.Hour), Deadline: now.AddDate(0, 0, 14), Updated: now,
			})
			secret := fleet.NewSecret(access.SessionPrefix)
			asking = append(asking, owner{u.ID, secret})
			if err := signin.New(db).AddSession(ctx, access.Session{
				ID: "s-" + u.ID, Hash: fleet.SecretHash(secret), Party: access.PartyOwner, Subject: u.OwnerID, CreatedAt: now, ExpiresAt: now.Add(24 * time.Hour),
			}); err != nil {
				return nil, err
			}
		}
	}
	return asking, errors.Join(
		db.Fleet().PutUnits(ctx, units),
		db.Campaign().AddTasks(ctx, tasks),
		db.Condition().PutFindings(ctx, findings),
		db.Credentials().PutTokenHashes(ctx, hashes, now),
		add(ctx, db, records),
	)
}

func add(ctx context.Context, db *sqldb.DB, records []maintenance.Record) error {
	_, err := wear.Maintenance(db).Add(ctx, records)
	return err
}

// measurements sends a month of the sampled units by their own door, a value
// each half an hour.
func (f fleetOf) measurements(address string) error {
	began, sent := time.Now(), 0
	for i := range f.units {
		if !f.isSampled(i) {
			continue
		}
		var lines strings.Builder
		for at := began.AddDate(0, -1, 0); at.Before(began); at = at.Add(30 * time.Minute) {
			fmt.Fprintf(&lines, "charger plug_temperature=%d.5,current=%d %d\n", 20+at.Hour(), at.Hour()%16, at.UnixNano())
			sent++
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+address+"/write", strings.NewReader(lines.String()))
		if err != nil {
			return err
		}
		req.SetBasicAuth(unitID(i), token(i))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode/100 != 2 {
			return fmt.Errorf("unit %s was answered %s", unitID(i), res.Status)
		}
	}
	fmt.Printf("%d messages of %d units sent in %.1f s\n", sent, f.sampled, time.Since(began).Seconds())
	time.Sleep(5 * time.Second) // the history takes them
	return nil
}
