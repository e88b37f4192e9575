// Package operator holds the commands about who runs the service: operators,
// their sessions, and what one asks for and another approves.
package operator

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/operators"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
}

const roles = `Roles:
  viewer           looks at products, units, findings, campaigns and releases
  service agent    also sees owners' names, works on findings, tells owners
  engineer         also declares products, units and detectors, runs backtests
  release manager  uploads, releases, starts campaigns, approves
  privacy officer  sees owners' data, answers their requests, reads the audit trail
  admin            everything, and other operators
--product and --region bound what an operator sees, also in every list, count
and export; what is outside is not there for them. An admin is never bounded.`

// Commands are operator and approval.
func Commands(s Shared) []*cobra.Command {
	cmd := &cobra.Command{
		Use: "operator", Short: "Invite, change and remove operators",
		Long: "Invite, change and remove the people who run the service.\n\n" + roles,
	}
	cmd.AddCommand(s.invite(), s.list(), s.change(), s.switched("disable", "Sign an operator out and let neither them nor their tokens in", true),
		s.switched("enable", "Let a disabled operator in again", false), s.remove(), s.reset(), s.sessions())
	return []*cobra.Command{cmd, s.approvals()}
}

func (s Shared) invited(cmd *cobra.Command, out operators.Invited) error {
	return s.Print(cmd, out, func(w io.Writer) {
		fmt.Fprintln(w, out.Link)
		sent := "give it to them"
		if out.Mailed {
			sent = "it was mailed to them, too"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s is now %s; the link works once, for three days: %s\n", out.Operator.Email, out.Operator.Role, sent)
	})
}

func role(text string) access.Role { return access.Role(strings.ReplaceAll(text, "-", " ")) }

func roleFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "role", "", "viewer, service-agent, engineer, release-manager, privacy-officer or admin")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"viewer", "service-agent", "engineer", "release-manager", "privacy-officer", "admin"}, cobra.ShellCompDirectiveNoFileComp))
}

func (s Shared) invite() *cobra.Command {
	var name, as string
	var products, regions []string
	cmd := &cobra.Command{
		Use: "invite EMAIL --role ROLE", Short: "Make an operator and print the link that lets them in, once",
		Long:    "Make an operator and print the link that lets them in, once.\n\n" + roles,
		Example: "  fettle operator invite eve@example.org --role engineer --product wall-charger",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out operators.Invited
			in := operators.Invitation{Email: args[0], Name: name, Role: role(as), Products: products, Regions: regions}
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/operators", in, &out); err != nil {
				return err
			}
			return s.invited(cmd, out)
		},
	}
	roleFlag(cmd, &as)
	cmd.Flags().StringVar(&name, "name", "", "the person's name")
	cmd.Flags().StringSliceVar(&products, "product", nil, "see this product alone (may be given several times)")
	cmd.Flags().StringSliceVar(&regions, "region", nil, "see units of this region alone (may be given several times)")
	_ = cmd.MarkFlagRequired("role")
	return cmd
}

func (s Shared) all(cmd *cobra.Command) ([]access.Operator, error) {
	return client.All[access.Operator](cmd.Context(), s.Client, "/v1/operators", nil)
}

// find is the operator with an email address or id.
func (s Shared) find(cmd *cobra.Command, who string) (access.Operator, error) {
	all, err := s.all(cmd)
	if err != nil {
		return access.Operator{}, err
	}
	for _, o := range all {
		if o.ID == who || strings.EqualFold(o.Email, who) {
			return o, nil
		}
	}
	return access.Operator{}, fault.New(fault.NotFound, "no operator %q: see fettle operator list", who)
}

func (s Shared) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List operators", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := s.all(cmd)
			if err != nil {
				return err
			}
			return s.Print(cmd, all, func(w io.Writer) {
				s.Row(w, "EMAIL", "ROLE", "SEES", "STATE", "SINCE", "ID")
				for _, o := range all {
					sees, state := strings.Join(append(append([]string{}, o.Products...), o.Regions...), ", "), "active"
					if sees == "" {
						sees = "everything"
					}
					if o.Disabled {
						state = "disabled"
					}
					s.Row(w, o.Email, o.Role, sees, state, o.CreatedAt, o.ID)
				}
			})
		},
	}
}

func (s Shared) patch(cmd *cobra.Command, who string, c operators.OperatorChange, done string) error {
	o, err := s.find(cmd, who)
	if err != nil {
		return err
	}
	if err := s.Client.Call(cmd.Context(), http.MethodPatch, "/v1/operators/"+url.PathEscape(o.ID), c, &o); err != nil {
		return err
	}
	return s.Print(cmd, o, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", o.Email, done) })
}

func (s Shared) change() *cobra.Command {
	var name, as string
	var products, regions []string
	cmd := &cobra.Command{
		Use: "change EMAIL", Short: "Change an operator's role or what they see",
		Long:    "Change an operator's role or what they see. It takes effect with their next\nrequest, and with that of each of their tokens.\n\n" + roles,
		Example: "  fettle operator change eve@example.org --role release-manager\n  fettle operator change eve@example.org --product ''   # sees all products again",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var c operators.OperatorChange
			given := func(flag string) bool { return cmd.Flags().Changed(flag) }
			bounds := func(list []string) *[]string {
				kept := []string{}
				for _, v := range list {
					if v != "" {
						kept = append(kept, v)
					}
				}
				return &kept
			}
			if given("role") {
				r := role(as)
				c.Role = &r
			}
			if given("name") {
				c.Name = &name
			}
			if given("product") {
				c.Products = bounds(products)
			}
			if given("region") {
				c.Regions = bounds(regions)
			}
			if c == (operators.OperatorChange{}) {
				return errors.New("say what to change: --role, --name, --product or --region")
			}
			return s.patch(cmd, args[0], c, "changed")
		},
	}
	roleFlag(cmd, &as)
	cmd.Flags().StringVar(&name, "name", "", "the person's name")
	cmd.Flags().StringSliceVar(&products, "product", nil, "see this product alone (several times for several; '' for all)")
	cmd.Flags().StringSliceVar(&regions, "region", nil, "see units of this region alone (several times for several; '' for all)")
	return cmd
}

func (s Shared) switched(verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " EMAIL", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.patch(cmd, args[0], operators.OperatorChange{Disabled: &disabled}, verb+"d")
		},
	}
}

func (s Shared) remove() *cobra.Command {
	return &cobra.Command{
		Use: "remove EMAIL", Short: "Remove an operator with their sessions and tokens", Args: cobra.ExactArgs(1),
		Long: "Remove an operator with their sessions and tokens. What they did stays in the\naudit trail. The last admin cannot be removed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := s.find(cmd, args[0])
			if err != nil {
				return err
			}
			if err := s.Client.Call(cmd.Context(), http.MethodDelete, "/v1/operators/"+url.PathEscape(o.ID), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s removed\n", o.Email)
			return nil
		},
	}
}

func (s Shared) reset() *cobra.Command {
	return &cobra.Command{
		Use: "reset EMAIL", Short: "Give a new link to who lost their password or authenticator", Args: cobra.ExactArgs(1),
		Long: "Remove an operator's password and authenticator, end their sessions, and print a\nlink that lets them in once. For the last admin, where nobody can sign in any\nmore, there is fettle admin reset on the server.",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := s.find(cmd, args[0])
			if err != nil {
				return err
			}
			var out operators.Invited
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/operators/"+url.PathEscape(o.ID)+"/reset", nil, &out); err != nil {
				return err
			}
			return s.invited(cmd, out)
		},
	}
}

func (s Shared) sessions() *cobra.Command {
	var end string
	cmd := &cobra.Command{
		Use: "sessions EMAIL", Short: "Show where an operator is signed in, or end it", Args: cobra.ExactArgs(1),
		Example: "  fettle operator sessions eve@example.org\n  fettle operator sessions eve@example.org --end all",
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := s.find(cmd, args[0])
			if err != nil {
				return err
			}
			path := "/v1/operators/" + url.PathEscape(o.ID) + "/sessions"
			switch end {
			case "":
			case "all":
				err = s.Client.Call(cmd.Context(), http.MethodDelete, path, nil, nil)
			default:
				err = s.Client.Call(cmd.Context(), http.MethodDelete, path+"/"+url.PathEscape(end), nil, nil)
			}
			if err != nil {
				return err
			}
			var out wire.List[operators.OpenSession]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, path, nil, &out); err != nil {
				return err
			}
			return s.Print(cmd, out.Items, func(w io.Writer) {
				s.Row(w, "ID", "FROM", "BY", "SINCE", "LAST USED", "BROWSER")
				for _, v := range out.Items {
					s.Row(w, v.ID, v.Address, v.Way, v.CreatedAt, v.UsedAt, v.Agent)
				}
			})
		},
	}
	cmd.Flags().StringVar(&end, "end", "", "end the session with this id, or all")
	return cmd
}

func (s Shared) approvals() *cobra.Command {
	cmd := &cobra.Command{
		Use: "approval", Short: "What one operator asks for and another approves",
		Long: `Where the service is set to four eyes (fettle serve --four-eyes), a campaign
starts only when a second operator with the right to approve says yes. Nobody
approves what they asked for themselves, and no API token does: approve and
reject ask for your email address, password and the code of your authenticator.`,
	}
	var state string
	list := &cobra.Command{
		Use: "list", Short: "List what was asked for, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := "/v1/approvals"
			if state != "" {
				path += "?state=" + url.QueryEscape(state)
			}
			var out wire.List[access.Approval]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, path, nil, &out); err != nil {
				return err
			}
			return s.Print(cmd, out.Items, func(w io.Writer) {
				s.Row(w, "ID", "WHAT", "STATE", "ASKED BY", "AT", "DECIDED BY", "AT", "WHY")
				for _, a := range out.Items {
					s.Row(w, a.ID, string(a.Action)+" "+a.Object, a.State, a.AskedBy, a.AskedAt, a.DecidedBy, a.DecidedAt, a.Answer)
				}
			})
		},
	}
	list.Flags().StringVar(&state, "state", "", "only those that are pending, approved or rejected")
	cmd.AddCommand(list, s.decide("approve", "Say yes: what was asked for is done", "approved"), s.decide("reject", "Say no, or take back what you asked for", "rejected"))
	return cmd
}

func (s Shared) decide(verb, short, done string) *cobra.Command {
	var email, why string
	cmd := &cobra.Command{
		Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1),
		Example: "  fettle approval " + verb + " 0198b2c4-… --email frank@example.org",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			server, _, err := s.Client.Target()
			if err != nil {
				return err
			}
			in := bufio.NewReader(cmd.InOrStdin())
			ask := func(what string) func() (string, error) {
				return func() (string, error) {
					fmt.Fprint(cmd.ErrOrStderr(), what+": ")
					return secret(cmd, in)
				}
			}
			password, err := ask("Password of " + email)()
			if err != nil {
				return err
			}
			v := s.Client.Visit(server)
			if err := v.SignIn(cmd.Context(), email, password, ask("Code of the authenticator")); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, v.End(cmd.Context())) }()
			var out access.Approval
			if err := v.Post(cmd.Context(), "/v1/approvals/"+url.PathEscape(args[0])+"/"+verb, map[string]string{"why": why}, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) { fmt.Fprintf(w, "%s %s: %s\n", out.Action, out.Object, done) })
		},
	}
	cmd.Flags().StringVar(&email, "email", "", "who you are")
	cmd.Flags().StringVar(&why, "why", "", "the reason, kept with the decision")
	_ = cmd.MarkFlagRequired("email")
	return cmd
}

// secret reads a line that a terminal does not show.
func secret(cmd *cobra.Command, in *bufio.Reader) (string, error) {
	if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return strings.TrimSpace(string(raw)), err
	}
	line, err := in.ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		return "", errors.Join(errors.New("nothing was given"), err)
	}
	return line, nil
}
