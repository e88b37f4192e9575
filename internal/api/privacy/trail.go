package privacy

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// AuditEntry is an entry of the trail, with the names that are known now.
type AuditEntry struct {
	ID        string      `json:"id"`
	At        time.Time   `json:"at"`
	Kind      audit.Kind  `json:"kind" enum:"change,look,denied"`
	Actor     audit.Actor `json:"actor"`
	ActorName string      `json:"actorName,omitempty" doc:"Email of an operator."`
	From      string      `json:"from,omitempty" doc:"Network address; an owner's is sealed."`
	Operation string      `json:"operation"`
	Summary   string      `json:"summary,omitempty" doc:"What the operation does."`
	Object    string      `json:"object,omitempty"`
	About     []string    `json:"about" doc:"People, by alias; \"everyone\" and \"everyone:PRODUCT\" are all of them."`
	Data      string      `json:"data,omitempty"`
	Outcome   string      `json:"outcome" enum:"done,failed,refused"`
	Status    int         `json:"status,omitempty"`
	Changed   []string    `json:"changed,omitempty"`
	Count     int         `json:"count,omitempty" doc:"How often more since the same entry before it."`
	Hash      string      `json:"hash"`
}

// AuditVerdict says whether the trail is whole.
type AuditVerdict struct {
	Whole  bool      `json:"whole"`
	Head   string    `json:"head" doc:"NUMBER:HASH of the last entry that is right. Keep it elsewhere: with it, a trail that was cut off or written anew is found out."`
	Broken int64     `json:"broken,omitempty" doc:"Number of the first entry that is wrong."`
	Why    string    `json:"why,omitempty"`
	At     time.Time `json:"at"`
}

// TrailQuery picks entries. It is exported because huma leaves out embedded
// structs that are not.
type TrailQuery struct {
	From      time.Time `query:"from" doc:"Included."`
	To        time.Time `query:"to" doc:"Not included."`
	Kind      string    `query:"kind" enum:"change,look,denied"`
	Person    string    `query:"person" maxLength:"254" doc:"Email address of an owner, or an alias: entries about or by them."`
	Actor     string    `query:"actor" maxLength:"254" doc:"Email address or id of an operator, or an alias."`
	Object    string    `query:"object" maxLength:"300" doc:"As units/WC-1: it and all below it."`
	Operation string    `query:"operation" maxLength:"100"`
}

type trailList struct {
	wire.PageParams
	TrailQuery
}

type verifyIn struct {
	Heads []string `query:"head,explode" doc:"Heads that were kept elsewhere, NUMBER:HASH."`
}

type exportIn struct {
	TrailQuery
	Format string `query:"format" enum:"jsonl,csv" default:"jsonl" doc:"jsonl can be verified with fettle audit verify --file; csv is for reading."`
}

func seq(e audit.Entry) string { return strconv.FormatInt(e.Seq, 10) }

func cursor(after string) (int64, error) {
	if after == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(after, 10, 64)
	if err != nil || n <= 0 {
		return 0, fault.Fields("page", []fault.Field{{Path: "query.after", Expected: "the next of a page before", Got: after}})
	}
	return n, nil
}

func (s *server) entries(ctx context.Context, f audit.Filter) ([]audit.Entry, error) {
	records, err := s.d.Trail.Store().Records(ctx, f)
	out := make([]audit.Entry, 0, len(records))
	for _, r := range records {
		var e audit.Entry
		if err := json.Unmarshal(r.Entry, &e); err != nil {
			return nil, fault.New(fault.Internal, "an entry of the audit trail cannot be read: run fettle audit verify: %w", err)
		}
		out = append(out, e)
	}
	return out, err
}

// filter is what a query asks for; none says that nothing can match.
func (s *server) filter(ctx context.Context, q *TrailQuery) (f audit.Filter, none bool, err error) {
	if err := audit.Looked(ctx); err != nil { // entries name nobody; who is looked up by their address is looked at
		return f, false, err
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return f, false, fault.Fields("audit", []fault.Field{{Path: "query.to", Expected: "a time after from", Got: q.To.Format(time.RFC3339)}})
	}
	f = audit.Filter{From: q.From, To: q.To, Kind: audit.Kind(q.Kind), Actor: q.Actor, Object: strings.Trim(q.Object, "/"), Operation: q.Operation}
	if strings.Contains(q.Actor, "@") {
		o, err := s.d.Access.OperatorByEmail(ctx, fleet.CanonicalEmail(q.Actor))
		if fault.KindOf(err) == fault.NotFound {
			return f, true, nil
		}
		if err != nil {
			return f, false, err
		}
		f.Actor = o.ID
	}
	switch {
	case strings.Contains(q.Person, "@"):
		o, err := s.d.Fleet.OwnerByEmail(ctx, fleet.CanonicalEmail(q.Person))
		if fault.KindOf(err) == fault.NotFound {
			return f, true, nil
		}
		if err != nil {
			return f, false, err
		}
		who, err := s.d.Trail.Person(ctx, o.ID)
		if err != nil {
			return f, false, err
		}
		f.About = []string{who.Alias}
		if err := audit.Looked(ctx, o.ID); err != nil {
			return f, false, err
		}
	case q.Person != "":
		f.About = []string{q.Person}
	}
	return f, false, nil
}

func (s *server) trail() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/audit", ID: "listAudit", Summary: "The audit trail, newest first",
		Doc: "Every change, every look at personal data, and every refusal of what somebody may not.", Tag: "audit", Access: access.Privacy, Personal: audit.DataRequests,
	}, s.list)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/audit/head", ID: "getAuditHead", Summary: "Number and hash of the trail's newest entry",
		Doc: "Keep it elsewhere: with it, a trail that was cut off or written anew is found out.", Tag: "audit", Access: access.Privacy,
	}, func(ctx context.Context, _ *frame.None) (audit.Head, error) { return s.d.Trail.Store().Head(ctx) })
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/audit/verify", ID: "verifyAudit", Summary: "Say whether the trail is whole",
		Doc: "It reads all of it.", Tag: "audit", Access: access.Privacy,
	}, s.verify)
	s.export()
}

func (s *server) verify(ctx context.Context, in *verifyIn) (AuditVerdict, error) {
	var kept []audit.Head
	for _, text := range in.Heads {
		h, err := audit.ParseHead(text)
		if err != nil {
			return AuditVerdict{}, err
		}
		kept = append(kept, h)
	}
	head, err := s.d.Trail.Verify(ctx, kept)
	out := AuditVerdict{Whole: err == nil, Head: head.String(), At: s.Wall.Now()}
	if broke, ok := audit.Broken(err); ok {
		out.Broken, out.Why = broke.Seq, broke.Error()
		return out, nil
	}
	return out, err
}

func (s *server) list(ctx context.Context, in *trailList) (wire.Page[AuditEntry], error) {
	empty := wire.Page[AuditEntry]{Items: []AuditEntry{}}
	f, none, err := s.filter(ctx, &in.TrailQuery)
	if err != nil || none {
		return empty, err
	}
	f.Newest, f.Limit = true, in.Limit+1
	if f.Before, err = cursor(in.After); err != nil {
		return empty, err
	}
	records, err := s.d.Trail.Store().Records(ctx, f)
	if err != nil {
		return empty, err
	}
	names := map[string]string{}
	out := make([]AuditEntry, 0, len(records))
	for _, r := range records {
		var e audit.Entry
		if err := json.Unmarshal(r.Entry, &e); err != nil {
			e = audit.Entry{Operation: "this entry cannot be read: verify the trail"}
		}
		name, err := s.name(ctx, names, e.Actor)
		if err != nil {
			return empty, err
		}
		out = append(out, AuditEntry{
			ID: seq(e), At: e.At, Kind: e.Kind, Actor: e.Actor, ActorName: name, From: e.From, Operation: e.Operation, Summary: s.summary(e.Operation),
			Object: e.Object, About: append([]string{}, e.About...), Data: e.Data, Outcome: e.Outcome, Status: e.Status, Changed: e.Changed, Count: e.Count, Hash: r.Hash,
		})
	}
	return frame.Page(out, in.Limit, func(e AuditEntry) string { return e.ID }), nil
}

// name is an operator's address, "" for everybody else; names remembers them.
func (s *server) name(ctx context.Context, names map[string]string, a audit.Actor) (string, error) {
	if a.Party != audit.Operator {
		return "", nil
	}
	if known, ok := names[a.ID]; ok {
		return known, nil
	}
	o, err := s.d.Access.Operator(ctx, a.ID)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", err
	}
	names[a.ID] = o.Email
	return o.Email, nil
}

// export streams the trail. The lines of jsonl are as they were sealed.
func (s *server) export() {
	r := frame.Route{
		Method: http.MethodGet, Path: "/v1/audit/export", ID: "exportAudit", Summary: "Download the audit trail, oldest first",
		Doc: "A line a record as {\"hash\":…,\"entry\":…}, or CSV. The answer's length is not known before.", Tag: "audit", Access: access.Privacy, Personal: audit.DataRequests,
	}
	op := r.Operation()
	op.Responses = map[string]*huma.Response{"200": {Description: "The trail.", Content: map[string]*huma.MediaType{
		"application/jsonl": {Schema: &huma.Schema{Type: "string"}}, "text/csv": {Schema: &huma.Schema{Type: "string"}},
	}}}
	huma.Register(s.API, op, func(ctx context.Context, in *exportIn) (*huma.StreamResponse, error) {
		f, none, err := s.filter(ctx, &in.TrailQuery)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			w := ctx.BodyWriter()
			lines := json.NewEncoder(w)
			table := csv.NewWriter(w)
			write := func(r audit.Record, _ audit.Entry) error { return lines.Encode(r) }
			name, kind := "audit.jsonl", "application/jsonl"
			if in.Format == "csv" {
				name, kind = "audit.csv", "text/csv"
				write = func(r audit.Record, e audit.Entry) error { return table.Write(e.Row(r.Hash)) }
			}
			ctx.SetHeader("Content-Type", kind)
			ctx.SetHeader("Content-Disposition", `attachment; filename="`+name+`"`)
			ctx.SetStatus(http.StatusOK)
			if in.Format == "csv" {
				_ = table.Write(audit.Columns)
			}
			if none {
				f.About = []string{"-"}
			}
			err := s.d.Trail.Each(ctx.Context(), f, write)
			table.Flush()
			if err != nil || table.Error() != nil {
				panic(http.ErrAbortHandler) // so that the client sees a broken transfer, not a whole one
			}
		}}, nil
	})
}

// summary is what an operation does.
func (s *server) summary(id string) string {
	s.once.Do(func() { // when all are registered
		s.summaries = map[string]string{}
		for _, path := range s.API.OpenAPI().Paths {
			for _, op := range []*huma.Operation{path.Get, path.Put, path.Post, path.Delete, path.Patch} {
				if op != nil {
					s.summaries[op.OperationID] = op.Summary
				}
			}
		}
	})
	return s.summaries[id]
}
