package cohort

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/words"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// Config is what a Service is made of.
type Config struct {
	Store      Store
	Tx         fleet.Transactor
	Fleet      fleet.Store
	Conditions *condition.Service
	History    telemetry.History
	// Last is the newest position of the stream: a snapshot is of the stream up to there.
	Last  func(ctx context.Context) (uint64, error)
	Clock clock.Clock
	IDs   clock.IDs
	Log   *slog.Logger
	// SiftFrom is how many values there must be to judge before units whose
	// values were all inside are looked at no longer than their exposure needs
	// (default 200,000).
	SiftFrom int64
	Foreseen Foreseen // what detectors of type prognosis predict; may be nil
	// Restricted are units, by key, whose owners had the use of their data
	// restricted, for a purpose or at all; may be nil.
	Restricted func(ctx context.Context, product, purpose string) (map[int64]bool, error)
}

// withheld says why a unit may not be looked at for a purpose.
func (s *Service) withheld(ctx context.Context, product, purpose string) (func(key int64) (code, reason string), error) {
	var restricted map[int64]bool
	if s.c.Restricted != nil {
		var err error
		if restricted, err = s.c.Restricted(ctx, product, purpose); err != nil {
			return nil, err
		}
	}
	return func(key int64) (string, string) {
		if restricted[key] {
			return CodeRestricted, "the owner has restricted the use of its data, or objected to " + purpose
		}
		return CodeNoConsent, "the owner has not consented to " + purpose
	}, nil
}

// Service makes and shows cohorts.
type Service struct {
	c    Config
	wake chan struct{}
}

// NewService makes a Service. Run computes what Create asks for.
func NewService(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.SiftFrom == 0 {
		c.SiftFrom = 200_000
	}
	return &Service{c: c, wake: make(chan struct{}, 1)}
}

// DefaultMinExposure is how much exposure without a finding it takes to say
// that a unit is out, where a definition suggested from a finding says nothing else.
const DefaultMinExposure = fleet.Duration(8 * time.Hour)

// DefaultRange is how far back from now the evidence of a suggested definition reaches.
const DefaultRange = 30 * 24 * time.Hour

// Create checks a definition and begins its snapshot, which is computing until
// Run has done it.
func (s *Service) Create(ctx context.Context, d Definition, by string) (Snapshot, error) {
	if err := s.complete(ctx, &d); err != nil {
		return Snapshot{}, err
	}
	position, err := s.c.Last(ctx)
	if err != nil {
		return Snapshot{}, fmt.Errorf("create cohort: %w", err)
	}
	snap := Snapshot{ID: s.c.IDs.ID(), Definition: d, Position: position, At: s.c.Clock.Now(), State: Computing, By: by}
	if err := s.c.Store.PutSnapshot(ctx, snap); err != nil {
		return Snapshot{}, err
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return snap, nil
}

// The states of a snapshot.
const (
	Computing = "computing"
	Ready     = "ready"
	Failed    = "failed"
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// complete checks a definition and resolves what it leaves open: the newest
// version of the detector, and the end of the range.
func (s *Service) complete(ctx context.Context, d *Definition) error {
	var fields []fault.Field
	add := func(path, expected, got string) {
		fields = append(fields, fault.Field{Path: path, Expected: expected, Got: got})
	}
	if !namePattern.MatchString(d.Name) { // campaigns name it
		add("name", "1 to 63 small letters, digits, '-', '_' and '.', beginning and ending with a letter or digit", d.Name)
	}
	if _, err := s.c.Fleet.Product(ctx, d.Product); fault.KindOf(err) == fault.NotFound {
		add("product", "the name of a product", d.Product)
	} else if err != nil {
		return err
	}
	switch d.Match {
	case "", "any":
		d.Match = "any"
	case "all":
		if d.Evidence == nil || d.Attributes == nil {
			add("match", "evidence and attributes where both must match", d.Match)
		}
	default:
		add("match", "any or all", d.Match)
	}
	if d.Evidence == nil && d.Attributes == nil {
		add("evidence", "evidence, attributes or both", "")
	}
	if d.Attributes != nil && d.Attributes.Empty() {
		add("attributes", "at least one attribute", "")
	}
	if d.FindingID != "" {
		if _, _, err := s.c.Conditions.Finding(ctx, d.FindingID); fault.KindOf(err) == fault.NotFound {
			add("findingId", "the id of a finding", d.FindingID)
		} else if err != nil {
			return err
		}
	}
	if e := d.Evidence; e != nil {
		kept := *e
		d.Evidence = &kept
		detector, err := s.c.Conditions.Detector(ctx, kept.Detector.Name, kept.Detector.Version)
		switch {
		case fault.KindOf(err) == fault.NotFound:
			add("evidence.detector", "a detector of product "+d.Product, fmt.Sprintf("%s@%d", kept.Detector.Name, kept.Detector.Version))
		case err != nil:
			return err
		case detector.Product != d.Product:
			add("evidence.detector", "a detector of product "+d.Product, kept.Detector.Name+", which is of product "+detector.Product)
		case detector.Type != condition.TypeTolerance && kept.MinExposure > 0:
			add("evidence.minExposure", "nothing: only detectors of type tolerance count exposure", kept.MinExposure.String())
		}
		d.Evidence.Detector = detector.Ref()
		if kept.To.IsZero() {
			d.Evidence.To = s.c.Clock.Now()
		}
		if !kept.From.Before(d.Evidence.To) {
			add("evidence.from", "a time before to, "+words.Instant(d.Evidence.To), words.Instant(kept.From))
		}
	}
	return fault.Fields("cohort "+d.Name, fields)
}

// Snapshot is one snapshot.
func (s *Service) Snapshot(ctx context.Context, id string) (Snapshot, error) {
	return s.c.Store.Snapshot(ctx, id)
}

// SnapshotByName is the newest snapshot of a name.
func (s *Service) SnapshotByName(ctx context.Context, name string) (Snapshot, error) {
	return s.c.Store.SnapshotByName(ctx, name)
}

// Snapshots lists the snapshots of a product ("": all), newest first.
func (s *Service) Snapshots(ctx context.Context, product string) ([]Snapshot, error) {
	return s.c.Store.Snapshots(ctx, product)
}

// Members lists a snapshot's members by unit id: of one list, or all ("").
func (s *Service) Members(ctx context.Context, id string, list List, after string, limit int) ([]Member, error) {
	return s.c.Store.Members(ctx, id, list, after, limit)
}

// Delete removes a snapshot. Whoever freezes one for a campaign keeps it from
// being deleted.
func (s *Service) Delete(ctx context.Context, id string) error {
	return s.c.Store.DeleteSnapshot(ctx, id)
}

// Suggestion answers "who else?" for a finding: a definition to start from,
// and what the units with open or recent findings of the detector share.
type Suggestion struct {
	Definition Definition `json:"definition"`
	Shared     []Shared   `json:"shared"`
}

// Shared is an attribute that the affected have more often than the fleet.
type Shared struct {
	Attribute string  `json:"attribute"` // hardware, batch, region, version, or a name of their own
	Value     string  `json:"value"`
	Affected  int     `json:"affected"` // affected units that have it
	Of        int     `json:"of"`       // affected units
	Fleet     int     `json:"fleet"`    // units of the product that have it
	Lift      float64 `json:"lift"`     // share among the affected over share in the fleet
}

// SuggestFrom suggests a cohort from a finding: the evidence of its detector
// over the last thirty days, or since its onset if that is longer ago.
func (s *Service) SuggestFrom(ctx context.Context, findingID string) (Suggestion, error) {
	f, _, err := s.c.Conditions.Finding(ctx, findingID)
	if err != nil {
		return Suggestion{}, err
	}
	if f.UnitID == "" {
		return Suggestion{}, fault.New(fault.Conflict, "finding %s is of %s, not of a unit: ask who else of a unit's finding, or define a cohort by attributes", f.ID, f.Of())
	}
	now := s.c.Clock.Now()
	from := now.Add(-DefaultRange)
	if f.Onset.Before(from) {
		from = f.Onset
	}
	detector, err := s.c.Conditions.Detector(ctx, f.Detector.Name, f.Detector.Version)
	if err != nil {
		return Suggestion{}, err
	}
	out := Suggestion{Definition: Definition{
		Name: detector.Name, Product: f.Product, FindingID: f.ID, Match: "any",
		Description: "Units like " + f.UnitID + ": " + f.Why,
		Evidence:    &Evidence{Detector: f.Detector, From: from, To: now},
	}}
	if detector.Type == condition.TypeTolerance {
		out.Definition.Evidence.MinExposure = DefaultMinExposure
	}
	out.Shared, err = s.shared(ctx, f, from, now)
	return out, err
}

// shared finds what the affected have in common.
func (s *Service) shared(ctx context.Context, f condition.Finding, from, to time.Time) ([]Shared, error) {
	findings, err := s.c.Conditions.Findings(ctx, condition.FindingFilter{Product: f.Product, Detector: f.Detector.Name, From: from, To: to})
	if err != nil {
		return nil, err
	}
	affected := map[string]bool{f.UnitID: true}
	for _, g := range findings {
		if g.UnitID != "" {
			affected[g.UnitID] = true
		}
	}
	units, err := s.c.Fleet.Units(ctx, fleet.Filter{Product: f.Product})
	if err != nil {
		return nil, err
	}
	type key struct{ attribute, value string }
	all, hit := map[key]int{}, map[key]int{}
	for _, u := range units {
		for attribute, value := range attributesOf(&u) {
			if value == "" {
				continue
			}
			all[key{attribute, value}]++
			if affected[u.ID] {
				hit[key{attribute, value}]++
			}
		}
	}
	var out []Shared
	for k, n := range hit {
		h := Shared{Attribute: k.attribute, Value: k.value, Affected: n, Of: len(affected), Fleet: all[k]}
		h.Lift = float64(n) / float64(len(affected)) / (float64(h.Fleet) / float64(len(units)))
		if h.Lift > 1.2 && (n > 1 || len(affected) == 1) {
			out = append(out, h)
		}
	}
	weight := func(h Shared) float64 { return float64(h.Affected) * math.Log(h.Lift) }
	slices.SortFunc(out, func(a, b Shared) int {
		if x, y := weight(a), weight(b); x != y {
			if x > y {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Attribute+a.Value, b.Attribute+b.Value)
	})
	return out[:min(len(out), 10)], nil
}

func attributesOf(u *fleet.Unit) map[string]string {
	out := map[string]string{"hardware": u.Hardware, "batch": u.Batch, "region": u.Region, "version": u.Versions[fleet.MainComponent]}
	for k, v := range u.Attributes {
		if _, taken := out[k]; !taken {
			out[k] = v
		}
	}
	return out
}
