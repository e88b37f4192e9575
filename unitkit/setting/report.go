package setting

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
)

// Report is what a unit tells of its settings: fettle/v1/attributes
// (api/asyncapi.yaml). Names are those of the product.
type Report struct {
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	Features   map[string]json.RawMessage `json:"features,omitempty"`
	Refused    map[string]string          `json:"refused,omitempty"`   // why
	Waiting    map[string]string          `json:"waiting,omitempty"`   // for what
	Revisions  map[string]int64           `json:"revisions,omitempty"` // of what is refused or waits, by "parameter:" or "feature:" and the name
}

// empty reports whether there is nothing to be told.
func (r *Report) empty() bool {
	return len(r.Parameters)+len(r.Features)+len(r.Refused)+len(r.Waiting) == 0
}

// report is what the server is to know now. narrow: only of what it asked for.
func (k *Keeper) report(narrow bool) (r Report, refused map[string]refusal) {
	k.mu.Lock()
	defer k.mu.Unlock()
	r = Report{Parameters: map[string]json.RawMessage{}, Features: map[string]json.RawMessage{}, Refused: map[string]string{}, Waiting: map[string]string{}, Revisions: map[string]int64{}}
	for name, value := range k.now {
		if _, wanted := k.j.Want[name]; narrow && !wanted {
			continue
		}
		if of, ok := strings.CutPrefix(name, Parameter); ok {
			r.Parameters[of] = json.RawMessage(value)
		} else {
			r.Features[strings.TrimPrefix(name, Feature)] = json.RawMessage(value)
		}
	}
	for name, x := range k.j.Refused {
		r.Refused[bare(name)], r.Revisions[name] = x.Why, x.Revision
	}
	for name, why := range k.waits {
		r.Waiting[bare(name)], r.Revisions[name] = why, k.j.Want[name].Revision
	}
	return r, own(k.j.Refused)
}

// Deliver tells the server what the unit is set to, what it refused and what
// it waits for, if it does not know. After an error call it again later.
func (k *Keeper) Deliver(ctx context.Context) error {
	k.mu.Lock()
	narrow := k.narrow
	k.mu.Unlock()
	r, refused := k.report(narrow)
	told, err := json.Marshal([]any{r.Parameters, r.Features, r.Waiting})
	if err != nil {
		return err
	}
	k.mu.Lock()
	same := k.told == string(told)
	k.mu.Unlock()
	if same && len(refused) == 0 || r.empty() {
		return nil
	}
	switch err := k.cfg.Send(ctx, r); {
	case errors.Is(err, ErrUnsendable):
		// The unit has a setting that its product does not declare, say: then
		// it tells of those alone that it was asked for.
		k.log.Error("the server does not take what the unit is set to", "err", err)
		if !narrow {
			k.mu.Lock()
			k.narrow = true
			k.mu.Unlock()
			return k.Deliver(ctx)
		}
	case err != nil:
		return err
	}
	k.mu.Lock()
	k.told = string(told)
	k.mu.Unlock()
	if len(refused) == 0 {
		return nil
	}
	return k.change(func(j *journal) {
		maps.DeleteFunc(j.Refused, func(name string, x refusal) bool { return refused[name] == x })
	})
}

// Setting is one setting as it stands.
type Setting struct {
	Name    string `json:"name"`              // "parameter:height"
	Value   string `json:"value,omitempty"`   // JSON that the unit has; empty: it does not know the setting
	Desired string `json:"desired,omitempty"` // JSON that the server says; empty: nothing
	Waiting string `json:"waiting,omitempty"` // why the server's word has not been taken yet
}

// Drifts reports whether the unit has another value than the server took it
// to have.
func (s *Setting) Drifts() bool { return s.Desired != "" && s.Value != s.Desired && s.Waiting == "" }

// Status is all settings, by name.
func (k *Keeper) Status() []Setting {
	k.mu.Lock()
	defer k.mu.Unlock()
	names := map[string]bool{}
	for name := range k.now {
		names[name] = true
	}
	for name := range k.j.Want {
		names[name] = true
	}
	out := []Setting{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, Setting{Name: name, Value: k.now[name], Desired: k.j.Want[name].Value, Waiting: k.waits[name]})
	}
	return out
}
