package update

import (
	"context"
	"fmt"
	"sync"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/update/spec"
)

// State tells the newest value of each of the signals of a unit, by its key;
// telemetry.History does.
type State interface {
	Latest(ctx context.Context, product string, unit int64, signals ...string) (map[string]telemetry.Sample, error)
}

// guards keeps the compiled preconditions of releases.
type guards struct {
	mu sync.Mutex
	of map[string]*spec.Guard
}

// mostGuards bounds what is kept; beyond it, all are compiled anew.
const mostGuards = 1000

func (s *Service) guard(ctx context.Context, r *Release) (*spec.Guard, error) {
	p, err := s.fleet.Product(ctx, r.Product)
	if err != nil {
		return nil, err
	}
	s.guards.mu.Lock()
	defer s.guards.mu.Unlock()
	if g := s.guards.of[r.Name]; g != nil && g.For(r.Preconditions, p.Signals) {
		return g, nil
	}
	g, err := spec.NewGuard(r, &p)
	if err != nil {
		return nil, err
	}
	if s.guards.of == nil || len(s.guards.of) >= mostGuards {
		s.guards.of = map[string]*spec.Guard{}
	}
	s.guards.of[r.Name] = g
	return g, nil
}

// Precondition says which precondition of a release does not hold of a unit at
// this moment; nil when all do. A release whose preconditions cannot be read
// any more, since the product has changed, is not offered either.
func (s *Service) Precondition(ctx context.Context, r *Release, u *fleet.Unit) (*Refusal, error) {
	p, err := s.fleet.Product(ctx, r.Product)
	if err != nil {
		return nil, fmt.Errorf("preconditions of release %s: %w", r.Name, err)
	}
	if no, err := s.InUse(ctx, &p, u); err != nil || no != nil || len(r.Preconditions) == 0 {
		return no, err
	}
	g, err := s.guard(ctx, r)
	if fault.KindOf(err) == fault.Invalid {
		return &Refusal{Code: CodeUnknownState, Why: "the release's preconditions do not fit its product any more: " + err.Error()}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("preconditions of release %s: %w", r.Name, err)
	}
	latest := map[string]telemetry.Sample{}
	if s.state != nil {
		if latest, err = s.state.Latest(consent.ForShown(ctx), u.Product, u.Key, g.Read...); err != nil {
			return nil, fmt.Errorf("last state of %s: %w", u.ID, err)
		}
	}
	return g.Refuse(latest, s.clock.Now()), nil
}
