package wear

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition/words"
)

func (s Shared) riskForecast() *cobra.Command {
	var detector, at string
	cmd := &cobra.Command{
		Use: "forecast UNIT", Aliases: []string{"forecasts"}, Short: "Tell when signals of a unit will reach their limits",
		Long: `What detectors of type trend foresee of a unit: when a signal will reach its
limit, with an interval that holds the truth four times in five. Where what was
seen does not support a forecast it says why.`,
		Example: "  fettle risk forecast WC-000017\n  fettle risk forecast WC-000017 --detector filter-wear --at 2026-03-01T00:00:00Z -o json",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: s.Names("unit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := query(map[string]string{"detector": detector})
			if at != "" {
				t, err := s.Time(at)
				if err != nil {
					return refused("--at %s: %v", at, err)
				}
				q.Set("at", t.Format(time.RFC3339Nano))
			}
			var list wire.List[wire.Forecast]
			if err := s.Client.Call(cmd.Context(), http.MethodGet, "/v1/units/"+url.PathEscape(args[0])+"/forecasts?"+q.Encode(), nil, &list); err != nil {
				return err
			}
			return s.Print(cmd, list.Items, func(w io.Writer) {
				if len(list.Items) == 0 {
					fmt.Fprintln(w, "no detector of type trend watches this unit's product")
					return
				}
				s.Row(w, "DETECTOR", "SIGNAL", "LEVEL", "LIMIT", "REACHED IN", "80 %", "ABOUT", "AS OF", "REASON")
				for _, f := range list.Items {
					s.Row(w, forecastRow(&f)...)
				}
			})
		},
	}
	cmd.Flags().StringVar(&detector, "detector", "", "only that of a detector")
	cmd.Flags().StringVar(&at, "at", "", "as it was foreseen then (default: now)")
	s.complete(cmd)
	return cmd
}

func forecastRow(f *wire.Forecast) []any {
	row := []any{f.Detector.Name, f.Signal, "", "", "", "", "", "", f.Reason}
	if f.Limit != nil {
		row[3] = words.Measured(*f.Limit, f.Unit)
	}
	if !f.At.IsZero() {
		row[7] = f.At
	}
	switch {
	case f.Withheld:
		row[8] = "the owner does not permit the detector's purpose"
	case f.Supported && f.Level != nil:
		row[2] = words.Measured(words.Round(*f.Level, 0.01*(1+max(*f.Level, -*f.Level))), f.Unit)
		row[4] = words.Span(f.Median.Sub(f.At))
		row[5] = words.Span(f.Low.Sub(f.At)) + " to " + words.Span(f.High.Sub(f.At))
		row[6] = f.Median
	}
	return row
}
