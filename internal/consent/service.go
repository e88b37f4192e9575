package consent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// ByImport is who made the choices declared with a unit by its maker.
const ByImport = "import"

// Service takes owners' choices and tells those who act on them.
type Service struct {
	store Store
	units fleet.Store
	tx    fleet.Transactor
	clock clock.Clock
	ids   clock.IDs

	mu    sync.Mutex // one teller at a time: nobody hears of an older mask last
	hooks []func(ctx context.Context, changes []Change) error

	withdrawn Withdrawals // nil: nobody
}

// NewService makes the service.
func NewService(store Store, units fleet.Store, tx fleet.Transactor, c clock.Clock, ids clock.IDs) *Service {
	return &Service{store: store, units: units, tx: tx, clock: c, ids: ids}
}

// OnChange adds a hook that is told of units whose mask changed, after the
// choice is kept, in order. A change is told again until every hook takes it,
// also after a crash, so hooks must bear repetition. Add hooks before use.
func (s *Service) OnChange(fn func(ctx context.Context, changes []Change) error) {
	s.hooks = append(s.hooks, fn)
}

// Give permits a purpose for a unit and returns the receipt. by is
// "owner:<id>", notice the version of the text that was shown.
func (s *Service) Give(ctx context.Context, unitID, purpose, by, notice string) (Choice, error) {
	return s.Choose(ctx, Choice{UnitID: unitID, Purpose: purpose, Given: true, By: by, Notice: notice})
}

// Withdraw forbids a purpose for a unit and returns the receipt.
func (s *Service) Withdraw(ctx context.Context, unitID, purpose, by, notice string) (Choice, error) {
	return s.Choose(ctx, Choice{UnitID: unitID, Purpose: purpose, By: by, Notice: notice})
}

// Choose keeps a choice and returns it with its number and time: the receipt.
// When it returns it acts, everywhere.
func (s *Service) Choose(ctx context.Context, c Choice) (Choice, error) {
	err := s.tx.InTx(ctx, func(ctx context.Context) error {
		u, err := s.units.Unit(ctx, c.UnitID)
		if err != nil {
			return err
		}
		p, err := s.units.Product(ctx, u.Product)
		if err != nil {
			return err
		}
		q, ok := p.Purpose(c.Purpose)
		if !ok {
			return fault.New(fault.NotFound, "%s has no purpose %q", p.Name, c.Purpose)
		}
		if q.Basis != fleet.BasisConsent {
			return fault.New(fault.Conflict, "%q has no switch, because it is necessary: %s", q.Title, q.Description)
		}
		// The same choice again is the same choice: its receipt stands.
		earlier, err := s.store.Choices(ctx, c.UnitID)
		if err != nil {
			return err
		}
		before := false
		for _, e := range slices.Backward(earlier) {
			if e.Purpose == c.Purpose {
				if e.Given == c.Given && e.By == c.By && e.Notice == c.Notice && (c.Language == "" || e.Language == c.Language) {
					c = e
					return nil
				}
				before = e.Given
				break
			}
		}
		if s.withdrawn != nil {
			if err := s.withdrawn.Choosing(ctx, u, &p, c, before); err != nil {
				return err
			}
		}
		c.ID, c.At = s.ids.ID(), s.clock.Now()
		if err := s.store.AddChoices(ctx, []Choice{c}); err != nil {
			return err
		}
		return s.store.Cover(ctx, c.UnitID, c.Purpose)
	})
	if err != nil {
		return Choice{}, fmt.Errorf("choice of unit %s: %w", c.UnitID, err)
	}
	if err := s.Tell(ctx); err != nil {
		return Choice{}, fmt.Errorf("choice of unit %s: it is kept, but does not act yet: %w", c.UnitID, err)
	}
	return c, nil
}

// Withdrawals is told, in the transaction of a choice, what is about to change.
// It may refuse.
type Withdrawals interface {
	// Choosing comes before a choice is kept; before is whether the purpose was given.
	Choosing(ctx context.Context, u fleet.Unit, p *fleet.Product, c Choice, before bool) error
}

// OnChoice sets who is told of choices in their transaction. Set it before use.
func (s *Service) OnChoice(w Withdrawals) { s.withdrawn = w }

// Import keeps what owners agreed to when units were handed over, as the maker
// declares it: by unit id the purposes given. A purpose that a unit has any
// choice for is left as it is. It returns how many choices were added. It takes
// part in the caller's transaction; call Tell when that is committed.
func (s *Service) Import(ctx context.Context, product string, given map[string][]string, notice string) (added int, err error) {
	p, err := s.units.Product(ctx, product)
	if err != nil {
		return 0, fmt.Errorf("import consents: %w", err)
	}
	err = s.tx.InTx(ctx, func(ctx context.Context) error {
		masks, err := s.masksOf(ctx, product, given)
		if err != nil {
			return err
		}
		var choices []Choice
		now := s.clock.Now()
		for unit, purposes := range given {
			if fields := fleet.ValidateConsents(p, purposes); len(fields) > 0 {
				return fault.Fields("consents of unit "+unit, fields)
			}
			seen := map[string]bool{}
			for _, purpose := range purposes {
				if _, chosen := masks[unit][purpose]; chosen || seen[purpose] {
					continue
				}
				seen[purpose] = true
				choices = append(choices, Choice{ID: s.ids.ID(), UnitID: unit, Purpose: purpose, Given: true, At: now, Notice: notice, By: ByImport})
			}
		}
		added = len(choices)
		return s.store.AddChoices(ctx, choices)
	})
	if err != nil {
		return 0, fmt.Errorf("import consents: %w", err)
	}
	return added, nil
}

// masksOf reads few masks one by one, many at once.
func (s *Service) masksOf(ctx context.Context, product string, units map[string][]string) (map[string]Mask, error) {
	if len(units) > 50 {
		return s.store.Masks(ctx, product)
	}
	masks := map[string]Mask{}
	for unit := range units {
		m, err := s.store.Mask(ctx, unit)
		if err != nil {
			return nil, err
		}
		masks[unit] = m
	}
	return masks, nil
}

// Reset withdraws whatever is given for the units, because of by: a change of
// owner resets consents. It takes part in the caller's transaction; call Tell
// when that is committed.
func (s *Service) Reset(ctx context.Context, unitIDs []string, by string) error {
	err := s.tx.InTx(ctx, func(ctx context.Context) error {
		var choices []Choice
		for _, unit := range unitIDs {
			m, err := s.store.Mask(ctx, unit)
			if err != nil {
				return err
			}
			for purpose, given := range m {
				if given && !strings.HasPrefix(purpose, "!") {
					choices = append(choices, Choice{ID: s.ids.ID(), UnitID: unit, Purpose: purpose, At: s.clock.Now(), By: by})
				}
			}
		}
		return s.store.AddChoices(ctx, choices)
	})
	if err != nil {
		return fmt.Errorf("reset consents: %w", err)
	}
	return nil
}

// Tell tells the hooks of every change that was not told yet.
func (s *Service) Tell(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	const most = 5000
	for {
		changes, err := s.store.Untold(ctx, most)
		if err != nil || len(changes) == 0 {
			return err
		}
		var failed []error
		for _, hook := range s.hooks {
			failed = append(failed, hook(ctx, changes))
		}
		if err := errors.Join(failed...); err != nil {
			return fmt.Errorf("tell of choices: %w", err)
		}
		if err := s.store.Told(ctx, changes); err != nil || len(changes) < most {
			return err
		}
	}
}

// Run tells what a crash or a failed hook left untold, until ctx ends.
func (s *Service) Run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	failing := false
	for {
		if err := s.Tell(ctx); err != nil && ctx.Err() == nil {
			if !failing {
				log.WarnContext(ctx, "owners' choices wait to be told", "error", err)
			}
			failing = true
		} else {
			failing = false
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Permitted says for every unit of a product, by key, whether its data may be
// used for a purpose. Where the value is false the unit is withheld.
func (s *Service) Permitted(ctx context.Context, product, purpose string) (map[int64]bool, error) {
	p, err := s.units.Product(ctx, product)
	if err != nil {
		return nil, fmt.Errorf("who permits %s: %w", purpose, err)
	}
	q, ok := p.Purpose(purpose)
	if !ok {
		return nil, fault.New(fault.NotFound, "%s has no purpose %q", product, purpose)
	}
	return s.store.Permits(ctx, product, purpose, q.Basis == fleet.BasisNecessary)
}

// Mask is what a unit's owner chose.
func (s *Service) Mask(ctx context.Context, unitID string) (Mask, error) {
	return s.store.Mask(ctx, unitID)
}

// Choices is a unit's history of choices, oldest first.
func (s *Service) Choices(ctx context.Context, unitID string) ([]Choice, error) {
	return s.store.Choices(ctx, unitID)
}
