package deliver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"fettle.dev/fettle/internal/api/linked"
	"fettle.dev/fettle/internal/api/messages"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/event"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/send/bounce"
)

// Pages serves what stands behind the links of messages, at ticket.Path.
func (d *Delivery) Pages() http.Handler {
	return linked.New(linked.Config{
		Log: d.log, Messages: d.store, Desk: d.Desk, Links: d.Links, Sender: d.sender, ErrNoReport: bounce.ErrNoReport,
		Unsubscribe: d.Unsubscribe,
		ReadBounce: func(raw io.Reader, recipient string) (hear.Report, error) {
			return bounce.Read(raw, recipient, d.Links.Signer)
		},
		ReadReceipt: func(name, ticket, contentType string, query url.Values, body []byte) (hear.Report, bool, error) {
			for _, g := range d.gateways {
				if g.Health().Name == name {
					return g.ReadReceipt(ticket, contentType, query, body)
				}
			}
			return hear.Report{}, false, fault.New(fault.NotFound, "no gateway %q", name)
		},
	})
}

// Operations is what the API serves of messages.
func (d *Delivery) Operations(shown clock.Clock, ids clock.IDs) messages.Deps {
	return messages.Deps{
		Store: d.store, Desk: d.Desk, Addresses: d.Addresses, Events: d.Events, Pushes: d.Pushes, PushKey: d.PushKeys.Public,
		Gateways: d.gatewayHealth, Now: shown.Now, ID: ids.ID,
	}
}

func (d *Delivery) gatewayHealth() (out []messages.GatewayHealth) {
	for _, ch := range notify.Channels {
		if w, ok := d.health[ch]; ok {
			out = append(out, w.health(ch))
		}
		for _, g := range d.gateways {
			if h := g.Health(); h.Channel == ch {
				out = append(out, messages.GatewayHealth(h))
			}
		}
	}
	return out
}

// watched is a sender that remembers how it did.
type watched struct {
	notify.Sender
	clock clock.Clock

	mu       sync.Mutex
	sent     time.Time
	failed   time.Time
	last     string
	failures int
}

// Send sends, and remembers how it went.
func (w *watched) Send(ctx context.Context, m notify.Message) (string, error) {
	id, err := w.Sender.Send(ctx, m)
	w.note(ctx, err)
	return id, err
}

// Pipe sends one after another.
func (w *watched) Pipe(ctx context.Context, next func() (notify.Message, bool), sent func(notify.Message, string, error)) {
	note := func(m notify.Message, id string, err error) {
		w.note(ctx, err)
		sent(m, id, err)
	}
	if p, ok := w.Sender.(notify.Pipeliner); ok {
		p.Pipe(ctx, next, note)
		return
	}
	if m, ok := next(); ok {
		id, err := w.Sender.Send(ctx, m)
		note(m, id, err)
	}
}

// note remembers how an attempt went. What is wrong with one message says
// nothing of the channel.
func (w *watched) note(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch kind := fault.KindOf(err); {
	case err == nil:
		w.sent, w.failures, w.last = w.clock.Now(), 0, ""
	case kind != fault.Invalid && kind != fault.NotFound:
		w.failed, w.failures, w.last = w.clock.Now(), w.failures+1, err.Error()
	}
}

func (w *watched) health(ch notify.Channel) messages.GatewayHealth {
	w.mu.Lock()
	defer w.mu.Unlock()
	return messages.GatewayHealth{Name: string(ch), Channel: ch, SentAt: w.sent, FailedAt: w.failed, LastError: w.last, Failures: w.failures}
}

// switchedOff tells who is named with an endpoint that it was switched off.
func (d *Delivery) switchedOff(ids clock.IDs, shown clock.Clock) func(context.Context, event.Endpoint) error {
	return func(ctx context.Context, e event.Endpoint) error {
		d.log.WarnContext(ctx, "webhook endpoint switched off", "endpoint", e.Name, "why", e.OffWhy)
		if e.Contact == "" {
			return nil
		}
		link := d.Links.URL + "/console/delivery?tab=webhooks"
		_, err := d.store.Enqueue(ctx, notify.Message{
			ID: ids.ID(), Key: fmt.Sprintf("webhook-off:%s:%d", e.Name, e.OffAt.UnixMilli()), Channel: notify.Mail, To: e.Contact, Kind: notify.Operations,
			Subject: "Webhook " + e.Name + " is switched off", CreatedAt: shown.Now(), Link: link,
			Body: "Events are no longer sent to the endpoint " + e.Name + ":\n\n" + e.OffWhy + "\n\nPut it right, then switch it on again. What happened meanwhile is not sent.\n\n" + link + "\n",
		})
		return err
	}
}

// marked tells endpoints of an owner's address that stopped working.
func (d *Delivery) marked(ctx context.Context, a hear.Address) error {
	if a.OwnerID == "" {
		return nil
	}
	return d.Events.Publish(ctx, event.Event{
		ID: "address:" + a.MessageID, Type: event.AddressBouncing, Subject: "owners/" + a.OwnerID, Time: a.Since,
		Data: map[string]any{"ownerId": a.OwnerID, "channel": a.Channel, "state": a.State, "messageId": a.MessageID},
	})
}
