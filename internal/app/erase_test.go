package app_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	driver "github.com/duckdb/duckdb-go/v2"
	"github.com/klauspost/compress/zstd"
	_ "github.com/mattn/go-sqlite3"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/app"
	"fettle.dev/fettle/internal/app/archive"
	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/sim/mailbox"
)

// What is seeded of Ada, and nowhere else.
var seeds = map[string]string{
	"name":        "Augusta Seedname",
	"email":       "ada.seedmail@example.org",
	"attribute":   "Seedstreet 12",
	"user agent":  "SeedBrowser/7.7",
	"request":     "seedtext of a request",
	"comment":     "seedtext of a comment on her finding",
	"maintenance": "seedtext of a note on her charger",
	"signal":      "seedvalue of a text signal",
	"number":      "48151.62342",
	"log":         "seedline of her charger's log",
	"reported":    "seedhost.lan", // what her unit says of itself
}

// service is `fettle serve` in this process.
type service struct {
	t       *testing.T
	config  app.Config
	url     string
	token   string
	stop    func()
	mail    chan mailbox.Mail
	log     *os.File
	session *http.Cookie
}

func start(t *testing.T, dir string, set map[string]string) *service {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	s := &service{t: t, url: "http://" + strings.Replace(address, "127.0.0.1", "localhost", 1), mail: make(chan mailbox.Mail, 100)}
	office, err := mailbox.Listen(t.Context(), "127.0.0.1:0", func(m mailbox.Mail) { s.mail <- m })
	require.NoError(t, err)
	flags := map[string]string{"data": dir, "listen": address, "mqtt": "", "public-url": s.url, "smtp": "smtp://" + office.Addr()}
	maps.Copy(flags, set)
	s.config, err = app.Load("", func(string) (string, bool) { return "", false }, flags)
	require.NoError(t, err)
	s.log, err = os.OpenFile(filepath.Join(dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- app.Serve(ctx, s.config, slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})), "test")
	}()
	s.stop = func() {
		cancel()
		require.NoError(t, <-done)
		_ = office.Close()
		_ = s.log.Close()
		s.stop = func() {}
	}
	t.Cleanup(func() { s.stop() })
	require.Eventually(t, func() bool {
		select {
		case err := <-done:
			done <- err
			require.NoError(t, err)
		default:
		}
		r, err := http.Get(s.url + "/healthz")
		if err != nil {
			return false
		}
		_ = r.Body.Close()
		return r.StatusCode == http.StatusOK
	}, time.Minute, 20*time.Millisecond)
	return s
}

// call makes a request; set may change it.
func (s *service) call(want int, method, path string, body any, set func(*http.Request)) []byte {
	s.t.Helper()
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		require.NoError(s.t, err)
		in = bytes.NewReader(raw)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, in)
	require.NoError(s.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", s.url)
	if set != nil {
		set(r)
	} else if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	res, err := http.DefaultClient.Do(r)
	require.NoError(s.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	require.Equal(s.t, want, res.StatusCode, "%s %s: %s", method, path, raw)
	for _, c := range res.Cookies() {
		s.session = c
	}
	return raw
}

func (s *service) signIn() {
	s.t.Helper()
	var link []byte
	require.Eventually(s.t, func() bool {
		link, _ = os.ReadFile(filepath.Join(s.config.Data, "first-operator-link"))
		return len(link) > 0
	}, time.Minute, 10*time.Millisecond)
	_, secret, _ := strings.Cut(strings.TrimSpace(string(link)), "#")
	anonymous := func(*http.Request) {}
	s.call(200, "POST", "/v1/sign-in", map[string]string{"token": secret}, anonymous)
	session := s.session
	var out struct{ Token string }
	require.NoError(s.t, json.Unmarshal(s.call(201, "POST", "/v1/tokens", map[string]string{"name": "t", "scope": "admin"}, func(r *http.Request) { r.AddCookie(session) }), &out))
	s.token = out.Token
}

// ada signs in by mail, with the browser of the seed.
func (s *service) ada() func(*http.Request) {
	s.t.Helper()
	agent := func(r *http.Request) { r.Header.Set("User-Agent", seeds["user agent"]) }
	s.call(202, "POST", "/owner/v1/sign-in/link", map[string]string{"email": seeds["email"]}, agent)
	var m mailbox.Mail
	for m = range s.mail {
		if m.To == seeds["email"] && m.Token() != "" {
			break
		}
	}
	s.call(200, "POST", "/owner/v1/sign-in", map[string]string{"token": m.Token()}, agent)
	session := s.session
	return func(r *http.Request) { agent(r); r.AddCookie(session) }
}

// mailed waits for a mail to Ada with words in its subject, and gives its text.
func (s *service) mailed(subject string) string {
	s.t.Helper()
	for {
		select {
		case m := <-s.mail:
			if m.To == seeds["email"] && strings.Contains(m.Subject, subject) {
				return m.Text
			}
		case <-time.After(time.Minute):
			s.t.Fatalf("no mail %q", subject)
		}
	}
}

const seedProduct = `{"title":"Charger","purposes":[{"name":"care","title":"Care","description":"To warn you.","basis":"consent"}],
"signals":[{"name":"heat","type":"number","unit":"Cel","purposes":["care"],"retention":"90d","description":"Heat."},
{"name":"note","type":"text","purposes":["care"],"retention":"90d","description":"A note."}],
"log":{"level":"info","purposes":["care"],"retention":"30d"},
"tolerances":[{"name":"plug","signal":"heat","bands":[{"max":50}]}]}`

func document(kind, name, spec string) string {
	return fmt.Sprintf(`{"apiVersion":"fettle.dev/v1","kind":%q,"metadata":{"name":%q},"spec":%s}`, kind, name, spec)
}

// seed puts Ada everywhere, through the doors.
func (s *service) seed() {
	s.t.Helper()
	s.signIn()
	s.call(200, "POST", "/v1/apply", `{"documents":[`+strings.Join([]string{
		document("Product", "charger", seedProduct),
		document("Detector", "hot", `{"product":"charger","title":"Too hot","type":"tolerance","severity":"critical","purpose":"care","tolerance":"plug","hold":"1s"}`),
		document("Unit", "C-1", fmt.Sprintf(`{"product":"charger","serial":"S-1","attributes":{"site":%q},"owner":{"email":%q,"name":%q},"consents":["care"]}`, seeds["attribute"], seeds["email"], seeds["name"])),
		document("Unit", "C-2", `{"product":"charger","serial":"S-2","owner":{"email":"bob@example.org","name":"Bob"},"consents":["care"]}`),
	}, ",")+`]}`, nil)
	at := time.Now().Add(-time.Minute).UnixMilli()
	for _, id := range []string{"C-1", "C-2"} {
		var issued struct{ Token string }
		require.NoError(s.t, json.Unmarshal(s.call(200, "POST", "/v1/units/"+id+"/token", nil, nil), &issued))
		unit := func(r *http.Request) { r.SetBasicAuth(id, issued.Token) }
		note, number, line := seeds["signal"], seeds["number"], seeds["log"]
		if id == "C-2" {
			note, number, line = "bobs note", "60", "bobs line"
		}
		for i := range 5 {
			s.call(200, "POST", "/fettle/v1/telemetry", fmt.Sprintf(`{"ts":%d,"values":{"heat":%s,"note":%q}}`, at+int64(i)*1000, number, note), unit)
		}
		s.call(200, "POST", "/fettle/v1/events", fmt.Sprintf(`{"ts":%d,"kind":"log","level":"warn","text":%q}`, at, line), unit)
		if id == "C-1" {
			var base struct {
				Links map[string]struct{ Href string } `json:"_links"`
			}
			ddi := func(r *http.Request) { r.Header.Set("Authorization", "TargetToken "+issued.Token) }
			raw := s.call(200, "GET", "/DEFAULT/controller/v1/C-1", nil, ddi)
			require.NoError(s.t, json.Unmarshal(raw, &base))
			s.call(200, "PUT", "/DEFAULT/controller/v1/C-1/configData", fmt.Sprintf(`{"data":{"hostname":%q}}`, seeds["reported"]), ddi)
		}
	}
	ada := s.ada()
	var asked struct{ ID string }
	require.NoError(s.t, json.Unmarshal(s.call(201, "POST", "/owner/v1/rights/requests", map[string]string{"kind": "access", "text": seeds["request"]}, ada), &asked))
	require.Contains(s.t, s.mailed("We have your request"), "for a copy of your data")
	s.call(200, "POST", "/v1/privacy/requests/"+asked.ID+"/answer", map[string]any{"state": "open", "extend": true, "text": "many ask"}, nil)
	require.Contains(s.t, s.mailed("More time"), "by 20")
	s.call(200, "POST", "/v1/privacy/requests/"+asked.ID+"/answer", map[string]string{"state": "done", "text": "here it is"}, nil)
	require.NotContains(s.t, s.mailed("is answered"), "here it is", "the answer stands behind the sign-in")
	s.call(201, "POST", "/v1/maintenance", fmt.Sprintf(`{"records":[{"unitId":"C-1","at":%q,"part":"relay","kind":"failure","note":%q}]}`, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), seeds["maintenance"]), nil)
	var found struct{ Items []struct{ ID, UnitID string } }
	require.Eventually(s.t, func() bool {
		require.NoError(s.t, json.Unmarshal(s.call(200, "GET", "/v1/findings", nil, nil), &found))
		return len(found.Items) == 2
	}, time.Minute, 20*time.Millisecond, "findings open")
	for _, f := range found.Items {
		if f.UnitID == "C-1" {
			s.call(201, "POST", "/v1/findings/"+f.ID+"/comments", map[string]string{"text": seeds["comment"]}, nil)
		}
	}
	s.call(200, "GET", "/v1/units/C-1", nil, nil) // a look
	require.Eventually(s.t, func() bool {
		var samples struct{ Stored int }
		require.NoError(s.t, json.Unmarshal(s.call(200, "GET", "/v1/units/C-1/accounting", nil, nil), &samples))
		var events struct{ Items []any }
		require.NoError(s.t, json.Unmarshal(s.call(200, "GET", "/v1/units/C-1/events", nil, nil), &events))
		return samples.Stored >= 5 && len(events.Items) == 1
	}, time.Minute, 20*time.Millisecond, "history has it all")
}

func (s *service) backup(dir string) {
	s.t.Helper()
	require.NoError(s.t, os.MkdirAll(dir, 0o700))
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, "fettle.backup"), s.call(200, "GET", "/v1/backup", nil, nil), 0o600))
	s.keys(dir)
}

func (s *service) keys(dir string) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(dir, archive.KeyringFile), s.call(200, "GET", "/v1/backup/keys", nil, nil), 0o600))
}

// places is where a search found which seeds: by seed, the places.
type places map[string][]string

func (p places) add(seed, place string) {
	if !slices.Contains(p[seed], place) {
		p[seed] = append(p[seed], place)
	}
}

// text looks for all seeds in bytes, as they are and as they may be encoded.
func (p places) text(raw []byte, place string) {
	for name, seed := range seeds {
		forms := map[string][]byte{"": []byte(seed)}
		var wide []byte
		for _, u := range utf16.Encode([]rune(seed)) {
			wide = append(wide, byte(u), byte(u>>8))
		}
		forms[" as UTF-16"] = wide
		for shift := range 3 { // the middle of base64 at each alignment
			text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), seed...))
			forms[fmt.Sprint(" as base64+", shift)] = []byte(text[4 : len(text)-4])
		}
		for how, form := range forms {
			if bytes.Contains(raw, form) {
				p.add(name, place+how)
			}
		}
	}
}

// compressed looks into what is packed in bytes: frames of zstd and gzip.
func (p places) compressed(raw []byte, place string) {
	for at := 0; ; {
		i := bytes.Index(raw[at:], []byte{0x28, 0xb5, 0x2f, 0xfd})
		if i < 0 {
			break
		}
		at += i
		if z, err := zstd.NewReader(bytes.NewReader(raw[at:])); err == nil {
			text, _ := io.ReadAll(io.LimitReader(z, 256<<20)) // as far as it goes
			z.Close()
			p.text(text, place+" (zstd)")
		}
		at += 4
	}
	for at := 0; ; {
		i := bytes.Index(raw[at:], []byte{0x1f, 0x8b, 0x08})
		if i < 0 {
			break
		}
		at += i
		if z, err := gzip.NewReader(bytes.NewReader(raw[at:])); err == nil {
			text, _ := io.ReadAll(io.LimitReader(z, 256<<20))
			p.text(text, place+" (gzip)")
		}
		at += 3
	}
}

// tables reads every table of a database.
func (p places) tables(t *testing.T, db *sql.DB, list, place string) {
	t.Helper()
	names, err := db.QueryContext(t.Context(), list) //nolint:sqlclosecheck // closed where they end
	require.NoError(t, err)
	var all []string
	for names.Next() {
		var name string
		require.NoError(t, names.Scan(&name))
		all = append(all, name)
	}
	require.NoError(t, names.Err())
	require.NotEmpty(t, all)
	for _, name := range all {
		rows, err := db.QueryContext(t.Context(), `SELECT * FROM "`+name+`"`)
		require.NoError(t, err)
		columns, err := rows.Columns()
		require.NoError(t, err)
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			require.NoError(t, rows.Scan(into...))
			for i, v := range values {
				text, ok := v.([]byte)
				if !ok {
					text = fmt.Append(nil, v)
				}
				p.text(text, place+" "+name+"."+columns[i])
				p.compressed(text, place+" "+name+"."+columns[i])
			}
		}
		require.NoError(t, rows.Err())
		require.NoError(t, rows.Close()) //nolint:sqlclosecheck // one of many
	}
}

// search looks through a directory: every byte, and what each store's own
// reader says of it.
func search(t *testing.T, dir string) places {
	t.Helper()
	p := places{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if strings.HasSuffix(name, ".blk") {
			name = "stream"
		}
		p.text(raw, "bytes of "+name)
		p.compressed(raw, "bytes of "+name)
		return nil
	}))
	copied := filepath.Join(t.TempDir(), "copy") // opening changes files
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	p.stores(t, copied, "")
	return p
}

func (p places) stores(t *testing.T, dir, of string) {
	t.Helper()
	for _, name := range []string{"records.db", "records/records.db"} {
		if file := filepath.Join(dir, name); exists(file) {
			db, err := sql.Open("sqlite3", "file:"+file)
			require.NoError(t, err)
			p.tables(t, db, `SELECT name FROM sqlite_master WHERE type = 'table'`, of+"records")
			require.NoError(t, db.Close())
		}
	}
	if file := filepath.Join(dir, "history", "history.duckdb"); exists(file) {
		connector, err := driver.NewConnector(file, nil)
		require.NoError(t, err)
		db := sql.OpenDB(connector)
		p.tables(t, db, `SELECT table_name FROM duckdb_tables()`, of+"history")
		require.NoError(t, db.Close())
	}
	if exists(filepath.Join(dir, "stream", "jetstream")) {
		b, err := bus.Open(t.Context(), bus.Config{Dir: filepath.Join(dir, "stream")}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		stats, err := b.Stats(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		_ = b.Consume(ctx, stats.First-1, 100, func(_ context.Context, list []telemetry.Sequenced) error {
			for _, e := range list {
				raw, err := json.Marshal(e.Batch)
				require.NoError(t, err)
				p.text(raw, of+"entries of the stream")
				if e.Seq >= stats.Last {
					cancel()
				}
			}
			return nil
		})
		require.NoError(t, b.Close())
	}
	for _, name := range []string{"fettle.backup", "backups/fettle.backup"} {
		file := filepath.Join(dir, name)
		if !exists(file) {
			continue
		}
		keys, err := archive.LoadKeyring(filepath.Join(filepath.Dir(file), archive.KeyringFile))
		require.NoError(t, err)
		f, err := os.Open(file)
		require.NoError(t, err)
		plain, err := keys.Open(f)
		if err == nil {
			into := t.TempDir()
			_, err = archive.Unpack(t.Context(), plain, into)
			require.NoError(t, err)
			p.stores(t, into, of+"backup's ")
			require.NoError(t, filepath.WalkDir(filepath.Join(into, "stream"), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				raw, err := os.ReadFile(path)
				p.text(raw, of+"backup's stream")
				return err
			}))
		}
		require.NoError(t, f.Close())
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// One owner in every store, file, log and backup: the search finds every seed,
// raw or by the store's own reader; the owner asks to be erased, and it finds
// none any more. What is Bob's stays. The tables one by one are tried in
// internal/sqldb/privacy, where a table without a rule fails.
func TestErasedEverywhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, map[string]string{"backup-life": "1s", "log-level": "debug"})
	s.seed()
	s.backup(filepath.Join(dir, "backups"))
	s.stop()

	before := search(t, dir)
	for name := range seeds {
		require.NotEmpty(t, before[name], "the search does not find the seed of %s", name)
	}
	all := strings.Join(slices.Concat(before["signal"], before["number"], before["email"], before["log"], before["name"]), "\n")
	for _, store := range []string{"bytes of records.db", "records fleet_owner.email", "history ", "entries of the stream", "bytes of stream", "backup's records", "backup's history", "records notify_message.recipient"} {
		require.Contains(t, all, store, "the search does not find what is there: %s", all)
	}

	s = start(t, dir, map[string]string{"backup-life": "1s", "log-level": "debug"})
	s.token = s.tokenOf(dir)
	ada := s.ada()
	s.call(422, "POST", "/owner/v1/erasure", map[string]string{"email": "bob@example.org"}, ada)
	var erasing struct {
		Receipt struct {
			ID, Proof string
			EndedAt   time.Time
			Step      string
			Failed    string
			Kept      []struct{ What, Why string }
			Searched  int
		}
		Secret string
	}
	require.NoError(t, json.Unmarshal(s.call(202, "POST", "/owner/v1/erasure", map[string]string{"email": seeds["email"]}, ada), &erasing))
	id := erasing.Receipt.ID
	require.Eventually(t, func() bool {
		require.NoError(t, json.Unmarshal(s.call(200, "GET", "/owner/v1/erasures/"+id, nil, func(*http.Request) {}), &erasing.Receipt))
		return !erasing.Receipt.EndedAt.IsZero()
	}, 60*time.Second, 20*time.Millisecond, "%+v", &erasing)
	require.NotEmpty(t, erasing.Receipt.Kept)
	require.Greater(t, erasing.Receipt.Searched, 200)
	s.call(401, "GET", "/owner/v1/me", nil, ada)
	time.Sleep(1100 * time.Millisecond) // the life of the backup from before
	s.keys(filepath.Join(dir, "backups"))
	var unit struct {
		ID    string
		Owner *struct{ Email string }
	}
	require.NoError(t, json.Unmarshal(s.call(200, "GET", "/v1/units/C-1", nil, nil), &unit))
	require.Nil(t, unit.Owner)
	require.NoError(t, json.Unmarshal(s.call(200, "GET", "/v1/units/C-2", nil, nil), &unit))
	require.Equal(t, "bob@example.org", unit.Owner.Email)
	require.Contains(t, string(s.call(200, "GET", "/v1/audit/verify", nil, nil)), `"whole":true`)
	s.stop()

	after := search(t, dir)
	for name, found := range after {
		t.Errorf("%s is still in %s", name, strings.Join(found, ", "))
	}
}

// A unit that was Ada's is Carol's by now. Ada is erased: all of her time with it
// goes from every store, and Carol's stays, in samples, events and rollups.
func TestFormerOwnerIsErased(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir, map[string]string{"backup-life": "1s"})
	s.seed()
	time.Sleep(10 * time.Millisecond)
	s.call(200, "POST", "/v1/apply", `{"documents":[`+document("Unit", "C-1", `{"product":"charger","serial":"S-1","owner":{"email":"carol@example.org","name":"Carol"},"consents":["care"]}`)+`]}`, nil)
	var issued struct{ Token string }
	require.NoError(t, json.Unmarshal(s.call(200, "POST", "/v1/units/C-1/token", nil, nil), &issued))
	unit := func(r *http.Request) { r.SetBasicAuth("C-1", issued.Token) }
	begun := time.Now()
	for i := range 3 {
		s.call(200, "POST", "/fettle/v1/telemetry", fmt.Sprintf(`{"ts":%d,"values":{"heat":%g,"note":"carols note"}}`, begun.UnixMilli()+int64(i), 71.5+float64(i)), unit)
	}
	s.call(200, "POST", "/fettle/v1/events", fmt.Sprintf(`{"ts":%d,"kind":"log","level":"warn","text":"carols line"}`, begun.UnixMilli()), unit)
	series := func(query string) string {
		return string(s.call(200, "GET", fmt.Sprintf("/v1/units/C-1/series?signal=heat&from=%s&to=%s%s", begun.Add(-time.Hour).UTC().Format(time.RFC3339), begun.Add(time.Hour).UTC().Format(time.RFC3339), query), nil, nil))
	}
	require.Eventually(t, func() bool { return strings.Contains(series(""), "73.5") }, time.Minute, 20*time.Millisecond)
	require.Contains(t, series(""), seeds["number"], "the maker sees all of the unit's history")

	var person struct{ ID string }
	require.NoError(t, json.Unmarshal(s.call(200, "GET", "/v1/privacy/person?email="+seeds["email"], nil, nil), &person))
	var erasing struct {
		Receipt struct {
			ID      string
			EndedAt time.Time
			Erased  []struct {
				Place   string
				Deleted int
			}
		}
	}
	require.NoError(t, json.Unmarshal(s.call(202, "POST", "/v1/owners/"+person.ID+"/erase", map[string]string{"email": seeds["email"]}, nil), &erasing))
	require.Eventually(t, func() bool {
		require.NoError(t, json.Unmarshal(s.call(200, "GET", "/owner/v1/erasures/"+erasing.Receipt.ID, nil, func(*http.Request) {}), &erasing.Receipt))
		return !erasing.Receipt.EndedAt.IsZero()
	}, 60*time.Second, 20*time.Millisecond)
	require.Contains(t, fmt.Sprint(erasing.Receipt.Erased), "history of units that were theirs 1")
	require.NotContains(t, series(""), seeds["number"])
	for _, v := range []string{"71.5", "72.5", "73.5"} {
		require.Contains(t, series(""), v)
	}
	require.Contains(t, string(s.call(200, "GET", "/v1/units/C-1/events", nil, nil)), "carols line")
	require.Contains(t, string(s.call(200, "GET", "/v1/units/C-1/latest", nil, nil)), "73.5", "newest values are read anew")
	require.Contains(t, string(s.call(200, "GET", "/v1/units/C-1", nil, nil)), "carol@example.org")
	s.stop()
	for name, found := range search(t, dir) {
		t.Errorf("%s is still in %s", name, strings.Join(found, ", "))
	}
}

// tokenOf makes an API token by the link of `fettle admin reset`.
func (s *service) tokenOf(dir string) string {
	s.t.Helper()
	_, err := app.Reset(s.t.Context(), s.config, slog.New(slog.DiscardHandler))
	require.NoError(s.t, err)
	s.token = ""
	s.signIn()
	_ = dir
	return s.token
}
