-- +goose Up
CREATE TABLE update_artifact (
  sha256 TEXT PRIMARY KEY,
  doc    TEXT NOT NULL
);
CREATE TABLE update_release (
  name    TEXT PRIMARY KEY,
  product TEXT NOT NULL,
  doc     TEXT NOT NULL
);
CREATE INDEX update_release_product ON update_release (product, name);
-- The id is the action id on the wire: given once, never again.
CREATE TABLE update_assignment (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  unit_id TEXT NOT NULL,
  release TEXT NOT NULL,
  ref     TEXT NOT NULL UNIQUE,
  state   TEXT NOT NULL,
  done    BIGINT NOT NULL,
  total   BIGINT NOT NULL,
  updated BIGINT NOT NULL,
  doc     TEXT NOT NULL
);
CREATE INDEX update_assignment_unit ON update_assignment (unit_id, id);
CREATE INDEX update_assignment_updated ON update_assignment (updated, id);
CREATE INDEX update_assignment_release ON update_assignment (release, state);
CREATE TABLE update_attributes (
  unit_id TEXT PRIMARY KEY,
  doc     TEXT NOT NULL
);
CREATE TABLE campaign_run (
  id      TEXT PRIMARY KEY,
  name    TEXT NOT NULL UNIQUE,
  product TEXT NOT NULL,
  state   TEXT NOT NULL,
  next_at BIGINT NOT NULL,
  doc     TEXT NOT NULL
);
CREATE TABLE campaign_task (
  id            TEXT PRIMARY KEY,
  campaign_id   TEXT NOT NULL REFERENCES campaign_run (id) ON DELETE CASCADE,
  unit_id       TEXT NOT NULL,
  unit_key      BIGINT NOT NULL,
  owner_id      TEXT NOT NULL,
  wave          BIGINT NOT NULL,
  state         TEXT NOT NULL,
  assignment_id BIGINT NOT NULL,
  next_at       BIGINT NOT NULL,
  seen_at       BIGINT NOT NULL,
  doc           TEXT NOT NULL,
  UNIQUE (campaign_id, unit_id)
);
CREATE INDEX campaign_task_wave ON campaign_task (campaign_id, wave, state);
CREATE INDEX campaign_task_unit ON campaign_task (unit_id);
CREATE INDEX campaign_task_owner ON campaign_task (owner_id);
CREATE INDEX campaign_task_due ON campaign_task (next_at) WHERE next_at > 0;
CREATE INDEX campaign_task_waiting ON campaign_task (assignment_id) WHERE state IN ('accepted', 'installing', 'claimed');
CREATE TABLE outcome_record (
  campaign_id TEXT PRIMARY KEY REFERENCES campaign_run (id) ON DELETE CASCADE,
  doc         TEXT NOT NULL
);

-- +goose Down
DROP TABLE outcome_record;
DROP TABLE campaign_task;
DROP TABLE campaign_run;
DROP TABLE update_attributes;
DROP TABLE update_assignment;
DROP TABLE update_release;
DROP TABLE update_artifact;
