package api

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet"
)

// Defaults of a claim token.
const (
	claimUses = 1000
	claimLife = 7 * 24 * time.Hour
)

type claimTokenIn struct {
	NameParam
	Body *wire.NewClaimToken `required:"false"`
}

type claimTokenList struct {
	NameParam
	wire.PageParams
}

type claimList struct {
	wire.PageParams
	Product string `query:"product"`
	State   string `query:"state" enum:"pending,approved,rejected"`
}

type rejectIn struct {
	IDParam
	Body *wire.Why `required:"false"`
}

func (s *server) claims() {
	add(s, route{
		method: http.MethodPost, path: "/v1/products/{name}/claim-token", id: "createClaimToken", summary: "Make a claim token",
		doc: "Units of the product can then ask to be enrolled.", tag: "claims", access: admin, status: http.StatusCreated,
	}, func(ctx context.Context, in *claimTokenIn) (wire.ClaimTokenIssued, error) {
		uses, life := claimUses, claimLife
		if in.Body != nil && in.Body.MaxUses > 0 {
			uses = in.Body.MaxUses
		}
		if in.Body != nil && in.Body.Expires > 0 {
			life = time.Duration(in.Body.Expires)
		}
		secret, t, err := s.d.Provisioning.CreateClaimToken(ctx, in.Name, uses, s.d.Clock.Now().Add(life), who(ctx).Email)
		return wire.ClaimTokenIssued{ID: t.ID, Product: t.Product, Token: secret, MaxUses: t.MaxUses, ExpiresAt: t.ExpiresAt}, err
	})
	add(s, route{method: http.MethodGet, path: "/v1/products/{name}/claim-tokens", id: "listClaimTokens", summary: "List a product's claim tokens", tag: "claims", access: read},
		func(ctx context.Context, in *claimTokenList) (wire.Page[fleet.ClaimToken], error) {
			all, err := s.d.Provisioning.ClaimTokens(ctx, in.Name)
			return pageAfter(all, in.PageParams, func(t fleet.ClaimToken) string { return t.ID }), err
		})
	do(s, route{method: http.MethodDelete, path: "/v1/claim-tokens/{id}", id: "revokeClaimToken", summary: "Revoke a claim token", doc: "Claims made with it stay.", tag: "claims", access: admin},
		func(ctx context.Context, in *IDParam) error { return s.d.Provisioning.RevokeClaimToken(ctx, in.ID) })
	add(s, route{method: http.MethodGet, path: "/v1/claims", id: "listClaims", summary: "List claims", tag: "claims", access: read},
		func(ctx context.Context, in *claimList) (wire.Page[fleet.Claim], error) {
			list, err := s.d.Provisioning.Claims(ctx, fleet.ClaimFilter{Product: in.Product, State: fleet.ClaimState(in.State), After: in.After, Limit: in.Limit + 1})
			return page(list, in.Limit, func(c fleet.Claim) string { return c.ID }), err
		})
	add(s, route{method: http.MethodPost, path: "/v1/claims/{id}/approve", id: "approveClaim", summary: "Approve a claim", doc: "The unit can then use the secret it made.", tag: "claims", access: admin},
		func(ctx context.Context, in *IDParam) (fleet.Claim, error) {
			return s.d.Provisioning.ApproveClaim(ctx, in.ID, who(ctx).Email)
		})
	add(s, route{method: http.MethodPost, path: "/v1/claims/{id}/reject", id: "rejectClaim", summary: "Reject a claim", tag: "claims", access: admin},
		func(ctx context.Context, in *rejectIn) (fleet.Claim, error) {
			return s.d.Provisioning.RejectClaim(ctx, in.ID, who(ctx).Email, why(in.Body, "rejected by an operator"))
		})
}

// why is the reason given, or another.
func why(w *wire.Why, otherwise string) string {
	if w == nil || w.Why == "" {
		return otherwise
	}
	return w.Why
}
