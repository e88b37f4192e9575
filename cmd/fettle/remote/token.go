package remote

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

func newTokenCmd(c *cli) *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "API tokens of operators' programs"}
	var scope, expires, name string
	create := &cobra.Command{
		Use:   "create --scope read|write|admin|hawkbit",
		Short: "Make an API token and print it, once",
		Long: `Make an API token and print it, once. Scopes: read; write, which also changes;
admin, which also makes tokens, approves claims and issues units' credentials;
hawkbit, the password of tools for hawkBit (/rest/v1), which opens nothing else.`,
		Example: "  fettle token create --scope read --expires 30d --name dashboards",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			life, err := lifeOf(expires)
			if err != nil {
				return err
			}
			var t wire.IssuedToken
			if err := c.Call(cmd.Context(), http.MethodPost, "/v1/tokens", wire.NewToken{Name: name, Scope: access.Scope(scope), Expires: life}, &t); err != nil {
				return err
			}
			return c.print(cmd, t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
		},
	}
	create.Flags().StringVar(&scope, "scope", "", "read, write, admin or hawkbit")
	create.Flags().StringVar(&expires, "expires", "90d", "how long it is valid, at most 366d")
	create.Flags().StringVar(&name, "name", "made by fettle token create", "what it is for")
	_ = create.MarkFlagRequired("scope")
	_ = create.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions([]string{"read", "write", "admin", "hawkbit"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(create, &cobra.Command{
		Use: "list", Short: "List API tokens", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := client.All[access.APIToken](cmd.Context(), &c.Client, "/v1/tokens", nil)
			if err != nil {
				return err
			}
			return c.print(cmd, list, func(w io.Writer) {
				row(w, "ID", "NAME", "SCOPE", "CREATED", "EXPIRES", "LAST USED")
				for _, t := range list {
					row(w, t.ID, t.Name, t.Scope, t.CreatedAt, t.ExpiresAt, t.LastUsedAt)
				}
			})
		},
	}, &cobra.Command{
		Use: "revoke ID", Short: "Revoke an API token", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.Call(cmd.Context(), http.MethodDelete, "/v1/tokens"+segment(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "token %s revoked\n", args[0])
			return nil
		},
	})
	return cmd
}

// lifeOf reads --expires: how long something made now is valid.
func lifeOf(expires string) (fleet.Duration, error) {
	life, err := fleet.ParseDuration(expires)
	if err == nil && life <= 0 {
		err = fmt.Errorf("expected a duration above 0, as 30d")
	}
	return life, fault.Wrap(fault.Invalid, "--expires", err)
}
