package device

import "fettle.dev/fettle/internal/device/payload"

// What frontends hand over is read in package payload; they know it by these
// names.
type (
	// Kind is payload's.
	Kind = payload.Kind
	// Value is payload's.
	Value = payload.Value
	// Message is payload's.
	Message = payload.Message
	// Payload is payload's.
	Payload = payload.Payload
	// Event is payload's.
	Event = payload.Event
	// EventPayload is payload's.
	EventPayload = payload.EventPayload
)

// The kinds of a value.
const (
	KindNumber  = payload.KindNumber
	KindBoolean = payload.KindBoolean
	KindText    = payload.KindText
	KindOther   = payload.KindOther
	KindRefused = payload.KindRefused
)

// NewPayload takes a Payload from the pool; its Free gives it back.
func NewPayload() *Payload { return payload.NewPayload() }

// Answer is payload's.
type Answer = payload.Answer

// Report is payload's.
type Report = payload.Report

// ParseReport is payload's.
func ParseReport(body []byte) (Report, error) { return payload.ParseReport(body) }
