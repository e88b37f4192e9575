package remote

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
)

func completeDeclared(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	out := make([]string, 0, len(declare.Kinds))
	for _, k := range declare.Kinds {
		out = append(out, k.Short()[0])
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeKinds completes a declared kind or one of others, then names of it
// from the service.
func (c *cli) completeKinds(others ...string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			kinds, _ := completeDeclared(cmd, args, start)
			return append(kinds, others...), cobra.ShellCompDirectiveNoFileComp
		case 1:
			return c.completeNames(args[0])(cmd, nil, start)
		default:
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
	}
}

// completeNames completes names of things from the service. A service that
// does not answer soon completes nothing.
func (c *cli) completeNames(kind string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		return c.names(ctx, kind, start), cobra.ShellCompDirectiveNoFileComp
	}
}

func (c *cli) names(ctx context.Context, kind, start string) []string {
	var out []string
	switch kind = strip(kind); kind {
	case "unit":
		var p wire.Page[wire.Unit]
		if c.Call(ctx, http.MethodGet, "/v1/units?limit=50&q="+url.QueryEscape(start), nil, &p) == nil {
			for _, u := range p.Items {
				out = append(out, u.ID)
			}
		}
	case "finding":
		var p wire.Page[wire.Finding]
		if c.Call(ctx, http.MethodGet, "/v1/findings?limit=50&state=open", nil, &p) == nil {
			for _, f := range p.Items {
				out = append(out, f.ID+"\t"+f.Of()+": "+f.Title)
			}
		}
	case "cohort":
		list, err := c.cohorts(ctx, "")
		if err == nil {
			for _, s := range list {
				out = append(out, s.ID+"\t"+s.Definition.Name)
			}
		}
	case "claim":
		var p wire.Page[struct{ ID, Serial string }]
		if c.Call(ctx, http.MethodGet, "/v1/claims?limit=50&state=pending", nil, &p) == nil {
			for _, f := range p.Items {
				out = append(out, f.ID+"\t"+f.Serial)
			}
		}
	default:
		var p wire.Page[wire.Document]
		if c.Call(ctx, http.MethodGet, "/v1/declared/"+kind+"?limit=200", nil, &p) == nil {
			for _, d := range p.Items {
				out = append(out, d.Metadata.Name)
			}
		}
	}
	return out
}

// strip gives the singular of a kind's word.
func strip(word string) string {
	if k, err := declare.ParseKind(word); err == nil {
		return k.Short()[0]
	}
	for _, w := range []string{"finding", "cohort", "claim", "event"} {
		if word == w || word == w+"s" || word == w[:1]+w[1:2] {
			return w
		}
	}
	return word
}
