// Package outlook serves what is foreseen of a unit's signals, and how a unit
// stands among its peers.
package outlook

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/outlook"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

type forecastsIn struct {
	frame.IDParam
	Detector string    `query:"detector" doc:"Only that of this detector."`
	Version  int       `query:"version" minimum:"0" doc:"Of the detector; absent: the newest."`
	At       time.Time `query:"at" doc:"Event time up to which is looked at, as the forecast was then; absent: all."`
}

type peersIn struct {
	frame.IDParam
	Detector string    `query:"detector" required:"true" doc:"A detector of type peers."`
	Version  int       `query:"version" minimum:"0" doc:"Of the detector; absent: the newest."`
	From     time.Time `query:"from" required:"true" doc:"Event time, included."`
	To       time.Time `query:"to" required:"true" doc:"Event time, not included."`
}

// Register adds the operations to a server.
func Register(f *frame.Server, s *outlook.Service) {
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/forecasts", ID: "listForecasts", Personal: audit.DataCondition, Summary: "When the signals of a unit will reach their limits",
		Doc: "By the product's detectors of type trend, with 80 % intervals; where what was seen does not support a forecast it says why.", Tag: "units", Access: access.Look, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *forecastsIn) (wire.List[wire.Forecast], error) {
		out := wire.List[wire.Forecast]{Items: []wire.Forecast{}}
		all, err := s.Forecasts(ctx, in.ID, condition.Ref{Name: in.Detector, Version: in.Version}, in.At)
		for i := range all {
			out.Items = append(out.Items, forecast(&all[i]))
		}
		return out, err
	})
	frame.Add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/peers", ID: "comparePeers", Personal: audit.DataCondition, Summary: "How a unit stood among its peers",
		Doc: "Means by the detector's period, against the peers that the unit has now.", Tag: "units", Access: access.Look, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *peersIn) (wire.Comparison, error) {
		if !in.From.Before(in.To) {
			return wire.Comparison{}, fault.Fields("peers", []fault.Field{{Path: "query.to", Expected: "a time after from, " + in.From.Format(time.RFC3339), Got: in.To.Format(time.RFC3339)}})
		}
		c, err := s.Compare(ctx, in.ID, condition.Ref{Name: in.Detector, Version: in.Version}, in.From, in.To)
		return comparison(&c), err
	})
}

func forecast(f *outlook.Forecast) wire.Forecast {
	out := wire.Forecast{
		Detector: f.Detector, Title: f.Title, Signal: f.Signal, Unit: f.Measure, Horizon: fleet.Duration(f.Horizon), Withheld: f.Withheld,
		At: f.At, Supported: f.Supported, Reason: f.Reason,
	}
	if !f.At.IsZero() {
		out.Limit, out.Upper = &f.Limit, f.Upper
	}
	if f.Supported {
		out.Level, out.Slope, out.Low, out.Median, out.High = &f.Level, &f.Slope, f.Low, f.Median, f.High
	}
	return out
}

func comparison(c *outlook.Comparison) wire.Comparison {
	out := wire.Comparison{
		Detector: c.Detector, Signal: c.Signal, Unit: c.Measure, Period: fleet.Duration(c.Period), Like: append([]string{}, c.Like...),
		Peers: c.Peers, Alike: c.Alike, Withheld: c.Withheld, Points: make([]wire.Standing, 0, len(c.Points)),
	}
	for _, p := range c.Points {
		out.Points = append(out.Points, wire.Standing(p))
	}
	return out
}
