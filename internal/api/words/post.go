package words

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/letter"
)

type letterList struct {
	wire.PageParams
	State letter.State `query:"state" enum:"waiting,batched,sent,returned,unfit,stopped"`
	About string       `query:"about" maxLength:"200"`
	Batch string       `query:"batch" maxLength:"64"`
}

// LetterCounts are letters by state.
type LetterCounts struct {
	Counts map[letter.State]int `json:"counts"`
}

type batchIn struct {
	Body struct {
		Format letter.Format `json:"format" enum:"din5008,us10"`
		Sender []string      `json:"sender" minItems:"2" maxItems:"5" doc:"Your name, street and town: a line each."`
		About  string        `json:"about,omitempty" maxLength:"200" doc:"Only letters about this, as campaign/NAME."`
		Limit  int           `json:"limit,omitempty" minimum:"0" maximum:"5000"`
	}
}

type sentIn struct {
	frame.IDParam
	Body struct {
		SentAt string `json:"sentAt" format:"date" doc:"Day on which the post got them."`
	}
}

type returnedIn struct {
	frame.IDParam
	Body struct {
		Why string `json:"why,omitempty" maxLength:"200" doc:"As moved away."`
	}
}

func (s *server) letters() {
	id := func(l letter.Letter) string { return l.OwnerID }
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/letters", ID: "listLetters", Summary: "Letters to owners, those that wait among them", Tag: "words", Access: access.Contact, Personal: audit.DataContact,
	}, func(ctx context.Context, in *letterList) (wire.Page[letter.Letter], error) {
		list, err := s.d.Store.Letters(ctx, letter.Filter{State: in.State, About: in.About, Batch: in.Batch, After: in.After, Limit: in.Limit + 1})
		if err != nil {
			return wire.Page[letter.Letter]{}, err
		}
		page := frame.Page(list, in.Limit, func(l letter.Letter) string { return l.ID })
		return page, audit.Looked(ctx, owners(page.Items, id)...)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/letter-counts", ID: "countLetters", Summary: "Letters by state", Tag: "words", Access: access.Contact,
	}, func(ctx context.Context, _ *frame.None) (LetterCounts, error) {
		n, err := s.d.Store.CountLetters(ctx)
		return LetterCounts{n}, err
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/letter-batches", ID: "listLetterBatches", Summary: "Batches of letters, newest first", Tag: "words", Access: access.Contact,
	}, func(ctx context.Context, in *struct{ wire.PageParams }) (wire.Page[letter.Batch], error) {
		list, err := s.d.Store.Batches(ctx, in.After, in.Limit+1)
		return frame.Page(list, in.Limit, func(b letter.Batch) string { return b.ID }), err
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/letter-batches", ID: "makeLetterBatch", Summary: "Take letters that wait into a batch to be printed",
		Doc: "din5008: A4, address in the window of DIN 5008 form B. us10: Letter paper for a #10 window envelope. Letters that cannot be printed are marked with the reason.", Tag: "words", Access: access.Contact, Status: http.StatusCreated,
	}, func(ctx context.Context, in *batchIn) (letter.Batch, error) {
		return s.d.Letters.Make(ctx, letter.Order{Format: in.Body.Format, Sender: in.Body.Sender, About: in.Body.About, Limit: in.Body.Limit, By: frame.Who(ctx).Email})
	})
	batch := func(path, opID, summary, contentType, name string, write func(ctx context.Context, id string, b *bytes.Buffer) error) {
		binary(s, frame.Route{Method: http.MethodGet, Path: path, ID: opID, Summary: summary, Tag: "words", Access: access.Contact, Personal: audit.DataContact}, contentType, name,
			func(ctx context.Context, in *frame.IDParam) ([]byte, error) {
				list, err := s.d.Store.Letters(ctx, letter.Filter{Batch: in.ID, Limit: 5000})
				if err != nil {
					return nil, err
				}
				var b bytes.Buffer
				if err := write(ctx, in.ID, &b); err != nil {
					return nil, err
				}
				return b.Bytes(), audit.Looked(ctx, owners(list, id)...)
			})
	}
	batch("/v1/letter-batches/{id}/pdf", "printLetterBatch", "A batch as one PDF, each letter on sheets of its own", "application/pdf", "letters.pdf",
		func(ctx context.Context, id string, b *bytes.Buffer) error { return s.d.Letters.PDF(ctx, id, b) })
	batch("/v1/letter-batches/{id}/zip", "packLetterBatch", "A batch for a print house: a PDF for each letter, and manifest.csv", "application/zip", "letters.zip",
		func(ctx context.Context, id string, b *bytes.Buffer) error { return s.d.Letters.ZIP(ctx, id, b) })
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/letter-batches/{id}/sent", ID: "sendLetterBatch", Summary: "Note the day on which a batch was given to the post", Tag: "words", Access: access.Contact,
	}, func(ctx context.Context, in *sentIn) (letter.Batch, error) {
		day, err := time.Parse(time.DateOnly, in.Body.SentAt)
		if err != nil {
			return letter.Batch{}, err
		}
		return s.d.Letters.MarkSent(ctx, in.ID, day.Add(12*time.Hour))
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/letters/{id}/returned", ID: "returnLetter", Summary: "Note that a letter came back", Tag: "words", Access: access.Contact, Personal: audit.DataContact,
	}, func(ctx context.Context, in *returnedIn) (letter.Letter, error) {
		l, err := s.d.Letters.MarkReturned(ctx, in.ID, in.Body.Why)
		if err != nil {
			return l, err
		}
		return l, audit.Looked(ctx, l.OwnerID)
	})
}

type callList struct {
	wire.PageParams
	State calls.State `query:"state" enum:"open,done,given up,stopped" default:"open"`
	About string      `query:"about" maxLength:"200"`
}

type outcomeIn struct {
	frame.IDParam
	Body struct {
		Outcome calls.Outcome `json:"outcome" enum:"reached,no answer,voicemail,wrong number,refused,call back"`
		At      time.Time     `json:"at,omitzero" doc:"When to call back."`
		Note    string        `json:"note,omitempty" maxLength:"4000" doc:"Kept encrypted under the owner's key, and gone when they are erased."`
	}
}

// CallCounts are calls by state.
type CallCounts struct {
	Counts map[calls.State]int `json:"counts"`
}

func (s *server) calls() {
	agent := func(ctx context.Context) string { return frame.Who(ctx).Email }
	shown := func(ctx context.Context, c calls.Call, err error) (calls.Call, error) {
		if err != nil {
			return c, err
		}
		return c, audit.Looked(ctx, c.OwnerID)
	}
	add := func(method, path, id, summary, doc string, fn func(ctx context.Context, id string) (calls.Call, error)) {
		frame.Add(s.Server, frame.Route{Method: method, Path: path, ID: id, Summary: summary, Doc: doc, Tag: "words", Access: access.Contact, Personal: audit.DataContact},
			func(ctx context.Context, in *frame.IDParam) (calls.Call, error) {
				c, err := fn(ctx, in.ID)
				return shown(ctx, c, err)
			})
	}
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/calls", ID: "listCalls", Summary: "Owners to be called, soonest due first", Tag: "words", Access: access.Contact, Personal: audit.DataContact,
	}, func(ctx context.Context, in *callList) (wire.Page[calls.Call], error) {
		list, err := s.d.Calls.List(ctx, calls.Filter{State: in.State, About: in.About, After: in.After, Limit: in.Limit + 1})
		if err != nil {
			return wire.Page[calls.Call]{}, err
		}
		page := frame.Page(list, in.Limit, func(c calls.Call) string { return fmt.Sprintf("%d/%s", c.DueAt.UnixMilli(), c.ID) })
		return page, audit.Looked(ctx, owners(page.Items, func(c calls.Call) string { return c.OwnerID })...)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/call-counts", ID: "countCalls", Summary: "Calls by state", Tag: "words", Access: access.Contact,
	}, func(ctx context.Context, _ *frame.None) (CallCounts, error) {
		n, err := s.d.Calls.Counts(ctx)
		return CallCounts{n}, err
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/calls/next", ID: "nextCall", Summary: "Take the call whose turn it is",
		Doc: "Due, in the owner's hours and with no other agent; it is yours for 20 minutes. 404: nobody is to be called now.", Tag: "words", Access: access.Contact, Personal: audit.DataContact,
	}, func(ctx context.Context, _ *frame.None) (calls.Call, error) {
		c, err := s.d.Calls.Next(ctx, agent(ctx))
		return shown(ctx, c, err)
	})
	add(http.MethodGet, "/v1/calls/{id}", "getCall", "A call with its notes", "", s.d.Calls.Get)
	add(http.MethodPost, "/v1/calls/{id}/take", "takeCall", "Take a call of your choice", "409: another agent has it.", func(ctx context.Context, id string) (calls.Call, error) {
		return s.d.Calls.Take(ctx, id, agent(ctx))
	})
	frame.Do(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/calls/{id}/release", ID: "releaseCall", Summary: "Put a call back without an outcome", Tag: "words", Access: access.Contact,
	}, func(ctx context.Context, in *frame.IDParam) error { return s.d.Calls.Release(ctx, in.ID, agent(ctx)) })
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/calls/{id}/outcome", ID: "endCall", Summary: "Say how a call ended",
		Doc: "reached acknowledges the notice; no answer and voicemail are tried again, four times in all; the others count as not reached, so that the ladder goes on.", Tag: "words", Access: access.Contact, Personal: audit.DataContact,
	}, func(ctx context.Context, in *outcomeIn) (calls.Call, error) {
		c, err := s.d.Calls.Record(ctx, in.ID, agent(ctx), calls.Ended{Outcome: in.Body.Outcome, At: in.Body.At, Note: in.Body.Note})
		return shown(ctx, c, err)
	})
}
