package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// ApprovalLife is how long what was asked for waits for an answer.
const ApprovalLife = 14 * 24 * time.Hour

// Action is what needs two people where four eyes are asked for.
type Action string

// StartCampaign is the one action: nothing is offered to any owner before a
// campaign is started, so that whoever lets it start lets its release out.
const StartCampaign Action = "start campaign"

// ApprovalState is where an approval stands.
type ApprovalState string

// The states.
const (
	Waiting  ApprovalState = "pending"
	Approved ApprovalState = "approved"
	Rejected ApprovalState = "rejected"
)

// Approval is what one operator asked for and another decides.
type Approval struct {
	ID        string        `json:"id"`
	Action    Action        `json:"action" enum:"start campaign"`
	Object    string        `json:"object" doc:"Name of the campaign."`
	Product   string        `json:"product"`
	Digest    string        `json:"digest" doc:"SHA-256 of what is to start, as it was when it was asked for."`
	Why       string        `json:"why,omitempty"`
	State     ApprovalState `json:"state" enum:"pending,approved,rejected"`
	AskedBy   string        `json:"askedBy" doc:"Email of the operator."`
	AskedID   string        `json:"-"`
	AskedAt   time.Time     `json:"askedAt"`
	DecidedBy string        `json:"decidedBy,omitempty"`
	DecidedID string        `json:"-"`
	DecidedAt time.Time     `json:"decidedAt,omitzero"`
	Answer    string        `json:"answer,omitempty" doc:"Why it was decided so."`
}

// ApprovalStore keeps approvals.
type ApprovalStore interface {
	AddApproval(ctx context.Context, a Approval) error
	Approval(ctx context.Context, id string) (Approval, error)
	// Approvals lists those of an object, or with "" of all, newest first.
	Approvals(ctx context.Context, action Action, object string, limit int) ([]Approval, error)
	// Decide changes a pending approval; false if it is not pending any more.
	Decide(ctx context.Context, a Approval) (bool, error)
}

// Who is an operator who asks or decides.
type Who struct {
	ID, Email string
	Token     bool // by an API token
}

// FourEyes reports whether two people must agree for a product.
func (a *Service) FourEyes(product string) bool {
	return a.conf.FourEyes != nil && a.conf.FourEyes(product)
}

// Digest is the SHA-256 of v as JSON.
func Digest(v any) (string, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// Ask asks for an action on an object. What was asked for before and is pending
// is given instead, if it is the same; if it is not, it is rejected for it.
func (a *Service) Ask(ctx context.Context, who Who, action Action, object, product, digest, why string) (out Approval, err error) {
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		all, err := a.conf.Approvals.Approvals(ctx, action, object, 1)
		if err != nil {
			return err
		}
		now := a.clock.Now()
		if len(all) > 0 && all[0].State == Waiting {
			if all[0].Digest == digest && now.Sub(all[0].AskedAt) < ApprovalLife {
				out = all[0]
				return nil
			}
			old := all[0]
			old.State, old.DecidedBy, old.DecidedID, old.DecidedAt, old.Answer = Rejected, who.Email, who.ID, now, "it was changed, or not decided in time, and was asked for anew"
			if _, err := a.conf.Approvals.Decide(ctx, old); err != nil {
				return err
			}
		}
		out = Approval{
			ID: a.ids.ID(), Action: action, Object: object, Product: product, Digest: digest, Why: why, State: Waiting,
			AskedBy: who.Email, AskedID: who.ID, AskedAt: now,
		}
		return a.conf.Approvals.AddApproval(ctx, out)
	})
	if err != nil {
		return Approval{}, fmt.Errorf("ask for an approval: %w", err)
	}
	return out, nil
}

// Approvals lists what was asked for, newest first; object "" is all.
func (a *Service) Approvals(ctx context.Context, object string, limit int) ([]Approval, error) {
	if a.conf.Approvals == nil {
		return nil, nil
	}
	return a.conf.Approvals.Approvals(ctx, StartCampaign, object, limit)
}

// Approve decides for what was asked for and does it, in one transaction.
// Nobody approves what they asked for, no token approves anything, and what was
// changed since has to be asked for anew. digest is of the object as it is now.
func (a *Service) Approve(ctx context.Context, who Who, id, answer string, digest func(context.Context, Approval) (string, error), do func(context.Context, Approval) error) (out Approval, err error) {
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		if out, err = a.pending(ctx, who, id); err != nil {
			return err
		}
		switch asker, err := a.store.Operator(ctx, out.AskedID); {
		case fault.KindOf(err) == fault.NotFound || err == nil && (asker.Disabled || !asker.Role.May()[Campaign]):
			return fault.New(fault.Conflict, "%s, who asked for it, may not start campaigns any more: somebody else has to ask", out.AskedBy)
		case err != nil:
			return err
		case asker.ID == who.ID:
			return fault.New(fault.Denied, "you asked for this yourself: somebody else has to approve it")
		}
		switch now, err := digest(ctx, out); {
		case err != nil:
			return err
		case now != out.Digest:
			return fault.New(fault.Conflict, "%s was changed since %s asked for it: it has to be asked for anew", out.Object, out.AskedBy)
		}
		if out, err = a.decide(ctx, out, who, Approved, answer); err != nil {
			return err
		}
		return do(ctx, out)
	})
	return out, err
}

// Reject decides against what was asked for; whoever asked may take it back so.
func (a *Service) Reject(ctx context.Context, who Who, id, answer string) (out Approval, err error) {
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		if out, err = a.pending(ctx, who, id); err != nil {
			return err
		}
		out, err = a.decide(ctx, out, who, Rejected, answer)
		return err
	})
	return out, err
}

func (a *Service) pending(ctx context.Context, who Who, id string) (Approval, error) {
	if a.conf.Approvals == nil {
		return Approval{}, fault.New(fault.NotFound, "no approval %q", id)
	}
	if who.Token {
		return Approval{}, fault.New(fault.Denied, "an API token decides nothing: a person has to, signed in")
	}
	out, err := a.conf.Approvals.Approval(ctx, id)
	if err != nil {
		return out, err
	}
	if out.State != Waiting {
		return out, fault.New(fault.Conflict, "it is %s already, by %s", out.State, out.DecidedBy)
	}
	if a.clock.Now().Sub(out.AskedAt) >= ApprovalLife {
		return out, fault.New(fault.Conflict, "it was asked for more than two weeks ago: it has to be asked for anew")
	}
	return out, nil
}

func (a *Service) decide(ctx context.Context, out Approval, who Who, state ApprovalState, answer string) (Approval, error) {
	out.State, out.DecidedBy, out.DecidedID, out.DecidedAt, out.Answer = state, who.Email, who.ID, a.clock.Now(), answer
	ok, err := a.conf.Approvals.Decide(ctx, out)
	if err == nil && !ok {
		err = fault.New(fault.Conflict, "somebody else has just decided")
	}
	return out, err
}

// Products makes Config.FourEyes of names of products; "all" is every product.
func Products(names []string) func(product string) bool {
	return func(product string) bool { return slices.Contains(names, "all") || slices.Contains(names, product) }
}
