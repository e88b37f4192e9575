package remote

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

func newClaimCmd(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use: "claim", Short: "Let units enrol themselves, and approve them",
		Long: `Units that hold a product's claim token ask to be enrolled. Compare serial, key
fingerprint and address with what is known of the unit before you approve: until
then it stores nothing.`,
	}
	token := &cobra.Command{Use: "token", Short: "Claim tokens of a product"}
	var uses int
	var expires string
	create := &cobra.Command{
		Use: "create PRODUCT", Short: "Make a claim token and print it, once", Example: "  fettle claim token create wall-charger --uses 500 --expires 30d",
		Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames("product"),
		RunE: func(cmd *cobra.Command, args []string) error {
			life, err := lifeOf(expires)
			if err != nil {
				return err
			}
			if uses < 1 {
				return fault.New(fault.Invalid, "--uses: expected a number above 0")
			}
			var t wire.ClaimTokenIssued
			if err := c.Call(cmd.Context(), http.MethodPost, "/v1/products"+segment(args[0])+"/claim-token", wire.NewClaimToken{MaxUses: uses, Expires: life}, &t); err != nil {
				return err
			}
			return c.print(cmd, t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
		},
	}
	create.Flags().IntVar(&uses, "uses", 1000, "claims it may make")
	create.Flags().StringVar(&expires, "expires", "7d", "how long it is valid")
	token.AddCommand(create, &cobra.Command{
		Use: "list PRODUCT", Short: "List a product's claim tokens", Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames("product"),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := client.All[fleet.ClaimToken](cmd.Context(), &c.Client, "/v1/products"+segment(args[0])+"/claim-tokens", nil)
			if err != nil {
				return err
			}
			return c.print(cmd, list, func(w io.Writer) {
				row(w, "ID", "USED", "OF", "EXPIRES", "REVOKED")
				for _, t := range list {
					row(w, t.ID, t.Uses, t.MaxUses, t.ExpiresAt, t.RevokedAt)
				}
			})
		},
	}, &cobra.Command{
		Use: "revoke ID", Short: "Revoke a claim token; claims made with it stay", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Call(cmd.Context(), http.MethodDelete, "/v1/claim-tokens"+segment(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "claim token %s revoked\n", args[0])
			return nil
		},
	})
	var state, product string
	list := &cobra.Command{
		Use: "list", Short: "List claims", Example: "  fettle claim list --state pending", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{}
			if state != "" {
				q.Set("state", state)
			}
			if product != "" {
				q.Set("product", product)
			}
			return c.listClaims(cmd, q)
		},
	}
	list.Flags().StringVar(&state, "state", "", "pending, approved or rejected")
	list.Flags().StringVar(&product, "product", "", "only those of a product")
	cmd.AddCommand(token, list)
	for _, v := range []struct{ verb, done string }{{"approve", "approved"}, {"reject", "rejected"}} {
		var why string
		sub := &cobra.Command{
			Use: v.verb + " CLAIM", Short: map[string]string{"approve": "Approve a claim: the unit's own secret becomes valid", "reject": "Reject a claim"}[v.verb],
			Args: cobra.ExactArgs(1), ValidArgsFunction: c.completeNames("claim"),
			RunE: func(cmd *cobra.Command, args []string) error {
				var out fleet.Claim
				var in any
				if v.verb == "reject" {
					in = wire.Why{Why: why}
				}
				if err := c.Call(cmd.Context(), http.MethodPost, "/v1/claims"+segment(args[0])+"/"+v.verb, in, &out); err != nil {
					return err
				}
				return c.print(cmd, out, func(w io.Writer) { fmt.Fprintf(w, "claim %s %s: unit %s\n", out.ID, v.done, out.UnitID) })
			},
		}
		if v.verb == "reject" {
			sub.Flags().StringVar(&why, "why", "", "the reason")
		}
		cmd.AddCommand(sub)
	}
	return cmd
}

func (c *cli) listClaims(cmd *cobra.Command, q url.Values) error {
	list, err := client.All[fleet.Claim](cmd.Context(), &c.Client, "/v1/claims", q)
	if err != nil {
		return err
	}
	return c.print(cmd, list, func(w io.Writer) {
		row(w, "ID", "PRODUCT", "SERIAL", "UNIT", "KEY FINGERPRINT", "ADDRESS", "STATE", "AT")
		for _, v := range list {
			row(w, v.ID, v.Product, v.Serial, v.UnitID, v.KeyFingerprint, v.RemoteAddress, v.State, v.CreatedAt)
		}
	})
}
