// Package messages serves what was sent to whom and what became of it, the
// addresses that do not work, the gateways, and the endpoints that events go to.
package messages

import (
	"context"
	"net/http"
	"strings"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/event"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/notify/push"
)

// Deps is what the operations work with.
type Deps struct {
	Store     notify.Store
	Desk      *hear.Desk
	Addresses hear.Addresses
	Events    *event.Service
	Pushes    push.Store
	PushKey   string // VAPID's public key; "": browsers cannot subscribe
	Gateways  func() []GatewayHealth
	Now       func() time.Time
	ID        func() string
}

// GatewayHealth is how something that carries messages does since the service
// was started.
type GatewayHealth struct {
	Name      string         `json:"name"`
	Channel   notify.Channel `json:"channel"`
	Host      string         `json:"host,omitempty"`
	SentAt    time.Time      `json:"lastSentAt,omitzero"`
	FailedAt  time.Time      `json:"lastFailedAt,omitzero"`
	LastError string         `json:"lastError,omitempty"`
	Failures  int            `json:"failures" doc:"Failed attempts in a row."`
}

type server struct {
	*frame.Server
	d Deps
}

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) {
	s := &server{f, d}
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/messages", ID: "listMessages", Summary: "What was sent, newest first",
		Doc: "Addresses are shortened; one message has its own in full, its words and its deliveries.", Tag: "messages", Access: access.Personal, Personal: audit.DataContact,
	}, s.list)
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/messages/{id}", ID: "getMessage", Summary: "A message and what became of it", Tag: "messages", Access: access.Personal, Personal: audit.DataContact,
	}, s.get)
	frame.Do(f, frame.Route{
		Method: http.MethodPost, Path: "/v1/messages/{id}/resend", ID: "resendMessage", Summary: "Send a message again, at once", Tag: "messages", Access: access.Contact,
	}, func(ctx context.Context, in *frame.IDParam) error { return s.d.Desk.Resend(ctx, in.ID) })
	frame.Do(f, frame.Route{
		Method: http.MethodPost, Path: "/v1/messages/{id}/acknowledge", ID: "acknowledgeMessage", Summary: "Note that its reader said that a message was read, as on a call",
		Tag: "messages", Access: access.Contact,
	}, func(ctx context.Context, in *frame.IDParam) error {
		_, err := s.d.Desk.Acknowledge(ctx, in.ID, notify.ViaPerson)
		return err
	})
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/addresses", ID: "listBadAddresses", Summary: "Addresses that bounce, or from which complaints came",
		Doc: "Nothing but safety notices and what is asked for is sent to them.", Tag: "messages", Access: access.Personal, Personal: audit.DataContact,
	}, s.addresses)
	frame.Do(f, frame.Route{
		Method: http.MethodDelete, Path: "/v1/addresses", ID: "clearBadAddress", Summary: "Write to an address again", Tag: "messages", Access: access.Contact,
	}, func(ctx context.Context, in *addressIn) error {
		return s.d.Addresses.Unmark(ctx, in.Channel, in.Address)
	})
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/gateways", ID: "listGateways", Summary: "How what carries messages does", Tag: "messages", Access: access.Look,
	}, func(context.Context, *frame.None) (wire.Page[GatewayHealth], error) {
		return wire.Page[GatewayHealth]{Items: append([]GatewayHealth{}, s.d.Gateways()...)}, nil
	})
	s.webhooks()
	s.owner()
}

// View is a message as operators see it.
type View struct {
	notify.Message
	To string `json:"to"`
}

// Detail is one message with its words and its deliveries.
type Detail struct {
	notify.Message
	Body       string            `json:"body" doc:"Plain text, SSML or JSON; absent once it is forgotten because it held a secret."`
	Deliveries []notify.Delivery `json:"deliveries"`
}

type listIn struct {
	wire.PageParams
	Owner   string         `query:"owner" doc:"Id of an owner."`
	Unit    string         `query:"unit"`
	About   string         `query:"about" doc:"As campaign/NAME or finding/ID."`
	Channel notify.Channel `query:"channel" enum:"mail,sms,voice,push,webhook,letter,call"`
	Kind    notify.Kind    `query:"kind" enum:"safety,security,service,feature,tip,account,operations"`
	State   notify.State   `query:"state" enum:"queued,sent,delivered,bounced,complained,failed,expired,suppressed"`
	Unread  bool           `query:"unread" doc:"Only those that ask to be acknowledged and are not."`
}

type addressList struct {
	wire.PageParams
	Owner string `query:"owner" doc:"Id of an owner."`
}

type addressIn struct {
	Channel notify.Channel `query:"channel" required:"true" enum:"mail,sms,voice"`
	Address string         `query:"address" required:"true" maxLength:"320"`
}

// Shorten leaves out of an address what is not needed to tell two apart.
func Shorten(ch notify.Channel, to string) string {
	switch ch {
	case notify.Mail:
		local, domain, ok := strings.Cut(to, "@")
		if !ok || local == "" {
			return "…"
		}
		for i := range local {
			if i > 0 {
				local = local[:i]
				break
			}
		}
		return local + "…@" + domain
	case notify.SMS, notify.Voice, notify.Call:
		if len(to) > 6 {
			return to[:3] + "…" + to[len(to)-2:]
		}
		return "…"
	case notify.Letter, notify.Push:
		return ""
	default:
		return to
	}
}

func (s *server) list(ctx context.Context, in *listIn) (wire.Page[View], error) {
	all, err := s.d.Store.Messages(ctx, notify.Filter{
		OwnerID: in.Owner, UnitID: in.Unit, About: in.About, Channel: in.Channel, Kind: in.Kind, State: in.State, Unread: in.Unread, Before: in.After, Limit: in.Limit + 1,
	})
	if err != nil {
		return wire.Page[View]{}, err
	}
	page := frame.Page(all, in.Limit, func(m notify.Message) string { return m.ID })
	out := wire.Page[View]{Items: make([]View, len(page.Items)), Next: page.Next}
	var owners []string
	for i, m := range page.Items {
		out.Items[i] = View{m, Shorten(m.Channel, m.To)}
		if m.OwnerID != "" {
			owners = append(owners, m.OwnerID)
		}
	}
	return out, audit.Looked(ctx, owners...)
}

func (s *server) get(ctx context.Context, in *frame.IDParam) (out Detail, err error) {
	if out.Message, err = s.d.Store.Message(ctx, in.ID); err != nil {
		return out, err
	}
	if !out.Secret { // a link that signs somebody in is nobody else's
		out.Body = out.Message.Body
	}
	if out.Deliveries, err = s.d.Store.Deliveries(ctx, in.ID); err != nil {
		return out, err
	}
	if out.Deliveries == nil {
		out.Deliveries = []notify.Delivery{}
	}
	if out.OwnerID == "" {
		return out, audit.Looked(ctx)
	}
	return out, audit.Looked(ctx, out.OwnerID)
}

func (s *server) addresses(ctx context.Context, in *addressList) (wire.Page[hear.Address], error) {
	all, err := s.d.Addresses.MarkedAddresses(ctx, in.Owner, in.After, in.Limit+1)
	if err != nil {
		return wire.Page[hear.Address]{}, err
	}
	var owners []string
	for _, a := range all {
		if a.OwnerID != "" {
			owners = append(owners, a.OwnerID)
		}
	}
	page := frame.Page(all, in.Limit, func(a hear.Address) string { return string(a.Channel) + " " + a.Address })
	return page, audit.Looked(ctx, owners...)
}

// EndpointSpec is what an operator sets of one.
type EndpointSpec struct {
	URL     string       `json:"url" maxLength:"2000"`
	Types   []event.Type `json:"types,omitempty" doc:"Types of events; absent: all."`
	Product string       `json:"product,omitempty"`
	Format  event.Format `json:"format,omitempty" enum:"structured,binary" default:"structured" doc:"CloudEvents' HTTP modes."`
	Contact string       `json:"contact,omitempty" doc:"Mail address that is told when the endpoint is switched off because it only fails."`
	Off     bool         `json:"off,omitempty"`
}

// EndpointSecret is an endpoint with a secret that was made just now.
type EndpointSecret struct {
	event.Endpoint
	Secret string `json:"secret,omitempty" doc:"whsec_…: what the receiver verifies signatures with (Standard Webhooks). Told once."`
}

type putIn struct {
	frame.NameParam
	Body EndpointSpec
}

type sentIn struct {
	frame.NameParam
	wire.PageParams
	State notify.State `query:"state" enum:"queued,sent,failed"`
}

func (s *server) webhooks() {
	const path = "/v1/webhooks"
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: path, ID: "listWebhooks", Summary: "Endpoints that events go to", Tag: "messages", Access: access.Administer},
		func(ctx context.Context, in *wire.PageParams) (wire.Page[event.Endpoint], error) {
			all, err := s.d.Events.List(ctx)
			return frame.PageAfter(all, *in, func(e event.Endpoint) string { return e.Name }), err
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: path + "/{name}", ID: "getWebhook", Summary: "An endpoint", Tag: "messages", Access: access.Administer},
		func(ctx context.Context, in *frame.NameParam) (event.Endpoint, error) {
			return s.d.Events.Get(ctx, in.Name)
		})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPut, Path: path + "/{name}", ID: "putWebhook", Summary: "Make or change an endpoint",
		Doc: "Events are CloudEvents 1.0 and signed as Standard Webhooks say. A new endpoint's secret is told this once.", Tag: "messages", Access: access.Administer,
	}, func(ctx context.Context, in *putIn) (out EndpointSecret, err error) {
		out.Endpoint, out.Secret, err = s.d.Events.Put(ctx, event.Endpoint{
			Name: in.Name, URL: in.Body.URL, Types: in.Body.Types, Product: in.Body.Product, Format: in.Body.Format, Contact: in.Body.Contact, Off: in.Body.Off,
		})
		if out.Types == nil {
			out.Types = []event.Type{}
		}
		return out, err
	})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: path + "/{name}", ID: "deleteWebhook", Summary: "Delete an endpoint", Tag: "messages", Access: access.Administer},
		func(ctx context.Context, in *frame.NameParam) error { return s.d.Events.Delete(ctx, in.Name) })
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: path + "/{name}/secret", ID: "rotateWebhookSecret", Summary: "Give an endpoint a new secret",
		Doc: "For a day both sign.", Tag: "messages", Access: access.Administer,
	}, func(ctx context.Context, in *frame.NameParam) (out EndpointSecret, err error) {
		if out.Secret, err = s.d.Events.Rotate(ctx, in.Name); err != nil {
			return out, err
		}
		out.Endpoint, err = s.d.Events.Get(ctx, in.Name)
		return out, err
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: path + "/{name}/test", ID: "testWebhook", Summary: "Send an endpoint a test event", Tag: "messages", Access: access.Administer,
	}, func(ctx context.Context, in *frame.NameParam) (notify.Message, error) {
		return s.d.Events.Try(ctx, in.Name)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: path + "/{name}/messages", ID: "listWebhookMessages", Summary: "What was sent to an endpoint, newest first", Tag: "messages", Access: access.Administer,
	}, func(ctx context.Context, in *sentIn) (wire.Page[notify.Message], error) {
		all, err := s.d.Store.Messages(ctx, notify.Filter{Channel: notify.Webhook, To: event.To + in.Name, State: in.State, Before: in.After, Limit: in.Limit + 1})
		return frame.Page(all, in.Limit, func(m notify.Message) string { return m.ID }), err
	})
	frame.Do(s.Server, frame.Route{
		Method: http.MethodPost, Path: path + "/{name}/messages/{id}/resend", ID: "resendWebhookMessage", Summary: "Send an endpoint an event again", Tag: "messages", Access: access.Administer,
	}, func(ctx context.Context, in *resendIn) error {
		m, err := s.d.Store.Message(ctx, in.ID)
		if err == nil && (m.Channel != notify.Webhook || m.To != event.To+in.Name) {
			err = fault.New(fault.NotFound, "endpoint %s was sent no message %q", in.Name, in.ID)
		}
		if err != nil {
			return err
		}
		return s.d.Desk.Resend(ctx, in.ID)
	})
}

type resendIn struct {
	frame.NameParam
	ID string `path:"id" maxLength:"200"`
}
