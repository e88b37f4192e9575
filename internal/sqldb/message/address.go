package message

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	"fettle.dev/fettle/internal/notify/hear"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rows"
)

type addresses struct{ db *sqldb.DB }

// Addresses is the store of addresses that do not work.
func Addresses(db *sqldb.DB) hear.Addresses { return addresses{db} }

const addressColumns = `channel, address, state, why, since, message_id, owner_id`

// folded is how an address is kept: domains fold case, and in practice local
// parts do.
func folded(address string) string { return strings.ToLower(address) }

func (s addresses) Mark(ctx context.Context, a hear.Address) error {
	_, err := s.db.Exec(ctx, `INSERT INTO notify_address (`+addressColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (channel, address) DO UPDATE SET state = excluded.state, why = excluded.why, since = excluded.since, message_id = excluded.message_id
		WHERE notify_address.state <> excluded.state AND excluded.state = ?`,
		string(a.Channel), folded(a.Address), string(a.State), a.Why, rows.Millis(a.Since), a.MessageID, a.OwnerID, string(hear.Complaining))
	return err
}

func scanAddress(scan func(...any) error) (a hear.Address, err error) {
	var since int64
	err = scan(&a.Channel, &a.Address, &a.State, &a.Why, &since, &a.MessageID, &a.OwnerID)
	a.Since = rows.Time(since)
	return a, err
}

func (s addresses) Marked(ctx context.Context, ch notify.Channel, address string) (hear.Address, error) {
	a, err := scanAddress(s.db.QueryRow(ctx, `SELECT `+addressColumns+` FROM notify_address WHERE channel = ? AND address = ?`, string(ch), folded(address)).Scan)
	return a, rows.Missing(err, "no mark on %s address %q", ch, address)
}

func (s addresses) MarkedAmong(ctx context.Context, ch notify.Channel, list []string) (map[string]hear.Address, error) {
	out := map[string]hear.Address{}
	for part := range slices.Chunk(list, most) {
		args := []any{string(ch)}
		for _, a := range part {
			args = append(args, folded(a))
		}
		found, err := s.db.Query(ctx, `SELECT `+addressColumns+` FROM notify_address WHERE channel = ? AND address IN (?`+strings.Repeat(",?", len(part)-1)+`)`, args...)
		all, err := rows.Collect(found, err, func(r *sql.Rows) (hear.Address, error) { return scanAddress(r.Scan) })
		if err != nil {
			return nil, err
		}
		for _, a := range all {
			out[a.Address] = a
		}
	}
	return out, nil
}

func (s addresses) MarkedAddresses(ctx context.Context, ownerID, after string, limit int) ([]hear.Address, error) {
	where, args := "1 = 1", []any(nil)
	if ownerID != "" {
		where, args = "owner_id = ?", append(args, ownerID)
	}
	if ch, address, ok := strings.Cut(after, " "); ok {
		where, args = where+" AND (channel, address) > (?, ?)", append(args, ch, address)
	}
	found, err := s.db.Query(ctx, `SELECT `+addressColumns+` FROM notify_address WHERE `+where+` ORDER BY channel, address LIMIT ?`, append(args, limit)...)
	return rows.Collect(found, err, func(r *sql.Rows) (hear.Address, error) { return scanAddress(r.Scan) })
}

func (s addresses) Unmark(ctx context.Context, ch notify.Channel, address string) error {
	res, err := s.db.Exec(ctx, `DELETE FROM notify_address WHERE channel = ? AND address = ?`, string(ch), folded(address))
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err == nil && n == 0 {
		return fault.New(fault.NotFound, "no mark on %s address %q", ch, address)
	}
	return nil
}
