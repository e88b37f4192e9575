package maintenance

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Config is what a Service is made of.
type Config struct {
	Store Store
	Fleet fleet.Store
	Tx    fleet.Transactor
	Clock clock.Clock
	IDs   clock.IDs
	Log   *slog.Logger

	// Mark tells the stream of records, in order; it returns when that is
	// durable. Records are told again until it takes them, also after a crash.
	Mark func(ctx context.Context, records []Entered) error
}

// Service takes maintenance records in and tells the stream of them, so that
// detectors start anew on what was put right.
type Service struct{ c Config }

// NewService makes the service.
func NewService(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{c}
}

// News is the age up to which a record, when it is entered, is told to the
// detectors. An older one is history, as of an import, and resets nothing.
const News = 30 * 24 * time.Hour

// MaxAdd is how many records are taken at once.
const MaxAdd = 10_000

// Add checks records and keeps them, all or none; every mistake is told, with
// the path of its record. Ids, who and when are given here. What is on record
// already (same unit, part, kind and time) is not added again.
func (s *Service) Add(ctx context.Context, records []Record, by string) (added int, err error) {
	if len(records) == 0 || len(records) > MaxAdd {
		return 0, fault.Fields("maintenance records", []fault.Field{{Path: "records", Expected: fmt.Sprintf("1 to %d records", MaxAdd), Got: fmt.Sprint(len(records))}})
	}
	out := slices.Clone(records)
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		mistakes, err := s.check(ctx, out, by)
		if err != nil {
			return err
		}
		if err := fault.Fields("maintenance records", mistakes); err != nil {
			return err
		}
		added, err = s.c.Store.Add(ctx, out)
		return err
	})
	return added, err
}

// check completes records and lists their mistakes.
func (s *Service) check(ctx context.Context, records []Record, by string) (mistakes []fault.Field, err error) {
	now := s.c.Clock.Now()
	known := map[string]error{}
	for i := range records {
		r := &records[i]
		at := fmt.Sprintf("records[%d].", i)
		for _, m := range r.Validate(now) {
			m.Path = at + m.Path
			mistakes = append(mistakes, m)
		}
		r.At = r.At.UTC().Truncate(time.Millisecond)
		if _, looked := known[r.UnitID]; !looked && r.UnitID != "" {
			_, err := s.c.Fleet.Unit(ctx, r.UnitID)
			if err != nil && fault.KindOf(err) != fault.NotFound {
				return nil, err
			}
			known[r.UnitID] = err
		}
		if known[r.UnitID] != nil {
			mistakes = append(mistakes, fault.Field{Path: at + "unitId", Expected: "the id of a unit", Got: r.UnitID})
		}
		r.ID, r.By, r.EnteredAt = s.c.IDs.ID(), by, now
	}
	return mistakes, nil
}

// Records lists records, newest first.
func (s *Service) Records(ctx context.Context, f Filter) ([]Record, error) {
	return s.c.Store.Records(ctx, f)
}

// Delete takes back a record that was entered by mistake.
func (s *Service) Delete(ctx context.Context, id string) error { return s.c.Store.Delete(ctx, id) }

// Parts counts a product's records by part.
func (s *Service) Parts(ctx context.Context, product string) ([]PartCount, error) {
	return s.c.Store.Parts(ctx, product)
}

// Lives tells the lives of a part on a product's units as of now, and how many
// have no known beginning.
func (s *Service) Lives(ctx context.Context, product, part string, now time.Time) (lives []Life, unknown int, err error) {
	units, err := s.c.Fleet.Units(ctx, fleet.Filter{Product: product})
	if err != nil {
		return nil, 0, fmt.Errorf("lives of %s: %w", part, err)
	}
	records, err := s.c.Store.Records(ctx, Filter{Product: product, Part: &part})
	if err != nil {
		return nil, 0, fmt.Errorf("lives of %s: %w", part, err)
	}
	lives, unknown = Lives(units, records, part, now)
	return lives, unknown, nil
}

// Run tells the stream of new records until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	failing := false
	for {
		err := s.Tell(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			s.c.Log.WarnContext(ctx, "maintenance records wait to be told to the detectors", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Tell tells the stream of every record that it was not told of yet.
func (s *Service) Tell(ctx context.Context) error {
	const most = 1000
	for {
		entered, err := s.c.Store.Untold(ctx, most)
		if err != nil || len(entered) == 0 {
			return err
		}
		news := slices.DeleteFunc(slices.Clone(entered), func(e Entered) bool {
			return e.Kind == Failure || e.EnteredAt.Sub(e.At) > News // what has only failed is as it was
		})
		if len(news) > 0 {
			if err := s.c.Mark(ctx, news); err != nil {
				return fmt.Errorf("tell of maintenance: %w", err)
			}
		}
		ids := make([]string, len(entered))
		for i := range entered {
			ids[i] = entered[i].ID
		}
		if err := s.c.Store.Told(ctx, ids); err != nil || len(entered) < most {
			return err
		}
	}
}
