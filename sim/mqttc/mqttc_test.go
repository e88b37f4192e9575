package mqttc

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"
)

// peer is a server made of the paho codecs, so that our packets are read by
// someone else's reader.
type peer struct {
	ln      net.Listener
	refuse  byte
	publish []packets.ControlPacket // sent after the first SUBSCRIBE

	mu   sync.Mutex
	seen []packets.ControlPacket
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	p := &peer{ln: ln}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *peer) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		cp, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.seen = append(p.seen, cp)
		p.mu.Unlock()
		switch cp := cp.(type) {
		case *packets.ConnectPacket:
			ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
			ack.ReturnCode = p.refuse
			_ = ack.Write(c)
		case *packets.SubscribePacket:
			ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			ack.MessageID = cp.MessageID
			ack.ReturnCodes = make([]byte, len(cp.Topics))
			_ = ack.Write(c)
			for _, m := range p.publish {
				_ = m.Write(c)
			}
		case *packets.PublishPacket:
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = cp.MessageID
			_ = ack.Write(c)
		case *packets.PingreqPacket:
			_ = packets.NewControlPacket(packets.Pingresp).Write(c)
		}
	}
}

func (p *peer) packets() []packets.ControlPacket {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]packets.ControlPacket(nil), p.seen...)
}

type recorder struct {
	acks   chan uint16
	msgs   chan string
	closed chan error
}

func newRecorder() *recorder {
	return &recorder{make(chan uint16, 10), make(chan string, 10), make(chan error, 1)}
}

func (r *recorder) Acked(id uint16)                { r.acks <- id }
func (r *recorder) Message(topic string, b []byte) { r.msgs <- topic + " " + string(b) }
func (r *recorder) Closed(err error)               { r.closed <- err }

func TestConversation(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	push := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	push.TopicName, push.Payload, push.Qos, push.MessageID = "fettle/v1/notice", []byte(`{"poll":true}`), 1, 9
	p.publish = []packets.ControlPacket{push}

	rec := newRecorder()
	c, err := Dial(t.Context(), Options{Addr: p.ln.Addr().String(), UnitID: "WC-1", Token: "secret", Local: net.IPv4(127, 0, 0, 7)}, rec)
	require.NoError(t, err)
	require.NoError(t, c.Subscribe(t.Context(), "fettle/v1/desired", "fettle/v1/notice"))
	require.NoError(t, c.Write(AppendPublish(nil, "fettle/v1/telemetry", 77, true, bytes.Repeat([]byte("x"), 300))))
	require.Equal(t, uint16(77), <-rec.acks)
	require.Equal(t, `fettle/v1/notice {"poll":true}`, <-rec.msgs)
	require.NoError(t, c.Ping(t.Context()))
	c.Close()
	<-c.Done()
	require.Empty(t, rec.closed, "Close is not reported as a loss")

	var saw []packets.ControlPacket
	require.Eventually(t, func() bool { saw = p.packets(); return len(saw) == 6 }, time.Minute, 10*time.Millisecond)
	hello := saw[0].(*packets.ConnectPacket)
	require.Equal(t, "WC-1", hello.Username)
	require.Equal(t, "secret", string(hello.Password))
	require.Equal(t, byte(4), hello.ProtocolVersion)
	require.True(t, hello.CleanSession)
	for _, cp := range saw {
		if pub, ok := cp.(*packets.PublishPacket); ok {
			require.True(t, pub.Dup)
			require.Equal(t, byte(1), pub.Qos)
			require.Len(t, pub.Payload, 300)
		}
	}
	require.IsType(t, &packets.DisconnectPacket{}, saw[5])
}

func TestRefusal(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.refuse = 5
	_, err := Dial(t.Context(), Options{Addr: p.ln.Addr().String(), UnitID: "WC-1"}, newRecorder())
	require.ErrorIs(t, err, ErrRefused)
}

func TestLossIsTold(t *testing.T) {
	t.Parallel()
	p := newPeer(t)
	p.publish = []packets.ControlPacket{packets.NewControlPacket(packets.Connack)} // not allowed here
	rec := newRecorder()
	c, err := Dial(t.Context(), Options{Addr: p.ln.Addr().String(), UnitID: "WC-1"}, rec)
	require.NoError(t, err)
	_ = c.Subscribe(t.Context(), "a")
	require.ErrorIs(t, <-rec.closed, errMalformed)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.Error(t, c.Ping(ctx))
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{0x40, 2, 0, 1})
	f.Add([]byte{0x30, 5, 0, 1, 'a', 'h', 'i'})
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		var buf []byte
		for {
			var p packet
			var err error
			if p, buf, err = read(r, buf); err != nil {
				return
			}
			if topic, _, payload, err := p.publish(); err == nil && len(topic)+len(payload) > len(p.body) {
				t.Fatalf("parts longer than the packet")
			}
		}
	})
}
