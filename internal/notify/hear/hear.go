// Package hear takes in what is heard of messages after they were sent: bounces
// and complaints (Reports read from mail), gateways' receipts, and what people
// acknowledge. It marks addresses that do not work, so that no more is sent to
// them but what safety demands.
package hear

import (
	"context"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
)

// AddressState is why an address is not written to.
type AddressState string

// The states.
const (
	Bouncing    AddressState = "bouncing"   // it does not exist, or takes nothing
	Complaining AddressState = "complained" // whoever reads it called a message spam
)

// Address is one that is marked.
type Address struct {
	Channel   notify.Channel `json:"channel"`
	Address   string         `json:"address"`
	State     AddressState   `json:"state" enum:"bouncing,complained"`
	Why       string         `json:"why"`
	Since     time.Time      `json:"since"`
	MessageID string         `json:"messageId,omitempty"` // that told
	OwnerID   string         `json:"ownerId,omitempty"`
}

// Addresses keeps marks.
type Addresses interface {
	// Mark keeps a mark; one that is there already stays, but a complaint
	// replaces a bounce.
	Mark(ctx context.Context, a Address) error
	// Marked is an address's mark; fault.NotFound: it has none.
	Marked(ctx context.Context, ch notify.Channel, address string) (Address, error)
	// MarkedAmong are the marks of some addresses, by address in lower case.
	MarkedAmong(ctx context.Context, ch notify.Channel, addresses []string) (map[string]Address, error)
	// MarkedAddresses lists marks by channel and address, after a cursor
	// ("channel address"), or those of one owner.
	MarkedAddresses(ctx context.Context, ownerID, after string, limit int) ([]Address, error)
	// Unmark forgets a mark; fault.NotFound: there is none.
	Unmark(ctx context.Context, ch notify.Channel, address string) error
}

// Desk takes in what is heard.
type Desk struct {
	store     notify.Store
	addresses Addresses
	tx        fleet.Transactor
	clock     clock.Clock // times people read
	machine   clock.Clock // the next attempt

	// OnAcknowledged is told of a message that was acknowledged, OnMarked of an
	// address that was marked, in the transaction that keeps it; they may be nil,
	// and are set before use.
	OnAcknowledged func(ctx context.Context, m notify.Message) error
	OnMarked       func(ctx context.Context, a Address) error
}

// NewDesk makes a desk.
func NewDesk(store notify.Store, a Addresses, tx fleet.Transactor, shown, machine clock.Clock) *Desk {
	return &Desk{store: store, addresses: a, tx: tx, clock: shown, machine: machine}
}

// Suppressed says which messages are not to be sent to their addresses, and why,
// by id: they bounce, or a complaint came from them. Safety notices are tried in spite of it: an address
// may work again, and the attempt is owed (GPSR art. 35). So are the links that
// people ask for, to a bouncing address: somebody who asks says that it works.
func (d *Desk) Suppressed(ctx context.Context, all []notify.Message) (why map[string]string, err error) {
	ask := map[notify.Channel][]string{}
	for _, m := range all {
		if held(m) {
			ask[m.Channel] = append(ask[m.Channel], m.To)
		}
	}
	why = map[string]string{}
	for ch, list := range ask {
		marks, err := d.addresses.MarkedAmong(ctx, ch, list)
		if err != nil {
			return nil, fmt.Errorf("addresses that do not work: %w", err)
		}
		for _, m := range all {
			a, ok := marks[strings.ToLower(m.To)]
			switch {
			case m.Channel != ch || !ok || !held(m):
			case a.State == Complaining:
				why[m.ID] = "not sent: a complaint came from this address on " + a.Since.Format(time.DateOnly)
			default:
				why[m.ID] = "not sent: what is sent to this address comes back since " + a.Since.Format(time.DateOnly) + ": " + a.Why
			}
		}
	}
	return why, nil
}

// held reports whether a message is not sent to an address that does not work.
func held(m notify.Message) bool {
	return m.Kind != notify.Safety && m.Kind != notify.Account && m.Channel != notify.Webhook
}

// Refused marks the address of a message that the next hop says does not exist.
func (d *Desk) Refused(ctx context.Context, m notify.Message) error {
	return d.mark(ctx, Address{m.Channel, m.To, Bouncing, short(m.LastError), d.clock.Now(), m.ID, m.OwnerID})
}

func (d *Desk) mark(ctx context.Context, a Address) error {
	return d.tx.InTx(ctx, func(ctx context.Context) error {
		if err := d.addresses.Mark(ctx, a); err != nil || d.OnMarked == nil {
			return err
		}
		return d.OnMarked(ctx, a)
	})
}

// Report is what was heard of a message.
type Report struct {
	MessageID string
	Result    notify.Result // Arrived, Bounce, Delay, Complaint; Refused: a gateway's "failed"
	Detail    string
	Gone      bool // a bounce that says that the address does not exist, or takes nothing for good
	Soft      bool // a bounce after which another try may do
}

// A message that comes back for now is sent again, as mail servers do, for
// three days.
const (
	softWait = 8 * time.Hour
	softFor  = 72 * time.Hour
)

// Heard keeps a report, once an attempt. A bounce for good and a complaint mark the
// message's address.
func (d *Desk) Heard(ctx context.Context, r Report) (fresh bool, err error) {
	now := d.clock.Now()
	err = d.tx.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.Message(ctx, r.MessageID)
		if err != nil {
			return err
		}
		fresh, err = d.store.Heard(ctx, notify.Delivery{MessageID: m.ID, At: now, Channel: m.Channel, Attempt: m.Attempts, Result: r.Result, Detail: short(r.Detail)}, func(m *notify.Message) error {
			switch r.Result {
			case notify.Arrived:
				if m.State == notify.Sent || m.State == notify.Queued {
					m.State = notify.Delivered
				}
				m.DeliveredAt = now
			case notify.Bounce, notify.Refused:
				m.State, m.LastError, m.NextAt = notify.Bounced, short(r.Detail), time.Time{}
				if r.Soft && now.Sub(m.CreatedAt) < softFor && !m.Secret {
					m.State, m.NextAt = notify.Queued, d.machine.Now().Add(softWait)
				}
			case notify.Complaint:
				m.State = notify.Complained
			case notify.Accepted, notify.Deferred, notify.Delay, notify.Acknowledged:
			}
			return nil
		})
		if err != nil || !fresh {
			return err
		}
		switch {
		case r.Result == notify.Bounce && r.Gone:
			return d.mark(ctx, Address{m.Channel, m.To, Bouncing, short(r.Detail), now, m.ID, m.OwnerID})
		case r.Result == notify.Complaint:
			return d.mark(ctx, Address{m.Channel, m.To, Complaining, short(r.Detail), now, m.ID, m.OwnerID})
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("heard of message %s: %w", r.MessageID, err)
	}
	return fresh, nil
}

// Acknowledge notes that a message was read; once. An address that its reader
// answers from works.
func (d *Desk) Acknowledge(ctx context.Context, messageID string, via notify.Via) (fresh bool, err error) {
	now := d.clock.Now()
	err = d.tx.InTx(ctx, func(ctx context.Context) error {
		m, err := d.store.Message(ctx, messageID)
		if err != nil {
			return err
		}
		if !m.Acknowledge {
			return fault.New(fault.Conflict, "message %s does not ask to be acknowledged", messageID)
		}
		fresh, err = d.store.Heard(ctx, notify.Delivery{MessageID: m.ID, At: now, Channel: m.Channel, Result: notify.Acknowledged, Detail: string(via)}, func(m *notify.Message) error {
			m.AckedAt, m.AckedVia = now, via
			if via == notify.ViaLink && (m.State == notify.Sent || m.State == notify.Bounced) {
				m.State, m.DeliveredAt = notify.Delivered, now
			}
			return nil
		})
		if err != nil || !fresh {
			return err
		}
		if d.OnAcknowledged != nil {
			m.AckedAt, m.AckedVia = now, via
			if err := d.OnAcknowledged(ctx, m); err != nil {
				return err
			}
		}
		if via != notify.ViaLink {
			return nil
		}
		a, err := d.addresses.Marked(ctx, m.Channel, m.To)
		if err == nil && a.State == Bouncing {
			return d.addresses.Unmark(ctx, m.Channel, m.To)
		}
		if fault.KindOf(err) == fault.NotFound {
			return nil
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("acknowledge: %w", err)
	}
	return fresh, nil
}

// Resend queues a message again, at once: its address may have been put right.
func (d *Desk) Resend(ctx context.Context, messageID string) error {
	return d.store.UpdateMessage(ctx, messageID, func(m *notify.Message) error {
		switch {
		case m.State == notify.Queued && m.Attempts == 0:
			return fault.New(fault.Conflict, "message %s waits to be sent for the first time", messageID)
		case m.Secret && m.Body == "":
			return fault.New(fault.Conflict, "message %s held a secret and was forgotten when it was sent: ask for a new one", messageID)
		case m.Channel == notify.Letter || m.Channel == notify.Call:
			return fault.New(fault.Conflict, "message %s is worked off by people", messageID)
		}
		m.State, m.NextAt, m.LastError = notify.Queued, d.machine.Now(), ""
		return nil
	})
}

// short cuts what another side said: enough to understand it.
func short(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xc0 == 0x80 { // not inside a letter
		cut--
	}
	return s[:cut] + "…"
}
