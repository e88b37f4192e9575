// Package settings is the room update as the gateway asks it what units are to
// be set to.
package settings

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

// Config is what a Source works with. A process that takes data alone has no
// *update.Service: it reads what another has taken up, and records what units
// say of it.
type Config struct {
	Desired    func(ctx context.Context, unitID string) ([]update.Setting, error)
	Answer     func(ctx context.Context, unitID string, answers map[string]update.SettingAnswer) error
	Assignment func(ctx context.Context, id int64) (update.Assignment, error)
	Log        *slog.Logger
	Metrics    prometheus.Registerer
}

// Source tells the gateway what units are to be set to.
type Source struct {
	cfg     Config
	refused prometheus.Counter
	told    rate.Sometimes // a flood of refusals is counted, not written down
}

var _ device.Settings = &Source{}

// New makes a Source.
func New(cfg Config) *Source {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fettle_unit_refused_total", Help: "Words of units over MQTT and HTTPS that were not believed, by reason: action, on an update or a setting of another unit.",
	}, []string{"reason"})
	cfg.Metrics.MustRegister(refused)
	return &Source{cfg: cfg, refused: refused.WithLabelValues("action"), told: rate.Sometimes{First: 20, Interval: time.Second}}
}

// Desired are the values that a unit is to have now.
func (s *Source) Desired(ctx context.Context, unitID string) (map[string]device.Setting, error) {
	list, err := s.cfg.Desired(ctx, unitID)
	out := make(map[string]device.Setting, len(list))
	for _, x := range list {
		out[x.Component] = device.Setting{Value: x.Value, Revision: x.Assignment}
	}
	return out, err
}

// Answered ends the change that a unit does not take, and notes what one waits
// for. What names another unit's change is refused, all of it.
func (s *Source) Answered(ctx context.Context, unitID string, answers map[string]device.Answer) error {
	list := make(map[string]update.SettingAnswer, len(answers))
	for component, a := range answers {
		if err := s.own(ctx, unitID, component, a.Revision); err != nil {
			return err
		}
		list[component] = update.SettingAnswer{Refused: a.Refused, Why: a.Why, Revision: a.Revision}
	}
	return s.cfg.Answer(ctx, unitID, list)
}

// own refuses a revision that another unit was told.
// One that nobody was told is of a time before the records were restored.
func (s *Source) own(ctx context.Context, unitID, component string, revision int64) error {
	if revision == 0 {
		return nil
	}
	a, err := s.cfg.Assignment(ctx, revision)
	switch {
	case fault.KindOf(err) == fault.NotFound, err == nil && a.UnitID == unitID:
		return nil
	case err != nil:
		return fmt.Errorf("whose setting %d is: %w", revision, err)
	}
	s.Foreign(ctx, unitID, revision)
	return fault.Fields("attributes", []fault.Field{{Path: "revisions." + component, Expected: "the number that came with the unit's own value", Got: strconv.FormatInt(revision, 10)}})
}

// Foreign writes down and counts that a unit's word on an action was refused
// which is not its own.
func (s *Source) Foreign(ctx context.Context, unitID string, action int64) {
	s.refused.Inc()
	s.told.Do(func() {
		s.cfg.Log.WarnContext(ctx, "a unit's word on what is not its own was refused", "reason", "action", "unit", unitID, "action", action)
	})
}
