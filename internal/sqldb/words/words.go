// Package words keeps declared templates and ladders, what owners were told and
// how they can be reached, who climbs a ladder, letters and calls.
package words

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// Store is the records of the room notify but messages.
type Store struct {
	db       *sqldb.DB
	messages notify.Store
}

var (
	_ template.Store   = (*Store)(nil)
	_ preference.Store = (*Store)(nil)
	_ ladder.Store     = (*Store)(nil)
	_ letter.Store     = (*Store)(nil)
	_ calls.Store      = (*Store)(nil)
)

// New is the store in the records.
func New(db *sqldb.DB) *Store { return &Store{db, message.New(db)} }

// document reads one column of JSON.
func document[T any](r *sql.Rows) (v T, err error) {
	var doc string
	if err := r.Scan(&doc); err != nil {
		return v, err
	}
	return v, json.Unmarshal([]byte(doc), &v)
}

func (s *Store) exec(ctx context.Context, what, query string, args ...any) (sql.Result, error) {
	res, err := s.db.Exec(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return res, nil
}

func (s *Store) gone(res sql.Result, err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return fault.New(fault.NotFound, format, args...)
}

// where gathers the conditions of a query.
type where struct {
	text []string
	args []any
}

func (w *where) and(set bool, text string, args ...any) {
	if set {
		w.text, w.args = append(w.text, text), append(w.args, args...)
	}
}

func (w *where) String() string {
	if len(w.text) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.text, " AND ")
}

func limitOf(n int) int {
	if n <= 0 {
		return 100
	}
	return n
}

// A template's name and that of the text it replaces are columns; what is
// declared is JSON.
type storedTemplate struct {
	Name string        `json:"name"`
	Spec template.Spec `json:"spec"`
}

// PutTemplate keeps a template.
func (s *Store) PutTemplate(ctx context.Context, t template.Spec) error {
	doc, err := json.Marshal(storedTemplate{t.Name, t})
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "keep template", `INSERT INTO notify_template (name, text, doc) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET text = excluded.text, doc = excluded.doc`, t.Name, t.Replaces(), string(doc))
	return err
}

func (s *Store) templates(ctx context.Context, rest string, args ...any) ([]template.Spec, error) {
	q, err := s.db.Query(ctx, `SELECT doc FROM notify_template`+rest+` ORDER BY name`, args...)
	list, err := rows.Collect(q, err, document[storedTemplate])
	if err != nil {
		return nil, fmt.Errorf("templates: %w", err)
	}
	out := make([]template.Spec, len(list))
	for i := range list {
		out[i] = list[i].Spec
		out[i].Name = list[i].Name
	}
	return out, nil
}

// Template is a declared template by name.
func (s *Store) Template(ctx context.Context, name string) (template.Spec, error) {
	list, err := s.templates(ctx, ` WHERE name = ?`, name)
	if err != nil {
		return template.Spec{}, err
	}
	if len(list) == 0 {
		return template.Spec{}, fault.New(fault.NotFound, "no template %q", name)
	}
	return list[0], nil
}

// Templates lists them.
func (s *Store) Templates(ctx context.Context) ([]template.Spec, error) { return s.templates(ctx, "") }

// TemplatesFor are those that take a text's place.
func (s *Store) TemplatesFor(ctx context.Context, text string) ([]template.Spec, error) {
	return s.templates(ctx, ` WHERE text = ?`, text)
}

// DeleteTemplate forgets a template.
func (s *Store) DeleteTemplate(ctx context.Context, name string) error {
	res, err := s.exec(ctx, "delete template", `DELETE FROM notify_template WHERE name = ?`, name)
	return s.gone(res, err, "no template %q", name)
}

// Contact is how an owner can be reached.
func (s *Store) Contact(ctx context.Context, ownerID string) (preference.Contact, error) {
	var doc string
	err := s.db.QueryRow(ctx, `SELECT doc FROM notify_contact WHERE owner_id = ?`, ownerID).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return preference.Contact{}, nil
	}
	var c preference.Contact
	if err == nil {
		err = json.Unmarshal([]byte(doc), &c)
	}
	if err != nil {
		return c, fmt.Errorf("contact: %w", err)
	}
	return c, nil
}

// PutContact keeps how an owner can be reached.
func (s *Store) PutContact(ctx context.Context, ownerID string, c preference.Contact) error {
	doc, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "keep contact", `INSERT INTO notify_contact (owner_id, doc) VALUES (?, ?)
		ON CONFLICT (owner_id) DO UPDATE SET doc = excluded.doc`, ownerID, string(doc))
	return err
}

// keptNotice is a notice as JSON, with what it does not show.
type keptNotice struct {
	preference.Notice
	Key       string           `json:"key"`
	Wanted    []notify.Channel `json:"wanted,omitempty"`
	Values    template.Values  `json:"values,omitempty"`
	ExpiresAt time.Time        `json:"expiresAt,omitzero"`
}

func noticeDoc(n preference.Notice) (string, error) {
	doc, err := json.Marshal(keptNotice{n, n.Key, n.Wanted, n.Values, n.ExpiresAt})
	return string(doc), err
}

func scanNotice(r *sql.Rows) (preference.Notice, error) {
	k, err := document[keptNotice](r)
	n := k.Notice
	n.Key, n.Wanted, n.Values, n.ExpiresAt = k.Key, k.Wanted, k.Values, k.ExpiresAt
	return n, err
}

// AddNotice keeps a notice, unless its key is known.
func (s *Store) AddNotice(ctx context.Context, n preference.Notice) (bool, error) {
	doc, err := noticeDoc(n)
	if err != nil {
		return false, err
	}
	res, err := s.exec(ctx, "keep notice", `INSERT INTO notify_notice (id, notice_key, owner_id, unit_id, kind, about, verdict, due_at, told_at, read_at, acked_at, part, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (notice_key) DO NOTHING`,
		n.ID, n.Key, n.OwnerID, n.UnitID, string(n.Kind), n.About, string(n.Verdict), rows.Millis(n.DueAt), rows.Millis(n.ToldAt), rows.Millis(n.ReadAt), rows.Millis(n.AckedAt), n.Into != "", doc)
	if err != nil {
		return false, err
	}
	count, err := res.RowsAffected()
	return count > 0, err
}

// SaveNotice keeps what has changed of a notice.
func (s *Store) SaveNotice(ctx context.Context, n preference.Notice) error {
	doc, err := noticeDoc(n)
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "keep notice", `UPDATE notify_notice SET verdict = ?, due_at = ?, told_at = ?, read_at = ?, acked_at = ?, part = ?, doc = ? WHERE id = ?`,
		string(n.Verdict), rows.Millis(n.DueAt), rows.Millis(n.ToldAt), rows.Millis(n.ReadAt), rows.Millis(n.AckedAt), n.Into != "", doc, n.ID)
	return err
}

func (s *Store) notices(ctx context.Context, rest string, args ...any) ([]preference.Notice, error) {
	q, err := s.db.Query(ctx, `SELECT doc FROM notify_notice`+rest, args...)
	list, err := rows.Collect(q, err, scanNotice)
	if err != nil {
		return nil, fmt.Errorf("notices: %w", err)
	}
	return list, nil
}

func (s *Store) notice(ctx context.Context, column, value string) (preference.Notice, error) {
	list, err := s.notices(ctx, ` WHERE `+column+` = ?`, value)
	if err != nil {
		return preference.Notice{}, err
	}
	if len(list) == 0 {
		return preference.Notice{}, fault.New(fault.NotFound, "no notice %q", value)
	}
	return list[0], nil
}

// Notice is one by id.
func (s *Store) Notice(ctx context.Context, id string) (preference.Notice, error) {
	return s.notice(ctx, "id", id)
}

// NoticeByKey is one by key.
func (s *Store) NoticeByKey(ctx context.Context, key string) (preference.Notice, error) {
	return s.notice(ctx, "notice_key", key)
}

// Notices lists them, newest first: ids are made in the order of time.
func (s *Store) Notices(ctx context.Context, f preference.Filter) ([]preference.Notice, error) {
	w := &where{}
	w.and(f.OwnerID != "", "owner_id = ?", f.OwnerID)
	w.and(f.UnitID != "", "unit_id = ?", f.UnitID)
	w.and(f.About != "", "about = ?", f.About)
	w.and(f.Kind != "", "kind = ?", string(f.Kind))
	w.and(f.Verdict != "", "verdict = ?", string(f.Verdict))
	w.and(f.Before != "", "id < ?", f.Before)
	w.and(f.Shown, "about <> 'several'")
	return s.notices(ctx, w.String()+` ORDER BY id DESC LIMIT ?`, append(w.args, limitOf(f.Limit))...)
}

// DueNotices are those whose time has come, owner by owner.
func (s *Store) DueNotices(ctx context.Context, now time.Time, limit int) ([]preference.Notice, error) {
	return s.notices(ctx, ` WHERE owner_id IN (SELECT owner_id FROM notify_notice WHERE due_at > 0 AND due_at <= ? ORDER BY due_at LIMIT ?)
		AND due_at > 0 AND due_at <= ? ORDER BY owner_id, id`, rows.Millis(now), limit, rows.Millis(now))
}

// CountTold counts what an owner was told since, by kind; what stands in
// another message is not counted again.
func (s *Store) CountTold(ctx context.Context, ownerID string, since time.Time) (map[notify.Kind]int, error) {
	q, err := s.db.Query(ctx, `SELECT kind, count(*) FROM notify_notice WHERE owner_id = ? AND told_at > ? AND verdict = 'told' GROUP BY kind`, ownerID, rows.Millis(since))
	out := map[notify.Kind]int{}
	_, err = rows.Collect(q, err, func(r *sql.Rows) (struct{}, error) {
		var kind string
		var n int
		err := r.Scan(&kind, &n)
		out[notify.Kind(kind)] = n
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("count notices: %w", err)
	}
	return out, nil
}

// Messages are those that carry a notice.
func (s *Store) Messages(ctx context.Context, key string) ([]notify.Message, error) {
	keys := make([]string, 0, len(notify.Channels)+8)
	for _, ch := range notify.Channels {
		keys = append(keys, preference.MessageKey(key, ch))
	}
	for i := 1; i < 8; i++ { // more than one browser
		keys = append(keys, fmt.Sprintf("%s:%d", preference.MessageKey(key, notify.Push), i))
	}
	args := make([]any, len(keys))
	for i, k := range keys {
		args[i] = k
	}
	q, err := s.db.Query(ctx, `SELECT id FROM notify_message WHERE msg_key IN (?`+strings.Repeat(", ?", len(keys)-1)+`) ORDER BY id`, args...)
	ids, err := rows.Collect(q, err, func(r *sql.Rows) (id string, err error) { err = r.Scan(&id); return id, err })
	if err != nil {
		return nil, fmt.Errorf("messages of a notice: %w", err)
	}
	out := make([]notify.Message, 0, len(ids))
	for _, id := range ids {
		m, err := s.messages.Message(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// Acked is when an owner first acknowledged anything about something of a unit.
func (s *Store) Acked(ctx context.Context, ownerID, unitID, about string, since time.Time) (time.Time, error) {
	var at int64
	err := s.db.QueryRow(ctx, `SELECT COALESCE(min(acked_at), 0) FROM (
		SELECT acked_at FROM notify_message WHERE owner_id = ? AND unit_id = ? AND about = ? AND acked_at > 0 AND acked_at >= ?
		UNION ALL SELECT acked_at FROM notify_notice WHERE owner_id = ? AND unit_id = ? AND about = ? AND acked_at > 0 AND acked_at >= ?) t`,
		ownerID, unitID, about, rows.Millis(since), ownerID, unitID, about, rows.Millis(since)).Scan(&at)
	if err != nil {
		return time.Time{}, fmt.Errorf("acknowledgements of an owner: %w", err)
	}
	return rows.Time(at), nil
}
