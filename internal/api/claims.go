package api

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/fleet"
)

// Defaults of a claim token.
const (
	claimUses = 1000
	claimLife = 7 * 24 * time.Hour
)

// NewClaimToken asks for a claim token.
type NewClaimToken struct {
	MaxUses int            `json:"maxUses,omitempty" minimum:"1" maximum:"1000000" doc:"Claims it may make (default 1000)."`
	Expires fleet.Duration `json:"expires,omitempty" doc:"How long it is valid (default 7d)."`
}

type claimTokenIn struct {
	NameParam
	Body *NewClaimToken `required:"false"`
}

type claimTokenList struct {
	NameParam
	PageParams
}

type claimList struct {
	PageParams
	Product string `query:"product"`
	State   string `query:"state" enum:"pending,approved,rejected"`
}

// Why gives a reason.
type Why struct {
	Why string `json:"why,omitempty" maxLength:"1000" doc:"Kept with the change."`
}

type rejectIn struct {
	IDParam
	Body *Why `required:"false"`
}

func (w *Why) text(otherwise string) string {
	if w == nil || w.Why == "" {
		return otherwise
	}
	return w.Why
}

func (s *server) claims() {
	add(s, route{
		method: http.MethodPost, path: "/v1/products/{name}/claim-token", id: "createClaimToken", summary: "Make a claim token",
		doc: "Units of the product can then ask to be enrolled.", tag: "claims", access: admin, status: http.StatusCreated,
	}, func(ctx context.Context, in *claimTokenIn) (ClaimTokenIssued, error) {
		uses, life := claimUses, claimLife
		if in.Body != nil && in.Body.MaxUses > 0 {
			uses = in.Body.MaxUses
		}
		if in.Body != nil && in.Body.Expires > 0 {
			life = time.Duration(in.Body.Expires)
		}
		secret, t, err := s.d.Provisioning.CreateClaimToken(ctx, in.Name, uses, s.d.Clock.Now().Add(life), who(ctx).Email)
		return ClaimTokenIssued{ID: t.ID, Product: t.Product, Token: secret, MaxUses: t.MaxUses, ExpiresAt: t.ExpiresAt}, err
	})
	add(s, route{method: http.MethodGet, path: "/v1/products/{name}/claim-tokens", id: "listClaimTokens", summary: "List a product's claim tokens", tag: "claims", access: read},
		func(ctx context.Context, in *claimTokenList) (Page[fleet.ClaimToken], error) {
			all, err := s.d.Provisioning.ClaimTokens(ctx, in.Name)
			return pageAfter(all, in.PageParams, func(t fleet.ClaimToken) string { return t.ID }), err
		})
	do(s, route{method: http.MethodDelete, path: "/v1/claim-tokens/{id}", id: "revokeClaimToken", summary: "Revoke a claim token", doc: "Claims made with it stay.", tag: "claims", access: admin},
		func(ctx context.Context, in *IDParam) error { return s.d.Provisioning.RevokeClaimToken(ctx, in.ID) })
	add(s, route{method: http.MethodGet, path: "/v1/claims", id: "listClaims", summary: "List claims", tag: "claims", access: read},
		func(ctx context.Context, in *claimList) (Page[fleet.Claim], error) {
			list, err := s.d.Provisioning.Claims(ctx, fleet.ClaimFilter{Product: in.Product, State: fleet.ClaimState(in.State), After: in.After, Limit: in.Limit + 1})
			return page(list, in.Limit, func(c fleet.Claim) string { return c.ID }), err
		})
	add(s, route{method: http.MethodPost, path: "/v1/claims/{id}/approve", id: "approveClaim", summary: "Approve a claim", doc: "The unit can then use the secret it made.", tag: "claims", access: admin},
		func(ctx context.Context, in *IDParam) (fleet.Claim, error) {
			return s.d.Provisioning.ApproveClaim(ctx, in.ID, who(ctx).Email)
		})
	add(s, route{method: http.MethodPost, path: "/v1/claims/{id}/reject", id: "rejectClaim", summary: "Reject a claim", tag: "claims", access: admin},
		func(ctx context.Context, in *rejectIn) (fleet.Claim, error) {
			return s.d.Provisioning.RejectClaim(ctx, in.ID, who(ctx).Email, in.Body.text("rejected by an operator"))
		})
}
