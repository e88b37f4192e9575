package mqtt

import (
	"encoding/binary"

	five "github.com/eclipse/paho.golang/packets"
)

// appendLength appends a variable byte integer.
func appendLength(b []byte, n int) []byte {
	for n > 0x7f {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// appendAck appends PUBACK, PUBREC or PUBCOMP.
func appendAck(b []byte, kind byte, id uint16, v5 bool, reason byte, why string) []byte {
	switch {
	case !v5 || reason == reasonOK && why == "":
		b = append(b, kind<<4, 2)
		return binary.BigEndian.AppendUint16(b, id)
	case why == "":
		b = append(b, kind<<4, 3)
		return append(binary.BigEndian.AppendUint16(b, id), reason)
	}
	props := 3 + len(why)
	b = append(b, kind<<4)
	b = appendLength(b, 3+lengthSize(props)+props)
	b = append(binary.BigEndian.AppendUint16(b, id), reason)
	b = append(appendLength(b, props), five.PropReasonString)
	return appendString(b, why)
}

func lengthSize(n int) int { return len(appendLength(nil, n)) }

// appendDisconnect appends an MQTT 5 DISCONNECT.
func appendDisconnect(b []byte, reason byte) []byte {
	return append(b, typeDisconnect<<4, 2, reason, 0)
}

// appendPublish appends a PUBLISH of quality of service 0.
func appendPublish(b []byte, topic string, payload []byte, v5 bool) []byte {
	n := 2 + len(topic) + len(payload)
	if v5 {
		n++
	}
	b = appendString(appendLength(append(b, typePublish<<4), n), topic)
	if v5 {
		b = append(b, 0)
	}
	return append(b, payload...)
}

// appendSuback appends SUBACK or UNSUBACK with a code for each topic.
func appendSuback(b []byte, kind byte, id uint16, v5 bool, codes []byte) []byte {
	n := 2 + len(codes)
	if v5 {
		n++
	}
	b = binary.BigEndian.AppendUint16(appendLength(append(b, kind<<4), n), id)
	if v5 {
		b = append(b, 0)
	}
	return append(b, codes...)
}
