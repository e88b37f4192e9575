package api

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fleet"
)

// Defaults of a claim token.
const (
	claimUses = 1000
	claimLife = 7 * 24 * time.Hour
)

type claimTokenIn struct {
	frame.NameParam
	Body *wire.NewClaimToken `required:"false"`
}

type claimTokenList struct {
	frame.NameParam
	wire.PageParams
}

type claimList struct {
	wire.PageParams
	Product string `query:"product"`
	State   string `query:"state" enum:"pending,approved,rejected"`
}

type rejectIn struct {
	frame.IDParam
	Body *wire.Why `required:"false"`
}

func (s *server) claims() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/products/{name}/claim-token", ID: "createClaimToken", Summary: "Make a claim token",
		Doc: "Units of the product can then ask to be enrolled.", Tag: "claims", Access: access.Enrol, Sight: frame.ByProduct, Status: http.StatusCreated,
	}, func(ctx context.Context, in *claimTokenIn) (wire.ClaimTokenIssued, error) {
		uses, life := claimUses, claimLife
		if in.Body != nil && in.Body.MaxUses > 0 {
			uses = in.Body.MaxUses
		}
		if in.Body != nil && in.Body.Expires > 0 {
			life = time.Duration(in.Body.Expires)
		}
		secret, t, err := s.d.Provisioning.CreateClaimToken(ctx, in.Name, uses, s.d.Clock.Now().Add(life), frame.Who(ctx).Email)
		return wire.ClaimTokenIssued{ID: t.ID, Product: t.Product, Token: secret, MaxUses: t.MaxUses, ExpiresAt: t.ExpiresAt}, err
	})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/products/{name}/claim-tokens", ID: "listClaimTokens", Summary: "List a product's claim tokens", Tag: "claims", Access: access.Enrol, Sight: frame.ByProduct},
		func(ctx context.Context, in *claimTokenList) (wire.Page[fleet.ClaimToken], error) {
			all, err := s.d.Provisioning.ClaimTokens(ctx, in.Name)
			return frame.PageAfter(all, in.PageParams, func(t fleet.ClaimToken) string { return t.ID }), err
		})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: "/v1/claim-tokens/{id}", ID: "revokeClaimToken", Summary: "Revoke a claim token", Doc: "Claims made with it stay.", Tag: "claims", Access: access.Enrol, Sight: frame.ByProduct},
		func(ctx context.Context, in *frame.IDParam) error {
			return s.d.Provisioning.RevokeClaimToken(ctx, in.ID)
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/v1/claims", ID: "listClaims", Summary: "List claims", Tag: "claims", Access: access.Look, Sight: frame.ByProduct},
		func(ctx context.Context, in *claimList) (wire.Page[fleet.Claim], error) {
			list, err := s.d.Provisioning.Claims(ctx, fleet.ClaimFilter{Product: in.Product, State: fleet.ClaimState(in.State), After: in.After, Limit: in.Limit + 1})
			return frame.Page(list, in.Limit, func(c fleet.Claim) string { return c.ID }), err
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/v1/claims/{id}/approve", ID: "approveClaim", Summary: "Approve a claim", Doc: "The unit can then use the secret it made.", Tag: "claims", Access: access.Enrol, Sight: frame.ByProduct},
		func(ctx context.Context, in *frame.IDParam) (fleet.Claim, error) {
			return s.d.Provisioning.ApproveClaim(ctx, in.ID, frame.Who(ctx).Email)
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodPost, Path: "/v1/claims/{id}/reject", ID: "rejectClaim", Summary: "Reject a claim", Tag: "claims", Access: access.Enrol, Sight: frame.ByProduct},
		func(ctx context.Context, in *rejectIn) (fleet.Claim, error) {
			return s.d.Provisioning.RejectClaim(ctx, in.ID, frame.Who(ctx).Email, why(in.Body, "rejected by an operator"))
		})
}

// why is the reason given, or another.
func why(w *wire.Why, otherwise string) string {
	if w == nil || w.Why == "" {
		return otherwise
	}
	return w.Why
}
