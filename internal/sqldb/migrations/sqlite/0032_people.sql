-- +goose Up
-- Public keys that people sign in with (WebAuthn). doc is the credential record of the library.
CREATE TABLE people_passkey (
  id         TEXT PRIMARY KEY,
  credential TEXT NOT NULL UNIQUE,
  party      TEXT NOT NULL,
  person_id  TEXT NOT NULL,
  name       TEXT NOT NULL,
  doc        TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL,
  cloned_at  BIGINT NOT NULL
);
CREATE INDEX people_passkey_person ON people_passkey (party, person_id);
-- Accounts at OpenID providers that people sign in with.
CREATE TABLE people_identity (
  id         TEXT PRIMARY KEY,
  party      TEXT NOT NULL,
  person_id  TEXT NOT NULL,
  issuer     TEXT NOT NULL,
  subject    TEXT NOT NULL,
  provider   TEXT NOT NULL,
  email      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL,
  UNIQUE (party, issuer, subject)
);
CREATE INDEX people_identity_person ON people_identity (party, person_id);
-- What is under way and works once: challenges, sign-ins at providers, links to sign up, new mail addresses.
CREATE TABLE people_ceremony (
  hash       TEXT PRIMARY KEY,
  kind       TEXT NOT NULL,
  party      TEXT NOT NULL,
  person_id  TEXT NOT NULL,
  address    TEXT NOT NULL,
  doc        TEXT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX people_ceremony_person ON people_ceremony (party, person_id);
CREATE INDEX people_ceremony_address ON people_ceremony (address);
-- Codes that units are claimed by: of each only the SHA-256.
CREATE TABLE people_code (
  id         TEXT PRIMARY KEY,
  hash       TEXT NOT NULL UNIQUE,
  unit_id    TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  kind       TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  made_by    TEXT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL
);
CREATE INDEX people_code_unit ON people_code (unit_id, kind);
-- Who owned a unit and when. A unit without a row has the owner that it was declared with.
CREATE TABLE people_period (
  id       TEXT PRIMARY KEY,
  unit_id  TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  owner_id TEXT NOT NULL,
  from_at  BIGINT NOT NULL,
  to_at    BIGINT NOT NULL
);
CREATE INDEX people_period_unit ON people_period (unit_id, from_at);
CREATE INDEX people_period_owner ON people_period (owner_id);
CREATE TABLE people_driver (
  unit_id    TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  person_id  TEXT NOT NULL REFERENCES fleet_owner (id) ON DELETE CASCADE,
  may_update BOOLEAN NOT NULL,
  joined_at  BIGINT NOT NULL,
  PRIMARY KEY (unit_id, person_id)
);
CREATE INDEX people_driver_person ON people_driver (person_id);
-- Invitations to drive or to own, and requests for a unit that has an owner.
CREATE TABLE people_offer (
  id         TEXT PRIMARY KEY,
  kind       TEXT NOT NULL,
  unit_id    TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  owner_id   TEXT NOT NULL,
  person_id  TEXT NOT NULL,
  email      TEXT NOT NULL,
  hash       TEXT NOT NULL,
  may_update BOOLEAN NOT NULL,
  state      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  decided_at BIGINT NOT NULL
);
CREATE INDEX people_offer_unit ON people_offer (unit_id, state);
CREATE INDEX people_offer_email ON people_offer (email, state);
CREATE INDEX people_offer_owner ON people_offer (owner_id);
CREATE INDEX people_offer_person ON people_offer (person_id);
CREATE INDEX people_offer_hash ON people_offer (hash);
-- Tokens of owners' apps.
CREATE TABLE people_token (
  id         TEXT PRIMARY KEY,
  hash       TEXT NOT NULL UNIQUE,
  owner_id   TEXT NOT NULL REFERENCES fleet_owner (id) ON DELETE CASCADE,
  name       TEXT NOT NULL,
  scope      TEXT NOT NULL,
  units      TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL
);
CREATE INDEX people_token_owner ON people_token (owner_id);

-- +goose Down
DROP TABLE people_token;
DROP TABLE people_offer;
DROP TABLE people_driver;
DROP TABLE people_period;
DROP TABLE people_code;
DROP TABLE people_ceremony;
DROP TABLE people_identity;
DROP TABLE people_passkey;
