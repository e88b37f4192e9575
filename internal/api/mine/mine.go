// Package mine serves what an owner reads of a unit beside its condition: what
// was found and why, how the signal went, and what has happened to the unit.
// All of it is bounded by the time since the unit is the asking person's.
package mine

import (
	"context"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/maintenance"
)

// Mine is a unit as the asking person may see it.
type Mine struct {
	Unit    fleet.Unit
	Product fleet.Product
	Since   time.Time // nothing older is shown; zero: no bound
	Locale  string    // of the words
}

// Deps is what the operations work with.
type Deps struct {
	// See gives a unit that the asking person may see, or fault.NotFound.
	See         func(ctx context.Context, unitID string) (Mine, error)
	Conditions  *condition.Service
	Maintenance *maintenance.Service
	Runs        campaign.Store
	// Update is a task in the owner's words, as the list of updates has it.
	Update func(ctx context.Context, t *campaign.Task) (wire.MyUpdate, error)
	// Series is a signal over time, as far as the owner permits it.
	Series func(ctx context.Context, unitID, signal string, from, to time.Time, points int) (wire.Series, error)
}

type server struct {
	*frame.Server
	d Deps
}

// Register adds the operations to a server.
func Register(fs *frame.Server, d Deps) {
	s := &server{fs, d}
	const unit = "/owner/v1/units/{id}"
	get := func(path, id, summary, doc string) frame.Route {
		return frame.Route{Method: http.MethodGet, Path: unit + path, ID: id, Summary: summary, Doc: doc, Tag: "owner", Access: frame.Owner}
	}
	frame.Add(fs, get("/findings", "listMyFindings", "What was found on a unit, newest first",
		"Each with the words and figures that explain it: the signal, the tolerance, the furthest value and how long it had to last."), s.findings)
	frame.Add(fs, get("/findings/{finding}", "getMyFinding", "One finding, explained", ""), s.finding)
	frame.Add(fs, get("/series", "getMySeries", "A signal over time, with the tolerance that applied", "What the owner does not permit is withheld, from the owner's own chart as well: it is not kept."), s.series)
	frame.Add(fs, get("/history", "listMyHistory", "What happened to a unit, newest first", "Findings, updates, parts, visits, and since when the unit is the owner's."), s.history)
	frame.Add(fs, get("/help", "getMyHelp", "How to reach the maker, and what owners ask most", ""), s.help)
}

func (s *server) help(ctx context.Context, in *frame.IDParam) (wire.MyHelp, error) {
	m, err := s.d.See(ctx, in.ID)
	out := wire.MyHelp{Serial: m.Unit.Serial, Questions: []wire.MyAnswer{}}
	h := m.Product.Help
	if err != nil || h == nil {
		return out, err
	}
	c := h.Contact
	out.Name, out.Mail, out.Phone, out.URL, out.Manual = c.Name, c.Mail, c.Phone, c.URL, h.Manual
	out.Hours = fleet.InLanguage(c.Hours, m.Locale)
	for _, q := range h.Questions {
		out.Questions = append(out.Questions, wire.MyAnswer{Question: fleet.InLanguage(q.Question, m.Locale), Answer: fleet.InLanguage(q.Answer, m.Locale)})
	}
	return out, nil
}

type seriesIn struct {
	frame.IDParam
	Signal string    `query:"signal" required:"true" doc:"Name of a signal of type number or boolean."`
	From   time.Time `query:"from" required:"true" doc:"Event time, included."`
	To     time.Time `query:"to" required:"true" doc:"Event time, not included."`
	Points int       `query:"points" default:"200" minimum:"1" maximum:"2000" doc:"Most points to return."`
}

func (s *server) series(ctx context.Context, in *seriesIn) (wire.Series, error) {
	m, err := s.d.See(ctx, in.ID)
	if err != nil {
		return wire.Series{}, err
	}
	from := in.From
	if from.Before(m.Since) {
		from = m.Since
	}
	if !from.Before(in.To) && in.From.Before(in.To) { // all of it is another's time
		return wire.Series{Signal: in.Signal, From: in.From.UTC(), To: in.To.UTC(), Points: []wire.Reading{}, Bands: []wire.Band{}}, nil
	}
	return s.d.Series(ctx, m.Unit.ID, in.Signal, from, in.To, in.Points)
}
