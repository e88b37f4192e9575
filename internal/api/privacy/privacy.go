// Package privacy is the operations by which people use their rights to their
// data, by which privacy officers answer them, and by which the audit trail is
// read.
package privacy

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/privacy"
)

// Deps is what the operations work with.
type Deps struct {
	Privacy *privacy.Service
	Trail   *audit.Trail
	Access  *access.Service
	Fleet   fleet.Store
}

type server struct {
	*frame.Server
	d Deps

	once      sync.Once
	summaries map[string]string // of operations by id
}

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) {
	s := &server{Server: f, d: d}
	s.owner()
	s.officer()
	s.trail()
}

// Erasing is the answer to who is erased.
type Erasing struct {
	Receipt privacy.ErasureReceipt `json:"receipt"`
	Secret  string                 `json:"secret" doc:"Shown once. With it and the email address the person can prove that the receipt is theirs; nobody else can tell."`
}

// Rights is what a person has asked for about their data, and what is in force.
type Rights struct {
	Requests []privacy.Request `json:"requests" doc:"By deadline."`
	Limits   []privacy.Limit   `json:"limits" doc:"Restrictions and objections in force."`
}

type askIn struct {
	Body struct {
		Kind    privacy.Kind `json:"kind" enum:"access,rectification,restriction,objection"`
		UnitID  string       `json:"unitId,omitempty" maxLength:"200" doc:"Absent: all of your products."`
		Purpose string       `json:"purpose,omitempty" maxLength:"100" doc:"Of an objection."`
		Text    string       `json:"text,omitempty" maxLength:"4000" doc:"What you want to say about it."`
	}
}

type eraseMeIn struct {
	Body struct {
		Email string `json:"email" maxLength:"254" doc:"Your own address, typed once more: there is no way back."`
	}
}

type liftIn struct {
	Unit    string `query:"unit" doc:"Absent: all of your products."`
	Purpose string `query:"purpose" doc:"Of an objection; absent: the restriction."`
}

func (s *server) owner() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/owner/v1/rights", ID: "getMyRights", Summary: "What you asked for about your data, and what is restricted",
		Tag: "owner", Access: frame.Owner, Session: true,
	}, func(ctx context.Context, _ *frame.None) (out Rights, err error) {
		me := frame.Who(ctx).ID
		if out.Requests, err = s.d.Privacy.Store().Requests(ctx, privacy.Filter{OwnerID: me, Limit: 1000}); err != nil {
			return out, err
		}
		out.Limits, err = s.d.Privacy.Store().LimitsOf(ctx, me)
		out.Requests, out.Limits = append([]privacy.Request{}, out.Requests...), append([]privacy.Limit{}, out.Limits...)
		return out, err
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/rights/requests", ID: "askForRight", Summary: "Ask for a copy, a correction, a restriction, or object",
		Doc: "A restriction and an objection act at once: the data is kept and not used. The answer comes within a month.", Tag: "owner", Access: frame.Owner, Session: true, Status: http.StatusCreated,
	}, func(ctx context.Context, in *askIn) (privacy.Request, error) {
		me := frame.Who(ctx).ID
		audit.About(ctx, me)
		audit.Changed(ctx, "kind="+string(in.Body.Kind))
		return s.d.Privacy.Request(ctx, privacy.Ask{OwnerID: me, Kind: in.Body.Kind, UnitID: in.Body.UnitID, Purpose: in.Body.Purpose, Text: in.Body.Text})
	})
	frame.Do(s.Server, frame.Route{
		Method: http.MethodDelete, Path: "/owner/v1/rights/limits", ID: "liftMyLimit", Summary: "End a restriction or an objection", Tag: "owner", Access: frame.Owner, Session: true,
	}, func(ctx context.Context, in *liftIn) error {
		return s.d.Privacy.Lift(ctx, frame.Who(ctx).ID, in.Unit, in.Purpose)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/erasure", ID: "eraseMe", Summary: "Erase everything about you",
		Doc: "You are signed out, and everything that names you goes from every store. What the law asks to be kept stays without you; the receipt says what. Follow it at /owner/v1/erasures/{id}.",
		Tag: "owner", Access: frame.Owner, Session: true, Status: http.StatusAccepted,
	}, func(ctx context.Context, in *eraseMeIn) (Erasing, error) {
		p := frame.Who(ctx)
		if !strings.EqualFold(strings.TrimSpace(in.Body.Email), p.Email) {
			return Erasing{}, fault.Fields("erasure", []fault.Field{{Path: "email", Expected: "your own address, as you sign in with it", Got: in.Body.Email}})
		}
		audit.About(ctx, p.ID)
		return s.erase(ctx, p.ID, audit.Owner)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/owner/v1/erasures/{id}", ID: "getErasure", Summary: "How far an erasure is, and its receipt",
		Doc: "Whoever was erased cannot sign in any more, so the id is all it takes; the receipt names nobody.", Tag: "owner", Access: frame.Anyone,
	}, func(ctx context.Context, in *frame.IDParam) (privacy.ErasureReceipt, error) {
		j, err := s.d.Privacy.Store().Job(ctx, in.ID)
		return j.Receipt(), err
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/owner/v1/looks", ID: "listLooks", Summary: "Who looked at your data, newest first",
		Doc: "Also what others than you changed about it. Looks of the same person at the same data within five minutes are one.", Tag: "owner", Access: frame.Owner, Session: true,
	}, s.looks)
}

func (s *server) erase(ctx context.Context, ownerID, by string) (Erasing, error) {
	j, secret, err := s.d.Privacy.Erase(ctx, ownerID, by)
	if err != nil {
		return Erasing{}, err
	}
	return Erasing{j.Receipt(), secret}, nil
}

// LookAtMine is one look at a person's data, as the person sees it: the role of who
// looked, not the name.
type LookAtMine struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Kind      string    `json:"kind" enum:"look,change"`
	Party     string    `json:"party" enum:"operator,owner,server,command,nobody" doc:"operator: somebody who works for the maker; owner: another user; server: the program by itself; command: on the maker's machine."`
	Role      string    `json:"role,omitempty" doc:"Of an operator."`
	Via       string    `json:"via,omitempty" enum:"session,token,app" doc:"token: a program did it."`
	Data      string    `json:"data,omitempty" enum:"contact,measurements,condition,updates,messages,consents,people,export,requests,backup" doc:"What was shown."`
	Operation string    `json:"operation" doc:"What was done, by its name in the API."`
	Why       string    `json:"why,omitempty" doc:"What the operation is for, in English."`
	UnitID    string    `json:"unitId,omitempty"`
	All       bool      `json:"all,omitempty" doc:"It was a look at all owners' data at once."`
	More      int       `json:"more,omitempty" doc:"How often the same was looked at since the entry before."`
}

func (s *server) looks(ctx context.Context, in *wire.PageParams) (wire.Page[LookAtMine], error) {
	me, err := s.d.Trail.Person(ctx, frame.Who(ctx).ID)
	if err != nil {
		return wire.Page[LookAtMine]{}, err
	}
	units, err := s.d.Fleet.Units(ctx, fleet.Filter{OwnerID: me.OwnerID})
	if err != nil {
		return wire.Page[LookAtMine]{}, err
	}
	f := audit.Filter{About: []string{me.Alias}, Not: me.Alias, Newest: true, Limit: in.Limit + 1}
	if len(units) > 0 {
		f.About = append(f.About, audit.Everyone)
	}
	mine := map[string]bool{}
	for _, u := range units {
		mine[u.ID] = true
		f.About = append(f.About, audit.EveryoneWith(u.Product))
	}
	if f.Before, err = cursor(in.After); err != nil {
		return wire.Page[LookAtMine]{}, err
	}
	entries, err := s.entries(ctx, f)
	if err != nil {
		return wire.Page[LookAtMine]{}, err
	}
	page := frame.Page(entries, in.Limit, func(e audit.Entry) string { return seq(e) })
	out := wire.Page[LookAtMine]{Items: make([]LookAtMine, 0, len(page.Items)), Next: page.Next}
	for _, e := range page.Items {
		v := LookAtMine{
			ID: seq(e), At: e.At, Kind: string(e.Kind), Party: e.Actor.Party, Role: e.Actor.Role, Via: e.Actor.Via,
			Data: e.Data, Operation: e.Operation, Why: s.summary(e.Operation), More: e.Count,
		}
		if rest, ok := strings.CutPrefix(e.Object, "units/"); ok {
			if id, _, _ := strings.Cut(rest, "/"); mine[id] {
				v.UnitID = id
			}
		}
		for _, a := range e.About {
			v.All = v.All || strings.HasPrefix(a, audit.Everyone)
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}
