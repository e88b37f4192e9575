package message

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/messages"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/event"
)

const webhooks = "/v1/webhooks"

func endpoint(name string) string { return webhooks + "/" + url.PathEscape(name) }

func (s Shared) webhook() *cobra.Command {
	cmd := &cobra.Command{
		Use: "webhook", Short: "Endpoints that events go to",
		Long: `Endpoints that events go to as they happen: CloudEvents 1.0 over HTTP, signed as
Standard Webhooks say (webhook-id, webhook-timestamp, webhook-signature).`,
	}
	cmd.AddCommand(s.hooks(), s.put(), s.remove(), s.secret(), s.try(), s.log(), s.again())
	return cmd
}

func (s Shared) hooks() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List endpoints", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var page wire.Page[event.Endpoint]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, webhooks+"?limit=1000", nil, &page); err != nil {
				return err
			}
			return s.Print(cmd, page.Items, func(w io.Writer) {
				s.Row(w, "NAME", "URL", "TYPES", "PRODUCT", "STATE", "LAST SENT", "FAILURES", "ERROR")
				for _, e := range page.Items {
					types, state := "all", "on"
					if len(e.Types) > 0 {
						types = fmt.Sprint(len(e.Types))
					}
					if e.Off {
						state = strings.TrimSuffix("off: "+e.OffWhy, ": ")
					}
					s.Row(w, e.Name, e.URL, types, e.Product, state, e.SentAt, e.Failures, e.LastError)
				}
			})
		},
	}
}

func (s Shared) put() *cobra.Command {
	in := messages.EndpointSpec{}
	var types []string
	var format string
	cmd := &cobra.Command{
		Use: "put NAME URL", Short: "Make or change an endpoint",
		Long: `Make an endpoint, or change it: what is not said goes back to its default. The
secret of a new one is printed this once; its receiver verifies with it.

Types: ` + typeNames(),
		Example: "  fettle webhook put crm https://crm.example.com/hooks/fettle --type dev.fettle.finding.opened --product wall-charger",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.URL, in.Format = args[1], event.Format(format)
			for _, t := range types {
				in.Types = append(in.Types, event.Type(t))
			}
			var out messages.EndpointSecret
			if err := s.Client.Call(cmd.Context(), http.MethodPut, endpoint(args[0]), in, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) {
				if out.Secret != "" {
					s.Row(w, "Secret:", out.Secret)
				}
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&types, "type", nil, "type of events to send; may be repeated (default: all)")
	f.StringVar(&in.Product, "product", "", "only events of a product")
	f.StringVar(&format, "format", string(event.Structured), "structured (the whole event as JSON) or binary (its data, with the rest in headers)")
	f.StringVar(&in.Contact, "contact", "", "mail address that is told when the endpoint is switched off because it only fails")
	f.BoolVar(&in.Off, "off", false, "send nothing; without it, an endpoint that was switched off is switched on")
	_ = cmd.RegisterFlagCompletionFunc("product", s.Names("product"))
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(strings.Split(typeNames(), ", "), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func typeNames() string {
	names := make([]string, len(event.Types))
	for i, t := range event.Types {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

func (s Shared) remove() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Delete an endpoint", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.Client.Call(cmd.Context(), http.MethodDelete, endpoint(args[0]), nil, nil)
		},
	}
}

func (s Shared) secret() *cobra.Command {
	return &cobra.Command{
		Use: "secret NAME", Short: "Give an endpoint a new secret, and print it",
		Long: "Give an endpoint a new secret, and print it this once. For a day messages carry\ntwo signatures, so that the receiver has time to change.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out messages.EndpointSecret
			if err := s.Client.Call(cmd.Context(), http.MethodPost, endpoint(args[0])+"/secret", nil, &out); err != nil {
				return err
			}
			return s.Print(cmd, out, func(w io.Writer) { s.Row(w, "Secret:", out.Secret) })
		},
	}
}

func (s Shared) try() *cobra.Command {
	return &cobra.Command{
		Use: "test NAME", Short: "Send an endpoint a test event", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var m notify.Message
			if err := s.Client.Call(cmd.Context(), http.MethodPost, endpoint(args[0])+"/test", nil, &m); err != nil {
				return err
			}
			return s.Print(cmd, m, func(w io.Writer) { s.Row(w, "Message:", m.ID) })
		},
	}
}

func (s Shared) log() *cobra.Command {
	var state string
	var most int
	cmd := &cobra.Command{
		Use: "log NAME", Short: "List what was sent to an endpoint, newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := url.Values{}
			if state != "" {
				q.Set("state", state)
			}
			list, err := all[notify.Message](cmd, s.Client, endpoint(args[0])+"/messages", q, most)
			if err != nil {
				return err
			}
			return s.Print(cmd, list, func(w io.Writer) {
				s.Row(w, "ID", "TYPE", "ABOUT", "STATE", "MADE", "SENT", "ATTEMPTS", "ERROR")
				for _, m := range list {
					s.Row(w, m.ID, m.Subject, m.About, m.State, m.CreatedAt, m.SentAt, m.Attempts, m.LastError)
				}
			})
		},
	}
	cmd.Flags().StringVar(&state, "state", "", "queued, sent or failed")
	cmd.Flags().IntVar(&most, "limit", 100, "how many at most")
	return cmd
}

func (s Shared) again() *cobra.Command {
	return &cobra.Command{
		Use: "resend NAME MESSAGE...", Short: "Send an endpoint events again", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args[1:] {
				if err := s.post(cmd, endpoint(args[0])+"/messages/"+url.PathEscape(id)+"/resend"); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
