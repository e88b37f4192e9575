-- +goose Up
ALTER TABLE access_operator ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE access_operator ADD COLUMN products TEXT NOT NULL DEFAULT 'null';
ALTER TABLE access_operator ADD COLUMN regions TEXT NOT NULL DEFAULT 'null';
ALTER TABLE access_operator ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE access_operator ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;
-- A trusted link was given by an administrator or at the machine itself: it asks for no second factor.
ALTER TABLE access_link ADD COLUMN trusted BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE access_session ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE access_session ADD COLUMN way TEXT NOT NULL DEFAULT '';
ALTER TABLE access_session ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE access_session ADD COLUMN proved_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE access_token ADD COLUMN permissions TEXT NOT NULL DEFAULT 'null';
-- What an operator proves themselves by: the password's argon2id hash, the TOTP
-- key encrypted with the server's, the time step last used.
CREATE TABLE access_secret (
  operator_id TEXT PRIMARY KEY REFERENCES access_operator (id) ON DELETE CASCADE,
  password    TEXT NOT NULL DEFAULT '',
  password_at BIGINT NOT NULL DEFAULT 0,
  totp        TEXT NOT NULL DEFAULT '',
  totp_at     BIGINT NOT NULL DEFAULT 0,
  step        BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE access_recovery (
  operator_id TEXT NOT NULL REFERENCES access_operator (id) ON DELETE CASCADE,
  hash        TEXT NOT NULL,
  PRIMARY KEY (operator_id, hash)
);
-- Somebody whose password was right and who owes the second factor.
CREATE TABLE access_ticket (
  hash        TEXT PRIMARY KEY,
  operator_id TEXT NOT NULL REFERENCES access_operator (id) ON DELETE CASCADE,
  way         TEXT NOT NULL,
  totp        TEXT NOT NULL DEFAULT '',
  tries       BIGINT NOT NULL DEFAULT 0,
  expires_at  BIGINT NOT NULL
);
-- What one operator asked for and another decides.
CREATE TABLE access_approval (
  id         TEXT PRIMARY KEY,
  action     TEXT NOT NULL,
  object     TEXT NOT NULL,
  product    TEXT NOT NULL,
  digest     TEXT NOT NULL,
  why        TEXT NOT NULL,
  state      TEXT NOT NULL,
  asked_by   TEXT NOT NULL,
  asked_id   TEXT NOT NULL,
  asked_at   BIGINT NOT NULL,
  decided_by TEXT NOT NULL DEFAULT '',
  decided_id TEXT NOT NULL DEFAULT '',
  decided_at BIGINT NOT NULL DEFAULT 0,
  answer     TEXT NOT NULL DEFAULT ''
);
CREATE INDEX access_approval_object ON access_approval (action, object);

-- +goose Down
DROP TABLE access_approval;
DROP TABLE access_ticket;
DROP TABLE access_recovery;
DROP TABLE access_secret;
ALTER TABLE access_token DROP COLUMN permissions;
ALTER TABLE access_session DROP COLUMN proved_at;
ALTER TABLE access_session DROP COLUMN used_at;
ALTER TABLE access_session DROP COLUMN way;
ALTER TABLE access_session DROP COLUMN address;
ALTER TABLE access_link DROP COLUMN trusted;
ALTER TABLE access_operator DROP COLUMN created_at;
ALTER TABLE access_operator DROP COLUMN disabled;
ALTER TABLE access_operator DROP COLUMN regions;
ALTER TABLE access_operator DROP COLUMN products;
ALTER TABLE access_operator DROP COLUMN name;
