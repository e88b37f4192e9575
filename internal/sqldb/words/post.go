package words

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify/calls"
	"fettle.dev/fettle/internal/notify/letter"
	"fettle.dev/fettle/internal/sqldb/rows"
)

const letterColumns = `m.id, m.owner_id, m.unit_id, m.about, m.language, m.subject, m.body, m.created_at, COALESCE(o.name, ''), l.state, l.why, l.batch_id, l.recipient, l.sent_at, l.returned_at
	FROM notify_letter l JOIN notify_message m ON m.id = l.message_id LEFT JOIN fleet_owner o ON o.id = m.owner_id`

func scanLetter(r *sql.Rows) (l letter.Letter, err error) {
	var created, sent, returned int64
	var recipient string
	err = r.Scan(&l.ID, &l.OwnerID, &l.UnitID, &l.About, &l.Language, &l.Subject, &l.Text, &created, &l.Name, &l.State, &l.Why, &l.Batch, &recipient, &sent, &returned)
	l.CreatedAt, l.SentAt, l.ReturnedAt = rows.Time(created), rows.Time(sent), rows.Time(returned)
	if recipient != "" {
		l.Recipient = strings.Split(recipient, "\n")
	}
	return l, err
}

func (s *Store) letters(ctx context.Context, rest string, args ...any) ([]letter.Letter, error) {
	q, err := s.db.Query(ctx, `SELECT `+letterColumns+rest, args...)
	list, err := rows.Collect(q, err, scanLetter)
	if err != nil {
		return nil, fmt.Errorf("letters: %w", err)
	}
	return list, nil
}

// Letters lists them by id.
func (s *Store) Letters(ctx context.Context, f letter.Filter) ([]letter.Letter, error) {
	w := &where{}
	w.and(f.State != "", "l.state = ?", string(f.State))
	w.and(f.About != "", "m.about = ?", f.About)
	w.and(f.Batch != "", "l.batch_id = ?", f.Batch)
	w.and(f.Owner != "", "m.owner_id = ?", f.Owner)
	w.and(f.After != "", "l.message_id > ?", f.After)
	return s.letters(ctx, w.String()+` ORDER BY l.message_id LIMIT ?`, append(w.args, limitOf(f.Limit))...)
}

// Letter is one by id.
func (s *Store) Letter(ctx context.Context, id string) (letter.Letter, error) {
	list, err := s.letters(ctx, ` WHERE l.message_id = ?`, id)
	if err != nil {
		return letter.Letter{}, err
	}
	if len(list) == 0 {
		return letter.Letter{}, fault.New(fault.NotFound, "no letter %q", id)
	}
	return list[0], nil
}

// SaveLetters keeps what has changed of letters.
func (s *Store) SaveLetters(ctx context.Context, all []letter.Letter) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, l := range all {
			if _, err := s.exec(ctx, "keep letter", `UPDATE notify_letter SET state = ?, why = ?, batch_id = ?, recipient = ?, sent_at = ?, returned_at = ? WHERE message_id = ?`,
				string(l.State), l.Why, l.Batch, strings.Join(l.Recipient, "\n"), rows.Millis(l.SentAt), rows.Millis(l.ReturnedAt), l.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// CountLetters counts them by state.
func (s *Store) CountLetters(ctx context.Context) (map[letter.State]int, error) {
	return counts[letter.State](ctx, s, `SELECT state, count(*) FROM notify_letter GROUP BY state`)
}

func counts[K ~string](ctx context.Context, s *Store, query string) (map[K]int, error) {
	out := map[K]int{}
	q, err := s.db.Query(ctx, query)
	_, err = rows.Collect(q, err, func(r *sql.Rows) (struct{}, error) {
		var k string
		var n int
		err := r.Scan(&k, &n)
		out[K(k)] = n
		return struct{}{}, err
	})
	return out, err
}

// AddBatch keeps a batch.
func (s *Store) AddBatch(ctx context.Context, b letter.Batch) error {
	doc, err := json.Marshal(b)
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "keep batch", `INSERT INTO notify_batch (id, sent_at, doc) VALUES (?, 0, ?)`, b.ID, string(doc))
	return err
}

func (s *Store) batches(ctx context.Context, rest string, args ...any) ([]letter.Batch, error) {
	q, err := s.db.Query(ctx, `SELECT b.doc, b.sent_at, (SELECT count(*) FROM notify_letter WHERE batch_id = b.id),
		(SELECT count(*) FROM notify_letter WHERE batch_id = b.id AND state = 'returned') FROM notify_batch b`+rest, args...)
	list, err := rows.Collect(q, err, func(r *sql.Rows) (b letter.Batch, err error) {
		var doc string
		var sent int64
		var n, returned int
		if err := r.Scan(&doc, &sent, &n, &returned); err != nil {
			return b, err
		}
		err = json.Unmarshal([]byte(doc), &b)
		b.SentAt, b.Letters, b.Returned = rows.Time(sent), n, returned
		return b, err
	})
	if err != nil {
		return nil, fmt.Errorf("batches of letters: %w", err)
	}
	return list, nil
}

// Batches lists them, newest first.
func (s *Store) Batches(ctx context.Context, before string, limit int) ([]letter.Batch, error) {
	w := &where{}
	w.and(before != "", "b.id < ?", before)
	return s.batches(ctx, w.String()+` ORDER BY b.id DESC LIMIT ?`, append(w.args, limitOf(limit))...)
}

// Batch is one by id.
func (s *Store) Batch(ctx context.Context, id string) (letter.Batch, error) {
	list, err := s.batches(ctx, ` WHERE b.id = ?`, id)
	if err != nil {
		return letter.Batch{}, err
	}
	if len(list) == 0 {
		return letter.Batch{}, fault.New(fault.NotFound, "no batch of letters %q", id)
	}
	return list[0], nil
}

// MarkBatch keeps the day a batch was given to the post.
func (s *Store) MarkBatch(ctx context.Context, id string, sentAt time.Time) error {
	res, err := s.exec(ctx, "mark batch", `UPDATE notify_batch SET sent_at = ? WHERE id = ?`, rows.Millis(sentAt), id)
	return s.gone(res, err, "no batch of letters %q", id)
}

const callColumns = `m.id, m.owner_id, m.unit_id, m.kind, m.about, m.language, m.subject, m.body, m.recipient, m.created_at, COALESCE(o.name, ''),
	c.state, c.due_at, c.tries, c.outcome, c.tried_at, c.locked_by, c.locked_until
	FROM notify_call c JOIN notify_message m ON m.id = c.message_id LEFT JOIN fleet_owner o ON o.id = m.owner_id`

func scanCall(r *sql.Rows) (c calls.Call, err error) {
	var created, due, tried, until int64
	err = r.Scan(&c.ID, &c.OwnerID, &c.UnitID, &c.Kind, &c.About, &c.Language, &c.Subject, &c.Script, &c.Phone, &created, &c.Name,
		&c.State, &due, &c.Tries, &c.Outcome, &tried, &c.LockedBy, &until)
	c.CreatedAt, c.DueAt, c.TriedAt, c.LockedUntil = rows.Time(created), rows.Time(due), rows.Time(tried), rows.Time(until)
	return c, err
}

func (s *Store) calls(ctx context.Context, rest string, args ...any) ([]calls.Call, error) {
	q, err := s.db.Query(ctx, `SELECT `+callColumns+rest, args...)
	list, err := rows.Collect(q, err, scanCall)
	if err != nil {
		return nil, fmt.Errorf("calls: %w", err)
	}
	return list, nil
}

// Calls lists them, soonest due first.
func (s *Store) Calls(ctx context.Context, f calls.Filter) ([]calls.Call, error) {
	w := &where{}
	w.and(f.State != "", "c.state = ?", string(f.State))
	w.and(f.OwnerID != "", "m.owner_id = ?", f.OwnerID)
	w.and(f.About != "", "m.about = ?", f.About)
	w.and(!f.Due.IsZero(), "c.due_at <= ?", rows.Millis(f.Due))
	w.and(!f.Free.IsZero(), "c.locked_until <= ?", rows.Millis(f.Free))
	if due, id, ok := strings.Cut(f.After, "/"); ok {
		n, err := strconv.ParseInt(due, 10, 64)
		if err != nil {
			return nil, fault.New(fault.Invalid, "after is not of this list: %q", f.After)
		}
		w.and(true, "(c.due_at > ? OR c.due_at = ? AND c.message_id > ?)", n, n, id)
	}
	return s.calls(ctx, w.String()+` ORDER BY c.due_at, c.message_id LIMIT ?`, append(w.args, limitOf(f.Limit))...)
}

// Call is one by id.
func (s *Store) Call(ctx context.Context, id string) (calls.Call, error) {
	list, err := s.calls(ctx, ` WHERE c.message_id = ?`, id)
	if err != nil {
		return calls.Call{}, err
	}
	if len(list) == 0 {
		return calls.Call{}, fault.New(fault.NotFound, "no call %q", id)
	}
	return list[0], nil
}

// UpdateCall changes a call that nobody else can change meanwhile.
func (s *Store) UpdateCall(ctx context.Context, id string, change func(*calls.Call) error) (out calls.Call, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		// Locked by a change of its own: PostgreSQL cannot lock the outer side of a join.
		if _, err := s.exec(ctx, "hold call", `UPDATE notify_call SET tries = tries WHERE message_id = ?`, id); err != nil {
			return err
		}
		c, err := s.Call(ctx, id)
		if err != nil {
			return err
		}
		if err := change(&c); err != nil {
			return err
		}
		out = c
		_, err = s.exec(ctx, "keep call", `UPDATE notify_call SET state = ?, due_at = ?, tries = ?, outcome = ?, tried_at = ?, locked_by = ?, locked_until = ? WHERE message_id = ?`,
			string(c.State), rows.Millis(c.DueAt), c.Tries, string(c.Outcome), rows.Millis(c.TriedAt), c.LockedBy, rows.Millis(c.LockedUntil), id)
		return err
	})
	return out, err
}

// AddNote keeps what an agent wrote down.
func (s *Store) AddNote(ctx context.Context, id string, n calls.Note) error {
	sealed := n.Sealed
	if sealed == nil {
		sealed = []byte{}
	}
	_, err := s.exec(ctx, "keep note", `INSERT INTO notify_call_note (message_id, at, agent, outcome, sealed) VALUES (?, ?, ?, ?, ?)`, id, rows.Millis(n.At), n.Agent, string(n.Outcome), sealed)
	return err
}

// Notes are those of a call, oldest first.
func (s *Store) Notes(ctx context.Context, id string) ([]calls.Note, error) {
	q, err := s.db.Query(ctx, `SELECT at, agent, outcome, sealed FROM notify_call_note WHERE message_id = ? ORDER BY at`, id)
	return rows.Collect(q, err, func(r *sql.Rows) (n calls.Note, err error) {
		var at int64
		err = r.Scan(&at, &n.Agent, &n.Outcome, &n.Sealed)
		n.At = rows.Time(at)
		return n, err
	})
}

// CountCalls counts them by state.
func (s *Store) CountCalls(ctx context.Context) (map[calls.State]int, error) {
	return counts[calls.State](ctx, s, `SELECT state, count(*) FROM notify_call GROUP BY state`)
}
