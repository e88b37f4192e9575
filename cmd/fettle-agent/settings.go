package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/unitkit/setting"
)

// settingsProgram is what reads and changes the unit's settings: the product's
// own, as installer programs are. docs/agent.md says what it must do.
type settingsProgram struct {
	Command []string `yaml:"command"`
	Every   duration `yaml:"every"`   // how often it is asked what the unit is set to
	Timeout duration `yaml:"timeout"` // of one call
}

// notNow is the exit status of a program that can do it later: EX_TEMPFAIL of
// sysexits.h.
const notNow = 75

// document is what the program prints and is given.
type document struct {
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	Features   map[string]json.RawMessage `json:"features,omitempty"`
	Refused    map[string]string          `json:"refused,omitempty"` // of set: why, by name
}

func (p *settingsProgram) get(ctx context.Context) (setting.Values, error) {
	out, err := run(ctx, append(slices.Clone(p.Command), "get"), p.Timeout.or(30*time.Second))
	if err != nil {
		return nil, err
	}
	var d document
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		return nil, fmt.Errorf(`%s get: want {"parameters": {…}, "features": {…}}, got %.80q: %w`, p.Command[0], out, err)
	}
	v := setting.Values{}
	for name, raw := range d.Parameters {
		v[setting.Parameter+name] = string(raw)
	}
	for name, raw := range d.Features {
		v[setting.Feature+name] = string(raw)
	}
	return v, nil
}

func (p *settingsProgram) set(ctx context.Context, v setting.Values) error {
	d := document{Parameters: map[string]json.RawMessage{}, Features: map[string]json.RawMessage{}}
	for name, value := range v {
		if of, ok := strings.CutPrefix(name, setting.Parameter); ok {
			d.Parameters[of] = json.RawMessage(value)
		} else {
			d.Features[strings.TrimPrefix(name, setting.Feature)] = json.RawMessage(value)
		}
	}
	in, err := json.Marshal(d)
	if err != nil {
		return err
	}
	out, err := runWith(ctx, bytes.NewReader(in), append(slices.Clone(p.Command), "set"), p.Timeout.or(30*time.Second))
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		return err
	}
	var said document
	words := strings.TrimSpace(e.output)
	switch {
	case e.status == notNow && words != "":
		return &setting.NotNowError{Why: words}
	case e.status == notNow:
		return &setting.NotNowError{Why: "the unit cannot be set now"}
	case json.Unmarshal([]byte(out), &said) == nil && len(said.Refused) > 0:
		return named(v, said.Refused)
	case e.status > 0 && words != "":
		return errors.New(words)
	default:
		return e
	}
}

// named gives the reasons of a program to the settings that they are of.
func named(v setting.Values, why map[string]string) error {
	refused := &setting.RefusedError{Why: map[string]string{}}
	for name := range v {
		_, of, _ := strings.Cut(name, ":")
		if words := why[of]; words != "" {
			refused.Why[name] = words
		}
	}
	if len(refused.Why) == 0 {
		return errors.New(strings.Join(slices.Sorted(maps.Values(why)), "; "))
	}
	return refused
}

// keeper takes up settings where they were; nil: the configuration names no
// program for them.
func (a *agent) keeper() (*setting.Keeper, error) {
	p := a.c.Settings
	if p == nil {
		return nil, nil
	}
	return setting.Open(setting.Config{
		Dir: filepath.Join(a.c.State, "settings"), Get: p.get, Set: p.set, Now: a.now, Log: a.log,
		MayBegin: func(ctx context.Context) error {
			if a.updates.Status().State.Begun() {
				return errors.New("an update is being installed")
			}
			return a.c.mayBegin(ctx, nil)
		},
		Send: func(ctx context.Context, r setting.Report) error {
			body, err := json.Marshal(r)
			if err != nil {
				return err
			}
			if err = a.uplink.publish(ctx, "attributes", body); errors.Is(err, errUnsendable) {
				err = fmt.Errorf("%w: %w", setting.ErrUnsendable, err)
			}
			return err
		},
	})
}

// keepSettings does what is to be done about settings until ctx ends.
func (a *agent) keepSettings(ctx context.Context) {
	every, failures := a.c.Settings.Every.or(time.Minute), 0
	for ctx.Err() == nil {
		wait, err := a.settings.Step(ctx)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("settings: it will be tried again", "in", wait, "err", err)
		}
		wait = min(wait, every)
		if err := a.settings.Deliver(ctx); err != nil && ctx.Err() == nil {
			failures++
			wait = min(wait, backoff(failures))
			if !errors.Is(err, errOffline) { // else it is told as soon as there is a connection
				a.log.Warn("the server was not told what the unit is set to", "again", backoff(failures), "err", err)
			}
		} else {
			failures = 0
		}
		if wait <= 0 {
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-a.uplink.settled:
		case <-t.C:
		}
		t.Stop()
	}
}

var errOffline = errors.New("the server is not reached")

// publish sends one message at once, over the connection that there is.
func (u *uplink) publish(ctx context.Context, kind string, body []byte) error {
	if over := u.mqttNow.Load(); over != nil {
		return (*over)(ctx, kind, body)
	}
	if u.mqtt != "" && !u.online.Load() {
		return errOffline
	}
	_, err := u.call(ctx, http.MethodPost, "/fettle/v1/"+kind, body)
	return err
}

// desired takes what the server says the unit is to do.
func (u *uplink) desired(raw []byte) error {
	err := u.t.policy.set(raw)
	if u.settings == nil {
		return err
	}
	due, bad := u.settings.Hear(raw)
	if due {
		u.settle()
	}
	return errors.Join(err, bad)
}

// settle has settings looked at.
func (u *uplink) settle() {
	select {
	case u.settled <- struct{}{}:
	default:
	}
}

// ask has what the unit is to do read anew where nothing is pushed.
func (u *uplink) ask() {
	select {
	case u.asked <- struct{}{}:
	default:
	}
}
