package app

import (
	"context"

	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/sqldb/wear"
	"fettle.dev/fettle/internal/telemetry"
)

// wear builds what keeps maintenance records and foresees failures.
func (h *house) wear() {
	h.serviced = maintenance.NewService(maintenance.Config{
		Store: wear.Maintenance(h.records), Fleet: h.fleet, Tx: h.records, Clock: h.clock, IDs: h.ids, Log: h.log, Mark: h.maintained,
	})
	h.foreseen = prognosis.NewManager(prognosis.Config{
		Store: wear.Prognosis(h.records), Findings: h.records.Condition(), Lives: h.serviced, Fleet: h.fleet, Consents: h.consents,
		History: h.read, Learner: prognosis.Trees{}, Tx: h.records, Clock: h.clock, Log: h.log, Told: h.told,
	})
}

// maintained marks in the stream that units were put right.
func (h *house) maintained(ctx context.Context, records []maintenance.Entered) error {
	marks := make([]telemetry.Mark, len(records))
	for i, r := range records {
		marks[i] = telemetry.Mark{Kind: telemetry.MarkMaintained, Unit: r.UnitKey, Text: r.Part + "=" + string(r.Kind)}
	}
	return h.gateway.Mark(ctx, marks...)
}
