package rights

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/receipt"
	"fettle.dev/fettle/internal/consent/takeout"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/telemetry"
)

// parts are those of an export: what is known of the owner, then each of their
// units for the time that it was theirs.
func (r *Rooms) parts(ctx context.Context, e takeout.Export) ([]takeout.Part, error) {
	periods, err := r.c.Sources.People.Periods(ctx, e.OwnerID)
	if err != nil {
		return nil, err
	}
	x := &export{Rooms: r, e: e, periods: periods}
	parts := []takeout.Part{{Name: "you", Write: x.person}}
	for i, p := range periods {
		u, err := r.c.Fleet.Unit(ctx, p.UnitID)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		product, err := r.c.Fleet.Product(ctx, u.Product)
		if err != nil {
			return nil, err
		}
		dir := "units/" + u.ID
		for _, q := range periods[:i] {
			if q.UnitID == u.ID { // theirs twice
				dir = fmt.Sprintf("units/%s-%d", u.ID, i)
			}
		}
		of := &mine{export: x, u: u, p: product, period: p, dir: dir}
		x.mine = append(x.mine, of)
		parts = append(parts, takeout.Part{Name: dir, Write: of.records}, takeout.Part{Name: dir + " samples", Write: of.samples}, takeout.Part{Name: dir + " parquet", Write: of.parquet})
	}
	return append(parts, takeout.Part{Name: "columns", Write: x.columns}), nil
}

type export struct {
	*Rooms
	e       takeout.Export
	periods []people.Period
	mine    []*mine
}

func writeJSON(dir, name string, v any) error {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(path, append(raw, '\n'), 0o600)
}

func (x *export) person(ctx context.Context, dir string) error {
	o, err := x.c.Fleet.Owner(ctx, x.e.OwnerID)
	if err != nil {
		return err
	}
	shown, err := x.Notices.ShownTo(ctx, o.ID)
	if err != nil {
		return err
	}
	shares, err := x.Shares.Shares(ctx, o.ID)
	if err != nil {
		return err
	}
	uses := map[string]any{}
	for _, s := range shares {
		if uses[s.ID], err = x.Shares.Uses(ctx, o.ID, s.ID); err != nil {
			return err
		}
	}
	exports, err := x.Exports.Of(ctx, o.ID)
	if err != nil {
		return err
	}
	for name, v := range map[string]any{
		"you.json": map[string]any{"email": o.Email, "name": o.Name, "language": o.Locale, "timeZone": o.TimeZone}, "ownership.json": x.periods,
		"notices-shown.json": shown, "shares.json": map[string]any{"shares": shares, "fetched": uses}, "exports.json": exports,
	} {
		if err := writeJSON(dir, name, v); err != nil {
			return err
		}
	}
	for _, rec := range x.c.Sources.records() {
		v, err := rec.list(ctx, o.ID, x.periods)
		if err != nil {
			return fmt.Errorf("%s: %w", rec.name, err)
		}
		if err := writeJSON(dir, rec.name+".json", v); err != nil {
			return err
		}
	}
	return nil
}

// mine is one unit, for the time that it was its owner's.
type mine struct {
	*export
	u      fleet.Unit
	p      fleet.Product
	period people.Period
	dir    string
}

func (m *mine) records(ctx context.Context, dir string) error {
	choices, err := m.c.Records.Consent().Choices(ctx, m.u.ID)
	if err != nil {
		return err
	}
	d := m.Operations()
	receipts, err := data.Receipts(ctx, &d, m.c.Sources.Base, m.e.OwnerID, m.u, &m.p, m.period.From, m.period.To)
	if err != nil {
		return err
	}
	kept := choices[:0]
	for _, c := range choices {
		if m.within(c.At) {
			kept = append(kept, c)
		}
	}
	findings, err := m.c.Sources.findings(ctx, m.u, &m.period)
	if err != nil {
		return err
	}
	withdrawals, err := m.Withdrawals.Of(ctx, m.u.ID)
	if err != nil {
		return err
	}
	own := withdrawals[:0]
	for _, w := range withdrawals {
		if m.within(w.At) {
			own = append(own, w)
		}
	}
	files := map[string]any{
		"unit.json": m.u, "choices.json": kept, "receipts.jsonld": receipt.All(m.c.Sources.Base, m.e.OwnerID, receipts), "findings.json": findings, "withdrawals.json": own,
	}
	for name, v := range files {
		if err := writeJSON(dir, m.dir+"/"+name, v); err != nil {
			return err
		}
	}
	return m.events(ctx, dir)
}

func (m *mine) within(t time.Time) bool { return within(&m.period, t) }

// lines is a file of a growing list: JSON objects in one array, or CSV.
type lines struct {
	f *os.File
	w *bufio.Writer
	n int
}

func create(dir, name string) (*lines, error) {
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &lines{f: f, w: bufio.NewWriterSize(f, 1<<16)}, nil
}

// object adds one to an array, which it begins.
func (l *lines) object(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	before := ",\n"
	if l.n++; l.n == 1 {
		before = "[\n"
	}
	if _, err := l.w.WriteString(before); err != nil {
		return err
	}
	_, err = l.w.Write(raw)
	return err
}

// array ends one.
func (l *lines) array() error {
	end := "\n]\n"
	if l.n == 0 {
		end = "[]\n"
	}
	_, err := l.w.WriteString(end)
	return err
}

func (l *lines) close(err error) error { return errors.Join(err, l.w.Flush(), l.f.Close()) }

func (m *mine) events(ctx context.Context, dir string) (err error) {
	ctx = consent.ForOwner(ctx)
	asJSON, err := create(dir, m.dir+"/events.json")
	if err != nil {
		return err
	}
	defer func() { err = asJSON.close(err) }()
	asCSV, err := create(dir, m.dir+"/events.csv")
	if err != nil {
		return err
	}
	defer func() { err = asCSV.close(err) }()
	c := csv.NewWriter(asCSV.w)
	if err := c.Write([]string{"event_time", "receive_time", "sequence", "kind", "name", "state", "level", "text"}); err != nil {
		return err
	}
	q := telemetry.EventQuery{Product: m.p.Name, Unit: m.u.Key, From: m.period.From, To: m.period.To, Limit: 1000}
	for {
		all, err := m.c.Read.Events(ctx, q)
		if err != nil {
			return err
		}
		for i := range all {
			e := &all[i]
			at, received := time.UnixMilli(e.Event.Event).UTC().Format(time.RFC3339Nano), time.UnixMilli(e.Received).UTC().Format(time.RFC3339Nano)
			if err := asJSON.object(map[string]any{
				"eventTime": at, "receiveTime": received, "sequence": e.Sequence, "kind": e.Kind.String(), "name": e.Name, "state": e.State.String(), "level": e.Level.String(), "text": e.Text,
			}); err != nil {
				return err
			}
			if err := c.Write([]string{at, received, strconv.FormatInt(e.Sequence, 10), e.Kind.String(), e.Name, e.State.String(), e.Level.String(), e.Text}); err != nil {
				return err
			}
			q.After = &telemetry.EventCursor{Event: e.Event.Event, Position: e.Position}
		}
		if len(all) < q.Limit {
			break
		}
	}
	c.Flush()
	return errors.Join(c.Error(), asJSON.array())
}

// samples writes every sample as it came, one row a message, read and written
// as a stream.
func (m *mine) samples(ctx context.Context, dir string) (err error) {
	asJSON, err := create(dir, m.dir+"/samples.json")
	if err != nil {
		return err
	}
	defer func() { err = asJSON.close(err) }()
	asCSV, err := create(dir, m.dir+"/samples.csv")
	if err != nil {
		return err
	}
	defer func() { err = asCSV.close(err) }()
	c := csv.NewWriter(asCSV.w)
	head := []string{"event_time", "receive_time", "sequence"}
	place := map[string]int{}
	for i, s := range m.p.Signals {
		head, place[s.Name] = append(head, s.Name), i
	}
	if err := c.Write(head); err != nil {
		return err
	}
	line := make([]string, len(head))
	err = m.c.Read.Replay(consent.ForOwner(ctx), telemetry.Query{
		Product: m.p.Name, Units: []int64{m.u.Key}, From: m.period.From, To: m.period.To, NoMarks: true,
	}, func(row *telemetry.Stored, _ *telemetry.StoredMark) error {
		if row == nil || len(row.Values) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		clear(line)
		line[0], line[1] = time.UnixMilli(row.Event).UTC().Format(time.RFC3339Nano), time.UnixMilli(row.Received).UTC().Format(time.RFC3339Nano)
		if row.Sequence != 0 {
			line[2] = strconv.FormatInt(row.Sequence, 10)
		}
		values := make(map[string]any, len(row.Values))
		for _, v := range row.Values {
			i, ok := place[v.Signal]
			if !ok {
				continue
			}
			switch {
			case v.IsText:
				values[v.Signal], line[3+i] = v.Text, v.Text
			case m.p.Signals[i].Type == fleet.Boolean:
				values[v.Signal], line[3+i] = v.Number != 0, strconv.FormatBool(v.Number != 0)
			default:
				values[v.Signal], line[3+i] = v.Number, strconv.FormatFloat(v.Number, 'g', -1, 64)
			}
		}
		out := map[string]any{"eventTime": line[0], "receiveTime": line[1], "values": values}
		if row.Sequence != 0 {
			out["sequence"] = row.Sequence
		}
		return errors.Join(c.Write(line), asJSON.object(out))
	})
	if err != nil {
		return err
	}
	c.Flush()
	return errors.Join(c.Error(), asJSON.array())
}

func (m *mine) parquet(ctx context.Context, dir string) error {
	if len(m.p.Signals) == 0 {
		return nil
	}
	path := filepath.Join(dir, filepath.FromSlash(m.dir), "samples.parquet")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	q := telemetry.ExportQuery{Product: m.p.Name, From: m.period.From, To: m.period.To, Units: []telemetry.ExportUnit{{Key: m.u.Key, ID: m.u.ID}}}
	for _, s := range m.p.Signals {
		q.Signals = append(q.Signals, telemetry.ExportSignal{Name: s.Name, Type: string(s.Type)})
		q.Units[0].Signals = append(q.Units[0].Signals, s.Name)
	}
	_, err := m.c.Read.Export(consent.ForOwner(ctx), q, path)
	if fault.KindOf(err) == fault.NotFound { // it reported nothing
		return nil
	}
	return err
}

// columns describes every column of every table, and says what each file is.
func (x *export) columns(_ context.Context, dir string) error {
	var tables []takeout.Table
	for _, m := range x.mine {
		columns := []takeout.Column{
			{Name: "event_time", Title: "event time", About: "When it was measured, UTC.", Type: "dateTime", Source: "unit"},
			{Name: "receive_time", Title: "receive time", About: "When the service received it, UTC.", Type: "dateTime", Source: "service"},
			{Name: "sequence", Title: "sequence", About: "The unit's own number of the message, if it sends one.", Type: "integer", Source: "unit"},
		}
		for i := range m.p.Signals {
			s := &m.p.Signals[i]
			tongue := m.p.Speak(x.e.Language)
			if _, translated := s.Texts[tongue]; !translated {
				tongue = m.p.Tongue()
			}
			w := s.Words(tongue)
			columns = append(columns, takeout.Column{
				Name: s.Name, Title: w.Title, About: w.Description, Language: tongue, Unit: s.Unit, Purposes: s.Purposes, Source: "unit",
				Type: map[fleet.ValueType]string{fleet.Number: "double", fleet.Boolean: "boolean", fleet.Text: "string"}[s.Type],
			})
		}
		tables = append(tables,
			takeout.Table{Files: []string{m.dir + "/samples.csv", m.dir + "/samples.json", m.dir + "/samples.parquet"}, About: "Every sample of " + m.p.Title + " " + m.u.Serial + " that is held, as it came; a row is a message. The Parquet file has the unit's id before it.", Columns: columns},
			takeout.Table{Files: []string{m.dir + "/events.csv", m.dir + "/events.json"}, About: "Features used, fault codes and log lines.", Columns: []takeout.Column{
				columns[0], columns[1], columns[2],
				{Name: "kind", Title: "kind", About: "feature, fault or log.", Type: "string", Source: "unit"},
				{Name: "name", Title: "name", About: "The feature, the fault code, or what wrote the line.", Type: "string", Source: "unit"},
				{Name: "state", Title: "state", About: "Of a fault: set or cleared.", Type: "string", Source: "unit"},
				{Name: "level", Title: "level", About: "Of a log line: debug to fatal.", Type: "string", Source: "unit"},
				{Name: "text", Title: "text", About: "What the line or the fault says.", Type: "string", Source: "unit"},
			}})
	}
	about := map[string]string{
		"you.json": "What is known of you.", "ownership.json": "The units that are or were yours, and when.", "notices-shown.json": "Which version of a notice you saw first when, in which language.",
		"shares.json": "What you share with third parties, and what they fetched.", "exports.json": "The exports you asked for.",
		"units/*/unit.json": "The unit as it is registered.", "units/*/choices.json": "Your choices, oldest first.", "units/*/receipts.jsonld": "Their receipts (ISO/IEC TS 27560:2023).",
		"units/*/findings.json": "What was concluded from the data.", "units/*/withdrawals.json": "What was erased or kept when you withdrew consent.",
	}
	for _, rec := range x.c.Sources.records() {
		about[rec.name+".json"] = rec.about
	}
	doc := takeout.Describe(tables)
	doc["fettle:files"] = about
	return writeJSON(dir, "columns.json", doc)
}
