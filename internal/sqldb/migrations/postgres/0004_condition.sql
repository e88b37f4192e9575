-- +goose Up
CREATE TABLE condition_detector (
  name    TEXT NOT NULL,
  version BIGINT NOT NULL,
  product TEXT NOT NULL,
  type    TEXT NOT NULL,
  doc     TEXT NOT NULL,
  deleted BOOLEAN NOT NULL,
  PRIMARY KEY (name, version)
);
CREATE TABLE condition_finding (
  id            TEXT PRIMARY KEY,
  detector      TEXT NOT NULL,
  version       BIGINT NOT NULL,
  severity      TEXT NOT NULL,
  unit_id       TEXT NOT NULL,
  unit_key      BIGINT NOT NULL,
  product       TEXT NOT NULL,
  state         TEXT NOT NULL,
  onset         BIGINT NOT NULL,
  opened_at     BIGINT NOT NULL,
  seen_at       BIGINT NOT NULL,
  last_at       BIGINT NOT NULL,
  cleared       BIGINT NOT NULL,
  why           TEXT NOT NULL,
  clear_why     TEXT NOT NULL,
  peak          DOUBLE PRECISION NOT NULL,
  late          BOOLEAN NOT NULL,
  ack_by        TEXT NOT NULL DEFAULT '',
  ack_at        BIGINT NOT NULL DEFAULT 0,
  shelved_until BIGINT NOT NULL DEFAULT 0,
  assessment    TEXT NOT NULL DEFAULT '',
  assessed_by   TEXT NOT NULL DEFAULT ''
);
CREATE INDEX condition_finding_newest ON condition_finding (opened_at, id);
CREATE INDEX condition_finding_unit ON condition_finding (unit_id, opened_at);
CREATE INDEX condition_finding_detector ON condition_finding (detector, version, unit_key);
CREATE INDEX condition_finding_open ON condition_finding (product, opened_at) WHERE state = 'open';
CREATE TABLE condition_comment (
  id         TEXT PRIMARY KEY,
  finding_id TEXT NOT NULL REFERENCES condition_finding (id),
  by_whom    TEXT NOT NULL,
  at         BIGINT NOT NULL,
  text       TEXT NOT NULL
);
CREATE INDEX condition_comment_finding ON condition_comment (finding_id, at);
CREATE TABLE condition_position (
  part TEXT PRIMARY KEY,
  seq  BIGINT NOT NULL
);
CREATE TABLE condition_state (
  part      TEXT NOT NULL,
  unit_key  BIGINT NOT NULL,
  product   TEXT NOT NULL,
  judged_at BIGINT NOT NULL,
  data      BYTEA NOT NULL,
  PRIMARY KEY (part, unit_key)
);
CREATE INDEX condition_state_unit ON condition_state (unit_key);
CREATE TABLE condition_exposure (
  detector TEXT NOT NULL,
  version  BIGINT NOT NULL,
  unit_key BIGINT NOT NULL,
  since    BIGINT NOT NULL,
  for_ms   BIGINT NOT NULL,
  last_at  BIGINT NOT NULL,
  PRIMARY KEY (detector, version, unit_key)
);
CREATE TABLE cohort_snapshot (
  id         TEXT PRIMARY KEY,
  name       TEXT NOT NULL,
  product    TEXT NOT NULL,
  definition TEXT NOT NULL,
  position   BIGINT NOT NULL,
  at         BIGINT NOT NULL,
  n_in       BIGINT NOT NULL,
  n_out      BIGINT NOT NULL,
  n_not      BIGINT NOT NULL,
  state      TEXT NOT NULL,
  done       DOUBLE PRECISION NOT NULL,
  error      TEXT NOT NULL,
  by_whom    TEXT NOT NULL
);
CREATE INDEX cohort_snapshot_name ON cohort_snapshot (name, at);
CREATE TABLE cohort_member (
  snapshot TEXT NOT NULL REFERENCES cohort_snapshot (id) ON DELETE CASCADE,
  unit_id  TEXT NOT NULL,
  unit_key BIGINT NOT NULL,
  list     TEXT NOT NULL,
  code     TEXT NOT NULL,
  reason   TEXT NOT NULL,
  exposure BIGINT NOT NULL,
  PRIMARY KEY (snapshot, unit_id)
);

-- +goose Down
DROP TABLE cohort_member;
DROP TABLE cohort_snapshot;
DROP TABLE condition_exposure;
DROP TABLE condition_state;
DROP TABLE condition_position;
DROP TABLE condition_comment;
DROP TABLE condition_finding;
DROP TABLE condition_detector;
