-- +goose Up
ALTER TABLE update_release ADD COLUMN withdrawn TEXT NOT NULL DEFAULT '';
-- What each component of a unit has run and confirmed: it never goes below.
CREATE TABLE update_counter (
  unit_id   TEXT NOT NULL,
  component TEXT NOT NULL,
  product   TEXT NOT NULL,
  counter   BIGINT NOT NULL,
  release   TEXT NOT NULL,
  at        BIGINT NOT NULL,
  PRIMARY KEY (unit_id, component)
);
CREATE INDEX update_counter_above ON update_counter (product, component, counter);
-- How long installations took, from their beginning to the report of the new version.
CREATE TABLE update_duration (
  assignment_id BIGINT PRIMARY KEY,
  release       TEXT NOT NULL,
  family        TEXT NOT NULL,
  seconds       BIGINT NOT NULL,
  at            BIGINT NOT NULL
);
CREATE INDEX update_duration_release ON update_duration (release, seconds);
CREATE INDEX update_duration_family ON update_duration (family, seconds);
-- A chain: each entry's hash covers the one before. The head is locked by who appends.
CREATE TABLE update_register (
  seq           BIGINT PRIMARY KEY,
  unit_key      BIGINT NOT NULL,
  assignment_id BIGINT NOT NULL,
  at            BIGINT NOT NULL,
  entry         TEXT NOT NULL,
  hash          TEXT NOT NULL
);
CREATE INDEX update_register_unit ON update_register (unit_key, seq);
CREATE TABLE update_register_head (
  id   BIGINT PRIMARY KEY,
  seq  BIGINT NOT NULL,
  hash TEXT NOT NULL
);
INSERT INTO update_register_head (id, seq, hash) VALUES (1, 0, '');

-- +goose Down
DROP TABLE update_register_head;
DROP TABLE update_register;
DROP TABLE update_duration;
DROP TABLE update_counter;
ALTER TABLE update_release DROP COLUMN withdrawn;
