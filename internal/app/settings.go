package app

import (
	"context"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/update"
)

// settings is the room update as the gateway asks it what units are to be set
// to.
type settings struct{ updates *update.Service }

var _ device.Settings = settings{}

// Desired takes up what is due.
func (s settings) Desired(ctx context.Context, unitID string) (map[string]device.Setting, error) {
	list, err := s.updates.Settings(ctx, unitID)
	return valuesOf(list), err
}

// Answered ends the change that a unit does not take, and notes what one waits for.
func (s settings) Answered(ctx context.Context, unitID string, answers map[string]device.Answer) error {
	return s.updates.AnswerSettings(ctx, unitID, said(answers))
}

func said(answers map[string]device.Answer) map[string]update.SettingAnswer {
	list := make(map[string]update.SettingAnswer, len(answers))
	for component, a := range answers {
		list[component] = update.SettingAnswer{Refused: a.Refused, Why: a.Why, Revision: a.Revision}
	}
	return list
}

// settingsRead is what a process that takes data alone knows of settings: what
// the process of role all has taken up. What units say of them is recorded;
// that one finds it there.
type settingsRead struct {
	store  update.SettingStore
	answer func(ctx context.Context, unitID string, answers map[string]update.SettingAnswer) error
}

// Desired is what was taken up.
func (s settingsRead) Desired(ctx context.Context, unitID string) (map[string]device.Setting, error) {
	list, err := s.store.Settings(ctx, unitID)
	return valuesOf(list), err
}

// Answered ends the change that a unit does not take, and notes what one waits for.
func (s settingsRead) Answered(ctx context.Context, unitID string, answers map[string]device.Answer) error {
	return s.answer(ctx, unitID, said(answers))
}

func valuesOf(list []update.Setting) map[string]device.Setting {
	out := make(map[string]device.Setting, len(list))
	for _, x := range list {
		out[x.Component] = device.Setting{Value: x.Value, Revision: x.Assignment}
	}
	return out
}
