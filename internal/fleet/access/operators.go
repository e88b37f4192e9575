package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// InviteLife is how long an invitation, or a link that an administrator gives, works.
const InviteLife = 72 * time.Hour

// Operators lists all, oldest first.
func (a *Service) Operators(ctx context.Context) ([]Operator, error) { return a.store.Operators(ctx) }

func (a *Service) checkOperator(o Operator) error {
	var m []fault.Field
	if !fleet.ValidEmail(o.Email) {
		m = append(m, fault.Field{Path: "email", Expected: "an email address", Got: o.Email})
	}
	if len(o.Name) > 200 {
		m = append(m, fault.Field{Path: "name", Expected: "at most 200 bytes", Got: o.Name})
	}
	if !slices.Contains(Roles, o.Role) {
		m = append(m, fault.Field{Path: "role", Expected: "one of " + roleNames(), Got: string(o.Role)})
	}
	for path, list := range map[string][]string{"products": o.Products, "regions": o.Regions} {
		if len(list) > 1000 || slices.Contains(list, "") {
			m = append(m, fault.Field{Path: path, Expected: "at most 1,000 names, none of them empty"})
		}
	}
	if o.Role == Admin && o.Sight().Limited() {
		m = append(m, fault.Field{Path: "products", Expected: "no products or regions: an admin runs the whole service"})
	}
	return fault.Fields("operator", m)
}

func roleNames() string {
	names := make([]string, 0, len(Roles))
	for _, r := range Roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// Invite makes an operator and a link that lets them in once, which works for
// InviteLife; it is mailed too, where there is mail.
func (a *Service) Invite(ctx context.Context, o Operator) (made Operator, secret string, err error) {
	o.Email = fleet.CanonicalEmail(o.Email)
	o.Products, o.Regions = tidy(o.Products), tidy(o.Regions)
	if err := a.checkOperator(o); err != nil {
		return Operator{}, "", err
	}
	o.ID, o.CreatedAt, o.Disabled = a.ids.ID(), a.clock.Now(), false
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		if err := a.store.AddOperator(ctx, o); err != nil {
			return err
		}
		secret, err = a.invite(ctx, o)
		return err
	})
	if err != nil {
		return Operator{}, "", fmt.Errorf("invite: %w", err)
	}
	return o, secret, nil
}

func tidy(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

func (a *Service) invite(ctx context.Context, o Operator) (string, error) {
	secret, now := fleet.NewSecret(LinkPrefix), a.clock.Now()
	l := Link{Hash: fleet.SecretHash(secret), Party: PartyOperator, Subject: o.ID, Trusted: true, CreatedAt: now, ExpiresAt: now.Add(InviteLife)}
	if err := a.store.AddLink(ctx, l); err != nil {
		return "", err
	}
	if a.conf.Links == nil {
		return secret, nil
	}
	return secret, a.conf.Links.SendLink(ctx, l, o.Email, "en", secret)
}

// Change is what an administrator changes of an operator; nil stays.
type Change struct {
	Name     *string
	Role     *Role
	Products *[]string
	Regions  *[]string
	Disabled *bool
}

// ChangeOperator changes an operator. It takes effect with their next request,
// and with that of each of their tokens. Somebody must be left who administers.
func (a *Service) ChangeOperator(ctx context.Context, id string, c Change) (o Operator, err error) {
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		if o, err = a.store.Operator(ctx, id); err != nil {
			return err
		}
		if c.Name != nil {
			o.Name = *c.Name
		}
		if c.Role != nil {
			o.Role = *c.Role
		}
		if c.Products != nil {
			o.Products = tidy(*c.Products)
		}
		if c.Regions != nil {
			o.Regions = tidy(*c.Regions)
		}
		if c.Disabled != nil {
			o.Disabled = *c.Disabled
		}
		if err := a.checkOperator(o); err != nil {
			return err
		}
		if err := a.store.PutOperator(ctx, o); err != nil {
			return err
		}
		if o.Disabled {
			if err := a.endOthers(ctx, id, ""); err != nil {
				return err
			}
		}
		return a.someAdmin(ctx)
	})
	if err != nil {
		return Operator{}, fmt.Errorf("change operator: %w", err)
	}
	return o, nil
}

// someAdmin refuses a change after which nobody would administer.
func (a *Service) someAdmin(ctx context.Context) error {
	all, err := a.store.Operators(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(o Operator) bool { return o.Role == Admin && !o.Disabled }) {
		return fault.New(fault.Conflict, "this is the last admin: make another operator admin first")
	}
	return nil
}

// RemoveOperator removes an operator with their sessions, tokens and factors.
// What they did stays in the audit trail.
func (a *Service) RemoveOperator(ctx context.Context, id string) error {
	err := a.tx.InTx(ctx, func(ctx context.Context) error {
		if err := a.store.DropOperator(ctx, id); err != nil {
			return err
		}
		return a.someAdmin(ctx)
	})
	if err != nil {
		return fmt.Errorf("remove operator: %w", err)
	}
	return nil
}

// ResetOperator gives an operator who lost their password or authenticator a
// link. What they signed in with until now, and what is open, ends.
func (a *Service) ResetOperator(ctx context.Context, id string) (secret string, err error) {
	err = a.tx.InTx(ctx, func(ctx context.Context) error {
		o, err := a.store.Operator(ctx, id)
		if err != nil {
			return err
		}
		if o.Disabled {
			return fault.New(fault.Conflict, "%s is disabled: enable them first", o.Email)
		}
		if err := a.endOthers(ctx, id, ""); err != nil {
			return err
		}
		if a.conf.Secrets != nil {
			if err := a.conf.Secrets.DropSecret(ctx, id); err != nil {
				return err
			}
		}
		secret, err = a.invite(ctx, o)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reset operator: %w", err)
	}
	return secret, nil
}

// EndSessions signs a person out everywhere.
func (a *Service) EndSessions(ctx context.Context, party Party, subject string) error {
	if subject == "" {
		return fault.New(fault.NotFound, "nobody is named")
	}
	return a.store.DropSession(ctx, party, subject, "")
}
