package ddi

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

// feedback is the body of a feedback call. Clients disagree about types: ids
// and counts come as numbers and as strings, details as a list or one string.
type feedback struct {
	ID     json.RawMessage `json:"id"`
	Status *struct {
		Execution string `json:"execution"`
		Result    struct {
			Finished string `json:"finished"`
			Progress *struct {
				Done json.RawMessage `json:"cnt"`
				Of   json.RawMessage `json:"of"`
			} `json:"progress"`
		} `json:"result"`
		Details json.RawMessage `json:"details"`
	} `json:"status"`
}

// said is a feedback in plain terms.
type said struct {
	id        int64 // 0: not given
	execution string
	finished  string
	done, of  int
	details   []string
}

func invalid(path, expected, got string) error {
	return fault.Fields("feedback", []fault.Field{{Path: path, Expected: expected, Got: strconv.Quote(got)}})
}

func parseFeedback(body []byte) (said, error) {
	var f feedback
	if err := json.Unmarshal(body, &f); err != nil {
		return said{}, fault.Wrap(fault.Invalid, "feedback", err)
	}
	if f.Status == nil {
		return said{}, invalid("status", "what the client did", "")
	}
	s := said{execution: f.Status.Execution, finished: f.Status.Result.Finished, details: words(f.Status.Details)}
	if len(f.ID) > 0 && string(f.ID) != "null" {
		id, ok := integer(f.ID)
		if !ok || id < 1 {
			return said{}, invalid("id", "the action's id", string(f.ID))
		}
		s.id = id
	}
	switch s.execution {
	case "closed", "proceeding", "canceled", "scheduled", "rejected", "resumed", "download", "downloaded":
	default:
		return said{}, invalid("status.execution", "closed, proceeding, canceled, scheduled, rejected, resumed, download or downloaded", s.execution)
	}
	switch s.finished {
	case "", "none", "success", "failure":
	default:
		return said{}, invalid("status.result.finished", "none, success or failure", s.finished)
	}
	if p := f.Status.Result.Progress; p != nil {
		done, ok1 := integer(p.Done)
		of, ok2 := integer(p.Of)
		if ok1 && ok2 && done >= 0 && of > 0 && done <= of && of <= 1e6 {
			s.done, s.of = int(done), int(of)
		}
	}
	return s, nil
}

func integer(raw json.RawMessage) (int64, bool) {
	n, err := strconv.ParseInt(string(bytes.Trim(raw, `"`)), 10, 64)
	return n, err == nil
}

// signature is that of an artifact's address (room update/link), which clients
// write down. It is a credential, and nobody who reads their words should have it.
var signature = regexp.MustCompile(`([?&]s=)[A-Za-z0-9_-]+`)

func words(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) != nil {
		var one string
		if json.Unmarshal(raw, &one) != nil {
			return nil
		}
		list = []string{one}
	}
	out := list[:0]
	for _, w := range list {
		if w = signature.ReplaceAllString(strings.ToValidUTF8(strings.TrimSpace(w), "�"), "${1}…"); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// update says what a feedback on an update means. Closed with none is success,
// as hawkBit has it.
func (s said) update() update.Feedback {
	f := update.Feedback{Done: s.done, Of: s.of, Details: s.details}
	switch s.execution {
	case "closed":
		f.State = update.Claimed
		if s.finished == "failure" {
			f.State = update.Failed
		}
	case "canceled":
		f.State = update.Canceled
	case "rejected": // a warning in hawkBit: words only
	default:
		f.State = update.Running
		f.Step = steps[s.execution]
	}
	return f
}

// steps are what executions say of how far a client is. SWUpdate says
// proceeding of all of them.
var steps = map[string]update.Step{"download": update.Downloading, "downloaded": update.Downloaded}

// cancel says what a feedback on a cancel means.
func (s said) cancel() update.Feedback {
	f := update.Feedback{Details: s.details}
	switch {
	case s.execution == "rejected", s.execution == "closed" && s.finished == "failure":
		f.Refused = true
	case s.execution == "closed", s.execution == "canceled":
		f.State = update.Canceled
	}
	return f
}

// configData is what a client says of itself. Other fields are ignored: both
// known clients send id, time and status along.
type configData struct {
	Data map[string]json.RawMessage `json:"data"`
	Mode string                     `json:"mode"`
}

func parseConfigData(body []byte) (update.AttributeMode, map[string]string, error) {
	var c configData
	if err := json.Unmarshal(body, &c); err != nil {
		return "", nil, fault.Wrap(fault.Invalid, "attributes", err)
	}
	out := make(map[string]string, len(c.Data))
	for k, raw := range c.Data {
		var s string
		switch {
		case json.Unmarshal(raw, &s) == nil:
		case len(raw) > 0 && raw[0] != '{' && raw[0] != '[':
			s = string(raw) // a number or a boolean
		default:
			return "", nil, fault.Fields("attributes", []fault.Field{{Path: "data." + k, Expected: "a string", Got: string(raw)}})
		}
		out[strings.ToValidUTF8(k, "�")] = strings.ToValidUTF8(s, "�")
	}
	switch m := update.AttributeMode(c.Mode); m {
	case "", update.AttributesMerge, update.AttributesReplace, update.AttributesRemove:
		return m, out, nil
	default:
		return "", nil, fault.Fields("attributes", []fault.Field{{Path: "mode", Expected: "merge, replace or remove", Got: c.Mode}})
	}
}
