// Package deliver wires what carries messages out of the house and what comes
// back of them.
package deliver

import (
	"errors"
	"log/slog"
	"os"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/send"
	"fettle.dev/fettle/internal/send/journal"
	"fettle.dev/fettle/internal/send/mail"
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

	closers []func() error
}

// New builds what carries messages.
func New(c Config) (*Delivery, error) {
	wall := clock.Real{}
	store := message.New(c.Records)
	d := &Delivery{Links: ticket.Links{Signer: ticket.New(c.Key), URL: c.PublicURL}, Addresses: message.Addresses(c.Records)}
	d.Desk = hear.NewDesk(store, d.Addresses, c.Records, c.Clock, wall)
	senders := map[notify.Channel]notify.Sender{notify.Webhook: send.NewWebhook(c.WebhookSecret, wall)}
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
	d.Dispatcher = notify.NewDispatcher(store, c.Log, notify.DispatcherConfig{
		Senders: senders, Workers: map[notify.Channel]int{notify.Mail: c.MailConnections}, Shown: c.Clock, Machine: wall,
		Journal: sent, Suppressed: d.Desk.Suppressed, Refused: d.Desk.Refused,
	})
	return d, nil
}

// Close ends connections.
func (d *Delivery) Close() error {
	var all []error
	for _, f := range d.closers {
		all = append(all, f())
	}
	return errors.Join(all...)
}
