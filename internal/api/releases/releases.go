// Package releases serves what becomes of releases: their withdrawal, the way
// back from one, who has them, how long they take, why a unit is not offered
// one, and the register of versions.
package releases

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/cohort"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/register"
)

// Deps is what the operations work with.
type Deps struct {
	Updates   *update.Service
	Register  register.Store
	Fleet     fleet.Store
	Cohorts   *cohort.Service
	Campaigns *campaign.Manager
	Runs      campaign.Store
}

type server struct {
	*frame.Server
	d Deps
}

// Release is a release as it stands.
type Release struct {
	Name       string                `json:"name"`
	Product    string                `json:"product"`
	Version    string                `json:"version"`
	Kind       update.ReleaseKind    `json:"kind" enum:"security,safety,fix,feature"`
	Counter    int64                 `json:"counter"`
	Size       int64                 `json:"size" doc:"Bytes of its images together."`
	Images     []Image               `json:"images" doc:"In the order of installation; all or none."`
	Takes      update.Minutes        `json:"takes"`
	Skilled    bool                  `json:"skilled"`
	Conditions []update.Precondition `json:"preconditions"`
	SupportEnd string                `json:"supportEnd,omitempty"`
	Supported  bool                  `json:"supported" doc:"Its support has not ended."`
	Notes      string                `json:"engineerNotes,omitempty"`
	Withdrawn  *update.Withdrawal    `json:"withdrawn,omitempty"`
}

// Image is the image of a release for a component.
type Image struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	SHA256    string `json:"sha256"`
	Filename  string `json:"filename"`
	Size      int64  `json:"size"`
}

type listIn struct {
	wire.PageParams
	Product string `query:"product"`
}

type unitsIn struct {
	frame.NameParam
	wire.PageParams
	Holding string `query:"holding" enum:"has it,had it,on the way,not begun,never had" doc:"Absent: all. Pages may then hold fewer than limit."`
}

type withdrawIn struct {
	frame.NameParam
	Body struct {
		Why string `json:"why" minLength:"1" maxLength:"1000" doc:"For everybody who looks for it."`
	}
}

type revertIn struct {
	frame.NameParam
	Body Revert
}

// Revert asks for the way back from a release.
type Revert struct {
	Why   string            `json:"why" minLength:"1" maxLength:"1000"`
	To    string            `json:"to,omitempty" doc:"The release whose content is issued again (default: the newest one before it that was not withdrawn)."`
	Name  string            `json:"name,omitempty" pattern:"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$" doc:"Of the new release (default: made of the old one's and the counter)."`
	Notes map[string]string `json:"notes,omitempty" doc:"For owners, by language (default: that it goes back because the newer version has a fault)."`
}

// Reverted is what a revert has made: nothing of it is offered yet.
type Reverted struct {
	Release  string `json:"release" doc:"The old content under a higher counter."`
	Counter  int64  `json:"counter"`
	Notes    string `json:"notes" doc:"Whose content it is, which newer releases were passed over because they failed, and why it is made: for engineers."`
	Campaign string `json:"campaign,omitempty" doc:"A draft that brings back the units that report the bad version: look at it and start it."`
	Cohort   string `json:"cohort,omitempty" doc:"Those units, as it is computed now."`
	Missing  string `json:"missing,omitempty" doc:"Why there is no draft."`
}

type whyIn struct {
	frame.NameParam
	Unit string `path:"unit"`
}

// WhyNot says whether a unit may be offered a release at this moment.
type WhyNot struct {
	Offered bool            `json:"offered"`
	Refusal *update.Refusal `json:"refusal,omitempty"`
}

type registerIn struct {
	Unit  string `query:"unit" doc:"Id of a unit: its entries alone, which do not make a chain."`
	After int64  `query:"after" minimum:"0" doc:"Sequence number of the last entry before."`
	Limit int    `query:"limit" default:"1000" minimum:"1" maximum:"5000"`
}

// RegisterPage is a part of the register.
type RegisterPage struct {
	Items []RegisterRecord `json:"items"`
	Next  int64            `json:"next,omitempty" doc:"Give it as after to get the next page; absent on the last."`
}

// RegisterRecord is an entry with its hash.
type RegisterRecord struct {
	Hash  string `json:"hash" doc:"SHA-256 of the entry's bytes."`
	Entry string `json:"entry" doc:"The entry as it is kept, a JSON text: its bytes are what was hashed."`
}

// RegisterHead is the end of the chain.
type RegisterHead struct {
	Seq  int64  `json:"seq" doc:"0: the register is empty."`
	Hash string `json:"hash"`
}

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) {
	s := &server{f, d}
	add(f, frame.Route{Method: http.MethodGet, Path: "/v1/releases", ID: "listReleases", Summary: "List releases as they stand, newest counter first", Access: access.Look, Sight: frame.ByUnit}, s.list)
	add(f, frame.Route{Method: http.MethodGet, Path: "/v1/releases/{name}", ID: "getRelease", Summary: "A release as it stands", Access: access.Look, Sight: frame.ByUnit}, func(ctx context.Context, in *frame.NameParam) (Release, error) {
		r, err := d.Updates.Release(ctx, in.Name)
		if err != nil {
			return Release{}, err
		}
		return s.view(ctx, &r)
	})
	add(f, frame.Route{
		Method: http.MethodPost, Path: "/v1/releases/{name}/withdraw", ID: "withdrawRelease", Summary: "Offer a release to nobody any more",
		Doc: "What no unit has begun ends at once, and its files can no longer be fetched; units that have begun are asked to stop. It cannot be undone: issue the content again under a higher counter.", Access: access.Release, Sight: frame.ByProduct,
	}, func(ctx context.Context, in *withdrawIn) (update.Withdrawn, error) {
		return d.Updates.Withdraw(ctx, in.Name, frame.Who(ctx).Email, in.Body.Why)
	})
	add(f, frame.Route{
		Method: http.MethodPost, Path: "/v1/releases/{name}/revert", ID: "revertRelease", Summary: "Make the way back from a release",
		Doc: "Issues the content of an older release again under a higher counter, and drafts a campaign for the units that report the bad version. Nothing is offered before that campaign is started.", Access: access.Campaign, Sight: frame.ByProduct,
	}, s.revert)
	add(f, frame.Route{Method: http.MethodGet, Path: "/v1/releases/{name}/units", ID: "listReleaseUnits", Summary: "List the units that have or had a release, or are on the way to it", Access: access.Look, Sight: frame.ByUnit}, s.units)
	add(f, frame.Route{Method: http.MethodGet, Path: "/v1/releases/{name}/units/{unit}", ID: "whyNotRelease", Summary: "Why a unit would not be offered a release at this moment", Access: access.Look, Sight: frame.ByUnit}, s.why)
	add(f, frame.Route{
		Method: http.MethodGet, Path: "/v1/register", ID: "listRegister", Summary: "The register of units' software versions, oldest first",
		Doc: "A chain: each entry names the hash of the one before, so that a change of any breaks all after it. It names units by their random key.", Access: access.Look,
	}, s.register)
	add(f, frame.Route{Method: http.MethodGet, Path: "/v1/register/head", ID: "getRegisterHead", Summary: "Number and hash of the register's newest entry", Doc: "Keep it elsewhere: with it, a register that was cut short or written anew is found out.", Access: access.Look},
		func(ctx context.Context, _ *struct{}) (RegisterHead, error) {
			seq, hash, err := d.Register.Head(ctx)
			return RegisterHead{seq, hash}, err
		})
}

func add[I, O any](f *frame.Server, r frame.Route, handle func(context.Context, *I) (O, error)) {
	r.Tag = "releases"
	frame.Add(f, r, handle)
}

func (s *server) list(ctx context.Context, in *listIn) (wire.Page[Release], error) {
	all, err := s.d.Updates.Releases(ctx, in.Product)
	if err != nil {
		return wire.Page[Release]{}, err
	}
	slices.SortStableFunc(all, func(a, b update.Release) int { return int(b.Counter - a.Counter) })
	page := frame.PageAfter(all, in.PageParams, func(r update.Release) string { return r.Name })
	out := wire.Page[Release]{Items: make([]Release, len(page.Items)), Next: page.Next}
	for i := range page.Items {
		if out.Items[i], err = s.view(ctx, &page.Items[i]); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (s *server) view(ctx context.Context, r *update.Release) (Release, error) {
	out := Release{
		Name: r.Name, Product: r.Product, Version: r.Version, Kind: r.Kind, Counter: r.Counter, Images: []Image{}, Skilled: r.Skilled,
		Conditions: append([]update.Precondition{}, r.Preconditions...), SupportEnd: r.SupportEnd, Notes: r.EngineerNotes, Withdrawn: r.Withdrawn,
	}
	for _, p := range r.Images() {
		a, err := s.d.Updates.Artifact(ctx, p.SHA256())
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return out, err
		}
		out.Images = append(out.Images, Image{Component: p.Component, Version: p.Version, SHA256: p.SHA256(), Filename: a.Named(p.Filename).Filename, Size: a.Size})
		out.Size += a.Size
	}
	out.Supported = r.Supported(s.d.Updates.Now())
	var err error
	out.Takes, err = s.d.Updates.Minutes(ctx, r)
	return out, err
}

func (s *server) units(ctx context.Context, in *unitsIn) (wire.Page[update.Holder], error) {
	list, err := s.d.Updates.Holders(ctx, in.Name, in.After, in.Limit+1)
	if err != nil {
		return wire.Page[update.Holder]{}, err
	}
	page := frame.Page(list, in.Limit, func(h update.Holder) string { return h.UnitID })
	page.Items = slices.DeleteFunc(page.Items, func(h update.Holder) bool { return in.Holding != "" && string(h.Holding) != in.Holding })
	return page, nil
}

func (s *server) why(ctx context.Context, in *whyIn) (WhyNot, error) {
	r, err := s.d.Updates.Release(ctx, in.Name)
	if err != nil {
		return WhyNot{}, err
	}
	u, err := s.d.Fleet.Unit(ctx, in.Unit)
	if err != nil {
		return WhyNot{}, err
	}
	no, err := s.d.Updates.Refuse(ctx, &r, &u)
	if err == nil && no == nil {
		no, err = s.d.Updates.Unsigned(ctx, &r)
	}
	if err == nil && no == nil {
		no, err = s.d.Updates.Precondition(ctx, &r, &u)
	}
	if no == nil && r.Skilled {
		no = &update.Refusal{Code: update.CodeSkilled, Why: "it needs a skilled person: dispatch one"}
	}
	return WhyNot{Offered: no == nil, Refusal: no}, err
}

func (s *server) register(ctx context.Context, in *registerIn) (RegisterPage, error) {
	var key int64
	if in.Unit != "" {
		u, err := s.d.Fleet.Unit(ctx, in.Unit)
		if err != nil {
			return RegisterPage{}, err
		}
		key = u.Key
	}
	list, err := s.d.Register.Records(ctx, key, in.After, in.Limit)
	out := RegisterPage{Items: make([]RegisterRecord, len(list))}
	for i, r := range list {
		out.Items[i] = RegisterRecord{Hash: r.Hash, Entry: string(r.Entry)}
	}
	if err == nil && len(list) == in.Limit {
		var last register.Entry
		err = json.Unmarshal(list[len(list)-1].Entry, &last)
		out.Next = last.Seq
	}
	return out, err
}

// revert issues old content again and drafts the campaign that brings it out.
func (s *server) revert(ctx context.Context, in *revertIn) (Reverted, error) {
	bad, err := s.d.Updates.Release(ctx, in.Name)
	if err != nil {
		return Reverted{}, err
	}
	r, err := s.d.Updates.Revert(ctx, in.Name, in.Body.To, in.Body.Name, in.Body.Why, in.Body.Notes)
	if err != nil {
		return Reverted{}, err
	}
	out := Reverted{Release: r.Name, Counter: r.Counter}
	out.Notes, _, _ = strings.Cut(r.EngineerNotes, "\n\n") // what follows is the old release's
	out.Campaign, out.Cohort, err = s.draft(ctx, &bad, &r)
	if err != nil {
		out.Missing = "declare the campaign yourself: " + err.Error()
	}
	return out, nil
}

// draft makes a campaign for a release that goes back, in the shape of the
// newest one that brought out the bad one.
func (s *server) draft(ctx context.Context, bad, good *update.Release) (name, of string, err error) {
	runs, err := s.d.Runs.Campaigns(ctx, bad.Product)
	if err != nil {
		return "", "", err
	}
	var last *campaign.Run
	for i := range runs {
		if r := &runs[i]; r.Campaign.Release == bad.Name && (last == nil || r.CreatedAt.After(last.CreatedAt)) {
			last = r
		}
	}
	if last == nil {
		return "", "", fault.New(fault.NotFound, "no campaign brought out release %s, so that there is none to make it like", bad.Name)
	}
	of = clipName("on-" + bad.Name)
	who, words := cohort.Attributes{Versions: map[string][]string{}}, []string{}
	for _, p := range bad.Images() {
		who.Versions[p.Component] = []string{p.Version}
		words = append(words, p.Component+" "+p.Version)
	}
	if v, main := who.Versions[fleet.MainComponent]; main && len(words) == 1 {
		who = cohort.Attributes{Version: v}
	}
	if _, err := s.d.Cohorts.Create(ctx, cohort.Definition{
		Name: of, Product: bad.Product, Description: "Units that report " + strings.Join(words, ", "),
		Attributes: &who,
	}, frame.Who(ctx).Email); err != nil {
		return "", "", err
	}
	c := last.Campaign
	c.Name, c.Release, c.Cohort = clipName("back-"+good.Name), good.Name, of
	c.Reason = good.Notes
	c.Start, c.End = time.Time{}, time.Time{}
	return c.Name, of, s.d.Campaigns.Put(ctx, c)
}

// clipName keeps a name within what names may have.
func clipName(s string) string {
	if len(s) > 63 {
		s = s[:63]
	}
	for s != "" && (s[len(s)-1] == '-' || s[len(s)-1] == '.') {
		s = s[:len(s)-1]
	}
	return s
}
