package condition

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Config is what a Service is made of.
type Config struct {
	Store    Store
	Fleet    fleet.Store
	Consents consent.Store
	History  telemetry.History // for Backtest
	Clock    clock.Clock
	IDs      clock.IDs
	Changed  func() // told after detectors have changed, so that the Watcher reloads; may be nil
}

// Service is what people ask about detectors, findings and the condition of
// units.
type Service struct {
	c Config
}

// NewService makes a Service.
func NewService(c Config) *Service { return &Service{c: c} }

// PutDetector checks a detector against its product and keeps it. A changed
// definition gets the next version; the same one keeps its version.
func (s *Service) PutDetector(ctx context.Context, d Detector) (Detector, error) {
	p, err := s.c.Fleet.Product(ctx, d.Product)
	if fault.KindOf(err) == fault.NotFound {
		return Detector{}, fault.Fields("detector "+d.Name, []fault.Field{{Path: "spec.product", Expected: "the name of a product", Got: d.Product}})
	} else if err != nil {
		return Detector{}, err
	}
	if err := fault.Fields("detector "+d.Name, Validate(&p, &d)); err != nil {
		return Detector{}, err
	}
	basis := BasisOf(&p, &d)
	d.Basis = &basis
	kept, err := s.c.Store.PutDetector(ctx, d)
	if err != nil {
		return Detector{}, err
	}
	s.changed()
	return kept, nil
}

// ProductChanged makes new versions of the detectors whose tolerance has
// changed with their product. Call it after a product was put.
func (s *Service) ProductChanged(ctx context.Context, product string) error {
	p, err := s.c.Fleet.Product(ctx, product)
	if err != nil {
		return err
	}
	ds, err := s.c.Store.Detectors(ctx, product)
	if err != nil {
		return err
	}
	for _, d := range ds {
		basis := BasisOf(&p, &d)
		d.Basis = &basis
		if err := fault.Fields("detector "+d.Name, Validate(&p, &d)); err != nil {
			return err
		}
		if _, err := s.c.Store.PutDetector(ctx, d); err != nil {
			return err
		}
	}
	s.changed()
	return nil
}

// Detector is a version of a detector; version 0 is the newest.
func (s *Service) Detector(ctx context.Context, name string, version int) (Detector, error) {
	return s.c.Store.Detector(ctx, name, version)
}

// Detectors is the newest version of each detector of a product ("": all).
func (s *Service) Detectors(ctx context.Context, product string) ([]Detector, error) {
	return s.c.Store.Detectors(ctx, product)
}

// DeleteDetector ends a detector; what it has open is cleared by the Watcher.
func (s *Service) DeleteDetector(ctx context.Context, name string) error {
	if err := s.c.Store.DeleteDetector(ctx, name); err != nil {
		return err
	}
	s.changed()
	return nil
}

func (s *Service) changed() {
	if s.c.Changed != nil {
		s.c.Changed()
	}
}

// Findings lists findings, newest first.
func (s *Service) Findings(ctx context.Context, f FindingFilter) ([]Finding, error) {
	return s.c.Store.Findings(ctx, f)
}

// CountFindings counts findings.
func (s *Service) CountFindings(ctx context.Context, f FindingFilter) (int, error) {
	return s.c.Store.CountFindings(ctx, f)
}

// Finding is one finding and what was said about it.
func (s *Service) Finding(ctx context.Context, id string) (Finding, []Comment, error) {
	f, err := s.c.Store.Finding(ctx, id)
	if err != nil {
		return Finding{}, nil, err
	}
	comments, err := s.c.Store.Comments(ctx, id)
	return f, comments, err
}

// Ack records that somebody has seen a finding. The first one counts.
func (s *Service) Ack(ctx context.Context, id, by string) (Finding, error) {
	return s.c.Store.UpdateFinding(ctx, id, func(f *Finding) error {
		if f.AckBy == "" {
			f.AckBy, f.AckAt = by, s.c.Clock.Now()
		}
		return nil
	})
}

// Unack takes an acknowledgement back.
func (s *Service) Unack(ctx context.Context, id string) (Finding, error) {
	return s.c.Store.UpdateFinding(ctx, id, func(f *Finding) error {
		f.AckBy, f.AckAt = "", time.Time{}
		return nil
	})
}

// Shelve puts a finding out of sight until a time to come; none brings it back.
func (s *Service) Shelve(ctx context.Context, id string, until time.Time) (Finding, error) {
	if now := s.c.Clock.Now(); !until.IsZero() && !until.After(now) {
		return Finding{}, fault.Fields("shelve finding", []fault.Field{{
			Path: "until", Expected: "a time to come (it is " + now.UTC().Format(time.RFC3339) + "), or none: it is back in sight",
			Got: until.UTC().Format(time.RFC3339),
		}})
	}
	return s.c.Store.UpdateFinding(ctx, id, func(f *Finding) error {
		if f.State != Open && !until.IsZero() {
			return fault.New(fault.Conflict, "finding %s has cleared: only an open finding can be shelved", id)
		}
		f.ShelvedUntil = until
		return nil
	})
}

// Assess records what a person found; "" takes it back.
func (s *Service) Assess(ctx context.Context, id string, a Assessment, by string) (Finding, error) {
	switch a {
	case Confirmed, NoFaultFound, "":
	default:
		return Finding{}, fault.Fields("assess finding", []fault.Field{{Path: "assessment", Expected: `"confirmed" or "no fault found"`, Got: string(a)}})
	}
	return s.c.Store.UpdateFinding(ctx, id, func(f *Finding) error {
		f.Assessment, f.AssessedBy = a, by
		if a == "" {
			f.AssessedBy = ""
		}
		return nil
	})
}

// Comment adds a remark to a finding.
func (s *Service) Comment(ctx context.Context, id, by, text string) (Comment, error) {
	if strings.TrimSpace(text) == "" {
		return Comment{}, fault.Fields("comment", []fault.Field{{Path: "text", Expected: "some words"}})
	}
	if len(text) > maxComment {
		return Comment{}, fault.Fields("comment", []fault.Field{{Path: "text", Expected: "at most 10,000 bytes"}})
	}
	if _, err := s.c.Store.Finding(ctx, id); err != nil {
		return Comment{}, err
	}
	c := Comment{ID: s.c.IDs.ID(), FindingID: id, By: by, At: s.c.Clock.Now(), Text: text}
	return c, s.c.Store.AddComment(ctx, c)
}

const maxComment = 10_000

// Exposures is how much judged use units (by key; nil: all) have had under a
// detector version since they were last reset.
func (s *Service) Exposures(ctx context.Context, d Ref, units []int64) ([]Exposure, error) {
	return s.c.Store.Exposures(ctx, d, units)
}

// sameDefinition reports whether a kept version is what d on basis would be.
func sameDefinition(kept, d *Detector, basis Basis) (bool, error) {
	type definition struct {
		Detector
		Basis *Basis `json:"basis"`
	}
	a, err := json.Marshal(definition{*kept, kept.Basis})
	if err != nil {
		return false, err
	}
	b, err := json.Marshal(definition{*d, &basis})
	return err == nil && bytes.Equal(a, b), err
}
