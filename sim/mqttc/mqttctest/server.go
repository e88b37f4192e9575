// Package mqttctest is a small MQTT 3.1.1 server on someone else's codecs,
// for tests of the simulation without a Fettle server.
package mqttctest

import (
	"net"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Server acknowledges what Take accepts.
type Server struct {
	Addr string
	// Refuse is the return code of CONNACK by user and password; nil: 0.
	Refuse func(user, password string) byte
	// Take is given each PUBLISH; false drops the connection without an
	// acknowledgement.
	Take func(user string, p *packets.PublishPacket) bool
}

// Start listens until the test ends.
func (s *Server) Start(t *testing.T) *Server {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	s.Addr = ln.Addr().String()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s
}

func (s *Server) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	user := ""
	for {
		cp, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch cp := cp.(type) {
		case *packets.ConnectPacket:
			user = cp.Username
			ack := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
			if s.Refuse != nil {
				ack.ReturnCode = s.Refuse(user, string(cp.Password))
			}
			err = ack.Write(c)
		case *packets.SubscribePacket:
			ack := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			ack.MessageID = cp.MessageID
			ack.ReturnCodes = make([]byte, len(cp.Topics))
			err = ack.Write(c)
		case *packets.PublishPacket:
			if !s.Take(user, cp) {
				return
			}
			ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
			ack.MessageID = cp.MessageID
			err = ack.Write(c)
		case *packets.PingreqPacket:
			err = packets.NewControlPacket(packets.Pingresp).Write(c)
		}
		if err != nil {
			return
		}
	}
}
