// Package operators lets operators in by password and second factor, shows them
// their own account and sessions, and lets whoever administers invite, change
// and remove operators.
package operators

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"rsc.io/qr"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet/access"
)

// Deps is what the operations work with.
type Deps struct {
	Describe func(p *frame.Principal) wire.Session
	Page     string // that links lead to, as https://example.org/console/sign-in
}

type server struct {
	*frame.Server
	d Deps
}

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) {
	s := &server{f, d}
	s.signIn()
	s.account()
	s.operators()
}

// NeedsProof is the type of the problem that asks somebody who is signed in for
// their second factor again: POST /v1/account/prove, then the same once more.
const NeedsProof = "urn:fettle:problem:second-factor"

// told gives what access refuses in its own way its status.
func told(err error) error {
	if slow, ok := errors.AsType[*access.SlowError](err); ok {
		return huma.ErrorWithHeaders(huma.NewError(http.StatusTooManyRequests, slow.Error()),
			http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(slow.Wait.Seconds())))}})
	}
	if errors.Is(err, access.ErrStale) {
		return &huma.ErrorModel{Type: NeedsProof, Status: http.StatusForbidden, Title: http.StatusText(http.StatusForbidden), Detail: access.ErrStale.Error()}
	}
	return err
}

// PasswordSignIn is an email address and a password.
type PasswordSignIn struct {
	Email    string `json:"email" maxLength:"254"`
	Password string `json:"password" minLength:"1" maxLength:"2000"`
}

// Owed says what a sign-in needs beside the password.
type Owed struct {
	Ticket string      `json:"ticket" doc:"Goes with the next step; good for ten minutes and five tries."`
	Next   access.Next `json:"next" enum:"code,passkey,enrol" doc:"code: of the authenticator, to /v1/sign-in/code; passkey: sign in by it; enrol: no second factor is set up yet, POST /v1/sign-in/enrol."`
}

// TicketCode is a ticket with a code.
type TicketCode struct {
	Ticket string `json:"ticket" minLength:"1" maxLength:"200"`
	Code   string `json:"code" minLength:"1" maxLength:"40" doc:"Six digits of the authenticator, or a recovery code."`
}

// Enrolment is a new authenticator, to be confirmed by its first code.
type Enrolment struct {
	Ticket string `json:"ticket" doc:"Goes with the code that confirms it."`
	Key    string `json:"key" doc:"Base32, for typing."`
	URL    string `json:"url" doc:"otpauth:, as in the QR code."`
	QR     string `json:"qr" doc:"The QR code, as a data: address of a PNG image."`
}

// Recovery are codes for the day the authenticator is lost.
type Recovery struct {
	Session *wire.Session `json:"session,omitempty" doc:"Of the sign-in that waited for the authenticator."`
	Codes   []string      `json:"codes" doc:"Each good once. They are shown this once."`
}

type withCookie[T any] struct {
	SetCookie http.Cookie `header:"Set-Cookie"`
	Body      T
}

func enrolment(e access.Enrolment, err error) (Enrolment, error) {
	if err != nil {
		return Enrolment{}, told(err)
	}
	code, err := qr.Encode(e.URL, qr.M)
	if err != nil {
		return Enrolment{}, err
	}
	return Enrolment{e.Ticket, e.Key, e.URL, "data:image/png;base64," + base64.StdEncoding.EncodeToString(code.PNG())}, nil
}

func (s *server) signIn() {
	route := func(path, id, summary, doc string) frame.Route {
		return frame.Route{Method: http.MethodPost, Path: "/v1/sign-in/" + path, ID: id, Summary: summary, Doc: doc, Tag: "session", Access: frame.Anyone, SignIn: true}
	}
	password := route("password", "checkPassword", "Begin to sign in by password",
		"It opens nothing by itself: a second factor does. 403 in the same words and about the same time whether the account or the password is wrong; 429 when somebody guesses.")
	frame.Add(s.Server, password, func(ctx context.Context, in *struct{ Body PasswordSignIn }) (Owed, error) {
		if o, err := s.Access.OperatorByEmail(ctx, in.Body.Email); err == nil {
			frame.Tried(ctx, access.PartyOperator, o.ID)
		}
		ticket, next, err := s.Access.Password(ctx, in.Body.Email, in.Body.Password, frame.CallerOf(ctx).Caller())
		return Owed{ticket, next}, told(err)
	})
	code := route("code", "signInByCode", "Sign in by the code of an authenticator", "After the password. Sets the session cookie.")
	huma.Register(s.API, code.Operation(), func(ctx context.Context, in *struct{ Body TicketCode }) (*withCookie[wire.Session], error) {
		session, secret, err := s.Access.Code(ctx, in.Body.Ticket, in.Body.Code, frame.CallerOf(ctx).Caller())
		if err != nil {
			return nil, s.Problem(ctx, told(err))
		}
		cookie, p, err := s.open(ctx, session, secret)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &withCookie[wire.Session]{cookie, s.d.Describe(&p)}, nil
	})
	begin := route("enrol", "beginFirstAuthenticator", "Set up an authenticator at the first sign-in", "After the password, where no second factor is set up.")
	begin.Asks, begin.SignIn = true, false
	frame.Add(s.Server, begin, func(ctx context.Context, in *struct {
		Body struct {
			Ticket string `json:"ticket" minLength:"1" maxLength:"200"`
		}
	},
	) (Enrolment, error) {
		return enrolment(s.Access.EnrolFirst(ctx, in.Body.Ticket))
	})
	done := route("enrolled", "confirmFirstAuthenticator", "Confirm the first authenticator by its code, and sign in", "Sets the session cookie and shows the recovery codes.")
	huma.Register(s.API, done.Operation(), func(ctx context.Context, in *struct{ Body TicketCode }) (*withCookie[Recovery], error) {
		codes, session, secret, err := s.Access.Enrolled(ctx, in.Body.Ticket, in.Body.Code, "", frame.CallerOf(ctx).Caller())
		if err != nil {
			return nil, s.Problem(ctx, told(err))
		}
		if session.ID == "" {
			return &withCookie[Recovery]{Body: Recovery{Codes: codes}}, nil
		}
		cookie, p, err := s.open(ctx, session, secret)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		described := s.d.Describe(&p)
		return &withCookie[Recovery]{cookie, Recovery{&described, codes}}, nil
	})
}

func (s *server) open(ctx context.Context, session access.Session, secret string) (http.Cookie, frame.Principal, error) {
	p, err := s.SessionPrincipal(ctx, session)
	if err != nil {
		return http.Cookie{}, p, err
	}
	frame.SignedIn(ctx, &p)
	return s.Cookie(wire.OperatorCookie, secret, p), p, nil
}
