package fleet

import (
	"context"
	"time"
)

// ClaimToken lets units of a product ask to be enrolled. It enrols nothing by
// itself: an operator approves each claim.
type ClaimToken struct {
	ID        string    `json:"id"`
	Product   string    `json:"product"`
	Hash      string    `json:"-"`
	MaxUses   int       `json:"maxUses"` // claims it may make
	Uses      int       `json:"uses"`
	ExpiresAt time.Time `json:"expiresAt"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
}

// ClaimState is where a claim stands.
type ClaimState string

// The states of a claim.
const (
	ClaimPending  ClaimState = "pending"
	ClaimApproved ClaimState = "approved"
	ClaimRejected ClaimState = "rejected"
)

// Claim is a unit's request to be enrolled. The operator compares serial, key
// fingerprint and address with what is known of the unit before approving.
type Claim struct {
	ID             string     `json:"id"`
	Product        string     `json:"product"`
	Serial         string     `json:"serial"`
	Hardware       string     `json:"hardware,omitempty"`
	UnitID         string     `json:"unitId"`
	KeyFingerprint string     `json:"keyFingerprint"` // SHA-256 of the unit's public key, or of its token where it has no key
	RemoteAddress  string     `json:"remoteAddress"`
	State          ClaimState `json:"state"`
	Why            string     `json:"why,omitempty"` // of a rejection
	CreatedAt      time.Time  `json:"createdAt"`
	DecidedAt      time.Time  `json:"decidedAt,omitzero"`
	DecidedBy      string     `json:"decidedBy,omitempty"`

	TokenHash   string `json:"-"` // of the secret the unit made; valid once approved
	Certificate string `json:"-"` // fingerprint of the client certificate it showed, or of the public key it signed with; bound once approved
	ClaimToken  string `json:"-"` // id of the claim token used
	MadeUnit    bool   `json:"-"` // the unit was not known before this claim
}

// EnrolRequest is what a unit sends to be enrolled. It makes its own secret:
// a token, or a key with a self-signed client certificate, or both.
type EnrolRequest struct {
	ClaimToken     string `json:"claimToken"`
	Serial         string `json:"serial"`
	Hardware       string `json:"hardware,omitempty"`
	Token          string `json:"token,omitempty"`          // fut_ and 256 bits or more, base64url; only its hash is kept
	Certificate    string `json:"certificate,omitempty"`    // PEM
	CSR            string `json:"csr,omitempty"`            // PEM; proves the public key whose fingerprint is shown
	KeyFingerprint string `json:"keyFingerprint,omitempty"` // hex SHA-256 of the public key (SubjectPublicKeyInfo)
	RemoteAddress  string `json:"-"`
	ProvenKey      string `json:"-"` // fingerprint of a public key whose holder signed the request, for protocols that do so; bound once approved
}

// ClaimFilter picks claims; empty fields match all.
type ClaimFilter struct {
	Product string
	State   ClaimState
	Serial  string
	After   string // page: ids greater than this
	Limit   int    // 0: no limit
}

// ClaimStore keeps claim tokens and claims, both ordered by id.
type ClaimStore interface {
	AddClaimToken(ctx context.Context, t ClaimToken) error
	ClaimTokenByHash(ctx context.Context, hash string) (ClaimToken, error)
	ClaimTokens(ctx context.Context, product string) ([]ClaimToken, error)
	// UseClaimToken counts one use; false when the token has none left, is revoked or expired at a time.
	UseClaimToken(ctx context.Context, id string, at time.Time) (bool, error)
	RevokeClaimToken(ctx context.Context, id string, at time.Time) error

	AddClaim(ctx context.Context, c Claim) error
	Claim(ctx context.Context, id string) (Claim, error)
	Claims(ctx context.Context, f ClaimFilter) ([]Claim, error)
	// DecideClaim moves a pending claim to a state; fault.Conflict when it is decided already.
	DecideClaim(ctx context.Context, id string, s ClaimState, by, why string, at time.Time) error
}
