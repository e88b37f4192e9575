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
	NextAt    time.Time `json:"-"`                  // next attempt, by the machine's clock; zero when enqueued: at once
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // by the machine's clock: not sent after this, and Body forgotten once done
}

// Route sends new findings to engineers: product "" and severity "" match all.
type Route struct {
	Name     string  `json:"name"`
	Product  string  `json:"product,omitempty"`
	Severity string  `json:"severity,omitempty" doc:"Least severity."`
	Channel  Channel `json:"channel" enum:"mail,webhook"`
	To       string  `json:"to"`
}

// News is a new finding that a route has to be told of, once.
type News struct {
	Route      string
	FindingID  string
	Product    string
	Detector   string
	Severity   string
	UnitID     string
	Why        string
	OpenedAt   time.Time
	AddedAt    time.Time // by the machine's clock
	MessageKey string    // of the digest that told it
}

// Store keeps messages, routes and news.
type Store interface {
	Enqueue(ctx context.Context, m Message) (fresh bool, err error)
	// Due are messages of a channel to be attempted by now, those waiting longest first.
	Due(ctx context.Context, ch Channel, now time.Time, limit int) ([]Message, error)
	// SaveAttempts keeps SentAt, Attempts, LastError and NextAt of messages; one
	// with a zero NextAt is done.
	SaveAttempts(ctx context.Context, all []Message) error
	// Sent reports whether the message with a key has been delivered; one that is not known has not.
	Sent(ctx context.Context, key string) (bool, error)
	UpdateMessage(ctx context.Context, id string, change func(*Message) error) error
	Messages(ctx context.Context, ownerID string, limit int) ([]Message, error) // newest first
	PutRoute(ctx context.Context, r Route) error
	Routes(ctx context.Context) ([]Route, error)
	DeleteRoute(ctx context.Context, name string) error

	// AddNews keeps what is not known yet by finding and route.
	AddNews(ctx context.Context, all []News) error
	// UntoldNews is everything untold, if some of it was added by a time; at most limit.
	UntoldNews(ctx context.Context, addedBy time.Time, limit int) ([]News, error)
	// MarkNews notes the message that tells news; only what is still untold counts as marked.
	MarkNews(ctx context.Context, all []News) error
}

// Sender hands one message to a channel. An error of kind fault.Invalid says
// that no other attempt can succeed.
type Sender interface {
	Send(ctx context.Context, m Message) error
}
