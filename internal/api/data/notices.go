package data

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
)

// NoticeVersion is one version of a product's notice with its words.
type NoticeVersion struct {
	wire.PublishedNotice
	Product string        `json:"product"`
	Current bool          `json:"current" doc:"Owners read it now."`
	Before  string        `json:"before,omitempty" doc:"The version that it followed; absent: it is the first."`
	Widens  []Widening    `json:"widens" doc:"What it uses data for beyond the version before."`
	Words   fleet.Product `json:"words" doc:"What owners read, in every language."`
}

// Widening is a purpose that data is used for in more ways than before.
type Widening struct {
	Purpose string   `json:"purpose"`
	Title   string   `json:"title"`
	Anew    bool     `json:"anew" doc:"It is widened as a whole: owners who agreed are asked again, and what they agreed to goes on meanwhile."`
	Items   []string `json:"items" doc:"Titles of what is new to it or kept for longer: of owners who agreed before, it is not collected until they agree again."`
	Units   *int     `json:"units,omitempty" doc:"Active units whose owners agreed and are asked again, rounded down to 5; absent: fewer than 10."`
}

// NoticeDraft is a notice before it is published.
type NoticeDraft struct {
	DryRun      bool           `json:"dryRun,omitempty" doc:"Say what it would change and widen, and change nothing."`
	After       string         `json:"after" maxLength:"40" doc:"The version that the draft was made from: refused once another one is published."`
	Title       string         `json:"title" minLength:"1" maxLength:"200" doc:"What owners call the product."`
	Description string         `json:"description,omitempty" maxLength:"4000"`
	Notice      fleet.Notice   `json:"notice"`
	Purposes    []PurposeDraft `json:"purposes" maxItems:"200" doc:"All purposes of the product, in its order."`
	Signals     []SignalDraft  `json:"signals" maxItems:"2000" doc:"All signals of the product, in its order."`
}

// PurposeDraft is the words of a purpose, as a notice has them.
type PurposeDraft struct {
	Name        string                        `json:"name"`
	Title       string                        `json:"title"`
	Description string                        `json:"description"`
	KeepReason  string                        `json:"keepReason,omitempty"`
	Texts       map[string]fleet.PurposeWords `json:"texts,omitempty"`
}

// SignalDraft is the words of a signal, as a notice has them.
type SignalDraft struct {
	Name        string                       `json:"name"`
	Title       string                       `json:"title,omitempty"`
	Description string                       `json:"description"`
	Texts       map[string]fleet.SignalWords `json:"texts,omitempty"`
}

// NoticePublished is what publishing a notice did, or would do.
type NoticePublished struct {
	Version string     `json:"version"`
	DryRun  bool       `json:"dryRun"`
	Diff    string     `json:"diff" doc:"Of the product's declaration, line by line; empty: nothing changes."`
	Widens  []Widening `json:"widens"`
}

type versionParam struct {
	frame.NameParam
	Version string `path:"version" maxLength:"40"`
}

type publishIn struct {
	frame.NameParam
	Body NoticeDraft
}

func (s *server) notices() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/products/{name}/notices", ID: "listNoticeVersions", Summary: "The versions of a product's notice, the newest first",
		Doc: "How many saw each is not told to whom regions bound.", Tag: "products", Access: access.Look, Sight: frame.ByUnit,
	}, s.noticeVersions)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/products/{name}/notices/{version}", ID: "getNoticeVersion", Summary: "A version of a product's notice, with its words in every language",
		Doc: "And what it widened.", Tag: "products", Access: access.Look, Sight: frame.ByUnit,
	}, s.noticeVersion)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/products/{name}/notices", ID: "publishNotice", Summary: "Publish a notice, or with dryRun say what that would do",
		Doc: "It changes the words of the product's declaration and nothing else of it: take them over into its file (fettle get product NAME -o yaml), or applying the file is refused.",
		Tag: "products", Access: access.Privacy, Or: []frame.Access{access.Declare}, Sight: frame.ByProduct, MaxBody: 4 << 20,
	}, s.publishNotice)
}

// seen gives a version as lists show it.
func (s *server) seen(ctx context.Context, n *consent.Notice, saw map[string]int) wire.PublishedNotice {
	v := wire.PublishedNotice{Version: n.Version, PublishedAt: n.PublishedAt, ShownAt: n.ShownAt, Languages: n.Words.Languages()}
	if len(fleet.SightOf(ctx).Regions) == 0 { // owners of all regions saw it
		v.Saw = told(saw[n.Version])
	}
	return v
}

// allNotices are a product's versions, the oldest first, and how many saw each.
func (s *server) allNotices(ctx context.Context, product string) (p fleet.Product, all []consent.Notice, saw map[string]int, err error) {
	if p, err = s.Fleet.Product(ctx, product); err != nil {
		return p, nil, nil, err
	}
	if _, err = s.d.Notices.Current(ctx, &p); err != nil {
		return p, nil, nil, err
	}
	if all, err = s.d.Notices.All(ctx, p.Name); err != nil {
		return p, nil, nil, err
	}
	saw, err = s.d.Notices.Saw(ctx, p.Name)
	return p, all, saw, err
}

func (s *server) noticeVersions(ctx context.Context, in *frame.NameParam) (wire.List[wire.PublishedNotice], error) {
	out := wire.List[wire.PublishedNotice]{Items: []wire.PublishedNotice{}}
	_, all, saw, err := s.allNotices(ctx, in.Name)
	for i := range slices.Backward(all) {
		out.Items = append(out.Items, s.seen(ctx, &all[i], saw))
	}
	return out, err
}

func (s *server) noticeVersion(ctx context.Context, in *versionParam) (NoticeVersion, error) {
	p, all, saw, err := s.allNotices(ctx, in.Name)
	if err != nil {
		return NoticeVersion{}, err
	}
	i := slices.IndexFunc(all, func(n consent.Notice) bool { return n.Version == in.Version })
	if i < 0 {
		return NoticeVersion{}, fault.New(fault.NotFound, "no version %q of the notice of %s", in.Version, p.Name)
	}
	n := &all[i]
	out := NoticeVersion{
		PublishedNotice: s.seen(ctx, n, saw), Product: p.Name, Current: n.Version == consent.VersionOf(&p), Widens: []Widening{}, Words: n.Words,
	}
	if i > 0 {
		out.Before = all[i-1].Version
		out.Widens = widenings(&all[i-1].Words, &n.Words, nil)
	}
	return out, nil
}

// widenings are what now widens, by title; rates, where given, say of how many units.
func widenings(before, now *fleet.Product, rates map[string]Rate) []Widening {
	out := []Widening{}
	wide := consent.Widened(before, now)
	for _, name := range slices.Sorted(maps.Keys(wide)) {
		q, _ := now.Purpose(name)
		w := Widening{
			Purpose: name, Title: q.Title, Anew: slices.Contains(wide[name], consent.Anew),
			Items: itemTitles(now, now.Tongue(), wide[name]),
		}
		if rates != nil {
			w.Units = told(rates[name].Given)
		}
		out = append(out, w)
	}
	return out
}

// words puts a draft's into a product, or says where the draft is of another one.
func (d *NoticeDraft) words(p *fleet.Product) error {
	var fields []fault.Field
	named := func(what string, n, want int, name func(int) string, known func(int) string) {
		if n != want {
			fields = append(fields, fault.Field{Path: what, Expected: fmt.Sprintf("all %d of the product, in its order", want), Got: fmt.Sprint(n)})
			return
		}
		for i := range n {
			if name(i) != known(i) {
				fields = append(fields, fault.Field{Path: fmt.Sprintf("%s[%d].name", what, i), Expected: known(i) + ", as the product has it", Got: name(i)})
			}
		}
	}
	named("purposes", len(d.Purposes), len(p.Purposes), func(i int) string { return d.Purposes[i].Name }, func(i int) string { return p.Purposes[i].Name })
	named("signals", len(d.Signals), len(p.Signals), func(i int) string { return d.Signals[i].Name }, func(i int) string { return p.Signals[i].Name })
	if len(fields) > 0 {
		return fault.Fields("notice", fields)
	}
	p.Title, p.Description, p.Notice = d.Title, d.Description, &d.Notice
	for i, q := range d.Purposes {
		p.Purposes[i].Title, p.Purposes[i].Description, p.Purposes[i].KeepReason, p.Purposes[i].Texts = q.Title, q.Description, q.KeepReason, q.Texts
	}
	for i, g := range d.Signals {
		p.Signals[i].Title, p.Signals[i].Description, p.Signals[i].Texts = g.Title, g.Description, g.Texts
	}
	return nil
}

func (s *server) publishNotice(ctx context.Context, in *publishIn) (NoticePublished, error) {
	before, err := s.Fleet.Product(ctx, in.Name)
	if err != nil {
		return NoticePublished{}, err
	}
	if v := consent.VersionOf(&before); v != in.Body.After {
		return NoticePublished{}, fault.New(fault.Conflict, "version %s has been published since: begin from it again", v)
	}
	now, err := s.Fleet.Product(ctx, in.Name)
	if err != nil {
		return NoticePublished{}, err
	}
	if err := in.Body.words(&now); err != nil {
		return NoticePublished{}, err
	}
	rates, err := s.d.Rates(ctx, before.Name)
	if err != nil {
		return NoticePublished{}, err
	}
	raw, err := json.Marshal(&now)
	if err != nil {
		return NoticePublished{}, fmt.Errorf("notice of %s: %w", in.Name, err)
	}
	applied, err := s.d.Apply(ctx, wire.Apply{DryRun: in.Body.DryRun, Documents: []wire.Document{{
		APIVersion: declare.APIVersion, Kind: declare.Product, Metadata: declare.Metadata{Name: in.Name}, Spec: raw,
	}}})
	if err != nil {
		return NoticePublished{}, ofDraft(err)
	}
	return NoticePublished{
		Version: consent.VersionOf(&now), DryRun: in.Body.DryRun, Diff: applied.Changes[0].Diff,
		Widens: widenings(&before, &now, rates),
	}, nil
}

// ofDraft tells mistakes of the declaration as ones of the draft.
func ofDraft(err error) error {
	fields := fault.FieldsOf(err)
	if len(fields) == 0 {
		return err
	}
	for i := range fields {
		fields[i].Path = strings.Replace(fields[i].Path, "body.documents[0].spec.", "body.", 1)
	}
	return fault.Fields("notice", fields)
}
