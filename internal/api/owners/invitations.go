package owners

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet/people"
)

// NewInvitation invites somebody.
type NewInvitation struct {
	Kind      people.OfferKind `json:"kind" enum:"drive,own" doc:"drive: to use the unit beside its owner. own: to own it instead."`
	Email     string           `json:"email" maxLength:"254"`
	MayUpdate bool             `json:"mayUpdate,omitempty" doc:"A driver may start, schedule and postpone updates."`
}

// AnswerByLink answers an invitation by the link that was mailed.
type AnswerByLink struct {
	Token    string `json:"token" maxLength:"200"`
	Accept   bool   `json:"accept"`
	Locale   string `json:"locale,omitempty" maxLength:"35" doc:"BCP 47 tag of the account, if one is made."`
	TimeZone string `json:"timeZone,omitempty" maxLength:"100" doc:"IANA name, of the account if one is made."`
}

// Answered is what came of an answer.
type Answered struct {
	State  people.OfferState `json:"state" enum:"accepted,declined"`
	Kind   people.OfferKind  `json:"kind" enum:"drive,own,request"`
	UnitID string            `json:"unitId,omitempty" doc:"That whoever asks has now."`
	Email  string            `json:"email,omitempty" doc:"Who was signed in by the link."`
}

func (s *server) invitations() {
	const path = "/owner/v1/invitations"
	invite := mine(http.MethodPost, "/owner/v1/units/{id}/invitations", "invite", "Invite somebody by mail to use a unit, or to own it instead")
	invite.Doc = "The link in the mail works for seven days, until it is answered or taken back."
	invite.Status = http.StatusCreated
	frame.Add(s.Server, invite, func(ctx context.Context, in *struct {
		frame.IDParam
		Body NewInvitation
	},
	) (MyInvitation, error) {
		o, err := s.p.Invite(ctx, frame.Who(ctx).ID, in.ID, people.Invitation{Kind: in.Body.Kind, Email: in.Body.Email, MayUpdate: in.Body.MayUpdate})
		if err != nil {
			return MyInvitation{}, err
		}
		return s.view(ctx, &o)
	})
	frame.Add(s.Server, mine(http.MethodGet, path, "listMyInvitations", "What waits: invitations to whoever asks, requests for their units, their own requests"),
		func(ctx context.Context, _ *frame.None) (wire.List[MyInvitation], error) {
			all, err := s.p.Inbox(ctx, frame.Who(ctx).ID)
			if err != nil {
				return wire.List[MyInvitation]{}, err
			}
			out, err := s.views(ctx, all)
			me := frame.Who(ctx)
			for i := range out { // a request of one's own waits for another
				if all[i].Kind == people.Request {
					out[i].Yours = all[i].OwnerID == me.ID
				} else {
					out[i].Yours = all[i].Email == me.Email
				}
			}
			return wire.List[MyInvitation]{Items: out}, err
		})
	answer := mine(http.MethodPost, path+"/{id}", "answerInvitation", "Accept or decline an invitation, or a request for a unit of one's own")
	frame.Add(s.Server, answer, func(ctx context.Context, in *struct {
		frame.IDParam
		Body struct {
			Accept bool `json:"accept"`
		}
	},
	) (Answered, error) {
		o, err := s.p.Answer(ctx, frame.Who(ctx).ID, in.ID, in.Body.Accept)
		if err != nil {
			return Answered{}, err
		}
		return s.answered(ctx, &o, frame.Who(ctx).ID)
	})
	frame.Do(s.Server, mine(http.MethodDelete, path+"/{id}", "withdrawInvitation", "Take back an invitation or request of one's own"),
		func(ctx context.Context, in *frame.IDParam) error { return s.p.Withdraw(ctx, frame.Who(ctx).ID, in.ID) })

	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: path + "/look", ID: "lookAtInvitation", Summary: "What an invitation says, by the link that was mailed", Tag: "people", Access: frame.Anyone, Asks: true,
	}, func(ctx context.Context, in *struct{ Body wire.OneTime }) (MyInvitation, error) {
		o, err := s.p.OfferByLink(ctx, in.Body.Token)
		if err != nil {
			return MyInvitation{}, err
		}
		return s.view(ctx, &o)
	})
	byLink := frame.Route{
		Method: http.MethodPost, Path: path + "/answer", ID: "answerByLink", Summary: "Accept or decline an invitation by the link that was mailed",
		Doc: "Who accepts is signed in, with a new account if the address has none: sets the session cookie.", Tag: "people", Access: frame.Anyone,
	}
	huma.Register(s.API, byLink.Operation(), func(ctx context.Context, in *struct{ Body AnswerByLink }) (*struct {
		SetCookie []http.Cookie `header:"Set-Cookie"`
		Body      Answered
	}, error,
	) {
		out := &struct {
			SetCookie []http.Cookie `header:"Set-Cookie"`
			Body      Answered
		}{}
		person, o, err := s.p.AnswerByLink(ctx, in.Body.Token, in.Body.Accept, in.Body.Locale, in.Body.TimeZone)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		if out.Body, err = s.answered(ctx, &o, person); err != nil {
			return nil, s.Problem(ctx, err)
		}
		if person != "" {
			cookie, p, err := s.enter(ctx, person)
			if err != nil {
				return nil, s.Problem(ctx, err)
			}
			out.SetCookie, out.Body.Email = []http.Cookie{cookie}, p.Email
		}
		return out, nil
	})
}

func (s *server) answered(ctx context.Context, o *people.Offer, personID string) (Answered, error) {
	out := Answered{State: o.State, Kind: o.Kind}
	if personID == "" || o.State != people.Accepted || o.Kind == people.Request {
		return out, nil
	}
	u, err := s.Fleet.Unit(ctx, o.UnitID)
	out.UnitID = u.ID
	return out, err
}
