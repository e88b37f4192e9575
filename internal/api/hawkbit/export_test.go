package hawkbit

import (
	"encoding/json"

	"fettle.dev/fettle/internal/fault"
)

// ParseAssignment reads one target of an assignment.
func ParseAssignment(b []byte) error {
	var a assigned
	if err := json.Unmarshal(b, &a); err != nil {
		return fault.Wrap(fault.Invalid, "read body", err)
	}
	_, err := a.asked("test")
	return err
}
