// Package event tells programs what happens: events in the form of CloudEvents
// 1.0, to the endpoints that subscribed to them. An event is kept to be sent in
// the transaction of what happened, once for each endpoint.
package event

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/seal"
)

// Type is what happened, in CloudEvents' reverse-DNS form.
type Type string

// The types.
const (
	FindingOpened       Type = "dev.fettle.finding.opened"
	FindingCleared      Type = "dev.fettle.finding.cleared"
	UnitSilent          Type = "dev.fettle.unit.silent"
	CampaignState       Type = "dev.fettle.campaign.state"
	TaskState           Type = "dev.fettle.task.state"
	ConsentChanged      Type = "dev.fettle.consent.changed"
	MessageAcknowledged Type = "dev.fettle.message.acknowledged"
	AddressBouncing     Type = "dev.fettle.address.bouncing"
	Test                Type = "dev.fettle.test" // to one endpoint, because somebody asked for it
)

// Types lists what may be subscribed to.
var Types = []Type{FindingOpened, FindingCleared, UnitSilent, CampaignState, TaskState, ConsentChanged, MessageAcknowledged, AddressBouncing}

// Event is something that happened. ID is unique for ever, so that one that is
// told again is known.
type Event struct {
	ID      string
	Type    Type
	Subject string // as findings/ID, units/ID
	Time    time.Time
	Product string // "": of none
	Data    any    // becomes JSON; holds no personal data but what Type says
}

// Format is how an event travels (CloudEvents HTTP binding 3).
type Format string

// The formats.
const (
	Structured Format = "structured" // application/cloudevents+json
	Binary     Format = "binary"     // attributes in Ce- headers, the data as the body
)

// Endpoint is where events go.
type Endpoint struct {
	Name      string    `json:"name"`
	URL       string    `json:"url"`
	Types     []Type    `json:"types" doc:"Types of events; empty: all."`
	Product   string    `json:"product,omitempty" doc:"Only events of this product; empty: all."`
	Format    Format    `json:"format" enum:"structured,binary"`
	Contact   string    `json:"contact,omitempty" doc:"Mail address that is told when the endpoint is switched off because it fails."`
	Off       bool      `json:"off" doc:"Nothing is sent; what happens meanwhile is not kept for it."`
	OffWhy    string    `json:"offWhy,omitempty"`
	OffAt     time.Time `json:"offAt,omitzero"`
	Failing   time.Time `json:"failingSince,omitzero" doc:"First of the failures since the last success."`
	Failures  int       `json:"failures" doc:"Failed attempts in a row."`
	LastError string    `json:"lastError,omitempty"`
	SentAt    time.Time `json:"lastSentAt,omitzero"`
	CreatedAt time.Time `json:"createdAt"`
}

// Wants reports whether an endpoint is to be told of an event.
func (e *Endpoint) Wants(t Type, product string) bool {
	return !e.Off && (len(e.Types) == 0 || slices.Contains(e.Types, t)) && (e.Product == "" || product == e.Product)
}

// Check finds every mistake in an endpoint.
func (e *Endpoint) Check() []fault.Field {
	var out []fault.Field
	add := func(path, expected, got string) {
		out = append(out, fault.Field{Path: path, Expected: expected, Got: fmt.Sprintf("%q", got)})
	}
	if e.Name == "" || len(e.Name) > 63 || strings.ContainsAny(e.Name, "/: \x00") {
		add("name", "1 to 63 characters without blanks, / and :", e.Name)
	}
	if u, err := url.Parse(e.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.Fragment != "" || len(e.URL) > 2000 {
		add("url", "an https URL without a user, as https://example.com/hook", e.URL)
	}
	for i, t := range e.Types {
		if !slices.Contains(Types, t) {
			names := make([]string, len(Types))
			for i := range Types {
				names[i] = string(Types[i])
			}
			add(fmt.Sprintf("types[%d]", i), strings.Join(names, ", "), string(t))
		}
	}
	switch e.Format {
	case Structured, Binary:
	default:
		add("format", "structured or binary", string(e.Format))
	}
	if e.Contact != "" && !fleet.ValidEmail(e.Contact) {
		add("contact", "a mail address", e.Contact)
	}
	return out
}

// Store keeps endpoints with their secrets, which are sealed.
type Store interface {
	PutEndpoint(ctx context.Context, e Endpoint, sealed string) error
	Endpoint(ctx context.Context, name string) (e Endpoint, sealed string, err error)
	Endpoints(ctx context.Context) ([]Endpoint, error) // by name
	DeleteEndpoint(ctx context.Context, name string) error
	// UpdateEndpoint changes an endpoint; its secrets stay.
	UpdateEndpoint(ctx context.Context, name string, change func(*Endpoint) error) (Endpoint, error)
}

// Config is what a Service works with.
type Config struct {
	Store    Store
	Messages notify.Store
	Tx       fleet.Transactor
	Clock    clock.Clock // times people read
	Machine  clock.Clock // how long endpoints are remembered, and secrets kept
	IDs      clock.IDs
	Source   string // of events, a URI: where this service is
	Key      []byte // seals secrets
	// OffNotice is told of an endpoint that was switched off because it fails; may be nil.
	OffNotice func(ctx context.Context, e Endpoint) error
}

// Service keeps endpoints and tells them of events.
type Service struct {
	c      Config
	sealer *seal.Sealer

	mu    sync.Mutex
	read  time.Time
	known []Endpoint
}

// NewService makes a service.
func NewService(c Config) (*Service, error) {
	s, err := seal.New(c.Key, "webhooks")
	if err != nil {
		return nil, err
	}
	return &Service{c: c, sealer: s}, nil
}

// remembered is how long endpoints are known without asking; a change made by
// this process is known at once.
const remembered = time.Second

func (s *Service) endpoints(ctx context.Context) ([]Endpoint, error) {
	s.mu.Lock()
	known, read := s.known, s.read
	s.mu.Unlock()
	now := s.c.Machine.Now()
	if !read.IsZero() && now.Sub(read) < remembered {
		return known, nil
	}
	known, err := s.c.Store.Endpoints(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known, s.read = known, now
	return known, nil
}

// Now is the time that people read.
func (s *Service) Now() time.Time { return s.c.Clock.Now() }

func (s *Service) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = time.Time{}
}

// Wanted reports whether anybody subscribed to a type, so that what it costs to
// find out what happened is spent only then.
func (s *Service) Wanted(ctx context.Context, t Type) bool {
	all, err := s.endpoints(ctx)
	return err != nil || slices.ContainsFunc(all, func(e Endpoint) bool { return !e.Off && (len(e.Types) == 0 || slices.Contains(e.Types, t)) })
}

// envelope is a CloudEvent in JSON (CloudEvents JSON format 1.0).
type envelope struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        Type            `json:"type"`
	Subject     string          `json:"subject,omitempty"`
	Time        string          `json:"time"`
	ContentType string          `json:"datacontenttype"`
	Product     string          `json:"product,omitempty"` // an extension attribute
	Data        json.RawMessage `json:"data"`
}

// To begins what Message.To says of an endpoint.
const To = "endpoint:"

// Publish keeps events for the endpoints that want them, in the caller's
// transaction.
func (s *Service) Publish(ctx context.Context, events ...Event) error {
	all, err := s.endpoints(ctx)
	if err != nil {
		return fmt.Errorf("publish events: %w", err)
	}
	var out []notify.Message
	for _, e := range events {
		var body []byte
		for i := range all {
			if !all[i].Wants(e.Type, e.Product) {
				continue
			}
			if body == nil {
				if body, err = s.body(e); err != nil {
					return err
				}
			}
			out = append(out, s.message(e, all[i].Name, body))
		}
	}
	if len(out) == 0 {
		return nil
	}
	if _, err := s.c.Messages.Enqueue(ctx, out...); err != nil {
		return fmt.Errorf("publish events: %w", err)
	}
	return nil
}

func (s *Service) body(e Event) ([]byte, error) {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return nil, fmt.Errorf("publish event %s: %w", e.ID, err)
	}
	return json.Marshal(envelope{
		SpecVersion: "1.0", ID: e.ID, Source: s.c.Source, Type: e.Type, Subject: e.Subject, Time: e.Time.UTC().Format(time.RFC3339Nano),
		ContentType: "application/json", Product: e.Product, Data: data,
	})
}

func (s *Service) message(e Event, endpoint string, body []byte) notify.Message {
	return notify.Message{
		ID: s.c.IDs.ID(), Key: "event:" + e.ID + ":" + endpoint, Channel: notify.Webhook, To: To + endpoint, Kind: notify.Operations,
		About: e.Subject, Subject: string(e.Type), Body: string(body), CreatedAt: s.c.Clock.Now(),
	}
}

// Put makes or changes an endpoint. A new one gets a secret, which is given
// this once.
func (s *Service) Put(ctx context.Context, e Endpoint) (out Endpoint, secret string, err error) {
	if e.Format == "" {
		e.Format = Structured
	}
	if err := fault.Fields("endpoint "+e.Name, e.Check()); err != nil {
		return e, "", err
	}
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		old, sealed, err := s.c.Store.Endpoint(ctx, e.Name)
		switch {
		case fault.KindOf(err) == fault.NotFound && err != nil:
			e.CreatedAt = s.c.Clock.Now()
			secret = newSecret()
			if sealed, err = s.seal(e.Name, secrets{{Value: secret}}); err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			e.CreatedAt, e.Failing, e.Failures, e.LastError, e.SentAt = old.CreatedAt, old.Failing, old.Failures, old.LastError, old.SentAt
			if !e.Off { // switched on again: it begins anew
				e.OffWhy, e.OffAt = "", time.Time{}
				if old.Off {
					e.Failing, e.Failures, e.LastError = time.Time{}, 0, ""
				}
			} else if e.OffAt = old.OffAt; e.OffAt.IsZero() {
				e.OffAt = s.c.Clock.Now()
			}
		}
		return s.c.Store.PutEndpoint(ctx, e, sealed)
	})
	s.forget()
	return e, secret, err
}

// Delete forgets an endpoint; what waits for it is given up when it is due.
func (s *Service) Delete(ctx context.Context, name string) error {
	defer s.forget()
	return s.c.Store.DeleteEndpoint(ctx, name)
}

// List gives the endpoints by name.
func (s *Service) List(ctx context.Context) ([]Endpoint, error) { return s.c.Store.Endpoints(ctx) }

// Get gives one endpoint.
func (s *Service) Get(ctx context.Context, name string) (Endpoint, error) {
	e, _, err := s.c.Store.Endpoint(ctx, name)
	return e, err
}

// Try sends an endpoint an event of type Test and gives its message.
func (s *Service) Try(ctx context.Context, name string) (notify.Message, error) {
	if _, _, err := s.c.Store.Endpoint(ctx, name); err != nil {
		return notify.Message{}, err
	}
	e := Event{ID: s.c.IDs.ID(), Type: Test, Time: s.c.Clock.Now(), Data: map[string]string{"endpoint": name, "text": "If you can read this, events arrive."}}
	body, err := s.body(e)
	if err != nil {
		return notify.Message{}, err
	}
	m := s.message(e, name, body)
	_, err = s.c.Messages.Enqueue(ctx, m)
	return m, err
}
