package update

import (
	"context"
	"sync"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/update/spec"
)

// uses keeps the compiled conditions by which products are in use.
type uses struct {
	mu sync.Mutex
	of map[string]*spec.Use // by product
}

func (s *Service) use(p *fleet.Product) *spec.Use {
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	if u := s.uses.of[p.Name]; u != nil && u.For(p) {
		return u
	}
	if s.uses.of == nil || len(s.uses.of) >= mostGuards {
		s.uses.of = map[string]*spec.Use{}
	}
	u := spec.NewUse(p)
	s.uses.of[p.Name] = u
	return u
}

// InUse says that a unit is in use at this moment, or that it is not known; nil
// if it is idle, or its product does not say what use is.
func (s *Service) InUse(ctx context.Context, p *fleet.Product, u *fleet.Unit) (*Refusal, error) {
	if p.InUse == nil {
		return nil, nil
	}
	x := s.use(p)
	latest := map[string]telemetry.Sample{}
	if s.state != nil {
		var err error
		if latest, err = s.state.Latest(consent.ForShown(ctx), u.Product, u.Key, x.Signals()...); err != nil {
			return nil, err
		}
	}
	return x.Refuse(p, latest, s.clock.Now()), nil
}
