// Package deliver wires what carries messages out of the house and what comes
// back of them.
package deliver

import (
	"context"
	"errors"
	"log/slog"
	netmail "net/mail"
	"os"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/event"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/notify/push"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/reach"
	"fettle.dev/fettle/internal/send"
	"fettle.dev/fettle/internal/send/gateway"
	"fettle.dev/fettle/internal/send/journal"
	"fettle.dev/fettle/internal/send/mail"
	sendpush "fettle.dev/fettle/internal/send/push"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
)

// Settings are what an operator sets of it, as a part of the configuration.
type Settings struct {
	SMTP            string
	MailFrom        string
	MailReplyTo     string
	MailBounces     string
	MailConnections int
	DKIMKey         string
	DKIMSelector    string
	DKIMDomain      string
	WebhookSecret   string
	Networks        string // inner ones that may be called
	Gateways        []gateway.Config
}

// Config is what it is built of.
type Config struct {
	Settings
	Records   *sqldb.DB
	Clock     clock.Clock // times people read
	IDs       clock.IDs
	Log       *slog.Logger
	PublicURL string
	Key       []byte // ticket.KeySize random bytes
	Journal   string // file
	Console   bool   // print mails where no server is set; for development alone
}

// Delivery is what was built.
type Delivery struct {
	Dispatcher *notify.Dispatcher
	Links      ticket.Links
	Desk       *hear.Desk
	Addresses  hear.Addresses
	Mails      bool // somebody can be told something by mail
	Events     *event.Service
	Pushes     push.Store
	PushKeys   sendpush.Keys
	// Unsubscribe ends a kind of messages for an owner; set before it is served.
	Unsubscribe func(ctx context.Context, ownerID string, kind notify.Kind) error

	log       *slog.Logger
	sender    string
	store     notify.Store
	detectors condition.Store
	gateways  []*gateway.Gateway
	health    map[notify.Channel]*watched

	closers []func() error
}

// New builds what carries messages.
func New(ctx context.Context, c Config) (*Delivery, error) {
	wall := clock.Real{}
	store := message.New(c.Records)
	inside, err := reach.Parse(c.Networks)
	if err != nil {
		return nil, err
	}
	d := &Delivery{
		Links: ticket.Links{Signer: ticket.New(c.Key), URL: c.PublicURL}, Addresses: message.Addresses(c.Records), Pushes: message.Pushes(c.Records),
		log: c.Log, store: store, detectors: c.Records.Condition(), health: map[notify.Channel]*watched{},
	}
	if d.Events, err = event.NewService(event.Config{
		Store: message.Endpoints(c.Records), Messages: store, Tx: c.Records, Clock: c.Clock, Machine: wall, IDs: c.IDs, Source: c.PublicURL, Key: c.Key,
		OffNotice: d.switchedOff(c.IDs, c.Clock),
	}); err != nil {
		return nil, err
	}
	d.Desk = hear.NewDesk(store, d.Addresses, c.Records, c.Clock, wall)
	d.Desk.OnAcknowledged = d.acknowledged
	d.Desk.OnMarked = d.marked
	if d.PushKeys, err = sendpush.LoadKeys(ctx, d.Pushes, c.Key); err != nil {
		return nil, err
	}
	from := &netmail.Address{Address: "fettle@localhost"}
	if parsed, err := netmail.ParseAddress(c.MailFrom); err == nil {
		from = parsed
	}
	if d.sender = from.Name; d.sender == "" {
		_, d.sender, _ = strings.Cut(from.Address, "@")
	}
	senders := map[notify.Channel]notify.Sender{
		notify.Webhook: send.NewWebhook(c.WebhookSecret, d.Events, wall, inside),
		notify.Push:    sendpush.New(d.Pushes, d.PushKeys, from.Address, d.Links, wall, inside),
	}
	for _, conf := range c.Gateways {
		g, err := gateway.New(conf, d.Links, wall, inside)
		if err != nil {
			return nil, err
		}
		if _, taken := senders[g.Channel()]; taken {
			return nil, fault.New(fault.Invalid, "gateways: %s is the second of channel %s; one carries it", conf.Name, conf.Channel)
		}
		d.gateways = append(d.gateways, g)
		senders[g.Channel()] = g
	}
	switch {
	case c.SMTP != "":
		conf := mail.Config{
			Server: c.SMTP, From: c.MailFrom, ReplyTo: c.MailReplyTo, ReturnPath: c.MailBounces, Conns: c.MailConnections, Links: d.Links,
		}
		if c.DKIMKey != "" {
			conf.DKIM = &mail.DKIM{KeyFile: c.DKIMKey, Selector: c.DKIMSelector, Domain: c.DKIMDomain}
		}
		smtp, err := mail.New(conf)
		if err != nil {
			return nil, err
		}
		d.closers = append(d.closers, smtp.Close)
		senders[notify.Mail] = smtp
	case c.Console:
		senders[notify.Mail] = send.NewConsole(os.Stderr)
	}
	_, d.Mails = senders[notify.Mail]
	sent, err := journal.Open(c.Journal)
	if err != nil {
		return nil, err
	}
	d.closers = append(d.closers, sent.Close)
	for _, ch := range []notify.Channel{notify.Mail, notify.Webhook, notify.Push} {
		if s, ok := senders[ch]; ok {
			d.health[ch] = &watched{Sender: s, clock: wall}
			senders[ch] = d.health[ch]
		}
	}
	d.Dispatcher = notify.NewDispatcher(store, c.Log, notify.DispatcherConfig{
		Senders: senders, Workers: map[notify.Channel]int{notify.Mail: c.MailConnections, notify.Webhook: 16, notify.Push: 8}, Shown: c.Clock, Machine: wall,
		Journal: sent, Suppressed: d.Desk.Suppressed, Refused: d.Desk.Refused,
	})
	return d, nil
}

// Carries reports whether a channel's messages leave the house, at once or once
// there is a way: texts and voice need a gateway.
func (d *Delivery) Carries(ch notify.Channel) bool {
	return ch != notify.SMS && ch != notify.Voice || slices.ContainsFunc(d.gateways, func(g *gateway.Gateway) bool { return g.Channel() == ch })
}

// Close ends connections.
func (d *Delivery) Close() error {
	var all []error
	for _, f := range d.closers {
		all = append(all, f())
	}
	return errors.Join(all...)
}
