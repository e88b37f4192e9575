package owners

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
)

// MyAccount is an owner's account.
type MyAccount struct {
	Email    string `json:"email"`
	Name     string `json:"name"`
	Locale   string `json:"locale"`
	TimeZone string `json:"timeZone"`
}

// MyAccountChange is what changes of it; what is absent stays.
type MyAccountChange struct {
	Name     *string `json:"name,omitempty" maxLength:"200"`
	Locale   *string `json:"locale,omitempty" maxLength:"35" doc:"BCP 47 tag."`
	TimeZone *string `json:"timeZone,omitempty" maxLength:"100" doc:"IANA name."`
}

// MySession is somewhere where the owner is signed in.
type MySession struct {
	ID        string     `json:"id"`
	Agent     string     `json:"agent,omitempty" doc:"What the browser calls itself."`
	Address   string     `json:"address,omitempty" doc:"Where it was opened from."`
	Way       access.Way `json:"way,omitempty"`
	CreatedAt time.Time  `json:"createdAt"`
	UsedAt    time.Time  `json:"usedAt,omitzero" doc:"To some minutes."`
	ExpiresAt time.Time  `json:"expiresAt"`
	Current   bool       `json:"current" doc:"The one that asks."`
}

// NewApp asks for a token of an app.
type NewApp struct {
	Name    string            `json:"name" maxLength:"100"`
	Scope   people.TokenScope `json:"scope" enum:"read,act"`
	Units   []string          `json:"units,omitempty" maxItems:"100" doc:"Ids; none: all, later ones too."`
	Expires fleet.Duration    `json:"expires,omitempty" doc:"After this time, as 90d; absent: 365d."`
}

// IssuedApp is a token of an app, shown once.
type IssuedApp struct {
	people.Token
	Secret string `json:"token" doc:"feo_…, to be sent as Authorization: Bearer."`
}

func (s *server) account() {
	const path = "/owner/v1/account"
	view := func(o fleet.Owner) MyAccount {
		return MyAccount{Email: o.Email, Name: o.Name, Locale: o.Locale, TimeZone: o.TimeZone}
	}
	frame.Add(s.Server, mine(http.MethodGet, path, "getMyAccount", "The account of whoever asks"), func(ctx context.Context, _ *frame.None) (MyAccount, error) {
		o, err := s.Fleet.Owner(ctx, frame.Who(ctx).ID)
		return view(o), err
	})
	frame.Add(s.Server, mine(http.MethodPatch, path, "changeAccount", "Change name, language, time zone"), func(ctx context.Context, in *struct{ Body MyAccountChange }) (MyAccount, error) {
		o, err := s.p.SetProfile(ctx, frame.Who(ctx).ID, people.Profile{Name: in.Body.Name, Locale: in.Body.Locale, TimeZone: in.Body.TimeZone})
		return view(o), err
	})
	change := mine(http.MethodPost, path+"/email", "changeEmail", "Ask for another mail address")
	change.Doc, change.Status = "A link goes to the new address; the old one stays until it is opened, and is told then.", http.StatusAccepted
	frame.Do(s.Server, change, func(ctx context.Context, in *struct {
		Body struct {
			Email string `json:"email" maxLength:"254"`
		}
	},
	) error {
		return s.p.ChangeEmail(ctx, frame.Who(ctx).ID, in.Body.Email)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: path + "/email/confirm", ID: "confirmEmail", Summary: "Confirm a new mail address by the link that was sent to it", Tag: "people", Access: frame.Anyone,
	}, func(ctx context.Context, in *struct{ Body wire.OneTime }) (MyAccount, error) {
		id, _, err := s.p.ConfirmEmail(ctx, in.Body.Token)
		if err != nil {
			return MyAccount{}, err
		}
		o, err := s.Fleet.Owner(ctx, id)
		return view(o), err
	})
}

func (s *server) sessions() {
	const path = "/owner/v1/sessions"
	frame.Add(s.Server, mine(http.MethodGet, path, "listMySessions", "Where whoever asks is signed in, newest first"), func(ctx context.Context, _ *frame.None) (wire.List[MySession], error) {
		who := frame.Who(ctx)
		all, err := s.Access.Sessions(ctx, access.PartyOwner, who.ID)
		out := wire.List[MySession]{Items: make([]MySession, 0, len(all))}
		for _, v := range all {
			out.Items = append(out.Items, MySession{ID: v.ID, Agent: v.Agent, Address: v.Address, Way: v.Way, UsedAt: v.UsedAt, CreatedAt: v.CreatedAt, ExpiresAt: v.ExpiresAt, Current: v.ID == who.SessionID})
		}
		return out, err
	})
	frame.Do(s.Server, mine(http.MethodDelete, path+"/{id}", "endMySession", "Sign out somewhere"), func(ctx context.Context, in *frame.IDParam) error {
		return s.Access.EndSession(ctx, access.PartyOwner, frame.Who(ctx).ID, in.ID)
	})
	frame.Do(s.Server, mine(http.MethodDelete, path, "endMyOtherSessions", "Sign out everywhere else"), func(ctx context.Context, _ *frame.None) error {
		who := frame.Who(ctx)
		return s.Access.EndOthers(ctx, access.PartyOwner, who.ID, who.SessionID)
	})
}

func (s *server) apps() {
	const path = "/owner/v1/apps"
	frame.Add(s.Server, mine(http.MethodGet, path, "listApps", "Tokens of apps, newest first"), func(ctx context.Context, _ *frame.None) (wire.List[people.Token], error) {
		all, err := s.p.Tokens(ctx, frame.Who(ctx).ID)
		return wire.List[people.Token]{Items: append([]people.Token{}, all...)}, err
	})
	add := mine(http.MethodPost, path, "createApp", "Make a token for an app")
	add.Doc = "read: what the portal shows of the units. act: also what may be done with them. Neither opens the account: sessions, passkeys, people, erasure."
	add.Status = http.StatusCreated
	frame.Add(s.Server, add, func(ctx context.Context, in *struct{ Body NewApp }) (IssuedApp, error) {
		var expires time.Time
		if in.Body.Expires > 0 {
			expires = s.Wall.Now().Add(time.Duration(in.Body.Expires))
		}
		t, secret, err := s.p.CreateToken(ctx, frame.Who(ctx).ID, in.Body.Name, in.Body.Scope, in.Body.Units, expires)
		return IssuedApp{t, secret}, err
	})
	frame.Do(s.Server, mine(http.MethodDelete, path+"/{id}", "revokeApp", "Take back the token of an app"), func(ctx context.Context, in *frame.IDParam) error {
		return s.p.RevokeToken(ctx, frame.Who(ctx).ID, in.ID)
	})
}
