package app

import (
	"context"
	"log/slog"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/update"
)

// settings is the room update as the gateway asks it what units are to be set
// to.
type settings struct{ updates *update.Service }

var _ device.Settings = settings{}

// Desired takes up what is due.
func (s settings) Desired(ctx context.Context, unitID string) (map[string]string, error) {
	list, err := s.updates.Settings(ctx, unitID)
	return valuesOf(list), err
}

// Refused ends the change that a unit does not take.
func (s settings) Refused(ctx context.Context, unitID string, why map[string]string) error {
	return s.updates.RefuseSettings(ctx, unitID, why)
}

// settingsRead is what a process that takes data alone knows of settings: what
// the process of role all has taken up. That one learns of a refusal when the
// change has waited too long.
type settingsRead struct {
	store update.SettingStore
	log   *slog.Logger
}

// Desired is what was taken up.
func (s settingsRead) Desired(ctx context.Context, unitID string) (map[string]string, error) {
	list, err := s.store.Settings(ctx, unitID)
	return valuesOf(list), err
}

// Refused is told to the log alone.
func (s settingsRead) Refused(_ context.Context, unitID string, why map[string]string) error {
	s.log.Warn("a unit refused settings", "unit", unitID, "why", why)
	return nil
}

func valuesOf(list []update.Setting) map[string]string {
	out := make(map[string]string, len(list))
	for _, x := range list {
		out[x.Component] = x.Value
	}
	return out
}
