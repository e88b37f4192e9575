package app

import (
	"context"

	"fettle.dev/fettle/internal/app/deliver"
)

// messagesKey is the file of the key that links in messages are signed with and
// secrets of webhooks are sealed with. It stands in no backup.
const messagesKey = "messages-key"

// sentJournal is the file of what was sent and is not in the records yet.
const sentJournal = "sent-journal"

// delivers builds what carries messages out of the house.
func (h *house) delivers(ctx context.Context) error {
	key, err := h.config.key(messagesKey)
	if err != nil {
		return err
	}
	c := h.config
	inside := c.OutgoingNetworks
	if c.Dev && inside == "" {
		inside = "127.0.0.0/8,::1"
	}
	h.delivery, err = deliver.New(ctx, deliver.Config{
		Settings: deliver.Settings{
			SMTP: c.SMTP, MailFrom: c.MailFrom, MailReplyTo: c.MailReplyTo, MailBounces: c.MailBounces, MailConnections: c.MailConnections,
			DKIMKey: c.DKIMKey, DKIMSelector: c.DKIMSelector, DKIMDomain: c.DKIMDomain, WebhookSecret: c.WebhookSecret, Networks: inside, Gateways: c.Gateways,
		},
		Records: h.records, Clock: h.clock, IDs: h.ids, Log: h.log, PublicURL: c.publicURL(), Key: key, Journal: c.path(sentJournal), Console: c.Dev,
	})
	if err != nil {
		return err
	}
	h.closers = append(h.closers, h.delivery.Close)
	if !h.delivery.Mails {
		h.notes = append(h.notes, note{"mail", "no smtp is set: owners cannot sign in, and nobody is told anything by mail"})
	}
	return nil
}
