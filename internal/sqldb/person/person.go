// Package person keeps who owns and drives which unit, what people sign in with
// beside links, and the tokens of owners' apps.
package person

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/identity"
	"fettle.dev/fettle/internal/fleet/passkey"
	"fettle.dev/fettle/internal/fleet/people"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/failure"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// Store is the store of people, passkeys and identities.
type Store struct{ db *sqldb.DB }

// New makes the store on the records.
func New(db *sqldb.DB) Store { return Store{db} }

var (
	_ people.Store   = Store{}
	_ passkey.Store  = Store{}
	_ identity.Store = Store{}
)

// Keep keeps what works once.
func (s Store) Keep(ctx context.Context, p access.Pending) error {
	_, err := s.db.Exec(ctx, `INSERT INTO people_ceremony (hash, kind, party, person_id, address, doc, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		p.Hash, p.Kind, string(p.Party), p.PersonID, p.Address, p.Doc, rows.Millis(p.ExpiresAt))
	return err
}

// Take takes it away: the row's removal is what two callers cannot both see.
func (s Store) Take(ctx context.Context, kind, hash string) (access.Pending, error) {
	p := access.Pending{Kind: kind, Hash: hash}
	var expires int64
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		return s.db.QueryRow(ctx, `DELETE FROM people_ceremony WHERE hash = ? AND kind = ? RETURNING party, person_id, address, doc, expires_at`, hash, kind).
			Scan(&p.Party, &p.PersonID, &p.Address, &p.Doc, &expires)
	})
	p.ExpiresAt = rows.Time(expires)
	return p, rows.Missing(err, "nothing is pending")
}

// SetOwner changes a unit's owner.
func (s Store) SetOwner(ctx context.Context, unitID, from, to string) error {
	res, err := s.db.Exec(ctx, `UPDATE fleet_unit SET owner_id = ? WHERE id = ? AND coalesce(owner_id, '') = ?`,
		sql.NullString{String: to, Valid: to != ""}, unitID, from)
	if err := rows.Gone(res, err, ""); fault.KindOf(err) == fault.NotFound {
		return fault.New(fault.Conflict, "unit %s has changed hands meanwhile", unitID)
	}
	return err
}

// SetEmail gives an owner another address.
func (s Store) SetEmail(ctx context.Context, ownerID, email string) error {
	res, err := s.db.Exec(ctx, `UPDATE fleet_owner SET email = ? WHERE id = ?`, email, ownerID)
	if failure.Duplicate(err) {
		return fault.New(fault.Conflict, "another account has this address already: sign in with it, and have its products handed over")
	}
	return rows.Gone(res, err, "no such owner")
}

// AddPeriods keeps times of ownership.
func (s Store) AddPeriods(ctx context.Context, all []people.Period) error {
	values := make([][]any, len(all))
	for i, p := range all {
		values[i] = []any{p.ID, p.UnitID, p.OwnerID, rows.Millis(p.From), rows.Millis(p.To)}
	}
	return s.db.InsertRows(ctx, `INSERT INTO people_period (id, unit_id, owner_id, from_at, to_at)`, ``, values)
}

// EndPeriod ends one.
func (s Store) EndPeriod(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE people_period SET to_at = ? WHERE id = ?`, rows.Millis(at), id)
	return err
}

func (s Store) periods(ctx context.Context, where, value string) ([]people.Period, error) {
	found, err := s.db.Query(ctx, `SELECT id, unit_id, owner_id, from_at, to_at FROM people_period WHERE `+where+` ORDER BY from_at, id`, value)
	return rows.Collect(found, err, func(r *sql.Rows) (p people.Period, err error) {
		var from, to int64
		err = r.Scan(&p.ID, &p.UnitID, &p.OwnerID, &from, &to)
		p.From, p.To = rows.Time(from), rows.Time(to)
		return p, err
	})
}

// PeriodsOf are those of a unit.
func (s Store) PeriodsOf(ctx context.Context, unitID string) ([]people.Period, error) {
	return s.periods(ctx, `unit_id = ?`, unitID)
}

// PeriodsBy are those of an owner.
func (s Store) PeriodsBy(ctx context.Context, ownerID string) ([]people.Period, error) {
	return s.periods(ctx, `owner_id = ?`, ownerID)
}

// PutDriver keeps a driver; when they joined stays.
func (s Store) PutDriver(ctx context.Context, d people.DriverOf) error {
	_, err := s.db.Exec(ctx, `INSERT INTO people_driver (unit_id, person_id, may_update, joined_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (unit_id, person_id) DO UPDATE SET may_update = excluded.may_update`, d.UnitID, d.PersonID, d.MayUpdate, rows.Millis(d.JoinedAt))
	return err
}

func (s Store) drivers(ctx context.Context, where, value string) ([]people.DriverOf, error) {
	found, err := s.db.Query(ctx, `SELECT unit_id, person_id, may_update, joined_at FROM people_driver WHERE `+where+` ORDER BY joined_at, unit_id, person_id`, value)
	return rows.Collect(found, err, func(r *sql.Rows) (d people.DriverOf, err error) {
		var joined int64
		err = r.Scan(&d.UnitID, &d.PersonID, &d.MayUpdate, &joined)
		d.JoinedAt = rows.Time(joined)
		return d, err
	})
}

// Drivers are those of a unit.
func (s Store) Drivers(ctx context.Context, unitID string) ([]people.DriverOf, error) {
	return s.drivers(ctx, `unit_id = ?`, unitID)
}

// Driving is what a person drives.
func (s Store) Driving(ctx context.Context, personID string) ([]people.DriverOf, error) {
	return s.drivers(ctx, `person_id = ?`, personID)
}

// DropDriver removes one, or all of a unit.
func (s Store) DropDriver(ctx context.Context, unitID, personID string) error {
	_, err := s.db.Exec(ctx, `DELETE FROM people_driver WHERE unit_id = ? AND (? = '' OR person_id = ?)`, unitID, personID, personID)
	return err
}

const codeColumns = `id, hash, unit_id, kind, created_at, made_by, expires_at, used_at, revoked_at`

// AddCodes keeps codes.
func (s Store) AddCodes(ctx context.Context, all []people.Code) error {
	values := make([][]any, len(all))
	for i, c := range all {
		values[i] = []any{
			c.ID, c.Hash, c.UnitID, string(c.Kind), rows.Millis(c.CreatedAt), c.MadeBy, rows.Millis(c.ExpiresAt), rows.Millis(c.UsedAt), rows.Millis(c.RevokedAt),
		}
	}
	return s.db.InsertRows(ctx, `INSERT INTO people_code (`+codeColumns+`)`, ``, values)
}

func (s Store) codes(ctx context.Context, where, value string) ([]people.Code, error) {
	found, err := s.db.Query(ctx, `SELECT `+codeColumns+` FROM people_code WHERE `+where+` ORDER BY created_at DESC, id DESC`, value)
	return rows.Collect(found, err, func(r *sql.Rows) (c people.Code, err error) {
		var created, expires, used, revoked int64
		err = r.Scan(&c.ID, &c.Hash, &c.UnitID, &c.Kind, &created, &c.MadeBy, &expires, &used, &revoked)
		c.CreatedAt, c.ExpiresAt, c.UsedAt, c.RevokedAt = rows.Time(created), rows.Time(expires), rows.Time(used), rows.Time(revoked)
		return c, err
	})
}

// CodeByHash finds a code.
func (s Store) CodeByHash(ctx context.Context, hash string) (people.Code, error) {
	return rows.One(s.codes(ctx, `hash = ?`, hash))("no such code")
}

// Codes are those of a unit.
func (s Store) Codes(ctx context.Context, unitID string) ([]people.Code, error) {
	return s.codes(ctx, `unit_id = ?`, unitID)
}

// UseCode notes when a code was used last.
func (s Store) UseCode(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE people_code SET used_at = ? WHERE id = ?`, rows.Millis(at), id)
	return err
}

// RevokeCodes ends codes that stand.
func (s Store) RevokeCodes(ctx context.Context, unitIDs []string, kind people.CodeKind, at time.Time) error {
	for len(unitIDs) > 0 {
		part := unitIDs[:min(len(unitIDs), 500)]
		unitIDs = unitIDs[len(part):]
		args := []any{rows.Millis(at), string(kind)}
		for _, id := range part {
			args = append(args, id)
		}
		_, err := s.db.Exec(ctx, `UPDATE people_code SET revoked_at = ? WHERE revoked_at = 0 AND used_at = 0 AND kind = ? AND unit_id IN (?`+strings.Repeat(`, ?`, len(part)-1)+`)`, args...)
		if kind == people.Printed && err == nil { // of a printed one, also one that was used: it would work again for the next owner
			_, err = s.db.Exec(ctx, `UPDATE people_code SET revoked_at = ? WHERE revoked_at = 0 AND kind = ? AND unit_id IN (?`+strings.Repeat(`, ?`, len(part)-1)+`)`, args...)
		}
		if err != nil {
			return fmt.Errorf("revoke codes: %w", err)
		}
	}
	return nil
}

const offerColumns = `id, kind, unit_id, owner_id, person_id, email, hash, may_update, state, created_at, expires_at, decided_at`

// AddOffer keeps an offer.
func (s Store) AddOffer(ctx context.Context, o people.Offer) error {
	_, err := s.db.Exec(ctx, `INSERT INTO people_offer (`+offerColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		o.ID, string(o.Kind), o.UnitID, o.OwnerID, o.PersonID, o.Email, o.Hash, o.MayUpdate, string(o.State),
		rows.Millis(o.CreatedAt), rows.Millis(o.ExpiresAt), rows.Millis(o.DecidedAt))
	return err
}

func (s Store) offers(ctx context.Context, where string, args ...any) ([]people.Offer, error) {
	found, err := s.db.Query(ctx, `SELECT `+offerColumns+` FROM people_offer WHERE `+where+` ORDER BY created_at DESC, id DESC`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (o people.Offer, err error) {
		var created, expires, decided int64
		err = r.Scan(&o.ID, &o.Kind, &o.UnitID, &o.OwnerID, &o.PersonID, &o.Email, &o.Hash, &o.MayUpdate, &o.State, &created, &expires, &decided)
		o.CreatedAt, o.ExpiresAt, o.DecidedAt = rows.Time(created), rows.Time(expires), rows.Time(decided)
		return o, err
	})
}

// Offer finds an offer.
func (s Store) Offer(ctx context.Context, id string) (people.Offer, error) {
	return rows.One(s.offers(ctx, `id = ?`, id))("no invitation %q", id)
}

// OfferByHash finds the offer of a link.
func (s Store) OfferByHash(ctx context.Context, hash string) (people.Offer, error) {
	return rows.One(s.offers(ctx, `hash = ?`, hash))("no such invitation")
}

// OffersOf are those of a unit.
func (s Store) OffersOf(ctx context.Context, unitID string) ([]people.Offer, error) {
	return s.offers(ctx, `unit_id = ?`, unitID)
}

// OffersTo are those that a person is asked about or asks: to their address,
// for their units, or their own.
func (s Store) OffersTo(ctx context.Context, personID, email string) ([]people.Offer, error) {
	return s.offers(ctx, `(email = ? AND kind <> 'request') OR (owner_id = ? AND kind = 'request') OR person_id = ?`, email, personID, personID)
}

// Decide ends an open offer.
func (s Store) Decide(ctx context.Context, id string, to people.OfferState, personID string, at time.Time) error {
	res, err := s.db.Exec(ctx, `UPDATE people_offer SET state = ?, person_id = ?, decided_at = ? WHERE id = ? AND state = 'open'`, string(to), personID, rows.Millis(at), id)
	if err := rows.Gone(res, err, ""); fault.KindOf(err) == fault.NotFound {
		return fault.New(fault.Conflict, "this was answered meanwhile")
	}
	return err
}

// RevokeOffers ends those of a unit.
func (s Store) RevokeOffers(ctx context.Context, unitID string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE people_offer SET state = 'revoked', decided_at = ? WHERE unit_id = ? AND state = 'open'`, rows.Millis(at), unitID)
	return err
}

const tokenColumns = `id, hash, owner_id, name, scope, units, created_at, expires_at, used_at` //nolint:gosec // names of columns

// AddToken keeps an app's token.
func (s Store) AddToken(ctx context.Context, t people.Token) error {
	units, err := json.Marshal(t.Units)
	if err != nil {
		return err
	}
	_, err = s.db.Exec(ctx, `INSERT INTO people_token (`+tokenColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		t.ID, t.Hash, t.OwnerID, t.Name, string(t.Scope), string(units), rows.Millis(t.CreatedAt), rows.Millis(t.ExpiresAt), rows.Millis(t.UsedAt))
	return err
}

func (s Store) tokens(ctx context.Context, where, value string) ([]people.Token, error) {
	found, err := s.db.Query(ctx, `SELECT `+tokenColumns+` FROM people_token WHERE `+where+` ORDER BY created_at DESC, id DESC`, value)
	return rows.Collect(found, err, func(r *sql.Rows) (t people.Token, err error) {
		var created, expires, used int64
		var units string
		if err := r.Scan(&t.ID, &t.Hash, &t.OwnerID, &t.Name, &t.Scope, &units, &created, &expires, &used); err != nil {
			return t, err
		}
		t.CreatedAt, t.ExpiresAt, t.UsedAt = rows.Time(created), rows.Time(expires), rows.Time(used)
		return t, json.Unmarshal([]byte(units), &t.Units)
	})
}

// Tokens are those of an owner's apps.
func (s Store) Tokens(ctx context.Context, ownerID string) ([]people.Token, error) {
	return s.tokens(ctx, `owner_id = ?`, ownerID)
}

// TokenByHash finds a token.
func (s Store) TokenByHash(ctx context.Context, hash string) (people.Token, error) {
	return rows.One(s.tokens(ctx, `hash = ?`, hash))("no such token")
}

// UseToken notes when it was used.
func (s Store) UseToken(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE people_token SET used_at = ? WHERE id = ?`, rows.Millis(at), id)
	return err
}

// DropToken ends an owner's token.
func (s Store) DropToken(ctx context.Context, ownerID, id string) error {
	res, err := s.db.Exec(ctx, `DELETE FROM people_token WHERE owner_id = ? AND id = ?`, ownerID, id)
	return rows.Gone(res, err, "no app %q", id)
}

// Erase forgets a person.
func (s Store) Erase(ctx context.Context, party access.Party, personID, email string) error {
	if personID == "" {
		return nil
	}
	by := func(text string, args ...any) [2]any { return [2]any{text, args} }
	all := [][2]any{
		by(`DELETE FROM people_passkey WHERE party = ? AND person_id = ?`, string(party), personID),
		by(`DELETE FROM people_identity WHERE party = ? AND person_id = ?`, string(party), personID),
		by(`DELETE FROM people_ceremony WHERE party = ? AND (person_id = ? OR address = ?)`, string(party), personID, email),
	}
	if party == access.PartyOwner {
		all = append(all,
			by(`DELETE FROM people_driver WHERE person_id = ?`, personID),
			by(`DELETE FROM people_offer WHERE owner_id = ? OR person_id = ? OR email = ?`, personID, personID, email),
			by(`DELETE FROM people_token WHERE owner_id = ?`, personID),
			by(`DELETE FROM people_code WHERE made_by = ?`, "owner:"+personID),
			by(`UPDATE people_period SET owner_id = '' WHERE owner_id = ?`, personID),
		)
	} else {
		all = append(all, by(`UPDATE people_code SET made_by = '' WHERE made_by = ?`, email))
	}
	return s.each(ctx, "erase a person", all)
}

// Clean removes what ended before a time: what works once at once, tokens after
// a month, invitations after three.
func (s Store) Clean(ctx context.Context, now time.Time) error {
	const day = 24 * time.Hour
	return s.each(ctx, "clean up", [][2]any{
		{`DELETE FROM people_ceremony WHERE expires_at < ?`, []any{rows.Millis(now)}},
		{`DELETE FROM people_token WHERE expires_at < ?`, []any{rows.Millis(now.Add(-30 * day))}},
		{`DELETE FROM people_offer WHERE expires_at < ?`, []any{rows.Millis(now.Add(-90 * day))}},
		{`DELETE FROM people_code WHERE kind = 'handover' AND expires_at < ?`, []any{rows.Millis(now.Add(-30 * day))}},
	})
}

func (s Store) each(ctx context.Context, what string, all [][2]any) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, one := range all {
			if _, err := s.db.Exec(ctx, one[0].(string), one[1].([]any)...); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		return nil
	})
}
