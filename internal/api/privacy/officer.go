package privacy

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/privacy"
)

// DataSubject is an owner as a privacy officer sees them.
type DataSubject struct {
	ID     string          `json:"id"`
	Email  string          `json:"email"`
	Name   string          `json:"name"`
	Locale string          `json:"locale"`
	Units  []string        `json:"units"`
	Limits []privacy.Limit `json:"limits"`
}

// Asked is a request with who asked.
type Asked struct {
	privacy.Request
	Person wire.OwnerName `json:"person"`
	Late   bool           `json:"late" doc:"The deadline is over and it is not answered."`
}

type personIn struct {
	Email string `query:"email" required:"true" maxLength:"254"`
}

type requestList struct {
	wire.PageParams
	State string `query:"state" enum:"open,working,done,refused"`
	Kind  string `query:"kind" enum:"access,rectification,erasure,restriction,objection"`
}

type answerIn struct {
	frame.IDParam
	Body struct {
		State  privacy.State `json:"state" enum:"open,done,refused" doc:"open goes with extend."`
		Text   string        `json:"text" minLength:"1" maxLength:"4000" doc:"What the person is told. A refusal says why, and where they can complain."`
		Extend bool          `json:"extend,omitempty" doc:"Two months more, for the reason in text (GDPR 12(3))."`
	}
}

type erasePersonIn struct {
	frame.IDParam
	Body struct {
		Email string `json:"email" maxLength:"254" doc:"The person's address, typed once more: there is no way back."`
	}
}

func (s *server) officer() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/privacy/person", ID: "findPerson", Summary: "Find an owner by their address",
		Tag: "privacy", Access: access.Privacy, Personal: audit.DataContact,
	}, func(ctx context.Context, in *personIn) (DataSubject, error) {
		o, err := s.d.Fleet.OwnerByEmail(ctx, fleet.CanonicalEmail(in.Email))
		if err != nil {
			_ = audit.Looked(ctx)
			return DataSubject{}, err
		}
		out := DataSubject{ID: o.ID, Email: o.Email, Name: o.Name, Locale: o.Locale, Units: []string{}, Limits: []privacy.Limit{}}
		units, err := s.d.Fleet.Units(ctx, fleet.Filter{OwnerID: o.ID})
		if err != nil {
			return DataSubject{}, err
		}
		for _, u := range units {
			out.Units = append(out.Units, u.ID)
		}
		limits, err := s.d.Privacy.Store().LimitsOf(ctx, o.ID)
		out.Limits = append(out.Limits, limits...)
		if err != nil {
			return DataSubject{}, err
		}
		return out, audit.Looked(ctx, o.ID)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/privacy/requests", ID: "listRightsRequests", Summary: "What people asked for about their data, by deadline",
		Doc: "Each is to be answered within a month (GDPR 12(3)).", Tag: "privacy", Access: access.Privacy, Personal: audit.DataRequests,
	}, s.requests)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/privacy/requests/{id}/answer", ID: "answerRightsRequest", Summary: "Answer a request, or take two months more",
		Doc: "Refusing a restriction or an objection lifts it.", Tag: "privacy", Access: access.Privacy, Personal: audit.DataRequests,
	}, func(ctx context.Context, in *answerIn) (Asked, error) {
		r, err := s.d.Privacy.Store().Request(ctx, in.ID)
		if err != nil {
			return Asked{}, err
		}
		audit.About(ctx, r.OwnerID)
		audit.Changed(ctx, "state="+string(in.Body.State))
		r, err = s.d.Privacy.Answer(ctx, in.ID, privacy.Answering{State: in.Body.State, Text: in.Body.Text, Extend: in.Body.Extend, By: frame.Who(ctx).Email})
		if err != nil {
			return Asked{}, err
		}
		return s.asked(ctx, r)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/owners/{id}/erase", ID: "erasePerson", Summary: "Erase everything about a person",
		Doc: "Give the secret of the answer to the person: it is shown once.", Tag: "privacy", Access: access.Privacy, Status: http.StatusAccepted,
	}, func(ctx context.Context, in *erasePersonIn) (Erasing, error) {
		o, err := s.d.Fleet.Owner(ctx, in.ID)
		if err != nil {
			return Erasing{}, err
		}
		if fleet.CanonicalEmail(in.Body.Email) != o.Email {
			return Erasing{}, fault.Fields("erasure", []fault.Field{{Path: "email", Expected: "the address of this person", Got: in.Body.Email}})
		}
		audit.About(ctx, o.ID)
		return s.erase(ctx, o.ID, audit.Operator)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/privacy/erasures", ID: "listErasures", Summary: "Erasures with their receipts, newest first",
		Doc: "They name nobody.", Tag: "privacy", Access: access.Privacy,
	}, func(ctx context.Context, in *wire.PageParams) (wire.Page[privacy.ErasureReceipt], error) {
		jobs, err := s.d.Privacy.Store().Jobs(ctx, in.After, in.Limit+1)
		out := make([]privacy.ErasureReceipt, 0, len(jobs))
		for i := range jobs {
			out = append(out, jobs[i].Receipt())
		}
		return frame.Page(out, in.Limit, func(r privacy.ErasureReceipt) string { return r.ID }), err
	})
}

func (s *server) asked(ctx context.Context, r privacy.Request) (Asked, error) {
	o, err := s.d.Fleet.Owner(ctx, r.OwnerID)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return Asked{}, err
	}
	late := (r.State == privacy.Open || r.State == privacy.Working) && s.Wall.Now().After(r.DueAt)
	return Asked{r, wire.OwnerName{Email: o.Email, Name: o.Name, Locale: o.Locale, TimeZone: o.TimeZone}, late}, nil
}

func (s *server) requests(ctx context.Context, in *requestList) (wire.Page[Asked], error) {
	f := privacy.Filter{Kind: privacy.Kind(in.Kind), After: in.After, Limit: in.Limit + 1}
	if in.State != "" {
		f.States = []privacy.State{privacy.State(in.State)}
	}
	list, err := s.d.Privacy.Store().Requests(ctx, f)
	if err != nil {
		return wire.Page[Asked]{}, err
	}
	out, owners := make([]Asked, 0, len(list)), make([]string, 0, len(list))
	for _, r := range list {
		a, err := s.asked(ctx, r)
		if err != nil {
			return wire.Page[Asked]{}, err
		}
		out, owners = append(out, a), append(owners, r.OwnerID)
	}
	if err := audit.Looked(ctx, owners...); err != nil {
		return wire.Page[Asked]{}, err
	}
	return frame.Page(out, in.Limit, func(a Asked) string { return a.ID }), nil
}
