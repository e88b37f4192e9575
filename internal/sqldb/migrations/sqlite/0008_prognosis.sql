-- +goose Up
-- What was done to units and what failed on them. told: the stream has been told.
CREATE TABLE fleet_maintenance (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  unit_id    TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  at         BIGINT NOT NULL,
  part       TEXT NOT NULL,
  kind       TEXT NOT NULL,
  reason     TEXT NOT NULL,
  batch      TEXT NOT NULL,
  serial     TEXT NOT NULL,
  version    TEXT NOT NULL,
  note       TEXT NOT NULL,
  made_by    TEXT NOT NULL,
  entered_at BIGINT NOT NULL,
  told       BOOLEAN NOT NULL,
  UNIQUE (unit_id, part, kind, at)
);
CREATE INDEX fleet_maintenance_newest ON fleet_maintenance (at, id);
CREATE INDEX fleet_maintenance_untold ON fleet_maintenance (seq) WHERE NOT told;
-- Where the prognosis of a detector stands.
CREATE TABLE condition_prognosis (
  detector TEXT PRIMARY KEY,
  product  TEXT NOT NULL,
  next_at  BIGINT NOT NULL,
  doc      TEXT NOT NULL
);
-- Every model ever learned, with what it was learned from and how it did.
CREATE TABLE condition_model (
  detector TEXT NOT NULL,
  number   BIGINT NOT NULL,
  state    TEXT NOT NULL,
  learns   TEXT NOT NULL,
  doc      TEXT NOT NULL,
  data     BLOB NOT NULL,
  PRIMARY KEY (detector, number)
);
-- The newest prediction of each unit.
CREATE TABLE condition_risk (
  detector TEXT NOT NULL,
  unit_id  TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  product  TEXT NOT NULL,
  state    TEXT NOT NULL,
  place    DOUBLE PRECISION NOT NULL,
  at       BIGINT NOT NULL,
  doc      TEXT NOT NULL,
  PRIMARY KEY (detector, unit_id)
);
CREATE INDEX condition_risk_place ON condition_risk (place, detector, unit_id);
CREATE INDEX condition_risk_unit ON condition_risk (unit_id);
-- What was predicted of each unit, at each time.
CREATE TABLE condition_prediction (
  detector TEXT NOT NULL,
  unit_id  TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  at       BIGINT NOT NULL,
  doc      TEXT NOT NULL,
  PRIMARY KEY (detector, unit_id, at)
);
CREATE INDEX condition_prediction_unit ON condition_prediction (unit_id, at);

-- +goose Down
DROP TABLE condition_prediction;
DROP TABLE condition_risk;
DROP TABLE condition_model;
DROP TABLE condition_prognosis;
DROP TABLE fleet_maintenance;
