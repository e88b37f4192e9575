// Package events serves what units reported beside samples.
package events

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/telemetry"
)

type listIn struct {
	frame.IDParam
	wire.PageParams
	From time.Time `query:"from" doc:"Event time, included; absent: from the first."`
	To   time.Time `query:"to" doc:"Event time, not included; absent: to the last."`
	Kind string    `query:"kind" enum:"feature,fault,log"`
}

// Register adds the operations to a server.
func Register(s *frame.Server, choices consent.Store, history telemetry.EventHistory) {
	frame.Add(s, frame.Route{
		Method: http.MethodGet, Path: "/v1/units/{id}/events", ID: "listUnitEvents", Personal: audit.DataMeasurements, Summary: "A unit's events, newest first",
		Doc: "Features used, fault codes and lines of the log, as far as the owner permits them now.", Tag: "units", Access: access.Look, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *listIn) (wire.Page[wire.Event], error) {
		u, err := s.Fleet.Unit(ctx, in.ID)
		if err != nil {
			return wire.Page[wire.Event]{}, err
		}
		p, err := s.Fleet.Product(ctx, u.Product)
		if err != nil {
			return wire.Page[wire.Event]{}, err
		}
		mask, err := choices.Mask(ctx, u.ID)
		if err != nil {
			return wire.Page[wire.Event]{}, err
		}
		q := telemetry.EventQuery{
			Product: u.Product, Unit: u.Key, Kind: telemetry.EventKinds[in.Kind], From: in.From, To: in.To, Limit: in.Limit + 1,
			Allow: func(kind telemetry.EventKind, name string) bool {
				return mask.PermitsEvent(&p, kind.String(), name)
			},
		}
		if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
			return wire.Page[wire.Event]{}, mistake("query.to", "a time after from", in.To.Format(time.RFC3339))
		}
		if in.After != "" {
			if q.After, err = parseCursor(in.After); err != nil {
				return wire.Page[wire.Event]{}, err
			}
		}
		found, err := history.Events(consent.ForShown(ctx), q)
		if err != nil {
			return wire.Page[wire.Event]{}, err
		}
		page := frame.Page(found, in.Limit, cursor)
		out := wire.Page[wire.Event]{Items: make([]wire.Event, 0, len(page.Items)), Next: page.Next}
		for i := range page.Items {
			e := &page.Items[i]
			d, _ := p.Event(e.Kind.String(), e.Name)
			out.Items = append(out.Items, wire.Event{
				ID: cursor(*e), At: time.UnixMilli(e.Event.Event).UTC(), Received: time.UnixMilli(e.Received).UTC(), Sequence: e.Sequence,
				Kind: e.Kind.String(), Name: e.Name, Title: d.Title, Severity: d.Severity,
				State: e.State.String(), Level: e.Level.String(), Text: e.Text,
			})
		}
		return out, nil
	})
}

const cursorForm = "%d.%d.%d"

func cursor(e telemetry.StoredEvent) string {
	return fmt.Sprintf(cursorForm, e.Event.Event, e.Seq, e.Index)
}

func parseCursor(s string) (*telemetry.EventCursor, error) {
	var c telemetry.EventCursor
	if _, err := fmt.Sscanf(s, cursorForm, &c.Event, &c.Seq, &c.Index); err != nil || cursor(telemetry.StoredEvent{Position: c.Position, Event: telemetry.Event{Event: c.Event}}) != s {
		return nil, mistake("query.after", "the next of a page before", s)
	}
	return &c, nil
}

func mistake(path, expected, got string) error {
	return fault.Fields("events", []fault.Field{{Path: path, Expected: expected, Got: got}})
}
