package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/duckdb"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
)

// judge times cohorts over all days and units: those whose plug was above 80
// degrees while charging.
func judge(ctx context.Context, o *options, h *duckdb.History, out io.Writer) error {
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(o.dir, "records-"+strconv.FormatInt(time.Now().UnixNano(), 36)+".sqlite"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	care := []string{"care"}
	p := fleet.Product{
		Name: product, Title: "Wall charger",
		Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisConsent}},
		Signals: []fleet.Signal{
			{Name: "current", Type: fleet.Number, Unit: "A", Purposes: care},
			{Name: "plug_temperature", Type: fleet.Number, Unit: "Cel", Purposes: care},
		},
		Tolerances: []fleet.Tolerance{{Name: "plug", Signal: "plug_temperature", Bands: []fleet.Band{{When: "current >= 16", Max: new(80.0)}}}},
	}
	if err := db.Fleet().PutProduct(ctx, p); err != nil {
		return err
	}
	var units []fleet.Unit
	var choices []consent.Choice
	for n := range o.units {
		u := fleet.Unit{ID: fmt.Sprintf("WC-%06d", n), Key: unit(n), Product: product, Serial: strconv.Itoa(n), State: fleet.UnitActive, CreatedAt: begin}
		units = append(units, u)
		choices = append(choices, consent.Choice{ID: strconv.Itoa(n), UnitID: u.ID, Purpose: "care", Given: true, At: begin, By: "import"})
	}
	if err := db.Fleet().PutUnits(ctx, units); err != nil {
		return err
	}
	if err := db.Consent().AddChoices(ctx, choices); err != nil {
		return err
	}
	now := clock.NewManual(o.end())
	conditions := condition.NewService(condition.Config{Store: db.Condition(), Fleet: db.Fleet(), Consents: db.Consent(), History: h, Clock: now, IDs: clock.Random{}})
	if _, err := conditions.PutDetector(ctx, condition.Detector{
		Name: "plug-overheat", Product: product, Type: condition.TypeTolerance, Severity: condition.Critical, Purpose: "care", Tolerance: "plug", Exposure: "current >= 16",
	}); err != nil {
		return err
	}
	service := cohort.NewService(cohort.Config{
		Store: db.Cohort(), Tx: db, Fleet: db.Fleet(), Conditions: conditions, History: h, Last: h.Applied, Clock: now, IDs: clock.Random{},
		Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { _ = service.Run(ctx) }()
	for _, exposure := range []time.Duration{0, 8 * time.Hour} {
		began, spent := time.Now(), cpu()
		snap, err := service.Create(ctx, cohort.Definition{Name: "hot-plugs", Product: product, Evidence: &cohort.Evidence{
			Detector: condition.Ref{Name: "plug-overheat"}, From: begin, To: o.end(), MinExposure: fleet.Duration(exposure),
		}}, "bench")
		for err == nil && snap.State == cohort.Computing {
			time.Sleep(5 * time.Millisecond)
			snap, err = service.Snapshot(ctx, snap.ID)
		}
		if err != nil {
			return err
		}
		if snap.Error != "" {
			return fmt.Errorf("cohort: %s", snap.Error)
		}
		fmt.Fprintf(out, "cohort by a condition over %d days and %d units, least exposure %s: %s, %s of CPU (%d in, %d out, %d not judgeable)\n",
			o.days, o.units, fleet.Duration(exposure), milli(time.Since(began)), milli(cpu()-spent), snap.In, snap.Out, snap.NotJudgeable)
	}
	return nil
}
