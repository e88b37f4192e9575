package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"fettle.dev/fettle/unitkit/setting"
)

const (
	batchMessages = 200
	batchBytes    = 128 << 10
	keepAlive     = 60 * time.Second
	retryMQTT     = 5 * time.Minute // while HTTPS does instead
	againMQTT     = 5 * time.Second // after a connection has ended
	readDesired   = 15 * time.Minute
)

// uplink sends what is in the spool: over MQTT, and over HTTPS while that
// cannot be reached. It hears what may be collected, and that there is
// something to poll for.
type uplink struct {
	t      *telemetry
	id     identity
	server string // https://host
	mqtt   string // mqtts://host; empty: HTTPS alone
	tls    *tls.Config
	client *http.Client
	wake   func()
	log    *slog.Logger
	online atomic.Bool

	every    time.Duration // between two readings of desired over HTTPS
	asked    chan struct{} // to read it now
	settings *setting.Keeper
	settled  chan struct{} // settings are to be looked at
	mqttNow  atomic.Pointer[publishFunc]
}

// publishFunc sends one message; it is on the server's disk when it returns nil.
type publishFunc func(ctx context.Context, kind string, payload []byte) error

// errUnsendable says that the server will never take what was sent.
var errUnsendable = errors.New("the server does not take it")

// run goes on until ctx ends.
func (u *uplink) run(ctx context.Context) {
	wait := time.Second
	for ctx.Err() == nil {
		until := retryMQTT
		if u.mqtt != "" {
			connected, err := u.overMQTT(ctx)
			if ctx.Err() != nil {
				return
			}
			u.log.Warn("the server is not reached over MQTT", "err", err)
			if connected {
				u.online.Store(false)
				until, wait = againMQTT, time.Second
			}
		}
		if err := u.overHTTPS(ctx, until); err != nil && ctx.Err() == nil {
			u.online.Store(false)
			u.log.Warn("the server is not reached over HTTPS", "err", err, "again", wait)
			if !pause(ctx, wait) {
				return
			}
			wait = min(2*wait, time.Minute)
			continue
		}
		wait = time.Second
	}
}

// send sends the oldest messages and forgets them; none is false.
func (u *uplink) send(ctx context.Context, publish publishFunc) (bool, error) {
	if err := u.t.dropped(); err != nil {
		u.log.Warn("it could not be noted that messages were dropped", "err", err)
	}
	list, err := u.t.spool.Next(batchMessages, batchBytes)
	if err != nil || len(list) == 0 {
		return false, err
	}
	payload, n, err := u.t.batch(list)
	if err != nil {
		return false, err
	}
	if n > 0 {
		err = publish(ctx, list[0].Kind, payload)
	}
	if errors.Is(err, errUnsendable) {
		u.log.Error("messages are thrown away", "messages", n, "kind", list[0].Kind, "err", err)
		err = nil
	}
	if err != nil {
		return false, err
	}
	return true, u.t.spool.Sent(list[len(list)-1].Seq)
}

// overMQTT holds one connection until it ends, and says whether there was one.
func (u *uplink) overMQTT(ctx context.Context) (connected bool, err error) {
	address, secure, err := mqttAddress(u.mqtt)
	if err != nil {
		return false, err
	}
	dial, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	d := &net.Dialer{}
	var conn net.Conn
	if secure {
		c, err := (&tls.Dialer{NetDialer: d, Config: u.tls}).DialContext(dial, "tcp", address)
		if err != nil {
			return false, err
		}
		conn = packets.NewThreadSafeConn(c)
	} else if conn, err = d.DialContext(dial, "tcp", address); err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	failed := make(chan error, 1)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	c := paho.NewClient(paho.ClientConfig{
		Conn: conn, PacketTimeout: 20 * time.Second,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			u.heard(r.Packet.Topic, r.Packet.Payload)
			return true, nil
		}},
		OnServerDisconnect: func(d *paho.Disconnect) {
			fail(fmt.Errorf("the server ended the connection, reason 0x%02x", d.ReasonCode))
		},
		OnClientError: fail,
	})
	answer, err := c.Connect(ctx, &paho.Connect{
		ClientID: u.id.Unit, CleanStart: true, KeepAlive: uint16(keepAlive / time.Second),
		UsernameFlag: true, Username: u.id.Unit, PasswordFlag: u.id.Token != "", Password: []byte(u.id.Token),
	})
	if err != nil {
		if answer != nil {
			return false, fmt.Errorf("the server refuses the connection, reason 0x%02x: %w", answer.ReasonCode, err)
		}
		return false, err
	}
	defer func() { _ = c.Disconnect(&paho.Disconnect{}) }()
	if _, err := c.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: "fettle/v1/desired"}, {Topic: "fettle/v1/notice"}}}); err != nil {
		return false, fmt.Errorf("subscribe: %w", err)
	}
	u.online.Store(true)
	u.log.Info("connected over MQTT", "server", address)
	publish := publishFunc(func(ctx context.Context, kind string, payload []byte) error {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		r, err := c.Publish(ctx, &paho.Publish{Topic: "fettle/v1/" + kind, QoS: 1, Payload: payload})
		if r != nil && r.ReasonCode == packets.PubackPayloadFormatInvalid {
			if r.Properties != nil && r.Properties.ReasonString != "" {
				return fmt.Errorf("%w: %s", errUnsendable, r.Properties.ReasonString)
			}
			return errUnsendable
		}
		return err
	})
	u.mqttNow.Store(&publish)
	u.settle()
	defer u.mqttNow.Store(nil)
	for {
		if u.t.policy.known() { // before, nothing is kept that could be sent
			more, err := u.send(ctx, publish)
			if err != nil {
				return true, err
			}
			if more {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case err := <-failed:
			return true, err
		case <-c.Done():
			return true, errors.New("the connection ended")
		case <-u.t.spool.More():
		case <-time.After(time.Minute): // what may be collected was heard meanwhile, say
		}
	}
}

// heard takes what the server sends (api/asyncapi.yaml).
func (u *uplink) heard(topic string, payload []byte) {
	switch topic {
	case "fettle/v1/desired":
		if err := u.desired(payload); err != nil {
			u.log.Warn("what the unit is to do could not be kept", "err", err)
		}
	case "fettle/v1/notice":
		u.wake()
	}
}

// overHTTPS sends for a while what there is.
func (u *uplink) overHTTPS(ctx context.Context, until time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, until)
	defer cancel()
	for next := time.Duration(0); ; {
		if next <= 0 {
			raw, err := u.call(ctx, http.MethodGet, "/fettle/v1/desired", nil)
			if err != nil {
				return quiet(ctx, err)
			}
			if err := u.desired(raw); err != nil {
				return err
			}
			u.online.Store(true)
			next = u.every
		}
		more, err := u.send(ctx, func(ctx context.Context, kind string, payload []byte) error {
			_, err := u.call(ctx, http.MethodPost, "/fettle/v1/"+kind, payload)
			return err
		})
		if err != nil {
			return quiet(ctx, err)
		}
		if more {
			continue
		}
		begun := time.Now() //nolint:forbidigo // a stopwatch
		select {
		case <-ctx.Done():
			return nil
		case <-u.t.spool.More():
			if !pause(ctx, time.Second) { // a few at once
				return nil
			}
		case <-u.asked:
			next = 0
		case <-time.After(next):
		}
		next -= time.Since(begun)
	}
}

// quiet is err unless the time was over.
func quiet(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// call sends a request with the unit's credential.
func (u *uplink) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var in io.Reader
	if body != nil {
		in = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimRight(u.server, "/")+path, in)
	if err != nil {
		return nil, err
	}
	if u.id.Token != "" { // else there is a client certificate
		req.SetBasicAuth(u.id.Unit, u.id.Token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode/100 == 2:
		return raw, nil
	case res.StatusCode == http.StatusBadRequest, res.StatusCode == http.StatusRequestEntityTooLarge, res.StatusCode == http.StatusUnprocessableEntity:
		return nil, fmt.Errorf("%w: %w", errUnsendable, &statusError{res.StatusCode, path, string(raw)})
	default:
		return nil, &statusError{res.StatusCode, path, string(raw)}
	}
}

// statusError is an answer of the server that is no success.
type statusError struct {
	code int
	path string
	body string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s: the server answered %d %.200s", e.path, e.code, e.body)
}
