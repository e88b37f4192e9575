package operators

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
)

// OperatorAccount is an operator's own.
type OperatorAccount struct {
	access.Operator
	Permissions     []access.Permission `json:"permissions"`
	Password        bool                `json:"password" doc:"One is set."`
	PasswordAt      time.Time           `json:"passwordAt,omitzero"`
	Authenticator   bool                `json:"authenticator" doc:"One is set up."`
	AuthenticatorAt time.Time           `json:"authenticatorAt,omitzero"`
	RecoveryCodes   int                 `json:"recoveryCodes" doc:"That are left."`
	Session         string              `json:"session,omitempty" doc:"Id of the session that asks."`
}

// OpenSession is somebody signed in.
type OpenSession struct {
	access.Session
	Current bool `json:"current,omitempty" doc:"It is the one that asks."`
}

func sessions(all []access.Session, current string) wire.List[OpenSession] {
	out := wire.List[OpenSession]{Items: make([]OpenSession, 0, len(all))}
	for _, one := range all {
		out.Items = append(out.Items, OpenSession{one, one.ID == current})
	}
	return out
}

// fresh asks a person for a second factor that was just shown; a program's token has none.
func (s *server) fresh(ctx context.Context) error {
	p := frame.Who(ctx)
	if p.Via == "token" {
		return nil
	}
	return told(s.Access.Fresh(ctx, p.ID, p.SessionID))
}

func (s *server) account() {
	route := func(method, path, id, summary string) frame.Route {
		return frame.Route{Method: method, Path: path, ID: id, Summary: summary, Tag: "account", Access: frame.Self, Session: true}
	}
	get := route(http.MethodGet, "/v1/account", "getOperatorAccount", "The account of whoever asks")
	get.Session = false
	frame.Add(s.Server, get, func(ctx context.Context, _ *frame.None) (OperatorAccount, error) {
		p := frame.Who(ctx)
		o, err := s.Access.Operator(ctx, p.ID)
		if err != nil {
			return OperatorAccount{}, err
		}
		f, err := s.Access.Factors(ctx, p.ID)
		return OperatorAccount{
			Operator: o, Permissions: p.May.List(), Password: f.Password != "", PasswordAt: f.PasswordAt,
			Authenticator: f.TOTP != "", AuthenticatorAt: f.TOTPAt, RecoveryCodes: f.Recovery, Session: p.SessionID,
		}, err
	})
	password := route(http.MethodPut, "/v1/account/password", "setPassword", "Set or change the password")
	password.Doc = "Ends every other session. The old password is asked for, but of those who came by a link within the hour. At least 10 characters, of any kind; what guessers try first is refused."
	frame.Do(s.Server, password, func(ctx context.Context, in *struct {
		Body struct {
			Old      string `json:"old,omitempty" maxLength:"2000"`
			Password string `json:"password" maxLength:"2000"`
		}
	},
	) error {
		p := frame.Who(ctx)
		return told(s.Access.SetPassword(ctx, p.ID, p.SessionID, in.Body.Old, in.Body.Password))
	})
	begin := route(http.MethodPost, "/v1/account/authenticator", "beginAuthenticator", "Begin to set up an authenticator")
	begin.Doc = "The one that is set up stays until the new one has shown a code. Who has one is asked for its code first (/v1/account/prove)."
	begin.Asks = true
	frame.Add(s.Server, begin, func(ctx context.Context, _ *frame.None) (Enrolment, error) {
		if err := s.fresh(ctx); err != nil {
			return Enrolment{}, err
		}
		return enrolment(s.Access.Enrol(ctx, frame.Who(ctx).ID))
	})
	confirm := route(http.MethodPost, "/v1/account/authenticator/confirm", "confirmAuthenticator", "Confirm an authenticator by its first code")
	confirm.Doc = "Ends every other session, and shows new recovery codes."
	frame.Add(s.Server, confirm, func(ctx context.Context, in *struct{ Body TicketCode }) (Recovery, error) {
		codes, _, _, err := s.Access.Enrolled(ctx, in.Body.Ticket, in.Body.Code, frame.Who(ctx).SessionID, frame.CallerOf(ctx).Caller())
		return Recovery{Codes: codes}, told(err)
	})
	frame.Add(s.Server, route(http.MethodPost, "/v1/account/recovery-codes", "newRecoveryCodes", "Replace the recovery codes"),
		func(ctx context.Context, _ *frame.None) (Recovery, error) {
			if err := s.fresh(ctx); err != nil {
				return Recovery{}, err
			}
			codes, err := s.Access.NewRecovery(ctx, frame.Who(ctx).ID)
			return Recovery{Codes: codes}, err
		})
	frame.Do(s.Server, route(http.MethodPost, "/v1/account/prove", "prove", "Show the second factor once more, for what is most dangerous"),
		func(ctx context.Context, in *struct {
			Body struct {
				Code string `json:"code" minLength:"1" maxLength:"40"`
			}
		},
		) error {
			p := frame.Who(ctx)
			return told(s.Access.Prove(ctx, p.ID, p.SessionID, in.Body.Code))
		})

	frame.Add(s.Server, route(http.MethodGet, "/v1/sessions", "listOwnSessions", "Where whoever asks is signed in, newest first"),
		func(ctx context.Context, _ *frame.None) (wire.List[OpenSession], error) {
			p := frame.Who(ctx)
			all, err := s.Access.Sessions(ctx, access.PartyOperator, p.ID)
			return sessions(all, p.SessionID), err
		})
	frame.Do(s.Server, route(http.MethodDelete, "/v1/sessions", "endOwnOtherSessions", "Sign out everywhere else"),
		func(ctx context.Context, _ *frame.None) error {
			p := frame.Who(ctx)
			return s.Access.EndOthers(ctx, access.PartyOperator, p.ID, p.SessionID)
		})
	frame.Do(s.Server, route(http.MethodDelete, "/v1/sessions/{id}", "endOwnSession", "Sign out in one place"),
		func(ctx context.Context, in *frame.IDParam) error {
			return s.Access.EndSession(ctx, access.PartyOperator, frame.Who(ctx).ID, in.ID)
		})
}

// known refuses an id that no operator has.
func (s *server) known(ctx context.Context, id string) error {
	if id == "" {
		return fault.New(fault.NotFound, "no operator %q", id)
	}
	_, err := s.Access.Operator(ctx, id)
	return err
}
