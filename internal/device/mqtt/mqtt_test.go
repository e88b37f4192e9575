package mqtt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	five "github.com/eclipse/paho.golang/packets"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
)

// rig is a house with an MQTT door on a real socket.
type rig struct {
	*devicetest.House
	srv  *Server
	addr string
	tls  *tls.Config // of clients; nil: plain
	stop func()      // drains; may be called early
}

func newRig(tb testing.TB, cfg Config, change func(*device.Config)) *rig {
	tb.Helper()
	h := devicetest.New(tb, change)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	return newRigOn(tb, h, cfg, ln)
}

// newRigTLS is one whose door is TLS.
func newRigTLS(tb testing.TB, cfg Config) *rig {
	tb.Helper()
	path := makeCertificate(tb, tb.TempDir(), "server", devicetest.Start)
	pair, err := tls.LoadX509KeyPair(path+".crt", path+".key")
	require.NoError(tb, err)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12})
	require.NoError(tb, err)
	r := newRigOn(tb, devicetest.New(tb, nil), cfg, ln)
	r.tls = &tls.Config{InsecureSkipVerify: true}
	return r
}

func newRigOn(tb testing.TB, h *devicetest.House, cfg Config, ln net.Listener) *rig {
	tb.Helper()
	r := &rig{House: h, srv: New(h.Gateway, h.Gateway, cfg, nil), addr: ln.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.srv.Serve(ctx, ln) }()
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		require.NoError(tb, <-done)
	}
	tb.Cleanup(func() {
		h.Stream.Release()
		r.stop()
	})
	return r
}

// client speaks MQTT by hand, so that it can misbehave.
type client struct {
	tb testing.TB
	nc net.Conn
	r  *bufio.Reader
	v5 bool
}

func (r *rig) dial(tb testing.TB, v5 bool) *client {
	tb.Helper()
	nc, err := net.Dial("tcp", r.addr)
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = nc.Close() })
	if r.tls != nil {
		nc = tls.Client(nc, r.tls)
	}
	return &client{tb, nc, bufio.NewReader(nc), v5}
}

// connect dials and connects as a unit and expects to be accepted.
func (r *rig) connect(tb testing.TB, v5 bool, unit, id string) *client {
	tb.Helper()
	c := r.dial(tb, v5)
	c.write(connectBytes(v5, id, unit, r.Token(unit), 60))
	kind, body := c.next()
	require.Equal(tb, byte(typeConnack), kind)
	require.Equal(tb, byte(0), body[1])
	return c
}

func connectBytes(v5 bool, id, user, password string, keep uint16) []byte {
	level := byte(4)
	if v5 {
		level = 5
	}
	b := append(appendString(nil, "MQTT"), level, 0xc2)
	b = binary.BigEndian.AppendUint16(b, keep)
	if v5 {
		b = append(b, 0)
	}
	b = appendString(appendString(appendString(b, id), user), password)
	return append(appendLength([]byte{typeConnect << 4}, len(b)), b...)
}

func publishBytes(v5 bool, qos byte, id uint16, topic, payload string) []byte {
	b := appendString(nil, topic)
	if qos > 0 {
		b = binary.BigEndian.AppendUint16(b, id)
	}
	if v5 {
		b = append(b, 0)
	}
	b = append(b, payload...)
	return append(appendLength([]byte{typePublish<<4 | qos<<1}, len(b)), b...)
}

func subscribeBytes(v5 bool, id uint16, topics ...string) []byte {
	b := binary.BigEndian.AppendUint16(nil, id)
	if v5 {
		b = append(b, 0)
	}
	for _, t := range topics {
		b = append(appendString(b, t), 1)
	}
	return append(appendLength([]byte{typeSubscribe<<4 | 2}, len(b)), b...)
}

func (c *client) write(b []byte) {
	c.tb.Helper()
	_, err := c.nc.Write(b)
	require.NoError(c.tb, err)
}

// next reads the server's next packet.
func (c *client) next() (kind byte, body []byte) {
	c.tb.Helper()
	kind, body, err := c.read(30 * time.Second)
	require.NoError(c.tb, err)
	return kind, body
}

func (c *client) read(wait time.Duration) (kind byte, body []byte, err error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(wait))
	h, err := readHeader(anyFlags{c.r}, 1<<20)
	if err != nil {
		return 0, nil, err
	}
	body = make([]byte, h.length)
	_, err = io.ReadFull(c.r, body)
	return h.kind, body, err
}

type anyFlags struct{ io.ByteReader }

// closed expects the connection to end, over MQTT 5 with a reason.
func (c *client) closed(reason byte) {
	c.tb.Helper()
	if c.v5 {
		kind, body := c.next()
		require.Equal(c.tb, byte(typeDisconnect), kind)
		require.Equal(c.tb, reason, body[0])
	}
	_, _, err := c.read(30 * time.Second)
	require.ErrorIs(c.tb, err, io.EOF)
}

var protocols = map[string]bool{"3.1.1": false, "5": true}

// eachVersion runs a test on a rig of its own for each version of the protocol.
func eachVersion(t *testing.T, fn func(t *testing.T, r *rig, v5 bool)) {
	t.Helper()
	for name, v5 := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fn(t, newRig(t, Config{}, nil), v5)
		})
	}
}

const sample = `{"values":{"current":1}}`

func TestNothingIsAcknowledgedBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		c := r.connect(t, v5, r.Units(1)[0], "c")
		r.Stream.Hold()
		for i := range uint16(10) {
			c.write(publishBytes(v5, 1, i+1, TopicTelemetry, sample))
		}
		_, _, err := c.read(150 * time.Millisecond)
		require.ErrorContains(t, err, "timeout")
		r.Stream.Release()
		for i := range uint16(10) { // in order
			kind, body := c.next()
			require.Equal(t, byte(typePuback), kind)
			require.Equal(t, i+1, binary.BigEndian.Uint16(body))
		}
		require.Len(t, r.Stream.Rows(), 10)
	})
}

func TestAFailedStoreEndsTheConnection(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		c := r.connect(t, v5, r.Units(1)[0], "c")
		r.Stream.Fail(io.ErrShortWrite)
		c.write(publishBytes(v5, 1, 1, TopicTelemetry, sample))
		c.closed(reasonBusy)
		require.Empty(t, r.Stream.Rows())
	})
}

// Answers keep the order of the messages, also where one is answered without
// a commit.
func TestAnswersKeepTheirOrder(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		c := r.connect(t, v5, r.Units(1)[0], "c")
		r.Stream.Hold()
		c.write(publishBytes(v5, 1, 1, TopicTelemetry, sample))
		c.write(publishBytes(v5, 1, 2, TopicTelemetry, "not json"))
		c.write(publishBytes(v5, 1, 3, TopicTelemetry, `[]`))
		c.write(publishBytes(v5, 1, 4, TopicTelemetry, sample))
		_, _, err := c.read(100 * time.Millisecond)
		require.ErrorContains(t, err, "timeout")
		r.Stream.Release()
		for i := range uint16(4) {
			kind, body := c.next()
			require.Equal(t, byte(typePuback), kind)
			require.Equal(t, i+1, binary.BigEndian.Uint16(body))
			if v5 && i == 1 {
				require.Equal(t, byte(reasonPayloadInvalid), body[2])
			} else {
				require.Len(t, body, 2)
			}
		}
		require.Len(t, r.Stream.Rows(), 2)
	})
}

func TestReasonsOfMQTT5(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, nil)
	c := r.connect(t, true, r.Units(1)[0], "c")
	ack := func(topic, payload string) five.Puback {
		c.write(publishBytes(true, 1, 9, topic, payload))
		kind, body := c.next()
		require.Equal(t, byte(typePuback), kind)
		p := five.Puback{Properties: &five.Properties{}}
		require.NoError(t, p.Unpack(bytes.NewBuffer(body)))
		return p
	}
	p := ack(TopicTelemetry, `{"values":{"current":1e999,"x":1}}`)
	require.Equal(t, byte(reasonOK), p.ReasonCode)
	require.Equal(t, "1 invalid (current: expected a finite number), 1 undeclared", p.Properties.ReasonString)
	p = ack(TopicTelemetry, `{"values":{"x":1}}`)
	require.Equal(t, "1 undeclared", p.Properties.ReasonString)
	p = ack(TopicTelemetry, `{"values":{"x":1}`)
	require.Equal(t, byte(reasonPayloadInvalid), p.ReasonCode)
	p = ack(TopicAttributes, `{"versions":{"software":2}}`)
	require.Equal(t, byte(reasonPayloadInvalid), p.ReasonCode)
	require.Contains(t, p.Properties.ReasonString, "versions.software: expected a string, got 2")
	p = ack("fettle/v1/telemetry/WC-000001", sample)
	require.Equal(t, byte(reasonNotAuthorized), p.ReasonCode)
	require.Len(t, r.Stream.Rows(), 2)
}

func TestTopicsOfOthers(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		ids := r.Units(2)
		others := []string{"#", "+/v1/desired", "fettle/v1/#", "fettle/v1/telemetry", "$SYS/#", "$share/a/fettle/v1/desired", "fettle/v1/desired/" + ids[1], "fettle/v1/desired "}
		c := r.connect(t, v5, ids[0], "c")
		c.write(subscribeBytes(v5, 3, append(others, TopicNotice)...))
		kind, body := c.next()
		require.Equal(t, byte(typeSuback), kind)
		codes := body[len(body)-len(others)-1:]
		for i := range others {
			require.GreaterOrEqual(t, codes[i], byte(0x80), others[i])
		}
		require.Equal(t, byte(0), codes[len(others)])
		for _, topic := range []string{"fettle/v1/desired", "fettle/v1/telemetry/" + ids[1], "x"} {
			c := r.connect(t, v5, ids[0], "c")
			c.write(publishBytes(v5, 0, 0, topic, sample))
			c.closed(reasonNotAuthorized)
		}
		c = r.connect(t, v5, ids[0], "c")
		c.write(publishBytes(v5, 1, 1, "a/+", sample))
		c.closed(reasonTopicInvalid)
		require.Empty(t, r.Stream.Rows())
	})
}

func TestWrongCredentials(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		ids := r.Units(3)
		require.NoError(t, r.Provide.RevokeUnit(t.Context(), ids[2]))
		for _, c := range []struct {
			user, password string
			three, five    byte
		}{
			{ids[0], r.Token(ids[1]), refusedCredential, reasonBadCredential},
			{ids[0], "", refusedCredential, reasonBadCredential},
			{"nobody", "x", refusedCredential, reasonBadCredential},
			{"", r.Token(ids[0]), refusedCredential, reasonBadCredential},
			{ids[2], r.Token(ids[2]), refusedAuthorized, reasonNotAuthorized},
		} {
			k := r.dial(t, v5)
			k.write(connectBytes(v5, "c", c.user, c.password, 60))
			kind, body := k.next()
			require.Equal(t, byte(typeConnack), kind)
			if v5 {
				require.Equal(t, c.five, body[1])
			} else {
				require.Equal(t, c.three, body[1])
			}
			_, _, err := k.read(30 * time.Second)
			require.ErrorIs(t, err, io.EOF)
		}
	})
}

func TestRevokingDisconnectsAtOnce(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		unit := r.Units(1)[0]
		a, b := r.connect(t, v5, unit, "a"), r.connect(t, v5, unit, "b")
		begin := time.Now()
		require.NoError(t, r.Provide.RevokeUnit(t.Context(), unit))
		a.closed(reasonAdministrative)
		b.closed(reasonAdministrative)
		require.Less(t, time.Since(begin), 30*time.Second)
		require.NoError(t, r.Provide.RestoreUnit(t.Context(), unit))
		c := r.connect(t, v5, unit, "a")
		_, err := r.Provide.IssueToken(t.Context(), unit)
		require.NoError(t, err)
		c.closed(reasonAdministrative)
	})
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		ids := r.Units(2)
		other := r.connect(t, v5, ids[1], "same") // a client id is a unit's own
		second := r.connect(t, v5, ids[0], "beside")
		first := r.connect(t, v5, ids[0], "same")
		again := r.connect(t, v5, ids[0], "same")
		first.closed(reasonTakenOver)
		for _, c := range []*client{other, second, again} {
			c.write([]byte{typePingreq << 4, 0})
			kind, _ := c.next()
			require.Equal(t, byte(typePingresp), kind)
		}
		for i := range 8 { // the ninth pushes the oldest out
			r.connect(t, v5, ids[0], string(rune('a'+i)))
		}
		second.closed(reasonQuota)
	})
}

func TestPackets(t *testing.T) {
	t.Parallel()
	for name, v5 := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{MaxPacket: 4 << 10}, nil)
			unit := r.Units(1)[0]
			flagged := publishBytes(v5, 1, 1, TopicTelemetry, sample)
			flagged[0] |= 6 // quality of service 3
			for name, c := range map[string]struct {
				bytes  []byte
				reason byte
			}{
				"too large":            {appendLength([]byte{typePublish << 4}, 4<<10+1), reasonTooLarge},
				"a huge length":        {[]byte{typePublish << 4, 0xff, 0xff, 0xff, 0x7f}, reasonTooLarge},
				"a broken length":      {[]byte{typePublish << 4, 0xff, 0xff, 0xff, 0xff, 1}, reasonMalformed},
				"a second connect":     {connectBytes(v5, "c", unit, "x", 1), reasonProtocol},
				"a server's packet":    {[]byte{typeConnack << 4, 2, 0, 0}, reasonProtocol},
				"type 0":               {[]byte{0, 0}, reasonProtocol},
				"quality of service 3": {flagged, reasonMalformed},
				"no packet id":         {publishBytes(v5, 1, 0, TopicTelemetry, sample), reasonMalformed},
				"a truncated topic":    {[]byte{typePublish << 4, 3, 0, 9, 'x'}, reasonMalformed},
				"an empty publish":     {[]byte{typePublish << 4, 0}, reasonMalformed},
				"an empty subscribe":   {[]byte{typeSubscribe<<4 | 2, 0}, reasonMalformed},
				"subscribe's flags":    {[]byte{typeSubscribe << 4, 2, 0, 1}, reasonMalformed},
				"a truncated filter":   {[]byte{typeSubscribe<<4 | 2, 7, 0, 1, 0, 0, 9, 'x', 'y'}, reasonMalformed},
				"an empty unsubscribe": {[]byte{typeUnsubscribe<<4 | 2, 2, 0, 1}, reasonMalformed},
				"a ping with a body":   {[]byte{typePingreq << 4, 1, 0}, reasonMalformed},
			} {
				t.Run(name, func(t *testing.T) {
					k := r.connect(t, v5, unit, "c")
					k.write(c.bytes)
					k.closed(c.reason)
				})
			}
			k := r.connect(t, v5, unit, "c")
			k.write(publishBytes(v5, 1, 1, TopicTelemetry, sample)[:8])
			require.NoError(t, k.nc.(*net.TCPConn).CloseWrite())
			_, _, err := k.read(30 * time.Second)
			require.ErrorIs(t, err, io.EOF)
			require.Empty(t, r.Stream.Rows())
		})
	}
}

func TestFirstPackets(t *testing.T) {
	t.Parallel()
	r, hasty := newRig(t, Config{}, nil), newRig(t, Config{ConnectTimeout: 200 * time.Millisecond}, nil)
	unit := r.Units(1)[0]
	old := connectBytes(false, "c", unit, r.Token(unit), 60)
	old[8] = 3
	k := r.dial(t, false)
	k.write(old)
	kind, body := k.next()
	require.Equal(t, byte(typeConnack), kind)
	require.Equal(t, byte(refusedVersion), body[1])
	for name, b := range map[string][]byte{
		"HTTP": []byte("GET / HTTP/1.1\r\n\r\n"), "a publish": publishBytes(false, 0, 0, TopicTelemetry, sample),
		"a large connect": appendLength([]byte{typeConnect << 4}, 64<<10), "nothing": {}, "half": old[:5],
		"a password without user": {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 0x42, 0, 60, 0, 0, 0, 0},
		"bytes behind":            append([]byte{0x10, 15}, append(append(appendString(nil, "MQTT"), 4, 2, 0, 60, 0, 0), 1, 2, 3)...),
	} {
		t.Run(name, func(t *testing.T) {
			k := hasty.dial(t, false)
			k.write(b)
			_, _, err := k.read(30 * time.Second)
			require.Error(t, err)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			require.NotContains(t, err.Error(), "timeout", "the server hangs up first")
		})
	}
	k = r.dial(t, false) // an empty client id needs a clean session
	b := connectBytes(false, "", unit, r.Token(unit), 60)
	b[9] &^= 2
	k.write(b)
	_, body = k.next()
	require.Equal(t, byte(refusedIdentifier), body[1])
	k = r.dial(t, true)
	k.write(connectBytes(true, "", unit, r.Token(unit), 0))
	_, body = k.next()
	ack := five.Connack{Properties: &five.Properties{}}
	require.NoError(t, ack.Unpack(bytes.NewBuffer(body)))
	require.NotEmpty(t, ack.Properties.AssignedClientID)
	require.Equal(t, uint16(1200), *ack.Properties.ServerKeepAlive)
	require.Nil(t, ack.Properties.MaximumQOS, "2")
	require.Equal(t, byte(0), *ack.Properties.RetainAvailable)
	require.Equal(t, uint32(256<<10), *ack.Properties.MaximumPacketSize)
}

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		unit := r.Units(1)[0]
		c := r.dial(t, v5)
		begin := time.Now()
		c.write(connectBytes(v5, "c", unit, r.Token(unit), 1))
		c.next()
		c.closed(reasonKeepAlive)
		require.InDelta(t, 30, time.Since(begin).Seconds(), 28.5) // 1.5 s, and what the machine takes
	})
}

// A client that sends and never reads is disconnected, and the others go on.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	cfg := Config{WriteTimeout: 300 * time.Millisecond}
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		slowReader(t, newRig(t, cfg, nil))
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		slowReader(t, newRigTLS(t, cfg))
	})
}

func slowReader(t *testing.T, r *rig) {
	t.Helper()
	ids := r.Units(2)
	slow := r.connect(t, false, ids[0], "slow")
	gone := make(chan error, 1)
	go func() {
		pings := bytes.Repeat([]byte{typePingreq << 4, 0}, 4096)
		for {
			if _, err := slow.nc.Write(pings); err != nil {
				gone <- err
				return
			}
		}
	}()
	other := r.connect(t, true, ids[1], "other")
	for i := range uint16(50) {
		other.write(publishBytes(true, 1, i+1, TopicTelemetry, sample))
		kind, _ := other.next()
		require.Equal(t, byte(typePuback), kind)
	}
	select {
	case err := <-gone:
		require.Error(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the slow reader is still connected")
	}
}

// slots is how many messages have been read and not been answered.
func (r *rig) slots() (n int) {
	r.srv.mu.Lock()
	defer r.srv.mu.Unlock()
	for k := range r.srv.conns {
		k.mu.Lock()
		n += len(k.slots)
		k.mu.Unlock()
	}
	return n
}

// A full window stops reading the socket: what is in flight is bounded.
func TestAFullWindowStopsReading(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{Window: 16}, nil)
	c := r.connect(t, false, r.Units(1)[0], "c")
	r.Stream.Hold()
	message := publishBytes(false, 0, 0, TopicTelemetry, sample)
	go func() { _, _ = c.nc.Write(bytes.Repeat(message, 200)) }()
	require.Eventually(t, func() bool { return r.slots() == 16 }, time.Minute, 5*time.Millisecond)
	time.Sleep(100 * time.Millisecond)
	require.Equal(t, 16, r.slots(), "no more is read")
	r.Stream.Release()
	require.Eventually(t, func() bool { return len(r.Stream.Rows()) == 200 }, time.Minute, 10*time.Millisecond)
}

// Stopping answers what is becoming durable and says goodbye.
func TestDrain(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		c := r.connect(t, v5, r.Units(1)[0], "c")
		r.Stream.Hold()
		c.write(publishBytes(v5, 1, 1, TopicTelemetry, sample))
		require.Eventually(t, func() bool { return r.slots() == 1 }, time.Minute, time.Millisecond)
		time.AfterFunc(100*time.Millisecond, r.Stream.Release)
		r.stop()
		kind, _ := c.next()
		require.Equal(t, byte(typePuback), kind)
		c.closed(reasonShutdown)
		_, err := net.Dial("tcp", r.addr)
		require.Error(t, err)
	})
}

func TestDrainGivesUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{DrainTimeout: 200 * time.Millisecond}, nil)
	c := r.connect(t, true, r.Units(1)[0], "c")
	r.Stream.Hold()
	c.write(publishBytes(true, 1, 1, TopicTelemetry, sample))
	require.Eventually(t, func() bool { return r.slots() == 1 }, time.Minute, time.Millisecond)
	begin := time.Now()
	r.stop()
	require.Less(t, time.Since(begin), 30*time.Second)
}

func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{MaxConnections: 1}, nil)
	unit := r.Units(1)[0]
	r.connect(t, true, unit, "a")
	c := r.dial(t, true)
	_, _, err := c.read(30 * time.Second)
	require.ErrorIs(t, err, io.EOF)
}

func TestUnsubscribe(t *testing.T) {
	t.Parallel()
	eachVersion(t, func(t *testing.T, r *rig, v5 bool) {
		t.Helper()
		unit := r.Units(1)[0]
		c := r.connect(t, v5, unit, "c")
		c.write(subscribeBytes(v5, 1, TopicDesired))
		c.next()
		kind, _ := c.next()
		require.Equal(t, byte(typePublish), kind)
		b := subscribeBytes(v5, 2, TopicDesired)
		b = b[:len(b)-1] // topics of an unsubscribe have no options
		b[0], b[1] = typeUnsubscribe<<4|2, b[1]-1
		c.write(b)
		kind, _ = c.next()
		require.Equal(t, byte(typeUnsuback), kind)
		r.Consent(unit, false)
		c.write([]byte{typePingreq << 4, 0})
		kind, _ = c.next()
		require.Equal(t, byte(typePingresp), kind, "nothing was pushed")
	})
}
