-- +goose Up
ALTER TABLE consent_choice ADD COLUMN language TEXT NOT NULL DEFAULT '';
-- Every version of the text that owners of a product read, as it was. It is
-- never changed once shown.
CREATE TABLE consent_notice (
  product      TEXT NOT NULL,
  version      TEXT NOT NULL,
  place        BIGINT NOT NULL,
  doc          TEXT NOT NULL,
  published_at BIGINT NOT NULL,
  shown_at     BIGINT NOT NULL,
  PRIMARY KEY (product, version)
);
-- Which version an owner saw first when, in which language.
CREATE TABLE consent_shown (
  owner_id TEXT NOT NULL,
  product  TEXT NOT NULL,
  version  TEXT NOT NULL,
  language TEXT NOT NULL,
  at       BIGINT NOT NULL,
  PRIMARY KEY (owner_id, product, version, language)
);
-- What a withdrawal makes to be erased: written with the choice, ended when
-- every store has done it.
CREATE TABLE consent_withdrawal (
  id       TEXT PRIMARY KEY,
  unit_id  TEXT NOT NULL,
  unit_key BIGINT NOT NULL,
  product  TEXT NOT NULL,
  purpose  TEXT NOT NULL,
  doc      TEXT NOT NULL,
  at       BIGINT NOT NULL,
  step     BIGINT NOT NULL,
  tries    BIGINT NOT NULL,
  failed   TEXT NOT NULL,
  ended_at BIGINT NOT NULL
);
CREATE INDEX consent_withdrawal_open ON consent_withdrawal (ended_at, at);
CREATE INDEX consent_withdrawal_unit ON consent_withdrawal (unit_id, at);
-- Owners' exports. The files stand in the data directory, under the id.
CREATE TABLE consent_export (
  id         TEXT PRIMARY KEY,
  owner_id   TEXT NOT NULL,
  language   TEXT NOT NULL,
  state      TEXT NOT NULL,
  asked_at   BIGINT NOT NULL,
  done       BIGINT NOT NULL,
  total      BIGINT NOT NULL,
  bytes      BIGINT NOT NULL,
  why        TEXT NOT NULL,
  ended_at   BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX consent_export_owner ON consent_export (owner_id, asked_at);
-- What owners share with third parties; the token's hash alone is kept.
CREATE TABLE consent_share (
  id         TEXT PRIMARY KEY,
  owner_id   TEXT NOT NULL,
  unit_id    TEXT NOT NULL,
  recipient  TEXT NOT NULL,
  contact    TEXT NOT NULL,
  token_hash TEXT NOT NULL UNIQUE,
  signals    TEXT NOT NULL,
  events     BOOLEAN NOT NULL,
  from_at    BIGINT NOT NULL,
  until_at   BIGINT NOT NULL,
  made_at    BIGINT NOT NULL,
  ended_at   BIGINT NOT NULL,
  why        TEXT NOT NULL
);
CREATE INDEX consent_share_owner ON consent_share (owner_id, made_at);
CREATE INDEX consent_share_unit ON consent_share (unit_id);
CREATE TABLE consent_share_use (
  id       TEXT PRIMARY KEY,
  share_id TEXT NOT NULL REFERENCES consent_share (id) ON DELETE CASCADE,
  at       BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  what     TEXT NOT NULL,
  samples  BIGINT NOT NULL
);
CREATE INDEX consent_share_use_share ON consent_share_use (share_id, at);
-- Third parties that data is not shared with, by the operator's list.
CREATE TABLE consent_gatekeeper (
  name    TEXT PRIMARY KEY,
  domains TEXT NOT NULL,
  reason  TEXT NOT NULL,
  made_by TEXT NOT NULL,
  at      BIGINT NOT NULL
);

-- +goose Down
DROP TABLE consent_gatekeeper;
DROP TABLE consent_share_use;
DROP TABLE consent_share;
DROP TABLE consent_export;
DROP TABLE consent_withdrawal;
DROP TABLE consent_shown;
DROP TABLE consent_notice;
ALTER TABLE consent_choice DROP COLUMN language;
