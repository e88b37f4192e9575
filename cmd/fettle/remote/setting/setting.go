// Package setting holds the command about what units are set to.
package setting

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/api/settings"
	"fettle.dev/fettle/internal/api/wire"
)

// Shared is what all commands that talk to a service share.
type Shared struct {
	Client *client.Client
	Print  func(cmd *cobra.Command, v any, table func(w io.Writer)) error
	Row    func(w io.Writer, cells ...any)
	Names  func(kind string) cobra.CompletionFunc // completion
}

// Command is settings.
func Command(s Shared) *cobra.Command {
	var product string
	var drift bool
	cmd := &cobra.Command{
		Use: "settings [UNIT]", Short: "Show what units are set to, and where they drift",
		Long: `What a unit was told to be set to, and what it reports, for each parameter and
feature that its product declares; or, with --drift, the units that report
another value than they were told. Settings are changed by a Release with
settings, and a campaign, so that owners decide (docs/updates.md).`,
		Example: "  fettle settings WC-000017\n  fettle settings --drift --product wall-charger",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: s.Names("unit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			list := []settings.Setting{}
			switch {
			case drift == (len(args) == 1):
				return fmt.Errorf("name a unit, or say --drift for all that differ")
			case drift:
				q := url.Values{"limit": {"1000"}}
				if product != "" {
					q.Set("product", product)
				}
				for {
					var page wire.Page[settings.Setting]
					if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/settings/drift?"+q.Encode(), nil, &page); err != nil {
						return err
					}
					list = append(list, page.Items...)
					if page.Next == "" {
						break
					}
					q.Set("after", page.Next)
				}
			default:
				var all wire.List[settings.Setting]
				if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/units/"+url.PathEscape(args[0])+"/settings", nil, &all); err != nil {
					return err
				}
				list = all.Items
			}
			return s.Print(cmd, list, func(w io.Writer) {
				s.Row(w, "UNIT", "KIND", "NAME", "TOLD", "REPORTED", "AT", "DEFAULT", "DRIFT", "RELEASE")
				for _, x := range list {
					s.Row(w, x.UnitID, x.Kind, x.Name, with(x.Desired, x.Unit), with(x.Reported, x.Unit), x.ReportedAt, with(x.Default, x.Unit), yes(x.Drifted), x.Release)
				}
			})
		},
	}
	cmd.Flags().BoolVar(&drift, "drift", false, "units that report another value than they were told")
	cmd.Flags().StringVar(&product, "product", "", "with --drift: only units of a product")
	_ = cmd.RegisterFlagCompletionFunc("product", s.Names("product"))
	return cmd
}

func with(value json.RawMessage, measure string) string {
	text := string(value)
	if plain, err := strconv.Unquote(text); err == nil {
		text = plain
	}
	if text != "" && measure != "" {
		return text + " " + measure
	}
	return text
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}
