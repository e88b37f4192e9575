-- +goose Up
-- The audit trail, a chain: each entry's hash covers the one before. The head
-- is locked by who appends; start is the last entry that went by age.
CREATE TABLE audit_entry (
  seq       BIGINT PRIMARY KEY,
  at        BIGINT NOT NULL,
  kind      TEXT NOT NULL,
  actor     TEXT NOT NULL,
  operation TEXT NOT NULL,
  object    TEXT NOT NULL,
  entry     TEXT NOT NULL,
  hash      TEXT NOT NULL
);
CREATE INDEX audit_entry_at ON audit_entry (at);
CREATE INDEX audit_entry_actor ON audit_entry (actor, seq);
CREATE INDEX audit_entry_object ON audit_entry (object, seq);
CREATE TABLE audit_about (
  alias TEXT NOT NULL,
  seq   BIGINT NOT NULL REFERENCES audit_entry (seq) ON DELETE CASCADE,
  PRIMARY KEY (alias, seq)
);
CREATE INDEX audit_about_seq ON audit_about (seq);
CREATE TABLE audit_head (
  id         BIGINT PRIMARY KEY,
  seq        BIGINT NOT NULL,
  hash       TEXT NOT NULL,
  start_seq  BIGINT NOT NULL,
  start_hash TEXT NOT NULL
);
INSERT INTO audit_head (id, seq, hash, start_seq, start_hash) VALUES (1, 0, '', 0, '');
-- How the trail names people, and the keys that seal what it says of them:
-- this row alone links them, and is destroyed when they are erased.
CREATE TABLE audit_person (
  owner_id TEXT PRIMARY KEY,
  alias    TEXT NOT NULL UNIQUE,
  sealing  BYTEA NOT NULL
);

-- +goose Down
DROP TABLE audit_person;
DROP TABLE audit_head;
DROP TABLE audit_about;
DROP TABLE audit_entry;
