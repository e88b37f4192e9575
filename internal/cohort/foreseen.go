package cohort

import (
	"context"
	"fmt"

	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/prognosis"
)

// Foreseen tells what a detector of type prognosis predicts of units.
type Foreseen interface {
	Risks(ctx context.Context, f prognosis.RiskFilter) ([]prognosis.Prediction, error)
}

// foreseen says where each unit stands by a detector of type prognosis: in are
// those on which it has found, in the time asked for, that they are heading
// towards failure. What it would have found then cannot be computed anew: its
// models have learned from what came after.
func (s *Service) foreseen(ctx context.Context, d *condition.Detector, e *Evidence, may map[int64]bool, members []Member) error {
	findings, err := s.c.Conditions.Findings(ctx, condition.FindingFilter{Product: d.Product, Detector: d.Name, From: e.From, To: e.To})
	if err != nil {
		return err
	}
	found := map[int64]*condition.Finding{}
	for i := range findings {
		found[findings[i].UnitKey] = &findings[i] // newest first: the first of each unit stays
	}
	predicted := map[int64]*prognosis.Prediction{}
	if s.c.Foreseen != nil {
		risks, err := s.c.Foreseen.Risks(ctx, prognosis.RiskFilter{Detector: d.Name})
		if err != nil {
			return err
		}
		for i := range risks {
			predicted[risks[i].UnitKey] = &risks[i]
		}
	}
	withheld, err := s.withheld(ctx, d.Product, d.Purpose)
	if err != nil {
		return err
	}
	for i := range members {
		m := &members[i]
		f, p := found[m.UnitKey], predicted[m.UnitKey]
		switch {
		case !may[m.UnitKey]:
			m.List = NotJudgeable
			m.Code, m.Reason = withheld(m.UnitKey)
		case f != nil:
			m.List, m.Code, m.Reason = In, CodeEvidence, breach(f, "")
		case p == nil:
			m.List, m.Code, m.Reason = NotJudgeable, CodeTooLittle, "nothing is foreseen of it"
		case p.State == prognosis.Unknown:
			m.List, m.Code, m.Reason = NotJudgeable, CodeTooLittle, p.Why
		default:
			m.List, m.Code, m.Reason = Out, CodeNoEvidence, fmt.Sprintf("expected to last %.0f days (80 %%: %.0f to %.0f)", p.Median, p.Low, p.High)
		}
	}
	return nil
}
