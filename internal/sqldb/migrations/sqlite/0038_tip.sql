-- +goose Up
-- Tips in context: what is declared, to whom they were given, and where their
-- evaluation stands. Times are Unix milliseconds, 0 for none; changed_at is
-- the machine's, the others the service's.
CREATE TABLE tip_tip (
  name    TEXT PRIMARY KEY,
  product TEXT NOT NULL REFERENCES fleet_product (name),
  version BIGINT NOT NULL,
  doc     TEXT NOT NULL
);
CREATE TABLE tip_given (
  id           TEXT PRIMARY KEY,
  tip          TEXT NOT NULL REFERENCES tip_tip (name) ON DELETE CASCADE,
  version      BIGINT NOT NULL,
  product      TEXT NOT NULL,
  unit_id      TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  unit_key     BIGINT NOT NULL,
  owner_id     TEXT NOT NULL,
  at           BIGINT NOT NULL,
  until_at     BIGINT NOT NULL,
  held         BOOLEAN NOT NULL,
  first        BOOLEAN NOT NULL,
  vals         TEXT NOT NULL,
  push_at      BIGINT NOT NULL,
  shown_at     BIGINT NOT NULL,
  shown_via    TEXT NOT NULL,
  dismissed_at BIGINT NOT NULL,
  acted_at     BIGINT NOT NULL,
  used_at      BIGINT NOT NULL,
  ended_at     BIGINT NOT NULL,
  why          TEXT NOT NULL,
  changed_at   BIGINT NOT NULL,
  UNIQUE (unit_key, tip, at)
);
CREATE INDEX tip_given_unit ON tip_given (unit_id, at);
CREATE INDEX tip_given_owner ON tip_given (owner_id, at);
CREATE INDEX tip_given_tip ON tip_given (tip, at);
CREATE INDEX tip_given_changed ON tip_given (changed_at);
CREATE INDEX tip_given_push ON tip_given (push_at) WHERE push_at > 0;
-- State of a unit, of the stream up to seq; unit_key 0 holds the place up to
-- which all states are kept.
CREATE TABLE tip_state (
  unit_key BIGINT PRIMARY KEY,
  seq      BIGINT NOT NULL,
  data     TEXT NOT NULL
);
-- What feeds said last, by place: a region or the middle of a cell.
CREATE TABLE tip_context (
  product TEXT NOT NULL,
  feed    TEXT NOT NULL,
  place   TEXT NOT NULL,
  at      BIGINT NOT NULL,
  doc     TEXT NOT NULL,
  PRIMARY KEY (product, feed, place)
);
-- Tips that owners have switched off; tip '' is all of them.
CREATE TABLE tip_off (
  owner_id TEXT NOT NULL,
  tip      TEXT NOT NULL,
  PRIMARY KEY (owner_id, tip)
);

-- +goose Down
DROP TABLE tip_off;
DROP TABLE tip_context;
DROP TABLE tip_state;
DROP TABLE tip_given;
DROP TABLE tip_tip;
