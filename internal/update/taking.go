package update

import (
	"context"
	"fmt"
	"math"
	"time"
)

// How the minutes that owners are told come from what the fleet has shown:
// nine of ten installations took no longer. With fewer than leastTakings the
// 90th percentile would be the longest one seen, or the one before it.
const (
	leastTakings  = 20
	takenQuantile = 0.9
	takingsKept   = time.Minute // how long an answer is used again
)

// Minutes is how long an installation takes, and where that comes from.
type Minutes struct {
	Minutes  int    `json:"minutes"`
	Measured string `json:"measured" enum:"release,product,declared" doc:"release: nine of ten installations of it took no longer; product: nine of ten of the product's other releases for the same components, since too few of it are done; declared: an estimate."`
	Of       int    `json:"of" doc:"How many installations it is measured on; 0: none."`
}

type minutesKept struct {
	Minutes
	declared int
	at       time.Time
}

// Minutes is how long an installation of a release takes: nine of ten of the
// fleet's took no longer, from the first word of the client to the report of
// the new versions, once there are at least 20 of the release, or else of the
// product's releases for the same components; before, what is declared.
func (s *Service) Minutes(ctx context.Context, r *Release) (Minutes, error) {
	now := s.clock.Now()
	s.minutes.mu.Lock()
	kept, ok := s.minutes.of[r.Name]
	s.minutes.mu.Unlock()
	if age := now.Sub(kept.at); ok && age >= 0 && age < takingsKept && kept.declared == r.Minutes {
		return kept.Minutes, nil
	}
	m := Minutes{Minutes: r.Minutes, Measured: "declared"}
	for _, of := range []struct{ name, release, family string }{{"release", r.Name, ""}, {"product", "", r.Family()}} {
		n, took, err := s.ledger.Takings(ctx, of.release, of.family, takenQuantile)
		if err != nil {
			return m, fmt.Errorf("how long release %s takes: %w", r.Name, err)
		}
		if n >= leastTakings {
			m = Minutes{Minutes: max(1, int(math.Ceil(took.Minutes()))), Measured: of.name, Of: n}
			break
		}
	}
	s.minutes.mu.Lock()
	defer s.minutes.mu.Unlock()
	if s.minutes.of == nil || len(s.minutes.of) >= mostGuards {
		s.minutes.of = map[string]minutesKept{}
	}
	s.minutes.of[r.Name] = minutesKept{Minutes: m, declared: r.Minutes, at: now}
	return m, nil
}

// Now is the service's time.
func (s *Service) Now() time.Time { return s.clock.Now() }
