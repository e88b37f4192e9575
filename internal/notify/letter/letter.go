// Package letter prints letters to owners who are to be told, or can only be
// told, by post: for window envelopes, in batches for a print house, marked as
// sent and as returned.
package letter

import (
	"archive/zip"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/notify/template"
)

// State of a letter.
type State string

// The states.
const (
	Waiting  State = "waiting"
	Batched  State = "batched"
	Sent     State = "sent"
	Returned State = "returned" // it came back
	Unfit    State = "unfit"    // it cannot be printed: Why says
	Stopped  State = "stopped"  // not needed any more: the owner has acknowledged
)

// Letter is one owner's letter about one thing.
type Letter struct {
	ID         string    `json:"id" doc:"Of the message that it carries."`
	OwnerID    string    `json:"ownerId"`
	UnitID     string    `json:"unitId,omitempty"`
	About      string    `json:"about,omitempty"`
	Language   string    `json:"language"`
	Subject    string    `json:"subject"`
	Text       string    `json:"-"`
	Name       string    `json:"name,omitempty"`
	State      State     `json:"state"`
	Why        string    `json:"why,omitempty"`
	Batch      string    `json:"batch,omitempty"`
	CreatedAt  time.Time `json:"createdAt"`
	SentAt     time.Time `json:"sentAt,omitzero"`
	ReturnedAt time.Time `json:"returnedAt,omitzero"`
	Recipient  []string  `json:"recipient,omitempty" doc:"Lines of the address, as it was when the batch was made."`
}

// Batch is letters that are printed together.
type Batch struct {
	ID        string    `json:"id"`
	Format    Format    `json:"format" enum:"din5008,us10"`
	Sender    []string  `json:"sender"`
	About     string    `json:"about,omitempty"`
	By        string    `json:"by,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	Letters   int       `json:"letters"`
	SentAt    time.Time `json:"sentAt,omitzero" doc:"Day it was given to the post."`
	Returned  int       `json:"returned,omitempty"`
}

// Filter picks letters.
type Filter struct {
	State               State
	About, Batch, Owner string
	After               string
	Limit               int
}

// Store keeps letters and batches. Letters come into being with messages on the
// channel letter.
type Store interface {
	Letters(ctx context.Context, f Filter) ([]Letter, error) // by id
	Letter(ctx context.Context, id string) (Letter, error)
	SaveLetters(ctx context.Context, all []Letter) error
	CountLetters(ctx context.Context) (map[State]int, error)
	AddBatch(ctx context.Context, b Batch) error
	Batches(ctx context.Context, before string, limit int) ([]Batch, error) // newest first
	Batch(ctx context.Context, id string) (Batch, error)
	MarkBatch(ctx context.Context, id string, sentAt time.Time) error
}

// Config is what a Service works with.
type Config struct {
	Store    Store
	Messages notify.Store
	People   *preference.Service
	Fleet    fleet.Store
	Tx       fleet.Transactor
	Clock    clock.Clock
	IDs      clock.IDs
	// Needed reports whether a letter's message is still to be told; nil: until
	// it is acknowledged.
	Needed func(ctx context.Context, m *notify.Message) (bool, error)
}

// Service makes batches of letters.
type Service struct{ Config }

// NewService makes a service.
func NewService(c Config) *Service { return &Service{c} }

// mostBatch bounds a batch: what a print house takes as a file, and memory.
const mostBatch = 5000

// Order is what a batch is made of.
type Order struct {
	Format Format
	Sender []string
	About  string // only these
	Limit  int    // 0: as many as a batch holds
	By     string
}

// Validate finds every mistake in an order.
func (o *Order) Validate() error {
	var fields []fault.Field
	add := func(path, expected, got string) {
		fields = append(fields, fault.Field{Path: path, Expected: expected, Got: got})
	}
	if !slices.Contains(Formats, o.Format) {
		add("format", "din5008 (A4) or us10 (Letter)", fmt.Sprintf("%q", o.Format))
	}
	if n := len(o.Sender); n < 2 || n > 5 {
		add("sender", "two to five lines: your name, street and town", strconv.Itoa(n))
	}
	for i, l := range o.Sender {
		if strings.TrimSpace(l) == "" || len(l) > 80 || strings.ContainsFunc(l, func(r rune) bool { return r < ' ' }) {
			add(fmt.Sprintf("sender[%d]", i), "1 to 80 characters on one line", fmt.Sprintf("%q", l))
		} else if missing := Unprintable(l); missing != "" {
			add(fmt.Sprintf("sender[%d]", i), "characters that the letters' font has: Latin, Greek or Cyrillic", missing)
		}
	}
	if o.Limit < 0 || o.Limit > mostBatch {
		add("limit", fmt.Sprintf("1 to %d", mostBatch), strconv.Itoa(o.Limit))
	}
	return fault.Fields("batch of letters", fields)
}

// Make takes letters that wait into a batch. fault.NotFound: none can be printed.
func (s *Service) Make(ctx context.Context, o Order) (Batch, error) {
	if err := o.Validate(); err != nil {
		return Batch{}, err
	}
	if o.Limit == 0 {
		o.Limit = mostBatch
	}
	b := Batch{ID: s.IDs.ID(), Format: o.Format, Sender: o.Sender, About: o.About, By: o.By, CreatedAt: s.Clock.Now()}
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		list, err := s.Store.Letters(ctx, Filter{State: Waiting, About: o.About, Limit: o.Limit})
		if err != nil {
			return err
		}
		for i := range list {
			l := &list[i]
			if err := s.address(ctx, l, &b); err != nil {
				return err
			}
			if l.State == Unfit { // so that a ladder goes on, or ends as unreachable
				if err := s.bounce(ctx, l, l.Why); err != nil {
					return err
				}
			}
		}
		if b.Letters > 0 {
			if err := s.Store.AddBatch(ctx, b); err != nil {
				return err
			}
		}
		return s.Store.SaveLetters(ctx, list)
	})
	if err != nil {
		return Batch{}, fmt.Errorf("batch of letters: %w", err)
	}
	if b.Letters == 0 {
		return b, fault.New(fault.NotFound, "no letter waits that can be printed")
	}
	return b, nil
}

// address takes a letter into a batch, or says why it cannot be printed.
func (s *Service) address(ctx context.Context, l *Letter, b *Batch) error {
	m, err := s.Messages.Message(ctx, l.ID)
	if err != nil {
		return err
	}
	if !m.AckedAt.IsZero() && m.State == notify.Queued {
		l.State, l.Why = Stopped, "the owner has acknowledged it meanwhile"
		return nil
	}
	if s.Needed != nil {
		if needed, err := s.Needed(ctx, &m); err != nil || !needed {
			l.State, l.Why = Stopped, "the unit is remedied, or its owner has acknowledged"
			return err
		}
	}
	owner, err := s.Fleet.Owner(ctx, l.OwnerID)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	contact, err := s.People.Contact(ctx, l.OwnerID)
	if err != nil {
		return err
	}
	if contact.Address == nil {
		l.State, l.Why = Unfit, "there is no postal address any more"
		return nil
	}
	l.Recipient = Lines(owner.Name, contact.Address, b.Sender)
	if missing := Unprintable(l.Subject + l.Text + strings.Join(l.Recipient, "")); missing != "" {
		l.State, l.Why = Unfit, fmt.Sprintf("the letters' font (Latin, Greek, Cyrillic) has no %q: declare the words in a language that it can print", missing)
		return nil
	}
	l.State, l.Batch, l.Why = Batched, b.ID, ""
	b.Letters++
	return nil
}

// Lines are an address as post offices read it: the post code before the town,
// but after it in English-speaking countries; the country in English capitals.
func Lines(name string, a *preference.Address, _ []string) []string {
	if a.Name != "" {
		name = a.Name
	}
	out := []string{}
	if name != "" {
		out = append(out, name)
	}
	out = append(out, a.Lines...)
	town := strings.TrimSpace(a.PostalCode + " " + a.City)
	switch a.Country {
	case "US", "CA", "AU":
		town = strings.TrimSpace(a.City + " " + a.Region + " " + a.PostalCode)
	case "GB", "IE":
		town = a.City
		if a.PostalCode != "" {
			out = append(out, a.City)
			town = a.PostalCode
		}
	default:
		if a.Region != "" {
			town += ", " + a.Region
		}
	}
	out = append(out, town)
	if r, err := language.ParseRegion(a.Country); err == nil {
		out = append(out, strings.ToUpper(display.English.Regions().Name(r)))
	}
	return out
}

// sheets are a batch's letters as they are printed.
func (s *Service) sheets(ctx context.Context, b *Batch) ([]Letter, []Sheet, error) {
	list, err := s.Store.Letters(ctx, Filter{Batch: b.ID, Limit: mostBatch})
	if err != nil {
		return nil, nil, err
	}
	sheets := make([]Sheet, len(list))
	for i := range list {
		sheets[i] = list[i].sheet(b)
	}
	return list, sheets, nil
}

func (l *Letter) sheet(b *Batch) Sheet {
	at := b.CreatedAt
	if !b.SentAt.IsZero() {
		at = b.SentAt
	}
	date := template.Values{"At": template.Day(at)}
	spec := template.Spec{Values: []template.Value{{Name: "At", Type: template.Date}}, Fallback: l.Language, Texts: map[string]template.LangTexts{l.Language: {SMS: &template.Plain{Text: "{{.At}}"}}}}
	day := at.Format("2006-01-02")
	if r, err := spec.Render(template.Reader{Locale: l.Language}, date); err == nil && r.SMS.Text != "" {
		day = r.SMS.Text
	}
	return Sheet{Language: l.Language, Sender: b.Sender, Recipient: l.Recipient, Date: day, Reference: strings.TrimSpace(l.UnitID + "  " + shortID(l.ID)), Subject: l.Subject, Text: l.Text}
}

// shortID is what a returned letter is found by.
func shortID(id string) string {
	if len(id) > 12 {
		return id[len(id)-12:]
	}
	return id
}

// PDF writes a batch as one file.
func (s *Service) PDF(ctx context.Context, id string, w io.Writer) error {
	b, err := s.Store.Batch(ctx, id)
	if err != nil {
		return err
	}
	_, sheets, err := s.sheets(ctx, &b)
	if err != nil {
		return err
	}
	_, err = Print(w, b.Format, b.CreatedAt, sheets)
	return err
}

// ZIP writes a batch as a file for each letter, and a manifest for a print house.
func (s *Service) ZIP(ctx context.Context, id string, w io.Writer) error {
	b, err := s.Store.Batch(ctx, id)
	if err != nil {
		return err
	}
	list, sheets, err := s.sheets(ctx, &b)
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	manifest := [][]string{{"file", "letter", "reference", "pages", "format", "language", "name", "line1", "line2", "line3", "line4", "line5", "country"}}
	for i := range list {
		name := fmt.Sprintf("letter-%04d.pdf", i+1)
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.CreatedAt})
		if err != nil {
			return err
		}
		pages, err := Print(f, b.Format, b.CreatedAt, sheets[i:i+1])
		if err != nil {
			return err
		}
		row := []string{name, list[i].ID, sheets[i].Reference, strconv.Itoa(pages[0]), string(b.Format), list[i].Language}
		lines := slices.Clone(list[i].Recipient)
		country := ""
		if n := len(lines); n > 1 {
			country, lines = lines[n-1], lines[:n-1]
		}
		for len(lines) < 6 {
			lines = append(lines, "")
		}
		for _, l := range append(lines[:6], country) {
			row = append(row, cell(l))
		}
		manifest = append(manifest, row)
	}
	f, err := z.CreateHeader(&zip.FileHeader{Name: "manifest.csv", Method: zip.Deflate, Modified: b.CreatedAt})
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte("\ufeff")); err != nil { // spreadsheets read it as UTF-8
		return err
	}
	c := csv.NewWriter(f)
	c.UseCRLF = true // RFC 4180
	if err := c.WriteAll(manifest); err != nil {
		return err
	}
	return z.Close()
}

// cell keeps a spreadsheet from taking a text for a formula.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

// Preview prints one letter as it would be.
func Preview(w io.Writer, format Format, at time.Time, r *template.Rendered, sender, recipient []string) error {
	l := Letter{ID: "preview", Language: r.Language, Subject: r.Letter.Subject, Text: r.Letter.Text, Recipient: recipient}
	if missing := Unprintable(l.Subject + l.Text); missing != "" {
		return fault.New(fault.Invalid, "the letters' font (Latin, Greek, Cyrillic) has no %q", missing)
	}
	_, err := Print(w, format, at, []Sheet{l.sheet(&Batch{Sender: sender, CreatedAt: at})})
	return err
}

// MarkSent notes the day on which a batch was given to the post.
func (s *Service) MarkSent(ctx context.Context, id string, day time.Time) (Batch, error) {
	now := s.Clock.Now()
	if day.After(now.Add(24*time.Hour)) || day.Before(now.AddDate(-1, 0, 0)) {
		return Batch{}, fault.Fields("batch of letters", []fault.Field{{Path: "sentAt", Expected: "a day within the last year, not after today", Got: day.Format("2006-01-02")}})
	}
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		b, err := s.Store.Batch(ctx, id)
		if err != nil {
			return err
		}
		if !b.SentAt.IsZero() {
			return fault.New(fault.Conflict, "this batch was sent on %s already", b.SentAt.Format("2006-01-02"))
		}
		list, err := s.Store.Letters(ctx, Filter{Batch: id, Limit: mostBatch})
		if err != nil {
			return err
		}
		for i := range list {
			l := &list[i]
			l.State, l.SentAt = Sent, day
			_, err := s.Messages.Heard(ctx, notify.Delivery{MessageID: l.ID, At: now, Channel: notify.Letter, Attempt: 1, Result: notify.Accepted, Detail: "batch " + id}, func(m *notify.Message) error {
				m.State, m.SentAt, m.Attempts, m.NextAt = notify.Sent, day, 1, time.Time{}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := s.Store.SaveLetters(ctx, list); err != nil {
			return err
		}
		return s.Store.MarkBatch(ctx, id, day)
	})
	if err != nil {
		return Batch{}, err
	}
	return s.Store.Batch(ctx, id)
}

// MarkReturned notes that a letter came back: the owner was not reached by it.
func (s *Service) MarkReturned(ctx context.Context, id, why string) (Letter, error) {
	if why == "" {
		why = "returned by the post"
	}
	if len(why) > 200 {
		return Letter{}, fault.Fields("returned letter", []fault.Field{{Path: "why", Expected: "at most 200 bytes"}})
	}
	var out Letter
	err := s.Tx.InTx(ctx, func(ctx context.Context) error {
		l, err := s.Store.Letter(ctx, id)
		if err != nil {
			return err
		}
		if l.State != Sent {
			return fault.New(fault.Conflict, "only a letter that was sent can come back; this one is %s", l.State)
		}
		l.State, l.Why, l.ReturnedAt = Returned, why, s.Clock.Now()
		out = l
		if err := s.bounce(ctx, &l, why); err != nil {
			return err
		}
		return s.Store.SaveLetters(ctx, []Letter{l})
	})
	return out, err
}

func (s *Service) bounce(ctx context.Context, l *Letter, why string) error {
	_, err := s.Messages.Heard(ctx, notify.Delivery{MessageID: l.ID, At: s.Clock.Now(), Channel: notify.Letter, Result: notify.Bounce, Detail: why}, func(m *notify.Message) error {
		m.State, m.LastError, m.NextAt = notify.Bounced, why, time.Time{}
		return nil
	})
	return err
}
