-- +goose Up
-- Every choice ever made: only added to. It outlives the unit: it is the proof.
CREATE TABLE consent_choice (
  seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id      TEXT NOT NULL UNIQUE,
  unit_id TEXT NOT NULL,
  purpose TEXT NOT NULL,
  given   BOOLEAN NOT NULL,
  at      BIGINT NOT NULL,
  notice  TEXT NOT NULL,
  made_by TEXT NOT NULL
);
CREATE INDEX consent_choice_unit ON consent_choice (unit_id, seq);
-- The latest choice of each unit and purpose; it goes with the unit.
CREATE TABLE consent_mask (
  unit_id TEXT NOT NULL REFERENCES fleet_unit (id) ON DELETE CASCADE,
  purpose TEXT NOT NULL,
  given   BOOLEAN NOT NULL,
  PRIMARY KEY (unit_id, purpose)
);
-- Units whose change of mask was not yet told to those who act on it: written
-- with the choice, removed when told, so that a crash between loses nothing.
CREATE TABLE consent_untold (
  unit_id TEXT PRIMARY KEY REFERENCES fleet_unit (id) ON DELETE CASCADE,
  changes BIGINT NOT NULL
);

-- +goose Down
DROP TABLE consent_untold;
DROP TABLE consent_mask;
DROP TABLE consent_choice;
