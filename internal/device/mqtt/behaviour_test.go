package mqtt

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	five "github.com/eclipse/paho.golang/packets"
	"github.com/stretchr/testify/require"
)

// What the Eclipse Paho interoperability suite asks of a server towards a
// client that publishes. docs/mqtt.md lists these tests by behaviour.

// connectWith builds a CONNECT by hand: flags, properties (MQTT 5) and the
// rest of the payload behind the client id.
func connectWith(v5 bool, flags byte, keep uint16, props []byte, id string, rest ...[]byte) []byte {
	level := byte(4)
	if v5 {
		level = 5
	}
	b := binary.BigEndian.AppendUint16(append(appendString(nil, "MQTT"), level, flags), keep)
	if v5 {
		b = append(appendLength(b, len(props)), props...)
	}
	b = appendString(b, id)
	for _, r := range rest {
		b = append(b, r...)
	}
	return append(appendLength([]byte{typeConnect << 4}, len(b)), b...)
}

func lengthed(s string) []byte { return appendString(nil, s) }

// ack reads a CONNACK; MQTT 5's properties are those of the codec.
func (c *client) ack() (session, code byte, props *five.Properties) {
	c.tb.Helper()
	kind, body := c.next()
	require.Equal(c.tb, byte(typeConnack), kind)
	props = &five.Properties{}
	if c.v5 {
		p := five.Connack{Properties: props}
		require.NoError(c.tb, p.Unpack(bytes.NewBuffer(body)))
	}
	return body[0], body[1], props
}

func (c *client) alive() {
	c.tb.Helper()
	c.write([]byte{typePingreq << 4, 0})
	kind, _ := c.next()
	require.Equal(c.tb, byte(typePingresp), kind)
}

func both(t *testing.T, test func(t *testing.T, v5 bool)) {
	t.Helper()
	t.Parallel()
	for name, v5 := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, v5)
		})
	}
}

// A will is accepted and never published; over MQTT 5 one to be retained is
// refused, since nothing is.
func TestWill(t *testing.T) {
	both(t, func(t *testing.T, v5 bool) {
		r := newRig(t, Config{}, nil)
		unit := r.Units(1)[0]
		will := [][]byte{lengthed(TopicTelemetry), lengthed(sample), lengthed(unit), lengthed(r.Token(unit))}
		var props []byte
		if v5 { // delay, payload format, expiry, content type, response topic, correlation data, user property
			p := []byte{five.PropWillDelayInterval, 0, 0, 0, 1, five.PropPayloadFormat, 1, five.PropMessageExpiry, 0, 0, 0, 9}
			p = appendString(append(p, five.PropContentType), "application/json")
			p = appendString(append(p, five.PropResponseTopic), "x")
			p = appendString(append(p, five.PropCorrelationData), "y")
			p = appendString(appendString(append(p, five.PropUser), "a"), "b")
			will = append([][]byte{append(appendLength(nil, len(p)), p...)}, will...)
		}
		for qos := range byte(3) {
			c := r.dial(t, v5)
			c.write(connectWith(v5, 0xc6|qos<<3, 60, props, "c", will...))
			_, code, _ := c.ack()
			require.Zero(t, code)
			c.alive()
			require.NoError(t, c.nc.Close())
		}
		c := r.dial(t, v5)
		c.write(connectWith(v5, 0xe6, 60, props, "c", will...))
		_, code, _ := c.ack()
		if v5 {
			require.Equal(t, byte(reasonRetain), code)
		} else {
			require.Zero(t, code)
			c.write([]byte{typeDisconnect << 4, 0})
		}
		time.Sleep(50 * time.Millisecond)
		require.Empty(t, r.Stream.Rows())
	})
}

// No session outlives its connection: none is ever present, and MQTT 5 clients
// that ask for one are told that theirs ends.
func TestSessions(t *testing.T) {
	both(t, func(t *testing.T, v5 bool) {
		r := newRig(t, Config{}, nil)
		unit := r.Units(1)[0]
		user := [][]byte{lengthed(unit), lengthed(r.Token(unit))}
		for _, clean := range []byte{0, 2, 0} {
			c := r.dial(t, v5)
			var props []byte
			if v5 {
				props = []byte{five.PropSessionExpiryInterval, 0, 0, 1, 0}
			}
			c.write(connectWith(v5, 0xc0|clean, 60, props, "kept", user...))
			session, code, told := c.ack()
			require.Zero(t, code)
			require.Zero(t, session)
			if v5 {
				require.Equal(t, uint32(0), *told.SessionExpiryInterval)
			}
			c.write(subscribeBytes(v5, 1, TopicDesired)) // gone with the connection
			c.next()
			c.next()
			c.write([]byte{typeDisconnect << 4, 0})
			_, _, err := c.read(30 * time.Second)
			require.ErrorIs(t, err, io.EOF)
		}
		c := r.connect(t, v5, unit, "kept")
		r.Consent(unit, false)
		c.alive() // and nothing was pushed before it
	})
}

// What a CONNECT may and may not look like.
func TestConnects(t *testing.T) {
	both(t, func(t *testing.T, v5 bool) {
		r := newRig(t, Config{}, nil)
		unit := r.Units(1)[0]
		name, secret := lengthed(unit), lengthed(r.Token(unit))
		const closes = 0xff // without a CONNACK
		wrong := byte(refusedCredential)
		if v5 {
			wrong = reasonBadCredential
		}
		type try struct {
			b           []byte
			three, five byte
		}
		tries := map[string]try{
			"user and password":        {connectWith(v5, 0xc2, 60, nil, "c", name, secret), 0, 0},
			"an empty client id":       {connectWith(v5, 0xc2, 60, nil, "", name, secret), 0, 0},
			"an empty one to be kept":  {connectWith(v5, 0xc0, 60, nil, "", name, secret), refusedIdentifier, 0},
			"no user, no password":     {connectWith(v5, 0x02, 60, nil, "c"), wrong, wrong},
			"a password alone":         {connectWith(v5, 0x42, 60, nil, "c", secret), closes, wrong},
			"an empty user":            {connectWith(v5, 0xc2, 60, nil, "c", lengthed(""), secret), wrong, wrong},
			"the reserved flag":        {connectWith(v5, 0xc3, 60, nil, "c", name, secret), closes, reasonMalformed},
			"a will's flags without":   {connectWith(v5, 0xca, 60, nil, "c", name, secret), closes, reasonMalformed},
			"a will of service 3":      {connectWith(v5, 0xde, 60, nil, "c", name, secret), closes, reasonMalformed},
			"a missing password":       {connectWith(v5, 0xc2, 60, nil, "c", name), closes, reasonMalformed},
			"bytes behind":             {connectWith(v5, 0xc2, 60, nil, "c", name, secret, []byte{0}), closes, reasonMalformed},
			"a client id of 257 bytes": {connectWith(v5, 0xc2, 60, nil, strings.Repeat("x", 257), name, secret), refusedIdentifier, reasonIDInvalid},
			"a client id not UTF-8":    {connectWith(v5, 0xc2, 60, nil, "\xff", name, secret), refusedIdentifier, reasonIDInvalid},
		}
		if v5 {
			for name, props := range map[string][]byte{
				"receive maximum 0":    {five.PropReceiveMaximum, 0, 0},
				"packet maximum 0":     {five.PropMaximumPacketSize, 0, 0, 0, 0},
				"problem information2": {five.PropRequestProblemInfo, 2},
			} {
				tries[name] = try{connectWith(v5, 0xc2, 60, props, "c", lengthed(unit), secret), 0, reasonProtocol}
			}
			tries["a property of PUBLISH"] = try{connectWith(v5, 0xc2, 60, []byte{five.PropTopicAlias, 0, 1}, "c", name, secret), 0, reasonMalformed}
			tries["properties too long"] = try{connectWith(v5, 0xc2, 60, []byte{five.PropUser, 0, 200, 'x'}, "c", name, secret), 0, reasonMalformed}
			tries["extended authentication"] = try{connectWith(v5, 0xc2, 60, appendString([]byte{five.PropAuthMethod}, "SCRAM"), "c", name, secret), 0, reasonBadAuthMethod}
			tries["all that is ignored"] = try{connectWith(v5, 0xc2, 60, appendString(appendString([]byte{
				five.PropReceiveMaximum, 0, 1, five.PropTopicAliasMaximum, 0, 9, five.PropRequestResponseInfo, 1, five.PropRequestProblemInfo, 0, five.PropUser,
			}, "a"), "b"), "c", name, secret), 0, 0}
		}
		for name, k := range tries {
			c := r.dial(t, v5)
			c.write(k.b)
			want := k.three
			if v5 {
				want = k.five
			}
			if want == closes {
				_, _, err := c.read(30 * time.Second)
				require.ErrorIs(t, err, io.EOF, name)
				continue
			}
			_, code, _ := c.ack()
			require.Equal(t, want, code, name)
			if code != 0 {
				_, _, err := c.read(30 * time.Second)
				require.ErrorIs(t, err, io.EOF, name)
			}
		}
	})
}

// Quality of service 2: durable before PUBREC, and stored once however often
// it is sent before it is released.
func TestExactlyOnce(t *testing.T) {
	both(t, func(t *testing.T, v5 bool) {
		r := newRig(t, Config{}, nil)
		c := r.connect(t, v5, r.Units(1)[0], "c")
		answer := func(want byte, id uint16) []byte {
			t.Helper()
			kind, body := c.next()
			require.Equal(t, want, kind)
			require.Equal(t, id, binary.BigEndian.Uint16(body))
			return body[2:]
		}
		message := publishBytes(v5, 2, 5, TopicTelemetry, sample)
		again := bytes.Clone(message)
		again[0] |= 8
		r.Stream.Hold()
		c.write(message)
		c.write(again)
		_, _, err := c.read(100 * time.Millisecond)
		require.ErrorContains(t, err, "timeout", "durable before PUBREC")
		r.Stream.Release()
		require.Empty(t, answer(typePubrec, 5))
		require.Empty(t, answer(typePubrec, 5))
		c.write(again)
		require.Empty(t, answer(typePubrec, 5))
		require.Len(t, r.Stream.Rows(), 1)
		release := []byte{typePubrel<<4 | 2, 2, 0, 5}
		c.write(release)
		require.Empty(t, answer(typePubcomp, 5))
		c.write(release) // as of an earlier connection
		if left := answer(typePubcomp, 5); v5 {
			require.Equal(t, []byte{reasonNotFound}, left)
		}
		c.write(message) // the identifier is free
		answer(typePubrec, 5)
		require.Len(t, r.Stream.Rows(), 2)
		if v5 { // with a reason and properties
			c.write(append([]byte{typePubrel<<4 | 2, 11, 0, 5, 0, 7, five.PropUser, 0, 1, 'a', 0, 1, 'b'}, message...))
		} else {
			c.write(append(release, message...))
		}
		answer(typePubcomp, 5)
		answer(typePubrec, 5)
		require.Len(t, r.Stream.Rows(), 3)
		// What is refused is over with PUBREC; over 3.1.1 it must be released.
		for range 2 {
			c.write(publishBytes(v5, 2, 6, TopicTelemetry, "not JSON"))
			if left := answer(typePubrec, 6); v5 {
				require.Equal(t, byte(reasonPayloadInvalid), left[0])
			}
		}
		for name, b := range map[string][]byte{
			"its flags": {typePubrel << 4, 2, 0, 5}, "no identifier": {typePubrel<<4 | 2, 0}, "identifier 0": {typePubrel<<4 | 2, 2, 0, 0},
			"too long": {typePubrel<<4 | 2, 5, 0, 5, 0, 9, 9},
		} {
			k := r.connect(t, v5, "WC-000000", name)
			k.write(b)
			k.closed(reasonMalformed)
		}
	})
}

// Properties that say nothing to us are read over; an alias, a subscription
// identifier and a retained message are not.
func TestPublishProperties(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	unit := r.Units(1)[0]
	publish := func(flags byte, topic string, props []byte) []byte {
		b := append(appendString(nil, topic), 0, 1)
		b = append(append(appendLength(b, len(props)), props...), sample...)
		return append(appendLength([]byte{typePublish<<4 | 2 | flags}, len(b)), b...)
	}
	fine := appendString(appendString([]byte{five.PropPayloadFormat, 1, five.PropMessageExpiry, 0, 0, 0, 1, five.PropUser}, "a"), "b")
	fine = appendString(append(fine, five.PropContentType), "application/json")
	fine = appendString(append(fine, five.PropResponseTopic), "x/y")
	fine = appendString(append(fine, five.PropCorrelationData), "\x00\xff")
	c := r.connect(t, true, unit, "c")
	c.write(publish(0, TopicTelemetry, fine))
	kind, body := c.next()
	require.Equal(t, byte(typePuback), kind)
	require.Equal(t, []byte{0, 1}, body)
	for name, k := range map[string]struct {
		b      []byte
		reason byte
	}{
		"an alias":                   {publish(0, TopicTelemetry, []byte{five.PropTopicAlias, 0, 1}), reasonAliasInvalid},
		"an alias alone":             {publish(0, "", []byte{five.PropTopicAlias, 0, 1}), reasonAliasInvalid},
		"no topic":                   {publish(0, "", nil), reasonAliasInvalid},
		"a subscription identifier":  {publish(0, TopicTelemetry, []byte{five.PropSubscriptionIdentifier, 1}), reasonProtocol},
		"a retained message":         {publish(1, TopicTelemetry, nil), reasonRetain},
		"a property of CONNECT":      {publish(0, TopicTelemetry, []byte{five.PropReceiveMaximum, 0, 1}), reasonMalformed},
		"properties beyond the body": {append([]byte{typePublish<<4 | 2, 8}, append(lengthed("x"), 0, 1, 0xff, 0xff, 1)...), reasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			c := r.connect(t, true, unit, "c")
			c.write(k.b)
			c.closed(k.reason)
		})
	}
	require.Len(t, r.Stream.Rows(), 1)
}

// Bits that are reserved are not looked over.
func TestReservedBits(t *testing.T) {
	both(t, func(t *testing.T, v5 bool) {
		r := newRig(t, Config{}, nil)
		unit := r.Units(1)[0]
		options := func(o byte) []byte {
			b := subscribeBytes(v5, 1, TopicDesired)
			b[len(b)-1] = o
			return b
		}
		first := publishBytes(v5, 0, 0, TopicTelemetry, sample)
		first[0] |= 8
		tries := map[string][]byte{
			"DUP of service 0": first, "options of service 3": options(3), "options' upper bits": options(0x40),
			"PINGREQ": {typePingreq<<4 | 1, 0}, "DISCONNECT": {typeDisconnect<<4 | 1, 0}, "CONNECT": {typeConnect<<4 | 1, 0}, "PUBACK": {typePuback<<4 | 1, 2, 0, 1},
		}
		if v5 {
			tries["retain handling 3"] = options(0x30)
		} else {
			tries["MQTT 5's options"] = options(4)
			tries["RETAIN alone"] = nil // is ignored: below
		}
		for name, b := range tries {
			k := r.connect(t, v5, unit, "c")
			if b == nil {
				kept := publishBytes(v5, 1, 1, TopicTelemetry, sample)
				kept[0] |= 1
				k.write(kept)
				kind, _ := k.next()
				require.Equal(t, byte(typePuback), kind)
				continue
			}
			k.write(b)
			if !v5 {
				_, _, err := k.read(30 * time.Second)
				require.ErrorIs(t, err, io.EOF, name)
				continue
			}
			kind, body := k.next()
			require.Equal(t, byte(typeDisconnect), kind, name)
			require.Equal(t, byte(reasonMalformed), body[0], name)
		}
	})
}

// A client's own maximum packet size is kept to: what does not fit is not
// sent, and a reason is left out first.
func TestClientsMaximumPacketSize(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	unit := r.Units(1)[0]
	c := r.dial(t, true)
	c.write(connectWith(true, 0xc2, 60, []byte{five.PropMaximumPacketSize, 0, 0, 0, 40}, "c", lengthed(unit), lengthed(r.Token(unit))))
	_, code, _ := c.ack()
	require.Zero(t, code)
	c.write(subscribeBytes(true, 1, TopicDesired))
	c.next()
	c.alive() // the desired state has more than 40 bytes
	c.write(publishBytes(true, 1, 1, TopicTelemetry, `{"values":{"undeclared":1,"current":"text"}}`))
	kind, body := c.next()
	require.Equal(t, byte(typePuback), kind)
	require.Len(t, body, 2)
}

// Receive Maximum is the window: what is sent beyond it waits in the socket,
// of all kinds of service together, and nothing is lost.
func TestReceiveMaximum(t *testing.T) {
	both(t, func(t *testing.T, v5 bool) {
		r := newRig(t, Config{Window: 8}, nil)
		unit := r.Units(1)[0]
		c := r.dial(t, v5)
		c.write(connectBytes(v5, "c", unit, r.Token(unit), 60))
		_, _, props := c.ack()
		if v5 {
			require.Equal(t, uint16(8), *props.ReceiveMaximum)
		}
		r.Stream.Hold()
		for id := range uint16(40) {
			c.write(publishBytes(v5, byte(1+id%2), id+1, TopicTelemetry, sample))
		}
		time.Sleep(100 * time.Millisecond)
		r.Stream.Release()
		for id := range uint16(40) {
			kind, body := c.next()
			require.Equal(t, typePuback+byte(id%2), kind)
			require.Equal(t, id+1, binary.BigEndian.Uint16(body))
		}
		require.Len(t, r.Stream.Rows(), 40)
	})
}

// Any packet keeps a connection alive; without a keep-alive nothing need come.
func TestKeepAliveIsAnyPacket(t *testing.T) {
	both(t, func(t *testing.T, v5 bool) {
		r := newRig(t, Config{}, nil)
		unit := r.Units(1)[0]
		c := r.dial(t, v5)
		c.write(connectBytes(v5, "c", unit, r.Token(unit), 4)) // ended after 6 s in which nothing comes
		c.ack()
		idle := r.dial(t, v5)
		idle.write(connectBytes(v5, "idle", unit, r.Token(unit), 0))
		_, _, props := idle.ack()
		if v5 {
			require.Equal(t, uint16(1200), *props.ServerKeepAlive)
		}
		for id := range uint16(4) {
			time.Sleep(1600 * time.Millisecond)
			c.write(publishBytes(v5, 1, id+1, TopicTelemetry, sample))
			kind, _ := c.next()
			require.Equal(t, byte(typePuback), kind)
		}
		idle.alive()
	})
}

// A PUBACK is lost on the wire; the client connects again and sends the
// message again, marked as a duplicate. Both are acknowledged, one is stored.
func TestALostPubackIsNoSecondSample(t *testing.T) {
	both(t, func(t *testing.T, v5 bool) {
		r := newRig(t, Config{}, nil)
		unit := r.Units(1)[0]
		for qos := byte(1); qos <= 2; qos++ {
			message := publishBytes(v5, qos, 7, TopicTelemetry, `{"ts":140162400000`+string('0'+qos)+`,"values":{"current":1,"label":"a"}}`)
			c := r.connect(t, v5, unit, "c")
			c.write(message)
			require.Eventually(t, func() bool { return len(r.Stream.Rows()) == int(2*qos-1) }, time.Minute, time.Millisecond)
			require.NoError(t, c.nc.Close()) // with the answer unread
			c = r.connect(t, v5, unit, "c")
			message[0] |= 8
			c.write(message)
			c.next()
		}
		rows := r.Stream.Rows() // history stores one of what has the same unit, time and number: e2e
		require.Len(t, rows, 4)
		for i := range rows {
			rows[i].Received = 0
		}
		require.Equal(t, rows[0], rows[1])
		require.Equal(t, rows[2], rows[3])
	})
}
