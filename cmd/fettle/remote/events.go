package remote

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
)

// eventFlags are which of a unit's events are listed.
type eventFlags struct {
	unit, kind, from, to string
	limit                int
}

func (f *eventFlags) flags(cmd *cobra.Command, c *cli) {
	cmd.Flags().StringVar(&f.unit, "unit", "", "events: of which unit")
	cmd.Flags().StringVar(&f.kind, "kind", "", "events: only feature, fault or log")
	cmd.Flags().StringVar(&f.from, "from", "", "events: from an event time on, as 2014-06-01 or 2014-06-01T12:00:00Z")
	cmd.Flags().StringVar(&f.to, "to", "", "events: before an event time")
	cmd.Flags().IntVar(&f.limit, "limit", 100, "events: at most so many, the newest")
	_ = cmd.RegisterFlagCompletionFunc("unit", func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return c.completeNames("unit")(cmd, nil, start)
	})
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"feature", "fault", "log"}, cobra.ShellCompDirectiveNoFileComp))
}

func (c *cli) listEvents(cmd *cobra.Command, f *eventFlags) error {
	if f.unit == "" {
		return fault.New(fault.Invalid, "events are a unit's: say which with --unit")
	}
	q := url.Values{}
	if f.kind != "" {
		q.Set("kind", f.kind)
	}
	for name, text := range map[string]string{"from": f.from, "to": f.to} {
		if text == "" {
			continue
		}
		t, err := parseTime(text)
		if err != nil {
			return fmt.Errorf("--%s: %w", name, err)
		}
		q.Set(name, t.UTC().Format(time.RFC3339))
	}
	events := []wire.Event{}
	for len(events) < f.limit {
		q.Set("limit", strconv.Itoa(min(f.limit-len(events), 1000)))
		var page wire.Page[wire.Event]
		if err := c.Call(cmd.Context(), http.MethodGet, "/v1/units"+segment(f.unit)+"/events?"+q.Encode(), nil, &page); err != nil {
			return err
		}
		events = append(events, page.Items...)
		if page.Next == "" {
			break
		}
		q.Set("after", page.Next)
	}
	return c.print(cmd, events, func(w io.Writer) {
		row(w, "AT", "KIND", "NAME", "WHAT", "TEXT")
		for _, e := range events {
			row(w, e.At, e.Kind, e.Name, strings.TrimSpace(strings.Join([]string{e.Title, e.Severity, e.State, e.Level}, " ")), oneLine(e.Text))
		}
	})
}

// oneLine keeps a unit's text from breaking a table, or a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
