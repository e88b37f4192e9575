-- +goose Up
-- What units are told to be set to: component is parameter:<name> or
-- feature:<name>, value and what it was before (empty: nothing) are JSON.
CREATE TABLE update_setting (
  unit_id       TEXT NOT NULL,
  component     TEXT NOT NULL,
  value         TEXT NOT NULL,
  before        TEXT NOT NULL,
  release       TEXT NOT NULL,
  assignment_id BIGINT NOT NULL,
  at            BIGINT NOT NULL,
  PRIMARY KEY (unit_id, component)
);
CREATE INDEX update_setting_assignment ON update_setting (assignment_id);

-- +goose Down
DROP TABLE update_setting;
