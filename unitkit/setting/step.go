package setting

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// group is what one change of the server's sets: all of it or nothing.
type group struct {
	revision int64
	values   Values
	want     map[string]wanted // what is taken with it; a name that it lacks is forgotten
}

// due are the groups that are to be set, oldest first: what the server says
// and was not taken, in this revision; what it says no more, and what a change
// that was cut off has begun with, go back to what they were.
func (j *journal) due() []group {
	by := map[int64]*group{}
	add := func(revision int64, name, value string, w *wanted) {
		g := by[revision]
		if g == nil {
			g = &group{revision: revision, values: Values{}, want: map[string]wanted{}}
			by[revision] = g
		}
		g.values[name] = value
		if w != nil {
			g.want[name] = *w
		}
	}
	for name, w := range j.Want {
		if have, ok := j.Taken[name]; !ok || have.wanted != w {
			add(w.Revision, name, w.Value, &w)
		}
	}
	for name := range j.Taken {
		if _, ok := j.Want[name]; ok {
			continue
		}
		if first, ok := j.First[name]; ok {
			add(0, name, first, nil)
		}
	}
	for name, value := range j.Before {
		w, wanted := j.Want[name]
		have, known := j.Taken[name]
		switch _, had := j.First[name]; {
		case wanted && have.wanted == w:
			add(0, name, value, &w)
		case !wanted && (!known || !had): // else it is set anyhow
			add(0, name, value, nil)
		}
	}
	var out []group
	for _, revision := range slices.Sorted(maps.Keys(by)) {
		out = append(out, *by[revision])
	}
	return out
}

// Step sets what is to be set, and reads what the unit is set to. It says how
// long to wait before it is called again; Hear may ask for it earlier. An
// error means that the thing failed and will be tried again.
func (k *Keeper) Step(ctx context.Context) (time.Duration, error) {
	due := k.journal().due()
	now, err := k.cfg.Get(ctx)
	if err == nil {
		now, err = now.checked()
	}
	if err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		err = fmt.Errorf("what the unit is set to cannot be read: %w", err)
		k.wait(due, err.Error())
		return recheckAfter, err
	}
	k.read(now)
	if len(due) == 0 {
		k.wait(nil, "")
		return time.Hour, k.forget()
	}
	if k.cfg.MayBegin != nil {
		if err := k.cfg.MayBegin(ctx); err != nil {
			k.wait(due, err.Error())
			return recheckAfter, nil
		}
	}
	for _, g := range due {
		if err := k.set(ctx, g, now); err != nil {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if later, ok := errors.AsType[*NotNowError](err); ok {
				k.wait(due, later.Why)
				return recheckAfter, nil
			}
			return retryAfter, err
		}
		if now, err = k.again(ctx); err != nil {
			return retryAfter, err
		}
	}
	k.wait(nil, "")
	return 0, nil // what came meanwhile
}

// checked has every value in its one text.
func (v Values) checked() (Values, error) {
	out := make(Values, len(v))
	for name, text := range v {
		text, err := Canonical([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = text
	}
	return out, nil
}

func (k *Keeper) again(ctx context.Context) (Values, error) {
	now, err := k.cfg.Get(ctx)
	if err == nil {
		now, err = now.checked()
	}
	if err != nil {
		return nil, fmt.Errorf("what the unit is set to cannot be read: %w", err)
	}
	k.read(now)
	return now, nil
}

func (k *Keeper) read(now Values) {
	k.mu.Lock()
	k.now = now
	k.mu.Unlock()
}

// wait keeps why what is due has to wait; nothing is due: it waits no more.
func (k *Keeper) wait(due []group, why string) {
	waits := map[string]string{}
	for _, g := range due {
		for name := range g.want {
			waits[name] = clip(why)
		}
	}
	k.mu.Lock()
	changed := !maps.Equal(waits, k.waits)
	k.waits = waits
	k.mu.Unlock()
	if changed && len(waits) > 0 {
		k.log.Info("settings wait", "why", why)
	}
}

// forget drops what the server says no more and the unit never had.
func (k *Keeper) forget() error {
	j := k.journal()
	if len(j.Before) == 0 && !slices.ContainsFunc(slices.Collect(maps.Keys(j.Taken)), func(name string) bool { _, ok := j.Want[name]; return !ok }) {
		return nil
	}
	return k.change(func(j *journal) {
		j.Before = nil
		maps.DeleteFunc(j.Taken, func(name string, _ taken) bool { _, ok := j.Want[name]; return !ok })
		maps.DeleteFunc(j.First, func(name string, _ string) bool { _, ok := j.Want[name]; return !ok })
	})
}

// set sets a group, all of it or nothing, and sees that it is so. What is
// refused is noted, to be told; the values from before are there again.
func (k *Keeper) set(ctx context.Context, g group, now Values) error {
	err := k.change(func(j *journal) {
		for name := range g.values {
			have, ok := now[name]
			if !ok {
				continue
			}
			if _, ok := j.Before[name]; !ok { // else a power cut was in between
				j.Before[name] = have
			}
			if _, ok := j.Taken[name]; !ok && j.First[name] == "" {
				j.First[name] = have
			}
		}
	})
	if err != nil {
		return err
	}
	refused := g.unknown(now)
	if refused == nil && !g.holds(now) {
		if refused = k.try(ctx, g); refused != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := k.back(ctx, g); err != nil {
				return err
			}
			if later, ok := errors.AsType[*NotNowError](refused); ok {
				return errors.Join(later, k.change(func(j *journal) { g.end(j) }))
			}
		}
	}
	if refused != nil {
		k.log.Error("settings are refused", "settings", g.values, "err", refused)
	} else {
		k.log.Info("settings are set", "settings", g.values)
	}
	return k.change(func(j *journal) {
		g.end(j)
		for name := range g.values {
			w, ok := g.want[name]
			if !ok {
				delete(j.Taken, name)
				delete(j.First, name)
				continue
			}
			j.Taken[name] = taken{wanted: w, No: refused != nil}
			if why := because(refused, name); why != "" && j.Want[name].Revision == w.Revision {
				j.Refused[name] = refusal{Why: clip(why), Revision: w.Revision}
			}
		}
	})
}

// holds reports whether the unit is set so already.
func (g *group) holds(now Values) bool {
	for name, value := range g.values {
		if now[name] != value {
			return false
		}
	}
	return true
}

// end notes that nothing of the group is under way.
func (g *group) end(j *journal) {
	maps.DeleteFunc(j.Before, func(name, _ string) bool { _, ok := g.values[name]; return ok })
}

// unknown refuses what the unit does not know.
func (g *group) unknown(now Values) error {
	why := map[string]string{}
	for name := range g.values {
		if _, ok := now[name]; !ok {
			why[name] = "this unit does not know it"
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &RefusedError{Why: why}
}

// because is why a setting of a change was refused: for a reason of its own,
// or, when none that is known of has one, for the change's.
func because(err error, name string) string {
	if err == nil {
		return ""
	}
	if r, ok := errors.AsType[*RefusedError](err); ok {
		return r.Why[name]
	}
	return err.Error()
}

// try sets a group and sees whether it is set.
func (k *Keeper) try(ctx context.Context, g group) error {
	if err := k.cfg.Set(ctx, g.values); err != nil {
		return err
	}
	now, err := k.again(ctx)
	if err != nil {
		return err
	}
	why := map[string]string{}
	for name, value := range g.values {
		if now[name] != value {
			why[name] = fmt.Sprintf("it was set to %s and is %s", value, now[name])
		}
	}
	if len(why) > 0 {
		return &RefusedError{Why: why}
	}
	return nil
}

// back sees that nothing of a change that failed is left.
func (k *Keeper) back(ctx context.Context, g group) error {
	now, err := k.again(ctx)
	if err != nil {
		return err
	}
	old := Values{}
	j := k.journal()
	for name := range g.values {
		if before, ok := j.Before[name]; ok && now[name] != before {
			old[name] = before
		}
	}
	if len(old) == 0 {
		return nil
	}
	k.log.Warn("settings go back to what they were", "settings", old)
	if err := k.cfg.Set(ctx, old); err != nil {
		return fmt.Errorf("settings could not be taken back to what they were: %w", err)
	}
	_, err = k.again(ctx)
	return err
}

func clip(s string) string {
	if s == "" {
		return "no reason was given"
	}
	if len(s) <= maxWhy {
		return s
	}
	cut := maxWhy
	for cut > 0 && s[cut]&0xC0 == 0x80 { // never inside a character
		cut--
	}
	return s[:cut] + "…"
}
