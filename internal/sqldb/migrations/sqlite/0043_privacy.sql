-- +goose Up
-- Requests about people's rights; they go with the person.
CREATE TABLE privacy_request (
  id       TEXT PRIMARY KEY,
  owner_id TEXT NOT NULL,
  kind     TEXT NOT NULL,
  state    TEXT NOT NULL,
  due_at   BIGINT NOT NULL,
  doc      TEXT NOT NULL
);
CREATE INDEX privacy_request_owner ON privacy_request (owner_id, due_at);
CREATE INDEX privacy_request_due ON privacy_request (state, due_at, id);
-- Units whose data is kept and not used: for a purpose, or ('') at all.
CREATE TABLE privacy_restriction (
  unit_id  TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  purpose  TEXT NOT NULL,
  owner_id TEXT NOT NULL,
  since    BIGINT NOT NULL,
  PRIMARY KEY (unit_id, purpose)
);
CREATE INDEX privacy_restriction_owner ON privacy_restriction (owner_id);
-- Erasures: names the person until it ends, then is the receipt, which does not.
CREATE TABLE privacy_erasure (
  id       TEXT PRIMARY KEY,
  ended_at BIGINT NOT NULL,
  doc      TEXT NOT NULL
);
CREATE INDEX privacy_erasure_open ON privacy_erasure (id) WHERE ended_at = 0;

-- +goose Down
DROP TABLE privacy_erasure;
DROP TABLE privacy_restriction;
DROP TABLE privacy_request;
