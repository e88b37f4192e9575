package mender

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

func invalid(path, expected, got string) error {
	if len(got) > 80 {
		got = got[:80] + "…"
	}
	return fault.Fields("device API", []fault.Field{{Path: path, Expected: expected, Got: strings.ToValidUTF8(got, "?")}})
}

// longest is how long names of artifacts and device types may be.
const longest = 128

// provides is what a client says of its unit when it asks for a deployment.
type provides struct {
	artifact, device string
	control          bool // it asks for a control map before each step
}

func (p provides) check() error {
	switch {
	case p.device == "" || len(p.device) > longest:
		return invalid("device_provides.device_type", fmt.Sprintf("the device type, 1 to %d bytes", longest), p.device)
	case len(p.artifact) > longest:
		return invalid("device_provides.artifact_name", fmt.Sprintf("at most %d bytes", longest), p.artifact)
	}
	return nil
}

func parseProvides(body []byte) (provides, error) {
	var in struct {
		Provides map[string]any `json:"device_provides"`
		Control  bool           `json:"update_control_map"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return provides{}, fault.Wrap(fault.Invalid, "deployments/next", err)
	}
	text := func(name string) string {
		s, _ := in.Provides[name].(string)
		return s
	}
	p := provides{artifact: text("artifact_name"), device: text("device_type"), control: in.Control}
	return p, p.check()
}

// said is a status report.
type said struct{ status, substate string }

// steps are how far a client is with each status, of 4.
var steps = map[string]int{
	"downloading": 1, "pause_before_installing": 2, "installing": 2, "pause_before_rebooting": 3, "rebooting": 3,
	"pause_before_committing": 3, "success": 4, "already-installed": 4, "failure": 0,
}

// reached are the statuses in the update room's words.
var reached = map[string]update.Step{
	"downloading": update.Downloading, "pause_before_installing": update.Downloaded, "installing": update.Installing,
	"pause_before_rebooting": update.Installing, "rebooting": update.Rebooting, "pause_before_committing": update.Rebooting,
}

func parseStatus(body []byte) (said, error) {
	var in struct {
		Status   string `json:"status"`
		Substate string `json:"substate"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return said{}, fault.Wrap(fault.Invalid, "status", err)
	}
	if _, ok := steps[in.Status]; !ok {
		return said{}, invalid("status", "downloading, installing, rebooting, a pause_before_… of these, success, failure or already-installed", in.Status)
	}
	return said{in.Status, in.Substate}, nil
}

// feedback is the report in our words. A success is a claim.
func (s said) feedback() update.Feedback {
	words := strings.ReplaceAll(s.status, "_", " ")
	if s.substate != "" {
		words += ": " + s.substate
	}
	f := update.Feedback{State: update.Running, Step: reached[s.status], Done: steps[s.status], Of: 4, Details: []string{strings.ToValidUTF8(words, "?")}}
	switch s.status {
	case "success", "already-installed":
		f.State = update.Claimed
	case "failure":
		f.State, f.Done, f.Of = update.Failed, 0, 0
	default:
		f.Before, _ = strings.CutPrefix(s.status, "pause_before_")
		if f.Before == s.status {
			f.Before = ""
		}
	}
	return f
}

// parseLog reads the log of a deployment.
func parseLog(body []byte) ([]update.LogLine, error) {
	var in struct {
		Messages []struct {
			Time    string `json:"timestamp"`
			Level   string `json:"level"`
			Message string `json:"message"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fault.Wrap(fault.Invalid, "log", err)
	}
	out := make([]update.LogLine, 0, len(in.Messages))
	for _, m := range in.Messages {
		at, _ := time.Parse(time.RFC3339, m.Time) // a device without a clock says what it likes
		out = append(out, update.LogLine{At: at.UTC(), Level: m.Level, Text: m.Message})
	}
	return out, nil
}

// parseInventory reads what a client says of its unit. A value may be a
// string, a number or a list of them.
func parseInventory(body []byte) (map[string]string, error) {
	var in []struct {
		Name  string `json:"name"`
		Value any    `json:"value"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fault.Wrap(fault.Invalid, "inventory", err)
	}
	out := make(map[string]string, len(in))
	for _, a := range in {
		out[strings.ToValidUTF8(a.Name, "?")] = strings.ToValidUTF8(text(a.Value), "?")
	}
	return out, nil
}

func text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case []any:
		parts := make([]string, len(x))
		for i := range x {
			parts[i] = text(x[i])
		}
		return strings.Join(parts, ", ")
	default:
		return fmt.Sprint(x)
	}
}
