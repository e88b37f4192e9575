package telemetry

import "encoding/binary"

// An event on the wire:
//
//	what     kind | state<<2 | 16 with sequence | 32 with level | 64 with text
//	unit     8 bytes
//	received - received of the event before, event - received
//	[sequence], name, [level: 1 byte], [text]
const (
	eventHasSequence = 16
	eventHasLevel    = 32
	eventHasText     = 64
	minEvent         = 12
)

func appendEvents(dst []byte, events []Event) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(events)))
	var last int64
	for i := range events {
		e := &events[i]
		what := byte(e.Kind&3) | byte(e.State&3)<<2
		if e.Sequence != 0 {
			what |= eventHasSequence
		}
		if e.Level != 0 {
			what |= eventHasLevel
		}
		if e.Text != "" {
			what |= eventHasText
		}
		dst = append(dst, what)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Unit))
		dst = binary.AppendVarint(dst, e.Received-last)
		dst = binary.AppendVarint(dst, e.Event-e.Received)
		if e.Sequence != 0 {
			dst = binary.AppendVarint(dst, e.Sequence)
		}
		dst = appendString(dst, e.Name)
		if e.Level != 0 {
			dst = append(dst, byte(e.Level))
		}
		if e.Text != "" {
			dst = appendString(dst, e.Text)
		}
		last = e.Received
	}
	return dst
}

func (d *decoder) events() []Event {
	n := d.count(minEvent)
	if n == 0 {
		return nil
	}
	events := make([]Event, n)
	var last int64
	for i := range events {
		e := &events[i]
		what := d.byte()
		if what&128 != 0 {
			d.fail("unknown flags of an event")
		}
		if d.failed != "" {
			return nil
		}
		e.Kind, e.State = EventKind(what&3), EventState(what>>2&3)
		e.Unit = int64(d.fixed())
		e.Received = last + d.varint()
		e.Event = e.Received + d.varint()
		if what&eventHasSequence != 0 {
			e.Sequence = d.varint()
		}
		e.Name = d.string()
		if what&eventHasLevel != 0 {
			e.Level = Level(d.byte())
		}
		if what&eventHasText != 0 {
			e.Text = d.string()
		}
		last = e.Received
	}
	return events
}
