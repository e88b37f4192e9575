package operators

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet/access"
)

// Invitation asks for a new operator.
type Invitation struct {
	Email    string      `json:"email" maxLength:"254"`
	Name     string      `json:"name,omitempty" maxLength:"200"`
	Role     access.Role `json:"role" enum:"viewer,service agent,engineer,release manager,privacy officer,admin"`
	Products []string    `json:"products,omitempty" doc:"Only these are seen; none: all."`
	Regions  []string    `json:"regions,omitempty" doc:"Only units in these are seen; none: all."`
}

// Invited is an operator with the link that lets them in.
type Invited struct {
	Operator access.Operator `json:"operator"`
	Link     string          `json:"link" doc:"Works once, for three days. Give it to them; where there is mail, it was sent."`
	Mailed   bool            `json:"mailed"`
}

// OperatorChange is what changes of an operator; what is absent stays.
type OperatorChange struct {
	Name     *string      `json:"name,omitempty" maxLength:"200"`
	Role     *access.Role `json:"role,omitempty" enum:"viewer,service agent,engineer,release manager,privacy officer,admin"`
	Products *[]string    `json:"products,omitempty" doc:"Empty: all."`
	Regions  *[]string    `json:"regions,omitempty" doc:"Empty: all."`
	Disabled *bool        `json:"disabled,omitempty" doc:"A disabled operator is signed out, and neither they nor their tokens come in."`
}

// OperatorRole is a role with what it may do.
type OperatorRole struct {
	Role        access.Role         `json:"role"`
	Permissions []access.Permission `json:"permissions"`
}

func (s *server) invited(o access.Operator, link string) Invited {
	return Invited{o, s.d.Page + "#" + link, s.Access.MailAvailable()}
}

func (s *server) operators() {
	route := func(method, path, id, summary string) frame.Route {
		return frame.Route{Method: method, Path: "/v1/operators" + path, ID: id, Summary: summary, Tag: "operators", Access: access.Administer}
	}
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/roles", ID: "listRoles", Summary: "The roles of operators and what each may do", Tag: "operators", Access: frame.Self},
		func(context.Context, *frame.None) (wire.List[OperatorRole], error) {
			out := wire.List[OperatorRole]{}
			for _, r := range access.Roles {
				out.Items = append(out.Items, OperatorRole{r, r.May().List()})
			}
			return out, nil
		})
	frame.Add(s.Server, route(http.MethodGet, "", "listOperators", "List operators, oldest first"),
		func(ctx context.Context, in *wire.PageParams) (wire.Page[access.Operator], error) {
			all, err := s.Access.Operators(ctx)
			return frame.PageAfter(all, *in, func(o access.Operator) string { return o.ID }), err
		})
	frame.Add(s.Server, route(http.MethodGet, "/{id}", "getOperator", "An operator"),
		func(ctx context.Context, in *frame.IDParam) (access.Operator, error) {
			return s.Access.Operator(ctx, in.ID)
		})
	invite := route(http.MethodPost, "", "inviteOperator", "Invite an operator")
	invite.Status = http.StatusCreated
	frame.Add(s.Server, invite, func(ctx context.Context, in *struct{ Body Invitation }) (Invited, error) {
		if err := s.fresh(ctx); err != nil {
			return Invited{}, err
		}
		o, link, err := s.Access.Invite(ctx, access.Operator{
			Email: in.Body.Email, Name: in.Body.Name, Role: in.Body.Role, Products: in.Body.Products, Regions: in.Body.Regions,
		})
		return s.invited(o, link), err
	})
	change := route(http.MethodPatch, "/{id}", "changeOperator", "Change an operator")
	change.Doc = "It takes effect with their next request. 409 where nobody would be left who administers."
	frame.Add(s.Server, change, func(ctx context.Context, in *struct {
		frame.IDParam
		Body OperatorChange
	},
	) (access.Operator, error) {
		if err := s.fresh(ctx); err != nil {
			return access.Operator{}, err
		}
		return s.Access.ChangeOperator(ctx, in.ID, access.Change(in.Body))
	})
	remove := route(http.MethodDelete, "/{id}", "removeOperator", "Remove an operator with their sessions and tokens")
	remove.Doc = "What they did stays in the audit trail. 409 for the last admin."
	frame.Do(s.Server, remove, func(ctx context.Context, in *frame.IDParam) error {
		if err := s.fresh(ctx); err != nil {
			return err
		}
		return s.Access.RemoveOperator(ctx, in.ID)
	})
	reset := route(http.MethodPost, "/{id}/reset", "resetOperator", "Give an operator a new way in")
	reset.Doc = "For who lost their password or authenticator: both are removed, their sessions end, and they get a link as with an invitation."
	frame.Add(s.Server, reset, func(ctx context.Context, in *frame.IDParam) (Invited, error) {
		if err := s.fresh(ctx); err != nil {
			return Invited{}, err
		}
		link, err := s.Access.ResetOperator(ctx, in.ID)
		if err != nil {
			return Invited{}, err
		}
		o, err := s.Access.Operator(ctx, in.ID)
		return s.invited(o, link), err
	})
	frame.Add(s.Server, route(http.MethodGet, "/{id}/sessions", "listOperatorSessions", "Where an operator is signed in"),
		func(ctx context.Context, in *frame.IDParam) (wire.List[OpenSession], error) {
			if err := s.known(ctx, in.ID); err != nil {
				return wire.List[OpenSession]{}, err
			}
			all, err := s.Access.Sessions(ctx, access.PartyOperator, in.ID)
			return sessions(all, frame.Who(ctx).SessionID), err
		})
	frame.Do(s.Server, route(http.MethodDelete, "/{id}/sessions", "endOperatorSessions", "Sign an operator out everywhere"),
		func(ctx context.Context, in *frame.IDParam) error {
			if err := s.known(ctx, in.ID); err != nil {
				return err
			}
			return s.Access.EndSessions(ctx, access.PartyOperator, in.ID)
		})
	frame.Do(s.Server, route(http.MethodDelete, "/{id}/sessions/{session}", "endOperatorSession", "Sign an operator out in one place"),
		func(ctx context.Context, in *struct {
			frame.IDParam
			Session string `path:"session" maxLength:"200"`
		},
		) error {
			return s.Access.EndSession(ctx, access.PartyOperator, in.ID, in.Session)
		})
}
