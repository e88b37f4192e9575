// Package words serves what people are told: templates with preview and lint,
// what owners were told and why not, how they can be reached, ladders, letters
// and calls.
package words

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/notify/lint"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/notify/template"
)

// Store is what is listed.
type Store interface {
	ladder.Store
	letter.Store
	// CountReachable counts the owners of a campaign's units by the channels that
	// they can be reached on: by its tasks, else by its cohort's newest snapshot.
	CountReachable(ctx context.Context, campaignID, cohort string) (ladder.Reachable, error)
}

// Deps is what the operations work with.
type Deps struct {
	Templates *template.Catalogue
	People    *preference.Service
	Ladder    *ladder.Manager
	Letters   *letter.Service
	Calls     *calls.Service
	Store     Store
	Messages  notify.Store
	Runs      campaign.Store
	Fleet     fleet.Store
	Clock     clock.Clock
	IDs       clock.IDs
	URL       string
}

type server struct {
	*frame.Server
	d Deps
}

// Register adds the operations to a server.
func Register(f *frame.Server, d Deps) {
	s := &server{f, d}
	s.templates()
	s.told()
	s.ladders()
	s.quarterly()
	s.reachFile()
	s.letters()
	s.calls()
	s.mine()
}

// Text is a text that can be declared, with what is declared of it.
type Text struct {
	Name      string           `json:"name"`
	Title     string           `json:"title"`
	For       string           `json:"for" doc:"Text that it replaces."`
	Kind      template.Kind    `json:"kind"`
	Product   string           `json:"product,omitempty"`
	Campaign  string           `json:"campaign,omitempty"`
	Builtin   bool             `json:"builtin"`
	Languages []string         `json:"languages"`
	Fallback  string           `json:"fallback"`
	Values    []template.Value `json:"values" doc:"Placeholders."`
	Errors    int              `json:"errors" doc:"Findings of the linter."`
	Warnings  int              `json:"warnings"`
}

// PreviewOf asks for a preview: of a template by name, or of one that is being written.
type PreviewOf struct {
	Name     string          `json:"name,omitempty" maxLength:"63" doc:"Of a declared template or a built-in text."`
	Spec     wire.Spec       `json:"spec,omitempty" doc:"In place of name: a TemplateSpec as it is being written."`
	Language string          `json:"language,omitempty" maxLength:"40" doc:"BCP 47 tag of the reader, as de-AT (default: the template's own)."`
	TimeZone string          `json:"timeZone,omitempty" maxLength:"64"`
	Units    template.System `json:"units,omitempty" enum:"metric,us,uk"`
	UnitID   string          `json:"unitId,omitempty" maxLength:"64" doc:"A real unit: its owner's name, language and units of measure. Needs permission to see owners, and is entered as a look at their data."`
	Format   letter.Format   `json:"format,omitempty" enum:"din5008,us10" doc:"Of the letter (default din5008)."`
}

// Preview is what would be said.
type Preview struct {
	template.Rendered
	HTML       string         `json:"html" doc:"The mail's HTML part without its frame."`
	Languages  []string       `json:"languages"`
	Lint       []lint.Finding `json:"lint"`
	Disclaimer string         `json:"disclaimer"`
	Letterless string         `json:"letterless,omitempty" doc:"Why it cannot be printed."`
}

// LintOf asks the linter: about a template, or about a notice as plain text.
type LintOf struct {
	Name     string    `json:"name,omitempty" maxLength:"63"`
	Spec     wire.Spec `json:"spec,omitempty" doc:"A TemplateSpec."`
	Language string    `json:"language,omitempty" maxLength:"40" doc:"Of text."`
	Text     string    `json:"text,omitempty" maxLength:"65536" doc:"A notice in full; its first line is the headline."`
}

// Linted is what the linter found.
type Linted struct {
	Findings   []lint.Finding `json:"findings"`
	Disclaimer string         `json:"disclaimer"`
}

type (
	previewIn struct{ Body PreviewOf }
	lintIn    struct{ Body LintOf }
)

func (s *server) templates() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/templates", ID: "listTexts", Summary: "Texts that people are told: built in and declared", Tag: "words", Access: access.Look, Sight: frame.ByProduct,
	}, s.list)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/templates/preview", ID: "previewTemplate", Summary: "What would be said, on each channel",
		Doc: "With samples for its placeholders, or with a real unit and its owner.", Tag: "words", Access: access.Look, Sight: frame.ByUnit, Asks: true, Personal: audit.DataContact,
	}, s.preview)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/templates/lint", ID: "lintTemplate", Summary: "Look at a safety notice for what GPSR art. 36(2) asks for",
		Doc: lint.Disclaimer, Tag: "words", Access: access.Look, Sight: frame.ByProduct, Asks: true,
	}, s.lint)
	frame.Add(s.Server, frame.Route{
		Method: http.MethodPost, Path: "/v1/templates/test", ID: "testTemplate", Summary: "Send a preview to yourself by mail", Tag: "words", Access: access.Contact, Or: []access.Permission{access.Campaign}, Sight: frame.ByUnit, Personal: audit.DataContact,
	}, s.test)
	s.file(frame.Route{
		Method: http.MethodPost, Path: "/v1/templates/letter", ID: "previewLetter", Summary: "The letter of a preview as PDF", Tag: "words", Access: access.Look, Sight: frame.ByUnit, Asks: true, Personal: audit.DataContact,
	}, "application/pdf")
}

func text(t *template.Spec, builtin bool) Text {
	out := Text{
		Name: t.Name, Title: t.Title, For: t.Replaces(), Kind: t.About(), Product: t.Product, Campaign: t.Campaign, Builtin: builtin,
		Languages: t.Languages(), Fallback: t.Default(), Values: t.Placeholders(),
	}
	for _, f := range lint.Template(t) {
		if f.Severity == lint.Error {
			out.Errors++
		} else {
			out.Warnings++
		}
	}
	return out
}

func (s *server) list(ctx context.Context, _ *frame.None) (wire.List[Text], error) {
	out := wire.List[Text]{Items: []Text{}}
	declared, err := s.d.Templates.Templates(ctx)
	if err != nil {
		return out, err
	}
	sight := fleet.SightOf(ctx)
	for i := range declared {
		if t := &declared[i]; t.Product == "" || sight.Product(t.Product) {
			out.Items = append(out.Items, text(t, false))
		}
	}
	known, err := template.Builtin()
	if err != nil {
		return out, err
	}
	for _, k := range template.Texts() {
		out.Items = append(out.Items, text(known[k.Name], true))
	}
	return out, nil
}

// spec reads the template that is asked about.
func (s *server) spec(ctx context.Context, name string, raw wire.Spec) (*template.Spec, error) {
	if len(raw) == 0 {
		if name == "" {
			return nil, fault.Fields("template", []fault.Field{{Path: "name", Expected: "the name of a template, or spec"}})
		}
		t, err := s.d.Templates.Get(ctx, name)
		return &t, err
	}
	t := &template.Spec{}
	fields := declare.Decode(raw, "spec", t)
	if t.Name = name; t.Name == "" {
		t.Name = "preview"
	}
	if len(fields) == 0 {
		fields = t.Validate()
	}
	return t, fault.Fields("template", fields)
}

// render writes what is asked for, with samples or for a real unit.
func (s *server) render(ctx context.Context, in *PreviewOf) (*template.Spec, *template.Rendered, error) {
	if in.UnitID == "" {
		if err := audit.Looked(ctx); err != nil {
			return nil, nil, err
		}
	}
	t, err := s.spec(ctx, in.Name, in.Spec)
	if err != nil {
		return nil, nil, err
	}
	zone, err := time.LoadLocation(in.TimeZone)
	if err != nil || in.TimeZone == "Local" {
		return nil, nil, fault.Fields("preview", []fault.Field{{Path: "timeZone", Expected: "an IANA time zone, as Europe/Oslo", Got: in.TimeZone}})
	}
	reader := template.Reader{Locale: in.Language, Zone: zone, Units: in.Units}
	if reader.Locale == "" {
		reader.Locale = t.Default()
	}
	values := t.Sample()
	if in.UnitID != "" {
		if err := s.real(ctx, in, &reader, values); err != nil {
			return nil, nil, err
		}
	}
	r, err := t.Render(reader, values)
	return t, r, err
}

// real takes a unit and its owner in place of samples.
func (s *server) real(ctx context.Context, in *PreviewOf, reader *template.Reader, values template.Values) error {
	if err := frame.Who(ctx).Need(access.Personal); err != nil {
		return err
	}
	u, err := s.d.Fleet.Unit(ctx, in.UnitID)
	if err != nil {
		return err
	}
	if err := audit.Looked(ctx, u.OwnerID); err != nil {
		return err
	}
	values["Unit"] = u.ID
	p, err := s.d.Fleet.Product(ctx, u.Product)
	if err != nil {
		return err
	}
	values["Product"] = p.Title
	if u.OwnerID == "" {
		return nil
	}
	o, err := s.d.Fleet.Owner(ctx, u.OwnerID)
	if err != nil {
		return err
	}
	own, err := s.d.People.Reader(ctx, o)
	if err != nil {
		return err
	}
	values["Name"] = o.Name
	if in.Language == "" {
		reader.Locale = own.Locale
	}
	if in.Units == "" {
		reader.Units = own.Units
	}
	if in.TimeZone == "" {
		reader.Zone = own.Zone
	}
	return nil
}

func (s *server) preview(ctx context.Context, in *previewIn) (Preview, error) {
	t, r, err := s.render(ctx, &in.Body)
	if err != nil {
		return Preview{}, err
	}
	out := Preview{Rendered: *r, HTML: r.Mail.HTML, Languages: t.Languages(), Lint: append([]lint.Finding{}, lint.Template(t)...), Disclaimer: lint.Disclaimer}
	if out.HTML == "" {
		out.HTML = template.Paragraphs(r.Mail.Text)
	}
	if missing := letter.Unprintable(r.Letter.Subject + r.Letter.Text); missing != "" {
		out.Letterless = "the letters' font (Latin, Greek, Cyrillic) has no " + missing
	}
	return out, nil
}

func (s *server) lint(ctx context.Context, in *lintIn) (Linted, error) {
	out := Linted{Findings: []lint.Finding{}, Disclaimer: lint.Disclaimer}
	if in.Body.Text != "" {
		tag := in.Body.Language
		if tag == "" {
			tag = "en"
		}
		out.Findings = append(out.Findings, lint.Text(tag, in.Body.Text)...)
		return out, nil
	}
	t, err := s.spec(ctx, in.Body.Name, in.Body.Spec)
	if err != nil {
		return out, err
	}
	out.Findings = append(out.Findings, lint.Template(t)...)
	return out, nil
}

// Tested says where a test went.
type Tested struct {
	To       string `json:"to"`
	Subject  string `json:"subject"`
	Language string `json:"language"`
}

func (s *server) test(ctx context.Context, in *previewIn) (Tested, error) {
	_, r, err := s.render(ctx, &in.Body)
	if err != nil {
		return Tested{}, err
	}
	to := frame.Who(ctx).Email
	if !fleet.ValidEmail(to) {
		return Tested{}, fault.New(fault.Conflict, "you have no mail address that a test could be sent to")
	}
	id := s.d.IDs.ID()
	_, err = s.d.Messages.Enqueue(ctx, notify.Message{
		ID: id, Key: "test:" + id, Channel: notify.Mail, To: to, Kind: notify.Account, Language: r.Language, Subject: "[Test] " + r.Mail.Subject, Body: r.Mail.Text, HTML: r.Mail.HTML,
		Link: r.Link, CreatedAt: s.d.Clock.Now(),
	})
	return Tested{To: to, Subject: "[Test] " + r.Mail.Subject, Language: r.Language}, err
}

// file registers the preview of a letter, which is no JSON.
func (s *server) file(r frame.Route, contentType string) {
	binary(s, r, contentType, "letter.pdf", func(ctx context.Context, in *previewIn) ([]byte, error) {
		_, out, err := s.render(ctx, &in.Body)
		if err != nil {
			return nil, err
		}
		if in.Body.Format == "" {
			in.Body.Format = letter.DIN
		}
		recipient := []string{"Kim Berg", "Storgata 1", "0155 Oslo", "NORWAY"}
		var b bytes.Buffer
		err = letter.Preview(&b, in.Body.Format, s.d.Clock.Now(), out, []string{"Your company", "Your street 1", "12345 Your town"}, recipient)
		return b.Bytes(), err
	})
}

// binary registers an operation that answers with a file.
func binary[I any](s *server, r frame.Route, contentType, name string, handle func(context.Context, *I) ([]byte, error)) {
	op := r.Operation()
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The file.", Content: map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
	huma.Register(s.API, op, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		b, err := handle(ctx, in)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			ctx.SetHeader("Content-Type", contentType)
			ctx.SetHeader("Content-Disposition", `inline; filename="`+name+`"`)
			if _, err := ctx.BodyWriter().Write(b); err != nil && !errors.Is(err, context.Canceled) {
				s.Log.DebugContext(ctx.Context(), "file", "error", err)
			}
		}}, nil
	})
}

// owners are the ids of a list, each once, for the audit trail.
func owners[T any](list []T, id func(T) string) []string {
	var out []string
	for _, x := range list {
		if o := id(x); o != "" && !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	return out
}
