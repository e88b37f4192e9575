package remote

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newExportCmd(c *cli) *cobra.Command {
	var path, from, to string
	var units, signals []string
	var force bool
	cmd := &cobra.Command{
		Use:   "export PRODUCT --file FILE",
		Short: "Write a product's history to a Parquet file",
		Long: `Ask the running service for the messages of a product's units and write them
to a Parquet file: one row a message, with the columns unit_id (text),
event_time and receive_time (timestamps in UTC), sequence (the unit's own
number, 0 if it sends none), then one column for each signal: double, boolean
or text, empty where the message had no such value.

What an owner does not permit to be kept is left out: a value, or the unit. It
holds personal data: keep it as you keep the data directory, and delete it when
it has served its purpose; an erasure does not reach it.

Times are RFC 3339, or a day of UTC, as 2026-09-01.`,
		Example: `  fettle export wall-charger --file history.parquet
  fettle export wall-charger --unit WC-000017 --signal current --from 2026-09-01 --to 2026-10-01
  duckdb -c "SELECT unit_id, max(plug_temperature) FROM 'history.parquet' GROUP BY ALL"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if _, err := os.Stat(path); err == nil && !force {
				return fmt.Errorf("%s is there already; --force replaces it", path)
			}
			query := url.Values{"unit": units, "signal": signals}
			for name, value := range map[string]string{"from": from, "to": to} {
				if value == "" {
					continue
				}
				at, err := parseTime(value)
				if err != nil {
					return fmt.Errorf("--%s: %w", name, err)
				}
				query.Set(name, at.UTC().Format(time.RFC3339Nano))
			}
			res, err := c.Send(cmd.Context(), http.MethodGet, "/v1/products/"+url.PathEscape(args[0])+"/export?"+query.Encode(), "", nil)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, res.Body.Close()) }()
			n, err := save(path, res.Body)
			if err != nil {
				return fmt.Errorf("export: %w", err)
			}
			saved := struct {
				File     string `json:"file"`
				Bytes    int64  `json:"bytes"`
				Rows     int64  `json:"rows"`
				Withheld int    `json:"unitsWithheld"`
			}{File: path, Bytes: n}
			saved.Rows, _ = strconv.ParseInt(res.Header.Get("Fettle-Rows"), 10, 64)
			saved.Withheld, _ = strconv.Atoi(res.Header.Get("Fettle-Units-Withheld"))
			return c.print(cmd, saved, func(w io.Writer) {
				fmt.Fprintf(w, "%s: %d rows, %s", path, saved.Rows, size(n))
				if saved.Withheld > 0 {
					fmt.Fprintf(w, "; %d units withheld, whose owners permit nothing of it", saved.Withheld)
				}
				fmt.Fprintln(w)
			})
		},
	}
	f := cmd.Flags()
	f.StringVarP(&path, "file", "f", "history.parquet", "file to write")
	f.StringSliceVar(&units, "unit", nil, "only these units (default: all)")
	f.StringSliceVar(&signals, "signal", nil, "only these signals (default: all)")
	f.StringVar(&from, "from", "", "event time, included")
	f.StringVar(&to, "to", "", "event time, not included")
	f.BoolVar(&force, "force", false, "replace a file that is there")
	_ = cmd.MarkFlagFilename("file", "parquet")
	return cmd
}
