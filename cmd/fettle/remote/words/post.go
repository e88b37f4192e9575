package words

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/client"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/notify/template"
)

func reach(cmd *cobra.Command, s Shared, base string) error {
	var r ladder.Reach
	if err := s.Client.Call(cmd.Context(), http.MethodGet, base+"/reach", nil, &r); err != nil {
		return err
	}
	return s.Print(cmd, r, func(w io.Writer) {
		for _, x := range r.Words() {
			s.Row(w, x.Label, x.N)
		}
	})
}

// climbs lists the owners of a campaign, with how far the ladder came with each;
// to a CSV file if one is named.
func climbs(cmd *cobra.Command, s Shared, campaign, state, file string) error {
	q := url.Values{"campaign": {campaign}}
	if state != "" {
		q.Set("state", state)
	}
	var one ladder.Reach // says clearly that there is no such campaign
	if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/campaigns/"+url.PathEscape(campaign)+"/reach", nil, &one); err != nil {
		return err
	}
	all, err := client.All[ladder.Climb](cmd.Context(), s.Client, "/v1/climbs", q)
	if err != nil {
		return err
	}
	header := []string{"UNIT", "OWNER", "STATE", "STEPS", "OF", "STARTED", "ENDED", "ACKNOWLEDGED", "TAKEN"}
	cells := func(c *ladder.Climb) []string {
		return []string{
			c.UnitID, c.OwnerID, string(c.State), strconv.Itoa(c.Step), strconv.Itoa(len(c.Ladder.Steps)), day(c.StartedAt), day(c.EndedAt), day(c.AckedAt), c.Story(),
		}
	}
	if file == "" {
		return s.Print(cmd, all, func(w io.Writer) {
			row := func(cells []string) {
				out := make([]any, len(cells))
				for i := range cells {
					out[i] = cells[i]
				}
				s.Row(w, out...)
			}
			row(header)
			for i := range all {
				row(cells(&all[i]))
			}
		})
	}
	var b bytes.Buffer
	table := csv.NewWriter(&b)
	if err := table.Write(strings.Split(strings.ToLower(strings.Join(header, "\n")), "\n")); err != nil {
		return err
	}
	for i := range all {
		if err := table.Write(cells(&all[i])); err != nil {
			return err
		}
	}
	if table.Flush(); table.Error() != nil {
		return table.Error()
	}
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil { // it says who was told what
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %d owners\n", file, len(all))
	return nil
}

// writeLetter prints a preview's letter without a service.
func writeLetter(name string, r *template.Rendered) error {
	var b bytes.Buffer
	if err := letter.Preview(&b, letter.DIN, clock.Real{}.Now(), r, []string{"Your company", "Your street 1", "12345 Your town"}, []string{"Kim Berg", "Storgata 1", "0155 Oslo", "NORWAY"}); err != nil {
		return err
	}
	return os.WriteFile(name, b.Bytes(), 0o600)
}

// download writes an answer that is a file.
func download(cmd *cobra.Command, s Shared, method, path string, in any, name string) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	res, err := s.Client.Send(cmd.Context(), method, path, "application/json", body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(name, raw, 0o600) // it holds names and addresses
}

func letterCommand(s Shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "letter", Short: "Print letters to owners, and note what was sent and what came back",
		Long: `Letters wait until they are taken into a batch. A batch is printed as one PDF, or
packed for a print house: a PDF for each letter, and manifest.csv.`,
	}
	var state, about string
	list := &cobra.Command{
		Use: "list", Short: "List letters", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"state": {state}}
			if about != "" {
				q.Set("about", about)
			}
			all, err := client.All[letter.Letter](cmd.Context(), s.Client, "/v1/letters", q)
			if err != nil {
				return err
			}
			return s.Print(cmd, all, func(w io.Writer) {
				s.Row(w, "ID", "STATE", "ABOUT", "UNIT", "OWNER", "LANGUAGE", "BATCH", "SENT", "WHY")
				for _, l := range all {
					s.Row(w, l.ID, l.State, l.About, l.UnitID, l.Name, l.Language, l.Batch, day(l.SentAt), l.Why)
				}
			})
		},
	}
	list.Flags().StringVar(&state, "state", "waiting", "waiting, batched, sent, returned, unfit or stopped")
	list.Flags().StringVar(&about, "about", "", "only letters about this, as campaign/NAME")

	var format string
	var sender []string
	batch := &cobra.Command{
		Use: "batch", Short: "Take letters that wait into a batch", Args: cobra.NoArgs,
		Example: `  fettle letter batch --sender "Nordlys AS" --sender "Gate 1" --sender "0150 Oslo"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var b letter.Batch
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/letter-batches", map[string]any{"format": format, "sender": sender, "about": about}, &b); err != nil {
				return err
			}
			return s.Print(cmd, b, func(w io.Writer) { fmt.Fprintf(w, "batch %s: %d letters\n", b.ID, b.Letters) })
		},
	}
	batch.Flags().StringVar(&format, "format", string(letter.DIN), "din5008 (A4, window envelope DL) or us10 (Letter, #10 window envelope)")
	batch.Flags().StringArrayVar(&sender, "sender", nil, "a line of your address; two to five times")
	batch.Flags().StringVar(&about, "about", "", "only letters about this, as campaign/NAME")
	_ = batch.MarkFlagRequired("sender")

	batches := &cobra.Command{
		Use: "batches", Short: "List batches, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := client.All[letter.Batch](cmd.Context(), s.Client, "/v1/letter-batches", url.Values{})
			if err != nil {
				return err
			}
			return s.Print(cmd, all, func(w io.Writer) {
				s.Row(w, "ID", "MADE", "FORMAT", "LETTERS", "SENT", "RETURNED", "ABOUT", "BY")
				for _, b := range all {
					s.Row(w, b.ID, day(b.CreatedAt), b.Format, b.Letters, day(b.SentAt), b.Returned, b.About, b.By)
				}
			})
		},
	}
	var out string
	get := func(use, short, file string) *cobra.Command {
		c := &cobra.Command{
			Use: use + " BATCH", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				name := out
				if name == "" {
					name = file
				}
				if err := download(cmd, s, http.MethodGet, "/v1/letter-batches/"+url.PathEscape(args[0])+"/"+use, nil, name); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), name)
				return nil
			},
		}
		c.Flags().StringVar(&out, "to", "", "file to write (default "+file+")")
		return c
	}
	var on string
	sent := &cobra.Command{
		Use: "sent BATCH", Short: "Note the day on which a batch was given to the post", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if on == "" {
				on = clock.Real{}.Now().Format(time.DateOnly)
			}
			var b letter.Batch
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/letter-batches/"+url.PathEscape(args[0])+"/sent", map[string]any{"sentAt": on}, &b); err != nil {
				return err
			}
			return s.Print(cmd, b, func(w io.Writer) { fmt.Fprintf(w, "batch %s: %d letters sent on %s\n", b.ID, b.Letters, day(b.SentAt)) })
		},
	}
	sent.Flags().StringVar(&on, "on", "", "day, as 2026-11-22 (default: today)")
	var why string
	returned := &cobra.Command{
		Use: "returned LETTER", Short: "Note that a letter came back", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var l letter.Letter
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/letters/"+url.PathEscape(args[0])+"/returned", map[string]any{"why": why}, &l); err != nil {
				return err
			}
			return s.Print(cmd, l, func(w io.Writer) { fmt.Fprintf(w, "letter %s: returned (%s)\n", l.ID, l.Why) })
		},
	}
	returned.Flags().StringVar(&why, "why", "", "as \"moved away\"")
	cmd.AddCommand(list, batch, batches, get("pdf", "Write a batch as one PDF", "letters.pdf"), get("zip", "Pack a batch for a print house", "letters.zip"), sent, returned)
	return cmd
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.DateOnly)
}

func callCommand(s Shared) *cobra.Command {
	cmd := &cobra.Command{
		Use: "call", Short: "Work the list of owners who are to be called",
		Long: `Work the list of owners who are to be called. next gives you the call whose turn it
is, with what to say in the owner's language; it is yours for 20 minutes. end says
how it went.`,
	}
	show := func(cmd *cobra.Command, c *calls.Call) error {
		return s.Print(cmd, c, func(w io.Writer) {
			fmt.Fprintf(w, "%s  %s  %s  (%s there)\n%s, unit %s, %s; tried %d times\n\n%s\n", c.ID, c.Name, c.Phone, c.LocalTime, c.Subject, c.UnitID, c.Language, c.Tries, c.Script)
			for _, n := range c.Notes {
				fmt.Fprintf(w, "%s  %s  %s  %s\n", n.At.Format("2006-01-02 15:04"), n.Agent, n.Outcome, n.Text)
			}
		})
	}
	var state string
	list := &cobra.Command{
		Use: "list", Short: "List calls, soonest due first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := client.All[calls.Call](cmd.Context(), s.Client, "/v1/calls", url.Values{"state": {state}})
			if err != nil {
				return err
			}
			return s.Print(cmd, all, func(w io.Writer) {
				s.Row(w, "ID", "DUE", "THERE", "OWNER", "PHONE", "LANGUAGE", "UNIT", "TRIES", "LAST", "WITH")
				for _, c := range all {
					s.Row(w, c.ID, c.DueAt, c.LocalTime, c.Name, c.Phone, c.Language, c.UnitID, c.Tries, c.Outcome, c.LockedBy)
				}
			})
		},
	}
	list.Flags().StringVar(&state, "state", "open", "open, done, given up or stopped")
	one := func(use, short, method, suffix string, args cobra.PositionalArgs) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: args,
			RunE: func(cmd *cobra.Command, args []string) error {
				path := "/v1/calls"
				if len(args) == 1 {
					path += "/" + url.PathEscape(args[0])
				}
				var c calls.Call
				if err := s.Client.Call(cmd.Context(), method, path+suffix, nil, &c); err != nil {
					return err
				}
				return show(cmd, &c)
			},
		}
	}
	release := &cobra.Command{
		Use: "release CALL", Short: "Put a call back without an outcome", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.Client.Call(cmd.Context(), http.MethodPost, "/v1/calls/"+url.PathEscape(args[0])+"/release", nil, nil)
		},
	}
	var note, at string
	end := &cobra.Command{
		Use: "end CALL OUTCOME", Short: "Say how a call ended", Args: cobra.ExactArgs(2),
		Long:    "Say how a call ended: reached, \"no answer\", voicemail, \"wrong number\", refused or \"call back\" (with --at).",
		Example: "  fettle call end 0194… reached --note \"will unplug it\"\n  fettle call end 0194… \"call back\" --at 2026-11-23T17:00:00+01:00",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{"outcome": args[1], "note": note}
			if at != "" {
				t, err := s.Time(at)
				if err != nil {
					return fault.Wrap(fault.Invalid, "--at", err)
				}
				body["at"] = t
			}
			var c calls.Call
			if err := s.Client.Call(cmd.Context(), http.MethodPost, "/v1/calls/"+url.PathEscape(args[0])+"/outcome", body, &c); err != nil {
				return err
			}
			return s.Print(cmd, c, func(w io.Writer) {
				if c.State == calls.Open {
					fmt.Fprintf(w, "%s: %s; next try %s\n", c.ID, c.Outcome, c.DueAt.Format("2006-01-02 15:04 MST"))
					return
				}
				fmt.Fprintf(w, "%s: %s, %s\n", c.ID, c.Outcome, c.State)
			})
		},
	}
	end.Flags().StringVar(&note, "note", "", "what to remember; kept encrypted, gone when the owner is erased")
	end.Flags().StringVar(&at, "at", "", "when to call back")
	cmd.AddCommand(list, one("next", "Take the call whose turn it is", http.MethodPost, "/next", cobra.NoArgs), one("show CALL", "Show a call with its notes", http.MethodGet, "", cobra.ExactArgs(1)),
		one("take CALL", "Take a call of your choice", http.MethodPost, "/take", cobra.ExactArgs(1)), release, end)
	return cmd
}
