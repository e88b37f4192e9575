package words

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/ladder"
	"fettle.dev/fettle/internal/notify/preference"
	"fettle.dev/fettle/internal/notify/template"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type storedLadder struct {
	Name string      `json:"name"`
	Spec ladder.Spec `json:"spec"`
}

// PutLadder keeps a ladder.
func (s *Store) PutLadder(ctx context.Context, l ladder.Spec) error {
	doc, err := json.Marshal(storedLadder{l.Name, l})
	if err != nil {
		return err
	}
	_, err = s.exec(ctx, "keep ladder", `INSERT INTO notify_ladder (name, doc) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET doc = excluded.doc`, l.Name, string(doc))
	return err
}

// Ladders lists them by name.
func (s *Store) Ladders(ctx context.Context) ([]ladder.Spec, error) {
	q, err := s.db.Query(ctx, `SELECT doc FROM notify_ladder ORDER BY name`)
	list, err := rows.Collect(q, err, document[storedLadder])
	if err != nil {
		return nil, fmt.Errorf("ladders: %w", err)
	}
	out := make([]ladder.Spec, len(list))
	for i := range list {
		out[i] = list[i].Spec
		out[i].Name = list[i].Name
	}
	return out, nil
}

// Ladder is one by name.
func (s *Store) Ladder(ctx context.Context, name string) (ladder.Spec, error) {
	list, err := s.Ladders(ctx)
	if err != nil {
		return ladder.Spec{}, err
	}
	for _, l := range list {
		if l.Name == name {
			return l, nil
		}
	}
	return ladder.Spec{}, fault.New(fault.NotFound, "no ladder %q", name)
}

// DeleteLadder forgets a ladder; climbs go on as they began.
func (s *Store) DeleteLadder(ctx context.Context, name string) error {
	res, err := s.exec(ctx, "delete ladder", `DELETE FROM notify_ladder WHERE name = ?`, name)
	return s.gone(res, err, "no ladder %q", name)
}

// keptTaken is a step with the key of its notice.
type keptTaken struct {
	ladder.Taken
	Key string `json:"key"`
}

type keptClimb struct {
	ladder.Climb
	LadderName string          `json:"ladderName"`
	Taken      []keptTaken     `json:"taken"`
	Template   string          `json:"template"`
	Values     template.Values `json:"values"`
}

func climbDoc(c ladder.Climb) (string, error) {
	k := keptClimb{Climb: c, LadderName: c.Ladder.Name, Template: c.Template, Values: c.Values}
	for _, t := range c.Taken {
		k.Taken = append(k.Taken, keptTaken{t, t.Key})
	}
	doc, err := json.Marshal(k)
	return string(doc), err
}

const climbColumns = `climb_key, message_key, next_at, doc`

func scanClimb(r *sql.Rows) (c ladder.Climb, err error) {
	var key, message, doc string
	var next int64
	if err := r.Scan(&key, &message, &next, &doc); err != nil {
		return c, err
	}
	var k keptClimb
	if err := json.Unmarshal([]byte(doc), &k); err != nil {
		return c, fmt.Errorf("climb %s: %w", key, err)
	}
	c = k.Climb
	c.Key, c.Message, c.NextAt, c.Ladder.Name, c.Template, c.Values = key, message, rows.Time(next), k.LadderName, k.Template, k.Values
	c.Taken = make([]ladder.Taken, len(k.Taken))
	for i, t := range k.Taken {
		c.Taken[i] = t.Taken
		c.Taken[i].Key = t.Key
	}
	return c, nil
}

// AddClimb keeps a climb, unless its key is known.
func (s *Store) AddClimb(ctx context.Context, c ladder.Climb) (bool, error) {
	doc, err := climbDoc(c)
	if err != nil {
		return false, err
	}
	res, err := s.exec(ctx, "keep climb", `INSERT INTO notify_climb (id, climb_key, owner_id, unit_id, campaign, state, step, next_at, message_key, doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (climb_key) DO NOTHING`,
		c.ID, c.Key, c.OwnerID, c.UnitID, c.Campaign, string(c.State), c.Step, rows.Millis(c.NextAt), c.Message, doc)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

func (s *Store) climbs(ctx context.Context, rest string, args ...any) ([]ladder.Climb, error) {
	q, err := s.db.Query(ctx, `SELECT `+climbColumns+` FROM notify_climb`+rest, args...)
	list, err := rows.Collect(q, err, scanClimb)
	if err != nil {
		return nil, fmt.Errorf("climbs: %w", err)
	}
	return list, nil
}

// Climb is one by id.
func (s *Store) Climb(ctx context.Context, id string) (ladder.Climb, error) {
	return s.climb(ctx, id, "")
}

func (s *Store) climb(ctx context.Context, id, lock string) (ladder.Climb, error) {
	list, err := s.climbs(ctx, ` WHERE id = ?`+lock, id)
	if err != nil {
		return ladder.Climb{}, err
	}
	if len(list) == 0 {
		return ladder.Climb{}, fault.New(fault.NotFound, "no climb %q", id)
	}
	return list[0], nil
}

// Climbs lists them by id.
func (s *Store) Climbs(ctx context.Context, f ladder.Filter) ([]ladder.Climb, error) {
	w := &where{}
	w.and(f.Campaign != "", "campaign = ?", f.Campaign)
	w.and(f.UnitID != "", "unit_id = ?", f.UnitID)
	w.and(f.OwnerID != "", "owner_id = ?", f.OwnerID)
	w.and(f.State != "", "state = ?", string(f.State))
	w.and(f.After != "", "id > ?", f.After)
	return s.climbs(ctx, w.String()+` ORDER BY id LIMIT ?`, append(w.args, limitOf(f.Limit))...)
}

// DueClimbs are the ids of those that are due.
func (s *Store) DueClimbs(ctx context.Context, now time.Time, limit int) ([]string, error) {
	q, err := s.db.Query(ctx, `SELECT id FROM notify_climb WHERE next_at > 0 AND next_at <= ? ORDER BY next_at, id LIMIT ?`, rows.Millis(now), limit)
	return rows.Collect(q, err, func(r *sql.Rows) (id string, err error) {
		err = r.Scan(&id)
		return id, err
	})
}

// UpdateClimb changes a climb that nobody else can change meanwhile.
func (s *Store) UpdateClimb(ctx context.Context, id string, change func(*ladder.Climb) error) (out ladder.Climb, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		c, err := s.climb(ctx, id, s.db.ForUpdate())
		if err != nil {
			return err
		}
		if err := change(&c); err != nil {
			return err
		}
		doc, err := climbDoc(c)
		if err != nil {
			return err
		}
		out = c
		_, err = s.exec(ctx, "keep climb", `UPDATE notify_climb SET state = ?, step = ?, next_at = ?, message_key = ?, doc = ? WHERE id = ?`,
			string(c.State), c.Step, rows.Millis(c.NextAt), c.Message, doc, id)
		return err
	})
	return out, err
}

// CountClimbs counts a campaign's climbs by state and steps taken.
func (s *Store) CountClimbs(ctx context.Context, campaign string) ([]ladder.Count, error) {
	q, err := s.db.Query(ctx, `SELECT state, step, count(*) FROM notify_climb WHERE campaign = ? GROUP BY state, step ORDER BY state, step`, campaign)
	return rows.Collect(q, err, func(r *sql.Rows) (c ladder.Count, err error) {
		err = r.Scan(&c.State, &c.Step, &c.N)
		return c, err
	})
}

// CountReachable counts the owners of a campaign's units by what they can be
// reached on: of its tasks, or before it has any of its cohort's newest snapshot.
func (s *Store) CountReachable(ctx context.Context, campaignID, cohort string) (ladder.Reachable, error) {
	out := ladder.Reachable{}
	var tasks int
	if err := s.db.QueryRow(ctx, `SELECT count(*) FROM (SELECT 1 FROM campaign_task WHERE campaign_id = ? LIMIT 1) t`, campaignID).Scan(&tasks); err != nil {
		return out, fmt.Errorf("reach: %w", err)
	}
	from, arg := `campaign_task t WHERE t.campaign_id = ?`, campaignID
	if tasks == 0 {
		from, arg = `cohort_member t WHERE t.list = 'in' AND t.snapshot = (SELECT id FROM cohort_snapshot WHERE name = ? ORDER BY at DESC LIMIT 1)`, cohort
	}
	var mail, phone, post, push, none int
	err := s.db.QueryRow(ctx, `SELECT count(*), COALESCE(sum(CASE WHEN o.id IS NULL THEN 1 ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN o.email <> '' THEN 1 ELSE 0 END), 0), COALESCE(sum(CASE WHEN c.doc LIKE '%"phone":"+%' THEN 1 ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN c.doc LIKE '%"address":{%' THEN 1 ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN EXISTS (SELECT 1 FROM notify_push p WHERE p.owner_id = o.id) THEN 1 ELSE 0 END), 0),
		COALESCE(sum(CASE WHEN o.id IS NOT NULL AND o.email = '' AND COALESCE(c.doc, '') NOT LIKE '%"phone":"+%' AND COALESCE(c.doc, '') NOT LIKE '%"address":{%' THEN 1 ELSE 0 END), 0)
		FROM (SELECT t.unit_id FROM `+from+`) m JOIN fleet_unit u ON u.id = m.unit_id LEFT JOIN fleet_owner o ON o.id = u.owner_id LEFT JOIN notify_contact c ON c.owner_id = o.id`, arg).
		Scan(&out.Units, &out.NoOwner, &mail, &phone, &post, &push, &none)
	if err != nil {
		return out, fmt.Errorf("reach: %w", err)
	}
	out.None = none
	out.By = map[notify.Channel]int{notify.Mail: mail, notify.SMS: phone, notify.Voice: phone, notify.Call: phone, notify.Letter: post, notify.Push: push}
	return out, nil
}

// StopWaiting ends what still waits of the messages of notices: texts that were
// not sent, calls that nobody has made or has at hand now, letters that are in
// no batch.
func (s *Store) StopWaiting(ctx context.Context, notices []string, why string, now time.Time) error {
	keys := make([]any, 0, len(notices)*len(notify.Channels))
	for _, n := range notices {
		for _, ch := range notify.Channels {
			keys = append(keys, preference.MessageKey(n, ch))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	of := `(SELECT id FROM notify_message WHERE msg_key IN (?` + strings.Repeat(", ?", len(keys)-1) + `))`
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if _, err := s.exec(ctx, "stop calls", `UPDATE notify_call SET state = 'stopped' WHERE state = 'open' AND locked_until <= ? AND message_id IN `+of, append([]any{rows.Millis(now)}, keys...)...); err != nil {
			return err
		}
		if _, err := s.exec(ctx, "stop letters", `UPDATE notify_letter SET state = 'stopped', why = ? WHERE state IN ('waiting', 'unfit') AND message_id IN `+of, append([]any{why}, keys...)...); err != nil {
			return err
		}
		_, err := s.exec(ctx, "stop messages", `UPDATE notify_message SET state = 'suppressed', next_at = 0, last_error = ? WHERE state = 'queued' AND channel NOT IN ('letter', 'call') AND id IN `+of, append([]any{"not sent: " + why}, keys...)...)
		return err
	})
}
