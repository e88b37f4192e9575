package data

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/telemetry"
)

func splitLines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for line := range strings.SplitSeq(text, "\n") {
			if !yield(strings.TrimSpace(line)) {
				return
			}
		}
	}
}

type shareIn struct {
	frame.IDParam
	Body wire.ShareSpec
}

type madeShare struct {
	share.Share
	Token   string `json:"token" doc:"Told once: hand it to the third party."`
	Address string `json:"address" doc:"Where it is good."`
}

func (s *server) shares() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/owner/v1/units/{id}/shares", ID: "shareData", Summary: "Share a unit's data with a third party",
		Doc: "By a token that you can end at any time; it acts within a second. Gatekeepers are refused (Data Act, article 5(3)).", Tag: "owner", Access: frame.Owner, Session: true, Status: http.StatusCreated,
	}, func(ctx context.Context, in *shareIn) (madeShare, error) {
		u, err := s.May(ctx, in.ID, people.Export)
		if err != nil {
			return madeShare{}, err
		}
		p, err := s.Fleet.Product(ctx, u.Product)
		if err != nil {
			return madeShare{}, err
		}
		b := &in.Body
		for _, purpose := range b.Purposes {
			if _, ok := p.Purpose(purpose); !ok {
				return madeShare{}, fault.Fields("share", []fault.Field{{Path: "purposes", Expected: "purposes of the product", Got: purpose}})
			}
			for _, g := range p.Signals {
				if slices.Contains(g.Purposes, purpose) {
					b.Signals = append(b.Signals, g.Name)
				}
			}
		}
		made, token, err := s.d.Shares.Create(ctx, frame.Who(ctx).ID, u.ID, &p, u.Since, share.Share{
			Recipient: b.Recipient, Contact: b.Contact, Signals: b.Signals, Events: b.Events, From: b.From, Until: b.Until,
		})
		return madeShare{made, token, s.PublicURL + "/share/v1"}, err
	})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/shares", ID: "listShares", Summary: "What I share, the newest first", Tag: "owner", Access: frame.Owner, Session: true},
		func(ctx context.Context, _ *frame.None) (wire.List[share.Share], error) {
			all, err := s.d.Shares.Shares(ctx, frame.Who(ctx).ID)
			return wire.List[share.Share]{Items: append([]share.Share{}, all...)}, err
		})
	frame.Add(s.Server, frame.Route{Method: http.MethodGet, Path: "/owner/v1/shares/{id}/uses", ID: "listShareUses", Summary: "What was fetched by a share, and when", Tag: "owner", Access: frame.Owner, Session: true},
		func(ctx context.Context, in *frame.IDParam) (wire.List[share.Use], error) {
			all, err := s.d.Shares.Uses(ctx, frame.Who(ctx).ID, in.ID)
			return wire.List[share.Use]{Items: append([]share.Use{}, all...)}, err
		})
	frame.Do(s.Server, frame.Route{Method: http.MethodDelete, Path: "/owner/v1/shares/{id}", ID: "endShare", Summary: "End a share at once", Tag: "owner", Access: frame.Owner, Session: true},
		func(ctx context.Context, in *frame.IDParam) error {
			return s.d.Shares.End(ctx, frame.Who(ctx).ID, in.ID)
		})
}

// How much a third party may ask for by one share.
const (
	shareRate    = 5 // requests a second
	shareBurst   = 20
	shareStreams = 2
	shareRows    = 5000 // a page, at most
)

// limits bound each share by itself.
type limits struct {
	mu sync.Mutex
	by map[string]*limit
}

type limit struct {
	*rate.Limiter
	streams int
	used    time.Time
}

func (l *limits) of(id string, now time.Time) *limit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.by) > 10_000 {
		for k, v := range l.by {
			if v.streams == 0 && now.Sub(v.used) > time.Minute {
				delete(l.by, k)
			}
		}
	}
	v := l.by[id]
	if v == nil {
		v = &limit{Limiter: rate.NewLimiter(shareRate, shareBurst)}
		l.by[id] = v
	}
	v.used = now
	return v
}

func (l *limits) stream(v *limit, by int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if by > 0 && v.streams >= shareStreams {
		return false
	}
	v.streams += by
	return true
}

// TokenIn is a third party's credential. It is exported because huma leaves out
// embedded structs that are not.
type TokenIn struct {
	Authorization string `header:"Authorization" doc:"Bearer and the share's token, fts_…"`
}

// opened is a share as it may be used now.
type opened struct {
	share.Share
	unit    fleet.Unit
	product fleet.Product
	limit   *limit
}

// enter lets a third party in: the token, the rate, the unit's owner, who must
// still be the one who shared.
func (s *server) enter(ctx context.Context, in *TokenIn) (*opened, error) {
	secret, ok := strings.CutPrefix(in.Authorization, "Bearer ")
	if !ok {
		return nil, huma.Error401Unauthorized("a share's token is needed: Authorization: Bearer fts_…")
	}
	v, err := s.d.Shares.Enter(ctx, strings.TrimSpace(secret))
	if fault.KindOf(err) == fault.Denied {
		return nil, huma.Error401Unauthorized(err.Error())
	}
	if err != nil {
		return nil, s.Problem(ctx, err)
	}
	out := &opened{Share: v, limit: s.limits.of(v.ID, s.Wall.Now())}
	if !out.limit.AllowN(s.Wall.Now(), 1) {
		return nil, huma.ErrorWithHeaders(huma.Error429TooManyRequests(fmt.Sprintf("at most %d requests a second by this share", shareRate)), http.Header{"Retry-After": {"1"}})
	}
	ctx = fleet.Unbounded(ctx)
	if out.unit, err = s.Fleet.Unit(ctx, v.UnitID); err == nil {
		out.product, err = s.Fleet.Product(ctx, out.unit.Product)
	}
	if err == nil && out.unit.OwnerID != v.OwnerID {
		err = huma.Error401Unauthorized("the unit has another owner now: the share is over")
	}
	if err != nil {
		return nil, s.Problem(ctx, err)
	}
	mask, err := s.d.Choices.Mask(ctx, v.UnitID)
	if err != nil {
		return nil, s.Problem(ctx, err)
	}
	if mask[consent.Restricted] {
		return nil, huma.Error403Forbidden("its owner had the use of this data restricted: nothing is given for now")
	}
	return out, nil
}

func (s *server) thirdParties() {
	route := func(path, id, summary, doc string) huma.Operation {
		op := frame.Route{Method: http.MethodGet, Path: path, ID: id, Summary: summary, Doc: doc, Tag: "share", Access: frame.Anyone}.Operation()
		op.Security = []map[string][]string{{"share": {}}}
		op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
		return op
	}
	huma.Register(s.API, route("/share/v1", "getShared", "What an owner shares by this token", ""),
		func(ctx context.Context, in *TokenIn) (*struct{ Body wire.ShareTerms }, error) {
			o, err := s.enter(ctx, in)
			if err != nil {
				return nil, err
			}
			mask, err := s.d.Choices.Mask(ctx, o.UnitID)
			if err != nil {
				return nil, s.Problem(ctx, err)
			}
			out := wire.ShareTerms{
				Recipient: o.Recipient, UnitID: o.UnitID, Product: o.product.Title, Serial: o.unit.Serial, From: o.From, Until: o.Until, Events: o.Events,
				Signals: []wire.SharedColumn{}, Rate: shareRate, Streams: shareStreams,
			}
			for _, name := range o.Signals {
				if g, ok := o.product.Signal(name); ok {
					w := g.Words(o.product.Tongue())
					out.Signals = append(out.Signals, wire.SharedColumn{
						Name: g.Name, Title: w.Title, Description: w.Description, Type: g.Type, Unit: g.Unit, Purposes: g.Purposes, Retention: g.Retention, Available: mask.Permits(&o.product, g),
					})
				}
			}
			_, err = s.d.Shares.Note(ctx, share.Use{ShareID: o.ID, What: "described"})
			return &struct{ Body wire.ShareTerms }{out}, err
		})
	type samplesIn struct {
		TokenIn
		From   time.Time `query:"from" doc:"Event time, included; absent: from the first."`
		To     time.Time `query:"to" doc:"Event time, not included; absent: to the last."`
		After  string    `query:"after" maxLength:"40" doc:"next of the answer before."`
		Limit  int       `query:"limit" default:"1000" minimum:"1" maximum:"5000"`
		Format string    `query:"format" enum:"json,csv" default:"json"`
	}
	huma.Register(s.API, route("/share/v1/samples", "getSharedSamples", "History, by event time", "Every sample as it came, as its owner has it. Give next as after to go on; with format=csv it stands in the header Fettle-Next."),
		func(ctx context.Context, in *samplesIn) (*huma.StreamResponse, error) {
			o, err := s.enter(ctx, &in.TokenIn)
			if err != nil {
				return nil, err
			}
			from, to := in.From, in.To
			if from.Before(o.From) {
				from = o.From
			}
			if in.After != "" {
				ms, err := strconv.ParseInt(in.After, 10, 64)
				if err != nil {
					return nil, huma.Error422UnprocessableEntity("after is the next of the answer before")
				}
				if at := time.UnixMilli(ms); at.After(from) {
					from = at
				}
			}
			rows, next, err := s.page(ctx, o, from, to, in.Limit)
			if err != nil {
				return nil, s.Problem(ctx, err)
			}
			n := 0
			for i := range rows {
				n += len(rows[i].Values)
			}
			if _, err := s.d.Shares.Note(ctx, share.Use{ShareID: o.ID, What: "history", Samples: int64(n)}); err != nil {
				return nil, s.Problem(ctx, err)
			}
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				if in.Format == "csv" {
					hc.SetHeader("Content-Type", "text/csv; charset=utf-8; header=present")
					hc.SetHeader("Fettle-Next", next)
					_ = writeCSV(hc.BodyWriter(), o.Signals, rows)
					return
				}
				hc.SetHeader("Content-Type", "application/json")
				_ = json.NewEncoder(hc.BodyWriter()).Encode(wire.Page[wire.SharedSample]{Items: samples(&o.product, rows), Next: next})
			}}, nil
		})
	type eventsIn struct {
		TokenIn
		From  time.Time `query:"from"`
		To    time.Time `query:"to"`
		Limit int       `query:"limit" default:"100" minimum:"1" maximum:"1000"`
	}
	huma.Register(s.API, route("/share/v1/events", "getSharedEvents", "Events, the newest first", "Features used, faults and log lines; give the time of the last one as to to go on."),
		func(ctx context.Context, in *eventsIn) (*struct{ Body wire.List[wire.Event] }, error) {
			o, err := s.enter(ctx, &in.TokenIn)
			if err != nil {
				return nil, err
			}
			out := wire.List[wire.Event]{Items: []wire.Event{}}
			if !o.Events {
				return nil, huma.Error403Forbidden("its owner shares no events")
			}
			if in.From.Before(o.From) {
				in.From = o.From
			}
			all, err := s.d.History.Events(consent.ForShown(ctx), telemetry.EventQuery{Product: o.product.Name, Unit: o.unit.Key, From: in.From, To: in.To, Limit: in.Limit})
			if err != nil {
				return nil, s.Problem(ctx, err)
			}
			for i := range all {
				out.Items = append(out.Items, event(&o.product, &all[i].Event))
			}
			_, err = s.d.Shares.Note(ctx, share.Use{ShareID: o.ID, What: "events", Samples: int64(len(all))})
			return &struct{ Body wire.List[wire.Event] }{out}, err
		})
	huma.Register(s.API, route("/share/v1/live", "streamShared", "Live data, as it comes", "Server-sent events: sample and event as in the other operations, ping every 15 seconds, end with the reason when the share ends. The stream ends within a second of that."), s.live)
}

// page reads rows from a time on, in the order of event time, at least all of
// the last millisecond. It reads longer and longer stretches until it has enough.
func (s *server) page(ctx context.Context, o *opened, from, to time.Time, limit int) (rows []telemetry.Row, next string, err error) {
	first, last, err := s.d.History.Extent(ctx, o.product.Name)
	if err != nil || first.IsZero() {
		return nil, "", err
	}
	if from.Before(first) {
		from = first
	}
	if end := last.Add(time.Millisecond); to.IsZero() || to.After(end) {
		to = end
	}
	for width := time.Hour; from.Before(to); width *= 2 {
		until := from.Add(width)
		if until.After(to) {
			until = to
		}
		q := telemetry.Query{Product: o.product.Name, Units: []int64{o.unit.Key}, Signals: o.Signals, From: from, To: until, NoMarks: true}
		if len(o.Signals) == 0 {
			return nil, "", nil
		}
		var found []telemetry.Row
		err := s.d.History.Replay(consent.ForShown(ctx), q, func(row *telemetry.Stored, _ *telemetry.StoredMark) error {
			if row != nil && len(row.Values) > 0 {
				r := row.Row
				r.Values = slices.Clone(r.Values)
				for i := range r.Values {
					r.Values[i].Text = strings.Clone(r.Values[i].Text)
				}
				found = append(found, r)
				if len(found) > 40*shareRows {
					return errMany
				}
			}
			return nil
		})
		if errors.Is(err, errMany) && width > time.Minute { // so dense: shorter stretches
			width /= 64
			continue
		}
		if err != nil && !errors.Is(err, errMany) {
			return nil, "", err
		}
		slices.SortStableFunc(found, func(a, b telemetry.Row) int { return int(min(1, max(-1, a.Event-b.Event))) })
		rows = append(rows, found...)
		from = until
		if len(rows) >= limit {
			break
		}
	}
	if len(rows) > limit {
		at := limit
		for at < len(rows) && rows[at].Event == rows[limit-1].Event {
			at++
		}
		if at < len(rows) {
			return rows[:at], strconv.FormatInt(rows[at].Event, 10), nil
		}
	}
	if from.Before(to) {
		next = strconv.FormatInt(from.UnixMilli(), 10)
	}
	return rows, next, nil
}

var errMany = errors.New("too many rows at once")

func values(p *fleet.Product, row *telemetry.Row, only []string) map[string]any {
	out := make(map[string]any, len(row.Values))
	for _, v := range row.Values {
		if only != nil && !slices.Contains(only, v.Signal) {
			continue
		}
		g, ok := p.Signal(v.Signal)
		switch {
		case !ok:
		case v.IsText:
			out[v.Signal] = v.Text
		case g.Type == fleet.Boolean:
			out[v.Signal] = v.Number != 0
		default:
			out[v.Signal] = v.Number
		}
	}
	return out
}

func sample(p *fleet.Product, row *telemetry.Row, only []string) wire.SharedSample {
	return wire.SharedSample{At: time.UnixMilli(row.Event).UTC(), Received: time.UnixMilli(row.Received).UTC(), Sequence: row.Sequence, Values: values(p, row, only)}
}

func samples(p *fleet.Product, rows []telemetry.Row) []wire.SharedSample {
	out := make([]wire.SharedSample, len(rows))
	for i := range rows {
		out[i] = sample(p, &rows[i], nil)
	}
	return out
}

func event(p *fleet.Product, e *telemetry.Event) wire.Event {
	d, _ := p.Event(e.Kind.String(), e.Name)
	return wire.Event{
		At: time.UnixMilli(e.Event).UTC(), Received: time.UnixMilli(e.Received).UTC(), Sequence: e.Sequence, Kind: e.Kind.String(), Name: e.Name,
		Title: d.Title, Severity: d.Severity, State: e.State.String(), Level: e.Level.String(), Text: e.Text,
	}
}

func writeCSV(w io.Writer, signals []string, rows []telemetry.Row) error {
	c := csv.NewWriter(w)
	if err := c.Write(append([]string{"event_time", "receive_time", "sequence"}, signals...)); err != nil {
		return err
	}
	line := make([]string, 3+len(signals))
	for i := range rows {
		r := &rows[i]
		clear(line)
		line[0], line[1] = time.UnixMilli(r.Event).UTC().Format(time.RFC3339Nano), time.UnixMilli(r.Received).UTC().Format(time.RFC3339Nano)
		if r.Sequence != 0 {
			line[2] = strconv.FormatInt(r.Sequence, 10)
		}
		for _, v := range r.Values {
			if at := slices.Index(signals, v.Signal); at >= 0 {
				if line[3+at] = v.Text; !v.IsText {
					line[3+at] = strconv.FormatFloat(v.Number, 'g', -1, 64)
				}
			}
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// live sends what the unit reports, until the share ends. The owner's choices
// and the share are looked at again every half second, and at once when a share ends.
func (s *server) live(ctx context.Context, in *TokenIn) (*huma.StreamResponse, error) {
	o, err := s.enter(ctx, in)
	if err != nil {
		return nil, err
	}
	if s.d.Live == nil {
		return nil, huma.Error503ServiceUnavailable("nothing is live here")
	}
	if !s.limits.stream(o.limit, 1) {
		return nil, huma.Error429TooManyRequests(fmt.Sprintf("at most %d live streams by this share", shareStreams))
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer s.limits.stream(o.limit, -1)
		hc.SetHeader("Content-Type", "text/event-stream")
		hc.SetHeader("X-Accel-Buffering", "no")
		s.stream(ctx, o, strings.TrimSpace(strings.TrimPrefix(in.Authorization, "Bearer ")), hc.BodyWriter())
	}}, nil
}

func (s *server) stream(ctx context.Context, o *opened, secret string, w io.Writer) {
	control := http.NewResponseController(asResponse(w))
	_ = control.SetWriteDeadline(time.Time{})
	send := func(name string, v any) bool {
		raw, err := json.Marshal(v)
		if err == nil {
			_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, raw)
		}
		return err == nil && control.Flush() == nil
	}
	use, err := s.d.Shares.Note(ctx, share.Use{ShareID: o.ID, What: "live"})
	if err != nil {
		return
	}
	defer func() {
		use.EndedAt = s.d.Clock.Now()
		_, _ = s.d.Shares.Note(context.WithoutCancel(ctx), use)
	}()
	l := s.d.Live.Listen(o.unit.Key)
	defer l.Close()
	mask, err := s.d.Choices.Mask(ctx, o.UnitID)
	if err != nil || !send("open", map[string]any{"unitId": o.UnitID, "until": o.Until}) {
		return
	}
	look := time.NewTicker(500 * time.Millisecond)
	defer look.Stop()
	noted, pinged := time.Now(), time.Now() //nolint:forbidigo // how long ago, not what time it is
	changed := s.d.Shares.Changed(o.ID)
	for {
		again := false
		select {
		case <-ctx.Done():
			return
		case t, ok := <-l.C:
			if !ok {
				send("end", map[string]string{"why": "too slow: read what is missing from history, then listen again"})
				return
			}
			sent := true
			if t.Row != nil {
				only := slices.DeleteFunc(slices.Clone(o.Signals), func(name string) bool {
					g, ok := o.product.Signal(name)
					return !ok || !mask.Permits(&o.product, g)
				})
				if v := sample(&o.product, t.Row, only); len(v.Values) > 0 {
					use.Samples += int64(len(v.Values))
					sent = send("sample", v)
				}
			} else if o.Events && mask.PermitsEvent(&o.product, t.Event.Kind.String(), t.Event.Name) {
				use.Samples++
				sent = send("event", event(&o.product, t.Event))
			}
			if !sent {
				return
			}
		case <-look.C:
			again = true
		case <-changed:
			again, changed = true, s.d.Shares.Changed(o.ID)
		}
		if !again {
			continue
		}
		if _, err := s.d.Shares.Enter(ctx, secret); err != nil {
			send("end", map[string]string{"why": err.Error()})
			return
		}
		u, err := s.Fleet.Unit(fleet.Unbounded(ctx), o.UnitID)
		if err == nil {
			mask, err = s.d.Choices.Mask(ctx, o.UnitID)
		}
		if err != nil || u.OwnerID != o.OwnerID || mask[consent.Restricted] {
			send("end", map[string]string{"why": "the share may not be used now"})
			return
		}
		if time.Since(pinged) > 15*time.Second {
			pinged = time.Now() //nolint:forbidigo // as above
			if !send("ping", map[string]any{}) {
				return
			}
		}
		if time.Since(noted) > 10*time.Second {
			noted = time.Now() //nolint:forbidigo // as above
			if use, err = s.d.Shares.Note(ctx, use); err != nil {
				return
			}
		}
	}
}

// asResponse is the writer as net/http knows it, to flush and to lift the deadline.
func asResponse(w io.Writer) http.ResponseWriter {
	if r, ok := w.(http.ResponseWriter); ok {
		return r
	}
	return nil
}
