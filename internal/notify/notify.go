// Package notify sends words to people: templates by language, a message with
// its deliveries, and channels (mail, webhook). A message with a key is sent
// once, however often it is asked for.
package notify

import (
	"context"
	"time"
)

// Channel carries messages.
type Channel string

// The channels.
const (
	Mail    Channel = "mail"
	Webhook Channel = "webhook"
)

// Message is something to be told. Key makes it unique: a second message with
// the same key is not kept.
type Message struct {
	ID        string    `json:"id"`
	Key       string    `json:"key"`
	Channel   Channel   `json:"channel"`
	To        string    `json:"to"` // address or URL
	OwnerID   string    `json:"ownerId,omitempty"`
	Subject   string    `json:"subject"`
	Body      string    `json:"-"` // plain text (mail) or JSON (webhook); may hold a link that signs in
	CreatedAt time.Time `json:"createdAt"`
	SentAt    time.Time `json:"sentAt,omitzero"`
	Attempts  int       `json:"attempts"`
	LastError string    `json:"lastError,omitempty"`
	NextAt    time.Time `json:"-"`
}

// Route sends new findings to engineers: product "" and severity "" match all.
type Route struct {
	Name     string  `json:"name"`
	Product  string  `json:"product,omitempty"`
	Severity string  `json:"severity,omitempty" doc:"Least severity."`
	Channel  Channel `json:"channel" enum:"mail,webhook"`
	To       string  `json:"to"`
}

// Store keeps messages and routes.
type Store interface {
	Enqueue(ctx context.Context, m Message) (fresh bool, err error)
	Due(ctx context.Context, now time.Time, limit int) ([]Message, error)
	UpdateMessage(ctx context.Context, id string, change func(*Message) error) error
	Messages(ctx context.Context, ownerID string, limit int) ([]Message, error) // newest first
	PutRoute(ctx context.Context, r Route) error
	Routes(ctx context.Context) ([]Route, error)
	DeleteRoute(ctx context.Context, name string) error
}

// Sender hands one message to a channel.
type Sender interface {
	Send(ctx context.Context, m Message) error
}
