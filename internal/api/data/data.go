// Package data serves owners' rights over their data: what is collected and
// why, receipts, exports and shares; what third parties read by a share; and
// what operators and buyers see of notices, consent and data sheets.
package data

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/receipt"
	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/consent/takeout"
	"fettle.dev/fettle/internal/consent/withdrawal"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/telemetry/live"
)

// Deps is what the operations work with. Live may be nil: nothing is live.
type Deps struct {
	Clock       clock.Clock
	Consents    *consent.Service
	Choices     consent.Store
	Notices     *consent.Notices
	Withdrawals *withdrawal.Manager
	Shares      *share.Service
	Exports     *takeout.Manager
	History     telemetry.History // guarded
	Live        *live.Hub
	// Rates counts the active units of a product in sight by purpose and choice.
	Rates func(ctx context.Context, product string) (map[string]Rate, error)
	// Apply makes the records as declared documents say, whoever asks.
	Apply func(ctx context.Context, in wire.Apply) (wire.Applied, error)
}

// Rate is how owners chose about a purpose.
type Rate struct{ Given, Refused int }

type server struct {
	*frame.Server
	d      Deps
	limits limits
}

// Register adds the operations.
func Register(f *frame.Server, d Deps) {
	s := &server{Server: f, d: d, limits: limits{by: map[string]*limit{}}}
	s.owner()
	s.exports()
	s.shares()
	s.thirdParties()
	s.operators()
	s.notices()
	s.units()
}

// Choose keeps an owner's choice as they read the notice; the answer is the
// receipt. A purpose that is being erased is waited for a moment.
func Choose(ctx context.Context, d *Deps, choices *consent.Service, u fleet.Unit, p *fleet.Product, c consent.Choice) (consent.Choice, error) {
	if d.Notices != nil {
		known, err := d.Notices.Version(ctx, p, c.Notice)
		if err != nil {
			return consent.Choice{}, err
		}
		if c.Notice != "" && c.Given && known.Version != consent.VersionOf(p) {
			return consent.Choice{}, fault.New(fault.Conflict, "the notice has changed since you read it: read version %s first", consent.VersionOf(p))
		}
		c.Notice, c.Language = known.Version, known.Words.Speak(c.Language)
		if c.Given && d.Withdrawals != nil {
			waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := d.Withdrawals.Settled(waiting, u.ID)
			cancel()
			if err != nil {
				return consent.Choice{}, err
			}
		}
	}
	return choices.Choose(ctx, c)
}

type choiceIn struct {
	frame.IDParam
	Language string `query:"lang" maxLength:"35" doc:"The language to answer in; absent: the owner's."`
}

func (s *server) owner() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/owner/v1/units/{id}/data", ID: "getMyData", Summary: "What is collected of a unit, why, and by whose choice",
		Doc: "The notice as it is shown beside the switches: that the owner saw this version in this language is noted.", Tag: "owner", Access: frame.Owner,
	}, s.myData)
	ld := func(path, id, summary string) huma.Operation {
		op := frame.Route{Method: http.MethodGet, Path: path, ID: id, Summary: summary, Doc: "ISO/IEC TS 27560:2023 as JSON-LD, with its context.", Tag: "owner", Access: frame.Owner}.Operation()
		op.Responses = map[string]*huma.Response{"200": {Description: "The document.", Content: map[string]*huma.MediaType{mediaLD: {Schema: &huma.Schema{Type: "object"}}}}}
		return op
	}
	huma.Register(s.API, ld("/owner/v1/units/{id}/receipts", "getMyReceipts", "The receipts of all choices about a unit"),
		func(ctx context.Context, in *frame.IDParam) (*document, error) {
			all, err := s.receipts(ctx, in.ID)
			if err != nil {
				return nil, s.Problem(ctx, err)
			}
			return s.document(ctx, receipt.All(s.PublicURL, frame.Who(ctx).ID, all), "receipts-"+in.ID)
		})
	huma.Register(s.API, ld("/owner/v1/receipts/{id}", "getMyReceipt", "The receipt of one choice"),
		func(ctx context.Context, in *frame.IDParam) (*document, error) {
			units, err := s.Units(ctx)
			if err != nil {
				return nil, s.Problem(ctx, err)
			}
			for _, u := range units {
				if u.Role != people.Owner {
					continue
				}
				all, err := s.receipts(ctx, u.ID)
				if err != nil {
					return nil, s.Problem(ctx, err)
				}
				if i := slices.IndexFunc(all, func(r receipt.Input) bool { return r.Choice.ID == in.ID }); i >= 0 {
					return s.document(ctx, receipt.Receipt(all[i]), "receipt-"+in.ID)
				}
			}
			return nil, s.Problem(ctx, fault.New(fault.NotFound, "no receipt %q", in.ID))
		})
}

const mediaLD = "application/ld+json"

type document struct {
	ContentType        string `header:"Content-Type"`
	ContentDisposition string `header:"Content-Disposition"`
	Body               []byte
}

func (s *server) document(ctx context.Context, doc map[string]any, name string) (*document, error) {
	raw, err := receipt.JSON(doc)
	if err != nil {
		return nil, s.Problem(ctx, err)
	}
	return &document{mediaLD, `attachment; filename="` + name + `.jsonld"`, raw}, nil
}

// Receipts are those of all choices about a unit that a person may see: theirs,
// and what was agreed to when it came to them.
func Receipts(ctx context.Context, d *Deps, base, ownerID string, u fleet.Unit, p *fleet.Product, since, until time.Time) ([]receipt.Input, error) {
	choices, err := d.Choices.Choices(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	versions, err := d.Notices.All(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	now, err := d.Notices.Current(ctx, p)
	if err != nil {
		return nil, err
	}
	out := []receipt.Input{}
	earlier := map[string][]consent.Choice{}
	for _, c := range choices {
		if c.At.Before(since) || !until.IsZero() && !c.At.Before(until) {
			continue
		}
		in := receipt.Input{Base: base, Owner: ownerID, Unit: u, Choice: c, Earlier: slices.Clone(earlier[c.Purpose]), Notice: now}
		for _, v := range versions {
			if v.Version == c.Notice {
				in.Notice = v
			}
		}
		earlier[c.Purpose] = append(earlier[c.Purpose], c)
		out = append(out, in)
	}
	return out, nil
}

func (s *server) receipts(ctx context.Context, unitID string) ([]receipt.Input, error) {
	u, err := s.May(ctx, unitID, people.Consent)
	if err != nil {
		return nil, err
	}
	p, err := s.Fleet.Product(ctx, u.Product)
	if err != nil {
		return nil, err
	}
	return Receipts(ctx, &s.d, s.PublicURL, frame.Who(ctx).ID, u.Unit, &p, u.Since, time.Time{})
}

func (s *server) myData(ctx context.Context, in *choiceIn) (wire.MyData, error) {
	u, err := s.May(ctx, in.ID, people.Consent)
	if err != nil {
		return wire.MyData{}, err
	}
	p, err := s.Fleet.Product(ctx, u.Product)
	if err != nil {
		return wire.MyData{}, err
	}
	o, err := s.Fleet.Owner(ctx, frame.Who(ctx).ID)
	if err != nil {
		return wire.MyData{}, err
	}
	n, err := s.d.Notices.Current(ctx, &p)
	if err != nil {
		return wire.MyData{}, err
	}
	locale := in.Language
	if locale == "" {
		locale = frame.Language(ctx, o.Locale)
	}
	lang := p.Speak(locale)
	if frame.Who(ctx).Via == "session" { // an app may not show it to anybody
		if err := s.d.Notices.Show(ctx, o.ID, p.Name, n.Version, lang); err != nil {
			return wire.MyData{}, err
		}
	}
	mask, err := s.d.Choices.Mask(ctx, u.ID)
	if err != nil {
		return wire.MyData{}, err
	}
	choices, err := s.d.Choices.Choices(ctx, u.ID)
	if err != nil {
		return wire.MyData{}, err
	}
	out := wire.MyData{
		UnitID: u.ID, ProductTitle: p.Title, Languages: p.Languages(), Restricted: mask[consent.Restricted],
		Notice:   wire.MyNotice{Version: n.Version, Language: lang, PublishedAt: n.PublishedAt, Paragraphs: []string{}},
		Purposes: []wire.MyPurposeData{}, Items: []wire.MyItem{}, Recipients: []wire.MyRecipient{}, Withdrawals: []wire.MyWithdrawal{}, Receipts: []wire.MyReceipt{},
	}
	if p.Notice != nil {
		w := p.Notice.Texts[lang]
		out.Notice.Title, out.Notice.Paragraphs = w.Title, paragraphs(w.Text)
		c := p.Notice.Controller
		out.Notice.Controller, out.Notice.Contact, out.Notice.Complaint = c.Name, c.Contact, p.Notice.Complaint
		for _, r := range p.Notice.Recipients {
			out.Recipients = append(out.Recipients, wire.MyRecipient{Name: r.Name, What: r.What, Country: r.Country, Purposes: titles(&p, lang, r.Purposes)})
		}
	}
	last := map[string]consent.Choice{}
	for _, c := range choices {
		if c.At.Before(u.Since) {
			continue
		}
		last[c.Purpose] = c
		q, _ := p.Purpose(c.Purpose)
		out.Receipts = append(out.Receipts, wire.MyReceipt{ID: c.ID, Purpose: c.Purpose, Title: q.Words(lang).Title, Given: c.Given, At: c.At, Notice: c.Notice, Language: c.Language, Import: c.By == consent.ByImport})
	}
	slices.Reverse(out.Receipts)
	for i := range p.Purposes {
		q := &p.Purposes[i]
		w := q.Words(lang)
		v := wire.MyPurposeData{
			Name: q.Name, Title: w.Title, Description: w.Description, Basis: q.Basis, Given: mask.PermitsPurpose(&p, q.Name),
			ChosenAt: last[q.Name].At, Notice: last[q.Name].Notice, Objected: mask[consent.Objected+q.Name], New: []string{}, Items: []string{},
		}
		if q.Basis == fleet.BasisConsent {
			v.OnWithdrawal, v.KeepReason = fleet.OnWithdrawalErase, w.KeepReason
			if q.Keeps() {
				v.OnWithdrawal = fleet.OnWithdrawalKeep
			}
			v.Erases, v.Keeps, _ = withdrawal.Plan(&p, mask, q.Name)
			v.Erases, v.Keeps = itemTitles(&p, lang, v.Erases), itemTitles(&p, lang, v.Keeps)
			if v.Given {
				v.New = itemTitles(&p, lang, mask.Uncovered(q.Name))
				v.Ask = len(mask.Uncovered(q.Name)) > 0
			}
		}
		for _, it := range items(&p) {
			if slices.Contains(it.purposes, q.Name) {
				v.Items = append(v.Items, it.title(lang))
			}
		}
		out.Purposes = append(out.Purposes, v)
	}
	if out.Items, err = s.lately(ctx, &u, &p, mask, lang); err != nil {
		return wire.MyData{}, err
	}
	if s.d.Withdrawals != nil {
		all, err := s.d.Withdrawals.Of(ctx, u.ID)
		if err != nil {
			return wire.MyData{}, err
		}
		for _, w := range all {
			if w.At.Before(u.Since) {
				continue
			}
			out.Withdrawals = append(out.Withdrawals, withdrawn(&p, lang, &w))
		}
	}
	return out, nil
}

// withdrawn is a withdrawal as people read it.
func withdrawn(p *fleet.Product, lang string, w *withdrawal.Withdrawal) wire.MyWithdrawal {
	q, _ := p.Purpose(w.Purpose)
	return wire.MyWithdrawal{
		Purpose: w.Purpose, Title: q.Words(lang).Title, At: w.At, Erased: itemTitles(p, lang, w.Erase), Kept: itemTitles(p, lang, w.Kept),
		Reason: w.Reason, Done: w.Step, Total: w.Steps, EndedAt: w.EndedAt,
	}
}

// item is one kind of data that a product may collect.
type item struct {
	name      string
	purposes  []string
	retention fleet.Duration
	signal    *fleet.Signal
	words     string
	unit      string
}

func (i *item) title(lang string) string {
	if i.signal != nil {
		return i.signal.Words(lang).Title
	}
	return i.words
}

func items(p *fleet.Product) (out []item) {
	for i := range p.Signals {
		s := &p.Signals[i]
		out = append(out, item{name: s.Name, purposes: s.Purposes, retention: s.Retention, signal: s, unit: s.Unit})
	}
	for _, f := range p.Features {
		if len(f.Purposes) > 0 {
			out = append(out, item{name: "feature:" + f.Name, purposes: f.Purposes, retention: f.Retention, words: f.Title})
		}
	}
	for _, f := range p.Faults {
		out = append(out, item{name: "fault:" + f.Code, purposes: f.Purposes, retention: f.Retention, words: f.Title})
	}
	if p.Log != nil {
		out = append(out, item{name: "log", purposes: p.Log.Purposes, retention: p.Log.Retention, words: "Log"})
	}
	return out
}

func itemTitles(p *fleet.Product, lang string, names []string) []string {
	out := []string{}
	for _, it := range items(p) {
		if slices.Contains(names, it.name) {
			out = append(out, it.title(lang))
		}
	}
	return out
}

func titles(p *fleet.Product, lang string, purposes []string) []string {
	out := []string{}
	for _, name := range purposes {
		q, _ := p.Purpose(name)
		out = append(out, q.Words(lang).Title)
	}
	return out
}

// lately is what was collected in the last day, with the newest value.
func (s *server) lately(ctx context.Context, u *people.Unit, p *fleet.Product, mask consent.Mask, lang string) ([]wire.MyItem, error) {
	ctx = consent.ForOwner(ctx)
	newest, err := s.d.History.Latest(ctx, p.Name, u.Key)
	if err != nil {
		return nil, err
	}
	now := s.d.Clock.Now()
	from := now.Add(-24 * time.Hour)
	if from.Before(u.Since) {
		from = u.Since
	}
	var numbers []string
	for _, g := range p.Signals {
		if g.Type != fleet.Text {
			numbers = append(numbers, g.Name)
		}
	}
	counts := map[string]int64{}
	if len(numbers) > 0 {
		err = s.d.History.Windows(ctx, telemetry.WindowQuery{Product: p.Name, Units: []int64{u.Key}, Signals: numbers, From: from, To: now.Add(time.Hour), Measures: telemetry.MeasureCount}, func(w *telemetry.Window) error {
			for i, st := range w.Stats {
				counts[numbers[i]] += st.Count
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	out := []wire.MyItem{}
	for _, it := range items(p) {
		v := wire.MyItem{
			Name: it.name, Title: it.title(lang), Unit: it.unit, Retention: it.retention, Purposes: titles(p, lang, it.purposes),
			Collected: mask.PermitsItem(p, it.purposes, it.name), Today: counts[it.name],
		}
		if it.signal != nil {
			v.Description, v.Type = it.signal.Words(lang).Description, it.signal.Type
		}
		if n, ok := newest[it.name]; ok && !n.At.Before(u.Since) {
			v.LastAt = n.At
			if n.IsText {
				v.Text = &n.Text
			} else {
				v.Number = &n.Number
			}
		}
		out = append(out, v)
	}
	return out, nil
}

func paragraphs(text string) []string {
	out := []string{}
	part := ""
	for line := range splitLines(text) {
		if line == "" {
			if part != "" {
				out = append(out, part)
			}
			part = ""
			continue
		}
		if part != "" {
			part += " "
		}
		part += line
	}
	if part != "" {
		out = append(out, part)
	}
	return out
}
