package words

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/notify/ladder"
)

// quarterlyFields are those of NHTSA's quarterly completion file (49 CFR 573.7).
var quarterlyFields = []string{
	"MFGTXT", "CAMPNO", "MFGCAMPNO", "RCLSUBJ", "ODATE", "ODATEEND", "RPTNO", "RPTQTR", "INVOLVED", "TTLREMEDIED", "TTLUNREACH", "TTLREMOVED", "SUBMDATE",
}

const quarterlyDoc = "One line of CSV with a header: MFGTXT, CAMPNO, MFGCAMPNO, RCLSUBJ, ODATE, ODATEEND, RPTNO, RPTQTR, INVOLVED, TTLREMEDIED, TTLUNREACH, TTLREMOVED, SUBMDATE. " +
	"Dates are YYYYMMDD in UTC. INVOLVED are the units of the campaign, TTLREMEDIED those that reported the remedy by the end of the quarter; TTLUNREACH (no step of the ladder reached the owner) " +
	"and TTLREMOVED (retired) are as of now. ODATE is when the first owner was told, ODATEEND when the last was, once all were. RPTNO counts quarters from that of ODATE. " +
	"A help in writing the report, not legal advice."

type quarterlyIn struct {
	frame.NameParam
	Quarter string `query:"quarter" pattern:"^[0-9]{4}-[1-4]$" doc:"As 2026-4; absent: the newest that is over."`
	Number  string `query:"campno" maxLength:"12" doc:"CAMPNO: the number that NHTSA gave the recall."`
	Maker   string `query:"mfgtxt" maxLength:"40" doc:"MFGTXT; absent: who answers for the data, as the product's notice says."`
}

// quarter is three months of a year.
type quarter struct{ year, number int }

func quarterOf(t time.Time) quarter {
	t = t.UTC()
	return quarter{t.Year(), (int(t.Month())-1)/3 + 1}
}

func (q quarter) String() string { return fmt.Sprintf("%d-%d", q.year, q.number) }

// begin is its first moment, in UTC; that of the next one is its end.
func (q quarter) begin() time.Time {
	return time.Date(q.year, time.Month(3*q.number-2), 1, 0, 0, 0, 0, time.UTC)
}
func (q quarter) end() time.Time { return q.begin().AddDate(0, 3, 0) }

// since counts quarters, from that one as 1.
func (q quarter) since(first quarter) int {
	return 4*(q.year-first.year) + q.number - first.number + 1
}

func (s *server) quarterly() {
	binary(s, frame.Route{
		Method: http.MethodGet, Path: "/v1/campaigns/{name}/quarterly", ID: "getQuarterly", Summary: "NHTSA's quarterly completion file of a campaign (49 CFR 573.7)",
		Doc: quarterlyDoc, Tag: "campaigns", Access: access.Look, Sight: frame.ByProduct,
	}, "text/csv", "quarterly.csv", func(ctx context.Context, in *quarterlyIn) ([]byte, error) {
		run, err := s.d.Runs.Campaign(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		if run.State == campaign.Draft {
			return nil, fault.New(fault.Conflict, "campaign %s has not started: there is nothing to report", in.Name)
		}
		now := s.d.Clock.Now()
		q := quarterOf(quarterOf(now).begin().Add(-1))
		if in.Quarter != "" {
			if _, err := fmt.Sscanf(in.Quarter, "%d-%d", &q.year, &q.number); err != nil {
				return nil, err // the description has a pattern
			}
		}
		if q.begin().After(now) {
			return nil, fault.Fields("quarterly", []fault.Field{{Path: "query.quarter", Expected: "a quarter that has begun", Got: in.Quarter}})
		}
		p, err := s.d.Fleet.Product(ctx, run.Campaign.Product)
		if err != nil {
			return nil, err
		}
		reach, err := s.d.Ladder.Reach(ctx, in.Name)
		if err != nil {
			return nil, err
		}
		done, err := s.complete(ctx, &run, q.end())
		if err != nil {
			return nil, err
		}
		maker := in.Maker
		if p.Notice != nil {
			maker = cmp.Or(maker, p.Notice.Controller.Name)
		}
		return done.file(maker, in.Number, &run, q, &reach, now)
	})
}

// completion is what the file counts.
type completion struct {
	involved, remedied, removed int
	first, last                 time.Time // when owners were told
	untold                      bool      // some still wait
}

// complete counts a campaign's units by the end of a quarter.
func (s *server) complete(ctx context.Context, run *campaign.Run, end time.Time) (out completion, err error) {
	retired, err := s.d.Fleet.Units(ctx, fleet.Filter{Product: run.Campaign.Product, State: fleet.UnitRetired})
	if err != nil {
		return out, err
	}
	gone := make(map[string]bool, len(retired))
	for i := range retired {
		gone[retired[i].ID] = true
	}
	err = campaign.EachTask(ctx, s.d.Runs, campaign.TaskFilter{CampaignID: run.ID, Wave: -1}, func(t *campaign.Task) error {
		out.involved++
		remedied := !t.InstalledAt.IsZero() && t.InstalledAt.Before(end)
		if remedied {
			out.remedied++
		} else if gone[t.UnitID] {
			out.removed++
		}
		switch at := t.OfferedAt; {
		case at.IsZero():
			out.untold = out.untold || !gone[t.UnitID] && !remedied
		case out.first.IsZero() || at.Before(out.first):
			out.first = at
		}
		if t.OfferedAt.After(out.last) {
			out.last = t.OfferedAt
		}
		return nil
	})
	if out.untold {
		out.last = time.Time{}
	}
	return out, err
}

func (c *completion) file(maker, number string, run *campaign.Run, q quarter, reach *ladder.Reach, now time.Time) ([]byte, error) {
	date := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format("20060102")
	}
	report := ""
	if n := q.since(quarterOf(c.first)); !c.first.IsZero() && n > 0 {
		report = strconv.Itoa(n)
	}
	subject := cmp.Or(run.Campaign.Title["en"], run.Campaign.Name)
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	err := w.WriteAll([][]string{quarterlyFields, {
		maker, number, run.Campaign.Name, subject, date(c.first), date(c.last), report, q.String(),
		strconv.Itoa(c.involved), strconv.Itoa(c.remedied), strconv.Itoa(reach.Unreachable), strconv.Itoa(c.removed), date(now),
	}})
	return b.Bytes(), err
}

// reached are the columns of the file of owners.
var reached = []string{"unit", "owner", "state", "steps", "of", "started", "ended", "acknowledged", "taken"}

// reachPage is how many climbs are read at a time.
const reachPage = 1000

// reachFile serves who of a campaign was told how, an owner a line.
func (s *server) reachFile() {
	type in struct {
		frame.NameParam
		State ladder.State `query:"state" enum:"climbing,acknowledged,remedied,opted out,unreachable,ended" doc:"Only these."`
	}
	r := frame.Route{
		Method: http.MethodGet, Path: "/v1/campaigns/{name}/reach/owners", ID: "reachOwners", Summary: "How far each owner of a campaign could be reached, as CSV",
		Doc: "With a header: unit, owner, state, steps, of, started, ended, acknowledged, taken. The answer's length is not known before.", Tag: "words", Access: access.Personal, Sight: frame.ByProduct, Personal: audit.DataMessages,
	}
	op := r.Operation()
	op.Responses = map[string]*huma.Response{"200": {Description: "The lines.", Content: map[string]*huma.MediaType{"text/csv": {Schema: &huma.Schema{Type: "string"}}}}}
	huma.Register(s.API, op, func(ctx context.Context, in *in) (*huma.StreamResponse, error) {
		run, err := s.d.Runs.Campaign(ctx, in.Name)
		if err == nil {
			err = audit.Looked(ctx, audit.EveryoneWith(run.Campaign.Product))
		}
		f := ladder.Filter{Campaign: in.Name, State: in.State, Limit: reachPage}
		var page []ladder.Climb
		if err == nil {
			page, err = s.d.Store.Climbs(ctx, f)
		}
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			hc.SetHeader("Content-Type", "text/csv; charset=utf-8; header=present")
			hc.SetHeader("Content-Disposition", `attachment; filename="reach-`+in.Name+`.csv"`)
			w := csv.NewWriter(hc.BodyWriter())
			err := w.Write(reached)
			for len(page) > 0 && err == nil {
				for i := range page {
					err = cmp.Or(err, w.Write(row(&page[i])))
				}
				if f.After = page[len(page)-1].ID; len(page) < reachPage || err != nil {
					break
				}
				page, err = s.d.Store.Climbs(hc.Context(), f)
			}
			if w.Flush(); cmp.Or(err, w.Error()) != nil {
				panic(http.ErrAbortHandler) // so that the client sees a broken transfer, not a whole one
			}
		}}, nil
	})
}

func row(c *ladder.Climb) []string {
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339)
	}
	return []string{c.UnitID, c.OwnerID, string(c.State), strconv.Itoa(c.Step), strconv.Itoa(len(c.Ladder.Steps)), day(c.StartedAt), day(c.EndedAt), day(c.AckedAt), c.Story()}
}
