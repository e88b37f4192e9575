// Package notify sends words to people: templates by language, a message with
// its deliveries and its acknowledgement, and channels. A message with a key is
// sent once, however often it is asked for.
package notify

import (
	"context"
	"time"
)

// Channel carries messages.
type Channel string

// The channels. Letter and Call have no sender: people work them off.
const (
	Mail    Channel = "mail"
	SMS     Channel = "sms"
	Voice   Channel = "voice" // a call that a machine makes and reads out
	Push    Channel = "push"  // web push, to browsers and phones
	Webhook Channel = "webhook"
	Letter  Channel = "letter"
	Call    Channel = "call" // a call that a person makes
)

// Channels lists them all.
var Channels = []Channel{Mail, SMS, Voice, Push, Webhook, Letter, Call}

// Kind is why somebody is told something. It decides whether an owner may
// switch it off, and what is sent first.
type Kind string

// The kinds.
const (
	Safety   Kind = "safety"   // recalls too: never switched off (GPSR art. 35)
	Security Kind = "security" // security of the product or of the account
	Service  Kind = "service"  // maintenance, repairs, how an update went
	Feature  Kind = "feature"  // what is new
	Tip      Kind = "tip"      // how to use it better
	Account  Kind = "account"  // asked for by whoever gets it: sign-in links, receipts

	Operations Kind = "operations" // findings and other events, to those who run the service and to their programs
)

// Urgencies are the values that Kind.Urgency has.
const Urgencies = 3

// Kinds lists those that owners get.
var Kinds = []Kind{Safety, Security, Service, Feature, Tip, Account}

// Urgency orders the queue: 0 is sent before 1, and 1 before 2, so that no
// sign-in link waits behind 100,000 tips.
func (k Kind) Urgency() int {
	switch k {
	case Account:
		return 0
	case Safety, Security, Operations:
		return 1
	default:
		return 2
	}
}

// Optional reports whether an owner may do without messages of this kind.
func (k Kind) Optional() bool { return k == Service || k == Feature || k == Tip }

// State says where a message is.
type State string

// The states. Sent is taken by the next hop (a mail server, a gateway); that it
// reached somebody is Delivered, of which mail seldom hears.
const (
	Queued     State = "queued"
	Sent       State = "sent"
	Delivered  State = "delivered"
	Bounced    State = "bounced"    // a later hop could not deliver it
	Complained State = "complained" // whoever got it called it spam
	Failed     State = "failed"     // refused at once, or given up after many attempts
	Expired    State = "expired"    // its time ended before it could be sent
	Suppressed State = "suppressed" // not sent: the address bounces or complained
)

// States lists them all.
var States = []State{Queued, Sent, Delivered, Bounced, Complained, Failed, Expired, Suppressed}

// Message is a Notification: something to be told, to one address on one
// channel. Key makes it unique: a second message with the same key is not kept.
type Message struct {
	ID       string  `json:"id"`
	Key      string  `json:"key"`
	Channel  Channel `json:"channel"`
	To       string  `json:"to"` // mail address, E.164 number, push subscription's id, URL; "endpoint:NAME" of a declared webhook
	OwnerID  string  `json:"ownerId,omitempty"`
	UnitID   string  `json:"unitId,omitempty"`
	Kind     Kind    `json:"kind"`
	Language string  `json:"language,omitempty"` // BCP 47, of the words; "": English
	About    string  `json:"about,omitempty"`    // what it belongs to, as campaign/NAME or finding/ID

	Subject string `json:"subject"`
	Body    string `json:"-"` // plain text (mail, SMS, push), plain text or SSML (voice), JSON (webhook); may hold a link that signs in
	// HTML is the inside of a mail's HTML part: paragraphs, lists, links. The
	// frame around it (head, style, footer) is added when it is sent. "": made from Body.
	HTML string `json:"-"`
	Link string `json:"-"` // where it leads: a mail's button, what a push opens

	Acknowledge bool `json:"acknowledge,omitempty"` // whoever gets it is asked to say that it was read

	CreatedAt   time.Time `json:"createdAt"`
	State       State     `json:"state"`
	SentAt      time.Time `json:"sentAt,omitzero"`      // taken by the next hop
	DeliveredAt time.Time `json:"deliveredAt,omitzero"` // a receipt says so
	AckedAt     time.Time `json:"ackedAt,omitzero"`
	AckedVia    Via       `json:"ackedVia,omitempty"`
	Attempts    int       `json:"attempts"`
	LastError   string    `json:"lastError,omitempty"`
	RemoteID    string    `json:"remoteId,omitempty"` // what the next hop calls it
	NextAt      time.Time `json:"-"`                  // next attempt, by the machine's clock; zero when enqueued: at once
	ExpiresAt   time.Time `json:"expiresAt,omitzero"` // by the machine's clock: not sent after this
	Secret      bool      `json:"-"`                  // Body, HTML and Link are forgotten once done with
}

// Via is how a message was acknowledged.
type Via string

// The ways.
const (
	ViaLink   Via = "link"   // the page that the message leads to
	ViaPortal Via = "portal" // signed in
	ViaReply  Via = "reply"  // an SMS that came back
	ViaPerson Via = "person" // told to somebody who noted it, as on a call
)

// Result is how an attempt ended, or what was heard of it later.
type Result string

// The results.
const (
	Accepted     Result = "accepted"     // the next hop took it
	Deferred     Result = "deferred"     // failed for now, to be tried again
	Refused      Result = "refused"      // failed for good
	Arrived      Result = "delivered"    // a receipt
	Bounce       Result = "bounced"      // a report that it could not be delivered (RFC 3464), for good
	Delay        Result = "delayed"      // a report that it could not be delivered yet
	Complaint    Result = "complained"   // a report of abuse (RFC 5965)
	Acknowledged Result = "acknowledged" // whoever got it said so
)

// Delivery is an attempt at a message, or what was heard of it later.
type Delivery struct {
	MessageID string    `json:"messageId"`
	At        time.Time `json:"at"`
	Channel   Channel   `json:"channel"`
	Attempt   int       `json:"attempt,omitempty"` // from 1: which one, also of what was heard of it; 0: of the message as a whole
	Result    Result    `json:"result"`
	Detail    string    `json:"detail,omitempty"` // what the other side said
	RemoteID  string    `json:"remoteId,omitempty"`
}

// Acknowledgement is a message's receipt by a person.
type Acknowledgement struct {
	MessageID string    `json:"messageId"`
	At        time.Time `json:"at"`
	Via       Via       `json:"via"`
}

// Filter picks messages. Empty fields match all.
type Filter struct {
	OwnerID string
	UnitID  string
	About   string
	Channel Channel
	Kind    Kind
	State   State
	To      string // address
	Unread  bool   // asked to acknowledge, and not acknowledged
	Before  string // id: those made before it
	Limit   int    // 0: 100
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

// Place is one in a queue: behind the message that it names. The zero value is
// its beginning.
type Place struct {
	NextAt time.Time
	ID     string
}

// Store keeps messages, routes and news.
type Store interface {
	// Enqueue keeps messages to be sent, in one transaction (the caller's, if
	// there is one), and says how many were not known yet by their keys.
	Enqueue(ctx context.Context, all ...Message) (fresh int, err error)
	// Due are messages of a channel to be attempted by now: the urgent before
	// others (Kind.Urgency), those waiting longest first.
	Due(ctx context.Context, ch Channel, now time.Time, limit int) ([]Message, error)
	// DueAfter are those of one urgency behind a place in its queue.
	DueAfter(ctx context.Context, ch Channel, urgency int, now time.Time, after Place, limit int) ([]Message, error)
	// SaveAttempts keeps State, SentAt, Attempts, LastError, RemoteID and NextAt
	// of messages, and their deliveries; one with a zero NextAt is done.
	SaveAttempts(ctx context.Context, all []Message, deliveries []Delivery) error
	// Heard keeps what was heard of a message later: a receipt, a bounce, a
	// complaint, an acknowledgement. The same one twice is kept once.
	Heard(ctx context.Context, d Delivery, change func(*Message) error) (fresh bool, err error)
	UpdateMessage(ctx context.Context, id string, change func(*Message) error) error // what SaveAttempts keeps, without a delivery
	Message(ctx context.Context, id string) (Message, error)
	Messages(ctx context.Context, f Filter) ([]Message, error)            // newest first
	Deliveries(ctx context.Context, messageID string) ([]Delivery, error) // oldest first
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

// Sender hands one message to a channel and gives what the next hop calls it. An
// error of kind fault.Invalid says that no other attempt can succeed, one of
// kind fault.NotFound that the address does not exist (any more).
type Sender interface {
	Send(ctx context.Context, m Message) (remoteID string, err error)
}

// Pipeliner is a Sender that sends one message after another over one
// connection, with less waiting between them.
type Pipeliner interface {
	Sender
	// Pipe sends what next gives until there is no more, and calls sent for each
	// message, in order: before the content of the one after it goes out. When ctx
	// ends it asks for no more.
	Pipe(ctx context.Context, next func() (m Message, ok bool), sent func(m Message, remoteID string, err error))
}
