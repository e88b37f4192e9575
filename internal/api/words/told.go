package words

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/preference"
)

type noticeList struct {
	wire.PageParams
	Owner   string         `query:"owner" maxLength:"200" doc:"Id of an owner."`
	Unit    string         `query:"unit" maxLength:"64"`
	About   string         `query:"about" maxLength:"200" doc:"As campaign/NAME."`
	Kind    notify.Kind    `query:"kind" enum:"safety,security,service,feature,tip,account"`
	Verdict notify.Verdict `query:"verdict" enum:"told,later,merged,withheld"`
}

type contactIn struct {
	frame.IDParam
	Body preference.Contact
}

// told are operators' views of what owners were told, and how to reach them.
func (s *server) told() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/notices", ID: "listNotices", Summary: "What owners were told, and what they were not, with the reason, newest first",
		Tag: "words", Access: access.Personal, Personal: audit.DataMessages,
	}, func(ctx context.Context, in *noticeList) (wire.Page[preference.Notice], error) {
		list, err := s.d.People.Notices(ctx, preference.Filter{OwnerID: in.Owner, UnitID: in.Unit, About: in.About, Kind: in.Kind, Verdict: in.Verdict, Before: in.After, Limit: in.Limit + 1})
		if err != nil {
			return wire.Page[preference.Notice]{}, err
		}
		page := frame.Page(list, in.Limit, func(n preference.Notice) string { return n.ID })
		return page, audit.Looked(ctx, owners(page.Items, func(n preference.Notice) string { return n.OwnerID })...)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/owners/{id}/contact", ID: "getContact", Summary: "How an owner can be reached", Tag: "words", Access: access.Personal, Personal: audit.DataContact,
	}, func(ctx context.Context, in *frame.IDParam) (preference.Contact, error) {
		if _, err := s.d.Fleet.Owner(ctx, in.ID); err != nil {
			return preference.Contact{}, err
		}
		if err := audit.Looked(ctx, in.ID); err != nil {
			return preference.Contact{}, err
		}
		return s.d.People.Contact(ctx, in.ID)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPut, Path: "/v1/owners/{id}/contact", ID: "putContact", Summary: "Note how an owner can be reached",
		Doc: "The whole of it. What was given for safety notices alone (GPSR art. 35(2)) is said in safetyOnly, and used for nothing else.", Tag: "words", Access: access.Contact,
	}, func(ctx context.Context, in *contactIn) (preference.Contact, error) {
		if _, err := s.d.Fleet.Owner(ctx, in.ID); err != nil {
			return preference.Contact{}, err
		}
		audit.About(ctx, in.ID)
		return in.Body, s.d.People.SetContact(ctx, in.ID, in.Body)
	})
}

type myNotices struct {
	wire.PageParams
	Unit string `query:"unit" maxLength:"64"`
}

type myContactIn struct{ Body preference.Contact }

// mine are an owner's own.
func (s *server) mine() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/owner/v1/notices", ID: "listMyNotices", Summary: "What you were told, what waits, and what was not sent and why, newest first", Tag: "owner", Access: frame.Owner,
	}, func(ctx context.Context, in *myNotices) (wire.Page[preference.Notice], error) {
		list, err := s.d.People.Notices(ctx, preference.Filter{OwnerID: frame.Who(ctx).ID, UnitID: in.Unit, Shown: true, Before: in.After, Limit: in.Limit + 1})
		for i := range list {
			list[i].OwnerID = ""
		}
		return frame.Page(list, in.Limit, func(n preference.Notice) string { return n.ID }), err
	})
	one := func(method, path, id, summary string, fn func(ctx context.Context, owner, id string) (preference.Notice, error)) {
		frame.Add(s.Server, frame.Route{Method: method, Path: path, ID: id, Summary: summary, Tag: "owner", Access: frame.Owner},
			func(ctx context.Context, in *frame.IDParam) (preference.Notice, error) {
				n, err := fn(ctx, frame.Who(ctx).ID, in.ID)
				n.OwnerID = ""
				return n, err
			})
	}
	one(http.MethodGet, "/owner/v1/notices/{id}", "getMyNotice", "One of your notices", s.d.People.Notice)
	one(http.MethodPost, "/owner/v1/notices/{id}/read", "readMyNotice", "Note that you have opened a notice", s.d.People.Read)
	one(http.MethodPost, "/owner/v1/notices/{id}/acknowledge", "acknowledgeMyNotice", "Say that you have read a notice", func(ctx context.Context, owner, id string) (preference.Notice, error) {
		return s.d.People.Acknowledge(ctx, owner, id, notify.ViaPortal)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/owner/v1/contact", ID: "getMyContact", Summary: "How you can be reached beside your mail address", Tag: "owner", Access: frame.Owner, Session: true,
	}, func(ctx context.Context, _ *frame.None) (preference.Contact, error) {
		return s.d.People.Contact(ctx, frame.Who(ctx).ID)
	})
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPut, Path: "/owner/v1/contact", ID: "putMyContact", Summary: "Say how you can be reached", Doc: "The whole of it.", Tag: "owner", Access: frame.Owner, Session: true,
	}, func(ctx context.Context, in *myContactIn) (preference.Contact, error) {
		return in.Body, s.d.People.SetContact(ctx, frame.Who(ctx).ID, in.Body)
	})
}
