package person

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/identity"
	"fettle.dev/fettle/internal/fleet/passkey"
	"fettle.dev/fettle/internal/sqldb/failure"
	"fettle.dev/fettle/internal/sqldb/rows"
)

// AddPasskey keeps a passkey.
func (s Store) AddPasskey(ctx context.Context, k passkey.Passkey) error {
	doc, err := json.Marshal(k.Credential)
	if err != nil {
		return fmt.Errorf("keep passkey: %w", err)
	}
	_, err = s.db.Exec(ctx, `INSERT INTO people_passkey (id, credential, party, person_id, name, doc, created_at, used_at, cloned_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		k.ID, passkey.CredentialText(k.Credential.ID), string(k.Party), k.PersonID, k.Name, string(doc), rows.Millis(k.CreatedAt), rows.Millis(k.UsedAt), rows.Millis(k.ClonedAt))
	if failure.Duplicate(err) {
		return fault.New(fault.Conflict, "this passkey is registered already")
	}
	return err
}

func (s Store) passkeys(ctx context.Context, where string, args ...any) ([]passkey.Passkey, error) {
	found, err := s.db.Query(ctx, `SELECT id, party, person_id, name, doc, created_at, used_at, cloned_at FROM people_passkey WHERE `+where+` ORDER BY created_at, id`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (k passkey.Passkey, err error) {
		var doc string
		var created, used, cloned int64
		if err := r.Scan(&k.ID, &k.Party, &k.PersonID, &k.Name, &doc, &created, &used, &cloned); err != nil {
			return k, err
		}
		k.CreatedAt, k.UsedAt, k.ClonedAt = rows.Time(created), rows.Time(used), rows.Time(cloned)
		if err := json.Unmarshal([]byte(doc), &k.Credential); err != nil {
			return k, fmt.Errorf("passkey %s in the records: %w", k.ID, err)
		}
		k.Synced = k.Credential.Flags.BackupState
		return k, nil
	})
}

// Passkeys are a person's.
func (s Store) Passkeys(ctx context.Context, party access.Party, personID string) ([]passkey.Passkey, error) {
	return s.passkeys(ctx, `party = ? AND person_id = ?`, string(party), personID)
}

// PasskeyByCredential finds a passkey by what its device calls it.
func (s Store) PasskeyByCredential(ctx context.Context, credential []byte) (passkey.Passkey, error) {
	return rows.One(s.passkeys(ctx, `credential = ?`, passkey.CredentialText(credential)))("no such passkey")
}

// SetPasskey keeps what has changed.
func (s Store) SetPasskey(ctx context.Context, k passkey.Passkey) error {
	doc, err := json.Marshal(k.Credential)
	if err != nil {
		return fmt.Errorf("keep passkey: %w", err)
	}
	_, err = s.db.Exec(ctx, `UPDATE people_passkey SET name = ?, doc = ?, used_at = ?, cloned_at = ? WHERE id = ?`,
		k.Name, string(doc), rows.Millis(k.UsedAt), rows.Millis(k.ClonedAt), k.ID)
	return err
}

// DropPasskey removes one.
func (s Store) DropPasskey(ctx context.Context, id string) error {
	_, err := s.db.Exec(ctx, `DELETE FROM people_passkey WHERE id = ?`, id)
	return err
}

// AddIdentity links an account.
func (s Store) AddIdentity(ctx context.Context, i identity.Identity) error {
	_, err := s.db.Exec(ctx, `INSERT INTO people_identity (id, party, person_id, issuer, subject, provider, email, created_at, used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		i.ID, string(i.Party), i.PersonID, i.Issuer, i.Subject, i.Provider, i.Email, rows.Millis(i.CreatedAt), rows.Millis(i.UsedAt))
	if failure.Duplicate(err) {
		return fault.New(fault.Conflict, "this account is linked already")
	}
	return err
}

func (s Store) identities(ctx context.Context, where string, args ...any) ([]identity.Identity, error) {
	found, err := s.db.Query(ctx, `SELECT id, party, person_id, issuer, subject, provider, email, created_at, used_at FROM people_identity WHERE `+where+` ORDER BY created_at, id`, args...)
	return rows.Collect(found, err, func(r *sql.Rows) (i identity.Identity, err error) {
		var created, used int64
		err = r.Scan(&i.ID, &i.Party, &i.PersonID, &i.Issuer, &i.Subject, &i.Provider, &i.Email, &created, &used)
		i.CreatedAt, i.UsedAt = rows.Time(created), rows.Time(used)
		return i, err
	})
}

// Identity finds an account.
func (s Store) Identity(ctx context.Context, party access.Party, issuer, subject string) (identity.Identity, error) {
	return rows.One(s.identities(ctx, `party = ? AND issuer = ? AND subject = ?`, string(party), issuer, subject))("no such account")
}

// Identities are a person's.
func (s Store) Identities(ctx context.Context, party access.Party, personID string) ([]identity.Identity, error) {
	return s.identities(ctx, `party = ? AND person_id = ?`, string(party), personID)
}

// UseIdentity notes when it was used.
func (s Store) UseIdentity(ctx context.Context, id string, at time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE people_identity SET used_at = ? WHERE id = ?`, rows.Millis(at), id)
	return err
}

// DropIdentity unlinks one.
func (s Store) DropIdentity(ctx context.Context, id string) error {
	_, err := s.db.Exec(ctx, `DELETE FROM people_identity WHERE id = ?`, id)
	return err
}
