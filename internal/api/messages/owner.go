package messages

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/push"
)

// Push is what a browser needs to subscribe, and who has.
type Push struct {
	Key      string              `json:"key" doc:"applicationServerKey for PushManager.subscribe(): VAPID's public key, base64url."`
	Browsers []push.Subscription `json:"browsers"`
}

// NewPush is what PushSubscription.toJSON() gives, and a name.
type NewPush struct {
	Endpoint string `json:"endpoint" maxLength:"1000"`
	Keys     struct {
		P256DH string `json:"p256dh"`
		Auth   string `json:"auth"`
	} `json:"keys"`
	ExpirationTime *float64 `json:"expirationTime,omitempty" doc:"Not used: a subscription that ended is found out when it is written to."`
	Device         string   `json:"device,omitempty" maxLength:"100" doc:"What the owner calls this browser."`
}

type pushIn struct{ Body NewPush }

func (s *server) owner() {
	const path = "/owner/v1/push"
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: path, ID: "getMyPush", Summary: "Browsers that get notices, and what one needs to subscribe", Tag: "owner", Access: frame.Owner},
		func(ctx context.Context, _ *frame.None) (out Push, err error) {
			out.Key = s.d.PushKey
			out.Browsers, err = s.d.Pushes.Subscriptions(ctx, frame.Who(ctx).ID)
			if out.Browsers == nil {
				out.Browsers = []push.Subscription{}
			}
			return out, err
		})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: path, ID: "addMyPush", Summary: "Send notices to this browser", Doc: "The same subscription again changes its name and keys.",
		Tag: "owner", Access: frame.Owner, Status: http.StatusCreated,
	}, func(ctx context.Context, in *pushIn) (push.Subscription, error) {
		p := push.Subscription{
			ID: s.d.ID(), OwnerID: frame.Who(ctx).ID, Endpoint: in.Body.Endpoint, P256DH: in.Body.Keys.P256DH, Auth: in.Body.Keys.Auth,
			Device: in.Body.Device, CreatedAt: s.d.Now(),
		}
		if err := fault.Fields("push subscription", p.Check()); err != nil {
			return p, err
		}
		return s.d.Pushes.AddSubscription(ctx, p)
	})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: path + "/{id}", ID: "removeMyPush", Summary: "Send no more notices to a browser", Tag: "owner", Access: frame.Owner},
		func(ctx context.Context, in *frame.IDParam) error {
			return s.d.Pushes.RemoveSubscription(ctx, frame.Who(ctx).ID, in.ID)
		})
	frame.Do(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/messages/{id}/read", ID: "readMyMessage", Summary: "Say that a message was read", Tag: "owner", Access: frame.Owner,
	}, func(ctx context.Context, in *frame.IDParam) error {
		m, err := s.d.Store.Message(ctx, in.ID)
		if err == nil && m.OwnerID != frame.Who(ctx).ID {
			err = fault.New(fault.NotFound, "no message %q", in.ID)
		}
		if err != nil {
			return err
		}
		_, err = s.d.Desk.Acknowledge(ctx, m.ID, notify.ViaPortal)
		return err
	})
}
