package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
)

// policy is what may be collected: the server's desired state, as it was last
// heard (api/asyncapi.yaml, desired). Before it was heard nothing is.
type policy struct {
	mu   sync.Mutex
	name string // of the file that keeps it
	now  desired
	have bool
}

type desired struct {
	Collect []string `json:"collect"`
	Events  *struct {
		Features []string `json:"features"`
		Faults   []string `json:"faults"`
		Log      string   `json:"log"`
	} `json:"events,omitempty"`
}

func loadPolicy(name string) (*policy, error) {
	p := &policy{name: name}
	raw, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p.have = json.Unmarshal(raw, &p.now) == nil // damaged: it will be heard again
	return p, nil
}

// set takes what the server says.
func (p *policy) set(raw []byte) error {
	var d desired
	if err := json.Unmarshal(raw, &d); err != nil {
		return fmt.Errorf("what is to be collected: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.have = d, true
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(p.name); err == nil && string(old) == string(b) {
		return nil
	}
	return saveFile(p.name, b)
}

// known reports whether it was ever heard.
func (p *policy) known() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have
}

// values keeps those that may be collected.
func (p *policy) values(all map[string]json.RawMessage) map[string]json.RawMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := map[string]json.RawMessage{}
	for _, name := range p.now.Collect {
		if v, ok := all[name]; ok {
			kept[name] = v
		}
	}
	return kept
}

var levels = []string{"debug", "info", "warn", "error", "fatal"}

// event reports whether an event may be collected.
func (p *policy) event(kind, name, level string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.now.Events
	if e == nil {
		return false
	}
	switch kind {
	case "feature":
		return slices.Contains(e.Features, name)
	case "fault":
		return slices.ContainsFunc(e.Faults, func(pattern string) bool {
			ok, err := path.Match(pattern, name)
			return ok && err == nil || pattern == name
		})
	case "log":
		least, got := slices.Index(levels, e.Log), slices.Index(levels, level)
		return least >= 0 && got >= least
	default:
		return false
	}
}
