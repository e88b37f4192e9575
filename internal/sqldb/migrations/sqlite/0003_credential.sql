-- +goose Up
-- A unit has one token; its hash is all that is kept.
CREATE TABLE fleet_unit_token (
  unit_id TEXT PRIMARY KEY REFERENCES fleet_unit (id) ON DELETE CASCADE,
  hash    TEXT NOT NULL UNIQUE,
  at      BIGINT NOT NULL
);
CREATE TABLE fleet_unit_certificate (
  fingerprint TEXT PRIMARY KEY,
  unit_id     TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  at          BIGINT NOT NULL
);
CREATE INDEX fleet_unit_certificate_unit ON fleet_unit_certificate (unit_id);
CREATE TABLE fleet_claim_token (
  id         TEXT PRIMARY KEY,
  product    TEXT NOT NULL REFERENCES fleet_product (name) ON DELETE CASCADE,
  hash       TEXT NOT NULL UNIQUE,
  max_uses   BIGINT NOT NULL,
  uses       BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL
);
CREATE INDEX fleet_claim_token_product ON fleet_claim_token (product, id);
-- Claims outlive units: they say who was let in, by whom, and who was not.
CREATE TABLE fleet_claim (
  id              TEXT PRIMARY KEY,
  product         TEXT NOT NULL,
  serial          TEXT NOT NULL,
  hardware        TEXT NOT NULL,
  unit_id         TEXT NOT NULL,
  key_fingerprint TEXT NOT NULL,
  remote_address  TEXT NOT NULL,
  state           TEXT NOT NULL,
  why             TEXT NOT NULL,
  token_hash      TEXT NOT NULL,
  certificate     TEXT NOT NULL,
  claim_token     TEXT NOT NULL,
  made_unit       BOOLEAN NOT NULL,
  created_at      BIGINT NOT NULL,
  decided_at      BIGINT NOT NULL,
  decided_by      TEXT NOT NULL
);
CREATE INDEX fleet_claim_serial ON fleet_claim (product, serial);
CREATE INDEX fleet_claim_state ON fleet_claim (state, id);

-- +goose Down
DROP TABLE fleet_claim;
DROP TABLE fleet_claim_token;
DROP TABLE fleet_unit_certificate;
DROP TABLE fleet_unit_token;
