package feed

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/tip/outside"
)

// hearing is an MQTT feed: a connection to its broker, held as long as the
// feed is declared.
type hearing struct {
	f        *Feeds
	n        name
	declared fleet.Feed
	cancel   context.CancelFunc
	news     chan struct{}

	mu     sync.Mutex
	topics map[string][]string // places by topic
}

func newHearing(ctx context.Context, under *sync.WaitGroup, f *Feeds, n name, declared fleet.Feed) *hearing {
	ctx, cancel := context.WithCancel(ctx)
	h := &hearing{f: f, n: n, declared: declared, cancel: cancel, news: make(chan struct{}, 1), topics: map[string][]string{}}
	under.Go(func() { h.run(ctx) })
	return h
}

func (h *hearing) same(declared *fleet.Feed) bool { return reflect.DeepEqual(h.declared, *declared) }

// want says which places are to be heard of.
func (h *hearing) want(places []fleet.Place) {
	topics := map[string][]string{}
	for i := range places {
		if topic, err := h.f.fill(h.declared.MQTT.Topic, &places[i], func(s string) string { return s }); err == nil {
			topics[topic] = append(topics[topic], places[i].Key)
		}
	}
	h.mu.Lock()
	changed := !reflect.DeepEqual(topics, h.topics)
	h.topics = topics
	h.mu.Unlock()
	if changed {
		select {
		case h.news <- struct{}{}:
		default:
		}
	}
}

func (h *hearing) wanted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for topic := range h.topics {
		out = append(out, topic)
	}
	slices.Sort(out)
	return out
}

// run connects again and again until ctx ends.
func (h *hearing) run(ctx context.Context) {
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		begun := h.f.c.Wall.Now()
		err := h.session(ctx)
		if ctx.Err() != nil {
			return
		}
		h.f.failed(h.n, fmt.Errorf("%s: %w", hostOf(h.declared.MQTT.Address), err))
		if h.f.c.Wall.Now().Sub(begun) > time.Minute {
			pause = time.Second
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// session is one connection, to its end.
func (h *hearing) session(ctx context.Context) error {
	for len(h.wanted()) == 0 { // nobody's units need it
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.news:
		}
	}
	password := ""
	if h.declared.MQTT.Password != "" {
		p, err := h.f.fill(h.declared.MQTT.Password, &fleet.Place{}, func(s string) string { return s })
		if err != nil {
			return err
		}
		password = p
	}
	conn, err := h.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ended := make(chan error, 2)
	end := func(err error) {
		select {
		case ended <- err:
		default:
		}
	}
	client := paho.NewClient(paho.ClientConfig{
		Conn:          conn,
		PacketTimeout: 10 * time.Second,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			h.message(ctx, r.Packet)
			return true, nil
		}},
		OnClientError: end,
		OnServerDisconnect: func(d *paho.Disconnect) {
			end(fmt.Errorf("the broker ended the connection (reason 0x%02X)", d.ReasonCode))
		},
	})
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails since Go 1.24
	connect := &paho.Connect{KeepAlive: 30, ClientID: "fettle-" + hex.EncodeToString(id), CleanStart: true}
	if h.declared.MQTT.Username != "" {
		connect.Username, connect.UsernameFlag = h.declared.MQTT.Username, true
	}
	if password != "" {
		connect.Password, connect.PasswordFlag = []byte(password), true
	}
	if _, err := client.Connect(ctx, connect); err != nil {
		return errors.New("the broker refuses the connection: " + err.Error())
	}
	defer func() { _ = client.Disconnect(&paho.Disconnect{}) }() // the connection is closed in any case
	return h.subscribed(ctx, client, ended)
}

// subscribed keeps the subscriptions what is wanted until the connection ends.
func (h *hearing) subscribed(ctx context.Context, client *paho.Client, ended <-chan error) error {
	var have []string
	for {
		want := h.wanted()
		var add []paho.SubscribeOptions
		for _, topic := range want {
			if !slices.Contains(have, topic) {
				add = append(add, paho.SubscribeOptions{Topic: topic, QoS: 1})
			}
		}
		if len(add) > 0 {
			if _, err := client.Subscribe(ctx, &paho.Subscribe{Subscriptions: add}); err != nil {
				return fmt.Errorf("the broker refuses the subscription: %w", err)
			}
		}
		var drop []string
		for _, topic := range have {
			if !slices.Contains(want, topic) {
				drop = append(drop, topic)
			}
		}
		if len(drop) > 0 {
			if _, err := client.Unsubscribe(ctx, &paho.Unsubscribe{Topics: drop}); err != nil {
				return err
			}
		}
		have = want
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return err
		case <-h.news:
		}
	}
}

func (h *hearing) dial(ctx context.Context) (net.Conn, error) {
	u, err := url.Parse(h.declared.MQTT.Address)
	if err != nil {
		return nil, errors.New("the address cannot be read")
	}
	port, secure := u.Port(), u.Scheme == "mqtts"
	if port == "" {
		port = map[bool]string{true: "8883", false: "1883"}[secure]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	if secure {
		d := tls.Dialer{NetDialer: h.f.dialer(), Config: &tls.Config{MinVersion: tls.VersionTLS12}}
		return d.DialContext(ctx, "tcp", address)
	}
	return h.f.dialer().DialContext(ctx, "tcp", address)
}

// message takes what the broker sends. What it has kept from before says
// nothing of now, unless it says of when it is.
func (h *hearing) message(ctx context.Context, m *paho.Publish) {
	h.mu.Lock()
	places := slices.Clone(h.topics[m.Topic])
	h.mu.Unlock()
	if len(places) == 0 || m.Retain && h.declared.Time == "" {
		return
	}
	if len(m.Payload) > maxBody {
		h.f.failed(h.n, fmt.Errorf("a message of more than %d bytes", maxBody))
		return
	}
	values, at, err := outside.Read(&h.declared, m.Payload, h.f.c.Clock.Now())
	if err != nil {
		h.f.failed(h.n, err)
		return
	}
	for _, place := range places {
		if err := h.f.said(ctx, h.n, place, values, at); err != nil && ctx.Err() == nil {
			h.f.failed(h.n, err)
		}
	}
}
